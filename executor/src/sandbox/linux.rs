//! The few system calls that only `unsafe` code can make.
#![expect(
    unsafe_code,
    reason = "fork, execve and calls without a safe wrapper; nowhere else in the house"
)]

use std::ffi::{CString, c_char};
use std::fs::File;
use std::io;
use std::os::fd::FromRawFd as _;
use std::path::Path;

/// Leaves the namespaces of the parent for new ones. Only ever called by a process that has a single thread.
pub(super) fn unshare(namespaces: Namespaces) -> io::Result<()> {
    let own = libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWNET;
    let flags = match namespaces {
        Namespaces::AllButUser => own,
        Namespaces::All => own | libc::CLONE_NEWUSER,
        Namespaces::Cgroup => libc::CLONE_NEWCGROUP,
        Namespaces::Time => CLONE_NEWTIME,
        Namespaces::Network => libc::CLONE_NEWNET,
        Namespaces::UserAndNetwork => libc::CLONE_NEWNET | libc::CLONE_NEWUSER,
    };
    // SAFETY: no memory is involved, and there is no other thread to be surprised.
    if unsafe { libc::unshare(flags) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What the C library's headers do not name yet.
const CLONE_NEWTIME: i32 = 0x80;

/// Which namespaces a sandbox has of its own.
#[derive(Clone, Copy)]
pub(super) enum Namespaces {
    /// Mounts, processes, interprocess communication, host name, network.
    AllButUser,
    /// Users too.
    All,
    /// Only control groups.
    Cgroup,
    /// Only the clocks that count from the start of the machine, for children to come.
    Time,
    /// Only the network.
    Network,
    /// Only users and the network.
    UserAndNetwork,
}

/// Who a process is after a fork.
pub(super) enum Fork {
    /// The new one.
    Child,
    /// The old one.
    Parent,
}

/// Forks. Only ever called by processes that have a single thread.
pub(super) fn fork() -> io::Result<Fork> {
    // SAFETY: the caller has one thread, so that no lock can be left held in the child.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        _ => Ok(Fork::Parent),
    }
}

/// Starts a child that borrows the memory of this process, which stands still until the child has become another
/// program or has ended: `child` must do one of both. Only ever called by processes that have a single thread.
///
/// Unlike [`fork`] it copies no page tables, which is most of what starting a small program takes.
pub(super) fn spawn(child: &mut dyn FnMut()) -> io::Result<i32> {
    /// What the child needs until then, several times over; so little takes no mapping of its own.
    const STACK_BYTES: usize = 64 << 10;
    extern "C" fn begin(child: *mut libc::c_void) -> libc::c_int {
        // SAFETY: it is what is passed below, and its owner stands still.
        let child = unsafe { &mut *child.cast::<&mut dyn FnMut()>() };
        child();
        1
    }
    let mut child = child;
    let mut stack = Vec::<u128>::with_capacity(STACK_BYTES / size_of::<u128>());
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack grows down from its end, which is aligned, and outlives the child's use of it; there is no
    // other thread that could use what the child changes, and the child unwinds into nothing: `begin` is `extern "C"`.
    let result = unsafe {
        let end = stack.as_mut_ptr().add(stack.capacity());
        libc::clone(begin, end.cast(), flags, (&raw mut child).cast())
    };
    if result >= 0 { Ok(result) } else { Err(io::Error::last_os_error()) }
}

/// Becomes another program; returns only if that is not possible.
pub(super) fn exec(program: &CString, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| -> Vec<*const c_char> {
        strings.iter().map(|it| it.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both lists end with a null pointer, and what they point to outlives the call.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Waits for a child to end; `None` if `block` is false and none has ended yet.
pub(super) fn wait_any(options: Wait) -> io::Result<Option<(i32, i32)>> {
    let mut status = 0;
    let flags = match options {
        Wait::Blocking => 0,
        Wait::Polling => libc::WNOHANG,
    };
    loop {
        // SAFETY: `status` is a valid place for the call to write to.
        match unsafe { libc::waitpid(-1, &raw mut status, flags) } {
            -1 => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
            0 => return Ok(None),
            child => return Ok(Some((child, status))),
        }
    }
}

/// Whether to wait for something to wait for.
#[derive(Clone, Copy)]
pub(super) enum Wait {
    /// Until a child ends.
    Blocking,
    /// Not at all.
    Polling,
}

/// Returns the exit code or the signal in a wait status.
pub(super) fn decode_status(status: i32) -> (Option<i32>, Option<i32>) {
    if libc::WIFSIGNALED(status) {
        (None, Some(libc::WTERMSIG(status)))
    } else {
        (Some(libc::WEXITSTATUS(status)), None)
    }
}

/// Ends every process of this pid namespace but the caller.
pub(super) fn kill_all() {
    // SAFETY: no memory is involved; the caller is the init of its pid namespace.
    unsafe { libc::kill(-1, libc::SIGKILL) };
}

/// Returns user and system time of all children that were waited for, in microseconds.
pub(super) fn children_cpu_us() -> u64 {
    // SAFETY: all zeros is a valid value of this plain structure, which the call then fills in.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let us = |time: libc::timeval| {
        u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000
            + u64::try_from(time.tv_usec).unwrap_or(0)
    };
    us(usage.ru_utime) + us(usage.ru_stime)
}

/// Adds attributes to a mount; takes none away.
pub(super) fn restrict_mount(path: &Path, attributes: u64) -> io::Result<()> {
    #[repr(C)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    let path = c_path(path)?;
    let attr = MountAttr { set: attributes, clear: 0, propagation: 0, user_namespace: 0 };
    // SAFETY: the path ends with NUL, and the structure has the size that is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            0,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Read-only.
pub(super) const READ_ONLY: u64 = 0x1;
/// Set-user-id bits are ignored.
pub(super) const NO_SUID: u64 = 0x2;
/// Device nodes cannot be opened.
pub(super) const NO_DEVICES: u64 = 0x4;

/// Brings the loopback interface up.
pub(super) fn raise_loopback() -> io::Result<()> {
    // SAFETY: the structure is plain, zeroed, and names an interface of two letters; the descriptor is closed.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = c_char::from_ne_bytes([*from]);
        }
        request.ifr_ifru.ifru_flags =
            i16::try_from(libc::IFF_UP | libc::IFF_RUNNING).expect("the flags are small");
        let result = libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw const request);
        let error = io::Error::last_os_error();
        libc::close(socket);
        if result == 0 { Ok(()) } else { Err(error) }
    }
}

/// Sets one resource limit, soft and hard.
pub(super) fn limit(resource: Resource, value: u64) -> io::Result<()> {
    let resource = match resource {
        Resource::Core => libc::RLIMIT_CORE,
        Resource::Files => libc::RLIMIT_NOFILE,
        Resource::FileSize => libc::RLIMIT_FSIZE,
        Resource::Stack => libc::RLIMIT_STACK,
        Resource::AddressSpace => libc::RLIMIT_AS,
        Resource::CpuSeconds => libc::RLIMIT_CPU,
    };
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structures are plain and outlive the calls.
    let result = unsafe {
        libc::getrlimit(resource, &raw mut old);
        // A lower limit that the machine has already cannot be lifted by everybody.
        let value = value.min(old.rlim_max);
        libc::setrlimit(resource, &libc::rlimit { rlim_cur: value, rlim_max: value })
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A resource that is limited for every command.
#[derive(Clone, Copy)]
pub(super) enum Resource {
    /// The size of a core file.
    Core,
    /// How many files are open.
    Files,
    /// The size of one file.
    FileSize,
    /// The size of the stack.
    Stack,
    /// How much memory is mapped.
    AddressSpace,
    /// How long it computes.
    CpuSeconds,
}

/// Closes every descriptor but the standard three, whoever left them open.
pub(super) fn close_inherited() -> io::Result<()> {
    // SAFETY: no memory is involved, and nothing in this process owns a descriptor above the standard three yet.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Closes every descriptor but the standard three and those of `numbers`, and returns these.
pub(super) fn keep_inherited(numbers: [i32; 3]) -> io::Result<[File; 3]> {
    /// Above what is kept, and above what a caller is likely to have open.
    const ASIDE: i32 = 256;
    let check = |result: i32| {
        if result >= 0 { Ok(result) } else { Err(io::Error::last_os_error()) }
    };
    let mut aside = [0; 3];
    for (aside, number) in aside.iter_mut().zip(numbers) {
        // SAFETY: no memory is involved; a number that is not open is refused.
        *aside = check(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, ASIDE) })?;
    }
    for (place, aside) in (3..).zip(aside) {
        // SAFETY: no memory is involved, and nothing in this process owns a descriptor above the standard three yet.
        check(unsafe { libc::dup3(aside, place, libc::O_CLOEXEC) })?;
    }
    // SAFETY: as above; what is closed is owned by nobody.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 6, libc::c_uint::MAX, 0) };
    if closed != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the three were opened just now, and are owned by what is returned from here on.
    Ok([3, 4, 5].map(|place| unsafe { File::from_raw_fd(place) }))
}

/// Makes the terminal on standard input the one that this session, which has none, is controlled by.
pub(super) fn control_terminal() -> io::Result<()> {
    // SAFETY: no memory is involved.
    let result = unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets every signal do again what it does by default; a program that is started inherits what is ignored.
pub(super) fn reset_signals() {
    /// How many signals there are; those that the C library keeps for itself are inherited like the others.
    const SIGNALS: libc::c_int = 64;
    /// No handler, no flags, no restorer, no mask, however the machine orders them.
    static DEFAULT: [u64; 4] = [0; 4];
    for signal in 1..=SIGNALS {
        let (new, old) = (&raw const DEFAULT, std::ptr::null_mut::<u64>());
        // SAFETY: what is pointed to is as large as the kernel's structure or larger, and no handler is installed.
        // The two signals that cannot be changed refuse, and are as they should be.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, new, old, size_of::<u64>()) };
    }
}

/// Is an ordinary Linux process again: a caller's emulated machine or memory layout would show in what is built.
pub(super) fn reset_personality() {
    // SAFETY: no memory is involved; the plain personality is never refused.
    unsafe { libc::personality(0) };
}

/// Leaves the groups of whoever called; only root can, for others they stay, and name nobody that is mapped.
pub(super) fn leave_groups() {
    // SAFETY: no memory is involved but the empty list of groups.
    unsafe { libc::setgroups(0, std::ptr::null()) };
}

/// Lets `filter` judge every system call of this process and its descendants, for good.
pub(super) fn filter_calls(filter: &mut [libc::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(filter.len()).expect("the filter is short");
    let program = libc::sock_fprog { len: length, filter: filter.as_mut_ptr() };
    let mode = libc::c_ulong::from(libc::SECCOMP_MODE_FILTER);
    // SAFETY: the program points to as many instructions as it says, which outlive the call.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Becomes an ordinary user for good: for the rung without a user namespace.
pub(super) fn become_user(id: u32) -> io::Result<()> {
    // SAFETY: no memory is involved but the empty list of groups.
    let result = unsafe {
        if libc::setgroups(0, std::ptr::null()) != 0 {
            return Err(io::Error::last_os_error());
        }
        if libc::setresgid(id, id, id) != 0 {
            return Err(io::Error::last_os_error());
        }
        libc::setresuid(id, id, id)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives up every privilege that a later program could bring: no set-user-id, no file capabilities.
pub(super) fn forbid_new_privileges() -> io::Result<()> {
    // SAFETY: no memory is involved.
    let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Keeps this process from being looked into by others of its user, until it becomes another program.
pub(super) fn forbid_inspection() -> io::Result<()> {
    // SAFETY: no memory is involved.
    let result = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Puts `descriptor` in the place of `number`.
pub(super) fn place_descriptor(
    descriptor: &impl std::os::fd::AsRawFd,
    number: i32,
) -> io::Result<()> {
    // SAFETY: no memory is involved; the caller owns both numbers.
    let result = unsafe { libc::dup2(descriptor.as_raw_fd(), number) };
    if result >= 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Ends this process at once, without running anything else.
pub(super) fn leave(code: i32) -> ! {
    // SAFETY: it does not return.
    unsafe { libc::_exit(code) }
}

/// Returns the path as the system wants it.
pub(super) fn c_path(path: &Path) -> io::Result<CString> {
    use std::os::unix::ffi::OsStrExt as _;
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from)
}
