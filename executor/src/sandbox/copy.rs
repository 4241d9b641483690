//! Giving things to the command where no user namespace can map ids: by changing their owner, never the store's.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, chown, lchown, symlink};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};

/// Gives a directory that bld made, and the directories in it, to the command.
pub(super) fn give_away(folder: &Path, id: u32) -> io::Result<()> {
    chown(folder, Some(id), Some(id))?;
    for entry in fs::read_dir(folder)? {
        give_away(&entry?.path(), id)?;
    }
    Ok(())
}

/// Copies a tree of the store into a directory, with times and modes, for the command to own.
///
/// An overlay would show the store's owner, who is somebody else: then nothing in it could be written.
pub(super) fn copy_tree(from: &Path, to: &Path, id: u32) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            // The directory that outputs are mounted on is there already.
            if !to.is_dir() {
                fs::create_dir(&to)?;
            }
            copy_tree(&from, &to, id)?;
            continue;
        }
        if kind.is_symlink() {
            symlink(fs::read_link(&from)?, &to)?;
        } else {
            fs::copy(&from, &to)?;
        }
        finish(&from, &to, id)?;
    }
    finish(from, to, id)
}

fn finish(from: &Path, to: &Path, id: u32) -> io::Result<()> {
    lchown(to, Some(id), Some(id))?;
    let from = from.symlink_metadata()?;
    let last_modification = Timespec { tv_sec: from.mtime(), tv_nsec: from.mtime_nsec() };
    let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let times = Timestamps { last_access, last_modification };
    utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(Into::into)
}
