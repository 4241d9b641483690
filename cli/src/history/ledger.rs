//! The ledger of a workspace: what was last known of each of its actions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use engine::{Cell, Pattern, Targets};
use model::{ActionDigest, Digest, DigestFunction, RelativePath};
use serde::{Deserialize, Serialize};

use super::key::{Key, Who};
use super::reason::Reason;
use crate::error::CliError;

/// The first line of a ledger.
const HEADER: &str = "bld-ledger 1\n";

/// How many actions are remembered: a few times the largest matrices that people ship. The oldest go.
const ENTRIES_MAX: usize = 200_000;

/// What an entry takes at least, in bytes: the names of its fields alone. Tells without counting that there are few.
const ENTRY_BYTES_MIN: usize = 120;

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

/// All that is known: sorted lines, of which only those are looked at that somebody asks for. A ledger of tens of
/// thousands is so read, looked up and written again in the time that it takes to copy it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Whole lines: a key, a tab, an entry.
    lines: String,
    /// What is known better by now.
    news: BTreeMap<Key, String>,
}

impl Ledger {
    /// Reads a ledger. One that cannot be read is as good as none: it explains, and decides nothing.
    pub(crate) fn read(path: &Path) -> Self {
        let mut lines = fs::read_to_string(path).unwrap_or_default();
        if !lines.starts_with(HEADER) || !lines.ends_with('\n') {
            return Self::default();
        }
        lines.drain(..HEADER.len());
        Self { lines, news: BTreeMap::new() }
    }

    /// Writes the ledger, whole or not at all; of two that write at once, the last wins.
    pub(crate) fn write(mut self, path: &Path, build: u64) -> Result<(), CliError> {
        self.settle();
        self.trim(build, ENTRIES_MAX);
        let mut text = String::with_capacity(HEADER.len() + self.lines.len());
        text.extend([HEADER, &self.lines]);
        crate::replace::replace(path, text.as_bytes())
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Entry> {
        let text = match self.news.get(key) {
            Some(text) => text,
            None => self.line_at(self.find(key.as_str())).filter(|it| it.0 == key.as_str())?.1,
        };
        serde_json::from_str(text).ok()
    }

    pub(crate) fn insert(&mut self, key: Key, entry: &Entry) {
        let entry = serde_json::to_string(entry).expect("an entry has only texts and numbers");
        self.news.insert(key, entry);
    }

    /// Returns all that was known when the ledger was read, by key.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Key, Entry)> {
        let parsed = |line: &str| {
            let (key, entry) = line.split_once('\t')?;
            Some((Key::from_text(key), serde_json::from_str(entry).ok()?))
        };
        self.lines.lines().filter_map(parsed)
    }

    /// Returns the action of the same target and role whose cell is nearest to that of `key`: of those that agree on
    /// most axes the one whose name goes along with it longest, and then the last before it.
    pub(crate) fn nearest(&self, key: &Key) -> Option<(Key, Entry)> {
        let wanted = key.who()?;
        let nearness = |other: &str| {
            let who = Key::from_text(other).who()?;
            if other == key.as_str() || who.role != wanted.role {
                return None;
            }
            let axes = wanted.cell.0.iter();
            let agreed = axes.filter(|(axis, value)| who.cell.0.get(*axis) == Some(value)).count();
            let along = key.as_str().bytes().zip(other.bytes());
            let along = along.take_while(|(left, right)| left == right).count();
            Some((agreed, along, other < key.as_str()))
        };
        let prefix = key.label_prefix();
        let same = self.lines[self.find(prefix)..].lines();
        let same = same.take_while(|line| line.starts_with(prefix));
        let rated = same.filter_map(|line| {
            let (other, entry) = line.split_once('\t')?;
            Some((nearness(other)?, other, entry))
        });
        let (_, nearest, entry) = rated.max_by_key(|(nearness, ..)| *nearness)?;
        Some((Key::from_text(nearest), serde_json::from_str(entry).ok()?))
    }

    /// Returns the latest keys and the builds that saw them.
    pub(crate) fn latest(&self) -> Vec<(u64, ActionDigest)> {
        self.entries().filter_map(|(_, entry)| Some((entry.build, entry.digest()?))).collect()
    }

    /// Puts what is known better by now into its place.
    fn settle(&mut self) {
        let news = std::mem::take(&mut self.news);
        let bytes: usize =
            news.iter().map(|(key, entry)| key.as_str().len() + entry.len() + 2).sum();
        let mut settled = String::with_capacity(self.lines.len() + bytes);
        let mut copied = 0;
        for (key, entry) in &news {
            let place = self.find(key.as_str());
            settled.push_str(&self.lines[copied..place]);
            settled.extend([key.as_str(), "\t", entry, "\n"]);
            let is_same = self.line_at(place).is_some_and(|(old, _)| old == key.as_str());
            copied = if is_same { self.after(place) } else { place };
        }
        settled.push_str(&self.lines[copied..]);
        self.lines = settled;
    }

    /// Removes the entries that were not touched for longest, if there are too many.
    fn trim(&mut self, build: u64, entries_max: usize) {
        if self.lines.len() < entries_max * ENTRY_BYTES_MIN {
            return;
        }
        let count = self.lines.bytes().filter(|byte| *byte == b'\n').count();
        if count <= entries_max {
            return;
        }
        let age = |line: &str| {
            let entry = line.split_once('\t').map(|(_, entry)| serde_json::from_str(entry));
            entry
                .and_then(Result::ok)
                .map_or(u64::MAX, |entry: Entry| build - entry.build.min(build))
        };
        let mut ages: Vec<(u64, usize)> = self.lines.lines().map(age).zip(0..).collect();
        ages.sort_unstable();
        let kept: BTreeSet<usize> = ages.into_iter().take(entries_max).map(|it| it.1).collect();
        let lines = self.lines.lines().zip(0..).filter(|(_, number)| kept.contains(number));
        self.lines = lines.flat_map(|(line, _)| [line, "\n"]).collect();
    }

