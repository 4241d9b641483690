//! A small disk of a test's own: a file system in memory, in a mount namespace that lives as long as this does.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::geteuid;

use crate::machine::Machine;
use crate::served::{Served, configure};

/// A file system that has no more room than was said, and whose mount nobody else sees.
pub(crate) struct SmallDisk {
    keeper: Child,
    folder: PathBuf,
}

impl SmallDisk {
    /// Makes one below a machine's folder.
    pub(crate) fn new(machine: &Machine, mebibytes: u64) -> Self {
        let folder = machine.root().join("disk");
        fs::create_dir(&folder).unwrap();
        let is_root = geteuid().is_root();
        let user: &[&str] = if is_root { &[] } else { &["--user", "--map-root-user"] };
        let script = "mount -t tmpfs -o size=\"$1\" none \"$2\" && echo mounted && exec cat";
        let mut keeper = Command::new("unshare")
            .args(user)
            .args(["--mount", "sh", "-c", script, "sh", &format!("{mebibytes}m")])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 8];
        keeper.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
        assert_eq!(&said, b"mounted\n");
        Self { keeper, folder }
    }

    /// Starts a server whose store lies on it.
    pub(crate) fn serve(&self, machine: &Machine, config: &str) -> Served {
        configure(
            machine,
            &format!("[store]\npath = \"{}\"\n{config}", self.folder.join("store").display()),
        );
        let bld = machine.command(&["server"]);
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--target={}", self.keeper.id())).arg("--mount");
        if !geteuid().is_root() {
            inside.args(["--user", "--preserve-credentials"]);
        }
        // Whoever enters begins at the root there.
        inside.args(["sh", "-c", "cd \"$1\" && shift && exec \"$@\"", "sh"]);
        inside.arg(machine.workspace()).arg(bld.get_program()).args(bld.get_args());
        let variables = bld.get_envs().filter_map(|(name, value)| Some((name, value?)));
        inside.env_clear().envs(variables).stdin(Stdio::null());
        Served::start_by(machine, inside)
    }

    /// Returns a path on it, as it is to be found from outside.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id()));
        root.join(self.folder.strip_prefix("/").unwrap()).join(name)
    }

    /// Takes all the room there is.
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.path("fill")).unwrap();
        let mut piece = vec![1; 1 << 20];
        while !piece.is_empty() {
            if file.write_all(&piece).is_err() {
                piece.truncate(piece.len() / 2);
            }
        }
    }

    /// Gives it back.
    pub(crate) fn make_room(&self) {
        fs::remove_file(self.path("fill")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.keeper.stdin.take());
        self.keeper.wait().unwrap();
    }
}

/// Returns the names of all files below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut pending) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { pending.push(path) } else { found.push(path) }
        }
    }
    found
}
