//! What a build writes down while it runs, and what can be made of it: event streams and traces.

use std::collections::BTreeMap;
use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::machine::{Machine, wait_for};

/// Two actions beside each other, and one that needs both.
const CHAIN: &str = r#"
load("@rules//files.bzl", "genrule")
genrule(name = "a", cmd = "seq 1 20000 | sort -R | sort -n > out/a", outs = ["a"], root = "//hello:shell")
genrule(name = "b", cmd = "echo b > out/b", outs = ["b"], root = "//hello:shell")
genrule(name = "c", srcs = [":a", ":b"], cmd = "cat /src/a /src/b > out/c", outs = ["c"], root = "//hello:shell")
genrule(name = "bad", cmd = "echo no good >&2; exit 7", outs = ["bad"], root = "//hello:shell", tags = ["manual"])
"#;

fn chain() -> Machine {
    let machine = Machine::hello();
    machine.write("t/BUILD.bld", CHAIN);
    machine
}

/// Returns the events in a text, each a line of its own.
fn events(text: &str) -> Vec<Value> {
    assert!(text.ends_with('\n'), "the last line is whole");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

#[test]
fn an_event_stream_tells_line_by_line_what_happened() {
    let machine = chain();
    machine.run(&["build", "//t:all", "--events", "events", "--jobs", "1"]).expect(0);
    let events = events(&machine.read("events"));
    let first = &events[0];
    assert_eq!((&first["event"], &first["version"]), (&"build_started".into(), &1.into()));
    assert_eq!((&first["patterns"][0], &first["goals"]), (&"//t:all".into(), &3.into()));
    let last = events.last().unwrap();
    assert_eq!(last["event"], "build_finished");
    assert_eq!((&last["build"], &last["outcome"]), (&1.into(), &"succeeded".into()));
    assert_eq!(last["summary"]["misses"], 4);

    let at: Vec<_> = events.iter().map(|event| event["at"].as_f64().unwrap()).collect();
    assert!(at.is_sorted(), "{at:?}");
    let mut running: BTreeMap<&str, f64> = BTreeMap::new();
    let mut finished = Vec::new();
    for event in &events {
        let name = event["name"].as_str().unwrap_or_default();
        match event["event"].as_str().unwrap() {
            "action_started" => _ = running.insert(name, event["at"].as_f64().unwrap()),
            "action_finished" => {
                running.remove(name).expect("what ends has begun");
                let (began, ended) = (event["began"].as_f64(), event["ended"].as_f64());
                assert!(began.unwrap() < ended.unwrap(), "{event}");
                assert_eq!(event["reason"]["kind"], "new");
                assert_eq!(event["outcome"], "succeeded");
                finished.push(name);
            }
            _ => {}
        }
    }
    assert!(running.is_empty(), "{running:?}");
    assert_eq!(finished.last(), Some(&"//t:c"), "what needs the others ends last");
    finished.sort_unstable();
    assert_eq!(finished, ["//hello:shell (root)", "//t:a", "//t:b", "//t:c"]);
    let goals: Vec<_> = events.iter().filter(|event| event["event"] == "goal").collect();
    assert_eq!(goals.len(), 3);
    assert!(goals.iter().all(|goal| goal["status"] == "built"));
}

#[test]
fn on_standard_output_there_are_only_events() {
    let machine = chain();
    machine.run(&["build", "//t:all"]).expect(0);
    let ran = machine.run(&["build", "//t:all", "--events", "-"]).expect(0);
    let cached = events(&ran.stdout);
    let mut names = names(&cached);
    // Goals are looked at beside each other.
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "action_cached",
            "action_cached",
            "action_cached",
            "action_cached",
            "build_finished",
            "build_started",
            "goal",
            "goal",
            "goal",
        ]
    );

    let failed = machine.run(&["build", "//t:bad", "--events", "-"]).expect(1).says(&["no good"]);
    let failed = events(&failed.stdout);
    let goal = failed.iter().find(|event| event["event"] == "goal").unwrap();
    assert_eq!(
        (&goal["status"], &goal["failure"]["kind"]),
        (&"failed".into(), &"exit status 7".into())
    );
    assert_eq!(failed.last().unwrap()["outcome"], "failed");

    machine
        .run(&["build", "//t:all", "--events", "-", "--json"])
        .expect(2)
        .says(&["standard output"]);
}

