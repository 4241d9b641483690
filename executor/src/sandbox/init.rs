//! The sandbox's own processes: the one that makes the namespaces, and the init inside.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Gid, Mode, Uid, fchown};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, getegid, geteuid, pidfd_open, setsid, umask};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::command::{Streams, become_command, confine_all, confine_to};
use super::linux::{self, Fork, Namespaces, Wait};
use super::root::{begin_root, finish_root};
use super::spec::{Beginning, Outcome, Rung, SetupFailure, Spec, receive, send};
use super::{ARGUMENT, UMASK, entered};
use crate::cgroup;

/// How long init waits at most before it reaps what was orphaned.
const REAP_INTERVAL: Duration = Duration::from_millis(500);

/// How far clocks are shifted that count from the start of the machine, and where that is said: eleven days.
const OFFSETS: (&str, &str) =
    ("/proc/self/timens_offsets", "monotonic 1000000 0\nboottime 1000000 0\n");

/// What is looked for before a shell is started.
pub(crate) const NO_SHELL: &str = "finding /bin/sh in the build root";

/// Becomes a sandbox's first process if this process was started as one, and then never returns.
///
/// Must be called before any thread is started and before arguments are parsed.
pub fn run_if_asked() {
    // Arguments for others than us may be no text at all.
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [word, beginning] = arguments.as_slice() else { return };
    let beginning = beginning.to_str().and_then(|text| serde_json::from_str(text).ok());
    let (true, Some(beginning)) = (word == ARGUMENT, beginning) else { return };
    let code = match first_process(&beginning) {
        Ok(()) => 0,
        Err(failure) => {
            report(&Err(failure));
            1
        }
    };
    linux::leave(code);
}

fn first_process(beginning: &Beginning) -> Result<(), SetupFailure> {
    let inherited = forget_caller(beginning.streams);
    let inherited = inherited.map_err(step("closing what others left open"))?;
    // Here, because it may take long: the kernel waits until nobody can be looking at the group that is left.
    cgroup::enter(&beginning.cgroup).map_err(step("entering the control group"))?;
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    match beginning.rung {
        Rung::UserNamespace => {
            linux::unshare(Namespaces::All).map_err(step("making namespaces"))?;
            map_ids(beginning.surroundings.id, uid, gid).map_err(step("mapping the user"))?;
        }
        Rung::Root | Rung::Bare => {
            linux::unshare(Namespaces::AllButUser).map_err(step("making namespaces"))?;
        }
    }
    if beginning.shifted_clocks {
        // Not every kernel can; the documentation promises no more than another second.
        let _ = linux::unshare(Namespaces::Time).and_then(|()| fs::write(OFFSETS.0, OFFSETS.1));
    }
    // Only for what /proc/self/cgroup says; not every kernel has control groups.
    let _ = linux::unshare(Namespaces::Cgroup);
    match linux::fork().map_err(step("starting the sandbox's init"))? {
        Fork::Parent => {
            // Init reports for itself; this process only stays for bld to wait for.
            let _ = linux::wait_any(Wait::Blocking);
            Ok(())
        }
        Fork::Child => {
            let outcome = init(beginning, inherited);
            report(&outcome);
            linux::leave(0)
        }
    }
}

/// Gives up what is inherited from whoever started bld, and would show in the command.
fn forget_caller(streams: Option<[i32; 3]>) -> io::Result<Option<Streams>> {
    umask(Mode::from_raw_mode(UMASK));
    linux::reset_signals();
    linux::reset_personality();
    linux::leave_groups();
    match streams {
        Some(numbers) => linux::keep_inherited(numbers).map(|[stdin, stdout, stderr]| {
            Some(Streams { stdin, stdout, stderr, are_terminal: false })
        }),
        None => linux::close_inherited().map(|()| None),
    }
}

pub(super) fn map_ids(id: u32, uid: u32, gid: u32) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{id} {uid} 1\n"))?;
    fs::write("/proc/self/gid_map", format!("{id} {gid} 1\n"))
}

fn report(outcome: &Result<Outcome, SetupFailure>) {
    // If bld is gone, nobody is left to hear it.
    let _ = send(outcome, &mut io::stdout());
}

fn init(beginning: &Beginning, inherited: Option<Streams>) -> Result<Outcome, SetupFailure> {
    setsid().map_err(step("leaving the terminal"))?;
    // Logs lie outside, and are opened before the way there is gone.
    let logs = match &inherited {
        Some(_) => None,
        None => Some((
            open_log(beginning, &beginning.layout.stdout())?,
            open_log(beginning, &beginning.layout.stderr())?,
        )),
    };
    begin_root(beginning)?;
    let stdin = null()?;
    surround(beginning)?;
    confine_all()?;
    // Up to here nothing depends on what is to be run; a sandbox that is kept ready waits here.
    let spec: Spec = receive(&mut io::stdin().lock()).map_err(step("reading what to do"))?;
    finish_root(beginning, &spec)?;
    umask(Mode::from_raw_mode(beginning.surroundings.umask));
    confine_to(&spec)?;
    if let (Some(session), Some(streams)) = (&spec.session, inherited) {
        return entered::run(beginning, &spec, session, streams);
    }
    let (stdout, stderr) = logs.ok_or_else(|| step("opening the log")(Errno::BADF))?;
    let streams = Streams { stdin, stdout, stderr, are_terminal: false };
    let time = Duration::from_millis(spec.time_ms);
    run_to_end(beginning, &spec, &spec.arguments, streams, time)
}

/// Makes everything but files what the command is to see.
fn surround(beginning: &Beginning) -> Result<(), SetupFailure> {
    let surroundings = &beginning.surroundings;
    rustix::system::sethostname(surroundings.host_name.as_bytes())
        .map_err(step("setting the host name"))?;
    rustix::system::setdomainname(b"").map_err(step("setting the domain name"))?;
    linux::raise_loopback().map_err(step("raising the loopback interface"))?;
    if surroundings.one_processor {
        stay_on_one_processor().map_err(step("staying on one processor"))?;
    }
    Ok(())
}

pub(super) fn null() -> Result<File, SetupFailure> {
    File::open("/dev/null").map_err(step("opening /dev/null"))
}

/// Runs a command until it and all that it started has ended.
pub(super) fn run_to_end(
    beginning: &Beginning,
    spec: &Spec,
    arguments: &[String],
    streams: Streams,
    time: Duration,
) -> Result<Outcome, SetupFailure> {
    let began = Instant::now();
    let command = linux::spawn(&mut || become_command(beginning, spec, arguments, &streams))
        .map_err(step("starting the command"))?;
    drop(streams);
    supervise(command, began, time).map_err(step("watching the command"))
}

fn stay_on_one_processor() -> io::Result<()> {
    let allowed = sched_getaffinity(None)?;
    let mut first = CpuSet::new();
    if let Some(processor) = (0..CpuSet::MAX_CPU).find(|it| allowed.is_set(*it)) {
        first.set(processor);
        sched_setaffinity(None, &first)?;
    }
    Ok(())
}

/// Opens a log for appending: a command that opens `/dev/stderr` again must not write over what is there.
fn open_log(beginning: &Beginning, path: &Path) -> Result<File, SetupFailure> {
    let log = File::options().create(true).append(true).open(path);
    let log = log.map_err(step("opening the log"))?;
    if beginning.rung == Rung::Root {
        let id = beginning.surroundings.id;
        let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
        fchown(&log, Some(uid), Some(gid)).map_err(step("opening the log"))?;
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
