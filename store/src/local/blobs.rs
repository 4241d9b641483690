//! Blobs: a file each, written beside, named once it is whole, never written again.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use model::{Digest, DigestFunction, Directory, Hasher, TreeDigest};
use rustix::fs::{
    AtFlags, CWD, OFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT, renameat_with, utimensat,
};
use wire::{decode, encode};

use super::{FILE_TIME_SECONDS, LocalStore};
use crate::{Blob, StoreError};

/// Up to this size a blob is hashed in memory before a file is opened for it.
const MEMORY_BYTES_MAX: usize = 1 << 20;

/// Up to this size a blob is read whole, and its bytes are compared with its digest.
const CHECKED_READ_BYTES_MAX: u64 = 16 << 20;

impl LocalStore {
    /// Streams from `reader` into the store and returns the digest of what came.
    pub fn ingest(&self, reader: &mut dyn Read, executable: bool) -> Result<Digest, StoreError> {
        let mut head = Vec::new();
        let limit = MEMORY_BYTES_MAX as u64 + 1;
        reader.take(limit).read_to_end(&mut head).map_err(|source| StoreError::Input { source })?;
        if head.len() <= MEMORY_BYTES_MAX {
            return self.ingest_bytes(&head, executable);
        }
        let mut whole = std::io::Cursor::new(head).chain(reader);
        let (digest, beside) = self.write_beside(&mut whole, Hasher::new(self.function))?;
        self.pin_blob(digest)?;
        self.name_blob(digest, &beside, executable)?;
        Ok(digest)
    }

    /// Keeps `bytes` and returns their digest.
    pub fn ingest_bytes(&self, bytes: &[u8], executable: bool) -> Result<Digest, StoreError> {
        let digest = Digest::of(self.function, bytes);
        self.keep_bytes(digest, bytes, executable)?;
        Ok(digest)
    }

    /// Streams from `reader` into the store, and refuses what is not `expected`.
    pub fn ingest_as(&self, expected: Digest, reader: &mut dyn Read) -> Result<(), StoreError> {
        self.pin_blob(expected)?;
        if self.contains(expected)? {
            return Ok(());
        }
        // One byte more than expected is enough to know that it is something else.
        let mut reader = reader.take(expected.size().saturating_add(1));
        let (found, beside) = self.write_beside(&mut reader, Hasher::new(expected.function()))?;
        if found != expected {
            let _ = fs::remove_file(&beside);
            return Err(StoreError::Mismatch { expected, found });
        }
        self.name_blob(expected, &beside, false)
    }

    /// Keeps bytes in memory, and refuses what is not `expected`.
    pub(super) fn keep_as(&self, expected: Digest, bytes: &[u8]) -> Result<(), StoreError> {
        let found = Digest::of(expected.function(), bytes);
        if found != expected {
            return Err(StoreError::Mismatch { expected, found });
        }
        if self.contains(expected)? {
            return Ok(());
        }
        self.keep_bytes(expected, bytes, false)
    }

    /// Takes a finished file of this file system into the store, by renaming it, and returns its digest.
    /// Nobody may have it open for writing.
    pub fn adopt(&self, path: &Path, executable: bool) -> Result<Digest, StoreError> {
        let mut file = File::open(path).map_err(StoreError::disk("open", path))?;
        let mut hasher = Hasher::new(self.function);
        std::io::copy(&mut file, &mut hasher).map_err(StoreError::disk("read", path))?;
        let digest = hasher.finish();
        self.pin_blob(digest)?;
        self.name_blob(digest, path, executable)?;
        Ok(digest)
    }

    /// Returns whether the blob is here. If it is, it stays until this process ends.
    pub fn contains(&self, digest: Digest) -> Result<bool, StoreError> {
        if digest.is_empty() {
            return Ok(true);
        }
        self.pin_blob(digest)?;
        Ok(self.look_for_blob(digest).is_some())
    }

    /// Opens the blob's file for reading; `None` if it is not here.
    pub fn open_blob(&self, digest: Digest) -> Result<Option<File>, StoreError> {
        if digest.is_empty() {
            self.ensure_blob(digest, false)?;
        }
        let Some((file, path)) = self.open_unchecked(digest)? else {
            return Ok(None);
        };
        if self.is_older_than_boot(&path) && hash_file(digest.function(), &path) != Some(digest) {
            self.quarantine(digest)?;
            return Ok(None);
        }
        Ok(Some(file))
    }

    /// Returns the blob; a small one is compared with its digest, and one that lies is set aside.
    pub fn read_blob(&self, digest: Digest) -> Result<Option<Blob>, StoreError> {
        if digest.is_empty() {
            return Ok(Some(Blob::Bytes(Bytes::new())));
        }
        if digest.size() > CHECKED_READ_BYTES_MAX {
            return Ok(self.open_blob(digest)?.map(Blob::File));
        }
        let Some((file, _)) = self.open_unchecked(digest)? else {
            return Ok(None);
        };
        let bytes = Blob::File(file).into_bytes().map_err(|source| StoreError::Input { source })?;
        if Digest::of(digest.function(), &bytes) != digest {
            self.quarantine(digest)?;
            return Ok(None);
        }
        Ok(Some(Blob::Bytes(bytes)))
    }

