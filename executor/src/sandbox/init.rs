//! The sandbox's own processes: the one that makes the namespaces, and the init inside.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Gid, Mode, Uid, fchown};
use rustix::process::{Pid, PidfdFlags, getegid, geteuid, pidfd_open, setsid, umask};

use super::command::{Streams, become_command, confine_all};
use super::linux::{self, Fork, Namespaces, Wait};
use super::root::build_root;
use super::spec::{Outcome, Rung, SetupFailure, Spec};
use super::{ARGUMENT, HOST_NAME, SANDBOX_ID};

/// How long init waits at most before it reaps what was orphaned.
const REAP_INTERVAL: Duration = Duration::from_millis(500);

/// The longest spec that is read: a few hundred mounts and arguments of the system's own limit fit.
const SPEC_BYTES_MAX: u32 = 16 << 20;

/// The permissions that a command takes from what it makes.
const UMASK: u32 = 0o022;

/// Becomes a sandbox's first process if this process was started as one, and then never returns.
///
/// Must be called before any thread is started and before arguments are parsed.
pub fn run_if_asked() {
    // Arguments for others than us may be no text at all.
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [word, rung] = arguments.as_slice() else { return };
    let rung = rung.to_str().and_then(Rung::parse);
    let (true, Some(rung)) = (word == ARGUMENT, rung) else { return };
    let code = match first_process(rung) {
        Ok(()) => 0,
        Err(failure) => {
            report(&Err(failure));
            1
        }
    };
    linux::leave(code);
}

fn first_process(rung: Rung) -> Result<(), SetupFailure> {
    forget_caller().map_err(step("closing what others left open"))?;
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    match rung {
        Rung::UserNamespace => {
            linux::unshare(Namespaces::All).map_err(step("making namespaces"))?;
            map_ids(uid, gid).map_err(step("mapping the user"))?;
        }
        Rung::Root | Rung::Bare => {
            linux::unshare(Namespaces::AllButUser).map_err(step("making namespaces"))?;
        }
    }
    // Up to here nothing depends on what is to be run; a spare sandbox waits here.
    let spec = read_spec().map_err(step("reading what to do"))?;
    // Only for what /proc/self/cgroup says; not every kernel has control groups.
    let _ = linux::unshare(Namespaces::Cgroup);
    match linux::fork().map_err(step("starting the sandbox's init"))? {
        Fork::Parent(_) => {
            // Init reports for itself; this process only stays for bld to wait for.
            let _ = linux::wait_any(Wait::Blocking);
            Ok(())
        }
        Fork::Child => {
            let outcome = init(&spec);
            report(&outcome);
            linux::leave(0)
        }
    }
}

fn read_spec() -> io::Result<Spec> {
    let mut stdin = io::stdin().lock();
    let mut length = [0; 4];
    stdin.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > SPEC_BYTES_MAX {
        return Err(io::Error::from_raw_os_error(libc::E2BIG));
    }
    let mut message = vec![0; length as usize];
    stdin.read_exact(&mut message)?;
    serde_json::from_slice(&message).map_err(io::Error::from)
}

/// Gives up what is inherited from whoever started bld, and would show in the command.
fn forget_caller() -> io::Result<()> {
    umask(Mode::from_raw_mode(UMASK));
    linux::reset_signals();
    linux::reset_personality();
    linux::leave_groups();
    linux::close_inherited()
}

pub(super) fn map_ids(uid: u32, gid: u32) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{SANDBOX_ID} {uid} 1\n"))?;
    fs::write("/proc/self/gid_map", format!("{SANDBOX_ID} {gid} 1\n"))
}

fn report(outcome: &Result<Outcome, SetupFailure>) {
    let message = serde_json::to_vec(outcome).expect("an outcome has only numbers");
    // If bld is gone, nobody is left to hear it.
    let _ = io::stdout().write_all(&message);
    let _ = io::stdout().flush();
}

