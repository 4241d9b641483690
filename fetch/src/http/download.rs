//! Downloads into files: resumed where an earlier one stopped, tried again a few times, never larger than told.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::client::{Client, Network};
use super::error::DownloadError;
use super::proxies::Proxies;
use super::reply::Reply;
use super::url::Url;
use crate::Sha256;
use crate::progress::Step;

/// How often one address is tried: a mirror that fails four times in a row will not succeed in seconds.
const ATTEMPTS_MAX: u32 = 4;
/// The pause before the second attempt; it doubles each time.
const PAUSE: Duration = Duration::from_millis(500);
/// How much is read at once.
const BUFFER_BYTES: usize = 64 << 10;

/// What is to be downloaded.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    /// The hash; it also names what an interrupted download left. Not compared here.
    pub(crate) sha256: Option<Sha256>,
    /// The exact size, if it is known.
    pub(crate) size: Option<u64>,
    /// The most bytes there may be.
    pub(crate) limit: u64,
}

/// A file that was downloaded.
pub(crate) struct Download {
    pub(crate) file: File,
    pub(crate) size: u64,
    /// Whether an earlier download began it.
    pub(crate) resumed: bool,
    path: Option<PathBuf>,
}

impl Download {
    /// Removes what would otherwise be resumed.
    pub(crate) fn discard(self) {
        if let Some(path) = &self.path {
            // At worst it is found to be complete next time.
            let _ = fs::remove_file(path);
        }
    }
}

/// Downloads files, several at once if asked from several threads.
pub struct Downloader {
    client: Client,
    folder: PathBuf,
    pause: Duration,
    /// Hosts that did not answer: they are asked last, and only once.
    silent: Mutex<BTreeSet<String>>,
}

impl Downloader {
    /// Returns a downloader that keeps unfinished files in `folder`.
    pub fn new(network: Network, proxies: Proxies, folder: PathBuf) -> Self {
        let client = Client::new(network, proxies);
        Self { client, folder, pause: PAUSE, silent: Mutex::default() }
    }

    /// Returns the same downloader with another pause before the second attempt.
    #[must_use]
    pub fn with_pause(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// Returns whether anything beyond this machine may be asked.
    pub fn network(&self) -> Network {
        self.client.network
    }

    /// Downloads what is wanted from `url`.
    pub(crate) fn download(
        &self,
        wanted: Wanted,
        url: &Url,
        step: &dyn Step,
    ) -> Result<Download, DownloadError> {
        fs::create_dir_all(&self.folder).map_err(DownloadError::disk("create", &self.folder))?;
        let (file, path) = self.open(wanted)?;
        let begun = file.metadata().map_err(DownloadError::disk("read", &self.folder))?.len();
        let size = self.fill(wanted, url, &file, step).inspect_err(|error| {
            // What came is not what was wanted; a broken connection leaves what is worth keeping.
            if !error.is_transient() {
                let _ = file.set_len(0);
            }
        })?;
        (&file).rewind().map_err(DownloadError::disk("read", &self.folder))?;
        Ok(Download { file, size, resumed: begun > 0, path })
    }

    /// Downloads a small file into memory.
    pub(crate) fn read(
        &self,
        url: &Url,
        limit: u64,
        step: &dyn Step,
    ) -> Result<Vec<u8>, DownloadError> {
        let wanted = Wanted { sha256: None, size: None, limit };
        let mut download = self.download(wanted, url, step)?;
        let mut bytes = Vec::new();
        download.file.read_to_end(&mut bytes).map_err(DownloadError::disk("read", &self.folder))?;
        Ok(bytes)
    }

    /// Opens what an earlier download left, or a new file.
    fn open(&self, wanted: Wanted) -> Result<(File, Option<PathBuf>), DownloadError> {
        let nameless = || {
            tempfile::tempfile_in(&self.folder).map_err(DownloadError::disk("create", &self.folder))
        };
        let Some(sha256) = wanted.sha256 else { return Ok((nameless()?, None)) };
        let path = self.folder.join(format!("{sha256}.partial"));
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(DownloadError::disk("create", &path))?;
        // Where another process is at it, we fetch our own copy: nobody waits for anybody.
        if file.try_lock().is_err() {
            return Ok((nameless()?, None));
        }
        file.seek(SeekFrom::End(0)).map_err(DownloadError::disk("read", &path))?;
        Ok((file, Some(path)))
    }

    fn fill(
        &self,
        wanted: Wanted,
        url: &Url,
        file: &File,
        step: &dyn Step,
    ) -> Result<u64, DownloadError> {
        let mut pause = self.pause;
        let attempts_max = if self.is_silent(url) { 1 } else { ATTEMPTS_MAX };
        let mut attempt = 1;
        loop {
            let result = self.fill_once(wanted, url, file, step);
            let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
            match result {
                Err(error) if error.is_transient() && attempt < attempts_max => {
                    drop(silent);
                    std::thread::sleep(pause);
                    pause *= 2;
                    attempt += 1;
                }
                Err(error @ DownloadError::Connect { .. }) => {
                    silent.insert(url.authority.clone());
                    return Err(error);
                }
                other => {
                    silent.remove(&url.authority);
                    return other;
                }
            }
        }
    }

    /// Returns whether the host did not answer the last time.
    pub(crate) fn is_silent(&self, url: &Url) -> bool {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner).contains(&url.authority)
    }

