//! `bld cache`: what it says, what it removes, what it finds.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::Value;

use crate::machine::{Machine, summary};

/// A budget that does not hold even the smallest root, in bytes.
const SMALL_BUDGET: u64 = 1 << 20;

#[track_caller]
fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("no {key} in {value:#}"))
}

#[test]
fn stat_says_what_the_store_holds_and_what_it_saved() {
    let machine = Machine::hello();
    machine.run(&["build", "//hello:all"]).expect(0);
    machine.run(&["build", "//hello:all"]).expect(0);
    let stat = machine.run(&["cache", "stat", "--json"]).expect(0).json();
    assert_eq!(
        keys(&stat),
        [
            "actions",
            "blobs",
            "cpu_seconds_saved",
            "cpu_seconds_spent",
            "deduplication_ratio",
            "failures",
            "hits",
            "last_builds",
            "logical_bytes",
            "misses",
            "physical_bytes",
            "store",
            "trees",
        ]
    );
    assert_eq!(number(&stat, "actions"), 2);
    assert_eq!(number(&stat, "last_builds"), 2);
    assert_eq!((number(&stat, "hits"), number(&stat, "misses")), (2, 2));
    assert!(stat["cpu_seconds_saved"].as_f64().unwrap() > 0.0);
    assert!(number(&stat, "blobs") > 10);
    assert_eq!(stat["store"], machine.store().to_str().unwrap());
    let text = machine.run(&["cache", "stat"]).expect(0).stdout;
    assert!(text.contains("2 with 2 hits and 2 misses"), "{text}");
}

#[test]
fn gc_to_nothing_leaves_nothing_and_the_next_build_makes_everything_again() {
    let machine = Machine::hello();
    machine.run(&["build", "//hello:all"]).expect(0);
    let before = machine.outputs();
    let collected = machine.run(&["cache", "gc", "--to", "0", "--json"]).expect(0).json();
    assert_eq!(
        keys(&collected),
        ["blobs_removed", "bytes_after", "bytes_before", "results_removed", "trees_removed"]
    );
    assert_eq!(number(&collected, "results_removed"), 2);
    assert_eq!(number(&collected, "bytes_after"), 0);
    let stat = machine.run(&["cache", "stat", "--json"]).expect(0).json();
    // An empty blob may stay: it takes no room.
    for kind in ["trees", "actions", "failures", "logical_bytes", "physical_bytes"] {
        assert_eq!(number(&stat, kind), 0, "{stat:#}");
    }
    fs::remove_dir_all(machine.workspace().join("bld-out")).unwrap();
    let again = machine.run(&["build", "//hello:all", "--json"]).expect(0);
    assert_eq!(summary(&again.json(), "misses"), 2);
    assert_eq!(machine.outputs(), before);
    machine.run(&["cache", "verify"]).expect(0);
}

#[test]
fn gc_takes_nothing_that_a_running_build_uses() {
    let machine = Machine::hello();
    machine.write("t/source.txt", "needed to the end\n");
    machine.write(
        "t/BUILD.bld",
        r#"
load("@rules//files.bzl", "genrule")

genrule(
    name = "first",
    srcs = ["source.txt"],
    cmd = "touch out/begun; until [ -e out/go ]; do sleep 0.02; done; cat /src/source.txt > out/first",
    outs = ["first"],
    root = "//hello:shell",
)
genrule(
    name = "second",
    srcs = [":first", "source.txt"],
    cmd = "cat /src/first /src/source.txt > out/second",
    outs = ["second"],
    root = "//hello:shell",
)
"#,
    );
    let build = machine.start(&["build", "//t:all"]);
    let out = machine.out_with("begun", &build);
    for _ in 0..3 {
        machine.run(&["cache", "gc", "--to", "0"]).expect(0);
    }
    fs::write(out.join("go"), "").unwrap();
    build.end().expect(0);
    assert_eq!(machine.read("bld-out/t/second"), "needed to the end\nneeded to the end\n");
    machine.run(&["cache", "verify"]).expect(0);
    let collected = machine.run(&["cache", "gc", "--to", "0", "--json"]).expect(0).json();
    assert_eq!(number(&collected, "bytes_after"), 0, "nobody runs any more");
}

