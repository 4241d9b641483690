//! Surveys: what a build would do is known before, and asking changes nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use engine::{ActionFate, GoalFate, Plan, Survey, estimate};
use expect_test::expect;

use crate::workshop::{Workshop, digests};

/// Two sources are stripped of comments, and joined; a third is joined alone; one step fails, and one waits for it.
const CHAIN: &str = r#"
//- /BUILD.bld
load(":rules.bzl", "do", "gather")
do(name = "a", verb = "strip", srcs = ["a.c"], words = ["a"])
do(name = "b", verb = "strip", srcs = ["b.c"], words = ["b"])
do(name = "both", deps = {"a": ":a", "b": ":b"}, words = ["both"])
gather(name = "tree", deps = [":a", ":both"])
do(name = "alone", srcs = ["c.c"], words = ["alone"])
do(name = "bad", verb = "exit", words = ["3"], srcs = ["c.c"])
do(name = "behind", deps = {"bad": ":bad"})
do(name = "cells", matrix = {"n": ["1", "2"]}, exclude = [{"n": "2"}])
//- /a.c
# a comment
text of a
//- /b.c
text of b
//- /c.c
text of c
"#;

/// Returns what would come of each goal, and of each action.
fn render((plan, survey): &(Plan, Survey)) -> String {
    let mut text = String::new();
    for (goal, fate) in plan.goals.iter().zip(&survey.goals) {
        let fate = match fate {
            GoalFate::Fails(node) => {
                format!("fails: {}", plan.graph.node(*node).action_owner().unwrap())
            }
            known @ (GoalFate::Cached
            | GoalFate::Runs
            | GoalFate::MayRun
            | GoalFate::Excluded
            | GoalFate::Unavailable) => format!("{known:?}"),
        };
        writeln!(text, "{}{} {fate}", goal.label, goal.cell).unwrap();
    }
    for action in &survey.actions {
        let owner = plan.graph.node(action.node).action_owner().unwrap();
        let key = if action.key.is_some() { "" } else { ", no key" };
        writeln!(text, "  {owner} {:?}{key}", action.fate).unwrap();
    }
    text
}

