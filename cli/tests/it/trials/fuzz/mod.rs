//! Good requests made bad: whatever comes, the server answers with what is wrong about it, soon, and serves the next one.

mod grpc;
mod http;

use std::time::Duration;

use bytes::Bytes;
use testkit::Seed;
use tokio::runtime::Runtime;

use super::client::{Client, Form, digest};
use crate::machine::Machine;
use crate::served::{Served, logged};

/// How long one answer may take on a busy machine.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// How much memory the server may ever have had, in KiB: what is held at once at most, and what the program itself takes.
const RESIDENT_KIB_MAX: u64 = 600 << 10;

/// After how many cases it is looked whether the server still serves.
const LOOK_CASES: u64 = 100;

/// A server that is sent what makes no sense.
struct Target {
    machine: Machine,
    served: Served,
    runtime: Runtime,
    seed: Seed,
}

impl Target {
    fn start() -> Self {
        let (machine, seed) = (Machine::bare(), Seed::new());
        let served = Served::start(&machine);
        Self { machine, served, runtime: Runtime::new().unwrap(), seed }
    }

    /// Ends the server, which must have failed at nothing.
    fn end(self) {
        let peak = self.served.peak_kib();
        assert!(peak < RESIDENT_KIB_MAX, "{peak} KiB");
        self.served.end();
        let log = logged(&self.machine);
        let faults: Vec<_> =
            log.lines().filter(|it| it.contains("panicked") || it.contains("ERROR")).collect();
        assert!(faults.is_empty(), "{faults:#?}");
    }
}

/// Sends and reads something good.
async fn look(client: &Client, number: u64) {
    let bytes = Bytes::from(format!("good {number}").repeat(100));
    client.write(&bytes, "good", Form::Zstd, 0, || {}).await.unwrap();
    assert!(client.read(digest(&bytes), Form::Plain).await.unwrap() == Some(bytes));
}