    /// Returns the bytes of a blob that fits into memory.
    pub fn read_bytes(&self, digest: Digest) -> Result<Option<Bytes>, StoreError> {
        let Some(blob) = self.read_blob(digest)? else {
            return Ok(None);
        };
        blob.into_bytes().map(Some).map_err(|source| StoreError::Input { source })
    }

    /// Returns the directory that is the root of `tree`; `None` if it is not here.
    /// The whole tree is pinned: whoever reads a listing goes on to what it lists.
    pub fn directory(&self, tree: TreeDigest) -> Result<Option<Directory>, StoreError> {
        self.pin_tree(tree)?;
        let digest = tree.0;
        let Some(bytes) = self.read_bytes(digest)? else {
            return Ok(None);
        };
        decode::directory(digest.function(), &bytes)
            .map(Some)
            .map_err(|source| StoreError::Decode { digest, source })
    }

    /// Like [`LocalStore::directory`], without pinning it or marking it as used: for walks over whole trees,
    /// whose root is pinned, and for the collector, whose own pins would wait for it, and who knows no sizes: one of
    /// nothing does not count.
    pub(super) fn directory_unpinned(&self, tree: TreeDigest) -> Option<Directory> {
        // A file may hash to the name that a tree is asked under; then it is no directory.
        decode::directory(tree.0.function(), &self.message_unpinned(tree.0)?).ok()
    }

    /// Returns the bytes of a blob, without pinning it or marking it as used. A size of nothing does not count.
    pub(super) fn message_unpinned(&self, digest: Digest) -> Option<Vec<u8>> {
        [false, true]
            .into_iter()
            .filter_map(|executable| read_quietly(&self.blob_path(digest, executable)).ok())
            .find(|bytes| {
                let found = Digest::of(digest.function(), bytes);
                found == digest || digest.is_empty() && found.hash() == digest.hash()
            })
    }

    /// Keeps a directory and returns its digest.
    pub fn write_directory(&self, directory: &Directory) -> Result<TreeDigest, StoreError> {
        self.ingest_bytes(&encode::directory(directory), false).map(TreeDigest)
    }