    /// Returns where the first line begins whose key is not before `key`.
    fn find(&self, key: &str) -> usize {
        // Between two beginnings of lines, of which the one is before what is looked for and the other not.
        let (mut low, mut high) = (0, self.lines.len());
        while low < high {
            let middle = self.lines.as_bytes()[low..low + (high - low) / 2].iter();
            let begin = middle.rev().position(|byte| *byte == b'\n');
            let begin = begin.map_or(low, |back| low + (high - low) / 2 - back);
            match self.line_at(begin) {
                Some((found, _)) if found < key => low = self.after(begin),
                _ => high = begin,
            }
        }
        low
    }

    /// Returns key and entry of the line that begins at a place.
    fn line_at(&self, place: usize) -> Option<(&str, &str)> {
        self.lines[place..].lines().next()?.split_once('\t')
    }

    /// Returns where the line ends that begins at a place.
    fn after(&self, place: usize) -> usize {
        let end = self.lines.as_bytes()[place..].iter().position(|byte| *byte == b'\n');
        end.map_or(self.lines.len(), |end| place + end + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(label: &str, kernel: &str, version: &str) -> Key {
        let cell = format!("{{\"kernel\":\"{kernel}\",\"version\":\"{version}\"}}");
        Key::from_text(&format!("[\"{label}\",{cell},\"module\"]"))
    }

    fn entry(build: u64) -> Entry {
        Entry {
            function: "blake3".to_owned(),
            action: format!("{build}"),
            outcome: SUCCEEDED.to_owned(),
            build,
            kept: true,
            wall_seconds: 0.5,
            cpu_seconds: 0.25,
            stdout: None,
            stderr: None,
            goals: Vec::new(),
            ran: None,
        }
    }

    #[test]
    fn whatever_is_put_into_a_ledger_is_found_in_it_and_again_after_it_was_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let mut known: BTreeMap<Key, u64> = BTreeMap::new();
        for build in 1..=40_u64 {
            let mut ledger = Ledger::read(&path);
            for (key, build) in &known {
                assert_eq!(ledger.get(key).unwrap().build, *build);
            }
            assert!(ledger.get(&key("//never", "0", "0")).is_none());
            let found: Vec<_> = ledger.entries().map(|(key, entry)| (key, entry.build)).collect();
            assert_eq!(found, known.clone().into_iter().collect::<Vec<_>>(), "sorted, none twice");
            // Some are new, some known; before, between and behind the others.
            for number in [build * 7 % 23, build * 5 % 17, build] {
                let key = key("//d:m", &number.to_string(), "1");
                ledger.insert(key.clone(), &entry(build));
                assert_eq!(ledger.get(&key).unwrap().build, build);
                known.insert(key, build);
            }
            ledger.write(&path, build).unwrap();
        }
    }

    #[test]
    fn the_nearest_cell_agrees_on_most_axes_and_comes_just_before() {
        let mut ledger = Ledger::default();
        for (label, kernel, version) in [
            ("//d:m", "6.1.0-54", "1"),
            ("//d:m", "6.1.0-55", "1"),
            ("//d:m", "6.1.0-57", "1"),
            ("//d:m", "6.12.0-1", "1"),
            ("//d:m", "6.1.0-56", "2"),
            ("//d:m-other", "6.1.0-56", "1"),
        ] {
            ledger.insert(key(label, kernel, version), &entry(1));
        }
        ledger.settle();
        let nearest = |label, kernel, version| {
            let nearest = ledger.nearest(&key(label, kernel, version));
            nearest.map(|(key, _)| key.who().unwrap().to_string())
        };
        let cell = |cell: &str| Some(format!("//d:m{{{cell}}} (module)"));
        assert_eq!(nearest("//d:m", "6.12.0-2", "1"), cell("kernel=6.12.0-1,version=1"));
        assert_eq!(nearest("//d:m", "6.1.0-58", "1"), cell("kernel=6.1.0-57,version=1"));
        assert_eq!(nearest("//d:m", "6.1.0-56", "3"), cell("kernel=6.1.0-56,version=2"));
        assert_eq!(nearest("//d:n", "6.1.0-56", "1"), None);
        assert_eq!(nearest("//d", "6.1.0-56", "1"), None);
    }

    #[test]
    fn those_that_no_build_saw_for_longest_go_first() {
        let mut ledger = Ledger::default();
        for build in 1..=6 {
            ledger.insert(key("//d:m", &(build * 5 % 7).to_string(), "1"), &entry(build));
        }
        ledger.settle();
        ledger.trim(6, 4);
        let mut left: Vec<_> = ledger.entries().map(|(_, entry)| entry.build).collect();
        left.sort_unstable();
        assert_eq!(left, [3, 4, 5, 6]);
    }

    #[test]
    fn what_is_no_ledger_is_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        for text in ["", "bld-ledger 1", "bld-ledger 2\n", "bld-ledger 1\nx\t{}\ny", "\n\n"] {
            fs::write(&path, text).unwrap();
            let ledger = Ledger::read(&path);
            assert_eq!((ledger.entries().count(), ledger.lines.len()), (0, 0), "{text:?}");
        }
        fs::write(&path, "bld-ledger 1\nno tab\n[]\tno entry\n").unwrap();
        let ledger = Ledger::read(&path);
        assert_eq!(ledger.entries().count(), 0);
        assert!(ledger.get(&Key::from_text("[]")).is_none());
        assert!(ledger.nearest(&key("//d:m", "1", "1")).is_none());
    }
}
