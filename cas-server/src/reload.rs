//! Files that are read again when they change, without anybody being told to.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

/// How often it is looked whether files have changed: how long a revoked token lives at most.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The largest file that is read for configuration, tokens, keys or certificates, in bytes: far more than any needs.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A file of ours cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", path.display())]
pub struct Unreadable {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl Unreadable {
    /// Returns whether the file, and not the machine, is to blame: it is not there, or no text.
    pub fn is_mistake(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, InvalidData, IsADirectory, NotADirectory, NotFound};
        let kind = self.source.kind();
        matches!(kind, NotFound | NotADirectory | IsADirectory | InvalidData | FileTooLarge)
    }
}

/// Reads a file of ours, which must not be larger than such files are.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Unreadable> {
    let unreadable = |source| Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(unreadable(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(bytes)
}

/// Reads a file of ours that is a text.
pub(crate) fn read_text(path: &Path) -> Result<String, Unreadable> {
    String::from_utf8(read(path)?).map_err(|source| Unreadable {
        path: path.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidData, source.utf8_error()),
    })
}

/// Something that is read from files again when they change.
pub trait Refresh: Send + Sync {
    /// Reads the files again. What they say now is used from here on; if it makes no sense, that is logged, and what they said
    /// before goes on being used.
    fn refresh(&self);
}

/// What a few files say, read again when they change.
pub(crate) struct Reloaded<T, E> {
    what: &'static str,
    paths: Vec<PathBuf>,
    load: Box<Load<T, E>>,
    /// What the files held when they were last read. Their bytes are compared and not their times, which are coarse.
    seen: Mutex<Vec<Option<blake3::Hash>>>,
    now: ArcSwap<T>,
}

/// Makes sense of what the files hold, in the order in which they were named; one that is not there holds nothing.
type Load<T, E> = dyn Fn(&[Option<Vec<u8>>]) -> Result<T, E> + Send + Sync;

impl<T, E: std::error::Error + From<Unreadable>> Reloaded<T, E> {
    /// Reads `paths`, which hold `what`, by `load`.
    pub(crate) fn open(
        what: &'static str,
        paths: Vec<PathBuf>,
        load: impl Fn(&[Option<Vec<u8>>]) -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Self, E> {
        let contents = contents(&paths)?;
        let now = ArcSwap::from_pointee(load(&contents)?);
        Ok(Self { what, paths, load: Box::new(load), seen: Mutex::new(hashes(&contents)), now })
    }

    /// Returns what the files said when they were last read.
    pub(crate) fn get(&self) -> Arc<T> {
        self.now.load_full()
    }

    /// Returns whether what they say now is something else than before.
    fn load_again(&self) -> Result<bool, E> {
        let contents = contents(&self.paths)?;
        let hashes = hashes(&contents);
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == hashes {
                return Ok(false);
            }
            *seen = hashes;
        }
        self.now.store(Arc::new((self.load)(&contents)?));
        Ok(true)
    }
}

impl<T: Send + Sync, E: std::error::Error + From<Unreadable> + 'static> Refresh for Reloaded<T, E> {
    fn refresh(&self) {
        match self.load_again() {
            Ok(false) => {}
            Ok(true) => tracing::info!(what = self.what, "read again: a file has changed"),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(
                    what = self.what,
                    error,
                    "a file has changed and makes no sense; what it said before still holds"
                );
            }
        }
    }
}

fn contents(paths: &[PathBuf]) -> Result<Vec<Option<Vec<u8>>>, Unreadable> {
    let content = |path: &PathBuf| match read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    paths.iter().map(content).collect()
}

fn hashes(contents: &[Option<Vec<u8>>]) -> Vec<Option<blake3::Hash>> {
    contents.iter().map(|bytes| bytes.as_deref().map(blake3::hash)).collect()
}

/// Looks again and again whether what `all` read has changed, until told to end.
pub async fn keep_fresh(all: Vec<Arc<dyn Refresh>>, end: CancellationToken) {
    let mut ticks = tokio::time::interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let all: Arc<[_]> = all.into();
    while end.run_until_cancelled(ticks.tick()).await.is_some() {
        let all = Arc::clone(&all);
        let looked = tokio::task::spawn_blocking(move || all.iter().for_each(|it| it.refresh()));
        if let Err(error) = looked.await {
            tracing::error!(%error, "cannot look whether files have changed");
        }
    }
}
