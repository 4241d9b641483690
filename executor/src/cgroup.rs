//! Control groups: limits on memory and processes, where the machine lets us have them.
//!
//! Version 2 with controllers, or version 1 as root; without either the limits are not kept, and `bld doctor` says so.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Limits;

/// Where control groups are mounted.
const MOUNT: &str = "/sys/fs/cgroup";

/// What the names of our groups begin with; the process and a number follow.
const PREFIX: &str = "bld-";

/// How many groups this process made: names are one space for all stores that it has open.
static MADE: AtomicU64 = AtomicU64::new(0);

/// A control group of one action, removed when dropped.
#[derive(Debug)]
pub(crate) struct Cgroup {
    folders: Vec<PathBuf>,
    /// The file that counts what the kernel ended for want of memory.
    killed: Option<PathBuf>,
    /// The files that take the limits: on memory, and on processes.
    knobs: [Option<PathBuf>; 2],
    limits: Option<Limits>,
}

impl Cgroup {
    /// Makes a group for an action; `None` where the machine has none for us.
    pub(crate) fn make(limits: &Limits) -> Option<Self> {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        let mut group = match Hierarchy::find()? {
            Hierarchy::Unified(parent) => Self::make_v2(&parent.join(name))?,
            Hierarchy::PerController { memory, pids } => {
                Self::make_v1(&memory.join(&name), &pids.join(&name))?
            }
        };
        // A group without controllers limits nothing; then there is no point in it.
        group.limit(limits).is_ok().then_some(group)
    }

    fn make_v2(folder: &Path) -> Option<Self> {
        make_folder(folder).ok()?;
        Some(Self {
            folders: vec![folder.to_owned()],
            killed: Some(folder.join("memory.events")),
            knobs: [Some(folder.join("memory.max")), Some(folder.join("pids.max"))],
            limits: None,
        })
    }

    fn make_v1(memory: &Path, pids: &Path) -> Option<Self> {
        let [memory, pids] =
            [memory, pids].map(|it| make_folder(it).is_ok().then(|| it.to_owned()));
        let knob = |folder: &Option<PathBuf>, name| folder.as_ref().map(|it| it.join(name));
        let group = Self {
            folders: [&memory, &pids].into_iter().flatten().cloned().collect(),
            knobs: [knob(&memory, "memory.limit_in_bytes"), knob(&pids, "pids.max")],
            killed: knob(&memory, "memory.oom_control"),
            limits: None,
        };
        (!group.folders.is_empty()).then_some(group)
    }

    /// Sets the limits, unless they are those already.
    pub(crate) fn limit(&mut self, limits: &Limits) -> io::Result<()> {
        if self.limits.is_some_and(|it| it == *limits) {
            return Ok(());
        }
        for (knob, value) in self.knobs.iter().zip([limits.memory_bytes, limits.processes.into()]) {
            if let Some(knob) = knob {
                fs::write(knob, value.to_string())?;
            }
        }
        self.limits = Some(*limits);
        Ok(())
    }

    /// Returns the directories that stand for it: whoever enters them all is in the group, with all that it starts.
    pub(crate) fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Returns whether the kernel ended something in the group for want of memory.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        let Some(killed) = &self.killed else { return false };
        let text = fs::read_to_string(killed).unwrap_or_default();
        text.lines()
            .any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for folder in &self.folders {
            // Its processes are gone; if the kernel has not noticed yet, an empty group stays behind until the next sweep.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Puts this process into a group; all that it starts will be there too.
pub(crate) fn enter(folders: &[PathBuf]) -> io::Result<()> {
    // Zero is whoever writes.
    folders.iter().try_for_each(|folder| fs::write(folder.join("cgroup.procs"), "0"))
}

/// Removes the groups of processes that were ended before they could do so.
pub(crate) fn sweep() {
    let parents = match Hierarchy::find() {
        Some(Hierarchy::Unified(parent)) => vec![parent],
        Some(Hierarchy::PerController { memory, pids }) => vec![memory, pids],
        None => Vec::new(),
    };
    for parent in parents {
        let Ok(entries) = fs::read_dir(parent) else { continue };
        for entry in entries.filter_map(Result::ok) {
            if is_orphaned(&entry.file_name().to_string_lossy()) {
                // A group with processes in it refuses.
                let _ = fs::remove_dir(entry.path());
            }
        }
    }
}

fn is_orphaned(name: &str) -> bool {
    let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
    owner.is_some_and(|(process, _)| !Path::new("/proc").join(process).exists())
}

/// Where new groups may be made: below our own, so that no limit of this process is escaped.
enum Hierarchy {
    /// Version 2: one for all controllers.
    Unified(PathBuf),
    /// Version 1: one per controller.
    PerController { memory: PathBuf, pids: PathBuf },
}

impl Hierarchy {
    fn find() -> Option<Self> {
        let mount = Path::new(MOUNT);
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        if mount.join("cgroup.controllers").exists() {
            return Some(Self::Unified(own_folder(&own, mount, "")));
        }
        let folder = |controller: &str| own_folder(&own, &mount.join(controller), controller);
        Some(Self::PerController { memory: folder("memory"), pids: folder("pids") })
    }
}

/// Returns our own group's folder for a controller, as `/proc/self/cgroup` tells.
fn own_folder(own: &str, mount: &Path, controller: &str) -> PathBuf {
    let path = own.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|it| it == controller).then_some(path)
    });
    let folder = mount.join(path.unwrap_or_default().trim_start_matches('/'));
    // In a container the path is the machine's, and what is mounted is our own group already.
    if folder.is_dir() { folder } else { mount.to_owned() }
}

/// Makes a group; an empty one of that name is what an earlier process of our id left.
fn make_folder(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_dir(folder)?;
            fs::create_dir(folder)
        }
        other => other,
    }
}
