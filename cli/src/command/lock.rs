//! `bld lock`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use fetch::{Lock, Mode, Report};
use serde_json::json;

use crate::error::CliError;
use crate::exit;
use crate::lockfile::{self, network};
use crate::outside::Outside;
use crate::progress::Display;
use crate::settings::Settings;
use crate::terminal::{count, say, say_json};
use crate::workspace::OpenWorkspace;

/// How many changes of one target are named one by one; of more, only the number is told.
const CHANGES_SHOWN: usize = 20;

/// The group of what is in none.
const NO_GROUP: &str = "-";

#[derive(Debug, clap::Args)]
pub(crate) struct LockArgs {
    /// Do not change bld.lock; fail if it would have to
    #[arg(long)]
    pub(crate) locked: bool,

    /// Do not download
    #[arg(long)]
    pub(crate) offline: bool,
}

pub(crate) fn run(settings: &Settings, args: &LockArgs) -> Result<ExitCode, CliError> {
    let workspace = OpenWorkspace::find(settings)?;
    let store = settings.open_store(workspace.config.function)?;
    let requests = workspace.requests()?;
    let display = Display::new(settings.json);
    let _interrupts = settings.interrupts(&display)?;
    let network = network(args.offline);
    let outside = Outside::new(&workspace, &store, requests, network, display)?;
    let old = lockfile::read(&workspace)?;
    if args.locked {
        lockfile::check(old.as_ref(), &outside, store.function())?;
        if settings.json {
            say_json(&json!({ "current": true }));
        } else {
            say("bld.lock is current");
        }
        return Ok(exit::SUCCESS);
    }
    let (lock, report) = lockfile::resolve(&workspace, &outside, old.as_ref(), Mode::All)?;
    store.set_roots(&workspace.root, &lock.trees().into_iter().collect::<Vec<_>>())?;
    outside.display.finish();
    answer(settings, &lock, &report);
    Ok(exit::SUCCESS)
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
