//! What builds leave behind: a ledger of what was last known of each action, and a record of each build.
//!
//! Plain files in the store, per workspace; nothing of it ever makes one `bld` wait for another. All of it explains and
//! none of it decides: a file that cannot be read is as good as none.

mod base;
mod events;
mod journal;
mod key;
mod ledger;
mod names;
mod output;
mod reason;
mod record;
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use engine::{Pattern, Report};
use model::{ActionDigest, Digest, DigestFunction};
use store::LocalStore;

use base::{Bounds, State};
use ledger::Ledger;

use crate::error::CliError;
use crate::replace::beside;
use crate::workspace::OpenWorkspace;

pub(crate) use events::FanOut;
pub(crate) use journal::{Because, Journal};
pub(crate) use key::{Key, Who};
pub(crate) use ledger::Entry;
pub(crate) use names::Names;
pub(crate) use output::RecordArgs;
pub(crate) use reason::shorten;
pub(crate) use record::{Asked, BuildRecord, Head, Manner, Record};
pub(crate) use trace::trace;

/// The folder of the store that histories lie in.
const FOLDER: &str = "history";

/// How often a number is looked for that no other build has taken: as many may end at once.
const NUMBER_ATTEMPTS_MAX: usize = 1000;

/// The history of a workspace.
#[derive(Clone, Debug)]
pub(crate) struct History {
    folder: PathBuf,
}

/// The last run of an action.
#[derive(Clone, Debug)]
pub(crate) struct LastRun {
    pub(crate) label: String,
    pub(crate) cell: BTreeMap<String, String>,
    pub(crate) role: String,
    pub(crate) action: String,
    pub(crate) outcome: String,
    pub(crate) wall_seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) stdout: Option<String>,
    pub(crate) stderr: Option<String>,
    goals: Vec<ledger::GoalName>,
}

impl LastRun {
    /// Returns whether a pattern stands for the action: for its target, or for a goal whose outputs it makes.
    pub(crate) fn is_meant(&self, pattern: &Pattern) -> bool {
        ledger::is_meant(pattern, self.targets())
    }

    /// Returns the targets and cells under which the action is known: its own, and the goals whose outputs it makes.
    pub(crate) fn targets(&self) -> impl Iterator<Item = (&String, &BTreeMap<String, String>)> {
        let goals = self.goals.iter().map(|(label, cell)| (label, cell));
        goals.chain([(&self.label, &self.cell)])
    }
}

/// Returns the last run of every action of a workspace, by its name.
pub(crate) fn last_runs(
    workspace: &OpenWorkspace,
    store: &LocalStore,
) -> Result<BTreeMap<String, LastRun>, CliError> {
    let ledger = History::open(workspace, store)?.ledger();
    let run = |(key, entry): (Key, Entry)| {
        let Who { label, cell, role } = key.who()?;
        let run = LastRun {
            label,
            cell: cell.0,
            role,
            action: entry.action,
            outcome: entry.outcome,
            wall_seconds: entry.wall_seconds,
            cpu_seconds: entry.cpu_seconds,
            stdout: entry.stdout,
            stderr: entry.stderr,
            goals: entry.goals,
        };
        Some((key.to_string(), run))
    };
    Ok(ledger.entries().filter_map(run).collect())
}

/// Returns what the builds of all workspaces of a store were, in numbers; the oldest first.
pub(crate) fn builds(store: &LocalStore) -> Result<Vec<BuildRecord>, CliError> {
    let mut builds = Vec::new();
    for folder in list(&store.folder(FOLDER)?)? {
        let history = History { folder };
        builds.extend(history.heads()?.into_iter().map(|head| head.counts));
    }
    builds.sort_by_key(|build| build.ended);
    Ok(builds)
}

/// Brings a store down to a size, but keeps what explains the latest keys of all workspaces.
pub(crate) fn collect(store: &LocalStore, budget: u64) -> Result<store::Collected, CliError> {
    let folders = list(&store.folder(FOLDER)?)?;
    let latest = || -> Vec<ActionDigest> {
        let ledger = |folder: PathBuf| Ledger::read(&History { folder }.ledger_path()).latest();
        let mut keys: Vec<_> = folders.iter().cloned().flat_map(ledger).collect();
        keys.sort_by_key(|(build, _)| std::cmp::Reverse(*build));
        keys.into_iter().map(|(_, key)| key).collect()
    };
    Ok(store.collect_but(budget, &latest)?)
}

impl History {
    /// Returns the history of a workspace.
    pub(crate) fn open(workspace: &OpenWorkspace, store: &LocalStore) -> Result<Self, CliError> {
        Self::at(store.root(), workspace)
    }

    /// Returns the history of a workspace in the store at `root`, which need not be opened for it.
    pub(crate) fn at(root: &Path, workspace: &OpenWorkspace) -> Result<Self, CliError> {
        let name = workspace.root.to_string_lossy();
        let name = Digest::of(DigestFunction::Blake3, name.as_bytes()).short();
        let history = Self { folder: root.join(FOLDER).join(name) };
        let builds = history.builds_path();
        fs::create_dir_all(&builds).map_err(CliError::disk("create", &builds))?;
        Ok(history)
    }

    /// Returns what is known of the actions that a pattern stands for, by key.
    pub(crate) fn known(&self, pattern: &Pattern) -> Vec<(Key, Entry)> {
        let ledger = self.ledger();
        let known = ledger
            .entries()
            .filter(|(key, entry)| key.who().is_some_and(|who| entry.is_meant(&who, pattern)));
        known.collect()
    }

    /// Returns what the builds were whose records are kept, the oldest first.
    pub(crate) fn heads(&self) -> Result<Vec<Head>, CliError> {
        let numbers = self.numbers()?.into_iter();
        Ok(numbers.filter_map(|number| record::read_head(&self.record_path(number))).collect())
    }

