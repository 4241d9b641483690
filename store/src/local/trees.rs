//! Trees: whole read-only directories, hard-linked from blobs, made once and then mounted.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use model::{Digest, Directory, Node, TreeDigest};
use rayon::prelude::*;
use rustix::fs::{AtFlags, CWD, Statx, StatxFlags, statx};

use super::blobs::{hash_file, rename_new, set_file_time};
use super::{Durability, LocalStore, remove_tree};
use crate::StoreError;

/// The mode of every directory of a tree.
const DIRECTORY_MODE: u32 = 0o755;

/// What the system calls this boot, and when it began.
///
/// What was written before it may have been torn by a power failure, so it is checked once.
#[derive(Debug)]
pub(super) struct Boot {
    id: String,
    began: u64,
}

impl Boot {
    pub(super) fn read() -> Result<Self, StoreError> {
        let path = Path::new("/proc/sys/kernel/random/boot_id");
        let id = fs::read_to_string(path).map_err(StoreError::disk("read", path))?;
        let path = Path::new("/proc/stat");
        let stat = fs::read_to_string(path).map_err(StoreError::disk("read", path))?;
        let began = stat.lines().find_map(|line| line.strip_prefix("btime "));
        let began = began.and_then(|text| text.trim().parse().ok()).unwrap_or(u64::MAX);
        Ok(Self { id: id.trim().to_owned(), began })
    }
}

/// What is remembered beside a tree.
#[derive(Debug)]
pub(super) struct Mark {
    /// The boot in which the tree was last known to be whole.
    pub(super) boot: String,
    /// The bytes that its directories take on disk; its files are blobs, and counted there.
    pub(super) own_bytes: u64,
}

impl Mark {
    pub(super) fn read(path: &Path) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let (boot, own_bytes) = text.trim_end().split_once(' ')?;
        Some(Self { boot: boot.to_owned(), own_bytes: own_bytes.parse().ok()? })
    }
}

/// How a tree that is here differs from what its digest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeFault {
    /// The tree.
    pub tree: TreeDigest,
    /// What is wrong, below the tree's root.
    pub path: PathBuf,
}

impl LocalStore {
    /// Makes the whole tree present and returns its directory,
    /// or `None` if a blob that it needs is not in the store.
    pub fn materialise(&self, tree: TreeDigest) -> Result<Option<PathBuf>, StoreError> {
        if !self.is_listed(tree)? {
            return Ok(None);
        }
        if let Some(path) = self.trusted_tree(tree)? {
            return Ok(Some(path));
        }
        let _lock = self.lock_tree(tree)?;
        // Whoever had the lock before has made it, or found it wrong.
        if let Some(path) = self.checked_tree(tree)? {
            return Ok(Some(path));
        }
        let beside = self.temporary_path();
        let made = self.make_tree(tree, &beside);
        if !matches!(made, Ok(Some(_))) {
            let _ = remove_tree(&beside);
        }
        made
    }

    /// Returns the directory of a tree that is here already, whole and checked.
    pub fn present_tree(&self, tree: TreeDigest) -> Result<Option<PathBuf>, StoreError> {
        if !self.is_listed(tree)? {
            return Ok(None);
        }
        if let Some(path) = self.trusted_tree(tree)? {
            return Ok(Some(path));
        }
        if !self.tree_path(tree).exists() {
            return Ok(None);
        }
        let _lock = self.lock_tree(tree)?;
        self.checked_tree(tree)
    }

    /// Pins a tree: its directory, and every blob below it.
    pub fn pin_tree(&self, tree: TreeDigest) -> Result<(), StoreError> {
        self.lease.pin(format!("tree {}:{}", tree.0.function(), tree.0.hex()))
    }

