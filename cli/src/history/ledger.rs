//! The ledger of a workspace: what was last known of each of its actions.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Bound;
use std::path::Path;

use engine::{Cell, Pattern, Targets};
use model::{ActionDigest, Digest, DigestFunction, RelativePath};
use serde::{Deserialize, Serialize};

use super::key::{Key, Who};
use super::reason::Reason;
use crate::error::CliError;

/// The first line of a ledger.
const HEADER: &str = "bld-ledger 1";

/// How many actions are remembered: a few times the largest matrices that people ship. The oldest go.
const ENTRIES_MAX: usize = 200_000;

/// How many goals are remembered for an action that makes the outputs of many.
pub(super) const GOALS_MAX: usize = 8;

/// Label and cell of a goal.
pub(crate) type GoalName = (String, BTreeMap<String, String>);

/// What was last known of an action.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// The function of all digests here.
    pub(crate) function: String,
    /// Its key.
    pub(crate) action: String,
    /// `succeeded`, or how it failed.
    pub(crate) outcome: String,
    /// The build that saw this.
    pub(crate) build: u64,
    /// Whether its result was recorded.
    pub(crate) kept: bool,
    pub(crate) wall_seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) stdout: Option<String>,
    pub(crate) stderr: Option<String>,
    /// The goals whose outputs it makes: label and cell.
    pub(crate) goals: Vec<GoalName>,
    /// When it last ran here, and why; `None` if its results were only ever found.
    pub(crate) ran: Option<LastTime>,
}

/// The last time that an action ran.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LastTime {
    /// In which build.
    pub(crate) build: u64,
    /// Why.
    pub(crate) reason: Reason,
}

/// What an action that did what it should came to.
pub(crate) const SUCCEEDED: &str = "succeeded";

impl Entry {
    /// Returns the key.
    pub(crate) fn digest(&self) -> Option<ActionDigest> {
        let function: DigestFunction = self.function.parse().ok()?;
        Digest::parse(function, &self.action).ok().map(ActionDigest)
    }

    /// Adds a goal whose outputs the action makes, unless it is known or there are many.
    pub(crate) fn add_goal(&mut self, goal: GoalName) {
        if self.goals.len() < GOALS_MAX && !self.goals.contains(&goal) {
            self.goals.push(goal);
        }
    }

    /// Returns whether a pattern stands for the action: for its target, or for a goal whose outputs it makes.
    pub(crate) fn is_meant(&self, who: &Who, pattern: &Pattern) -> bool {
        let goals = self.goals.iter().map(|(label, cell)| (label, cell));
        is_meant(pattern, goals.chain([(&who.label, &who.cell.0)]))
    }
}

/// Returns whether a pattern stands for one of these targets and cells.
pub(super) fn is_meant<'a>(
    pattern: &Pattern,
    mut targets: impl Iterator<Item = (&'a String, &'a BTreeMap<String, String>)>,
) -> bool {
    targets.any(|(label, cell)| {
        stands_for(&pattern.targets, label) && pattern.cells.matches(&Cell(cell.clone()))
    })
}

fn stands_for(targets: &Targets, label: &str) -> bool {
    let package = label.trim_start_matches('/').split(':').next().unwrap_or_default();
    match targets {
        Targets::One(one) => one.to_string() == label,
        Targets::Package(it) => it.as_str() == package,
        Targets::Below(it) => {
            RelativePath::new(package).is_ok_and(|package| package.strip_prefix(it).is_some())
        }
    }
}

/// All that is known; entries are parsed only when somebody looks at them.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: BTreeMap<Key, String>,
}

impl Ledger {
    /// Reads a ledger. One that cannot be read is as good as none: it explains, and decides nothing.
    pub(crate) fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut lines = text.lines();
        if lines.next() != Some(HEADER) {
            return Self::default();
        }
        let entries = lines.filter_map(|line| line.split_once('\t'));
        let entries = entries.map(|(key, entry)| (Key::from_text(key), entry.to_owned()));
        Self { entries: entries.collect() }
    }

    /// Writes the ledger, whole or not at all; of two that write at once, the last wins.
    pub(crate) fn write(mut self, path: &Path) -> Result<(), CliError> {
        self.trim();
        let mut text = format!("{HEADER}\n");
        for (key, entry) in &self.entries {
            text.push_str(key.as_str());
            text.push('\t');
            text.push_str(entry);
            text.push('\n');
        }
        super::replace(path, text.as_bytes())
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Entry> {
        serde_json::from_str(self.entries.get(key)?).ok()
    }

    pub(crate) fn insert(&mut self, key: Key, entry: &Entry) {
        let entry = serde_json::to_string(entry).expect("an entry has only texts and numbers");
        self.entries.insert(key, entry);
    }

    /// Returns all that is known, by key.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Key, Entry)> {
        let parsed = |(key, text): (_, &String)| Some((key, serde_json::from_str(text).ok()?));
        self.entries.iter().filter_map(parsed)
    }

    /// Returns the action of the same target and role whose cell is nearest to that of `key`: of those that agree on
    /// most axes the one whose name goes along with it longest, and then the last before it.
    pub(crate) fn nearest(&self, key: &Key) -> Option<(Key, Entry)> {
        let wanted = key.who()?;
        let prefix = key.label_prefix();
        let range = (Bound::Included(Key::from_text(prefix)), Bound::Unbounded);
        let same = self.entries.range(range).take_while(|(it, _)| it.as_str().starts_with(prefix));
        let nearness = |other: &Key| {
            let who = other.who()?;
            if other == key || who.role != wanted.role {
                return None;
            }
            let axes = wanted.cell.0.iter();
            let agreed = axes.filter(|(axis, value)| who.cell.0.get(*axis) == Some(value)).count();
            let along = key.as_str().bytes().zip(other.as_str().bytes());
            let along = along.take_while(|(left, right)| left == right).count();
            Some((agreed, along, other < key))
        };
        let rated = same.filter_map(|(other, _)| Some((nearness(other)?, other)));
        let (_, nearest) = rated.max()?;
        Some((nearest.clone(), self.get(nearest)?))
    }

    /// Returns the latest keys, the newest first: those whose messages are worth keeping.
    pub(crate) fn latest(&self) -> Vec<(u64, ActionDigest)> {
        self.entries().filter_map(|(_, entry)| Some((entry.build, entry.digest()?))).collect()
    }

    fn trim(&mut self) {
        if self.entries.len() <= ENTRIES_MAX {
            return;
        }
        let mut ages: Vec<_> =
            self.entries().map(|(key, entry)| (entry.build, key.clone())).collect();
        ages.sort();
        for (_, key) in ages.into_iter().take(self.entries.len() - ENTRIES_MAX) {
            self.entries.remove(&key);
        }
    }
}