    fn fill_once(
        &self,
        wanted: Wanted,
        url: &Url,
        mut file: &File,
        step: &dyn Step,
    ) -> Result<u64, DownloadError> {
        let disk = |error| DownloadError::disk("write", &self.folder)(error);
        let mut have = file.metadata().map_err(disk)?.len();
        if wanted.size == Some(have) && have > 0 {
            return Ok(have);
        }
        if wanted.size.is_some_and(|size| have > size) {
            have = 0;
        }
        let mut reply = self.client.ask(url, have)?;
        match reply.status {
            200 => have = 0,
            206 if reply.range_start == Some(have) => {}
            status => {
                // What is there does not fit what the server has: begin anew.
                if matches!(status, 206 | 416) {
                    file.set_len(0).map_err(disk)?;
                    return Err(DownloadError::Status { url: url.clone(), status: 416 });
                }
                return Err(DownloadError::Status { url: url.clone(), status });
            }
        }
        file.set_len(have).map_err(disk)?;
        file.seek(SeekFrom::Start(have)).map_err(disk)?;
        step.advance(have);
        let limit = wanted.size.unwrap_or(wanted.limit);
        let received = copy(&mut reply, url, have, limit, file, step)?;
        if reply.length.is_some_and(|length| received - have < length) {
            return Err(DownloadError::Cut { url: url.clone(), received, source: None });
        }
        match wanted.size {
            Some(expected) if expected != received => {
                Err(DownloadError::Size { url: url.clone(), expected, found: received })
            }
            _ => Ok(received),
        }
    }
}

/// Copies the body after the `have` bytes that are there, and returns how many there are then.
fn copy(
    reply: &mut Reply,
    url: &Url,
    have: u64,
    limit: u64,
    mut file: &File,
    step: &dyn Step,
) -> Result<u64, DownloadError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut received = have;
    loop {
        let count = match reply.body.read(&mut buffer) {
            Ok(0) => return Ok(received),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(source) => {
                return Err(DownloadError::Cut {
                    url: url.clone(),
                    received,
                    source: Some(source),
                });
            }
        };
        received += count as u64;
        if received > limit {
            return Err(DownloadError::TooLarge { url: url.clone(), limit });
        }
        file.write_all(&buffer[..count]).map_err(|source| DownloadError::Disk {
            verb: "write what came from",
            path: url.to_string().into(),
            source,
        })?;
        step.advance(count as u64);
    }
}
