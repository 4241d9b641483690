//! The disk below the server's store: the few calls it makes, so that a test can let each of them fail.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::blocking::blocking;

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, fdatasync, flock};
use rustix::io::{Errno, ReadWriteFlags, preadv2, pwritev, retry_on_intr};

/// What keeps others away for as long as it lives.
pub trait Lock: Debug + Send + Sync {}

/// A folder with files, and nothing else that the store relies on. Paths are relative to it.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Returns where the folder is, for messages.
    fn root(&self) -> &Path;
    /// Returns what is another one after each start of the machine: what was not synced before may be lost then.
    fn boot(&self) -> io::Result<String>;
    /// Returns a new file. What has that name already is an error.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Returns a file, open for reading and writing, or `None`.
    fn open(&self, path: &Path) -> io::Result<Option<Arc<dyn DiskFile>>>;
    /// Gives a file another name, in place of what has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Takes a file away. That there is none is no error.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Returns the names in a folder that are UTF-8, in any order: no other one is of the store.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// Returns whether a folder has that name.
    fn is_folder(&self, path: &Path) -> io::Result<bool>;
    /// Makes a folder and those above it. That there is one is no error.
    fn make_folder(&self, folder: &Path) -> io::Result<()>;
    /// Returns once the names in the folder would survive a loss of power.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Keeps other processes away, or fails with [`ErrorKind::WouldBlock`] where another does that.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
}

/// A file of a [`Disk`].
#[expect(clippy::len_without_is_empty, reason = "nobody asks whether a file is empty")]
pub trait DiskFile: Debug + Send + Sync {
    /// Returns how many bytes it has.
    fn len(&self) -> io::Result<u64>;
    /// Fills `buffer` with what is at `offset`; too few bytes there are [`ErrorKind::UnexpectedEof`].
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Writes both pieces at `offset`, one after the other.
    fn write_at(&self, offset: u64, pieces: [&[u8]; 2]) -> io::Result<()>;
    /// Cuts the file off there, or makes it longer with zeros.
    fn resize(&self, bytes: u64) -> io::Result<()>;
    /// Makes it that long at least, and the disk has room for all of it then.
    fn reserve(&self, bytes: u64) -> io::Result<()>;
    /// Returns once what was written would survive a loss of power.
    fn sync(&self) -> io::Result<()>;
    /// Returns how many bytes it takes on the disk.
    fn allocated(&self) -> io::Result<u64>;
}

/// A folder of the machine's file system.
#[derive(Debug)]
pub(super) struct RealDisk {
    root: PathBuf,
}

impl RealDisk {
    /// Returns the folder, made if it is not there.
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        Ok(Self { root: root.to_owned() })
    }

    fn options() -> fs::OpenOptions {
        let mut options = File::options();
        options.read(true).write(true);
        options
    }
}

#[derive(Debug)]
struct RealLock {
    _file: File,
}

impl Lock for RealLock {}

impl Disk for RealDisk {
    fn root(&self) -> &Path {
        &self.root
    }

    fn boot(&self) -> io::Result<String> {
        fs::read_to_string("/proc/sys/kernel/random/boot_id")
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(Self::options().create_new(true).open(self.root.join(path))?)))
    }

    fn open(&self, path: &Path) -> io::Result<Option<Arc<dyn DiskFile>>> {
        match Self::options().open(self.root.join(path)) {
            Ok(file) => Ok(Some(Arc::new(RealFile(file)))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(self.root.join(from), self.root.join(to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(self.root.join(path)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.root.join(folder))? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn is_folder(&self, path: &Path) -> io::Result<bool> {
        Ok(fs::symlink_metadata(self.root.join(path))?.is_dir())
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(self.root.join(folder))
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(self.root.join(folder))?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file = Self::options().create(true).truncate(false).open(self.root.join(path))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(RealLock { _file: file }))
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut pieces = [IoSliceMut::new(buffer)];
        // What the kernel has in memory is had at once; only for the rest is another thread's time worth it.
        let count = preadv2(&self.0, &mut pieces, offset, ReadWriteFlags::NOWAIT).unwrap_or(0);
        if count == buffer.len() {
            return Ok(());
        }
        let (offset, rest) = (offset + count as u64, &mut buffer[count..]);
        blocking(|| self.0.read_exact_at(rest, offset))
    }

    fn write_at(&self, offset: u64, pieces: [&[u8]; 2]) -> io::Result<()> {
        let wanted = pieces[0].len() + pieces[1].len();
        let slices = pieces.map(IoSlice::new);
        let written = retry_on_intr(|| pwritev(&self.0, &slices, offset))?;
        if written == wanted {
            return Ok(());
        }
        // The kernel took a part: a signal came, or the disk is full, which the next call will say.
        let (first, second) =
            (pieces[0].len().min(written), written.saturating_sub(pieces[0].len()));
        self.0.write_all_at(&pieces[0][first..], offset + first as u64)?;
        self.0.write_all_at(&pieces[1][second..], offset + (pieces[0].len() + second) as u64)
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        match retry_on_intr(|| fallocate(&self.0, FallocateFlags::empty(), 0, bytes)) {
            // A file system that cannot promise room tells of a full disk when it is written to.
            Err(Errno::OPNOTSUPP) => self.0.set_len(bytes.max(self.len()?)),
            other => Ok(other?),
        }
    }

    fn sync(&self) -> io::Result<()> {
        Ok(fdatasync(&self.0)?)
    }

    fn allocated(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.blocks() * 512)
    }
}
