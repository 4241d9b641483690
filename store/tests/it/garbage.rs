//! Garbage: what goes, in which order, and what a collector that was killed leaves.

use std::fs;
use std::path::Path;

use model::{Action, ActionDigest, Command, Digest, Directory, Node, Platform, TreeDigest};
use store::LocalStore;
use wire::encode;

use crate::support::{
    Place, action, assert_is_tree, digest, make_tree, name, result_with_file, result_with_tree,
    used_at,
};

/// Large enough that only such blobs decide about a budget.
const BLOB_BYTES: usize = 256 << 10;

fn large_blob(store: &LocalStore, seed: u8) -> Digest {
    store.ingest_bytes(&vec![seed; BLOB_BYTES], false).unwrap()
}

fn physical(place: &Place) -> u64 {
    place.open().stat().unwrap().physical_bytes
}

#[test]
fn a_store_is_at_most_its_budget_afterwards() {
    let place = Place::new();
    let maker = place.open();
    for number in 0..12 {
        let tree = make_tree(&maker, &format!("tree {number}"));
        maker.materialise(tree).unwrap().unwrap();
        let blob = large_blob(&maker, number);
        let result = match number % 2 {
            0 => result_with_tree(tree, blob),
            _ => result_with_file(blob),
        };
        maker.record_result(action(&number.to_string()), &result).unwrap();
    }
    maker.set_roots(Path::new("/workspace"), &[make_tree(&maker, "tree 3")]).unwrap();
    drop(maker);
    let whole = physical(&place);
    for sixteenths in (0..=16).rev() {
        let budget = whole / 16 * sixteenths;
        let collected = place.open().collect(budget).unwrap();
        assert!(collected.bytes_after <= budget, "{collected:?}");
        assert_eq!(collected.bytes_after, physical(&place));
        assert!(sixteenths < 2 || collected.bytes_after > budget / 2, "it takes too much");
        assert_eq!(place.open().verify().unwrap().quarantined.len(), 0);
        for number in (0..12).map(|number| action(&number.to_string())) {
            let Some(result) = place.open().lookup_result(number).unwrap() else { continue };
            let files = result.files.iter().map(|file| file.digest);
            let lists = result.directories.iter().flat_map(|it| [it.tree, it.root.0]);
            for output in files.chain(lists) {
                assert!(place.open().contains(output).unwrap(), "an entry without its output");
            }
        }
    }
}

#[test]
fn nothing_goes_while_there_is_room() {
    let place = Place::new();
    large_blob(&place.open(), 1);
    let budget = physical(&place);
    let collected = place.open().collect(budget).unwrap();
    assert_eq!((collected.blobs_removed, collected.bytes_after), (0, budget));
}

#[test]
fn locked_trees_outlive_younger_blobs() {
    let place = Place::new();
    let maker = place.open();
    let locked = large_blob(&maker, 1);
    let mut directory = model::Directory::new();
    let file = model::Node::File { digest: locked, executable: false };
    directory.add(crate::support::name("file"), file).unwrap();
    let root = maker.write_directory(&directory).unwrap();
    let other = large_blob(&maker, 2);
    maker.set_roots(Path::new("/workspace"), &[root]).unwrap();
    drop(maker);
    used_at(&place.blob_path(locked, false), 1_000_000_000);
    used_at(&place.blob_path(other, false), 2_000_000_000);

    let budget = physical(&place) - 1;
    place.open().collect(budget).unwrap();
    assert!(place.open().contains_tree(root).unwrap());
    assert!(!place.open().contains(other).unwrap());

    place.open().set_no_roots().unwrap();
    let other = large_blob(&place.open(), 2);
    used_at(&place.blob_path(other, false), 2_000_000_000);
    place.open().collect(budget).unwrap();
    assert!(!place.open().contains(locked).unwrap(), "it is a blob like any other now");
    assert!(place.open().contains(other).unwrap());
}

