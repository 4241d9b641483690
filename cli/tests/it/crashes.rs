//! Builds that end too early: killed at any instant, or told to stop.

use std::io::Read as _;
use std::net::TcpListener;
use std::time::Duration;

use rustix::process::Signal;

use crate::machine::Machine;
use crate::random::{Random, seed};

/// How often a build is killed.
const ROUNDS: u64 = 15;

/// Within how long after its start, in milliseconds: fetching, unpacking, composing and compiling all begin by then.
const INSTANT_MAX_MS: u64 = 1500;

/// How long a build that was told to stop may take to do so: far less than what it waits for would take.
const STOP_TIME_MAX: Duration = Duration::from_secs(20);

#[test]
fn after_kills_at_random_instants_a_build_completes_in_a_store_without_fault() {
    let mut random = Random(seed());
    let machine = Machine::drivers();
    for _ in 0..ROUNDS {
        let build = machine.start(&["build", "//drivers:all"]);
        std::thread::sleep(Duration::from_millis(random.below(INSTANT_MAX_MS)));
        build.signal(Signal::KILL);
        drop(build);
        machine.assert_nothing_is_left();
    }
    machine.run(&["build", "//drivers:all"]).expect(0);
    machine.run(&["cache", "verify"]).expect(0);
    assert_eq!(machine.outputs().len(), 11);
    // What the dead left is swept up.
    machine.run(&["cache", "gc"]).expect(0);
    assert_eq!(std::fs::read_dir(machine.store().join("tmp")).unwrap().count(), 0);
}

/// A command that has begun, has a child that would outlive it, and ends when `out/go` is there.
const GATED: &str = r#"
load("@rules//files.bzl", "genrule")

genrule(
    name = "gated",
    cmd = "sleep 1000 & touch out/begun; until [ -e out/go ]; do sleep 0.02; done; echo through > out/made",
    outs = ["made"],
    root = "//hello:shell",
)
"#;

fn a_build_ends_soon_when_told_to_by(signal: Signal) {
    let machine = Machine::hello();
    machine.write("t/BUILD.bld", GATED);
    let build = machine.start(&["build", "//t:all"]);
    machine.out_with("begun", &build);
    let began = std::time::Instant::now();
    build.signal(signal);
    let ended = build.end().expect(130).says(&["interrupted"]);
    assert!(began.elapsed() < STOP_TIME_MAX);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    machine.assert_nothing_is_left();
    assert!(!machine.output("t/made").exists());

    let build = machine.start(&["build", "//t:all"]);
    std::fs::write(machine.out_with("begun", &build).join("go"), "").unwrap();
    build.end().expect(0);
    assert_eq!(machine.read("bld-out/t/made"), "through\n");
    machine.assert_nothing_is_left();
    machine.run(&["cache", "verify"]).expect(0);
}

#[test]
fn ctrl_c_ends_a_build_and_all_that_it_started_and_the_next_one_completes() {
    a_build_ends_soon_when_told_to_by(Signal::INT);
}

#[test]
fn sigterm_ends_a_build_and_all_that_it_started_and_the_next_one_completes() {
    a_build_ends_soon_when_told_to_by(Signal::TERM);
}

#[test]
fn ctrl_c_ends_a_lock_that_waits_for_a_server() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let machine = Machine::new();
    machine.write(
        "BUILD.bld",
        &format!(
            "load(\"@rules//fetch.bzl\", \"http_file\")\n\
             http_file(name = \"slow\", urls = [\"http://{address}/slow\"], sha256 = \"{}\")\n",
            "0".repeat(64)
        ),
    );
    for command in [&["lock"][..], &["build", "//:all"]] {
        let child = machine.start(command);
        let (mut asked, _) = server.accept().unwrap();
        // The request has arrived; the answer never comes.
        asked.read_exact(&mut [0; 4]).unwrap();
        child.signal(Signal::INT);
        child.end().expect(130).says(&["interrupted"]);
        machine.assert_nothing_is_left();
        assert!(!machine.workspace().join("bld.lock").exists());
    }
}
