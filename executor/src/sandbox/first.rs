//! A sandbox as `bld` sees it: a first process that is started, told what to run, heard, and waited for.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::ARGUMENT;
use super::spec::{Beginning, Outcome, SetupFailure, Spec, receive, send};
use crate::ExecuteError;

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

/// The first process of a sandbox. Dropping it waits until the sandbox is gone, mounts and all.
#[derive(Debug)]
pub(crate) struct FirstProcess {
    child: Child,
    unsaid: Option<io::Error>,
}

impl FirstProcess {
    /// Starts it. It makes the sandbox, as far as nothing need be known of what is to run, and waits to be told.
    pub(crate) fn start(beginning: &Beginning) -> Result<Self, ExecuteError> {
        // A store whose path is not UTF-8 is the one thing that cannot be said.
        let beginning = serde_json::to_string(&beginning).map_err(io::Error::from);
        let beginning = beginning.map_err(failed("telling the sandbox how to begin"))?;
        let child = Command::new("/proc/self/exe")
            .arg0("bld-sandbox")
            .args([ARGUMENT, &beginning])
            .env_clear()
            // Ctrl-C on the terminal is for bld, which then ends its sandboxes.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(failed("starting bld again"))?;
        Ok(Self { child, unsaid: None })
    }

    /// Returns whether it still waits; one that ended while nobody looked says why to nobody.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Tells the sandbox what to run. Blocks as long as it has not begun, if there is much to say.
    pub(crate) fn tell(&mut self, spec: &Spec, lifeline: &Lifeline) {
        let mut stdin = self.child.stdin.take().expect("it is piped, and told once");
        self.unsaid = send(spec, &mut stdin).err();
        lifeline.hold(stdin);
    }

    /// Waits for that long, and returns whether there is something to hear meanwhile.
    pub(crate) fn answers_within(&self, time: Duration) -> bool {
        let stdout = self.child.stdout.as_ref().expect("it is piped");
        let time = Timespec::try_from(time).expect("it is short");
        // Whoever is interrupted, or cannot wait, waits for the answer itself.
        poll(&mut [PollFd::new(stdout, PollFlags::IN)], Some(&time)).is_ok_and(|ready| ready > 0)
    }

    /// Returns what the sandbox's init reports once nothing lives in there but itself. Blocks.
    pub(crate) fn hear(&mut self) -> Result<Outcome, ExecuteError> {
        let stdout = self.child.stdout.as_mut().expect("it is piped");
        let report: io::Result<Result<Outcome, SetupFailure>> = receive(stdout);
        let report = match (report, self.unsaid.take()) {
            (Ok(report), _) => report,
            (Err(_), Some(unsaid)) => {
                return Err(failed("telling the sandbox what to do")(unsaid));
            }
            (Err(source), None) => return Err(ExecuteError::NoReport { source }),
        };
        report.map_err(|failure| ExecuteError::Sandbox {
            step: failure.step,
            source: io::Error::from_raw_os_error(failure.errno),
        })
    }
}

impl Drop for FirstProcess {
    fn drop(&mut self) {
        // Waiting closes its standard input first, if it was told nothing; that ends it.
        let _ = self.child.wait();
    }
}

fn failed(step: &str) -> impl FnOnce(io::Error) -> ExecuteError {
    let step = step.to_owned();
    move |source| ExecuteError::Sandbox { step, source }
}
