//! A lighter confinement, for a process of `bld` itself that parses bytes from outside.

use std::io;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{getegid, geteuid};

use super::SANDBOX_ID;
use super::init::map_ids;
use super::linux::{self, Namespaces, Resource};

/// Takes the network, new privileges and most memory and time away from this process, which has a single thread.
///
/// Where the machine lets nobody make namespaces, the limits are all there is; `bld doctor` says so.
pub fn confine(memory_bytes: u64, cpu_seconds: u64) -> io::Result<()> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    if linux::unshare(Namespaces::UserAndNetwork).is_ok() {
        map_ids(SANDBOX_ID, uid, gid)?;
    } else {
        // Only root can; for others without user namespaces there is no way.
        let _ = linux::unshare(Namespaces::Network);
    }
    linux::limit(Resource::AddressSpace, memory_bytes)?;
    linux::limit(Resource::CpuSeconds, cpu_seconds)?;
    linux::limit(Resource::Core, 0)?;
    linux::forbid_new_privileges()
}

/// Waits until nobody reads the pipe `writer` any more.
pub fn wait_until_closed(writer: &impl AsFd) {
    let mut descriptors = [PollFd::new(writer, PollFlags::empty())];
    // A closed other end is reported whatever is asked for.
    while let Err(rustix::io::Errno::INTR) = poll(&mut descriptors, None) {}
}
