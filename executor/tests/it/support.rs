//! A store with a small root in it, and a short way to say what is to run there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use executor::{
    ExecuteError, Execution, Executor as _, Fate, Job, Limits, LocalExecutor, Rung, SANDBOX_SALT,
};
use model::{
    Action, Command, Digest, DigestFunction, Node, Platform, RelativePath, SymlinkTarget,
    TreeDigest,
};
use store::{Draft, Durability, LocalStore};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use wire::encode;

use crate::host;

/// How long is waited for what must happen soon, on a machine that is busy.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// How often it is looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap());

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    RUNTIME.block_on(future)
}

pub(crate) fn path(path: &str) -> RelativePath {
    RelativePath::new(path).unwrap()
}

/// Waits until `condition` holds, or fails.
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < SOON, "in vain was waited until {what}");
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// Returns a length of time for `sleep` that no other process sleeps.
pub(crate) fn marker() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("9{}.{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Returns how many processes on this machine are `sleep <marker>`.
pub(crate) fn sleepers(marker: &str) -> usize {
    let wanted = format!("sleep\0{marker}\0");
    let cmdline = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).ok();
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok).filter_map(cmdline);
    processes.filter(|cmdline| cmdline == wanted.as_bytes()).count()
}

/// A store of a test's own, and an executor for it.
pub(crate) struct World {
    pub(crate) store: Arc<LocalStore>,
    rung: Rung,
    executor: Mutex<Arc<LocalExecutor>>,
    usr: TreeDigest,
    folder: TempDir,
}

impl World {
    pub(crate) fn new(rung: Rung) -> Self {
        Self::named(rung, "store")
    }

    /// With a store in a directory of that name.
    pub(crate) fn named(rung: Rung, name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join(name);
        let store = LocalStore::open_with(&root, DigestFunction::Blake3, Durability::Lazy).unwrap();
        let store = Arc::new(store);
        let executor = Mutex::new(Arc::new(LocalExecutor::new(Arc::clone(&store), rung)));
        let usr = host::usr(&store);
        Self { store, rung, executor, usr, folder }
    }

    pub(crate) fn executor(&self) -> Arc<LocalExecutor> {
        Arc::clone(&self.executor.lock().unwrap())
    }

    /// Returns a directory of the machine that is no part of the store.
    pub(crate) fn outside(&self) -> PathBuf {
        let outside = self.folder.path().join("outside");
        fs::create_dir_all(&outside).unwrap();
        outside
    }

    pub(crate) fn file(&self, text: &str) -> Node {
        let digest = self.store.ingest_bytes(text.as_bytes(), false).unwrap();
        Node::File { digest, executable: false }
    }

    /// Returns a tree of these files.
    pub(crate) fn tree(&self, files: &[(&str, &str)]) -> Node {
        let mut draft = Draft::new();
        for (place, text) in files {
            draft.add(&self.store, &path(place), self.file(text)).unwrap();
        }
        Node::Directory(draft.finish(&self.store).unwrap())
    }

    pub(crate) fn text(&self, digest: Option<Digest>) -> String {
        String::from_utf8_lossy(&self.bytes(digest)).into_owned()
    }

    pub(crate) fn bytes(&self, digest: Option<Digest>) -> Vec<u8> {
        let Some(digest) = digest else { return Vec::new() };
        let blob = self.store.read_blob(digest).unwrap().unwrap();
        blob.into_bytes().unwrap().to_vec()
    }

