//! A terminal of the session's own: what is typed goes there, what it shows comes here.
//!
//! The session gets a new pseudo-terminal and never the caller's own: so it can have job control and Ctrl-C for
//! itself, and cannot put words into the caller's shell.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use executor::SessionStreams;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{
    OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};

use crate::error::CliError;

/// How often it is looked whether the window has another size: no signal handler is needed so.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How much is carried at a time, in bytes.
const CARRIED_BYTES: usize = 16 << 10;

/// The caller's terminal and the new one.
pub(crate) struct Terminal {
    master: File,
    /// How the caller's terminal was before.
    before: Termios,
}

impl Terminal {
    /// Opens a new terminal like the caller's, if the caller has one on standard input and output.
    pub(crate) fn open() -> Result<Option<(Self, SessionStreams)>, CliError> {
        let (stdin, stdout) = (io::stdin(), io::stdout());
        if !stdin.is_terminal() || !stdout.is_terminal() {
            return Ok(None);
        }
        let made = || -> rustix::io::Result<(Self, OwnedFd)> {
            let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
            grantpt(&master)?;
            unlockpt(&master)?;
            let name = ptsname(&master, Vec::new())?;
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
            let slave = open(name.as_c_str(), flags, Mode::empty())?;
            let before = tcgetattr(&stdin)?;
            tcsetattr(&slave, OptionalActions::Now, &before)?;
            tcsetwinsize(&slave, tcgetwinsize(&stdout)?)?;
            Ok((Self { master: File::from(master), before }, slave))
        };
        let (terminal, slave) = made().map_err(failed)?;
        let copy = || slave.try_clone().map_err(CliError::disk("open", Path::new("a terminal")));
        let streams = SessionStreams { stdin: copy()?, stdout: copy()?, stderr: copy()? };
        Ok(Some((terminal, streams)))
    }

    /// Makes the caller's terminal one that hands on every key, and carries to and fro until the session's closes.
    pub(crate) fn relay(self) -> Result<Relay, CliError> {
        let mut raw = self.before.clone();
        raw.make_raw();
        let restore = Restore(self.before);
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).map_err(failed)?;
        let master = self.master;
        Ok(Relay { thread: std::thread::spawn(move || carry(master)), _restore: restore })
    }
}

fn failed(error: rustix::io::Errno) -> CliError {
    CliError::disk("open", Path::new("a terminal"))(error.into())
}

/// What goes on between the two terminals.
pub(crate) struct Relay {
    thread: JoinHandle<()>,
    _restore: Restore,
}

impl Relay {
    /// Waits until all that the session showed has come here; nobody may hold its terminal any more.
    pub(crate) fn end(self) {
        // A thread that panicked carried what it could.
        let _ = self.thread.join();
    }
}

/// Makes the caller's terminal what it was, however this ends.
struct Restore(Termios);

impl Drop for Restore {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}

/// Carries what is typed to the session and what it shows to the caller, until its terminal is closed.
fn carry(mut master: File) {
    let (mut stdin, mut stdout) = (io::stdin(), io::stdout());
    let mut buffer = vec![0; CARRIED_BYTES];
    let mut size = tcgetwinsize(&stdout).ok();
    let mut typing = true;
    let wait = Timespec::try_from(LOOK_INTERVAL).expect("it is short");
    loop {
        let (typed, shown) = match wait_for(&stdin, &master, typing, &wait) {
            Ok(ready) => ready,
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
        };
        follow_size(&stdout, &master, &mut size);
        if typed {
            match stdin.read(&mut buffer) {
                // The caller's terminal is gone; the session hears of it when bld ends.
                Ok(0) | Err(_) => typing = false,
                Ok(read) => {
                    let _ = master.write_all(&buffer[..read]);
                }
            }
        }
        if shown {
            match master.read(&mut buffer) {
                Ok(read) if read > 0 => {
                    let _ = stdout.write_all(&buffer[..read]).and_then(|()| stdout.flush());
                }
                // Nobody has the other end open any more.
                Ok(_) | Err(_) => return,
            }
        }
    }
}

/// Returns whether something was typed, and whether something is to be shown.
fn wait_for(
    stdin: &impl AsFd,
    master: &impl AsFd,
    typing: bool,
    wait: &Timespec,
) -> rustix::io::Result<(bool, bool)> {
    let listened = if typing { PollFlags::IN } else { PollFlags::empty() };
    let mut descriptors = [PollFd::new(stdin, listened), PollFd::new(master, PollFlags::IN)];
    let descriptors = if typing { &mut descriptors[..] } else { &mut descriptors[1..] };
    poll(descriptors, Some(wait))?;
    let is_ready = |descriptor: &PollFd<'_>| !descriptor.revents().is_empty();
    let shown = descriptors.last().is_some_and(is_ready);
    Ok((typing && is_ready(&descriptors[0]), shown))
}

/// Gives the session's terminal the size of the caller's, when that has changed.
fn follow_size(stdout: &impl AsFd, master: &impl AsFd, size: &mut Option<Winsize>) {
    let Ok(now) = tcgetwinsize(stdout) else { return };
    let differs = size.is_none_or(|it| (it.ws_row, it.ws_col) != (now.ws_row, now.ws_col));
    if differs && tcsetwinsize(master, now).is_ok() {
        *size = Some(now);
    }
}

/// Returns the caller's streams as they are; a terminal is not read from, for it would not be the session's own.
pub(crate) fn streams() -> Result<SessionStreams, CliError> {
    let own = |stream: std::os::fd::BorrowedFd<'_>| {
        stream.try_clone_to_owned().map_err(CliError::disk("share", Path::new("a stream")))
    };
    let stdin = if io::stdin().is_terminal() {
        let null =
            File::open("/dev/null").map_err(CliError::disk("open", Path::new("/dev/null")))?;
        OwnedFd::from(null)
    } else {
        own(io::stdin().as_fd())?
    };
    let (stdout, stderr) = (own(io::stdout().as_fd())?, own(io::stderr().as_fd())?);
    Ok(SessionStreams { stdin, stdout, stderr })
}
