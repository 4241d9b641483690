//! A machine: a workspace and a store that no other test sees.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, lchown};
use std::os::unix::process::CommandExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long something that must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether it has.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A workspace, a store, and maybe a user to whom both belong.
pub(crate) struct Machine {
    folder: TempDir,
    program: PathBuf,
    user: Option<u32>,
}

impl Machine {
    /// Returns a machine whose store is empty and whose workspace has nothing but a `bld.toml`.
    pub(crate) fn new() -> Self {
        let machine = Self::bare();
        machine.write("bld.toml", "");
        machine
    }

    /// Returns a machine without a workspace.
    pub(crate) fn bare() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self { folder, program: env!("CARGO_BIN_EXE_bld").into(), user: None }
    }

    /// Returns a machine that belongs to somebody else: its files lie where everybody may look.
    pub(crate) fn of_user(user: u32) -> Self {
        let folder = tempfile::tempdir_in(std::env::temp_dir()).unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let program = folder.path().join("bld");
        fs::copy(env!("CARGO_BIN_EXE_bld"), &program).unwrap();
        let machine = Self { folder, program, user: Some(user) };
        machine.write("bld.toml", "");
        machine
    }

    /// Returns a machine with the workspace `fixtures/hello`, locked, and a mirror to get its one package from.
    pub(crate) fn hello() -> Self {
        Self::new().with_hello()
    }

    /// Adds `fixtures/hello` and its lock to the workspace.
    pub(crate) fn with_hello(self) -> Self {
        let base = crate::base::base();
        copy(&fixture("hello"), &self.workspace());
        self.write("bld.lock", &base.hello_lock());
        self.use_mirror(&base.mirror());
        self
    }

    /// Returns a machine with the workspace `fixtures/drivers` for a few kernels, locked, and an empty store.
    pub(crate) fn drivers() -> Self {
        Self::new().with_drivers()
    }

    /// Adds `fixtures/drivers`, for a few kernels, and its lock to the workspace.
    pub(crate) fn with_drivers(self) -> Self {
        let base = crate::base::base();
        copy(&base.drivers(), &self.workspace());
        // Not everybody may look where the base lies.
        let mirror = self.user.map(|_| self.root().join("mirror"));
        if let Some(mirror) = &mirror {
            copy(&base.mirror(), mirror);
        }
        self.use_mirror(&mirror.unwrap_or(base.mirror()));
        self
    }

    /// Returns a machine where the drivers were built already.
    pub(crate) fn drivers_built() -> Self {
        let machine = Self::drivers();
        crate::base::link_store(&crate::base::base().store(), &machine.store());
        machine.run(&["build", "//drivers:all"]).expect(0);
        machine
    }

    /// Returns a machine with a fixture that the base locked, and with the base's store.
    pub(crate) fn with_store_and(workspace: &Path) -> Self {
        let machine = Self::new();
        let base = crate::base::base();
        copy(workspace, &machine.workspace());
        machine.use_mirror(&base.mirror());
        crate::base::link_store(&base.store(), &machine.store());
        machine
    }

    /// Makes a folder the only package source.
    pub(crate) fn use_mirror(&self, mirror: &Path) {
        let url = format!("file://{}", mirror.display());
        self.write(
            "bld.toml",
            &format!("[[debian.mirrors]]\nurl = \"{url}\"\nsuites = [\"stable\"]\n"),
        );
    }

    /// Returns where everything of this machine lies.
    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.root().join("workspace")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.root().join("store")
    }

    /// Returns a file below `bld-out`.
    pub(crate) fn output(&self, path: &str) -> PathBuf {
        self.workspace().join("bld-out").join(path)
    }

    /// Writes a file of the workspace.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.workspace().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Reads a file of the workspace.
    pub(crate) fn read(&self, path: &str) -> String {
        let path = self.workspace().join(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Returns a command in the workspace, with an environment that holds nothing but what is said here.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let home = self.root().join("home");
        fs::create_dir_all(self.workspace()).unwrap();
        fs::create_dir_all(&home).unwrap();
        fs::create_dir_all(self.store()).unwrap();
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", home)
            .env("BLD_STORE", self.store())
            .current_dir(self.workspace())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(user) = self.user {
            give(&self.workspace(), user);
            for folder in ["home", "store"] {
                lchown(self.root().join(folder), Some(user), Some(user)).unwrap();
            }
            command.uid(user).gid(user);
        }
        command
    }

    /// Runs `bld` to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.command(arguments))
    }

    /// Starts `bld`.
    pub(crate) fn start(&self, arguments: &[&str]) -> Started {
        Started::new(self.command(arguments))
    }

    /// Waits until an action of `build` has made `out/<name>`, and returns that `out`. What is put there, it sees.
    pub(crate) fn out_with(&self, name: &str, build: &Started) -> PathBuf {
        let owner = format!("{}-", build.id());
        let find = || {
            // A scratch folder is called after whose it is.
            let scratches = fs::read_dir(self.store().join("tmp")).ok()?.flatten();
            let its = scratches.filter(|it| it.file_name().to_string_lossy().starts_with(&owner));
            let mut outs = its.map(|it| it.path().join("out"));
            outs.find(|out| out.join(name).exists())
        };
        wait_for(&format!("an action that makes out/{name}"), find)
    }

    /// Waits until no process has to do with this machine any more, and checks that nothing is mounted.
    pub(crate) fn assert_nothing_is_left(&self) {
        let name = self.root().file_name().unwrap().to_str().unwrap();
        let began = Instant::now();
        loop {
            let left = processes_of(name);
            if left.is_empty() {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "still running: {left:?}");
            std::thread::sleep(LOOK_INTERVAL);
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let stale: Vec<_> = mounts.lines().filter(|line| line.contains(name)).collect();
        assert!(stale.is_empty(), "still mounted: {stale:?}");
    }

    /// Returns every file below `bld-out` but bld's own notes: path and bytes.
    pub(crate) fn outputs(&self) -> Vec<(String, Vec<u8>)> {
        let root = self.workspace().join("bld-out");
        let mut found = Vec::new();
        let mut pending = vec![root.clone()];
        while let Some(folder) = pending.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let relative = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                if relative == ".bld" {
                } else if path.is_dir() {
                    pending.push(path);
                } else {
                    found.push((relative, fs::read(path).unwrap()));
                }
            }
        }
        found.sort();
        found
    }
}

