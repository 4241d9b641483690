//! What a user who made a mistake reads.
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

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
    check(
        &machine,
        &["build", "//t:thing"],
        &expect![[r#"
        error: t/BUILD.bld declares no target `thing`, did you mean `things`?
    "#]],
    );
    check(
        &machine,
        &["build", "t"],
        &expect![[r#"
            error: t/BUILD.bld declares no target `t`; //t:all stands for all that it declares
        "#]],
    );
    check(
        &machine,
        &["build", "//s:things"],
        &expect![[r#"
        error: there is no package //s: s/BUILD.bld does not exist, did you mean `//t`?
    "#]],
    );
    check(
        &machine,
        &["build", "//t:things{kernel=6.1}"],
        &expect![[r#"
            error: //t:things has no axis `kernel`, and no other: it has no matrix
        "#]],
    );
    check(
        &machine,
        &["build", "//t:things{kernel}"],
        &expect![[r#"
        error: `//t:things{kernel}` does not choose cells: the braces hold axis=value, with commas between them
    "#]],
    );
    check(
        &machine,
        &["build", "/t:things"],
        &expect![[r#"
        error: `/t:things` is not a label: labels look like //package:name, //package or :name
    "#]],
    );
    check(
        &machine,
        &["build", "//../t:things"],
        &expect![[r#"
        error: `//../t:things` is not a label: its package is not a path inside the workspace
          because: `..` is not a name
    "#]],
    );
    check(
        &machine,
        &["log", "//t:things"],
        &expect![[r#"
        error: no log of //t:things is known: it was never built here, or its record was pruned
    "#]],
    );
}

#[test]
fn a_question_that_is_wrong() {
    let machine = small();
    check(
        &machine,
        &["query", "deps(//t:things) - //t:thing"],
        &expect![[r#"
            error: there is no target `//t:thing`, did you mean `//t:things`?
             --> query:1:20
              |
            1 | deps(//t:things) - //t:thing
              |                    ^^^^^^^^^
        "#]],
    );
    check(
        &machine,
        &["query", "--actions", "kinds(x, //...)"],
        &expect![[r#"
            error: there is no function `kinds`, did you mean `kind`?
             --> query:1:1
              |
            1 | kinds(x, //...)
              | ^^^^^
        "#]],
    );
    check(
        &machine,
        &["query", "--actions", "//t:thing"],
        &expect![[r#"
            error: there is no target `//t:thing`, did you mean `//t:things`?
             --> query:1:1
              |
            1 | //t:thing
              | ^^^^^^^^^
        "#]],
    );
}

#[test]
fn a_target_that_makes_nothing_itself_is_no_reason_to_count_to_zero() {
    let machine = Machine::hello();
    let said = machine.run(&["build", "//hello:shell"]).expect(0).stdout;
    assert!(said.starts_with("nothing to build: //hello:shell makes no files itself; "), "{said}");
}

#[test]
fn a_word_that_is_wrong() {
    let machine = small();
    check(
        &machine,
        &["biuld", "//t:things"],
        &expect![[r#"
        error: unrecognized subcommand 'biuld'

          tip: some similar subcommands exist: 'builds', 'build'

        Usage: bld [OPTIONS] <COMMAND>

        For more information, try '--help'.
    "#]],
    );
    check(
        &machine,
        &["build"],
        &expect![[r#"
        error: the following required arguments were not provided:
          <PATTERN>...

        Usage: bld build <PATTERN>...

        For more information, try '--help'.
    "#]],
    );
    check(
        &machine,
        &["build", "//t:things", "--offlin"],
        &expect![[r#"
        error: unexpected argument '--offlin' found

          tip: a similar argument exists: '--offline'

        Usage: bld build --offline <PATTERN>...

        For more information, try '--help'.
    "#]],
    );
    check(
        &machine,
        &["build", "//t:things", "--jobs", "0"],
        &expect![[r#"
        error: invalid value '0' for '--jobs <N>': 0 is not in 1..=4096

        For more information, try '--help'.
    "#]],
    );
    check(
        &machine,
        &["cache", "gc", "--to", "much"],
        &expect![[r#"
        error: invalid value 'much' for '--to <SIZE>': `much` is not a size: write a number and maybe K, M, G or T (with or without iB)

        For more information, try '--help'.
    "#]],
    );
    check(
        &machine,
        &["build", "//t:things", "--set", "flavor=rich"],
        &expect![[r#"
        error: there is no setting `flavor`, did you mean `flavour`?; bld.toml declares them under [settings]
    "#]],
    );
    check(
        &machine,
        &["build", "//t:things", "--set", "flavour=sour"],
        &expect![[r#"
        error: `sour` is not a value of the setting `flavour` (they are: plain, rich)
    "#]],
    );
    check(
        &machine,
        &["build", "//t:things", "--set", "flavour"],
        &expect![[r#"
        error: `flavour` is not NAME=VALUE
    "#]],
    );
}

#[test]
fn no_workspace() {
    let machine = Machine::bare();
    // Above the machine there is none either.
    check(
        &machine,
        &["build", "//t:things"],
        &expect![[r#"
        error: there is no bld.toml in $MACHINE/workspace or above it: this is not a workspace (an empty bld.toml makes it one)
    "#]],
    );
    check(
        &machine,
        &["-C", "nowhere", "build", "//t:things"],
        &expect![[r#"
        error: cannot go to nowhere
          because: No such file or directory (os error 2)
    "#]],
    );
}

#[test]
fn a_mistake_in_bld_toml() {
    let machine = small();
    for (text, expected) in [
        (
            "digst = \"blake3\"\n",
            expect![[r#"
                error: bld.toml cannot be read
                  because: TOML parse error at line 1, column 1
                  |
                1 | digst = "blake3"
                  | ^^^^^
                unknown field `digst`, expected one of `digest`, `rules`, `settings`, `debian`, `remote`
            "#]],
        ),
        (
            "digest = \"md5\"\n",
            expect![[r#"
            error: bld.toml names a digest function that cannot be used
              because: unknown digest function `md5` (known: blake3, sha256)
        "#]],
        ),
        (
            "[settings]\nflavour = []\n",
            expect![[r#"
            error: the setting `flavour` in bld.toml has no values: list what it may be, the default first
        "#]],
        ),
    ] {
        machine.write("bld.toml", text);
        check(&machine, &["build", "//t:things"], &expected);
    }
}

#[test]
fn a_mistake_in_a_build_file() {
    let machine = small();
    for (text, expected) in [
        (
            "filegrop(name = \"things\")\n",
            expect![[r#"
            error: Variable `filegrop` not found
             --> t/BUILD.bld:1:1
              |
            1 | filegrop(name = "things")
              | ^^^^^^^^
        "#]],
        ),
        (
            "load(\"@rules//file.bzl\", \"filegroup\")\n",
            expect![[r#"
            error: there is no file `@rules//file.bzl`, did you mean `files.bzl`?
             --> t/BUILD.bld:1:1
              |
            1 | load("@rules//file.bzl", "filegroup")
              | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        "#]],
        ),
        (
            "load(\"@rules//files.bzl\", \"filegrop\")\n",
            expect![[r#"
            error: Module has no symbol `filegrop`, did you mean `filegroup`?
             --> t/BUILD.bld:1:27
              |
            1 | load("@rules//files.bzl", "filegrop")
              |                           ^^^^^^^^^^
        "#]],
        ),
        (
            "load(\"@rules//files.bzl\", \"filegroup\")\n\nfilegroup(name = \"things\", src = [\"a.txt\"])\n",
            expect![[r#"
                error: filegroup() has no attribute `src`, did you mean `srcs`?
                 --> t/BUILD.bld:3:1
                  |
                3 | filegroup(name = "things", src = ["a.txt"])
                  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
            "#]],
        ),
        (
            "load(\"@rules//files.bzl\", \"filegroup\")\nfilegroup(name = \"things\", srcs = [\"b.txt\"])\n",
            expect![[r#"
                error: `srcs` of //t:things: there is no file `t/b.txt`, did you mean `a.txt`?
                 --> t/BUILD.bld:2:1
                  |
                2 | filegroup(name = "things", srcs = ["b.txt"])
                  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
            "#]],
        ),
        (
            "load(\"@rules//files.bzl\", \"filegroup\")\nfilegroup(name = \"things\", srcs = [\":thing\"])\n",
            expect![[r#"
                error: `srcs` of //t:things: t/BUILD.bld declares no target `thing`, did you mean `things`?
                 --> t/BUILD.bld:2:1
                  |
                2 | filegroup(name = "things", srcs = [":thing"])
                  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
            "#]],
        ),
        (
            "load(\"@rules//files.bzl\", \"filegroup\")\n\
             filegroup(name = \"a\", srcs = [\":b\"])\nfilegroup(name = \"b\", srcs = [\":a\"])\n",
            expect![[r#"
                error: targets depend on each other: //t:a → //t:b → //t:a
                 --> t/BUILD.bld:2:1
                  |
                2 | filegroup(name = "a", srcs = [":b"])
                  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
            "#]],
        ),
        (
            "x = [\n",
            expect![[r#"
            error: Parse error: unexpected new line, expected expression
             --> t/BUILD.bld:2:1
              |
            2 | 
              | ^
        "#]],
        ),
    ] {
        machine.write("t/BUILD.bld", text);
        check(&machine, &["build", "//t:all"], &expected);
    }
}

#[test]
fn a_file_of_the_user_that_is_no_text_is_named_and_is_not_the_machines_fault() {
    let machine = small();
    let no_text = b"# caf\xe9\n";
    let in_workspace = |name: &str| machine.workspace().join(name);
    std::fs::write(in_workspace("bld.lock"), no_text).unwrap();
    check(
        &machine,
        &["build", "//t:things"],
        &expect![[r#"
            error: cannot read bld.lock
              because: it is not a text in UTF-8
        "#]],
    );
    std::fs::remove_file(in_workspace("bld.lock")).unwrap();
    std::fs::write(in_workspace("bld.toml"), no_text).unwrap();
    check(
        &machine,
        &["query", "//..."],
        &expect![[r#"
            error: cannot read bld.toml
              because: it is not a text in UTF-8
        "#]],
    );
    std::fs::write(in_workspace("bld.toml"), "").unwrap();
    std::fs::write(in_workspace("t/BUILD.bld"), no_text).unwrap();
    check(
        &machine,
        &["query", "//..."],
        &expect![[r#"
            error: cannot read t/BUILD.bld: it is not a text in UTF-8
        "#]],
    );
    let own = machine.root().join("home/.config/bld/bld.toml");
    std::fs::create_dir_all(own.parent().unwrap()).unwrap();
    std::fs::write(&own, no_text).unwrap();
    check(
        &machine,
        &["config", "list"],
        &expect![[r#"
            error: $MACHINE/home/.config/bld/bld.toml is not a text in UTF-8
        "#]],
    );
}

#[test]
fn a_build_file_that_is_none_is_refused_and_not_passed_over() {
    let machine = small();
    let file = machine.workspace().join("p/BUILD.bld");
    machine.write("p/a.txt", "a\n");
    let said = |what: &str, mend: &str| {
        for pattern in ["//...", "//p:all", "//p:things"] {
            let refused = machine.run(&["query", pattern]).expect(2);
            refused.says(&[&format!("p/BUILD.bld is {what}"), mend]);
            machine.run(&["build", pattern]).expect(2).says(&[&format!("p/BUILD.bld is {what}")]);
        }
    };
    let link = |to: &str| {
        let _ = std::fs::remove_file(&file);
        std::os::unix::fs::symlink(to, &file).unwrap();
    };
    link("../nowhere");
    said("a link that leads nowhere", "mend or remove it");
    link("/dev/null");
    said("a link, and not one to a file of this workspace", "put one there");
    link("..");
    said("a link, and not one to a file of this workspace", "put one there");
    std::fs::remove_file(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    said("a device, socket or pipe", "put one there");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    said("a folder", "put one there, or call this otherwise");

    // One that leads to a file is that file, seen from where the link lies; and so it stays when the file changes.
    std::fs::remove_dir(&file).unwrap();
    link("../t/BUILD.bld");
    let found = machine.run(&["query", "//..."]).expect(0).stdout;
    assert_eq!(found, "//p:things\n//t:things\n");
    machine.run(&["build", "//..."]).expect(0);
    machine.write("t/BUILD.bld", &machine.read("t/BUILD.bld").replace("\"things\"", "\"files\""));
    assert_eq!(machine.run(&["query", "//..."]).expect(0).stdout, "//p:files\n//t:files\n");
    let built = machine.run(&["build", "//p:all", "--json"]).expect(0).json();
    assert_eq!(built["goals"][0]["label"], "//p:files");
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
    check(
        &machine,
        &["build", "//:all"],
        &expect![[r#"
        fetch  archive a.tar (000000000000)
        error: cannot lock the outside world
          because: cannot get archive a.tar (000000000000): file:///nowhere/a.tar: there is no such file
    "#]],
    );
    rule("file:///nowhere/a.tar", "1234");
    check(
        &machine,
        &["build", "//:all"],
        &expect![[r#"
        error: cannot lock the outside world
          because: //:a: sha256: `1234` is not a hash of 64 lower-case hexadecimal digits
    "#]],
    );
    rule("ftp://example.org/a.tar", &"0".repeat(64));
    check(
        &machine,
        &["build", "//:all"],
        &expect![[r#"
        error: cannot lock the outside world
          because: //:a: only http, https and file addresses are understood, not `ftp…`
    "#]],
    );
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
    check(
        &machine,
        &["build", "//t:all"],
        &expect![[r#"
        error: //t:one and //t:other both make bld-out/t/same, and differently
    "#]],
    );
    declare("folder", "folder/file");
    check(
        &machine,
        &["build", "//t:all"],
        &expect![[r#"
        error: //t:one makes bld-out/t/folder, and //t:other makes bld-out/t/folder/file inside it
    "#]],
    );
    assert!(!machine.output("t").exists(), "nothing is half written");
}

#[test]
fn only_a_folder_can_be_worked_in() {
    let machine = small();
    check(
        &machine,
        &["-C", "t/a.txt", "query", "//..."],
        &expect![[r#"
            error: cannot go to $MACHINE/workspace/t/a.txt
              because: not a directory
        "#]],
    );
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
    for (shell, word) in [
        ("bash", "complete -F _bld"),
        ("zsh", "#compdef bld"),
        ("fish", "complete --command bld"),
        ("elvish", "doctor"),
        ("powershell", "doctor"),
    ] {
        let script = machine.run(&["completions", shell]).expect(0).stdout;
        assert!(script.contains(word), "{shell}: {script}");
    }
}

#[test]
fn doctor_grades_each_thing_that_a_build_needs() {
    let machine = Machine::bare();
    let findings = machine.run(&["doctor", "--json"]).expect(0).json();
    let findings = findings.as_array().unwrap();
    let names: Vec<_> = findings.iter().map(|it| it["name"].as_str().unwrap()).collect();
    let expected = [
        "namespaces",
        "root rung",
        "cgroups",
        "store",
        "disk",
        "clock",
        "signatures",
        "sources",
        "git",
    ];
    assert_eq!(names, expected);
    for finding in findings {
        assert!(["works", "degraded"].contains(&finding["grade"].as_str().unwrap()), "{finding}");
        assert!(!finding["text"].as_str().unwrap().is_empty());
    }
    let text = machine.run(&["doctor"]).expect(0).stdout;
    assert_eq!(text.lines().count(), expected.len());

    // A store that cannot be used is a finding among the others.
    std::fs::write(machine.root().join("file"), "").unwrap();
    std::fs::create_dir(machine.root().join("other")).unwrap();
    std::fs::write(machine.root().join("other/format"), "something else\n").unwrap();
    for place in ["file/store", "other"] {
        let place = machine.root().join(place);
        let place = place.to_str().unwrap();
        let found = machine.run(&["doctor", "--json", "--store", place]).expect(3).json();
        for (finding, name) in found.as_array().unwrap().iter().zip(expected) {
            assert_eq!(finding["name"], name);
            assert_eq!(finding["grade"] == "broken", name == "store", "{finding}");
        }
        assert_eq!(found.as_array().unwrap().len(), expected.len());
        let text = found[3]["text"].as_str().unwrap();
        assert!(text.starts_with(place) && text.contains("--store or BLD_STORE"), "{text}");
    }
}
