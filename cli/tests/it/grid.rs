//! The grid: every status, as JSON and as `JUnit`; cells that must fail, cannot be had, or have gone.

use std::fs;

use roxmltree::Document;
use serde_json::{Value, json};

use crate::base::{base, link};
use crate::machine::{Machine, summary};

/// What wants to be more than text.
pub(crate) const HOSTILE: &str = "</pre></script><script>document.title=\"owned\"</script><img src=x onerror=document.title=\"owned\">";

const RULES: &str = r#"
load("@rules//debian.bzl", "BuildRootInfo")
load("@rules//sandbox.bzl", "ENVIRONMENT")

def _cell(ctx):
    kernel, kind = ctx.cell["kernel"], ctx.cell["kind"]
    if kernel in ctx.attr.lacking:
        return [UnavailableInfo(reason = "no <b>headers</b> for " + kernel)]
    [made] = ctx.actions.run(
        arguments = ["/bin/sh", "-eu", "-c", ctx.attr.cmd],
        inputs = {"/": ctx.attr.root[BuildRootInfo].tree},
        outputs = ["made"],
        env = ENVIRONMENT | {"CELL": kernel + " " + kind, "HOSTILE": ctx.attr.hostile},
        role = "cell",
    )
    path = "{}/{}".format(kernel, kind)
    return [DefaultInfo(outputs = {path: made}, failure_log = "FAILURES/{}.log".format(path))]

cell = rule(implementation = _cell, attrs = {
    "cmd": attr.string(),
    "hostile": attr.string(),
    "lacking": attr.string_list(),
    "root": attr.label(providers = [BuildRootInfo]),
})
"#;

const TARGETS: &str = r#"
load(":cells.bzl", "cell")

cell(
    name = "grid",
    cmd = 'case "$CELL" in "6.1.0-10 mod" | "6.1.0-9 bpf") echo "$HOSTILE" >&2; exit 3;; esac; echo "$CELL" > out/made',
    hostile = HOSTILE,
    root = "//hello:shell",
    lacking = ["7.0"],
    matrix = {"kernel": KERNELS, "kind": ["mod", "bpf"]},
    exclude = [{"kernel": "6.12", "kind": "bpf"}],
    xfail = XFAIL,
)
"#;

/// Which of the cells must fail: one that does.
pub(crate) const FAILS: &str = r#"[{"kernel": "6.1.0-9", "kind": "bpf"}]"#;

/// The same and one that does not fail.
pub(crate) const FAILS_AND_PASSES: &str =
    r#"[{"kernel": "6.1.0-9", "kind": "bpf"}, {"kernel": "6.12"}]"#;

const KERNELS: &str = r#"["6.1.0-10", "6.1.0-9", "6.12", "7.0"]"#;

fn declare(machine: &Machine, kernels: &str, xfail: &str) {
    machine.write("cells/cells.bzl", RULES);
    let build = TARGETS.replace("KERNELS", kernels).replace("XFAIL", xfail);
    machine.write("cells/BUILD.bld", &build.replace("= HOSTILE", &format!("= {HOSTILE:?}")));
}

/// Returns a machine with a matrix in which every status is to be had.
pub(crate) fn machine(xfail: &str) -> Machine {
    let machine = Machine::hello();
    declare(&machine, KERNELS, xfail);
    machine
}

fn read_json(machine: &Machine, path: &str) -> Value {
    serde_json::from_str(&machine.read(path)).unwrap()
}

