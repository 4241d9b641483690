//! What is left of records that were pruned: the keys as they were after the last of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::History;
use super::key::Key;
use super::record::Record;
use crate::error::CliError;
use crate::replace::replace;

/// How many records a workspace keeps: weeks of a busy person's builds.
const RECORDS_MAX: usize = 200;

/// How old a record gets: who asks what changed since a build asks within a quarter of a year.
const AGE_MAX: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// How many bytes all records of a workspace may take: a first build of forty thousand cells writes a sixth of it.
const BYTES_MAX: u64 = 96 << 20;

/// Which part of a bound is left after pruning, of four: so pruning is not done after every build.
const LEFT: u64 = 3;

/// The first word of a base.
const HEADER: &str = "bld-base 1";

/// What a workspace keeps at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) records: usize,
    pub(super) age: Duration,
    pub(super) bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { records: RECORDS_MAX, age: AGE_MAX, bytes: BYTES_MAX }
    }
}

/// The keys of all actions as of some build.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// The last build that it holds.
    pub(super) through: u64,
    /// `<function>:<key>` of each action.
    pub(super) keys: BTreeMap<Key, String>,
}

impl State {
    pub(super) fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut lines = text.lines();
        let through = lines.next().and_then(|line| line.strip_prefix(HEADER));
        let Some(through) = through.and_then(|number| number.trim().parse().ok()) else {
            return Self::default();
        };
        let keys = lines.filter_map(|line| line.split_once('\t'));
        let keys = keys.map(|(key, action)| (Key::from_text(key), action.to_owned())).collect();
        Self { through, keys }
    }

    fn write(&self, path: &Path) -> Result<(), CliError> {
        let mut text = format!("{HEADER} {}\n", self.through);
        for (key, action) in &self.keys {
            text.extend([key.as_str(), "\t", action, "\n"]);
        }
        replace(path, text.as_bytes())
    }

    /// Adds what a later build changed.
    pub(super) fn apply(&mut self, record: &Record) {
        let function = &record.head.function;
        for (key, line) in &record.lines {
            self.keys.insert(key.clone(), format!("{function}:{}", line.action));
        }
        self.through = self.through.max(record.head.build);
    }
}

impl History {
    /// Removes the oldest records if there are too many, too large or too old ones; what they say of keys stays known.
    pub(super) fn prune(&self, bounds: Bounds, now: SystemTime) -> Result<(), CliError> {
        let doomed = self.doomed(bounds, now)?;
        if doomed.is_empty() {
            return Ok(());
        }
        let mut base = State::read(&self.base_path());
        for number in &doomed {
            // A record of another version says nothing here.
            if let Some(record) = Record::read(&self.record_path(*number))? {
                base.apply(&record);
            }
            base.through = base.through.max(*number);
        }
        // First what stays known, then the rest goes: whoever is stopped in between folds the same again.
        base.write(&self.base_path())?;
        for number in doomed {
            let _ = fs::remove_file(self.record_path(number));
        }
        Ok(())
    }

