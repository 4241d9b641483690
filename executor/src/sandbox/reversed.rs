//! Small trees, shown from memory and listed the other way round: who depends on the order of a directory makes
//! something else of them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::spec::{Mount, MountKind};

/// The most entries of all trees together that are copied: sources are fewer, build roots are not sources.
const ENTRIES_MAX: usize = 5_000;

/// The most bytes of them: they lie in memory.
const BYTES_MAX: u64 = 64 << 20;

/// The options of the file system that takes them.
pub(super) const OPTIONS: &str = "mode=0755,size=96m,nr_inodes=10k";

/// Returns the mounts with each tree that is small enough replaced by a copy in `folder`, which lies in memory.
pub(super) fn reverse_small(mounts: &[Mount], folder: &Path) -> io::Result<Vec<Mount>> {
    let newest_first = lists_newest_first(folder)?;
    let mut room = Room { entries: ENTRIES_MAX, bytes: BYTES_MAX };
    let mut reversed = Vec::new();
    for (number, mount) in mounts.iter().enumerate() {
        let mut mount = mount.clone();
        if let MountKind::Tree(tree) | MountKind::Overlay { lower: tree, .. } = &mut mount.kind {
            let measured = room.without(tree)?;
            if let Some(left) = measured {
                room = left;
                let copy = folder.join(number.to_string());
                copy_reversed(tree, &copy, newest_first)?;
                *tree = copy;
            }
        }
        reversed.push(mount);
    }
    Ok(reversed)
}

/// How much more may be copied.
struct Room {
    entries: usize,
    bytes: u64,
}

impl Room {
    /// Returns what is left once a tree is copied; nothing if it does not fit.
    fn without(&self, tree: &Path) -> io::Result<Option<Self>> {
        let Self { mut entries, mut bytes } = *self;
        let mut pending = vec![tree.to_owned()];
        while let Some(folder) = pending.pop() {
            for path in list(&folder)? {
                let metadata = path.symlink_metadata()?;
                let size = if metadata.is_file() { metadata.len() } else { 0 };
                let (Some(fewer), Some(less)) = (entries.checked_sub(1), bytes.checked_sub(size))
                else {
                    return Ok(None);
                };
                (entries, bytes) = (fewer, less);
                if metadata.is_dir() {
                    pending.push(path);
                }
            }
        }
        Ok(Some(Self { entries, bytes }))
    }
}

/// Returns whether a file system lists first what was made last, as some versions of Linux do in memory.
fn lists_newest_first(folder: &Path) -> io::Result<bool> {
    let (older, newer) = (folder.join("older"), folder.join("newer"));
    for path in [&older, &newer] {
        File::create_new(path)?;
    }
    let first = list(folder)?.into_iter().find(|path| *path == older || *path == newer);
    for path in [&older, &newer] {
        fs::remove_file(path)?;
    }
    Ok(first.is_some_and(|path| path == newer))
}

fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
}

fn copy_reversed(from: &Path, to: &Path, newest_first: bool) -> io::Result<()> {
    fs::create_dir(to)?;
    let mut entries = list(from)?;
    if !newest_first {
        entries.reverse();
    }
    for entry in entries {
        let target = to.join(entry.file_name().expect("entries have names"));
        let metadata = entry.symlink_metadata()?;
        if metadata.is_dir() {
            copy_reversed(&entry, &target, newest_first)?;
        } else if metadata.is_symlink() {
            symlink(fs::read_link(&entry)?, &target)?;
            copy_time(&entry, &target)?;
        } else {
            fs::copy(&entry, &target)?;
            copy_time(&entry, &target)?;
        }
    }
    fs::set_permissions(to, from.metadata()?.permissions())?;
    copy_time(from, to)
}

fn copy_time(from: &Path, to: &Path) -> io::Result<()> {
    let from = from.symlink_metadata()?;
    let time = Timespec { tv_sec: from.mtime(), tv_nsec: from.mtime_nsec() };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(Into::into)
}
