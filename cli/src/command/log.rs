//! `bld log`: what the last run of an action wrote.

use std::process::ExitCode;

use model::Digest;
use serde_json::json;
use store::LocalStore;

use crate::elsewhere::Elsewhere;
use crate::error::CliError;
use crate::exit;
use crate::history::last_runs;
use crate::nearly;
use crate::settings::Settings;
use crate::terminal::{say, say_json};
use crate::workspace::OpenWorkspace;

#[derive(Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// A target, maybe with {axis=value}
    #[arg(value_name = "LABEL")]
    pub(crate) pattern: String,
}

pub(crate) fn run(settings: &Settings, args: &LogArgs) -> Result<ExitCode, CliError> {
    let workspace = OpenWorkspace::find(settings)?;
    let store = settings.open_store(workspace.config.function)?;
    let patterns = workspace.patterns(std::slice::from_ref(&args.pattern))?;
    let runs = last_runs(&workspace, &store)?;
    let found: Vec<_> = runs.iter().filter(|(_, run)| run.is_meant(&patterns[0])).collect();
    if found.is_empty() {
        let hint = nearly::known(&runs, &patterns[0]);
        return Err(CliError::NoLog { pattern: args.pattern.clone(), hint });
    }
    let elsewhere = Elsewhere::of(settings, &workspace)?;
    let text = |log: Option<&str>| text(&store, &elsewhere, log);
    if settings.json {
        let answer: Vec<_> = found
            .iter()
            .map(|(name, run)| {
                json!({
                    "name": name,
                    "label": run.label,
                    "cell": run.cell,
                    "role": run.role,
                    "outcome": run.outcome,
                    "action": run.action,
                    "wall_seconds": run.wall_seconds,
                    "cpu_seconds": run.cpu_seconds,
                    "stdout": text(run.stdout.as_deref()),
                    "stderr": text(run.stderr.as_deref()),
                })
            })
            .collect();
        say_json(&json!(answer));
        return Ok(exit::SUCCESS);
    }
    for (name, run) in found {
        say(&format!("== {name}: {} ({:.1} CPU seconds)", run.outcome, run.cpu_seconds));
        for (stream, digest) in [("stdout", &run.stdout), ("stderr", &run.stderr)] {
            if let Some(text) = text(digest.as_deref()) {
                say(&format!("-- {stream}"));
                say(text.trim_end());
            }
        }
    }
    Ok(exit::SUCCESS)
}

fn text(store: &LocalStore, elsewhere: &Elsewhere, digest: Option<&str>) -> Option<String> {
    let digest = Digest::parse(store.function(), digest?).ok()?;
    let here = store.read_bytes(digest).ok().flatten();
    match here.or_else(|| elsewhere.read(digest)) {
        Some(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        None => Some("(this log was evicted from the store)".to_owned()),
    }
}