    /// Returns whether the whole closure of `tree` is here, as a directory or as blobs.
    pub fn contains_tree(&self, tree: TreeDigest) -> Result<bool, StoreError> {
        if !self.is_listed(tree)? {
            return Ok(false);
        }
        if self.present_tree(tree)?.is_some() {
            return Ok(true);
        }
        let mut pending = vec![tree];
        while let Some(tree) = pending.pop() {
            let Some(directory) = self.directory_unpinned(tree) else {
                return Ok(false);
            };
            for (_, node) in directory.children() {
                match node {
                    Node::File { digest, .. } if !digest.is_empty() => {
                        if self.look_for_blob(*digest).is_none() {
                            return Ok(false);
                        }
                    }
                    Node::Directory(child) => pending.push(*child),
                    Node::File { .. } | Node::Symlink(_) => {}
                }
            }
        }
        Ok(true)
    }

    /// Returns whether the listing of the root is here. Names on the disk have no sizes, but a digest with another one
    /// is the name of nothing.
    fn is_listed(&self, tree: TreeDigest) -> Result<bool, StoreError> {
        self.pin_tree(tree)?;
        Ok(tree.0.is_empty() || self.look_for_blob(tree.0).is_some())
    }

    /// Returns the directory of a tree that is known to be whole since this boot.
    fn trusted_tree(&self, tree: TreeDigest) -> Result<Option<PathBuf>, StoreError> {
        self.pin_tree(tree)?;
        let path = self.tree_path(tree);
        // What was whole once in this process, and marked as used by it, stays so: it is pinned.
        if self.trusted.lock().expect("no holder panics").contains(&tree) && path.exists() {
            return Ok(Some(path));
        }
        let mark = self.mark_path(tree);
        let known = Mark::read(&mark).is_some_and(|known| known.boot == self.boot.id);
        if !known || !path.exists() {
            return Ok(None);
        }
        Self::touch(&mark);
        self.trusted.lock().expect("no holder panics").insert(tree);
        Ok(Some(path))
    }

    /// Returns the directory of a tree if it is right, and sets it aside if it is wrong.
    /// Called with the tree's lock, so that nobody checks a tree while another replaces it.
    fn checked_tree(&self, tree: TreeDigest) -> Result<Option<PathBuf>, StoreError> {
        if let Some(path) = self.trusted_tree(tree)? {
            return Ok(Some(path));
        }
        let path = self.tree_path(tree);
        if !path.exists() {
            return Ok(None);
        }
        if self.check_tree(tree).is_some() {
            self.set_tree_aside(tree)?;
            self.distrust_blobs(tree)?;
            return Ok(None);
        }
        let own_bytes = own_bytes(&path).map_err(StoreError::disk("list", &path))?;
        self.mark_verified(tree, own_bytes)?;
        Ok(Some(path))
    }