#[test]
fn the_results_used_last_stay() {
    let place = Place::new();
    let maker = place.open();
    let names = ["a", "b", "c", "d"];
    for (seed, name) in (0..).zip(names) {
        let blob = large_blob(&maker, seed);
        maker.record_result(action(name), &result_with_file(blob)).unwrap();
    }
    drop(maker);
    for (name, used) in names.into_iter().zip([400, 100, 300, 200]) {
        used_at(&place.entry_path("actions", action(name)), 1_000_000_000 + used);
    }
    let there = || -> Vec<&str> {
        names
            .into_iter()
            .filter(|name| place.entry_path("actions", action(name)).exists())
            .collect()
    };
    for left in [vec!["a", "c", "d"], vec!["a", "c"], vec!["a"], vec![]] {
        let budget = physical(&place) - BLOB_BYTES as u64;
        let collected = place.open().collect(budget).unwrap();
        assert_eq!((collected.results_removed, collected.blobs_removed), (1, 1));
        assert_eq!(there(), left);
    }
}

#[test]
fn looking_something_up_is_a_use_and_verifying_is_not() {
    let place = Place::new();
    let maker = place.open();
    let (one, other) = (large_blob(&maker, 1), large_blob(&maker, 2));
    drop(maker);
    let day =
        |blob: Digest| fs::metadata(place.blob_path(blob, false)).unwrap().accessed().unwrap();
    for blob in [one, other] {
        used_at(&place.blob_path(blob, false), 1_000_000_000);
    }
    let before = day(one);
    assert_eq!(place.open().verify().unwrap().blobs, 2);
    assert_eq!((day(one), day(other)), (before, before));
    place.open().open_blob(one).unwrap().unwrap();
    assert!(day(one) > before);
    place.open().collect(physical(&place) - 1).unwrap();
    assert!(place.open().contains(one).unwrap());
    assert!(!place.open().contains(other).unwrap());
}

/// Moves something into the trash as a collector does that is killed right afterwards.
fn throw_away(place: &Place, path: &Path) {
    let to = place.root().join("trash/1-dead").join(path.strip_prefix(place.root()).unwrap());
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::rename(path, to).unwrap();
}

#[test]
fn a_collector_that_was_killed_before_it_deleted_loses_nothing() {
    let place = Place::new();
    let maker = place.open();
    let tree = make_tree(&maker, "one");
    let path = maker.materialise(tree).unwrap().unwrap();
    let list = maker.ingest_bytes(b"list", false).unwrap();
    maker.record_result(action("compose"), &result_with_tree(tree, list)).unwrap();
    maker.record_failure(action("compile"), &result_with_file(list)).unwrap();
    drop(maker);
    let before = place.open().stat().unwrap();

    for path in [
        place.entry_path("actions", action("compose")),
        place.entry_path("failures", action("compile")),
        place.tree_path(tree),
        place.mark_path(tree),
        place.blob_path(list, false),
        place.blob_path(tree.0, false),
        place.blob_path(digest(b"tool of one"), true),
        place.blob_path(digest(b"tool of one"), false),
    ] {
        throw_away(&place, &path);
    }
    assert_ne!(place.open().stat().unwrap(), before);
    place.open().collect(u64::MAX).unwrap();
    assert_eq!(place.open().stat().unwrap(), before);
    assert_eq!(place.open().present_tree(tree).unwrap(), Some(path.clone()));
    assert_is_tree(&place.open(), tree, &path);
    assert_eq!(place.open().verify().unwrap().quarantined.len(), 0);
    assert_eq!(place.names("trash"), Vec::<String>::new());
}

#[test]
fn what_was_made_again_since_a_collector_was_killed_stays_as_it_is() {
    let place = Place::new();
    let maker = place.open();
    let tree = make_tree(&maker, "one");
    let thrown = maker.materialise(tree).unwrap().unwrap();
    throw_away(&place, &thrown);
    throw_away(&place, &place.mark_path(tree));
    throw_away(&place, &place.blob_path(tree.0, false));
    make_tree(&maker, "one");
    let path = maker.materialise(tree).unwrap().unwrap();
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let made = inode(&path);
    place.open().collect(u64::MAX).unwrap();
    assert_eq!(inode(&path), made);
    assert_is_tree(&maker, tree, &path);
    assert_eq!(place.names("trash"), Vec::<String>::new());
}

