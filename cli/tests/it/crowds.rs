//! Many builds at once, in one store.

use std::fmt::Write as _;

use crate::machine::{Machine, Ran, summary};

/// How many builds run at once.
const BUILDS: usize = 10;

/// How many commands each of them wants to run, beside the root.
const COMMANDS: usize = 8;

/// Commands that each take long enough to be run twice, if that were possible. Each makes a folder.
fn commands() -> String {
    let mut text = "load(\"@rules//files.bzl\", \"genrule\")\n".to_owned();
    for number in 0..COMMANDS {
        writeln!(
            text,
            "genrule(name = \"c{number}\", cmd = \"sleep 0.2; mkdir out/d{number}; echo x > out/d{number}/n\", \
             outs = [\"d{number}\"], root = \"//hello:shell\")"
        )
        .unwrap();
    }
    text
}

/// Starts all builds, waits for all, and returns how many actions ran in all of them.
fn ran_in(builds: Vec<std::process::Command>) -> u64 {
    let children: Vec<_> = builds.into_iter().map(|mut build| build.spawn().unwrap()).collect();
    let ended = children.into_iter().map(|child| Ran::from(child.wait_with_output().unwrap()));
    ended.map(|ran| summary(&ran.expect(0).json(), "misses")).sum()
}

#[test]
fn ten_builds_in_one_workspace_run_each_action_once() {
    let machine = Machine::hello();
    machine.write("t/BUILD.bld", &commands());
    let ran = ran_in((0..BUILDS).map(|_| machine.command(&["build", "//...", "--json"])).collect());
    // The root, hello, and the commands.
    assert_eq!(ran, 2 + COMMANDS as u64);
    assert_eq!(machine.outputs().len(), 1 + COMMANDS);
    machine.run(&["cache", "verify"]).expect(0);
}

#[test]
fn ten_builds_in_ten_workspaces_with_one_store_run_each_action_once() {
    let machines: Vec<_> = (0..BUILDS).map(|_| Machine::hello()).collect();
    let store = machines[0].store();
    let builds = machines.iter().map(|machine| {
        machine.write("t/BUILD.bld", &commands());
        let mut command = machine.command(&["build", "//...", "--json"]);
        command.env("BLD_STORE", &store);
        command
    });
    assert_eq!(ran_in(builds.collect()), 2 + COMMANDS as u64);
    for machine in &machines {
        assert_eq!(machine.outputs(), machines[0].outputs());
    }
    machines[0].run(&["cache", "verify"]).expect(0);
}

#[test]
fn ten_builds_that_find_no_lock_make_one_that_all_agree_on() {
    let machine = Machine::new();
    let sha256 = crate::archives::sha256(b"hello\n");
    machine.write("served/file.txt", "hello\n");
    let url = format!("file://{}", machine.workspace().join("served/file.txt").display());
    machine.write(
        "BUILD.bld",
        &format!(
            "load(\"@rules//fetch.bzl\", \"http_file\")\n\
             http_file(name = \"file\", urls = [\"{url}\"], sha256 = \"{sha256}\")\n"
        ),
    );
    ran_in((0..BUILDS).map(|_| machine.command(&["build", "//:all", "--json"])).collect());
    machine.run(&["build", "//:all", "--locked"]).expect(0);
    assert_eq!(machine.read("bld-out/file.txt"), "hello\n");
}
