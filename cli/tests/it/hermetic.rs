//! An action sees what it declares, as it was when its key was made, and nothing else.

use std::fs;

use crate::machine::{Machine, Ran, summary};

/// Declares a command in `//t`.
fn command(name: &str, cmd: &str, more: &str) -> String {
    format!(
        "load(\"@rules//files.bzl\", \"genrule\")\n\
         genrule(name = \"{name}\", cmd = '''{cmd}''', outs = [\"{name}.txt\"], root = \"//hello:shell\", {more})\n"
    )
}

#[test]
fn an_action_that_reads_what_it_does_not_declare_fails() {
    let machine = Machine::hello();
    machine.write("t/secret.txt", "a source that nobody declares\n");
    machine.write("t/declared.txt", "declared\n");
    let workspace = machine.workspace();
    let workspace = workspace.display();
    for undeclared in [
        "/etc/shadow",
        "/src/secret.txt",
        &format!("{workspace}/t/secret.txt"),
        &format!("{workspace}/bld.toml"),
        "/proc/1/root/etc/shadow",
    ] {
        let cmd = format!("cat /src/declared.txt; cat {undeclared} > out/read.txt");
        machine.write("t/BUILD.bld", &command("read", &cmd, "srcs = [\"declared.txt\"]"));
        machine.run(&["build", "//t:all"]).expect(1).says(&[undeclared, "can't open"]);
        assert!(!machine.output("t/read.txt").exists());
    }
}

#[test]
fn an_action_sees_nothing_of_the_environment_and_no_network() {
    let machine = Machine::hello();
    let cmd = "env | sort; cat /proc/net/dev; id -u; hostname; umask; date +%z; touch out/look.txt";
    machine.write("t/BUILD.bld", &command("look", cmd, ""));
    let mut build = machine.command(&["build", "//t:all"]);
    Ran::of(build.env("SECRET", "hunter2").env("LC_ALL", "de_DE.UTF-8").env("TZ", "Asia/Tokyo"))
        .expect(0);
    let log = machine.run(&["log", "//t:look"]).expect(0).stdout;
    for absent in ["SECRET", "hunter2", "de_DE", "Tokyo", "eth0", "BLD_STORE"] {
        assert!(!log.contains(absent), "{absent} in {log}");
    }
    assert!(log.contains("\n1000\nbld\n0022\n+0000\n"), "{log}");
}

#[test]
fn what_an_action_writes_elsewhere_than_to_its_outputs_does_not_survive() {
    let machine = Machine::hello();
    machine.write("t/input.txt", "as it was\n");
    let cmd = "for f in /src/input.txt /usr/bin/busybox /bin/new /etc/passwd /src/new; do echo bad > $f && echo wrote $f; done; \
               echo stray > stray; echo stray > out/stray; cat /src/input.txt > out/made.txt";
    machine.write("t/BUILD.bld", &command("made", cmd, "srcs = [\"input.txt\"]"));
    machine.run(&["build", "//t:all"]).expect(0);
    let log = machine.run(&["log", "//t:made"]).expect(0).stdout;
    assert!(!log.contains("wrote"), "{log}");
    let outputs = machine.outputs();
    assert_eq!(outputs, [("t/made.txt".to_owned(), b"as it was\n".to_vec())]);
    assert_eq!(machine.read("t/input.txt"), "as it was\n");
    machine.run(&["cache", "verify"]).expect(0);
}

#[test]
fn a_source_edited_during_its_own_compile_is_recorded_under_the_bytes_that_were_compiled() {
    let machine = Machine::hello();
    let cmd = "touch out/begun; until [ -e out/go ]; do sleep 0.02; done; cat /src/source.txt > out/made.txt";
    machine.write("t/BUILD.bld", &command("made", cmd, "srcs = [\"source.txt\"]"));
    machine.write("t/source.txt", "first\n");

    let build = machine.start(&["build", "//t:all"]);
    let out = machine.out_with("begun", &build);
    machine.write("t/source.txt", "second\n");
    fs::write(out.join("go"), "").unwrap();
    build.end().expect(0);
    assert_eq!(machine.read("bld-out/t/made.txt"), "first\n");

    // The key of the second text has no result yet, although that text was there when the first one ended.
    let build = machine.start(&["build", "//t:all"]);
    fs::write(machine.out_with("begun", &build).join("go"), "").unwrap();
    build.end().expect(0);
    assert_eq!(machine.read("bld-out/t/made.txt"), "second\n");

    machine.write("t/source.txt", "first\n");
    let back = machine.run(&["build", "//t:all", "--json"]).expect(0);
    assert_eq!(summary(&back.json(), "misses"), 0);
    assert_eq!(machine.read("bld-out/t/made.txt"), "first\n");
}

#[test]
fn without_a_sandbox_an_action_with_a_build_root_is_refused_and_nothing_is_recorded() {
    let machine = Machine::hello();
    machine
        .run(&["build", "//hello:all", "--sandbox=none"])
        .expect(1)
        .says(&["warning: without a sandbox", "//hello:hello: the action needs a build root"]);
    let stat = machine.run(&["cache", "stat", "--json"]).expect(0).json();
    assert_eq!(stat["actions"], 0);
    assert_eq!(stat["failures"], 0);
    assert!(!machine.output("hello/hello.txt").exists());
}

#[test]
fn an_action_that_runs_too_long_is_ended_and_not_remembered() {
    let machine = Machine::hello();
    machine.write("t/BUILD.bld", &command("slow", "sleep 1000", ""));
    for _ in 0..2 {
        let build = machine.run(&["build", "//t:all", "--timeout", "1"]).expect(1);
        let build = build.says(&["its time was up"]);
        assert!(!build.stderr.contains("remembered"), "{}", build.stderr);
    }
    machine.assert_nothing_is_left();
}
