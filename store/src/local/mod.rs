//! The local store: plain files that many `bld` processes share at once, without a daemon.
//!
//! ```text
//! <root>/format                    the version of this layout
//!        blobs/<function>/<aa>/    a file per blob, read-only; `<hash>.x` is its executable twin
//!        trees/<function>/<hash>/  whole read-only directories, hard-linked from blobs, made once
//!        actions/<function>/<aa>/  what actions made; failures/ likewise
//!        leases/                   who lives, and what they need; pin.lock is passed by every new pin
//!        locks/                    one file per action in flight and per tree being made
//!        gc.lock                   held by the one collector
//!        tmp/ trash/ quarantine/   what is not there yet, or no more, or wrong
//! ```

mod actions;
mod blobs;
mod gc;
mod lease;
mod lock;
mod messages;
mod peek;
mod rewrites;
mod stat;
mod trees;
mod usage;
mod verify;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use async_trait::async_trait;
use model::{ActionDigest, ActionResult, Digest, DigestFunction, TreeDigest};

pub use actions::Remembered;
pub use gc::Collected;
pub use lock::ActionLock;
pub use rewrites::rewrites;
pub use stat::StoreStat;
pub use trees::TreeFault;
pub use verify::Verified;

use crate::{ActionCache, Blob, BlobStore, Provenance, StoreError, TreeSource};
use lease::Lease;

/// What the file `format` holds.
const FORMAT: &str = "bld-store 1\n";

/// The one time that every stored file carries, in seconds since the epoch: 2000-01-01T00:00:00Z.
///
/// Not zero: some tools take a zero time for a missing file.
pub const FILE_TIME_SECONDS: i64 = 946_684_800;

/// The longest path that a removal goes down to before it moves what lies deeper up, in bytes: with another name
/// it fits into what Linux takes (`PATH_MAX`), and what is nested absurdly is not looked up name by name each time.
const REMOVAL_PATH_BYTES_MAX: usize = 1024;

/// Whether a finished tree is pushed to the disk before it gets its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Synced, so that a power failure leaves it whole or absent.
    Synced,
    /// Not synced: for tests, whose stores do not outlive them.
    Lazy,
}

/// The store of one machine; `Send`, `Sync`, and shared with other processes.
#[derive(Debug)]
pub struct LocalStore {
    root: PathBuf,
    function: DigestFunction,
    durability: Durability,
    lease: Lease,
    next: AtomicU64,
    written: AtomicU64,
    boot: trees::Boot,
    trusted: Mutex<BTreeSet<TreeDigest>>,
    /// Whose word counts beside that of all.
    believed: OnceLock<Provenance>,
}

impl LocalStore {
    /// Opens the store at `root`, making it if need be. `function` names what is written from now on.
    pub fn open(root: &Path, function: DigestFunction) -> Result<Self, StoreError> {
        Self::open_with(root, function, Durability::Synced)
    }

    /// Like [`LocalStore::open`], with a say about syncing.
    pub fn open_with(
        root: &Path,
        function: DigestFunction,
        durability: Durability,
    ) -> Result<Self, StoreError> {
        for folder in ["blobs", "trees", "actions", "failures", "leases", "locks", "tmp", "trash"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(StoreError::disk("create", &path))?;
        }
        let root = root.canonicalize().map_err(StoreError::disk("open", root))?;
        let lease = Lease::take(&root)?;
        check_format(&root, lease.id())?;
        let boot = trees::Boot::read()?;
        Ok(Self {
            root,
            function,
            durability,
            lease,
            next: AtomicU64::new(0),
            written: AtomicU64::new(0),
            boot,
            trusted: Mutex::default(),
            believed: OnceLock::new(),
        })
    }

    /// Returns the function that names what is written here.
    pub fn function(&self) -> DigestFunction {
        self.function
    }

    /// Returns the directory that the store lives in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns how many bytes this process added so far.
    pub fn bytes_written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Returns a new private directory on the store's file system; it is removed when dropped.
    pub fn scratch(&self) -> Result<Scratch, StoreError> {
        let path = self.temporary_path();
        fs::create_dir(&path).map_err(StoreError::disk("create", &path))?;
        Ok(Scratch { path })
    }

    /// Returns a directory in the store for files of that purpose, which outlive this process.
    pub fn folder(&self, name: &str) -> Result<PathBuf, StoreError> {
        let path = self.root.join(name);
        fs::create_dir_all(&path).map_err(StoreError::disk("create", &path))?;
        Ok(path)
    }

    /// A path that nobody else uses; its name says whose it is, so that the collector can sweep up.
    fn temporary_path(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.root.join("tmp").join(format!("{}-{number}", self.lease.id()))
    }

