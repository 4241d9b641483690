//! Fetches what an address stands for, from where that is allowed.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::{Digest, DigestFunction};
use store::{Cellar, Spool, StoreError};
use tonic::Status;

use super::integrity::Integrity;
use crate::fault;
use crate::limits::{
    DOWNLOAD_BYTES_MAX, DOWNLOAD_TIMEOUT, DOWNLOADS_MAX, PIECE_BYTES, REDIRECTIONS_MAX,
};

/// Where the server may fetch from on behalf of its clients. By default nowhere: whoever may ask it to fetch could else
/// reach what only the server can reach.
#[derive(Clone, Debug)]
pub struct Origins {
    prefixes: Arc<[String]>,
    free: Arc<tokio::sync::Semaphore>,
}

impl Origins {
    /// Returns no origins at all.
    pub fn none() -> Self {
        Self::new(Vec::new())
    }

    /// Returns the origins below those addresses, each with a scheme, a host and a path that ends with `/`.
    pub fn new(prefixes: Vec<String>) -> Self {
        let free = Arc::new(tokio::sync::Semaphore::new(DOWNLOADS_MAX));
        Self { prefixes: prefixes.into(), free }
    }

    /// Returns whether something may be fetched from that address.
    fn allow(&self, address: &str) -> bool {
        // What a server makes of these is not what a prefix means.
        let is_plain = !address.contains("/../") && !address.contains(['\\', '\n', '\r']);
        is_plain && self.prefixes.iter().any(|prefix| address.starts_with(prefix.as_str()))
    }
}

/// What is to be fetched.
pub(crate) struct Download {
    /// From where.
    pub(crate) address: String,
    /// What to tell its server. Never shown.
    pub(crate) headers: Vec<(String, String)>,
    /// What it must hash to.
    pub(crate) integrity: Option<Integrity>,
    /// What it is to be named by.
    pub(crate) function: DigestFunction,
    /// How long it may take.
    pub(crate) timeout: Option<Duration>,
}

impl Origins {
    /// Fetches a blob into the store and returns its digest. What is the fault of the address is in the inner result.
    pub(crate) async fn fetch(
        &self,
        cellar: &dyn Cellar,
        download: Download,
    ) -> Result<Result<Digest, Status>, Status> {
        if !self.allow(&download.address) {
            let why = "nobody said what this address stands for, and this server does not fetch from there";
            return Ok(Err(Status::not_found(why)));
        }
        let free = Arc::clone(&self.free).acquire_owned().await;
        let _free = free.expect("nobody closes it");
        let spool = cellar.spool(&[download.function, DigestFunction::Sha256]).await;
        let spool = spool.map_err(|error| fault::of_store(&error))?;
        let origins = self.clone();
        let fetched = tokio::task::spawn_blocking(move || fetch(&origins, &download, spool));
        fetched.await.expect("fetching does not panic").map_err(|error| fault::of_store(&error))
    }
}

fn fetch(
    origins: &Origins,
    download: &Download,
    mut spool: Box<dyn Spool>,
) -> Result<Result<Digest, Status>, StoreError> {
    let mut body = match open(origins, download) {
        Ok(body) => body,
        Err(status) => return Ok(Err(status)),
    };
    let (mut reader, mut total) = (body.as_reader(), 0);
    loop {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        let read = reader.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut piece);
        if let Err(error) = read {
            let why = format!("{} broke off: {error}", download.address);
            return Ok(Err(Status::aborted(why)));
        }
        if piece.is_empty() {
            break;
        }
        total += piece.len() as u64;
        if total > DOWNLOAD_BYTES_MAX {
            let why = format!("{} has more than {DOWNLOAD_BYTES_MAX} bytes", download.address);
            return Ok(Err(Status::resource_exhausted(why)));
        }
        spool.write(Bytes::from(piece))?;
    }
    let digests = spool.digests();
    if download.integrity.as_ref().is_some_and(|it| !it.admits(&digests[1])) {
        let why = format!("{} has the SHA-256 {}", download.address, digests[1].hex());
        return Ok(Err(Status::aborted(why)));
    }
    spool.finish(digests[0])?;
    Ok(Ok(digests[0]))
}

/// Asks for the address, and for where it leads, as far as that is allowed too.
fn open(origins: &Origins, download: &Download) -> Result<ureq::Body, Status> {
    let timeout = download.timeout.unwrap_or(DOWNLOAD_TIMEOUT).min(DOWNLOAD_TIMEOUT);
    let agent = ureq::Agent::config_builder()
        .max_redirects(0)
        .http_status_as_error(false)
        .timeout_global(Some(timeout))
        .build()
        .new_agent();
    let mut address = download.address.clone();
    for nth in 0..=REDIRECTIONS_MAX {
        let mut request = agent.get(&address);
        // Headers are for the one who was named: they may hold credentials.
        for (name, value) in download.headers.iter().filter(|_| nth == 0) {
            request = request.header(name, value);
        }
        let response = request.call().map_err(|error| unreachable(&address, &error))?;
        let status = response.status();
        if !status.is_redirection() {
            return answered(&address, response);
        }
        let location = response.headers().get(http::header::LOCATION);
        let location = location.and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
        if !origins.allow(&location) {
            let why = format!("{address} leads to {location}, where this server does not fetch");
            return Err(Status::permission_denied(why));
        }
        address = location;
    }
    Err(Status::aborted(format!("{} leads on and on", download.address)))
}

fn unreachable(address: &str, error: &ureq::Error) -> Status {
    if matches!(error, ureq::Error::Timeout(_)) {
        return Status::deadline_exceeded(format!("{address} did not answer in time"));
    }
    Status::aborted(format!("cannot fetch {address}: {error}"))
}

fn answered(address: &str, response: http::Response<ureq::Body>) -> Result<ureq::Body, Status> {
    let status = response.status().as_u16();
    let why = format!("{address} answers {status}");
    match status {
        200 => Ok(response.into_body()),
        401 | 403 => Err(Status::permission_denied(why)),
        404 | 410 => Err(Status::not_found(why)),
        _ => Err(Status::aborted(why)),
    }
}
