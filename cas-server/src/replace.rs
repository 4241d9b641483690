//! Files of ours that commands write while a server reads them: replaced as a whole, by one at a time, for nobody else to read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Who may read a secret: its owner.
pub(crate) const SECRET_MODE: u32 = 0o600;

/// Who may read what is public.
pub(crate) const PUBLIC_MODE: u32 = 0o644;

/// A file of ours cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {}", path.display())]
pub struct ReplaceError {
    /// What cannot be done.
    pub verb: &'static str,
    /// With what.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

fn cannot(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ReplaceError {
    let path = path.to_owned();
    move |source| ReplaceError { verb, path, source }
}

/// The right to be the only one who changes a file, and those that go with it, until it is dropped.
#[must_use]
pub(crate) struct Exclusive {
    _lock: File,
}

impl Exclusive {
    /// Waits for the right to change `path`, whose folder is made if there is none.
    pub(crate) fn wait(path: &Path) -> Result<Self, ReplaceError> {
        make_folder(path)?;
        let path = beside(path, "lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(SECRET_MODE);
        let lock = options.open(&path).map_err(cannot("open", &path))?;
        flock(&lock, FlockOperation::LockExclusive)
            .map_err(|source| cannot("lock", &path)(source.into()))?;
        Ok(Self { _lock: lock })
    }
}

/// Makes `path` hold `bytes`: whoever reads it sees all that was there before or all that is there now.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), ReplaceError> {
    let folder = make_folder(path)?;
    let new = beside(path, "new");
    // Left by whoever was interrupted here: its mode may be another.
    match fs::remove_file(&new) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(cannot("remove", &new)(source));
        }
        Ok(()) | Err(_) => {}
    }
    let mut options = OpenOptions::new();
    options.create_new(true).write(true).mode(mode);
    let mut file = options.open(&new).map_err(cannot("make", &new))?;
    give_to_owner_of(folder, &file).map_err(cannot("give away", &new))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(cannot("write", &new))?;
    fs::rename(&new, path).map_err(cannot("rename", &new))?;
    File::open(folder).and_then(|it| it.sync_all()).map_err(cannot("sync", folder))
}

/// Gives a file that root has made to whoever the folder belongs to: the server that is to read it runs as somebody else.
fn give_to_owner_of(folder: &Path, file: &File) -> io::Result<()> {
    let (owner, maker) = (fs::metadata(folder)?, file.metadata()?);
    if maker.uid() != 0 || owner.uid() == 0 {
        return Ok(());
    }
    fchown(file, Some(owner.uid()), Some(owner.gid()))
}

fn make_folder(path: &Path) -> Result<&Path, ReplaceError> {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(cannot("make", folder))?;
    Ok(folder)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(ending);
    path.with_file_name(name)
}
