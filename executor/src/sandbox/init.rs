//! The sandbox's own processes: the one that makes the namespaces, and the init inside.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
};
use rustix::process::{Pid, PidfdFlags, chdir, getegid, geteuid, pidfd_open, pivot_root, umask};

use super::linux::{self, Fork, Namespaces, Resource, Wait};
use super::spec::{Mount, MountKind, Outcome, Rung, SetupFailure, Spec};
use super::{ARGUMENT, HOST_NAME, SANDBOX_ID};

/// How long init waits at most before it reaps what was orphaned.
const REAP_INTERVAL: Duration = Duration::from_millis(500);

/// How large `/tmp` may become: temporary files of compilers fit, a runaway does not eat the machine.
const TMP_OPTIONS: &str = "mode=1777,size=4g,nr_inodes=1m";

/// How many files a command may have open: what most distributions give a shell, soft and hard.
const OPEN_FILES_MAX: u64 = 4096;

/// The stack of a command's first thread, in bytes: what Linux gives by default.
const STACK_BYTES: u64 = 8 << 20;

/// The longest spec that is read: a few hundred mounts and arguments of the system's own limit fit.
const SPEC_BYTES_MAX: u32 = 16 << 20;

/// The devices that a command sees.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// Becomes a sandbox's first process if this process was started as one, and then never returns.
///
/// Must be called before any thread is started and before arguments are parsed.
pub fn run_if_asked() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != ARGUMENT) || arguments.next().is_some() {
        return;
    }
    let code = match first_process() {
        Ok(()) => 0,
        Err(failure) => {
            report(&Err(failure));
            1
        }
    };
    linux::leave(code);
}

fn first_process() -> Result<(), SetupFailure> {
    let spec = read_spec().map_err(step("reading what to do"))?;
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    match spec.rung {
        Rung::UserNamespace => {
            linux::unshare(Namespaces::All).map_err(step("making namespaces"))?;
            map_ids(uid, gid).map_err(step("mapping the user"))?;
        }
        Rung::Root | Rung::Bare => {
            linux::unshare(Namespaces::AllButUser).map_err(step("making namespaces"))?;
        }
    }
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
    let stdout = File::create(&spec.stdout).map_err(step("opening the log"))?;
    let stderr = File::create(&spec.stderr).map_err(step("opening the log"))?;
    if spec.rung == Rung::Root {
        let chown =
            |path: &Path| std::os::unix::fs::chown(path, Some(SANDBOX_ID), Some(SANDBOX_ID));
        for path in spec.mounts.iter().filter_map(writable) {
            chown(path).map_err(step("giving away the working directory"))?;
        }
    }
    build_root(spec)?;
    rustix::system::sethostname(HOST_NAME.as_bytes()).map_err(step("setting the host name"))?;
    rustix::system::setdomainname(b"").map_err(step("setting the domain name"))?;
    linux::raise_loopback().map_err(step("raising the loopback interface"))?;
    let began = Instant::now();
    let command = match linux::fork().map_err(step("starting the command"))? {
        Fork::Parent(command) => command,
        Fork::Child => become_command(spec, &stdout, &stderr),
    };
    drop((stdout, stderr));
    supervise(command, began, Duration::from_millis(spec.time_ms))
        .map_err(step("watching the command"))
}

fn writable(mount: &Mount) -> Option<&Path> {
    match &mount.kind {
        MountKind::Writable(path) | MountKind::Overlay { upper: path, .. } => Some(path),
        MountKind::Tree(_) | MountKind::Layers(_) | MountKind::File(_) | MountKind::Link(_) => None,
    }
}

/// Mounts everything and makes it the root.
fn build_root(spec: &Spec) -> Result<(), SetupFailure> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(step("detaching from the machine's mounts"))?;
    let root = &spec.root;
    mount_new("tmpfs", root, "mode=0755,size=16m").map_err(step("mounting the root"))?;
    for mount in &spec.mounts {
        show(root, mount, spec.rung).map_err(step(&format!("showing /{}", mount.at)))?;
    }
    show_devices(&root.join("dev")).map_err(step("showing /dev"))?;
    show_new("proc", &root.join("proc"), "").map_err(step("showing /proc"))?;
    show_new("tmpfs", &root.join("tmp"), TMP_OPTIONS).map_err(step("showing /tmp"))?;
    enter_root(root).map_err(step("entering the root"))
}

fn show(root: &Path, mount: &Mount, rung: Rung) -> io::Result<()> {
    let at = root.join(&mount.at);
    let sealed = linux::READ_ONLY | linux::NO_SUID | linux::NO_DEVICES;
    let open = linux::NO_SUID | linux::NO_DEVICES;
    match &mount.kind {
        MountKind::Link(target) => symlink(target, &at),
        MountKind::Tree(path) => {
            make_directory(&at)?;
            mount_bind(path, &at)?;
            linux::restrict_mount(&at, sealed)
        }
        MountKind::File(path) => {
            File::create_new(&at)?;
            mount_bind(path, &at)?;
            linux::restrict_mount(&at, sealed)
        }
        MountKind::Writable(path) => {
            make_directory(&at)?;
            mount_bind(path, &at)?;
            linux::restrict_mount(&at, open)
        }
        MountKind::Layers(layers) => {
            make_directory(&at)?;
            let layers: Vec<_> = layers.iter().map(|path| escape(path)).collect();
            mount_overlay(&at, &format!("lowerdir={}", layers.join(":")), rung)?;
            linux::restrict_mount(&at, sealed)
        }
        MountKind::Overlay { lower, upper, work } => {
            make_directory(&at)?;
            let [lower, upper, work] = [lower, upper, work].map(|path| escape(path));
            let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
            mount_overlay(&at, &options, rung)?;
            linux::restrict_mount(&at, open)
        }
    }
}