fn init(spec: &Spec) -> Result<Outcome, SetupFailure> {
    setsid().map_err(step("leaving the terminal"))?;
    let stdout = open_log(spec, &spec.stdout).map_err(step("opening the log"))?;
    let stderr = open_log(spec, &spec.stderr).map_err(step("opening the log"))?;
    build_root(spec)?;
    rustix::system::sethostname(HOST_NAME.as_bytes()).map_err(step("setting the host name"))?;
    rustix::system::setdomainname(b"").map_err(step("setting the domain name"))?;
    linux::raise_loopback().map_err(step("raising the loopback interface"))?;
    let stdin = File::open("/dev/null").map_err(step("opening /dev/null"))?;
    confine_all(spec)?;
    let streams = Streams { stdin, stdout, stderr };
    let began = Instant::now();
    let command = match linux::fork().map_err(step("starting the command"))? {
        Fork::Parent(command) => command,
        Fork::Child => become_command(spec, &streams),
    };
    drop(streams);
    supervise(command, began, Duration::from_millis(spec.time_ms))
        .map_err(step("watching the command"))
}

/// Opens a log for appending: a command that opens `/dev/stderr` again must not write over what is there.
fn open_log(spec: &Spec, path: &Path) -> io::Result<File> {
    let log = File::options().create(true).append(true).open(path)?;
    if spec.rung == Rung::Root {
        let (uid, gid) = (Uid::from_raw(SANDBOX_ID), Gid::from_raw(SANDBOX_ID));
        fchown(&log, Some(uid), Some(gid))?;
    }
    Ok(log)
}

/// Waits for the command to end, for its time to be up, or for bld to be gone; then ends everything.
fn supervise(command: i32, began: Instant, time: Duration) -> io::Result<Outcome> {
    let pid = Pid::from_raw(command).expect("a child has an id");
    let ended = pidfd_open(pid, PidfdFlags::empty())?;
    let mut status = None;
    let mut timed_out = false;
    while status.is_none() {
        let left = time.saturating_sub(began.elapsed());
        if left.is_zero() {
            timed_out = true;
            break;
        }
        if bld_is_gone(&ended, left.min(REAP_INTERVAL))? {
            linux::leave(1);
        }
        status = reap(command, Wait::Polling)?;
    }
    let wall = began.elapsed();
    // What the command left running would write into outputs that are being read.
    linux::kill_all();
    while let Ok(Some((child, found))) = linux::wait_any(Wait::Blocking) {
        if child == command {
            status = Some(found);
        }
    }
    let (exit_code, signal) = status.map_or((None, None), linux::decode_status);
    Ok(Outcome {
        exit_code,
        signal,
        timed_out,
        wall_us: u64::try_from(wall.as_micros()).unwrap_or(u64::MAX),
        cpu_us: linux::children_cpu_us(),
    })
}

/// Waits a while for something to happen, and returns whether bld closed its end of the pipe.
fn bld_is_gone(ended: &OwnedFd, wait: Duration) -> io::Result<bool> {
    let stdin = io::stdin();
    let mut descriptors = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(ended, PollFlags::IN)];
    let wait = Timespec::try_from(wait).map_err(|_source| io::ErrorKind::InvalidInput)?;
    match poll(&mut descriptors, Some(&wait)) {
        Ok(_) => Ok(!descriptors[0].revents().is_empty()),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Waits for all that ended, and returns the command's status if it is among them.
fn reap(command: i32, wait: Wait) -> io::Result<Option<i32>> {
    let mut status = None;
    while let Some((child, found)) = match linux::wait_any(wait) {
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => None,
        other => other?,
    } {
        if child == command {
            status = Some(found);
        }
    }
    Ok(status)
}

pub(super) fn step<E: Into<io::Error>>(step: &str) -> impl FnOnce(E) -> SetupFailure {
    let step = step.to_owned();
    move |error| {
        let error: io::Error = error.into();
        SetupFailure { step, errno: error.raw_os_error().unwrap_or(libc::EINVAL) }
    }
}