    pub(crate) fn run<'a>(&'a self, arguments: &[&str]) -> Case<'a> {
        let link = |target: &str| Node::Symlink(SymlinkTarget::new(target).unwrap());
        let root = BTreeMap::from([
            ("bin".to_owned(), link("usr/bin")),
            ("lib".to_owned(), link("usr/lib")),
            ("lib64".to_owned(), link("usr/lib64")),
            ("usr".to_owned(), Node::Directory(self.usr)),
        ]);
        Case {
            world: self,
            root,
            limits: Limits::default(),
            command: Command {
                arguments: arguments.iter().map(|&it| it.to_owned()).collect(),
                environment: BTreeMap::from([("PATH".to_owned(), "/usr/bin".to_owned())]),
                output_paths: Vec::new(),
                working_directory: path("work"),
            },
        }
    }

    pub(crate) fn sh<'a>(&'a self, script: &str) -> Case<'a> {
        self.run(&["/bin/sh", "-c", script])
    }

    pub(crate) fn perl<'a>(&'a self, script: &str) -> Case<'a> {
        self.run(&["/usr/bin/perl", "-e", script])
    }

    /// Sends the executor away, which keeps sandboxes ready and clears away behind one's back; another takes its place.
    pub(crate) fn retire_executor(&self) {
        let next = Arc::new(LocalExecutor::new(Arc::clone(&self.store), self.rung));
        drop(std::mem::replace(&mut *self.executor.lock().unwrap(), next));
    }

    /// Fails unless everything in the store is what its name says and nothing is left of any action.
    pub(crate) fn is_clean(&self) {
        self.retire_executor();
        let tmp = self.store.root().join("tmp");
        let left: Vec<_> = fs::read_dir(tmp).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, Vec::<PathBuf>::new(), "an action left this behind");
        let wrong = self.store.verify().unwrap().quarantined;
        assert_eq!(wrong, Vec::<PathBuf>::new(), "an action changed this");
    }
}

/// One command that is to run.
pub(crate) struct Case<'a> {
    world: &'a World,
    pub(crate) root: BTreeMap<String, Node>,
    pub(crate) limits: Limits,
    pub(crate) command: Command,
}

impl Case<'_> {
    /// With something at that name of the root.
    pub(crate) fn at(mut self, name: &str, node: Node) -> Self {
        self.root.insert(name.to_owned(), node);
        self
    }

    pub(crate) fn output(mut self, place: &str) -> Self {
        self.command.output_paths.push(path(place));
        self
    }

    pub(crate) fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    pub(crate) fn environment(mut self, environment: &[(&str, &str)]) -> Self {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.command.environment = environment.iter().map(pair).collect();
        self
    }

    pub(crate) fn action(&self) -> Action {
        let mut draft = Draft::new();
        for (name, node) in &self.root {
            draft.add(&self.world.store, &path(name), node.clone()).unwrap();
        }
        let encoded = encode::command(&self.command);
        Action {
            command: self.world.store.ingest_bytes(&encoded, false).unwrap(),
            input_root: draft.finish(&self.world.store).unwrap(),
            timeout: None,
            salt: SANDBOX_SALT.to_owned(),
            platform: Platform::default(),
        }
    }

    pub(crate) async fn execute(&self) -> Result<Execution, ExecuteError> {
        let action = self.action();
        let job = Job { action: &action, command: &self.command, limits: self.limits };
        self.world.executor().execute(job, &*self.world.store).await
    }

    pub(crate) fn outcome(&self) -> Result<Execution, ExecuteError> {
        block_on(self.execute())
    }

    pub(crate) fn ran(&self) -> Ran {
        let execution = self.outcome().unwrap();
        let stdout = self.world.text(execution.result.stdout);
        let stderr = self.world.text(execution.result.stderr);
        Ran { execution, stdout, stderr }
    }

    /// Runs it and returns what it says; fails unless it succeeds.
    pub(crate) fn says(&self) -> String {
        let ran = self.ran();
        let ended = (ran.execution.fate, ran.execution.result.exit_code);
        assert_eq!(ended, (Fate::Exited, 0), "{}{}", ran.stdout, ran.stderr);
        ran.stdout
    }

    /// Runs it and returns why its outputs are refused.
    pub(crate) fn refusal(&self) -> String {
        let error = self.outcome().unwrap_err();
        assert!(error.is_action_fault(), "{error}");
        error.to_string()
    }
}

/// What came of a command.
pub(crate) struct Ran {
    pub(crate) execution: Execution,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn exit_code(&self) -> i32 {
        self.execution.result.exit_code
    }
}

/// Returns the paths below `folder`, sorted.
pub(crate) fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                pending.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found.sort();
    found
}
