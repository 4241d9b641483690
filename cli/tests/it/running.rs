//! `bld run`: the program that was built, in the place of `bld`.

use rustix::process::Signal;

use crate::machine::{Machine, Ran, wait_for};

/// A script that tells what it is given, and what is left of `bld`.
const TELL: &str = r#"
load("@rules//files.bzl", "genrule")

genrule(
    name = "tell",
    cmd = "cp /src/tell.sh out/tell; chmod +x out/tell",
    srcs = ["tell.sh"],
    outs = ["tell"],
    root = "//hello:shell",
)
genrule(
    name = "two",
    cmd = "for it in one two; do echo '#!/bin/sh' > out/$it; echo echo $it >> out/$it; chmod +x out/$it; done",
    outs = ["one", "two"],
    root = "//hello:shell",
)
genrule(name = "none", cmd = "echo text > out/none.txt", outs = ["none.txt"], root = "//hello:shell")
genrule(name = "bad", cmd = "echo no good >&2; exit 7", outs = ["bad"], root = "//hello:shell")
"#;

const SCRIPT: &str = r#"#!/bin/sh
echo "arguments: $*"
echo "directory: $(pwd)"
echo "word: $WORD"
echo "open: $(ls -l /proc/$$/fd | grep -c store)"
echo "children: $(cat /proc/$$/task/$$/children | wc -w)"
[ "$1" = wait ] && { touch "$2"; exec sleep 100; }
exit 5
"#;

fn machine() -> Machine {
    let machine = Machine::hello();
    machine.write("t/BUILD.bld", TELL);
    machine.write("t/tell.sh", SCRIPT);
    machine
}

#[test]
fn the_program_gets_its_arguments_folder_and_environment_and_its_exit_status_is_that_of_bld() {
    let machine = machine();
    let folder = machine.workspace().join("hello");
    let mut command = machine.command(&["run", "//t:tell", "--", "one", "--two", "-h"]);
    let ran = Ran::of(command.current_dir(&folder).env("WORD", "hello")).expect(5);
    let expected = format!(
        "arguments: one --two -h\ndirectory: {}\nword: hello\nopen: 0\nchildren: 1\n",
        folder.canonicalize().unwrap().display()
    );
    assert_eq!(ran.stdout, expected, "{}", ran.stderr);
    machine.assert_nothing_is_left();
}

#[test]
fn from_any_folder_with_a_relative_label_and_nothing_on_standard_output_but_the_programs() {
    let machine = machine();
    machine.run(&["build", "//t:tell"]).expect(0);
    let mut command = machine.command(&["run", ":tell"]);
    let ran = Ran::of(command.current_dir(machine.workspace().join("t"))).expect(5);
    assert!(ran.stdout.starts_with("arguments: \n"), "{}", ran.stdout);
    let workspace = machine.workspace();
    let mut command = machine.command(&["run", "-C", workspace.to_str().unwrap(), "t:tell"]);
    let ran = Ran::of(command.current_dir("/")).expect(5);
    assert!(ran.stdout.contains("directory: /\n"), "{}", ran.stdout);
}

#[test]
fn a_signal_goes_to_the_program() {
    let machine = machine();
    let begun = machine.root().join("begun");
    let started = machine.start(&["run", "//t:tell", "--", "wait", begun.to_str().unwrap()]);
    wait_for("the program", || begun.exists().then_some(()));
    // The same process: what bld held is no longer held while the program runs.
    let command = std::fs::read_to_string(format!("/proc/{}/comm", started.id())).unwrap();
    assert_ne!(command, "bld\n");
    machine.run(&["cache", "gc", "--to", "0"]).expect(0);
    started.signal(Signal::INT);
    assert_eq!(started.end().code, Some(130));
}

#[test]
fn what_cannot_be_run_is_told_with_what_could_be() {
    let machine = machine();
    machine.run(&["run", "//t:two"]).expect(2).says(&[
        "several programs",
        "--output",
        "one",
        "two",
    ]);
    let chosen = machine.run(&["run", "//t:two", "--output", "two"]).expect(0);
    assert_eq!(chosen.stdout, "two\n");
    machine.run(&["run", "//t:two", "--output", "three"]).expect(2).says(&["no program `three`"]);
    for words in [&["run", "//t:none"][..], &["run", "//t:none", "--output", "none.txt"]] {
        machine.run(words).expect(2).says(&["can be run; it makes:\n    none.txt"]);
    }
    machine.run(&["run", "//t:all"]).expect(2).says(&["several targets", "//t:none", "//t:two"]);
    let failed = machine.run(&["run", "//t:bad"]).expect(1).says(&["exit status 7", "no good"]);
    assert_eq!(failed.stdout, "");
}