    /// Makes the tree at `beside` and gives it its name; `None` if a blob is missing.
    fn make_tree(&self, tree: TreeDigest, beside: &Path) -> Result<Option<PathBuf>, StoreError> {
        let Some(own_bytes) = self.fill(tree, beside)? else {
            return Ok(None);
        };
        if self.durability == Durability::Synced {
            let folder = fs::File::open(beside).map_err(StoreError::disk("open", beside))?;
            rustix::fs::syncfs(&folder).map_err(StoreError::disk("sync", beside))?;
        }
        let path = self.tree_path(tree);
        let folder = path.parent().expect("a tree lies in a folder");
        fs::create_dir_all(folder).map_err(StoreError::disk("create", folder))?;
        match rename_new(beside, &path) {
            Ok(()) => {}
            // What a killed collector had thrown away came back meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                if let Some(path) = self.checked_tree(tree)? {
                    let _ = remove_tree(beside);
                    return Ok(Some(path));
                }
                rename_new(beside, &path).map_err(StoreError::disk("name", &path))?;
            }
            Err(error) => return Err(StoreError::disk("name", &path)(error)),
        }
        // Only now: a mark vouches for what stands beside it.
        self.mark_verified(tree, own_bytes)?;
        self.count_written(own_bytes);
        Ok(Some(path))
    }

    /// Moves a tree's directory into `quarantine/`; returns whether it was there.
    pub(super) fn set_tree_aside(&self, tree: TreeDigest) -> Result<bool, StoreError> {
        let path = self.tree_path(tree);
        let aside = self.folder("quarantine")?.join(format!("tree-{}", tree.0.hex()));
        let _ = remove_tree(&aside);
        let _ = fs::remove_file(self.mark_path(tree));
        match fs::rename(&path, &aside) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::disk("set aside", &path)(error)),
        }
    }

    /// Sets aside every blob of a tree that is not what its name says: a torn file of a tree
    /// is often a torn blob, and the tree would be made of it again.
    fn distrust_blobs(&self, tree: TreeDigest) -> Result<(), StoreError> {
        let mut pending = vec![tree];
        while let Some(tree) = pending.pop() {
            let Some(directory) = self.directory(tree)? else { continue };
            for (_, node) in directory.children() {
                match node {
                    Node::File { digest, .. } => {
                        let wrong = |executable| {
                            let path = self.blob_path(*digest, executable);
                            path.exists() && !file_is(&path, *digest, executable)
                        };
                        if wrong(false) || wrong(true) {
                            self.quarantine(*digest)?;
                        }
                    }
                    Node::Directory(child) => pending.push(*child),
                    Node::Symlink(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Compares a tree's directory with its digest, and returns the first thing that is wrong.
    pub(super) fn check_tree(&self, tree: TreeDigest) -> Option<TreeFault> {
        let root = self.tree_path(tree);
        let mut pending = vec![(tree, root)];
        while let Some((here, path)) = pending.pop() {
            let listed = self.directory_unpinned(here);
            let names = fs::read_dir(&path).map(Iterator::count);
            let (Some(directory), Ok(names)) = (listed, names) else {
                return Some(TreeFault { tree, path });
            };
            let mode = path.symlink_metadata().map(|metadata| metadata.permissions().mode());
            if names != directory.len() || !mode.is_ok_and(|mode| mode & 0o7777 == DIRECTORY_MODE) {
                return Some(TreeFault { tree, path });
            }
            for (name, node) in directory.children() {
                let child = path.join(name);
                let right = match node {
                    Node::Directory(digest) => {
                        pending.push((*digest, child.clone()));
                        child.symlink_metadata().is_ok_and(|metadata| metadata.is_dir())
                    }
                    Node::Symlink(target) => fs::read_link(&child)
                        .is_ok_and(|found| found.as_os_str() == target.as_str()),
                    Node::File { digest, executable } => file_is(&child, *digest, *executable),
                };
                if !right {
                    return Some(TreeFault { tree, path: child });
                }
            }
        }
        None
    }

    pub(super) fn tree_path(&self, tree: TreeDigest) -> PathBuf {
        self.root.join("trees").join(tree.0.function().name()).join(tree.0.hex())
    }

    /// The file beside a tree that says in which boot it was last known to be whole; its access time is the tree's.
    pub(super) fn mark_path(&self, tree: TreeDigest) -> PathBuf {
        let mut path = self.tree_path(tree).into_os_string();
        path.push(".boot");
        path.into()
    }

    fn mark_verified(&self, tree: TreeDigest, own_bytes: u64) -> Result<(), StoreError> {
        let mark = self.mark_path(tree);
        let beside = self.temporary_path();
        let text = format!("{} {own_bytes}\n", self.boot.id);
        fs::write(&beside, text).map_err(StoreError::disk("write", &beside))?;
        fs::rename(&beside, &mark).map_err(StoreError::disk("rename", &mark))
    }

    /// Fills the new directory `path` with `tree`, and returns the bytes that its directories take;
    /// `None` if a blob is missing.
    fn fill(&self, tree: TreeDigest, path: &Path) -> Result<Option<u64>, StoreError> {
        let Some(directory) = self.directory_unpinned(tree) else {
            return Ok(None);
        };
        fs::create_dir(path).map_err(StoreError::disk("create", path))?;
        if !self.fill_files(&directory, path)? {
            return Ok(None);
        }
        let children: Vec<_> = directory.directories().collect();
        let sum = |left: Option<u64>, right: Option<u64>| Some(left? + right?);
        let below = children
            .into_par_iter()
            .map(|(name, child)| self.fill(child, &path.join(name)))
            .try_fold(|| Some(0), |bytes, filled| filled.map(|filled| sum(bytes, filled)))
            .try_reduce(|| Some(0), |left, right| Ok(sum(left, right)))?;
        fs::set_permissions(path, fs::Permissions::from_mode(DIRECTORY_MODE))
            .map_err(StoreError::disk("set the mode of", path))?;
        set_file_time(path)?;
        let own = fs::metadata(path).map_or(0, |metadata| metadata.blocks() * 512);
        Ok(below.map(|below| below + own))
    }

    fn fill_files(&self, directory: &Directory, path: &Path) -> Result<bool, StoreError> {
        for (name, node) in directory.children() {
            let child = path.join(name);
            match node {
                Node::File { digest, executable } => {
                    if !self.link_blob(*digest, *executable, &child)? {
                        return Ok(false);
                    }
                }
                Node::Symlink(target) => {
                    symlink(target.as_str(), &child).map_err(StoreError::disk("link", &child))?;
                    set_file_time(&child)?;
                }
                Node::Directory(_) => {}
            }
        }
        Ok(true)
    }

    /// Gives a blob one more name. An empty one gets a file of its own: thousands share its digest,
    /// more than a file system allows names.
    fn link_blob(&self, digest: Digest, executable: bool, to: &Path) -> Result<bool, StoreError> {
        if digest.is_empty() {
            fs::write(to, b"").map_err(StoreError::disk("create", to))?;
            let mode = if executable { 0o555 } else { 0o444 };
            fs::set_permissions(to, fs::Permissions::from_mode(mode))
                .map_err(StoreError::disk("make read-only", to))?;
            set_file_time(to)?;
            return Ok(true);
        }
        let from = self.blob_path(digest, executable);
        match fs::hard_link(&from, to) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let Some(from) = self.ensure_blob(digest, executable)? else {
                    return Ok(false);
                };
                fs::hard_link(&from, to).map_err(StoreError::disk("link", to))?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::TooManyLinks => {
                if !self.renew_blob(digest, executable)? {
                    return Ok(false);
                }
                fs::hard_link(&from, to).map_err(StoreError::disk("link", to))?;
            }
            Err(error) => return Err(StoreError::disk("link", to)(error)),
        }
        let found = look(to);
        // A digest with another size is the name of something else, which is not here.
        if found.as_ref().is_some_and(|found| found.stx_size != digest.size()) {
            return Ok(false);
        }
        if self.was_before_boot(found.as_ref()) && !file_is(to, digest, executable) {
            self.quarantine(digest)?;
            return Ok(false);
        }
        Ok(true)
    }

    pub(super) fn is_older_than_boot(&self, path: &Path) -> bool {
        self.was_before_boot(look(path).as_ref())
    }

    fn was_before_boot(&self, found: Option<&Statx>) -> bool {
        let Some(found) = found else { return true };
        let born = u64::try_from(found.stx_btime.tv_sec).unwrap_or(0);
        let knows = found.stx_mask & StatxFlags::BTIME.bits() != 0;
        !knows || born <= self.boot.began
    }
}

fn look(path: &Path) -> Option<Statx> {
    let wanted = StatxFlags::BTIME | StatxFlags::SIZE;
    statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, wanted).ok()
}

fn file_is(path: &Path, digest: Digest, executable: bool) -> bool {
    let Ok(metadata) = path.symlink_metadata() else {
        return false;
    };
    let mode = if executable { 0o555 } else { 0o444 };
    if !metadata.is_file() || metadata.permissions().mode() & 0o7777 != mode {
        return false;
    }
    hash_file(digest.function(), path) == Some(digest)
}

/// Returns the bytes that a tree's directories take on disk.
fn own_bytes(path: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    let mut pending = vec![path.to_owned()];
    while let Some(path) = pending.pop() {
        bytes += fs::metadata(&path)?.blocks() * 512;
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    Ok(bytes)
}
