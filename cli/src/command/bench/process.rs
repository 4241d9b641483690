//! What a process has used: time and memory, as the kernel counts them.

use std::fs;
use std::io::{Error, ErrorKind};
use std::time::Duration;

/// What a process used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Processor time of all its threads.
    pub(super) cpu: Duration,
    /// What it has in memory now, in bytes.
    pub(super) resident_bytes: u64,
}

/// Returns what the process has used.
pub(super) fn usage(pid: u32) -> Result<Usage, Error> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let statm = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
    // The program's name, in parentheses, may hold anything; the state follows it, and is the third field.
    let (_, fields) = stat.rsplit_once(") ").ok_or(ErrorKind::InvalidData)?;
    let mut fields = fields.split(' ').skip(14 - 3);
    let user = number(fields.next()).ok_or(ErrorKind::InvalidData)?;
    let system = number(fields.next()).ok_or(ErrorKind::InvalidData)?;
    let pages = number(statm.split(' ').nth(1)).ok_or(ErrorKind::InvalidData)?;
    let tick = Duration::from_secs(1)
        / u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100);
    Ok(Usage {
        cpu: tick * u32::try_from(user + system).unwrap_or(u32::MAX),
        resident_bytes: pages * rustix::param::page_size() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_what_it_used() {
        let usage = usage(std::process::id()).unwrap();
        assert!(usage.resident_bytes > 1 << 20, "{usage:?}");
        super::usage(u32::MAX).unwrap_err();
    }
}
