//! Shards: the cells of a plan divided among runners, whole values of one axis at a time.
//!
//! The rule: as many runners as it takes to give each at most `per` values, but at most `max`. Neighbouring values
//! stay together. No runner gets more than one value more than another, and the last never more than any.

use std::collections::BTreeMap;

use crate::cell::CellPattern;
use crate::label::{Label, Pattern};
use crate::plan::Goal;

/// How work is divided.
#[derive(Clone, Debug)]
pub struct ShardRule {
    /// The axis whose values are divided.
    pub by: String,
    /// How many values a runner gets, as long as there may be more runners.
    pub per: usize,
    /// How many runners there may be.
    pub max: usize,
}

/// What one runner gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Patterns that stand for its goals, as `bld build` takes them.
    pub patterns: Vec<String>,
    /// How many goals count.
    pub cells: usize,
}

/// What is never divided: the goals with one value on the axis, or a target without the axis.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unit<'a> {
    Value(&'a str),
    Target(&'a Label),
}

/// Divides goals among runners; `patterns` are those that stand for the goals. Units none of whose goals count are
/// left out.
pub fn shards(
    goals: &[Goal],
    counts: impl Fn(usize) -> bool,
    patterns: &[Pattern],
    rule: &ShardRule,
) -> Vec<Shard> {
    let mut units: BTreeMap<Unit<'_>, (Vec<&Goal>, usize)> = BTreeMap::new();
    for (index, goal) in goals.iter().enumerate() {
        let unit = match goal.cell.0.get(&rule.by) {
            Some(value) => Unit::Value(value),
            None => Unit::Target(&goal.label),
        };
        let (its, counted) = units.entry(unit).or_default();
        its.push(goal);
        *counted += usize::from(counts(index));
    }
    units.retain(|_, (_, counted)| *counted > 0);
    let sizes = sizes(units.len(), rule);
    let mut units = units.into_iter();
    let shard = |size: usize| {
        let mut shard = Shard { patterns: Vec::new(), cells: 0 };
        for (unit, (goals, counted)) in units.by_ref().take(size) {
            shard.patterns.extend(patterns_of(&unit, &goals, patterns, &rule.by));
            shard.cells += counted;
        }
        shard
    };
    sizes.into_iter().map(shard).collect()
}

/// Returns how many units each runner gets.
fn sizes(units: usize, rule: &ShardRule) -> Vec<usize> {
    let runners = units.div_ceil(rule.per.max(1)).min(rule.max.max(1));
    if runners == 0 {
        return Vec::new();
    }
    // What does not come out even goes to the first ones.
    (0..runners).map(|runner| units / runners + usize::from(runner < units % runners)).collect()
}

/// Returns patterns that stand for exactly these goals, which are all of a plan that are of this unit.
fn patterns_of(unit: &Unit<'_>, goals: &[&Goal], asked: &[Pattern], by: &str) -> Vec<String> {
    let mut labels: BTreeMap<&Label, Vec<&Goal>> = BTreeMap::new();
    for goal in goals {
        labels.entry(&goal.label).or_default().push(goal);
    }
    let mut found = Vec::new();
    for (label, goals) in labels {
        let mut cells: Vec<&CellPattern> = Vec::new();
        for pattern in asked.iter().filter(|it| it.targets.covers(label)) {
            // Of many targets, those are meant that have the axes.
            let has_axes = pattern.cells.axes().all(|axis| goals[0].cell.0.contains_key(axis));
            if has_axes && !cells.contains(&&pattern.cells) {
                cells.push(&pattern.cells);
            }
        }
        match (unit, cells.as_slice()) {
            (Unit::Value(value), [cells]) => {
                found.push(format!("{label}{}", cells.with(by, value)));
            }
            (Unit::Target(_), [cells]) => found.push(format!("{label}{cells}")),
            // Which of several patterns found which cell is not worth knowing: each by itself.
            _ => found.extend(goals.iter().map(|goal| format!("{label}{}", goal.cell))),
        }
    }
    found
}
