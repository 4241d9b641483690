//! The files of a store by their paths; what fails is told with the path and what was tried.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::disk::{Disk, DiskFile, Lock};
use crate::StoreError;

/// The folder of a store.
#[derive(Clone, Debug)]
pub(super) struct Files {
    disk: Arc<dyn Disk>,
}

/// A file of a store.
#[derive(Clone, Debug)]
pub(super) struct StoreFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    /// Whether what the disk did not take may be lost, unless it is written again.
    is_unsure: Arc<AtomicBool>,
}

/// How much of a file is written again at once, in bytes.
const WINDOW_BYTES: usize = 1 << 20;

impl Files {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk }
    }

    pub(super) fn boot(&self) -> Result<String, StoreError> {
        self.disk.boot().map_err(self.failed("learn when the machine started, for", Path::new("")))
    }

    pub(super) fn create(&self, path: &Path) -> Result<StoreFile, StoreError> {
        let file = self.disk.create(path).map_err(self.failed("create", path))?;
        Ok(StoreFile::new(file, self.disk.root().join(path)))
    }

    pub(super) fn open(&self, path: &Path) -> Result<Option<StoreFile>, StoreError> {
        let file = self.disk.open(path).map_err(self.failed("open", path))?;
        Ok(file.map(|file| StoreFile::new(file, self.disk.root().join(path))))
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        self.disk.rename(from, to).map_err(self.failed("rename", from))
    }

    pub(super) fn remove(&self, path: &Path) -> Result<(), StoreError> {
        self.disk.remove(path).map_err(self.failed("remove", path))
    }

    /// Returns the names in a folder, sorted.
    pub(super) fn list(&self, folder: &Path) -> Result<Vec<String>, StoreError> {
        let mut names = self.disk.list(folder).map_err(self.failed("list", folder))?;
        names.sort();
        Ok(names)
    }

    pub(super) fn is_folder(&self, path: &Path) -> Result<bool, StoreError> {
        self.disk.is_folder(path).map_err(self.failed("look at", path))
    }

    pub(super) fn make_folder(&self, folder: &Path) -> Result<(), StoreError> {
        self.disk.make_folder(folder).map_err(self.failed("create", folder))
    }

    pub(super) fn sync_folder(&self, folder: &Path) -> Result<(), StoreError> {
        self.disk.sync_folder(folder).map_err(self.failed("sync", folder))
    }

    /// Keeps others away from the store, or fails with [`StoreError::InUse`] where another does that.
    pub(super) fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, StoreError> {
        self.disk.lock(path).map_err(|source| {
            if source.kind() == io::ErrorKind::WouldBlock {
                StoreError::InUse { path: self.root().to_owned() }
            } else {
                self.failed("lock", path)(source)
            }
        })
    }

    /// Returns all bytes of a small file, or `None` if there is none.
    pub(super) fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(file) = self.open(path)? else { return Ok(None) };
        let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
        file.read_at(0, &mut bytes)?;
        Ok(Some(bytes))
    }

    /// Puts a small file in the place of what has its name, so that either is there whole at any time.
    pub(super) fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let fresh = path.with_extension("new");
        self.remove(&fresh)?;
        let file = self.create(&fresh)?;
        file.write_at(0, [bytes, &[]])?;
        file.sync()?;
        self.rename(&fresh, path)?;
        self.sync_folder(path.parent().unwrap_or(Path::new("")))
    }

    pub(super) fn root(&self) -> &Path {
        self.disk.root()
    }

    pub(super) fn failed(
        &self,
        verb: &'static str,
        path: &Path,
    ) -> impl FnOnce(io::Error) -> StoreError {
        let path = self.disk.root().join(path);
        move |source| StoreError::Disk { verb, path, source }
    }
}

impl StoreFile {
    fn new(file: Arc<dyn DiskFile>, path: PathBuf) -> Self {
        Self { file, path, is_unsure: Arc::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn raw(&self) -> &dyn DiskFile {
        &*self.file
    }

    pub(super) fn len(&self) -> Result<u64, StoreError> {
        self.file.len().map_err(self.failed("measure"))
    }

    pub(super) fn allocated(&self) -> Result<u64, StoreError> {
        self.file.allocated().map_err(self.failed("measure"))
    }

    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        self.file.read_at(offset, buffer).map_err(self.failed("read"))
    }

    pub(super) fn write_at(&self, offset: u64, pieces: [&[u8]; 2]) -> Result<(), StoreError> {
        self.file.write_at(offset, pieces).map_err(self.failed("write"))
    }

    pub(super) fn resize(&self, bytes: u64) -> Result<(), StoreError> {
        self.file.resize(bytes).map_err(self.failed("resize"))
    }

    pub(super) fn reserve(&self, bytes: u64) -> Result<(), StoreError> {
        self.file.reserve(bytes).map_err(self.failed("reserve room for"))
    }

    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync().map_err(self.failed("sync"))
    }

    /// Makes the first so many bytes, which nobody changes meanwhile, survive a loss of power. It can be tried again.
    pub(super) fn persist(&self, bytes: u64) -> Result<(), StoreError> {
        self.try_persist(bytes).map_err(self.failed("sync"))
    }

    pub(super) fn try_persist(&self, bytes: u64) -> io::Result<()> {
        if self.is_unsure.load(Ordering::SeqCst) {
            self.write_again(bytes)?;
        }
        let synced = self.file.sync();
        if synced.is_err() {
            // The kernel says it once, and holds what was not written for written from then on.
            self.is_unsure.store(true, Ordering::SeqCst);
            self.write_again(bytes)?;
        }
        synced
    }

    fn write_again(&self, bytes: u64) -> io::Result<()> {
        let mut window = vec![0; WINDOW_BYTES];
        let mut at = 0;
        while at < bytes {
            let count = usize::try_from(bytes - at).map_or(WINDOW_BYTES, |it| it.min(WINDOW_BYTES));
            self.file.read_at(at, &mut window[..count])?;
            self.file.write_at(at, [&window[..count], &[]])?;
            at += count as u64;
        }
        self.is_unsure.store(false, Ordering::SeqCst);
        Ok(())
    }

    // The path is copied only if it is to be told.
    fn failed(&self, verb: &'static str) -> impl FnOnce(io::Error) -> StoreError {
        move |source| StoreError::Disk { verb, path: self.path.clone(), source }
    }
}
