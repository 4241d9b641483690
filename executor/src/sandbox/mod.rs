//! The strict sandbox: what a command sees, and nothing more.
//!
//! `bld` starts itself again ([`run_if_asked`] is the first thing that `main` does). That process makes the namespaces;
//! its child is the sandbox's init: it mounts what the command may see, starts the command, reaps what is orphaned,
//! and ends everything when the command ends, when its time is up, or when the pipe that `bld` holds closes.

mod command;
mod confine;
mod copy;
mod entered;
mod filter;
mod init;
mod linux;
mod probe;
mod reversed;
mod root;
mod spare;
mod spec;

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin};
use std::sync::{Arc, Mutex};

pub use confine::{confine, wait_until_closed};
pub(crate) use init::NO_SHELL;
pub use init::run_if_asked;
pub use probe::{Probe, probe};
pub(crate) use spare::{Spare, start};
pub(crate) use spec::Beginning;
pub use spec::{Mount, MountKind, Outcome, Rung, Spec, Surroundings};

use crate::ExecuteError;
use crate::cgroup::Cgroup;

/// The version of what a sandbox shows: /dev, passwd, uid, host name, umask, limits. Part of every key.
pub const SANDBOX_SALT: &str = "bld-sandbox-1";

/// The user and group that every command runs as.
pub const SANDBOX_ID: u32 = 1000;

/// The permissions that are taken from new files.
pub(crate) const UMASK: u32 = 0o022;

/// The host name that every command sees.
pub const HOST_NAME: &str = "bld";

/// What the user is called that every command runs as.
pub(crate) const USER_NAME: &str = "bld";

/// The exit code of a command whose program is not there; the same as a shell's.
pub(crate) const NOT_FOUND_EXIT_CODE: i32 = 127;

/// The exit code of a command whose program cannot be executed; the same as a shell's.
pub(crate) const NOT_EXECUTABLE_EXIT_CODE: i32 = 126;

/// The word that makes `bld` a sandbox's first process.
const ARGUMENT: &str = "__sandbox";

/// Holds a sandbox alive; dropping any holder of it ends everything in the sandbox.
///
/// Two hold it: the thread that waits, and the future that may be dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lifeline(Arc<Mutex<Line>>);

#[derive(Debug, Default)]
enum Line {
    #[default]
    Unused,
    Held(#[expect(dead_code, reason = "held open, never written to again")] ChildStdin),
    Cut,
}

impl Lifeline {
    fn hold(&self, stdin: ChildStdin) {
        let mut line = self.0.lock().expect("no holder panics");
        // Cut before it was used: then `stdin` closes here, and the sandbox ends as soon as it begins.
        if matches!(*line, Line::Unused) {
            *line = Line::Held(stdin);
        }
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        *self.0.lock().expect("no holder panics") = Line::Cut;
    }
}

/// Tells a sandbox's first process what to run, waits for its end, and returns what its init reports. Blocks.
pub(crate) fn run(
    mut first: Child,
    spec: &Spec,
    cgroup: Option<&Cgroup>,
    lifeline: &Lifeline,
) -> Result<Outcome, ExecuteError> {
    let failed = |step: &str| {
        let step = step.to_owned();
        move |source| ExecuteError::Sandbox { step, source }
    };
    let message = encode(spec).map_err(failed("telling the sandbox what to do"))?;
    if let Some(cgroup) = cgroup {
        // It waits for its spec, so all that it starts will be in the group too.
        cgroup.enter(first.id()).map_err(failed("entering the control group"))?;
    }
    let mut stdin = first.stdin.take().expect("it is piped");
    let sent = stdin.write_all(&message);
    lifeline.hold(stdin);
    let mut report = Vec::new();
    let read = first.stdout.take().expect("it is piped").read_to_end(&mut report);
    first.wait().map_err(failed("waiting for the sandbox"))?;
    read.map_err(failed("reading the sandbox's report"))?;
    if report.is_empty() {
        sent.map_err(failed("telling the sandbox what to do"))?;
    }
    let report: Result<Outcome, spec::SetupFailure> =
        serde_json::from_slice(&report).map_err(|source| ExecuteError::NoReport { source })?;
    report.map_err(|failure| ExecuteError::Sandbox {
        step: failure.step,
        source: std::io::Error::from_raw_os_error(failure.errno),
    })
}

/// Returns the spec as the first process reads it: its length, then JSON.
fn encode(spec: &Spec) -> std::io::Result<Vec<u8>> {
    // A store whose path is not UTF-8 is the one thing that cannot be said.
    let json = serde_json::to_vec(spec)?;
    let length = u32::try_from(json.len()).map_err(std::io::Error::other)?;
    Ok([&length.to_le_bytes()[..], &json].concat())
}

/// Returns the best rung that works here, trying no further than the first that does.
pub fn first_working(scratch: &std::path::Path) -> Option<Rung> {
    probe::first_working(scratch)
}

/// Returns whether limits on memory and processes can be kept here.
pub fn limits_are_kept() -> bool {
    Cgroup::make(&crate::Limits::default()).is_some()
}
