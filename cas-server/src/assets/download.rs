//! Fetches what an address stands for, from where that is allowed.

use std::fmt;
use std::io::Read as _;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
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
#[derive(Clone)]
pub struct Origins {
    prefixes: Arc<[String]>,
    free: Arc<tokio::sync::Semaphore>,
    under_way: Arc<Mutex<UnderWay>>,
}

/// What a download came to. What is the fault of the address is in the inner result.
type Fetched = Result<Result<Digest, Status>, Status>;

/// A download that goes on whether or not anybody waits for it.
type Running = Shared<BoxFuture<'static, Fetched>>;

/// Downloads that are under way, of which there are at most [`DOWNLOADS_MAX`]: each is held by its thread.
#[derive(Default)]
struct UnderWay(Vec<(Weak<Download>, Running)>);

impl UnderWay {
    fn find(&self, download: &Download) -> Option<Running> {
        let is_same = |it: &Weak<Download>| it.upgrade().is_some_and(|it| *it == *download);
        self.0.iter().find(|(it, _)| is_same(it)).map(|(_, running)| running.clone())
    }

    fn add(&mut self, download: Weak<Download>, running: Running) {
        self.0.retain(|(it, _)| it.strong_count() > 0);
        self.0.push((download, running));
    }
}

impl fmt::Debug for Origins {
    /// Leaves out what is under way: it has secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origins").field("prefixes", &self.prefixes).finish_non_exhaustive()
    }
}

impl Origins {
    /// Returns no origins at all.
    pub fn none() -> Self {
        Self::new(Vec::new())
    }

    /// Returns the origins below those addresses, each with a scheme, a host and a path that ends with `/`.
    pub fn new(prefixes: Vec<String>) -> Self {
        let free = Arc::new(tokio::sync::Semaphore::new(DOWNLOADS_MAX));
        Self { prefixes: prefixes.into(), free, under_way: Arc::default() }
    }

    /// Returns whether something may be fetched from that address.
    fn allow(&self, address: &str) -> bool {
        // What a server makes of these is not what a prefix means.
        let is_plain = !address.contains("/../") && !address.contains(['\\', '\n', '\r']);
        is_plain && self.prefixes.iter().any(|prefix| address.starts_with(prefix.as_str()))
    }
}

/// What is to be fetched, and how.
#[derive(PartialEq, Eq)]
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
    /// Fetches a blob into the store and returns its digest.
    ///
    /// A thread cannot be told to stop. So a download goes on when whoever asked for it goes away, and whoever asks for the
    /// same meanwhile, most likely again, waits for that one.
    pub(crate) async fn fetch(&self, cellar: &Arc<dyn Cellar>, download: Download) -> Fetched {
        if !self.allow(&download.address) {
            let why = "nobody said what this address stands for, and this server does not fetch from there";
            return Ok(Err(Status::not_found(why)));
        }
        let running = self.under_way().find(&download);
        let fetched = match running {
            Some(running) => running.await,
            None => self.begin(cellar, download).await?.await,
        };
        let Ok(Ok(digest)) = fetched else { return fetched };
        // It was fetched for one build, and lives on for all that wait.
        let missing = cellar.find_missing([digest].into()).await.map_err(fault::of_store)?;
        Ok(if missing.is_empty() { Ok(digest) } else { Err(fault::absent(digest)) })
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().expect("no holder panics")
    }

    /// Begins a download as soon as there is room.
    async fn begin(&self, cellar: &Arc<dyn Cellar>, download: Download) -> Result<Running, Status> {
        let free = Arc::clone(&self.free).acquire_owned().await.expect("nobody closes it");
        let spool = cellar
            .spool(&[download.function, DigestFunction::Sha256])
            .await
            .map_err(fault::of_store)?;
        let mut under_way = self.under_way();
        // Somebody else may have been quicker.
        if let Some(running) = under_way.find(&download) {
            return Ok(running);
        }
        let (origins, download) = (self.clone(), Arc::new(download));
        let held = Arc::downgrade(&download);
        let ended = tokio::task::spawn_blocking(move || {
            let _free = free;
            fetch(&origins, &download, spool).map_err(fault::of_store)
        });
        let ended = ended.map(|fetched| fetched.expect("fetching does not panic"));
        let begun = ended.boxed().shared();
        under_way.add(held, begun.clone());
        Ok(begun)
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use testkit::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn a_download_that_nobody_waits_for_counts_until_it_ends_and_is_joined_by_who_asks_again()
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}/", listener.local_addr().unwrap());
        let cellar: Arc<dyn Cellar> = Arc::new(MemoryStore::new());
        let origins = Origins::new(vec![origin.clone()]);
        let download = |key: &str| Download {
            address: format!("{origin}a"),
            headers: vec![("x-key".to_owned(), key.to_owned())],
            integrity: None,
            function: DigestFunction::Blake3,
            timeout: None,
        };
        let accepting = tokio::task::spawn_blocking(move || listener.accept().unwrap().0);
        let accepted = tokio::select! {
            accepted = accepting => accepted.unwrap(),
            _ = origins.fetch(&cellar, download("one")) => unreachable!("nobody answered it"),
        };
        assert_eq!(origins.free.available_permits(), DOWNLOADS_MAX - 1, "its thread goes on");
        assert!(
            origins.under_way().find(&download("another")).is_none(),
            "who says something else may see something else"
        );

        let again = origins.fetch(&cellar, download("one"));
        let answering = tokio::task::spawn_blocking(move || {
            let mut lines = BufReader::new(&accepted).lines();
            while !lines.next().unwrap().unwrap().is_empty() {}
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone";
            (&accepted).write_all(answer).unwrap();
        });
        // There is no second connection that would be answered.
        let (fetched, answered) = tokio::join!(again, answering);
        answered.unwrap();
        assert_eq!(fetched.unwrap().unwrap(), Digest::of(DigestFunction::Blake3, b"done"));
        assert_eq!(origins.free.available_permits(), DOWNLOADS_MAX);
        assert!(origins.under_way().find(&download("one")).is_none());
    }
}
