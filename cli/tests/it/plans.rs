//! What a build would do is said before anything runs, and what is said comes true.
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use std::collections::{BTreeMap, BTreeSet};

use expect_test::expect;
use serde_json::Value;

use crate::machine::{Machine, summary};

fn boxes() -> Machine {
    Machine::new().with_boxes()
}

/// Returns the status of each goal.
fn statuses(plan: &Value) -> BTreeMap<String, String> {
    let goals = plan["goals"].as_array().unwrap().iter();
    let name = |goal: &Value| {
        let cell = goal["cell"].as_object().unwrap().iter();
        let cell: Vec<_> =
            cell.map(|(axis, it)| format!("{axis}={}", it.as_str().unwrap())).collect();
        let cell = if cell.is_empty() { String::new() } else { format!("{{{}}}", cell.join(",")) };
        format!("{}{cell}", goal["label"].as_str().unwrap())
    };
    goals.map(|goal| (name(goal), goal["status"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn a_plan_says_what_runs_and_what_may_and_a_build_does_just_that() {
    let machine = boxes();
    let said = machine.run(&["plan", "//..."]).expect(0).stdout;
    expect![[r#"
        //p:alone  1 will run
        //p:cells  1 excluded, 5 will run
        //p:inner  1 will run
        //p:outer  1 may run

          //p:alone  will run
          //p:cells{kernel=1,kind=bpf}  will run
          //p:cells{kernel=1,kind=mod}  will run
          //p:cells{kernel=2,kind=mod}  will run
          //p:cells{kernel=3,kind=bpf}  will run
          //p:cells{kernel=3,kind=mod}  will run
          //p:inner  will run
          //p:outer  may run

        7 actions will run, 1 may run, 0 cached, 0 fail as remembered
        no estimate: none of them was ever run here
    "#]]
    .assert_eq(&said);
}

#[test]
fn a_plan_in_json_has_every_goal_and_estimates_from_what_ran_before() {
    let machine = boxes();
    let plan = machine.run(&["plan", "//...", "--json", "-j", "2"]).expect(0).json();
    let statuses = statuses(&plan);
    assert_eq!(statuses["//p:outer"], "may_run");
    assert_eq!(statuses["//p:cells{kernel=2,kind=bpf}"], "excluded");
    assert_eq!(plan["summary"]["will_run"], 7);
    assert_eq!(plan["estimate"]["at_most"]["unknown"], 8, "nothing ever ran here");
    assert_eq!(plan["estimate"]["jobs"], 2);
    assert!(!machine.output("p").exists(), "a plan builds nothing");

    let built = machine.run(&["build", "//...", "--json"]).expect(0).json();
    assert_eq!(summary(&built, "misses"), 8);
    machine.edit("p/BUILD.bld", "say = \"outer\"", "say = \"other\"");
    machine.edit("p/BUILD.bld", "\"1\", \"2\", \"3\"", "\"1\", \"2\", \"3\", \"4\"");
    let plan = machine.run(&["plan", "//...", "--json", "-j", "2"]).expect(0).json();
    let at_most = &plan["estimate"]["at_most"];
    assert_eq!((&at_most["actions"], &at_most["unknown"]), (&Value::from(3), &Value::from(0)));
    for action in plan["actions"].as_array().unwrap() {
        assert!(
            action["cpu_seconds"].as_f64().is_some(),
            "{action} was run before, or its like was"
        );
        assert!(action["key"].as_str().is_some(), "{action}");
    }
    let keys: BTreeSet<_> =
        plan["actions"].as_array().unwrap().iter().map(|it| it["status"].as_str()).collect();
    assert_eq!(keys, BTreeSet::from([Some("will_run")]));
    let built = machine.run(&["build", "//...", "--json"]).expect(0).json();
    assert_eq!(summary(&built, "misses"), 3);
    let plan = machine.run(&["plan", "//..."]).expect(0).stdout;
    assert!(plan.ends_with("nothing to do: 10 actions cached\n"), "{plan}");
}

#[test]
fn shards_are_a_ci_matrix_in_one_line_and_build_every_cell_once() {
    let machine = boxes();
    let shards = machine.run(&["plan", "--shards", "--per", "2", "--max", "2", "//..."]).expect(0);
    assert_eq!(shards.stdout.lines().count(), 1);
    let matrix = shards.json();
    let include = matrix["include"].as_array().unwrap();
    assert_eq!(include.len(), 2);
    let mut built = BTreeMap::new();
    for (number, shard) in include.iter().enumerate() {
        assert_eq!(shard["shard"], number);
        let patterns = shard["patterns"].as_array().unwrap().iter().map(|it| it.as_str().unwrap());
        let mut arguments = vec!["build", "--json"];
        arguments.extend(patterns);
        let built_here = machine.run(&arguments).expect(0).json();
        let cells = statuses(&built_here);
        let wanted = cells.values().filter(|status| *status != "excluded").count();
        assert_eq!(shard["cells"], wanted);
        for goal in cells.into_keys() {
            *built.entry(goal).or_insert(0) += 1;
        }
    }
    assert!(built.values().all(|times| *times == 1), "{built:?}");
    let all = machine.run(&["plan", "//...", "--json"]).expect(0).json();
    assert_eq!(
        built.into_keys().collect::<Vec<_>>(),
        statuses(&all).into_keys().collect::<Vec<_>>()
    );
}

#[test]
fn only_kernels_with_something_to_run_make_shards_if_that_is_asked_for() {
    let machine = boxes();
    machine.run(&["build", "//..."]).expect(0);
    machine.write("p/b.txt", "another\n");
    let uncached = ["plan", "--shards", "--uncached", "//..."];
    expect![[r#"
        {"include":[{"shard":0,"patterns":["//p:cells{kernel=3}"],"cells":2}]}
    "#]]
    .assert_eq(&machine.run(&uncached).expect(0).stdout);
    machine.run(&["build", "//..."]).expect(0);
    assert_eq!(machine.run(&uncached).expect(0).stdout, "{\"include\":[]}\n");
}

#[test]
fn real_drivers_are_planned_as_they_are_then_built() {
    let machine = Machine::drivers_built();
    let plan = machine.run(&["plan", "//drivers:all"]).expect(0).stdout;
    assert!(plan.contains("nothing to do"), "{plan}");
    let shards =
        machine.run(&["plan", "--shards", "--per", "1", "//drivers:echo"]).expect(0).json();
    assert_eq!(shards["include"].as_array().unwrap().len(), 3, "one for each kernel");

    let question = "kind('source file', deps(//drivers:echo))";
    let sources = machine.run(&["query", question]).expect(0).stdout;
    let source = sources
        .lines()
        .find(|path| path.contains("2.0.0/") && path.ends_with("ring.c"))
        .unwrap_or_else(|| panic!("{sources}"));
    let text = machine.read(source);
    machine.write(source, &format!("{text}\n/* another byte */\n"));
    let plan = machine.run(&["plan", "//drivers:all", "--json"]).expect(0).json();
    let will_run = plan["summary"]["will_run"].as_u64().unwrap();
    assert!(will_run > 0 && plan["summary"]["may_run"] == 0, "{plan:#}");
    assert_eq!(plan["estimate"]["at_least"]["unknown"], 0);
    assert!(plan["estimate"]["at_least"]["cpu_seconds"].as_f64().unwrap() > 0.0);
    let keys: BTreeSet<_> =
        plan["actions"].as_array().unwrap().iter().map(|it| it["key"].to_string()).collect();
    let built = machine.run(&["build", "//drivers:all", "--json"]).expect(0).json();
    assert_eq!(summary(&built, "misses"), keys.len() as u64, "equal cells are one action");
}

#[test]
fn an_axis_that_nothing_has_is_refused() {
    let machine = boxes();
    let refused = machine.run(&["plan", "--shards", "--by", "kernels", "//..."]).expect(2);
    expect![[r#"
        error: no target among these has the axis `kernels`, whose values --by divides, did you mean `kernel`?
    "#]]
    .assert_eq(&refused.stderr);
    machine.run(&["plan", "--per", "2", "//..."]).expect(2).says(&["--shards"]);
}
