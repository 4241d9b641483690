//! The depot: archives come in, verified, and go out as trees. What both locking and fetching do.

use std::fs::File;
use std::io::Read as _;

use model::{Digest, DigestFunction, Hasher, TreeDigest};
use store::{LocalStore, StoreError};

use crate::error::words;
use crate::http::{DownloadError, Downloader, Network, Url, Wanted};
use crate::memory::Memory;
use crate::parcel::{Commit, Key};
use crate::progress::{Progress, Step};
use crate::unpack::{ArchiveKind, Unpacker};
use crate::{FetchError, Sha256, git};

/// The largest archive that is downloaded where nothing says how large it is: an operating system's source.
const ARCHIVE_BYTES_MAX: u64 = 16 << 30;

/// How much is hashed at once.
const BUFFER_BYTES: usize = 128 << 10;

#[derive(Clone)]
pub(crate) struct Depot<'a> {
    pub(crate) store: &'a LocalStore,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) unpacker: &'a dyn Unpacker,
    pub(crate) downloader: &'a Downloader,
    pub(crate) memory: Memory,
}

/// An archive as it is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Order<'a> {
    /// What messages call it.
    pub(crate) name: &'a str,
    pub(crate) sha256: Sha256,
    /// Its size, where an index or a lock says so.
    pub(crate) size: Option<u64>,
    pub(crate) urls: &'a [Url],
}

impl Depot<'_> {
    /// Makes sure that the store has the archive and returns its digest.
    pub(crate) fn archive(&self, order: Order<'_>, step: &dyn Step) -> Result<Digest, FetchError> {
        if let Some(digest) = self.kept(order, step)? {
            return Ok(digest);
        }
        let mut attempts = Vec::new();
        let mut urls: Vec<&Url> = order.urls.iter().collect();
        urls.sort_by_key(|url| self.downloader.is_silent(url));
        for url in urls {
            match self.download(order, url, step) {
                Ok(digest) => {
                    self.memory.remember_archive(digest)?;
                    return Ok(digest);
                }
                Err(Attempt::Address(error)) => {
                    // That one of several mirrors does not have a package is nothing to speak of.
                    if !error.is_absence() {
                        self.progress.note(&format!("{}: {}", order.name, words(&error)));
                    }
                    attempts.push(error);
                }
                Err(Attempt::Machine(error)) => return Err(error),
            }
        }
        let name = order.name.to_owned();
        Err(if attempts.is_empty() {
            FetchError::NoAddress { name }
        } else {
            FetchError::Unavailable { name, attempts }
        })
    }

    /// Returns the digest of an archive that the store has, after looking whether it is what it should be.
    pub(crate) fn kept(
        &self,
        order: Order<'_>,
        step: &dyn Step,
    ) -> Result<Option<Digest>, FetchError> {
        let known = order.size.map(|size| order.sha256.sized(size));
        let Some(digest) = known.or_else(|| self.memory.archive(order.sha256)) else {
            return Ok(None);
        };
        let Some(file) = self.store.open_blob(digest)? else { return Ok(None) };
        step.phase("verify");
        let found = hash(file)
            .map_err(|source| FetchError::Read { name: order.name.to_owned(), source })?;
        if found == digest {
            Ok(Some(digest))
        } else {
            Err(FetchError::Damaged { name: order.name.to_owned() })
        }
    }

    fn download(&self, order: Order<'_>, url: &Url, step: &dyn Step) -> Result<Digest, Attempt> {
        let wanted =
            Wanted { sha256: Some(order.sha256), size: order.size, limit: ARCHIVE_BYTES_MAX };
        loop {
            step.phase("download");
            let mut download =
                self.downloader.download(wanted, url, step).map_err(Attempt::Address)?;
            let resumed = download.resumed;
            step.phase("verify");
            let digest = order.sha256.sized(download.size);
            let kept = self.store.ingest_as(digest, &mut download.file);
            download.discard();
            match kept {
                Ok(()) => return Ok(digest),
                // What an earlier download left may have been the wrong part.
                Err(StoreError::Mismatch { .. }) if resumed => {}
                Err(StoreError::Mismatch { found, .. }) => {
                    return Err(Attempt::Address(DownloadError::Mismatch {
                        url: Box::new(url.clone()),
                        expected: order.sha256,
                        found: found.into(),
                    }));
                }
                Err(error) => return Err(Attempt::Machine(error.into())),
            }
        }
    }

    /// Makes sure that the store has a tar archive of the commit and returns its digest.
    pub(crate) fn commit(
        &self,
        remote: Option<&str>,
        commit: &Commit,
        step: &dyn Step,
    ) -> Result<Digest, FetchError> {
        let name = Key::Git { commit: commit.clone() }.to_string();
        if let Some(digest) = self.memory.commit(commit) {
            let order =
                Order { name: &name, sha256: digest.into(), size: Some(digest.size()), urls: &[] };
            if let Some(digest) = self.kept(order, step)? {
                return Ok(digest);
            }
        }
        let Some(remote) = remote else { return Err(FetchError::NoAddress { name }) };
        step.phase("download");
        let failed = |source| FetchError::Git { name: name.clone(), source };
        if self.downloader.network() == Network::Offline && !git::is_local(remote) {
            return Err(failed(git::GitError::Offline { remote: git::shown(remote) }));
        }
        let scratch = self.store.scratch()?;
        let path = git::archive(remote, commit, scratch.path()).map_err(failed)?;
        step.phase("verify");
        let open = || File::open(&path).map_err(FetchError::disk("open", &path));
        let digest = hash(open()?).map_err(FetchError::disk("read", &path))?;
        self.store.ingest_as(digest, &mut open()?)?;
        self.memory.remember_commit(commit, digest)?;
        Ok(digest)
    }

    /// Unpacks an archive of the store, which messages call `name`, unless that was done before and the tree is still known.
    pub(crate) fn tree(
        &self,
        archive: Digest,
        key: &Key,
        name: &str,
        step: &dyn Step,
    ) -> Result<TreeDigest, FetchError> {
        if let Some(tree) = self.memory.tree(archive, key, self.store.function())
            && self.store.directory(tree)?.is_some()
        {
            return Ok(tree);
        }
        self.unpack(archive, key, name, step)
    }

    /// Unpacks an archive of the store, which messages call `name`.
    pub(crate) fn unpack(
        &self,
        archive: Digest,
        key: &Key,
        name: &str,
        step: &dyn Step,
    ) -> Result<TreeDigest, FetchError> {
        step.phase("unpack");
        let mut file =
            self.store.open_blob(archive)?.ok_or(StoreError::Missing { digest: archive })?;
        let kind = ArchiveKind::of(&mut file)
            .map_err(|source| FetchError::Read { name: name.to_owned(), source })?;
        let tree = self.unpacker.unpack(&key.unpack_request(name, kind), file)?;
        self.memory.remember_tree(archive, key, tree)?;
        Ok(tree)
    }
}

/// Why one address did not do.
enum Attempt {
    /// Another may.
    Address(DownloadError),
    /// No other will.
    Machine(FetchError),
}

fn hash(mut file: File) -> std::io::Result<Digest> {
    let mut hasher = Hasher::new(DigestFunction::Sha256);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}