    /// Returns the builds whose records go, oldest first; never the last one.
    fn doomed(&self, bounds: Bounds, now: SystemTime) -> Result<Vec<u64>, CliError> {
        let numbers = self.numbers()?;
        let look = |number: &u64| {
            let metadata = fs::metadata(self.record_path(*number)).ok();
            let written = metadata.as_ref().and_then(|it| it.modified().ok()).unwrap_or(now);
            let age = now.duration_since(written).unwrap_or_default();
            (*number, metadata.map_or(0, |it| it.len()), age)
        };
        let found: Vec<_> = numbers.iter().map(look).collect();
        let mut bytes: u64 = found.iter().map(|(_, bytes, _)| bytes).sum();
        let mut records = found.len();
        let is_crowded = records > bounds.records || bytes > bounds.bytes;
        let left = |bound: u64| if is_crowded { bound * LEFT / (LEFT + 1) } else { bound };
        let (records_left, bytes_left) = (left(bounds.records as u64), left(bounds.bytes));
        let mut doomed = Vec::new();
        for (number, size, age) in found.iter().take(found.len().saturating_sub(1)) {
            if records as u64 <= records_left && bytes <= bytes_left && *age <= bounds.age {
                break;
            }
            doomed.push(*number);
            records -= 1;
            bytes -= size;
        }
        Ok(doomed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{BuildRecord, Head, Line, VERSION};
    use super::*;

    /// Bounds that nothing passes.
    const WIDE: Bounds = Bounds { records: 100, age: AGE_MAX, bytes: BYTES_MAX };

    fn history() -> (tempfile::TempDir, History) {
        let folder = tempfile::tempdir().unwrap();
        let history = History { folder: folder.path().to_owned() };
        fs::create_dir(history.builds_path()).unwrap();
        (folder, history)
    }

    /// Leaves a record in which each of these actions has a key that names the build.
    fn build(history: &History, actions: &[&str]) -> u64 {
        let line = |build: u64| Line {
            action: format!("key-of-{build}"),
            outcome: "succeeded".to_owned(),
            cpu_seconds: 0.0,
            stdout: None,
            stderr: None,
            ran: None,
        };
        let head = |build| Head {
            version: VERSION,
            build,
            bld: "0".to_owned(),
            patterns: Vec::new(),
            settings: Vec::new(),
            began: 0.0,
            seconds: 0.0,
            failed: false,
            interrupted: false,
            counts: BuildRecord::default(),
            function: "blake3".to_owned(),
            fingerprint: String::new(),
        };
        let record = |build| Record {
            head: head(build),
            lines: actions.iter().map(|name| (Key::from_text(name), line(build))).collect(),
        };
        history.add(|build| record(build).to_text()).unwrap()
    }

    fn keys(history: &History, build: u64) -> Vec<String> {
        let state = history.state(build).unwrap();
        state.keys.iter().map(|(key, action)| format!("{} {action}", key.as_str())).collect()
    }

    #[test]
    fn what_a_key_was_as_of_a_build_stays_known_when_earlier_records_go() {
        let (_folder, history) = history();
        for actions in [&["a", "b"][..], &["b"], &[], &["a", "c"], &[]] {
            build(&history, actions);
        }
        let before: Vec<_> = (1..=5).map(|number| keys(&history, number)).collect();
        assert_eq!(before[1], ["a blake3:key-of-1", "b blake3:key-of-2"]);
        assert_eq!(before[4], ["a blake3:key-of-4", "b blake3:key-of-2", "c blake3:key-of-4"]);

        history.prune(Bounds { records: 4, ..WIDE }, SystemTime::now()).unwrap();
        assert_eq!(history.numbers().unwrap(), [3, 4, 5], "three in four are left");
        for number in 3..=5_usize {
            assert_eq!(keys(&history, number as u64), before[number - 1]);
        }
        assert!(matches!(history.state(2), Err(CliError::NoBuild { .. })));
        assert_eq!(build(&history, &[]), 6, "a number is never given twice");
    }

    #[test]
    fn records_within_all_bounds_stay() {
        let (_folder, history) = history();
        (0..5).for_each(|_| _ = build(&history, &["a"]));
        history.prune(Bounds { records: 5, ..WIDE }, SystemTime::now()).unwrap();
        assert_eq!(history.numbers().unwrap(), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn records_that_are_too_large_together_go_and_the_last_one_never() {
        let (_folder, history) = history();
        (0..4).for_each(|_| _ = build(&history, &["a"]));
        let size = fs::metadata(history.record_path(1)).unwrap().len();
        history.prune(Bounds { bytes: size * 4, ..WIDE }, SystemTime::now()).unwrap();
        assert_eq!(history.numbers().unwrap(), [1, 2, 3, 4]);
        history.prune(Bounds { bytes: size * 3, ..WIDE }, SystemTime::now()).unwrap();
        assert_eq!(history.numbers().unwrap(), [3, 4]);
        history.prune(Bounds { bytes: 1, ..WIDE }, SystemTime::now()).unwrap();
        assert_eq!(history.numbers().unwrap(), [4]);
        assert_eq!(keys(&history, 4), ["a blake3:key-of-4"]);
    }

    #[test]
    fn records_that_are_too_old_go() {
        let (_folder, history) = history();
        (0..3).for_each(|_| _ = build(&history, &["a"]));
        let long_ago = SystemTime::now() - AGE_MAX - Duration::from_secs(1);
        for number in [1, 2] {
            let file = fs::File::options().write(true).open(history.record_path(number)).unwrap();
            file.set_modified(long_ago).unwrap();
        }
        history.prune(WIDE, SystemTime::now()).unwrap();
        assert_eq!(history.numbers().unwrap(), [3]);
    }
}