// A tree that is half deleted must not come back as a whole one, whose mark says that it was checked.
#[test]
fn a_collector_that_was_killed_while_it_deleted_leaves_nothing_that_comes_back() {
    let place = Place::new();
    let maker = place.open();
    let trees: Vec<TreeDigest> = (0..8).map(|it| make_tree(&maker, &it.to_string())).collect();
    for tree in &trees {
        maker.materialise(*tree).unwrap().unwrap();
    }
    drop(maker);
    place.open().collect(0).unwrap();
    assert_eq!(place.names("trash"), Vec::<String>::new(), "deleting happens elsewhere");
    assert_eq!(place.names("tmp"), Vec::<String>::new());

    // What is being deleted lies in tmp/ under the name of its collector, and that one is dead.
    fs::create_dir_all(place.root().join("tmp/1-dead-7/trees/blake3/half")).unwrap();
    place.open().collect(u64::MAX).unwrap();
    assert_eq!(place.names("tmp"), Vec::<String>::new());
    assert_eq!(place.open().stat().unwrap().trees, 0);
}

#[test]
fn stray_files_disturb_no_collection() {
    let place = Place::new();
    let blob = large_blob(&place.open(), 1);
    let folder = place.blob_path(blob, false);
    let folder = folder.parent().unwrap();
    fs::write(folder.join("README"), "not a blob").unwrap();
    place.open().collect(0).unwrap();
    assert!(folder.join("README").exists());
    assert!(!place.open().contains(blob).unwrap());
}

/// Puts an action with its messages into the store, whose inputs are as many nested folders as `depth` says and a large
/// file at the end; returns its digest and those of the folders, the outermost first.
fn explained_action(store: &LocalStore, depth: usize, seed: u8) -> (ActionDigest, Vec<Digest>) {
    let mut node = Node::File { digest: large_blob(store, seed), executable: false };
    let mut folders = Vec::new();
    for _ in 0..depth {
        let mut directory = Directory::new();
        directory.add(name("below"), node).unwrap();
        let tree = store.write_directory(&directory).unwrap();
        folders.insert(0, tree.0);
        node = Node::Directory(tree);
    }
    let command = Command { arguments: vec![seed.to_string()], ..Command::default() };
    let command = store.ingest_bytes(&encode::command(&command), false).unwrap();
    let action = Action {
        command,
        input_root: TreeDigest(folders[0]),
        timeout: None,
        salt: String::new(),
        platform: Platform::default(),
    };
    let action = store.ingest_bytes(&encode::action(&action), false).unwrap();
    folders.insert(0, command);
    (ActionDigest(action), folders)
}

/// How many files of one block a share of this budget has room for.
fn messages_in(budget: u64) -> usize {
    usize::try_from(budget / 50 / 4096).unwrap()
}

#[test]
fn messages_that_explain_stay_within_their_share_and_files_do_not() {
    let place = Place::new();
    let maker = place.open();
    let (first, first_messages) = explained_action(&maker, 3, 1);
    let (second, second_messages) = explained_action(&maker, 200, 2);
    let (other, other_messages) = explained_action(&maker, 3, 3);
    drop(maker);
    // All but the share is filled by blobs that were used after all else.
    let blobs = 30;
    let later = place.open();
    (0..blobs).for_each(|seed| _ = large_blob(&later, 100 + seed));
    drop(later);
    let budget = u64::from(blobs) * BLOB_BYTES as u64 * 50 / 49;
    let room = messages_in(budget);
    assert!((10..100).contains(&room), "{room}");
    place.open().collect_but(budget, &|| vec![first, second]).unwrap();

    let here = |digests: &[Digest]| {
        let store = place.open();
        digests.iter().filter(|digest| store.contains(**digest).unwrap()).count()
    };
    assert_eq!(here(&[first.0]), 1);
    assert_eq!(here(&first_messages), 4, "the command and all folders of the first action");
    assert_eq!(here(&[second.0]), 1);
    let of_second = here(&second_messages);
    assert_eq!(1 + 4 + 1 + of_second, room, "no more than the share has room for");
    assert_eq!(here(&second_messages[..of_second]), of_second, "those near the root");
    assert_eq!(here(&[other.0]) + here(&other_messages), 0, "nobody asked for these");

    place.open().collect_but(0, &|| vec![first, second]).unwrap();
    assert_eq!(physical(&place), 0);
}

#[test]
fn messages_to_be_kept_may_be_gone_or_be_no_messages() {
    let place = Place::new();
    let maker = place.open();
    let blob = ActionDigest(large_blob(&maker, 1));
    drop(maker);
    let budget = physical(&place) - 1;
    let gone = action("never written");
    place.open().collect_but(budget, &|| vec![gone, blob]).unwrap();
    assert_eq!(physical(&place), 0);
}
