//! Shards: every cell exactly once, and nobody gets more than the others.

use std::collections::{BTreeMap, BTreeSet};

use engine::{Pattern, Plan, Shard, ShardRule, shards};
use model::RelativePath;

use crate::fixture::Fixture;

/// A matrix over so many kernels with a second axis, one over the kernels alone, and two targets without.
fn workspace(kernels: usize) -> Fixture {
    let releases: Vec<_> = (0..kernels).map(|n| format!("6.{n}.0-{n}-amd64")).collect();
    Fixture::new(&format!(
        r#"
//- /BUILD.bld
load(":lib.bzl", "join")
KERNELS = {releases:?}
join(name = "drv", srcs = ["a"], matrix = {{"kernel": KERNELS, "kind": ["mod", "bpf"]}}, show_cell = True)
join(name = "one", srcs = ["a"], matrix = {{"kernel": KERNELS[:3]}}, show_cell = True)
join(name = "plain", srcs = ["a"])
join(name = "hidden", srcs = ["a"], tags = ["manual"])
//- /other/BUILD.bld
load("//:lib.bzl", "join")
join(name = "other", srcs = ["b"], matrix = {{"kind": ["mod", "bpf"]}}, show_cell = True)
//- /a
//- /other/b
"#
    ))
}

fn rule(per: usize, max: usize) -> ShardRule {
    ShardRule { by: "kernel".to_owned(), per, max }
}

fn divide(plan: &Plan, patterns: &[&str], rule: &ShardRule) -> Vec<Shard> {
    let parse = |text: &&str| Pattern::parse(text, &RelativePath::root()).unwrap();
    let patterns: Vec<_> = patterns.iter().map(parse).collect();
    shards(&plan.goals, |index| !plan.goals[index].excluded, &patterns, rule)
}

fn goals(plan: &Plan) -> Vec<String> {
    plan.goals.iter().map(|goal| format!("{}{}", goal.label, goal.cell)).collect()
}

/// Checks that the shards, built one by one, build every goal of the patterns exactly once, and that they are even.
fn check(fixture: &Fixture, patterns: &[&str], rule: &ShardRule) {
    let plan = fixture.plan(patterns).unwrap();
    let shards = divide(&plan, patterns, rule);
    let mut built: BTreeMap<String, usize> = BTreeMap::new();
    for shard in &shards {
        let texts: Vec<_> = shard.patterns.iter().map(String::as_str).collect();
        let its = goals(&fixture.plan(&texts).unwrap());
        assert_eq!(its.len(), shard.cells, "{patterns:?} {shard:?}");
        for goal in its {
            *built.entry(goal).or_default() += 1;
        }
    }
    assert!(built.values().all(|times| *times == 1), "{patterns:?} {rule:?} {built:?}");
    let wanted: BTreeSet<_> = goals(&plan).into_iter().collect();
    assert_eq!(built.into_keys().collect::<BTreeSet<_>>(), wanted, "{patterns:?} {rule:?}");

    let unit = |goal: &engine::Goal| match goal.cell.0.get(&rule.by) {
        Some(value) => value.clone(),
        None => goal.label.to_string(),
    };
    let units = |shard: &Shard| {
        let texts: Vec<_> = shard.patterns.iter().map(String::as_str).collect();
        fixture.plan(&texts).unwrap().goals.iter().map(unit).collect::<BTreeSet<_>>().len()
    };
    let all: BTreeSet<_> = plan.goals.iter().map(unit).collect();
    assert_eq!(shards.len(), all.len().div_ceil(rule.per).min(rule.max), "{rule:?}");
    let sizes: Vec<_> = shards.iter().map(units).collect();
    let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
    assert!(most - least <= 1, "{sizes:?}");
    assert_eq!(sizes.last().unwrap(), least, "the last never gets more: {sizes:?}");
}

#[test]
fn every_cell_is_built_by_exactly_one_runner_and_the_runners_are_even() {
    for kernels in [3, 4, 10, 11, 25] {
        let fixture = workspace(kernels);
        for (per, max) in [(1, 1), (1, 100), (2, 3), (3, 100), (10, 32), (100, 32)] {
            for patterns in [
                &["//..."][..],
                &["//:drv"],
                &["//:drv{kind=mod}"],
                &["//:drv{kernel=6.1*}", "//:one"],
                &["//...{kind=bpf}", "//:drv{kernel=6.2.0-2-amd64}"],
                &["//...", "//:hidden", "//:drv{kind=mod}"],
                &["//other:all", "//:all{kernel=~6[.][0-9][.].*}"],
            ] {
                check(&fixture, patterns, &rule(per, max));
            }
        }
    }
}

#[test]
fn the_seeds_figures_come_out() {
    let fixture = workspace(250);
    let plan = fixture.plan(&["//:drv"]).unwrap();
    assert_eq!(divide(&plan, &["//:drv"], &rule(10, 32)).len(), 25);
    let capped = divide(&plan, &["//:drv"], &rule(5, 32));
    assert_eq!(capped.len(), 32);
    let kernels: Vec<_> = capped.iter().map(|shard| shard.patterns.len()).collect();
    assert_eq!((kernels[0], kernels[25], kernels[26], kernels[31]), (8, 8, 7, 7));
}

#[test]
fn what_does_not_count_is_left_out_and_nothing_makes_no_shard() {
    let fixture = workspace(12);
    let plan = fixture.plan(&["//:drv"]).unwrap();
    let pattern = Pattern::parse("//:drv", &RelativePath::root()).unwrap();
    let counted = |index: usize| plan.goals[index].cell.0["kernel"].starts_with("6.3.");
    let patterns = [pattern];
    let found = shards(&plan.goals, counted, &patterns, &rule(10, 32));
    let expected = Shard { patterns: vec!["//:drv{kernel=6.3.0-3-amd64}".to_owned()], cells: 2 };
    assert_eq!(found, [expected]);
    assert_eq!(shards(&plan.goals, |_| false, &patterns, &rule(10, 32)), []);
}
