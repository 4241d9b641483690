//! What the server's process takes of the machine.

use std::time::Duration;

use rustix::time::ClockId;

/// What the server's process takes of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessStat {
    /// User and system time.
    pub cpu: Duration,
    /// Memory that is really there, in bytes.
    pub resident_bytes: u64,
    /// How many files are open.
    pub open_files: u64,
}

/// Returns what this process takes now; what the system does not tell is 0.
pub fn process_stat() -> ProcessStat {
    let cpu = rustix::time::clock_gettime(ClockId::ProcessCPUTime);
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let resident = pages.split(' ').nth(1).and_then(|it| it.parse::<u64>().ok());
    let files = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    ProcessStat {
        cpu: Duration::try_from(cpu).unwrap_or_default(),
        resident_bytes: resident.unwrap_or(0) * rustix::param::page_size() as u64,
        // The listing itself was one.
        open_files: (files as u64).saturating_sub(1),
    }
}
