//! `bld server` as a process of its own, as whoever runs it starts it.

use std::fs::{self, File};
use std::process::Command;

use rustix::process::Signal;

use crate::machine::{Machine, Ran, Started, wait_for};

/// A server that runs; it is killed if nobody tells it to end.
pub(crate) struct Served {
    server: Started,
    address: String,
}

impl Served {
    /// Starts a server.
    pub(crate) fn start(machine: &Machine) -> Self {
        Self::start_with(machine, "")
    }

    /// Starts a server with that in its configuration, beside where it listens.
    pub(crate) fn start_with(machine: &Machine, config: &str) -> Self {
        configure(machine, config);
        Self::start_by(machine, machine.command(&["server"]))
    }

    /// Starts a server by a command that becomes one, and waits until it says where it is.
    pub(crate) fn start_by(machine: &Machine, mut command: Command) -> Self {
        let said = machine.root().join("said");
        command.stdout(File::create(&said).unwrap());
        // Nobody reads a pipe while it runs.
        let log = File::options().create(true).append(true).open(log(machine)).unwrap();
        command.stderr(log);
        let server = Started::new(command);
        let address = wait_for("the server to say where it is", || {
            let said = fs::read_to_string(&said).unwrap();
            Some(said.strip_prefix("listening on ")?.strip_suffix('\n')?.to_owned())
        });
        Self { server, address }
    }

    /// Returns where it is, with the scheme.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Returns the number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.server.id()
    }

    /// Returns how much memory it has ever had, in KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let peak = status.lines().find_map(|it| it.strip_prefix("VmHWM:")).unwrap();
        peak.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }

    /// Kills it (`kill -9`).
    pub(crate) fn kill(self) {
        self.server.signal(Signal::KILL);
        assert_eq!(self.server.end().code, Some(128 + 9));
    }

    /// Tells it to end, which it must do well, and returns what it came to.
    pub(crate) fn end(self) -> Ran {
        self.server.signal(Signal::TERM);
        self.server.end().expect(0)
    }
}

/// Writes a configuration.
pub(crate) fn configure(machine: &Machine, config: &str) {
    machine.write("bld-server.toml", &format!("{config}\n[listen]\ntcp = [\"127.0.0.1:0\"]\n"));
}

/// Returns what all servers of a machine have logged.
pub(crate) fn logged(machine: &Machine) -> String {
    fs::read_to_string(log(machine)).unwrap()
}

fn log(machine: &Machine) -> std::path::PathBuf {
    machine.root().join("log")
}