/// A `bld` that runs; it is killed if nobody waits for its end.
pub(crate) struct Started(Option<Child>);

impl Started {
    /// Starts a command.
    pub(crate) fn new(mut command: Command) -> Self {
        Self(Some(command.spawn().unwrap()))
    }

    /// Returns the number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.0.as_ref().unwrap()), signal).unwrap();
    }

    /// Waits for its end, but not for ever.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ran {
        let child = self.0.take().unwrap();
        let process = Pid::from_child(&child);
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || sender.send(child.wait_with_output()));
        let Ok(output) = receiver.recv_timeout(PATIENCE) else {
            kill_process(process, Signal::KILL).unwrap();
            panic!("bld does not end: {:?}", receiver.recv());
        };
        Ran::from(output.unwrap())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// What came of running `bld`.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(command: &mut Command) -> Self {
        Self::from(command.output().unwrap())
    }

    /// Checks the exit code; shows everything if it is another.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Checks that standard output and standard error together say all of this.
    #[track_caller]
    pub(crate) fn tells(self, words: &[&str]) -> Self {
        let said = format!("{}{}", self.stdout, self.stderr);
        for word in words {
            assert!(said.contains(word), "it does not tell {word:?}:\n{said}");
        }
        self
    }

    /// Checks that standard error says all of this.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(
                self.stderr.contains(word),
                "no `{word}` in:\n{}\n{}",
                self.stderr,
                self.stdout
            );
        }
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}:\n{}\n{}", self.stdout, self.stderr))
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            // As a shell tells it.
            code: output.status.code().or(output.status.signal().map(|signal| 128 + signal)),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Returns the number called `name` in a build's summary.
#[track_caller]
pub(crate) fn summary(build: &Value, name: &str) -> u64 {
    build["summary"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {build:#}"))
}

/// Waits until `find` finds something.
pub(crate) fn wait_for<T>(what: &str, find: impl Fn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// Returns the processes whose command line, environment, mounts or open files have `name` in them.
fn processes_of(name: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let process = entry.unwrap().path();
        let Ok(id) = process.file_name().unwrap().to_str().unwrap().parse::<u32>() else {
            continue;
        };
        if id == std::process::id() {
            continue;
        }
        let says = |file: &str| {
            let bytes = fs::read(process.join(file)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).contains(name)
        };
        let opens = || {
            let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
            let targets = files.filter_map(|file| fs::read_link(file.path()).ok());
            targets.into_iter().any(|target| target.to_string_lossy().contains(name))
        };
        if ["cmdline", "environ", "mountinfo"].into_iter().any(says) || opens() {
            let words = fs::read_to_string(process.join("cmdline")).unwrap_or_default();
            let state = fs::read_to_string(process.join("stat")).unwrap_or_default();
            // A process that ended and was not waited for yet holds nothing any more.
            if !state.contains(") Z ") && !state.is_empty() {
                found.insert(format!("{id} {}", words.replace('\0', " ")));
            }
        }
    }
    found
}

/// Returns a folder of `fixtures/`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(name)
}

/// Copies a workspace: what was made in it stays behind.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_name() == "bld-out" {
        } else if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Gives a folder and all below it to a user.
fn give(path: &Path, user: u32) {
    lchown(path, Some(user), Some(user)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), user);
        }
    }
}