    /// Returns the number of the build that a text names: a number, `last`, or `last-1` for the one before.
    pub(crate) fn find(&self, text: &str) -> Result<u64, CliError> {
        let numbers = self.numbers()?;
        let unknown = || CliError::NoBuild { text: text.to_owned(), known: range(&numbers) };
        let back = match text.strip_prefix("last") {
            Some("") => Some(0),
            Some(back) => {
                Some(back.strip_prefix('-').and_then(|it| it.parse().ok()).ok_or_else(unknown)?)
            }
            None => None,
        };
        let number = match back {
            Some(back) => numbers.iter().rev().nth(back).copied(),
            None => text.parse().ok().filter(|number| numbers.contains(number)),
        };
        number.ok_or_else(unknown)
    }

    /// Returns the record of a build.
    pub(crate) fn record(&self, build: u64) -> Result<Record, CliError> {
        let record = Record::read(&self.record_path(build))?;
        record.ok_or_else(|| self.no_build(build))
    }

    /// Returns the keys of all actions as they were known after a build.
    pub(crate) fn keys(&self, build: u64) -> Result<BTreeMap<Key, ActionDigest>, CliError> {
        let parse = |(key, text): (Key, String)| {
            let (function, action) = text.split_once(':')?;
            let digest = Digest::parse(function.parse().ok()?, action).ok()?;
            Some((key, ActionDigest(digest)))
        };
        Ok(self.state(build)?.keys.into_iter().filter_map(parse).collect())
    }

    fn state(&self, build: u64) -> Result<State, CliError> {
        let numbers = self.numbers()?;
        if !numbers.contains(&build) {
            return Err(self.no_build(build));
        }
        let mut state = State::read(&self.base_path());
        for number in numbers.into_iter().filter(|number| *number <= build) {
            if let Some(record) = Record::read(&self.record_path(number))? {
                state.apply(&record);
            }
        }
        Ok(state)
    }

    fn no_build(&self, build: u64) -> CliError {
        let known = self.numbers().map(|numbers| range(&numbers)).unwrap_or_default();
        CliError::NoBuild { text: build.to_string(), known }
    }

    /// Notes that the results of these actions are gone, because somebody does not believe them.
    pub(crate) fn doubt(&self, actions: &BTreeSet<ActionDigest>) -> Result<(), CliError> {
        let mut ledger = self.ledger();
        let doubted: Vec<_> = ledger
            .entries()
            .filter(|(_, entry)| entry.digest().is_some_and(|it| actions.contains(&it)))
            .collect();
        let through = doubted.iter().map(|(_, entry)| entry.build).max().unwrap_or_default();
        for (key, entry) in doubted {
            ledger.insert(key, &Entry { kept: false, ..entry });
        }
        ledger.write(&self.ledger_path(), through)
    }

    /// Leaves the record of a build that found everything as the last one had left it.
    pub(crate) fn save_idle(&self, asked: &Asked, report: &Report) -> Result<(), CliError> {
        let mut head = Head::of(SystemTime::now(), asked, report);
        if let Some(last) = self.last_head()? {
            (head.function, head.fingerprint) = (last.function, last.fingerprint);
        }
        self.add(|build| {
            head.build = build;
            Record { head: head.clone(), lines: BTreeMap::new() }.to_text()
        })?;
        self.prune(Bounds::default(), SystemTime::now())
    }

    /// Keeps a record under the next number, which is given to the text that is written.
    fn add(&self, mut text: impl FnMut(u64) -> String) -> Result<u64, CliError> {
        let last = self.numbers()?.last().copied();
        // Numbers are not given twice, even if all records have gone since.
        let last = last.unwrap_or_else(|| State::read(&self.base_path()).through);
        for number in (last + 1..).take(NUMBER_ATTEMPTS_MAX) {
            let beside = beside(&self.folder.join("record"));
            fs::write(&beside, text(number)).map_err(CliError::disk("write", &beside))?;
            let path = self.record_path(number);
            let linked = fs::hard_link(&beside, &path);
            let _ = fs::remove_file(&beside);
            match linked {
                // Another build has ended at the same time and was given this number.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(CliError::disk("write", &path)(error)),
                Ok(()) => return Ok(number),
            }
        }
        let exhausted = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        Err(CliError::disk("number", &self.builds_path())(exhausted))
    }

    fn last_head(&self) -> Result<Option<Head>, CliError> {
        let last = self.numbers()?.last().copied();
        Ok(last.and_then(|number| record::read_head(&self.record_path(number))))
    }

    /// Returns the numbers of the builds whose records are kept, in order.
    fn numbers(&self) -> Result<Vec<u64>, CliError> {
        let number = |path: &PathBuf| path.file_name()?.to_str()?.parse().ok();
        let mut numbers: Vec<u64> = list(&self.builds_path())?.iter().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn ledger(&self) -> Ledger {
        Ledger::read(&self.ledger_path())
    }

    fn ledger_path(&self) -> PathBuf {
        self.folder.join("ledger")
    }

    fn base_path(&self) -> PathBuf {
        self.folder.join("base")
    }

    fn builds_path(&self) -> PathBuf {
        self.folder.join("builds")
    }

    fn record_path(&self, number: u64) -> PathBuf {
        self.builds_path().join(number.to_string())
    }
}

/// Returns which builds are known, for people.
fn range(numbers: &[u64]) -> String {
    match numbers {
        [] => "no build of this workspace is known".to_owned(),
        [only] => format!("only build {only} is known"),
        [first, .., last] => format!("builds {first} to {last} are known"),
    }
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let failed = CliError::disk("list", folder);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    Ok(entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect())
}
