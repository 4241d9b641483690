//! Trees: made exactly, made once, and not believed after an unclean boot.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use model::{Directory, Node, RelativePath, TreeDigest};
use store::Draft;

use crate::children::{Job, Running, say};
use crate::support::{Place, assert_is_tree, corrupt, digest, make_tree, name, open};

/// More names than ext4 allows for an inode.
const NAMES_MAX: u32 = 65_100;

#[test]
fn a_tree_is_made_exactly_as_its_digest_says() {
    let place = Place::new();
    let store = place.open();
    let tree = make_tree(&store, "one");
    assert!(store.present_tree(tree).unwrap().is_none());
    let path = store.materialise(tree).unwrap().unwrap();
    assert_is_tree(&store, tree, &path);
    let text = path.join("text");
    let blob = place.blob_path(digest(b"text of one"), false);
    let inode = |path: &std::path::Path| fs::metadata(path).unwrap().ino();
    assert_eq!(inode(&text), inode(&blob), "files are links to blobs");
    assert_eq!(store.present_tree(tree).unwrap(), Some(path.clone()));
    assert_eq!(store.materialise(tree).unwrap(), Some(path));
    assert_eq!(place.names("tmp"), Vec::<String>::new());
}

#[test]
fn looking_at_a_tree_finds_what_is_here_and_leaves_no_trace() {
    let place = Place::new();
    let store = place.open();
    let tree = make_tree(&store, "one");
    let other = place.open();
    assert!(other.peek_tree(tree) && other.peek_blob(digest(b"text of one")));
    assert_eq!(other.peek_directory(tree), store.directory(tree).unwrap());
    let leases =
        || place.names("leases").into_iter().map(|name| place.root().join("leases").join(name));
    let pins = |path: std::path::PathBuf| fs::read_to_string(path).unwrap_or_default();
    let text: Vec<_> = leases().map(pins).collect();
    assert!(text.iter().any(String::is_empty), "whoever only looks pins nothing: {text:?}");

    fs::remove_file(place.blob_path(digest(b"text of one"), false)).unwrap();
    assert!(!other.peek_tree(tree) && !other.peek_blob(digest(b"text of one")));
    assert_eq!(place.names("trees"), Vec::<String>::new());
}

#[test]
fn a_draft_has_the_digest_that_writing_it_gives() {
    let place = Place::new();
    let store = place.open();
    let mut draft = Draft::new();
    let file = |text: &[u8]| Node::File { digest: digest(text), executable: false };
    for path in ["a", "sub/b", "sub/deeper/c"] {
        draft.add(&store, &RelativePath::new(path).unwrap(), file(path.as_bytes())).unwrap();
    }
    let named = draft.clone().digest(store.function());
    assert_eq!(store.peek_directory(named), None);
    assert_eq!(draft.finish(&store).unwrap(), named);
    assert!(store.peek_directory(named).is_some());
}

#[test]
fn a_tree_that_lacks_a_blob_is_absent_and_leaves_nothing() {
    let place = Place::new();
    let store = place.open();
    let tree = make_tree(&store, "one");
    for missing in [digest(b"text of one"), digest(b"tool of one"), tree.0] {
        for executable in [false, true] {
            let _ = fs::remove_file(place.blob_path(missing, executable));
        }
        assert_eq!(store.materialise(tree).unwrap(), None);
        assert_eq!(place.names("tmp"), Vec::<String>::new());
        assert_eq!(place.names("trees/blake3"), Vec::<String>::new());
        assert!(!store.contains_tree(tree).unwrap());
        make_tree(&store, "one");
        assert!(store.contains_tree(tree).unwrap());
    }
    assert_is_tree(&store, tree, &store.materialise(tree).unwrap().unwrap());
}

#[test]
fn many_threads_that_want_one_tree_get_the_same() {
    let place = Place::new();
    let tree = make_tree(&place.open(), "one");
    let shared = place.open();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (place, shared) = (&place, &shared);
            scope.spawn(move || {
                let own = (thread % 2 == 0).then(|| place.open());
                let store = own.as_ref().unwrap_or(shared);
                let path = store.materialise(tree).unwrap().unwrap();
                assert_is_tree(store, tree, &path);
            });
        }
    });
    assert_eq!(place.names("tmp"), Vec::<String>::new());
    assert_eq!(place.names("trees/blake3").len(), 2, "one tree and its mark");
}

#[test]
fn many_processes_that_want_one_tree_get_the_same() {
    if let Some(job) = Job::of_this_process() {
        let store = open(&job.root);
        let tree = make_tree(&store, "one");
        let path = store.materialise(tree).unwrap().unwrap();
        assert_is_tree(&store, tree, &path);
        return say(path.to_str().unwrap());
    }
    let place = Place::new();
    let test = "trees::many_processes_that_want_one_tree_get_the_same";
    let children: Vec<_> = (0..6).map(|seed| Running::start(test, place.root(), seed)).collect();
    for mut child in children {
        assert!(child.hear().is_some_and(|path| path.starts_with(place.root().to_str().unwrap())));
        assert!(child.finish());
    }
    assert_eq!(place.names("tmp"), Vec::<String>::new());
    assert_eq!(place.names("trees/blake3").len(), 2, "one tree and its mark");
}

