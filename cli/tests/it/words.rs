//! What a user who made a mistake reads.

use expect_test::{Expect, expect};

use crate::machine::Machine;

/// Runs `bld`, which must exit with 2, and compares what it says on standard error.
#[track_caller]
fn check(machine: &Machine, arguments: &[&str], expected: &Expect) {
    let said = machine.run(arguments).expect(2).stderr;
    expected.assert_eq(&said.replace(machine.root().to_str().unwrap(), "$MACHINE"));
}

fn small() -> Machine {
    let machine = Machine::new();
    machine.write("bld.toml", "[settings]\nflavour = [\"plain\", \"rich\"]\n");
    machine.write("t/a.txt", "a\n");
    machine.write(
        "t/BUILD.bld",
        "load(\"@rules//files.bzl\", \"filegroup\")\nfilegroup(name = \"things\", srcs = glob([\"*.txt\"]))\n",
    );
    machine
}

#[test]
fn a_label_that_is_wrong() {
    let machine = small();
    check(&machine, &["build", "//t:thing"], &expect![[""]]);
    check(&machine, &["build", "//s:things"], &expect![[""]]);
    check(&machine, &["build", "//t:things{kernel=6.1}"], &expect![[""]]);
    check(&machine, &["build", "//t:things{kernel}"], &expect![[""]]);
    check(&machine, &["build", "/t:things"], &expect![[""]]);
    check(&machine, &["build", "//../t:things"], &expect![[""]]);
    check(&machine, &["log", "//t:things"], &expect![[""]]);
}

#[test]
fn a_word_that_is_wrong() {
    let machine = small();
    check(&machine, &["biuld", "//t:things"], &expect![[""]]);
    check(&machine, &["build"], &expect![[""]]);
    check(&machine, &["build", "//t:things", "--offlin"], &expect![[""]]);
    check(&machine, &["build", "//t:things", "--jobs", "0"], &expect![[""]]);
    check(&machine, &["cache", "gc", "--to", "much"], &expect![[""]]);
    check(&machine, &["build", "//t:things", "--set", "flavor=rich"], &expect![[""]]);
    check(&machine, &["build", "//t:things", "--set", "flavour=sour"], &expect![[""]]);
    check(&machine, &["build", "//t:things", "--set", "flavour"], &expect![[""]]);
}

#[test]
fn no_workspace() {
    let machine = Machine::bare();
    // Above the machine there is none either.
    check(&machine, &["build", "//t:things"], &expect![[""]]);
    check(&machine, &["-C", "nowhere", "build", "//t:things"], &expect![[""]]);
}

#[test]
fn a_mistake_in_bld_toml() {
    let machine = small();
    for (text, expected) in [
        ("digst = \"blake3\"\n", expect![[""]]),
        ("digest = \"md5\"\n", expect![[""]]),
        ("[settings]\nflavour = []\n", expect![[""]]),
    ] {
        machine.write("bld.toml", text);
        check(&machine, &["build", "//t:things"], &expected);
    }
}

#[test]
fn a_mistake_in_a_build_file() {
    let machine = small();
    for (text, expected) in [
        ("filegrop(name = \"things\")\n", expect![[""]]),
        ("load(\"@rules//file.bzl\", \"filegroup\")\n", expect![[""]]),
        ("load(\"@rules//files.bzl\", \"filegrop\")\n", expect![[""]]),
        (
            "load(\"@rules//files.bzl\", \"filegroup\")\n\nfilegroup(name = \"things\", src = [\"a.txt\"])\n",
            expect![[""]],
        ),
        (
            "load(\"@rules//files.bzl\", \"filegroup\")\nfilegroup(name = \"things\", srcs = [\"b.txt\"])\n",
            expect![[""]],
        ),
        (
            "load(\"@rules//files.bzl\", \"filegroup\")\nfilegroup(name = \"things\", srcs = [\":thing\"])\n",
            expect![[""]],
        ),
        (
            "load(\"@rules//files.bzl\", \"filegroup\")\n\
             filegroup(name = \"a\", srcs = [\":b\"])\nfilegroup(name = \"b\", srcs = [\":a\"])\n",
            expect![[""]],
        ),
        ("x = [\n", expect![[""]]),
    ] {
        machine.write("t/BUILD.bld", text);
        check(&machine, &["build", "//t:all"], &expected);
    }
}

