//! What an action may use.

use std::time::Duration;

/// What an action may use. Policy, not identity: none of it is part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long the command may run.
    pub time: Duration,
    /// How much memory all its processes may have together, in bytes; kept where there are cgroups.
    pub memory_bytes: u64,
    /// How many processes it may have at once; kept where there are cgroups.
    pub processes: u32,
    /// How large one file that it writes may become, and all that it leaves behind together, in bytes.
    pub output_bytes: u64,
}

impl Default for Limits {
    /// Generous: they exist to stop what runs away, not to ration what works.
    fn default() -> Self {
        Self {
            // Twice what the slowest kernel package takes on a small machine.
            time: Duration::from_secs(4 * 3600),
            // Links of debug kernels stay below half of it.
            memory_bytes: 16 << 30,
            processes: 8192,
            output_bytes: 16 << 30,
        }
    }
}