#[test]
fn after_a_build_the_store_is_at_most_its_budget() {
    let machine = Machine::hello();
    let budget = SMALL_BUDGET.to_string();
    let physical = || {
        let stat = machine.run(&["cache", "stat", "--json"]).expect(0).json();
        number(&stat, "physical_bytes")
    };
    machine.run(&["build", "//hello:all"]).expect(0);
    assert!(physical() > SMALL_BUDGET, "or the budget would not matter");
    // What is collected after one build is fetched again by the next.
    for name in ["one", "two"] {
        machine.write("hello/name.txt", name);
        machine.run(&["--store-budget", &budget, "build", "//hello:all"]).expect(0);
        assert_eq!(machine.read("bld-out/hello/hello.txt"), format!("Hello, {name}!\n"));
        assert!(physical() <= SMALL_BUDGET, "{} bytes", physical());
    }
    machine.run(&["cache", "verify"]).expect(0);
}

/// Returns the blob that holds exactly these bytes.
fn blob_with(machine: &Machine, bytes: &[u8]) -> PathBuf {
    let mut pending = vec![machine.store().join("blobs/blake3")];
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if fs::read(&path).unwrap() == bytes {
            return path;
        }
    }
    panic!("no such blob");
}

#[test]
fn verify_sets_a_damaged_blob_aside_and_the_next_build_makes_it_again() {
    let machine = Machine::hello();
    machine.run(&["build", "//hello:all"]).expect(0);
    let sound = machine.run(&["cache", "verify", "--json"]).expect(0).json();
    assert_eq!(keys(&sound), ["actions", "blobs", "bytes", "quarantined", "trees"]);
    assert_eq!(sound["quarantined"], serde_json::json!([]));

    let blob = blob_with(&machine, b"Hello, world!\n");
    fs::set_permissions(&blob, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&blob, "Hello, w0rld!\n").unwrap();
    let name = blob.file_name().unwrap().to_str().unwrap();
    let damaged = machine.run(&["cache", "verify", "--json"]).expect(3).json();
    let quarantined = damaged["quarantined"].to_string();
    assert!(quarantined.contains(name), "{quarantined}");
    assert!(!blob.exists());

    fs::remove_dir_all(machine.workspace().join("bld-out")).unwrap();
    machine.run(&["build", "//hello:all"]).expect(0);
    assert_eq!(machine.read("bld-out/hello/hello.txt"), "Hello, world!\n");
    machine.run(&["cache", "verify"]).expect(0);
}

#[test]
fn a_damaged_blob_never_reaches_the_outputs() {
    let machine = Machine::hello();
    machine.run(&["build", "//hello:all"]).expect(0);
    let blob = blob_with(&machine, b"Hello, world!\n");
    fs::set_permissions(&blob, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&blob, "Hello, w0rld!\n").unwrap();
    fs::remove_dir_all(machine.workspace().join("bld-out")).unwrap();
    machine.run(&["build", "//hello:all"]).expect(3).says(&["cache verify"]);
    assert!(!machine.output("hello/hello.txt").exists());
}

#[test]
fn clean_removes_what_was_put_into_the_workspace_and_if_asked_to_empties_the_store() {
    let machine = Machine::hello();
    machine.run(&["build", "//hello:all"]).expect(0);
    let cleaned = machine.run(&["clean", "--json"]).expect(0).json();
    assert_eq!(cleaned["removed"], machine.workspace().join("bld-out").to_str().unwrap());
    assert_eq!(cleaned["bytes_freed"], Value::Null);
    assert!(!machine.workspace().join("bld-out").exists());
    let again = machine.run(&["build", "//hello:all", "--json"]).expect(0);
    assert_eq!(summary(&again.json(), "misses"), 0);

    let cleaned = machine.run(&["clean", "--cache", "--json"]).expect(0).json();
    assert!(number(&cleaned, "bytes_freed") > 1 << 20, "{cleaned:#}");
    let stat = machine.run(&["cache", "stat", "--json"]).expect(0).json();
    assert_eq!(number(&stat, "physical_bytes"), 0);
}
