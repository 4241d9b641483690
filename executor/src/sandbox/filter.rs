//! The system calls that no namespace confines, and that are therefore refused.
//!
//! Sockets of families that reach beyond the network namespace (vsock leads to the machine that runs this one),
//! kernel keyrings, which belong to users and not to namespaces, and `io_uring`, which makes sockets unseen.

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, EAFNOSUPPORT, ENOSYS,
    SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, sock_filter,
};

/// Where `seccomp_data` holds the call's number.
const NUMBER: u32 = 0;

/// Where it holds the architecture whose numbers are meant.
const ARCHITECTURE: u32 = 4;

/// Where it holds the lower half of the first argument.
const FIRST_ARGUMENT: u32 = 16;

/// The families that a network namespace confines.
const FAMILIES: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// From here on the numbers mean a second set of calls (x32), which nobody uses.
const FOREIGN_NUMBERS: u32 = 0x4000_0000;

/// The numbers that one architecture gives to what is judged here.
struct Calls {
    architecture: u32,
    socket: u32,
    refused: &'static [u32],
}

/// What programs of this machine use: `add_key`, `request_key`, `keyctl`, `io_uring_setup` are refused,
/// and for 32 bits also `socketcall`, whose arguments cannot be seen.
#[cfg(target_arch = "x86_64")]
const KNOWN: &[Calls] = &[
    Calls { architecture: 0xC000_003E, socket: 41, refused: &[248, 249, 250, 425] },
    Calls { architecture: 0x4000_0003, socket: 359, refused: &[102, 286, 287, 288, 425] },
];

/// What programs of this machine use: `add_key`, `request_key`, `keyctl`, `io_uring_setup` are refused.
#[cfg(target_arch = "aarch64")]
const KNOWN: &[Calls] =
    &[Calls { architecture: 0xC000_00B7, socket: 198, refused: &[217, 218, 219, 425] }];

/// Returns the program that judges every system call of a command.
pub(super) fn filter() -> Vec<sock_filter> {
    let mut program = vec![load(ARCHITECTURE)];
    for calls in KNOWN {
        let block = judge(calls);
        program.push(unless(BPF_JEQ, calls.architecture, block.len()));
        program.extend(block);
    }
    program.push(answer(refusal(ENOSYS)));
    program
}

fn judge(calls: &Calls) -> Vec<sock_filter> {
    let mut block = vec![load(NUMBER)];
    block.extend([unless(BPF_JGE, FOREIGN_NUMBERS, 1), answer(refusal(ENOSYS))]);
    for number in calls.refused {
        block.extend([unless(BPF_JEQ, *number, 1), answer(refusal(ENOSYS))]);
    }
    let mut socket = vec![load(FIRST_ARGUMENT)];
    for family in FAMILIES {
        socket.extend([unless(BPF_JEQ, family.cast_unsigned(), 1), answer(SECCOMP_RET_ALLOW)]);
    }
    socket.push(answer(refusal(EAFNOSUPPORT)));
    block.push(unless(BPF_JEQ, calls.socket, socket.len()));
    block.extend(socket);
    block.push(answer(SECCOMP_RET_ALLOW));
    block
}

fn load(offset: u32) -> sock_filter {
    instruction(BPF_LD | BPF_W | BPF_ABS, offset, 0)
}

fn answer(verdict: u32) -> sock_filter {
    instruction(BPF_RET | BPF_K, verdict, 0)
}

/// Skips the next `skipped` instructions unless the comparison of what was loaded with `value` holds.
fn unless(comparison: u32, value: u32, skipped: usize) -> sock_filter {
    instruction(BPF_JMP | comparison | BPF_K, value, skipped)
}

fn instruction(code: u32, k: u32, otherwise: usize) -> sock_filter {
    let code = u16::try_from(code).expect("instructions have 16 bits");
    let jf = u8::try_from(otherwise).expect("the blocks are short");
    sock_filter { code, jt: 0, jf, k }
}

fn refusal(errno: i32) -> u32 {
    SECCOMP_RET_ERRNO | errno.cast_unsigned()
}