fn mount_overlay(at: &Path, options: &str, rung: Rung) -> io::Result<()> {
    let options = match rung {
        // Without privileges over the machine, the kernel keeps its marks in the user's attributes.
        Rung::UserNamespace => format!("{options},userxattr"),
        Rung::Root | Rung::Bare => options.to_owned(),
    };
    mount_new("overlay", at, &options)
}

/// Escapes a path for an overlay's options.
fn escape(path: &Path) -> String {
    let mut escaped = String::new();
    for character in path.to_string_lossy().chars() {
        if matches!(character, '\\' | ':' | ',') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// Makes a directory to mount on. One that is there must be a directory: a link would lead out of the root.
fn make_directory(at: &Path) -> io::Result<()> {
    match fs::create_dir(at) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if at.symlink_metadata()?.is_dir() {
                return Ok(());
            }
            Err(io::Error::from_raw_os_error(libc::ENOTDIR))
        }
        other => other,
    }
}

fn show_devices(dev: &Path) -> io::Result<()> {
    show_new("tmpfs", dev, "mode=0755,size=64k")?;
    for device in DEVICES {
        let at = dev.join(device);
        File::create_new(&at)?;
        mount_bind(Path::new("/dev").join(device), &at)?;
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(target, dev.join(name))?;
    }
    show_new("tmpfs", &dev.join("shm"), "mode=1777,size=1g")?;
    linux::restrict_mount(dev, linux::READ_ONLY | linux::NO_SUID)
}

fn show_new(kind: &str, at: &Path, options: &str) -> io::Result<()> {
    make_directory(at)?;
    mount_new(kind, at, options)
}

fn mount_new(kind: &str, at: &Path, options: &str) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    let options = CString::new(options)?;
    mount(kind, at, kind, flags, options.as_c_str()).map_err(Into::into)
}

fn enter_root(root: &Path) -> io::Result<()> {
    chdir(root)?;
    // Old and new root on one another: no directory is needed to put the old one on.
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")?;
    linux::restrict_mount(Path::new("/"), linux::READ_ONLY | linux::NO_SUID | linux::NO_DEVICES)
}

/// Becomes the command. Whatever goes wrong from here on is told on its standard error.
fn become_command(spec: &Spec, stdout: &File, stderr: &File) -> ! {
    let failed = if let Err(error) = prepare_command(spec, stdout, stderr) {
        error
    } else {
        let error = exec_command(spec);
        let message = format!("bld: cannot run `{}`: {error}\n", spec.arguments[0]);
        let _ = io::stderr().write_all(message.as_bytes());
        error
    };
    linux::leave(if failed.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
}

fn prepare_command(spec: &Spec, stdout: &File, stderr: &File) -> io::Result<()> {
    chdir(Path::new("/").join(&spec.working_directory))?;
    linux::place_descriptor(&File::open("/dev/null")?, 0)?;
    linux::place_descriptor(stdout, 1)?;
    linux::place_descriptor(stderr, 2)?;
    umask(rustix::fs::Mode::from_raw_mode(0o022));
    linux::limit(Resource::Core, 0)?;
    linux::limit(Resource::Files, OPEN_FILES_MAX)?;
    linux::limit(Resource::Stack, STACK_BYTES)?;
    linux::limit(Resource::FileSize, spec.file_bytes)?;
    if spec.rung == Rung::Root {
        linux::become_user(SANDBOX_ID)?;
    }
    linux::forbid_new_privileges()
}

fn exec_command(spec: &Spec) -> io::Error {
    let strings = |strings: Vec<String>| strings.into_iter().map(CString::new).collect();
    let arguments: Result<Vec<_>, _> = strings(spec.arguments.clone());
    let variable = |(name, value): (&String, &String)| format!("{name}={value}");
    let environment: Result<Vec<_>, _> = strings(spec.environment.iter().map(variable).collect());
    let (Ok(arguments), Ok(environment)) = (arguments, environment) else {
        return io::Error::from_raw_os_error(libc::EINVAL);
    };
    let mut failed = io::Error::from_raw_os_error(libc::ENOENT);
    for program in candidates(spec) {
        let Ok(program) = linux::c_path(&program) else {
            return io::Error::from_raw_os_error(libc::EINVAL);
        };
        let error = linux::exec(&program, &arguments, &environment);
        if error.kind() != io::ErrorKind::NotFound {
            failed = error;
        }
    }
    failed
}

/// The files that may be the program: as in REAPI, a name without a slash is looked for in the command's own PATH.
fn candidates(spec: &Spec) -> Vec<PathBuf> {
    let program = &spec.arguments[0];
    if program.contains('/') {
        return vec![PathBuf::from(program)];
    }
    let path = spec.environment.get("PATH").map_or("", String::as_str);
    path.split(':')
        .filter(|folder| !folder.is_empty())
        .map(|it| Path::new(it).join(program))
        .collect()
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

fn step<E: Into<io::Error>>(step: &str) -> impl FnOnce(E) -> SetupFailure {
    let step = step.to_owned();
    move |error| {
        let error: io::Error = error.into();
        SetupFailure { step, errno: error.raw_os_error().unwrap_or(libc::EINVAL) }
    }
}