    fn count_written(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for LocalStore {
    fn drop(&mut self) {
        // Should this fail, the store is counted anew within a day.
        if self.bytes_written() > 0 {
            let _ = self.add_usage();
        }
    }
}

/// Returns where the store is unless somebody says otherwise: `$XDG_CACHE_HOME/bld` or `~/.cache/bld`.
pub fn default_root(cache_home: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    cache_home
        .filter(|path| path.is_absolute())
        .or_else(|| home.map(|home| home.join(".cache")))
        .map(|cache| cache.join("bld"))
}

fn check_format(root: &Path, owner: &str) -> Result<(), StoreError> {
    let path = root.join("format");
    match fs::read_to_string(&path) {
        Ok(found) if found == FORMAT => Ok(()),
        Ok(found) => Err(StoreError::Format {
            path: root.to_owned(),
            found: found.trim().to_owned(),
            expected: FORMAT.trim_ascii(),
        }),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
            // Written beside and renamed: whoever opens the store at the same time sees all or nothing.
            let beside = root.join("tmp").join(format!("{owner}-format"));
            fs::write(&beside, FORMAT).map_err(StoreError::disk("write", &beside))?;
            fs::rename(&beside, &path).map_err(StoreError::disk("rename", &path))
        }
        Err(source) => Err(StoreError::disk("read", &path)(source)),
    }
}

/// A private directory on the store's file system, removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now, the collector sweeps up: the name says that its owner is gone.
        let _ = remove_tree(&self.path);
    }
}

/// Removes a directory and all below it, read-only directories included, however deep they lie.
///
/// Not by recursion: a command can nest directories until paths are too long and the stack is full.
fn remove_tree(path: &Path) -> std::io::Result<()> {
    let mut found = vec![path.to_owned()];
    let mut next = 0;
    while let Some(directory) = found.get(next).cloned() {
        next += 1;
        let Some(entries) = open_for_removal(&directory)? else { continue };
        for entry in entries {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                ignore_missing(fs::remove_file(entry.path()))?;
            } else if entry.path().as_os_str().len() <= REMOVAL_PATH_BYTES_MAX {
                found.push(entry.path());
            } else {
                let higher = path.join(format!(".removal-{}", found.len()));
                open_for_removal(&entry.path())?;
                fs::rename(entry.path(), &higher)?;
                found.push(higher);
            }
        }
    }
    found.iter().rev().try_for_each(|directory| ignore_missing(fs::remove_dir(directory)))
}

/// Lists a directory whose entries may be removed from now on; `None` if somebody else removed it.
fn open_for_removal(directory: &Path) -> std::io::Result<Option<fs::ReadDir>> {
    use std::os::unix::fs::PermissionsExt as _;
    let writable = fs::Permissions::from_mode(0o700);
    match fs::set_permissions(directory, writable).and_then(|()| fs::read_dir(directory)) {
        Ok(entries) => Ok(Some(entries)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn ignore_missing(removed: std::io::Result<()>) -> std::io::Result<()> {
    match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[async_trait]
impl BlobStore for LocalStore {
    async fn find_missing(
        &self,
        digests: BTreeSet<Digest>,
    ) -> Result<BTreeSet<Digest>, StoreError> {
        tokio::task::block_in_place(|| {
            let mut missing = BTreeSet::new();
            for digest in digests {
                if !self.contains(digest)? {
                    missing.insert(digest);
                }
            }
            Ok(missing)
        })
    }

    async fn read(&self, digest: Digest) -> Result<Option<Blob>, StoreError> {
        tokio::task::block_in_place(|| self.read_blob(digest))
    }

    async fn write(&self, digest: Digest, blob: Blob) -> Result<(), StoreError> {
        tokio::task::block_in_place(|| {
            if let Blob::Bytes(bytes) = &blob {
                return self.keep_as(digest, bytes);
            }
            let mut reader = blob.into_reader().map_err(|source| StoreError::Input { source })?;
            self.ingest_as(digest, &mut reader)
        })
    }
}

#[async_trait]
impl ActionCache for LocalStore {
    async fn lookup(&self, action: ActionDigest) -> Result<Option<ActionResult>, StoreError> {
        tokio::task::block_in_place(|| self.lookup_result(action))
    }

    async fn record(&self, action: ActionDigest, result: &ActionResult) -> Result<(), StoreError> {
        tokio::task::block_in_place(|| self.record_result(action, result))
    }
}

#[async_trait]
impl TreeSource for LocalStore {
    async fn ensure(&self, tree: TreeDigest) -> Result<Option<PathBuf>, StoreError> {
        tokio::task::block_in_place(|| self.materialise(tree))
    }
}
