//! Other processes: a test that needs one runs this binary again, with only itself to do.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// Says which store a child works on; only children have it.
const ROOT: &str = "BLD_STORE_TEST_ROOT";

/// Says with which numbers a child works.
const SEED: &str = "BLD_STORE_TEST_SEED";

/// What begins a line that is said to the parent; the test harness has lines of its own.
const MARK: &str = "@ ";

/// What a child is to do.
pub(crate) struct Job {
    pub(crate) root: PathBuf,
    pub(crate) seed: u64,
}

impl Job {
    /// Returns the job of this process, if it is a child.
    pub(crate) fn of_this_process() -> Option<Self> {
        let root = std::env::var_os(ROOT)?.into();
        let seed = std::env::var(SEED).unwrap().parse().unwrap();
        Some(Self { root, seed })
    }
}

/// Says a line to the parent.
pub(crate) fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    // A parent that has gone away wants to hear nothing more.
    let _ = writeln!(stdout, "{MARK}{line}").and_then(|()| stdout.flush());
}

/// Waits until the parent goes away or kills this process.
pub(crate) fn wait_for_the_end() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// A process that runs one test of this binary as a child.
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    /// Starts a child that runs the test of that name.
    pub(crate) fn start(test: &str, root: &Path, seed: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(ROOT, root)
            .env(SEED, OsStr::new(&seed.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// Returns the next line that the child says, or `None` if it has ended.
    pub(crate) fn hear(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.stdout.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some((_, said)) = line.split_once(MARK) {
                return Some(said.trim_end().to_owned());
            }
        }
    }

    /// Kills the child as `kill -9` does. It must not have failed by itself before.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.signal().is_some(), "the child ended by itself: {status}");
    }

    /// Waits for the child's own end and returns whether its test passed.
    pub(crate) fn finish(mut self) -> bool {
        while self.hear().is_some() {}
        self.child.wait().unwrap().success()
    }
}