/// Returns every file below a folder with its bytes.
fn contents(folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            contents(&path, found);
        } else {
            found.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_build_what_reads_sources_runs_and_the_rest_may() {
    let workshop = Workshop::new(CHAIN);
    expect![[r#"
        //:a Runs
        //:alone Runs
        //:b Runs
        //:bad Runs
        //:behind MayRun
        //:both MayRun
        //:cells{n=1} Runs
        //:cells{n=2} Excluded
        //:tree Runs
          //:a (strip) Runs
          //:alone (join) Runs
          //:b (strip) Runs
          //:bad (exit) Runs
          //:behind (join) MayRun, no key
          //:both (join) MayRun, no key
          //:cells{n=1} (join) Runs
    "#]]
    .assert_eq(&render(&workshop.survey()));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_build_its_results_and_failures_are_known_under_the_same_keys() {
    let workshop = Workshop::new(CHAIN);
    let report = workshop.build().await;
    workshop.ran();
    let (plan, survey) = workshop.survey();
    expect![[r#"
        //:a Cached
        //:alone Cached
        //:b Cached
        //:bad fails: //:bad (exit)
        //:behind fails: //:bad (exit)
        //:both Cached
        //:cells{n=1} Cached
        //:cells{n=2} Excluded
        //:tree Cached
          //:a (strip) Cached
          //:alone (join) Cached
          //:b (strip) Cached
          //:bad (exit) Fails
          //:behind (join) Blocked, no key
          //:both (join) Cached
          //:cells{n=1} (join) Cached
    "#]]
    .assert_eq(&render(&(plan, survey)));

    let (plan, survey) = workshop.survey();
    let owner = |node| plan.graph.node(node).action_owner().unwrap().to_string();
    let keys = survey.actions.iter().filter_map(|it| Some((owner(it.node), it.key?.0)));
    assert_eq!(keys.collect::<BTreeMap<_, _>>(), digests(&report));
    assert_eq!(workshop.ran(), [""; 0], "a survey runs nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_tried_again_counts_as_what_never_ran() {
    let mut workshop = Workshop::new(CHAIN);
    workshop.build().await;
    workshop.options.retry_failed = true;
    let (plan, survey) = workshop.survey();
    let fates: BTreeMap<_, _> = plan
        .goals
        .iter()
        .zip(&survey.goals)
        .map(|(goal, fate)| (goal.label.name.as_str(), *fate))
        .collect();
    assert_eq!(fates["bad"], GoalFate::Runs);
    assert_eq!(fates["behind"], GoalFate::MayRun);
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_changed_source_is_what_may_run_and_a_build_may_find_that_it_need_not() {
    let workshop = Workshop::new(CHAIN);
    workshop.build().await;
    workshop.ran();
    workshop.write("a.c", "# another comment\ntext of a\n");
    let (plan, survey) = workshop.survey();
    let text = render(&(plan, survey));
    assert!(text.contains("//:a Runs\n") && text.contains("//:both MayRun\n"), "{text}");
    assert!(text.contains("//:tree Runs\n") && text.contains("//:b Cached\n"), "{text}");

    workshop.build().await;
    assert_eq!(workshop.ran(), ["strip a"]);
    let text = render(&workshop.survey());
    assert!(text.contains("//:both Cached\n") && text.contains("//:tree Cached\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_survey_changes_no_result_and_leaves_no_lock() {
    let workshop = Workshop::new(CHAIN);
    workshop.build().await;
    workshop.write("a.c", "other text\n");
    let results = || {
        let mut found = BTreeMap::new();
        for folder in ["actions", "failures", "locks", "trees"] {
            let folder = workshop.store.root().join(folder);
            if folder.exists() {
                contents(&folder, &mut found);
            }
        }
        found
    };
    let before = results();
    workshop.survey();
    assert_eq!(results(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_that_have_vanished_are_made_again_only_if_somebody_needs_them() {
    let workshop = Workshop::new(CHAIN);
    workshop.build().await;
    workshop.ran();
    // What a and b came to is gone: as goals of their own they are made again, and so is what holds them.
    assert_eq!(workshop.lose(|bytes| bytes == b"text of a\n"), 1);
    let text = render(&workshop.survey());
    expect![[r#"
        //:a Runs
        //:alone Cached
        //:b Cached
        //:bad fails: //:bad (exit)
        //:behind fails: //:bad (exit)
        //:both Cached
        //:cells{n=1} Cached
        //:cells{n=2} Excluded
        //:tree Runs
          //:a (strip) RunsAgain
          //:alone (join) Cached
          //:b (strip) Cached
          //:bad (exit) Fails
          //:behind (join) Blocked, no key
          //:both (join) Cached
          //:cells{n=1} (join) Cached
    "#]]
    .assert_eq(&text);
    workshop.build().await;
    assert_eq!(workshop.ran(), ["strip a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_has_vanished_makes_what_looks_into_it_wait() {
    let workshop = Workshop::new(
        r#"
//- /BUILD.bld
load(":rules.bzl", "do")
do(name = "root", verb = "tree", srcs = ["a.c"], words = ["x"])
do(name = "in", root = ":root", words = ["in"], verb = "copies")
//- /a.c
text
"#,
    );
    workshop.build().await;
    workshop.ran();
    assert!(render(&workshop.survey()).contains("//:in Cached"));
    let gone = workshop.lose(|bytes| bytes.windows(3).any(|part| part == b"one") || bytes == b"x");
    assert!(gone > 0);
    let text = render(&workshop.survey());
    assert!(text.contains("//:in MayRun") && text.contains("//:root (tree) RunsAgain"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_is_asked_once_for_each_thing_however_many_cells_there_are() {
    for cells in [100, 800] {
        let values: Vec<_> = (0..cells).map(|n| format!("v{n}")).collect();
        let workshop = Workshop::new(&format!(
            r#"
//- /BUILD.bld
load(":rules.bzl", "do", "gather")
do(name = "root", verb = "tree", srcs = ["a.c"], words = ["x"])
gather(name = "headers", deps = [":root"])
do(name = "cells", root = ":root", deps = {{"h": ":headers"}}, srcs = ["a.c"], matrix = {{"n": {values:?}}})
//- /a.c
text
"#
        ));
        workshop.build().await;
        workshop.ran();
        let (plan, survey) = workshop.survey();
        assert_eq!(plan.goals.len(), cells + 2);
        assert!(survey.goals.iter().all(|fate| *fate == GoalFate::Cached));
        assert_eq!(survey.asked.results, cells + 1, "one for each action");
        assert_eq!(survey.asked.outputs, cells + 2, "one for each goal");
        assert_eq!(survey.asked.listings, 1, "the root that all cells share is looked into once");
        assert_eq!(survey.sources.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_estimate_knows_the_longest_chain_and_what_is_not_known() {
    let workshop = Workshop::new(CHAIN);
    let (plan, survey) = workshop.survey();
    let costs = BTreeMap::from([("a", 5), ("b", 1), ("both", 10), ("alone", 4), ("bad", 2)]);
    let cost = |owner: &engine::Owner| {
        costs.get(owner.label.name.as_str()).map(|seconds| Duration::from_secs(*seconds))
    };
    let seconds = Duration::from_secs;
    let all = |fate: ActionFate| fate.runs() || fate == ActionFate::MayRun;
    let one = estimate(&plan, &survey, all, cost, 1);
    assert_eq!((one.actions, one.unknown), (7, 2), "nobody knows of `behind` and `cells`");
    assert_eq!((one.cpu, one.critical, one.wall), (seconds(22), seconds(15), seconds(22)));
    assert_eq!(one.wall_min(1), seconds(22));

    // a, then both; beside them the others.
    let two = estimate(&plan, &survey, all, cost, 2);
    assert_eq!((two.wall, two.wall_min(2)), (seconds(15), seconds(15)));

    let sure = estimate(&plan, &survey, ActionFate::runs, cost, 2);
    assert_eq!((sure.actions, sure.unknown, sure.cpu), (5, 1, seconds(12)));
    assert_eq!(sure.wall, seconds(6), "5 and 1 on one core, 4 and 2 on the other");

    workshop.build().await;
    let (plan, survey) = workshop.survey();
    let nothing = estimate(&plan, &survey, ActionFate::runs, cost, 2);
    assert_eq!(nothing, engine::Estimate::default());
}
