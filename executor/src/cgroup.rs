//! Control groups: limits on memory and processes, where the machine lets us have them.
//!
//! Version 2 with controllers, or version 1 as root; without either the limits are not kept, and `bld doctor` says so.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::Limits;

/// Where control groups are mounted.
const MOUNT: &str = "/sys/fs/cgroup";

/// A control group of one action, removed when dropped.
#[derive(Debug)]
pub(crate) struct Cgroup {
    folders: Vec<PathBuf>,
    memory: Option<PathBuf>,
}

impl Cgroup {
    /// Makes a group for an action; `None` where the machine has none for us.
    pub(crate) fn make(name: &str, limits: &Limits) -> Option<Self> {
        let mount = Path::new(MOUNT);
        if mount.join("cgroup.controllers").exists() {
            Self::make_v2(mount, name, limits)
        } else {
            Self::make_v1(mount, name, limits)
        }
    }

    fn make_v2(mount: &Path, name: &str, limits: &Limits) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let folder = mount.join(own).join(name);
        fs::create_dir(&folder).ok()?;
        let group = Self { folders: vec![folder.clone()], memory: Some(folder.clone()) };
        let set = fs::write(folder.join("memory.max"), limits.memory_bytes.to_string())
            .and_then(|()| fs::write(folder.join("pids.max"), limits.processes.to_string()));
        // A group without controllers limits nothing; then there is no point in it.
        set.is_ok().then_some(group)
    }

    fn make_v1(mount: &Path, name: &str, limits: &Limits) -> Option<Self> {
        let mut group = Self { folders: Vec::new(), memory: None };
        for (controller, file, value) in [
            ("memory", "memory.limit_in_bytes", limits.memory_bytes),
            ("pids", "pids.max", u64::from(limits.processes)),
        ] {
            let folder = mount.join(controller).join(name);
            if fs::create_dir(&folder).is_err() {
                continue;
            }
            if controller == "memory" {
                group.memory = Some(folder.clone());
            }
            let set = fs::write(folder.join(file), value.to_string());
            group.folders.push(folder);
            set.ok()?;
        }
        (!group.folders.is_empty()).then_some(group)
    }

    /// Puts a process into the group; all that it starts will be there too.
    pub(crate) fn enter(&self, process: u32) -> io::Result<()> {
        for folder in &self.folders {
            fs::write(folder.join("cgroup.procs"), process.to_string())?;
        }
        Ok(())
    }

    /// Returns whether the kernel ended something in the group for want of memory.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        let Some(folder) = &self.memory else { return false };
        ["memory.events", "memory.oom_control"].iter().any(|file| {
            let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
            text.lines()
                .any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
        })
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for folder in &self.folders {
            // Its processes are gone; if the kernel has not noticed yet, an empty group stays behind, which costs nothing.
            let _ = fs::remove_dir(folder);
        }
    }
}