    /// Sets a blob aside that is not what its name says.
    pub(super) fn quarantine(&self, digest: Digest) -> Result<(), StoreError> {
        let folder = self.folder("quarantine")?;
        for executable in [false, true] {
            let path = self.blob_path(digest, executable);
            let Some(name) = path.file_name() else { continue };
            match fs::rename(&path, folder.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StoreError::disk("set aside", &path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes the wanted variant of a blob present and returns its file, or `None` if no variant is here.
    pub(super) fn ensure_blob(
        &self,
        digest: Digest,
        executable: bool,
    ) -> Result<Option<PathBuf>, StoreError> {
        let path = self.blob_path(digest, executable);
        if digest.is_empty() {
            self.keep_bytes(digest, b"", executable)?;
            return Ok(Some(path));
        }
        if path.exists() {
            return Ok(Some(path));
        }
        let Some(beside) = self.copy_beside(digest)? else {
            return Ok(None);
        };
        self.name_blob(digest, &beside, executable)?;
        Ok(Some(path))
    }

    /// Gives a blob a new inode, for when the old one has as many names as the file system allows.
    /// Returns whether the blob was still right.
    pub(super) fn renew_blob(&self, digest: Digest, executable: bool) -> Result<bool, StoreError> {
        let Some(beside) = self.copy_beside(digest)? else {
            return Ok(false);
        };
        seal(&beside, executable)?;
        let path = self.blob_path(digest, executable);
        fs::rename(&beside, &path).map_err(StoreError::disk("rename", &path))?;
        Ok(true)
    }

    /// Copies a blob into a temporary file; one that is not what its name says is set aside instead.
    fn copy_beside(&self, digest: Digest) -> Result<Option<PathBuf>, StoreError> {
        let Some(path) = self.look_for_blob(digest) else {
            return Ok(None);
        };
        let mut file = File::open(&path).map_err(StoreError::disk("open", &path))?;
        let (found, beside) = self.write_beside(&mut file, Hasher::new(digest.function()))?;
        if found == digest {
            return Ok(Some(beside));
        }
        let _ = fs::remove_file(&beside);
        self.quarantine(digest)?;
        Ok(None)
    }

    pub(super) fn blob_path(&self, digest: Digest, executable: bool) -> PathBuf {
        let hex = digest.hex();
        let mut path = self.root.join("blobs");
        path.push(digest.function().name());
        path.push(&hex[..2]);
        path.push(if executable { format!("{hex}.x") } else { hex });
        path
    }

    pub(super) fn pin_blob(&self, digest: Digest) -> Result<(), StoreError> {
        self.lease.pin(format!("blob {}:{}", digest.function(), digest.hex()))
    }

    fn open_unchecked(&self, digest: Digest) -> Result<Option<(File, PathBuf)>, StoreError> {
        self.pin_blob(digest)?;
        let Some(path) = self.look_for_blob(digest) else {
            return Ok(None);
        };
        Self::touch(&path);
        match File::open(&path) {
            Ok(file) => Ok(Some((file, path))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::disk("open", &path)(error)),
        }
    }

    /// Returns the file of a blob whose size is right, whichever variant there is.
    pub(super) fn look_for_blob(&self, digest: Digest) -> Option<PathBuf> {
        [false, true]
            .into_iter()
            .map(|executable| self.blob_path(digest, executable))
            .find(|path| fs::metadata(path).is_ok_and(|metadata| metadata.len() == digest.size()))
    }

    /// Marks a file as used now. Explicit, because most file systems are mounted without access times.
    pub(super) fn touch(path: &Path) {
        let now = std::time::SystemTime::now();
        let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(since.subsec_nanos()),
            },
            last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        };
        // Only the order of eviction depends on it.
        let _ = utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
    }

    fn keep_bytes(&self, digest: Digest, bytes: &[u8], executable: bool) -> Result<(), StoreError> {
        self.pin_blob(digest)?;
        let path = self.blob_path(digest, executable);
        if fs::metadata(&path).is_ok_and(|metadata| metadata.len() == digest.size()) {
            return Ok(());
        }
        let beside = self.temporary_path();
        if let Err(error) = fs::write(&beside, bytes) {
            let _ = fs::remove_file(&beside);
            return Err(StoreError::disk("write", &beside)(error));
        }
        self.name_blob(digest, &beside, executable)
    }

    fn write_beside(
        &self,
        reader: &mut dyn Read,
        mut hasher: Hasher,
    ) -> Result<(Digest, PathBuf), StoreError> {
        let beside = self.temporary_path();
        let written = (|| {
            let mut file = File::create(&beside).map_err(StoreError::disk("create", &beside))?;
            let mut buffer = vec![0; 256 << 10];
            loop {
                let read = match reader.read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(read) => read,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                    Err(source) => return Err(StoreError::Input { source }),
                };
                hasher.update(&buffer[..read]);
                file.write_all(&buffer[..read]).map_err(StoreError::disk("write", &beside))?;
            }
        })();
        if let Err(error) = written {
            let _ = fs::remove_file(&beside);
            return Err(error);
        }
        Ok((hasher.finish(), beside))
    }

    fn name_blob(&self, digest: Digest, beside: &Path, executable: bool) -> Result<(), StoreError> {
        seal(beside, executable)?;
        let path = self.blob_path(digest, executable);
        let named = rename_new(beside, &path).or_else(|error| {
            if error.kind() != std::io::ErrorKind::NotFound {
                return Err(error);
            }
            let folder = path.parent().expect("a blob lies in a folder");
            fs::create_dir_all(folder)?;
            rename_new(beside, &path)
        });
        match named {
            Ok(()) => {
                self.count_written(digest.size());
                Ok(())
            }
            // Somebody else was faster, or a torn file of the wrong size is in the way.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                if fs::metadata(&path).is_ok_and(|metadata| metadata.len() == digest.size()) {
                    return fs::remove_file(beside).map_err(StoreError::disk("remove", beside));
                }
                fs::rename(beside, &path).map_err(StoreError::disk("rename", &path))
            }
            Err(error) => {
                let _ = fs::remove_file(beside);
                Err(StoreError::disk("name", &path)(error))
            }
        }
    }
}

/// Gives a file the mode and the time that all stored files have.
fn seal(path: &Path, executable: bool) -> Result<(), StoreError> {
    let mode = if executable { 0o555 } else { 0o444 };
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(StoreError::disk("make read-only", path))?;
    set_file_time(path)
}

/// Gives a file or directory the one time of stored files; its last use stays.
pub(super) fn set_file_time(path: &Path) -> Result<(), StoreError> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: FILE_TIME_SECONDS, tv_nsec: 0 },
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(StoreError::disk("set the time of", path))
}

/// Returns what a file hashes to, if it can be read. It does not count as used.
pub(super) fn hash_file(function: DigestFunction, path: &Path) -> Option<Digest> {
    let mut file = open_quietly(path).ok()?;
    let mut hasher = Hasher::new(function);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some(hasher.finish()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// Reads a file that does not count as used for that.
pub(super) fn read_quietly(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_quietly(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn open_quietly(path: &Path) -> std::io::Result<File> {
    let flags = i32::try_from(OFlags::NOATIME.bits()).expect("a flag of open(2)");
    match File::options().read(true).custom_flags(flags).open(path) {
        // Only the owner may ask for that; others read all the same.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => File::open(path),
        opened => opened,
    }
}

/// Renames, unless something has that name already.
pub(super) fn rename_new(from: &Path, to: &Path) -> std::io::Result<()> {
    renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE).map_err(Into::into)
}