#[test]
fn a_rule_that_asks_for_what_is_nowhere() {
    let machine = Machine::new();
    let rule = |url: &str, sha256: &str| {
        machine.write(
            "BUILD.bld",
            &format!(
                "load(\"@rules//fetch.bzl\", \"http_archive\")\n\
                 http_archive(name = \"a\", urls = [\"{url}\"], sha256 = \"{sha256}\")\n"
            ),
        );
    };
    rule("file:///nowhere/a.tar", &"0".repeat(64));
    check(&machine, &["build", "//:all"], &expect![[""]]);
    rule("file:///nowhere/a.tar", "1234");
    check(&machine, &["build", "//:all"], &expect![[""]]);
    rule("ftp://example.org/a.tar", &"0".repeat(64));
    check(&machine, &["build", "//:all"], &expect![[""]]);
}

#[test]
fn two_targets_that_make_the_same_file() {
    let machine = small();
    machine.write("t/b.txt", "b\n");
    machine.write(
        "t/rules.bzl",
        "def _impl(ctx):\n    return [DefaultInfo(outputs = {ctx.attr.path: ctx.actions.write(ctx.name)})]\n\
         write = rule(implementation = _impl, attrs = {\"path\": attr.string()})\n",
    );
    let declare = |one: &str, other: &str| {
        machine.write(
            "t/BUILD.bld",
            &format!(
                "load(\"//t:rules.bzl\", \"write\")\n\
                 write(name = \"one\", path = \"{one}\")\nwrite(name = \"other\", path = \"{other}\")\n"
            ),
        );
    };
    declare("same", "same");
    check(&machine, &["build", "//t:all"], &expect![[""]]);
    declare("folder", "folder/file");
    check(&machine, &["build", "//t:all"], &expect![[""]]);
    assert!(!machine.output("t").exists(), "nothing is half written");
}

#[test]
fn another_folder_can_be_worked_in() {
    let machine = small();
    let elsewhere = Machine::bare();
    let folder = machine.workspace().join("t");
    let built = elsewhere.run(&["-C", folder.to_str().unwrap(), "build", ":things"]).expect(0);
    assert!(built.stdout.contains("1 file under"), "{}", built.stdout);
    assert_eq!(machine.read("bld-out/t/things/a.txt"), "a\n");
}

#[test]
fn the_version_and_completions_for_every_shell() {
    let machine = Machine::bare();
    let version = machine.run(&["--version"]).expect(0).stdout;
    assert_eq!(version, format!("bld {}\n", env!("CARGO_PKG_VERSION")));
    for (shell, word) in [("bash", "complete -F _bld"), ("zsh", "#compdef bld"), ("fish", "complete -c bld")] {
        let script = machine.run(&["completions", shell]).expect(0).stdout;
        assert!(script.contains(word) && script.contains("doctor"), "{shell}: {script}");
    }
}

#[test]
fn doctor_grades_each_thing_that_a_build_needs() {
    let machine = Machine::bare();
    let findings = machine.run(&["doctor", "--json"]).expect(0).json();
    let findings = findings.as_array().unwrap();
    let names: Vec<_> = findings.iter().map(|it| it["name"].as_str().unwrap()).collect();
    let expected =
        ["namespaces", "root rung", "cgroups", "disk", "clock", "signatures", "sources", "git"];
    assert_eq!(names, expected);
    for finding in findings {
        assert!(["works", "degraded"].contains(&finding["grade"].as_str().unwrap()), "{finding}");
        assert!(!finding["text"].as_str().unwrap().is_empty());
    }
    let text = machine.run(&["doctor"]).expect(0).stdout;
    assert_eq!(text.lines().count(), expected.len());
}
