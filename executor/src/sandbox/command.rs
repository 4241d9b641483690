//! The command itself: what it inherits from init, and how it begins.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::process::{Signal, chdir, getpid, kill_process, setsid};

use super::filter::filter;
use super::init::step;
use super::linux::{self, Resource};
use super::spec::{Beginning, Rung, SetupFailure, Spec};
use super::{NOT_EXECUTABLE_EXIT_CODE, NOT_FOUND_EXIT_CODE};

/// How many files a command may have open: what most distributions give a shell, soft and hard.
const OPEN_FILES_MAX: u64 = 4096;

/// The stack of a command's first thread, in bytes: what Linux gives by default.
const STACK_BYTES: u64 = 8 << 20;

/// The files that the sandbox connects the command with: null and two logs that lie outside, or a session's.
pub(super) struct Streams {
    pub(super) stdin: File,
    pub(super) stdout: File,
    pub(super) stderr: File,
    /// Whether they are a terminal that the command is to control.
    pub(super) are_terminal: bool,
}

/// Confines init as far as it can be; the command inherits it.
/// Done here and not in the command, because what fails here is the machine's fault and is reported.
pub(super) fn confine_all() -> Result<(), SetupFailure> {
    for (resource, value) in
        [(Resource::Core, 0), (Resource::Files, OPEN_FILES_MAX), (Resource::Stack, STACK_BYTES)]
    {
        linux::limit(resource, value).map_err(step("setting limits"))?;
    }
    linux::forbid_inspection().map_err(step("hiding init"))?;
    linux::forbid_new_privileges().map_err(step("giving up privileges"))?;
    linux::filter_calls(&mut filter()).map_err(step("refusing system calls"))
}

/// Confines init to what this command may do, and to where it starts.
pub(super) fn confine_to(spec: &Spec) -> Result<(), SetupFailure> {
    let work = Path::new("/").join(&spec.working_directory);
    chdir(work).map_err(step("entering the working directory"))?;
    linux::limit(Resource::FileSize, spec.file_bytes).map_err(step("setting limits"))
}

/// Becomes the command. That it cannot be run is told on its standard error.
pub(super) fn become_command(
    beginning: &Beginning,
    spec: &Spec,
    arguments: &[String],
    streams: &Streams,
) -> ! {
    let error = match prepare(beginning, streams) {
        Ok(()) => exec(spec, arguments),
        Err(error) => error,
    };
    let program = arguments.first().map_or("", String::as_str);
    let message = format!("bld: cannot run `{program}`: {error}\n");
    let _ = io::stderr().write_all(message.as_bytes());
    let code = match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => NOT_FOUND_EXIT_CODE,
        // Full tables and failing disks are no property of the command: ended by a signal, it is not remembered.
        Some(libc::EAGAIN | libc::ENOMEM | libc::ENFILE | libc::EIO | libc::ETXTBSY) => {
            let _ = kill_process(getpid(), Signal::KILL);
            NOT_EXECUTABLE_EXIT_CODE
        }
        _ => NOT_EXECUTABLE_EXIT_CODE,
    };
    linux::leave(code)
}

fn prepare(beginning: &Beginning, streams: &Streams) -> io::Result<()> {
    linux::place_descriptor(&streams.stdin, 0)?;
    linux::place_descriptor(&streams.stdout, 1)?;
    linux::place_descriptor(&streams.stderr, 2)?;
    if streams.are_terminal {
        setsid()?;
        linux::control_terminal()?;
    }
    match beginning.rung {
        Rung::Root => linux::become_user(beginning.surroundings.id),
        Rung::UserNamespace | Rung::Bare => Ok(()),
    }
}

fn exec(spec: &Spec, arguments: &[String]) -> io::Error {
    let strings = |strings: Vec<String>| strings.into_iter().map(CString::new).collect();
    let words: Result<Vec<_>, _> = strings(arguments.to_vec());
    let variable = |(name, value): (&String, &String)| format!("{name}={value}");
    let environment: Result<Vec<_>, _> = strings(spec.environment.iter().map(variable).collect());
    let (Ok(words), Ok(environment)) = (words, environment) else {
        return io::Error::from_raw_os_error(libc::EINVAL);
    };
    let mut failed = io::Error::from_raw_os_error(libc::ENOENT);
    for program in candidates(spec, arguments) {
        let Ok(program) = linux::c_path(&program) else {
            return io::Error::from_raw_os_error(libc::EINVAL);
        };
        let error = linux::exec(&program, &words, &environment);
        if !matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) {
            failed = error;
        }
    }
    failed
}

/// The files that may be the program: as in REAPI, a name without a slash is looked for in the command's own PATH.
fn candidates(spec: &Spec, arguments: &[String]) -> Vec<PathBuf> {
    let Some(program) = arguments.first().filter(|program| !program.is_empty()) else {
        return Vec::new();
    };
    if program.contains('/') {
        return vec![PathBuf::from(program)];
    }
    let path = spec.environment.get("PATH").map_or("", String::as_str);
    path.split(':')
        .filter(|folder| !folder.is_empty())
        .map(|it| Path::new(it).join(program))
        .collect()
}