#[test]
fn a_grid_tells_all_statuses_apart_and_is_written_as_json_and_junit() {
    let machine = machine(FAILS_AND_PASSES);
    let build =
        machine.run(&["build", "//cells:all", "--grid", "ci/grid.json", "--grid", "grid.xml"]);
    let build = build.expect(1).says(&[
        "failed: //cells:grid{kernel=6.1.0-10,kind=mod}",
        "xpass: //cells:grid{kernel=6.12,kind=mod} was to fail and passes now",
    ]);
    assert!(!build.stderr.contains("failed: //cells:grid{kernel=6.1.0-9"), "{}", build.stderr);
    // Before it stands why things ran.
    let shown = build.stdout.split("\n\n").nth(1).unwrap();
    expect_test::expect![[r"
        //cells:grid
          kernel    bpf          mod
          6.1.0-9   xfail        built
          6.1.0-10  built        failed
          6.12      excluded     xpass
          7.0       unavailable  unavailable
          2 built, 1 excluded, 1 failed, 2 unavailable, 1 xfail, 1 xpass"]]
    .assert_eq(shown);

    let grid = read_json(&machine, "ci/grid.json");
    assert_eq!(grid["version"], 1);
    let expected =
        json!({ "built": 2, "excluded": 1, "failed": 1, "unavailable": 2, "xfail": 1, "xpass": 1 });
    assert_eq!(grid["counts"], expected);
    let target = &grid["targets"][0];
    assert_eq!(target["rows"], json!(["6.1.0-9", "6.1.0-10", "6.12", "7.0"]));
    assert_eq!(target["columns"], json!([["bpf"], ["mod"]]));
    let cell = |name: &str| {
        let cells = target["cells"].as_array().unwrap();
        let name = format!("//cells:grid{{{name}}}");
        cells.iter().find(|cell| cell["name"] == *name).unwrap().clone()
    };
    let failed = cell("kernel=6.1.0-10,kind=mod");
    assert_eq!(failed["reason"], "exit status 3");
    assert_eq!(failed["failure"]["file"], "cells/FAILURES/6.1.0-10/mod.log");
    let log = &grid["logs"][usize::try_from(failed["failure"]["log"].as_u64().unwrap()).unwrap()];
    assert_eq!(log["text"], HOSTILE);
    let unavailable = cell("kernel=7.0,kind=mod");
    assert_eq!(unavailable["reason"], "no <b>headers</b> for 7.0");
    let made = cell("kernel=6.1.0-9,kind=mod");
    assert_eq!(made["outputs"], json!(["cells/6.1.0-9/mod"]));
    assert!(made["seconds"].as_f64().unwrap() > 0.0);

    let xml = machine.read("grid.xml");
    let document = Document::parse(&xml).unwrap();
    let suites = document.root_element();
    let counts = ["tests", "failures", "errors", "skipped"].map(|it| suites.attribute(it).unwrap());
    assert_eq!(counts, ["8", "2", "0", "4"]);
    let failure = document.descendants().find(|it| it.has_tag_name("failure")).unwrap();
    assert_eq!(failure.text(), Some(HOSTILE));
}

#[test]
fn what_fails_as_it_must_or_cannot_be_had_is_no_failure_and_in_no_key() {
    let machine = machine("[]");
    machine.run(&["build", "//cells:all"]).expect(1);
    declare(&machine, &KERNELS.replace("\"6.1.0-10\", ", ""), FAILS);
    let build = machine.run(&["build", "//cells:all", "--json"]).expect(0).json();
    assert_eq!(summary(&build, "misses"), 0);
    let goals = build["goals"].as_array().unwrap();
    let goal = |status: &str| goals.iter().find(|goal| goal["status"] == status).unwrap();
    assert_eq!(goal("unavailable")["reason"], "no <b>headers</b> for 7.0");
    assert_eq!(goal("xfail")["failure"]["remembered"], true);
}

#[test]
fn failures_are_told_from_the_cache_until_an_input_changes() {
    let machine = machine(FAILS);
    let failures =
        |code: i32| machine.run(&["failures", "//cells:all", "--json"]).expect(code).json();
    let names = |known: &Value| -> Vec<String> {
        let known = known.as_array().unwrap().iter();
        known.map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    let none = failures(0);
    assert_eq!((&none["failed"], &none["unknown"]), (&json!([]), &json!(5)), "nothing was run");
    assert!(!machine.output("cells").exists());

    machine.run(&["build", "//cells:all"]).expect(1);
    let known = failures(1);
    assert_eq!(names(&known["failed"]), ["//cells:grid{kernel=6.1.0-10,kind=mod}"]);
    assert_eq!(names(&known["xfail"]), ["//cells:grid{kernel=6.1.0-9,kind=bpf}"]);
    assert_eq!(known["unknown"], 0);
    assert_eq!(known["failed"][0]["text"], HOSTILE);
    let log = machine.output("cells/FAILURES/6.1.0-10/mod.log");
    assert_eq!(known["failed"][0]["log"], log.to_str().unwrap());
    let text = machine.run(&["failures", "//cells:all"]).expect(1).stdout;
    for word in [
        "failed: //cells:grid{kernel=6.1.0-10,kind=mod}",
        HOSTILE,
        log.to_str().unwrap(),
        "1 cell failed, 1 failed as expected, 0 not built yet",
    ] {
        assert!(text.contains(word), "no {word} in {text}");
    }
    // The log is the cache's: it needs no file.
    machine.run(&["clean"]).expect(0);
    let known = failures(1);
    assert_eq!(
        (&known["failed"][0]["text"], &known["failed"][0]["log"]),
        (&json!(HOSTILE), &Value::Null)
    );
    // Other cells have no failure.
    machine.run(&["failures", "//cells:grid{kernel=6.1.0-9}"]).expect(0);

    let changed = machine.read("cells/BUILD.bld").replace("exit 3", "exit 4");
    machine.write("cells/BUILD.bld", &changed);
    let unknown = failures(0);
    assert_eq!((&unknown["failed"], &unknown["unknown"]), (&json!([]), &json!(5)));
}

#[test]
fn what_cells_made_goes_when_they_leave_the_matrix_and_the_whole_target_is_asked_for() {
    let machine = machine(FAILS);
    machine.run(&["build", "//cells:all"]).expect(1);
    let (driver, log) =
        (machine.output("cells/6.12/mod"), machine.output("cells/FAILURES/6.1.0-10/mod.log"));
    assert!(driver.exists() && log.exists());
    declare(&machine, r#"["6.1.0-9"]"#, FAILS);
    machine.run(&["build", "//cells:grid{kernel=6.1.0-9}"]).expect(0);
    assert!(driver.exists() && log.exists(), "the other cells were not asked for");
    machine.run(&["build", "//..."]).expect(0);
    assert!(!driver.exists() && !log.exists());
    assert!(!machine.output("cells/6.12").exists(), "no empty folder stays");
    assert!(machine.output("cells/6.1.0-9/mod").exists());
}

#[test]
fn cells_are_named_alike_in_every_command() {
    let machine = machine(FAILS);
    let cells = |pattern: &str| -> Vec<String> {
        let build = machine.run(&["build", pattern, "--json"]);
        let goals = build.json()["goals"].as_array().unwrap().clone();
        let name = |goal: &Value| {
            format!("{} {}", goal["cell"]["kernel"], goal["cell"]["kind"]).replace('"', "")
        };
        goals.iter().map(name).collect()
    };
    assert_eq!(cells("//cells:grid{kernel=6.1.0-9,kind=mod}"), ["6.1.0-9 mod"]);
    assert_eq!(cells("//cells:grid{kernel=6.1.0-*}").len(), 4);
    assert_eq!(cells("//cells:all{kind=b?f,kernel=~6\\.1.*}").len(), 3);
    let log =
        machine.run(&["log", "//cells:grid{kernel=6.1.0-1?,kind=mod}", "--json"]).expect(0).json();
    assert_eq!(log.as_array().unwrap().len(), 1);
    assert_eq!(log[0]["stderr"], format!("{HOSTILE}\n"));
    let failures = machine.run(&["failures", "//cells:grid{kind=mod}", "--json"]).expect(1).json();
    assert_eq!(failures["failed"].as_array().unwrap().len(), 1);
    for command in ["build", "failures"] {
        let lost = machine.run(&[command, "//cells:grid{kernel=5*}"]).expect(2);
        lost.says(&["no cell of //cells:grid matches {kernel=5*}"]);
        machine
            .run(&[command, "//cells:grid{kernl=5}"])
            .expect(2)
            .says(&["did you mean `kernel`?"]);
    }
}

#[test]
fn a_grid_that_cannot_be_written_is_refused() {
    let machine = machine(FAILS);
    let refused = machine.run(&["build", "//cells:all", "--grid", "grid.csv"]).expect(2);
    refused.says(&["grid.csv", ".html, .json or .xml"]);
}

#[test]
fn a_kernel_that_every_mirror_has_dropped_is_unavailable_and_stops_no_other() {
    let machine = Machine::drivers();
    let base = base();
    let kernels = base.kernels();
    let mirror = machine.root().join("mirror");
    link(&base.mirror(), &mirror);
    machine.use_mirror(&mirror);
    let mut pending = vec![mirror];
    let mut dropped = 0;
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.starts_with(&format!("linux-headers-{}_", kernels[0])) {
                fs::remove_file(&path).unwrap();
                dropped += 1;
            } else if path.is_dir() {
                pending.push(path);
            }
        }
    }
    assert_eq!(dropped, 1);
    machine.write(
        "makefiles/makefiles.bzl",
        r#"
load("@rules//kernel.bzl", "KernelHeadersInfo")
def _makefile(ctx):
    tree = ctx.attr.headers[KernelHeadersInfo].tree
    return [DefaultInfo(outputs = {ctx.cell["kernel"]: subtree(tree, "build/Makefile")})]
makefile = rule(implementation = _makefile, attrs = {"headers": attr.label()})
"#,
    );
    machine.write(
        "makefiles/BUILD.bld",
        r#"
load(":makefiles.bzl", "makefile")
makefile(name = "makefiles", headers = "//drivers:echo-headers", matrix = {"kernel": "//drivers:kernels"})
"#,
    );
    let build = machine.run(&["build", "//makefiles", "--json", "--fail-fast"]).expect(0).json();
    let goals = build["goals"].as_array().unwrap();
    let found: Vec<_> = goals.iter().map(|goal| goal["status"].as_str().unwrap()).collect();
    assert_eq!(found.iter().filter(|status| **status == "built").count(), 2, "{found:?}");
    let lost = goals.iter().find(|goal| goal["status"] == "unavailable").unwrap();
    assert_eq!(lost["cell"]["kernel"], *kernels[0]);
    let reason = lost["reason"].as_str().unwrap();
    assert!(reason.starts_with("no package source has"), "{reason}");
    assert!(reason.contains(&format!("linux-headers-{}", kernels[0])), "{reason}");
    assert!(machine.output(&format!("makefiles/{}", kernels[1])).exists());
}
