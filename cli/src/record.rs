//! What builds leave behind: a record of each, and where the last log of every action is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use engine::Report;
use model::{Digest, DigestFunction};
use serde::{Deserialize, Serialize};
use store::LocalStore;

use crate::error::CliError;
use crate::settings::Settings;
use crate::workspace::OpenWorkspace;

/// How many records of builds are kept.
const RECORDS_MAX: usize = 200;

/// One build, in numbers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BuildRecord {
    /// Seconds since the epoch.
    pub(crate) ended: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) failures: u64,
    pub(crate) cpu_seconds_spent: f64,
    pub(crate) cpu_seconds_saved: f64,
}

impl BuildRecord {
    pub(crate) fn of(report: &Report) -> Self {
        let counts = report.counts;
        Self {
            ended: now(),
            hits: counts.hits,
            misses: counts.misses,
            failures: counts.failures,
            cpu_seconds_spent: counts.cpu_spent.as_secs_f64(),
            cpu_seconds_saved: counts.cpu_saved.as_secs_f64(),
        }
    }
}

/// The last run of an action.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LastRun {
    pub(crate) label: String,
    pub(crate) cell: BTreeMap<String, String>,
    pub(crate) role: String,
    pub(crate) action: String,
    pub(crate) outcome: String,
    pub(crate) cpu_seconds: f64,
    pub(crate) stdout: Option<String>,
    pub(crate) stderr: Option<String>,
}

/// Returns the time, in seconds since the epoch.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Saves the record of a build, and where its logs are.
pub(crate) fn save(
    workspace: &OpenWorkspace,
    store: &LocalStore,
    report: &Report,
) -> Result<(), CliError> {
    save_record(&store.folder("builds")?, report)?;
    save_last_runs(workspace, store, report)
}

/// Saves the record of a build that had nothing to do.
pub(crate) fn save_idle(settings: &Settings, report: &Report) -> Result<(), CliError> {
    save_record(&settings.store.join("builds"), report)
}

fn save_record(folder: &Path, report: &Report) -> Result<(), CliError> {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    // The names sort by time.
    let name = format!("{nanos:024}-{}", std::process::id());
    let text = serde_json::to_string(&BuildRecord::of(report)).expect("a record has only numbers");
    write(&folder.join(name), &text)?;
    let mut names = list(folder)?;
    names.sort();
    for old in names.iter().rev().skip(RECORDS_MAX) {
        let _ = fs::remove_file(old);
    }
    Ok(())
}

fn save_last_runs(
    workspace: &OpenWorkspace,
    store: &LocalStore,
    report: &Report,
) -> Result<(), CliError> {
    let path = last_runs_path(workspace, store)?;
    let mut runs = read_last_runs(&path);
    let mut changed = false;
    for ran in &report.ran {
        let hex = |digest: Option<Digest>| digest.map(|digest| digest.to_string());
        let key = ran.owner.to_string();
        let outcome = match &ran.failure {
            Some(kind) => kind.to_string(),
            None => "succeeded".to_owned(),
        };
        let run = LastRun {
            label: ran.owner.label.to_string(),
            cell: ran.owner.cell.0.clone(),
            role: ran.owner.role.clone(),
            action: ran.action.to_string(),
            outcome,
            cpu_seconds: ran.cpu.as_secs_f64(),
            stdout: hex(ran.stdout),
            stderr: hex(ran.stderr),
        };
        let same = runs
            .get(&key)
            .is_some_and(|old| old.action == run.action && old.outcome == run.outcome);
        if !same {
            runs.insert(key, run);
            changed = true;
        }
    }
    if changed {
        write(&path, &serde_json::to_string(&runs).expect("a run has only texts and numbers"))?;
    }
    Ok(())
}

/// Returns the last run of every action of a workspace.
pub(crate) fn last_runs(
    workspace: &OpenWorkspace,
    store: &LocalStore,
) -> Result<BTreeMap<String, LastRun>, CliError> {
    Ok(read_last_runs(&last_runs_path(workspace, store)?))
}

/// Returns the records of builds that are kept, oldest first.
pub(crate) fn builds(store: &LocalStore) -> Result<Vec<BuildRecord>, CliError> {
    let mut names = list(&store.folder("builds")?)?;
    names.sort();
    let read = |path: &PathBuf| serde_json::from_str(&fs::read_to_string(path).ok()?).ok();
    Ok(names.iter().filter_map(read).collect())
}

fn last_runs_path(workspace: &OpenWorkspace, store: &LocalStore) -> Result<PathBuf, CliError> {
    let root = workspace.root.to_string_lossy();
    let name = Digest::of(DigestFunction::Blake3, root.as_bytes()).short();
    Ok(store.folder("runs")?.join(name))
}

fn read_last_runs(path: &Path) -> BTreeMap<String, LastRun> {
    // A record that cannot be read is as good as none: it only says where logs are.
    fs::read_to_string(path)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let failed = CliError::disk("list", folder);
    let entries = fs::read_dir(folder).map_err(failed)?;
    Ok(entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect())
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    fs::write(&beside, text).map_err(CliError::disk("write", &beside))?;
    fs::rename(&beside, path).map_err(CliError::disk("write", path))
}
