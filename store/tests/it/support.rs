//! Stores in temporary directories, and trees to put into them.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use model::{
    ActionDigest, ActionResult, Digest, DigestFunction, Directory, Node, OutputDirectory,
    OutputFile, PathSegment, RelativePath, SymlinkTarget, TreeDigest,
};
use store::{Durability, FILE_TIME_SECONDS, LocalStore};
use tempfile::TempDir;

pub(crate) const FUNCTION: DigestFunction = DigestFunction::Blake3;

/// A store's directory, removed at the end of a test.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Opens the store here, with a lease of its own: to the store it is one more process.
    pub(crate) fn open(&self) -> LocalStore {
        open(self.root())
    }

    pub(crate) fn blob_path(&self, digest: Digest, executable: bool) -> PathBuf {
        let hex = digest.hex();
        let folder = self.root().join("blobs").join(FUNCTION.name()).join(&hex[..2]);
        folder.join(if executable { format!("{hex}.x") } else { hex })
    }

    pub(crate) fn tree_path(&self, tree: TreeDigest) -> PathBuf {
        self.root().join("trees").join(FUNCTION.name()).join(tree.0.hex())
    }

    pub(crate) fn mark_path(&self, tree: TreeDigest) -> PathBuf {
        self.tree_path(tree).with_extension("boot")
    }

    pub(crate) fn entry_path(&self, table: &str, action: ActionDigest) -> PathBuf {
        let hex = action.0.hex();
        self.root().join(table).join(FUNCTION.name()).join(&hex[..2]).join(hex)
    }

    /// Returns the names in one of the store's folders.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root().join(folder)) else { return Vec::new() };
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

pub(crate) fn open(root: &Path) -> LocalStore {
    LocalStore::open_with(root, FUNCTION, Durability::Lazy).unwrap()
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::of(FUNCTION, bytes)
}

pub(crate) fn name(text: &str) -> PathSegment {
    PathSegment::new(text).unwrap()
}

pub(crate) fn action(text: &str) -> ActionDigest {
    ActionDigest(digest(text.as_bytes()))
}

/// Returns the only output of an action that makes this one file.
pub(crate) fn result_with_file(digest: Digest) -> ActionResult {
    let path = RelativePath::new("out/file").unwrap();
    ActionResult {
        files: vec![OutputFile { path, digest, executable: false }],
        ..ActionResult::default()
    }
}

/// Returns a result with one directory; the list of its directories is `list`.
pub(crate) fn result_with_tree(root: TreeDigest, list: Digest) -> ActionResult {
    let path = RelativePath::new("out/tree").unwrap();
    ActionResult {
        directories: vec![OutputDirectory { path, tree: list, root }],
        ..ActionResult::default()
    }
}

/// Puts a tree of every kind of thing into the store: two files, one of them executable, the same bytes
/// once with and once without the right, empty files, links, an empty directory.
pub(crate) fn make_tree(store: &LocalStore, seed: &str) -> TreeDigest {
    let file = |text: &str, executable| Node::File {
        digest: store.ingest_bytes(format!("{text} of {seed}").as_bytes(), executable).unwrap(),
        executable,
    };
    let empty = |executable| Node::File { digest: digest(b""), executable };
    let link = |target: &str| Node::Symlink(SymlinkTarget::new(target).unwrap());
    let mut below = Directory::new();
    below.add(name("tool"), file("tool", true)).unwrap();
    below.add(name("as-data"), file("tool", false)).unwrap();
    below.add(name("up"), link("../../leaves the tree")).unwrap();
    below.add(name("empty"), empty(false)).unwrap();
    let below = store.write_directory(&below).unwrap();
    let nothing = store.write_directory(&Directory::new()).unwrap();
    let mut root = Directory::new();
    root.add(name("text"), file("text", false)).unwrap();
    root.add(name("below"), Node::Directory(below)).unwrap();
    root.add(name("nothing"), Node::Directory(nothing)).unwrap();
    root.add(name("absolute"), link("/lib/ld.so")).unwrap();
    root.add(name("empty"), empty(false)).unwrap();
    root.add(name("empty-tool"), empty(true)).unwrap();
    store.write_directory(&root).unwrap()
}

/// Asserts that `path` holds exactly the tree: names, kinds, modes, times, bytes and targets.
pub(crate) fn assert_is_tree(store: &LocalStore, tree: TreeDigest, path: &Path) {
    let directory = store.directory(tree).unwrap().unwrap();
    let metadata = path.symlink_metadata().unwrap();
    assert!(metadata.is_dir(), "{}", path.display());
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o755, "{}", path.display());
    assert_eq!(metadata.mtime(), FILE_TIME_SECONDS, "{}", path.display());
    assert_eq!(fs::read_dir(path).unwrap().count(), directory.len(), "{}", path.display());
    for (name, node) in directory.children() {
        let path = path.join(name);
        let metadata = path.symlink_metadata().unwrap();
        assert_eq!(metadata.mtime(), FILE_TIME_SECONDS, "{}", path.display());
        assert_eq!(metadata.mtime_nsec(), 0, "{}", path.display());
        match node {
            Node::Directory(child) => assert_is_tree(store, *child, &path),
            Node::Symlink(target) => {
                assert_eq!(fs::read_link(&path).unwrap().to_str(), Some(target.as_str()));
            }
            Node::File { digest, executable } => {
                let mode = if *executable { 0o555 } else { 0o444 };
                assert!(metadata.is_file(), "{}", path.display());
                assert_eq!(metadata.permissions().mode() & 0o7777, mode, "{}", path.display());
                assert_eq!(self::digest(&fs::read(&path).unwrap()), *digest, "{}", path.display());
                assert!(!digest.is_empty() || metadata.nlink() == 1, "{}", path.display());
            }
        }
    }
}

/// Changes the bytes of a read-only file in place, as a failing disk does.
pub(crate) fn corrupt(path: &Path) {
    let mode = fs::metadata(path).unwrap().permissions();
    let mut bytes = fs::read(path).unwrap();
    bytes[0] ^= 1;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
    let file = fs::File::open(path).unwrap();
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(FILE_TIME_SECONDS.unsigned_abs());
    file.set_times(fs::FileTimes::new().set_modified(then)).unwrap();
    fs::set_permissions(path, mode).unwrap();
}

/// Says that a file was last used that many seconds after the epoch.
pub(crate) fn used_at(path: &Path, seconds: u64) {
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let file = fs::File::open(path).unwrap();
    file.set_times(fs::FileTimes::new().set_accessed(then)).unwrap();
}