// ext4 allows 65,000 names for an inode; on a file system that allows more, the blob is linked as always.
#[test]
fn a_blob_with_as_many_names_as_there_may_be_gets_a_second_inode() {
    let place = Place::new();
    let store = place.open();
    let blob = store.ingest_bytes(b"popular", false).unwrap();
    let path = place.blob_path(blob, false);
    let inode = fs::metadata(&path).unwrap().ino();
    let names = store.scratch().unwrap();
    let full = (0..NAMES_MAX).any(|number| {
        let linked = fs::hard_link(&path, names.path().join(number.to_string()));
        linked.is_err_and(|error| error.kind() == std::io::ErrorKind::TooManyLinks)
    });
    let mut directory = Directory::new();
    directory.add(name("file"), Node::File { digest: blob, executable: false }).unwrap();
    let tree = store.write_directory(&directory).unwrap();
    assert_is_tree(&store, tree, &store.materialise(tree).unwrap().unwrap());
    assert_eq!(fs::metadata(&path).unwrap().ino() != inode, full);
}

/// Makes the store believe that the machine went down since the tree was made.
fn reboot(place: &Place, tree: TreeDigest) {
    fs::write(place.mark_path(tree), "another-boot 0\n").unwrap();
}

#[test]
fn a_tree_of_an_earlier_boot_is_checked_once_and_used() {
    let place = Place::new();
    let store = place.open();
    let tree = make_tree(&store, "one");
    let path = store.materialise(tree).unwrap().unwrap();
    let mark = fs::read(place.mark_path(tree)).unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    for torn in ["another-boot 0\n", "", "garbage"] {
        fs::write(place.mark_path(tree), torn).unwrap();
        assert_eq!(store.materialise(tree).unwrap(), Some(path.clone()));
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode, "it was right, so it stays");
        assert_eq!(fs::read(place.mark_path(tree)).unwrap(), mark);
    }
}

#[test]
fn a_torn_tree_of_an_earlier_boot_is_made_again_and_not_used() {
    type Tear = fn(&std::path::Path);
    let tears: [(&str, Tear); 8] = [
        ("a file is gone", |path| fs::remove_file(path.join("text")).unwrap()),
        ("a file is empty", |path| {
            fs::remove_file(path.join("text")).unwrap();
            fs::write(path.join("text"), "").unwrap();
        }),
        ("a directory is gone", |path| fs::remove_dir_all(path.join("below")).unwrap()),
        ("a directory is empty", |path| {
            fs::remove_dir_all(path.join("below")).unwrap();
            fs::create_dir(path.join("below")).unwrap();
        }),
        ("something is new", |path| fs::write(path.join("nothing/new"), "").unwrap()),
        ("a link leads elsewhere", |path| {
            fs::remove_file(path.join("absolute")).unwrap();
            std::os::unix::fs::symlink("/lib/ld.SO", path.join("absolute")).unwrap();
        }),
        ("a mode is wrong", |path| {
            let mode = fs::Permissions::from_mode(0o555);
            fs::set_permissions(path.join("empty"), mode).unwrap();
        }),
        ("a directory's mode is wrong", |path| {
            let mode = fs::Permissions::from_mode(0o700);
            fs::set_permissions(path.join("nothing"), mode).unwrap();
        }),
    ];
    for (what, tear) in tears {
        let place = Place::new();
        let store = place.open();
        let tree = make_tree(&store, "one");
        let path = store.materialise(tree).unwrap().unwrap();
        tear(&path);
        reboot(&place, tree);
        assert_eq!(store.present_tree(tree).unwrap(), None, "{what}");
        let path = store.materialise(tree).unwrap().unwrap();
        assert_is_tree(&store, tree, &path);
        assert_eq!(place.names("quarantine"), [format!("tree-{}", tree.0.hex())], "{what}");
    }
}

#[test]
fn a_tree_is_not_made_again_of_the_blob_that_tore_it() {
    let place = Place::new();
    let store = place.open();
    let tree = make_tree(&store, "one");
    let path = store.materialise(tree).unwrap().unwrap();
    corrupt(&path.join("below/tool"));
    corrupt(&path.join("text"));
    reboot(&place, tree);
    assert_eq!(store.materialise(tree).unwrap(), None);
    assert!(!store.contains(digest(b"text of one")).unwrap());
    assert!(!store.contains(digest(b"tool of one")).unwrap());
    make_tree(&store, "one");
    assert_is_tree(&store, tree, &store.materialise(tree).unwrap().unwrap());
    assert_eq!(store.verify().unwrap().quarantined.len(), 0);
}

#[test]
fn verification_finds_a_corrupted_tree_and_sets_it_aside() {
    let place = Place::new();
    let store = place.open();
    let (bad, good) = (make_tree(&store, "bad"), make_tree(&store, "good"));
    let path = store.materialise(bad).unwrap().unwrap();
    store.materialise(good).unwrap().unwrap();
    assert_eq!(store.verify().unwrap().quarantined.len(), 0);
    corrupt(&path.join("text"));
    let verified = store.verify().unwrap();
    assert_eq!(verified.trees, 2);
    assert_eq!(verified.quarantined.len(), 2, "the tree and the blob it shares: {verified:?}");
    assert_eq!(verified.quarantined[0], path);
    assert_eq!(store.present_tree(bad).unwrap(), None);
    assert!(store.present_tree(good).unwrap().is_some());
    assert_eq!(store.verify().unwrap().quarantined.len(), 0);
}
