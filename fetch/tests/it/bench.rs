//! What every test needs: a store, a copy of the mirror, and a progress that remembers.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fetch::{
    Downloader, FetchError, Fetcher, InProcess, Keys, Lock, Locker, Mode, Network, Progress,
    Proxies, Report, Request, Source, Step, Wants,
};
use model::{DigestFunction, TreeDigest};
use store::LocalStore;

/// Returns where a file beside the tests is.
pub(crate) fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// A progress that remembers what it heard.
#[derive(Clone, Default)]
pub(crate) struct Recorder {
    heard: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    /// Returns how often something of that kind was heard: `warn`, `download`, `unpack`…
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.heard
            .lock()
            .unwrap()
            .iter()
            .filter(|line| line.split(':').next() == Some(kind))
            .count()
    }

    pub(crate) fn warnings(&self) -> String {
        let heard = self.heard.lock().unwrap();
        heard
            .iter()
            .filter(|line| line.starts_with("warn:"))
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    }

    pub(crate) fn forget(&self) {
        self.heard.lock().unwrap().clear();
    }

    fn hear(&self, line: String) {
        self.heard.lock().unwrap().push(line);
    }
}

impl Progress for Recorder {
    fn begin(&self, what: &str, _total: Option<u64>) -> Box<dyn Step> {
        self.hear(format!("begin: {what}"));
        Box::new(self.clone())
    }

    fn warn(&self, text: &str) {
        self.hear(format!("warn: {text}"));
    }

    fn note(&self, text: &str) {
        self.hear(format!("note: {text}"));
    }
}

impl Step for Recorder {
    fn phase(&self, name: &'static str) {
        self.hear(name.to_owned());
    }

    fn advance(&self, _bytes: u64) {}
}

pub(crate) struct Bench {
    pub(crate) root: tempfile::TempDir,
    pub(crate) store: LocalStore,
    pub(crate) progress: Recorder,
    pub(crate) downloader: Downloader,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(DigestFunction::Blake3, Proxies::default())
    }

    pub(crate) fn with(function: DigestFunction, proxies: Proxies) -> Self {
        let root = tempfile::tempdir().unwrap();
        let store = LocalStore::open(&root.path().join("store"), function).unwrap();
        copy(&data("mirror"), &root.path().join("mirror"));
        let downloader = Downloader::new(Network::Online, proxies, root.path().join("partial"));
        let downloader = downloader.with_pause(Duration::ZERO);
        Self { root, store, progress: Recorder::default(), downloader }
    }

    /// Returns the same bench without a network.
    pub(crate) fn offline(mut self) -> Self {
        self.downloader =
            Downloader::new(Network::Offline, Proxies::default(), self.root.path().join("partial"));
        self
    }

    pub(crate) fn mirror(&self) -> PathBuf {
        self.root.path().join("mirror")
    }

    pub(crate) fn partial(&self) -> PathBuf {
        self.root.path().join("partial")
    }

    /// Returns a suite of the copied mirror.
    pub(crate) fn source(&self, suite: &str) -> Source {
        Source {
            uri: format!("file://{}", self.mirror().display()),
            suite: suite.to_owned(),
            components: vec!["main".to_owned()],
            arches: Vec::new(),
            keys: Keys { files: vec![data("keyring.gpg")], ..Keys::default() },
            trusted: false,
            origin: "the test".to_owned(),
        }
    }

    pub(crate) fn locker<'a>(
        &'a self,
        sources: &'a [Source],
        unpacker: &'a InProcess<'a>,
    ) -> Locker<'a> {
        Locker {
            store: &self.store,
            sources,
            progress: &self.progress,
            unpacker,
            downloader: &self.downloader,
            cache: self.root.path().join("cache"),
        }
    }

    pub(crate) fn lock(
        &self,
        suite: &str,
        requests: &[Request],
        old: Option<&Lock>,
        mode: Mode,
    ) -> Result<(Lock, Report), FetchError> {
        self.lock_from(&[self.source(suite)], requests, old, mode)
    }

    pub(crate) fn lock_from(
        &self,
        sources: &[Source],
        requests: &[Request],
        old: Option<&Lock>,
        mode: Mode,
    ) -> Result<(Lock, Report), FetchError> {
        self.locker(sources, &InProcess(&self.store)).lock(requests, old, mode)
    }

    pub(crate) fn fetch(
        &self,
        lock: &Lock,
        requests: &[Request],
        tree: TreeDigest,
    ) -> Result<bool, FetchError> {
        let fetcher = Fetcher {
            store: &self.store,
            lock,
            requests,
            sources: &[self.source("stable")],
            progress: &self.progress,
            unpacker: &InProcess(&self.store),
            downloader: &self.downloader,
            cache: self.root.path().join("cache"),
        };
        fetcher.fetch(tree)
    }

    /// Locks a file that is to be had at `url` and returns what it is in the store.
    pub(crate) fn lock_file(&self, url: &str, content: &[u8]) -> Result<Lock, FetchError> {
        let request = file_request(url, content);
        self.lock_from(&[], &[request], None, Mode::Missing).map(|(lock, _)| lock)
    }
}

pub(crate) fn file_request(url: &str, content: &[u8]) -> Request {
    let wants = Wants::HttpFile {
        urls: vec![url.to_owned()],
        sha256: fetch::Sha256::of(content).to_string(),
        name: "file".to_owned(),
        executable: false,
    };
    Request { label: "//:file".to_owned(), wants }
}

pub(crate) fn packages(names: &[&str]) -> Request {
    let packages = names.iter().map(|&name| name.to_owned()).collect();
    let wants = Wants::DebianPackages { packages, arch: "amd64".to_owned() };
    Request { label: "//toolchain:root".to_owned(), wants }
}

pub(crate) fn kernel_request(patterns: &[&str]) -> Request {
    kernels(patterns, false)
}

/// Like [`kernel_request`], and the kernels themselves.
pub(crate) fn image_request(patterns: &[&str]) -> Request {
    kernels(patterns, true)
}

fn kernels(patterns: &[&str], images: bool) -> Request {
    let patterns = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
    let arch = "amd64".to_owned();
    let wants = Wants::DebianKernels { patterns, releases: Vec::new(), arch, images };
    Request { label: "//drivers:kernels".to_owned(), wants }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for child in fs::read_dir(from).unwrap() {
        let child = child.unwrap();
        let (from, to) = (child.path(), to.join(child.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

/// Returns what an error and its sources say.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