#[test]
fn a_build_that_breaks_off_says_so_in_its_stream() {
    let machine = Machine::hello();
    machine.write(
        "t/BUILD.bld",
        "load(\"@rules//files.bzl\", \"genrule\")\ngenrule(name = \"g\", cmd = \"while :; do sleep 1; done\", outs = [\"g\"], root = \"//hello:shell\")\n",
    );
    let build = machine.start(&["build", "//t:g", "--events", "events"]);
    let path = machine.workspace().join("events");
    let begun = || fs::read_to_string(&path).ok()?.contains("\"name\":\"//t:g\"").then_some(());
    wait_for("the action to begin", begun);
    build.signal(Signal::INT);
    build.end().expect(130);
    let events = events(&machine.read("events"));
    let last = events.last().unwrap();
    assert_eq!((&last["event"], &last["outcome"]), (&"build_finished".into(), &"broke off".into()));
    assert!(!names(&events).contains(&"goal"));
}

#[test]
fn an_event_stream_that_cannot_be_written_is_an_error_before_anything_runs() {
    let machine = chain();
    machine
        .run(&["build", "//t:all", "--events", "bld.toml/where"])
        .expect(3)
        .says(&["cannot create", "bld.toml"]);
    assert!(!machine.output("t/c").exists());
}

#[test]
fn every_file_is_asked_for_once_and_its_folder_is_made() {
    let machine = chain();
    for twice in [
        ["--events", "a", "--trace", "./a"],
        ["--events", "a.json", "--grid", "a.json"],
        ["--grid", "no/a.html", "--grid", "no/a.html"],
    ] {
        let refused = machine.run(&[&["build", "//t:all"][..], &twice].concat()).expect(2);
        refused.says(&[&format!("{} and {} both name", twice[0], twice[2]), "file of its own"]);
    }
    let refused =
        machine.run(&["test", "//t:all", "--junit", "a", "--trace", "a"]).expect(2).stderr;
    assert!(refused.contains("--trace and --junit both name"), "{refused}");
    assert!(!machine.output("t/c").exists());
    let files = ["--events", "one/events", "--trace", "two/three/trace"];
    machine.run(&[&["build", "//t:all"][..], &files].concat()).expect(0);
    assert!(machine.read("one/events").contains("build_finished"));
    assert!(machine.read("two/three/trace").contains("traceEvents"));
}

/// Returns the slices of a trace: lane, begin, end, name and category.
fn slices(trace: &Value) -> Vec<(u64, u64, u64, String, String)> {
    let number = |event: &Value, key: &str| event[key].as_u64().unwrap();
    let text = |event: &Value, key: &str| event[key].as_str().unwrap().to_owned();
    let all = trace["traceEvents"].as_array().unwrap().iter();
    let complete = all.filter(|event| event["ph"] == "X");
    let slice = |event: &Value| {
        let began = number(event, "ts");
        let ended = began + number(event, "dur");
        (number(event, "tid"), began, ended, text(event, "name"), text(event, "cat"))
    };
    let mut slices: Vec<_> = complete.map(slice).collect();
    slices.sort();
    slices
}

#[test]
fn a_trace_has_lanes_in_which_nothing_overlaps_and_the_critical_path() {
    let machine = chain();
    machine.run(&["build", "//t:all", "--trace", "trace.json"]).expect(0);
    let trace: Value = serde_json::from_str(&machine.read("trace.json")).unwrap();
    let slices = slices(&trace);
    for pair in slices.windows(2) {
        let ([(lane, _, ended, ..), (next, began, ..)],) = ([&pair[0], &pair[1]],);
        assert!(lane != next || ended <= began, "{pair:?} overlap");
    }
    let of = |category: &str| -> Vec<&str> {
        let mut found: Vec<_> = slices.iter().filter(|it| it.4 == category).collect();
        found.sort_by_key(|it| it.1);
        found.into_iter().map(|it| it.3.as_str()).collect()
    };
    let mut actions = of("action");
    actions.sort_unstable();
    assert_eq!(actions, ["//hello:shell (root)", "//t:a", "//t:b", "//t:c"]);
    let critical = of("critical");
    assert_eq!(critical.len(), 3, "{critical:?}");
    assert_eq!((critical[0], critical[2]), ("//hello:shell (root)", "//t:c"));
    assert!(["//t:a", "//t:b"].contains(&critical[1]), "{critical:?}");

    // An arrow from each of the chain to the next.
    let all = trace["traceEvents"].as_array().unwrap();
    let ends = |phase: &str| all.iter().filter(|event| event["ph"] == phase).count();
    assert_eq!((ends("s"), ends("f")), (2, 2));
    let lanes: Vec<_> = slices.iter().map(|it| it.0).collect();
    for lane in lanes {
        let named = |event: &&Value| event["name"] == "thread_name" && event["tid"] == lane;
        assert_eq!(all.iter().filter(named).count(), 1, "lane {lane} has a name");
    }

    // The same can be had from the record, later.
    let later = machine.run(&["builds", "last", "--trace"]).expect(0).json();
    assert_eq!(later, trace);
}
