//! `bld lock`, and the lock that a build makes for itself.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use fetch::{Lock, Locker, Mode, Network, Report};
use model::DigestFunction;
use serde_json::json;

use crate::args::LockArgs;
use crate::error::CliError;
use crate::exit;
use crate::interrupt::Interrupts;
use crate::outside::Outside;
use crate::progress::Display;
use crate::settings::Settings;
use crate::terminal::{count, say, say_json};
use crate::workspace::OpenWorkspace;

/// How many changes of one target are named one by one; of more, only the number is told.
const CHANGES_SHOWN: usize = 20;

/// The group of what is in none.
const NO_GROUP: &str = "-";

pub(crate) fn run(settings: &Settings, args: &LockArgs) -> Result<ExitCode, CliError> {
    let workspace = OpenWorkspace::find(settings)?;
    let store = settings.open_store(workspace.config.function)?;
    let requests = workspace.requests()?;
    let display = Display::new(settings.json);
    let _interrupts = Interrupts::watch(&display, settings.json)?;
    let network = network(args.offline);
    let outside = Outside::new(&workspace, &store, requests, network, display)?;
    let old = read(&workspace.lock_path())?;
    if args.locked {
        check(old.as_ref(), &outside, store.function())?;
        if settings.json {
            say_json(&json!({ "current": true }));
        } else {
            say("bld.lock is current");
        }
        return Ok(exit::SUCCESS);
    }
    let (lock, report) = resolve(&workspace, &outside, old.as_ref(), Mode::All)?;
    store.set_roots(&workspace.root, &lock.trees().into_iter().collect::<Vec<_>>())?;
    outside.display.finish();
    answer(settings, &lock, &report);
    Ok(exit::SUCCESS)
}

/// Whether something may be downloaded.
pub(crate) fn network(offline: bool) -> Network {
    if offline { Network::Offline } else { Network::Online }
}

/// Returns the workspace's lock, made or completed if it does not meet what the workspace asks for.
pub(crate) fn ensure(
    workspace: &OpenWorkspace,
    outside: &Outside,
    locked: bool,
) -> Result<Lock, CliError> {
    let path = workspace.lock_path();
    let function = outside.store.function();
    let old = read(&path)?;
    if let Some(lock) = &old
        && lock.is_current(&outside.requests, function).is_ok()
    {
        return Ok(old.expect("it was just looked at"));
    }
    if outside.requests.is_empty() && old.is_none() {
        return Ok(Lock::new(function));
    }
    if locked {
        check(old.as_ref(), outside, function)?;
    }
    // Builds that start at once in one workspace lock it once.
    let _alone = workspace.alone("locking")?;
    let old = read(&path)?;
    if let Some(lock) = &old
        && lock.is_current(&outside.requests, function).is_ok()
    {
        return Ok(old.expect("it was just looked at"));
    }
    let (lock, report) = resolve(workspace, outside, old.as_ref(), Mode::Missing)?;
    let changes = report.added.len() + report.upgraded.len();
    outside.display.line(&format!("locked {} in bld.lock", count(changes as u64, "item")));
    Ok(lock)
}

fn check(old: Option<&Lock>, outside: &Outside, function: DigestFunction) -> Result<(), CliError> {
    let blank = Lock::new(function);
    let current = old.unwrap_or(&blank).is_current(&outside.requests, function);
    current.map_err(CliError::Locked)
}

fn resolve(
    workspace: &OpenWorkspace,
    outside: &Outside,
    old: Option<&Lock>,
    mode: Mode,
) -> Result<(Lock, Report), CliError> {
    let locker = Locker {
        store: &outside.store,
        sources: &outside.sources,
        progress: &*outside.display,
        unpacker: &outside.unpacker,
        downloader: &outside.downloader,
        cache: outside.cache.clone(),
    };
    let resolved = locker.lock(&outside.requests, old, mode);
    let (lock, report) = resolved.map_err(|error| CliError::Fetch(Box::new(error)))?;
    write(&workspace.lock_path(), &lock.to_string())?;
    Ok((lock, report))
}

fn read(path: &Path) -> Result<Option<Lock>, CliError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(Lock::parse(&text)?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CliError::disk("read", path)(error)),
    }
}

/// Writes beside and renames: a lock is never half there.
fn write(path: &Path, text: &str) -> Result<(), CliError> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let beside = path.with_extension(format!("lock.{}", std::process::id()));
    fs::write(&beside, text).map_err(CliError::disk("write", &beside))?;
    fs::rename(&beside, path).map_err(CliError::disk("write", path))
}

fn answer(settings: &Settings, lock: &Lock, report: &Report) {
    let lists = [
        ("added", &report.added),
        ("removed", &report.removed),
        ("upgraded", &report.upgraded),
        ("vanished", &report.kept_vanished),
    ];
    if settings.json {
        let names = |changes: &Vec<fetch::Change>| -> Vec<String> {
            changes.iter().map(describe).collect()
        };
        let mut answer = json!({ "trees": lock.trees().len(), "warnings": report.warnings });
        for (kind, changes) in lists {
            answer[kind] = json!(names(changes));
        }
        say_json(&answer);
        return;
    }
    for (kind, changes) in lists {
        tell_changes(kind, changes);
    }
    let changed = if report.is_empty() { "unchanged" } else { "written" };
    say(&format!("bld.lock {changed}: {}", count(lock.trees().len() as u64, "tree")));
}

fn tell_changes(kind: &str, changes: &[fetch::Change]) {
    let mut groups: BTreeMap<(&str, &str), Vec<&fetch::Change>> = BTreeMap::new();
    for change in changes {
        groups.entry((&change.label, &change.group)).or_default().push(change);
    }
    for ((label, group), changes) in groups {
        let packages = count(changes.len() as u64, "package");
        if group != NO_GROUP {
            say(&format!("{kind} {label}: {group} ({packages})"));
        } else if changes.len() > CHANGES_SHOWN {
            say(&format!("{kind} {label}: {packages}"));
        } else {
            for change in changes {
                say(&format!("{kind} {}", describe(change)));
            }
        }
    }
}

fn describe(change: &fetch::Change) -> String {
    let group =
        if change.group == NO_GROUP { String::new() } else { format!("{}: ", change.group) };
    let version = match (&change.from, &change.to) {
        (Some(from), Some(to)) => format!("{from} → {to}"),
        (from, to) => from.as_ref().or(to.as_ref()).cloned().unwrap_or_default(),
    };
    format!("{} {group}{} {version}", change.label, change.name)
}
