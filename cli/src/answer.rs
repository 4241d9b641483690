//! What a build says at its end.

use std::time::Duration;

use engine::{Goal, GoalStatus, Plan, Report, Transfer};
use model::RelativePath;
use serde_json::{Value, json};
use store::LocalStore;

use crate::ci::Ci;
use crate::grid::{self, Grid, Status};
use crate::history::{Because, BuildRecord};
use crate::output;
use crate::settings::Settings;
use crate::size::ByteSize;
use crate::terminal::{Paint, chain, count, say, say_json, tell, tell_service};
use crate::workspace::OpenWorkspace;

/// How many lines of a failed action's log are shown.
const LOG_LINES_SHOWN: usize = 12;

/// How many failures are shown with their logs; the grid and the log files have them all.
const FAILURES_SHOWN: usize = 5;

/// What came of a build, and where it happened.
pub(crate) struct Answer<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) workspace: &'a OpenWorkspace,
    /// Where logs are; `None` where nothing can have failed.
    pub(crate) store: Option<&'a LocalStore>,
    pub(crate) plan: &'a Plan,
    pub(crate) report: &'a Report,
    /// How many files there are under `bld-out`.
    pub(crate) files: u64,
    /// Why things ran.
    pub(crate) because: &'a [Because],
}

impl Answer<'_> {
    /// Returns the grid of what came of every goal.
    pub(crate) fn grid(&self) -> Grid {
        Grid::new(self.plan, self.report, &|failure| {
            self.store.map(|store| output::failure_text(store, failure)).unwrap_or_default()
        })
    }

    /// Prints all of it.
    pub(crate) fn print(&self) {
        if self.settings.json {
            say_json(&self.json());
            return;
        }
        grid::print(&self.grid());
        self.show_failures();
        self.show_unexpected();
        self.print_counts();
    }

    fn json(&self) -> Value {
        let goals = self.plan.goals.iter().zip(&self.report.goals).map(|(goal, outcome)| {
            let place = |(path, _): &(RelativePath, _)| output::place(self.workspace, goal, path);
            json!({
                "label": goal.label.to_string(),
                "cell": goal.cell.0,
                "status": Status::of(&outcome.status).name(),
                "reason": unavailable(&outcome.status),
                "outputs": outcome.outputs.iter().map(place).collect::<Vec<_>>(),
                "failure": self.failure_json(goal, &outcome.status),
            })
        });
        let ran = self.because.iter();
        let ran = ran.map(|it| json!({ "action": it.name, "reason": it.reason }));
        json!({
            "goals": goals.collect::<Vec<_>>(),
            "ran": ran.collect::<Vec<_>>(),
            "summary": BuildRecord::of(self.report),
        })
    }

    fn failure_json(&self, goal: &Goal, status: &GoalStatus) -> Value {
        let Some(failure) = status.failure() else { return Value::Null };
        let place = |log| output::place(self.workspace, goal, log);
        json!({
            "action": failure.owner.to_string(),
            "kind": failure.kind.to_string(),
            "remembered": failure.remembered,
            "log": goal.failure_log.as_ref().map(place),
        })
    }

    fn print_counts(&self) {
        let seconds = |duration: Duration| duration.as_secs_f64();
        let counts = self.report.counts;
        if let Some(only) = self.makes_nothing() {
            let where_used = "what it declares is made where other targets need it";
            say(&format!("nothing to build: {only} makes no files itself; {where_used}"));
            return;
        }
        let from_remote = match counts.remote_hits {
            0 => String::new(),
            hits => format!("{hits} from the remote, "),
        };
        let saved = seconds(counts.cpu_saved);
        if counts.misses == 0 && counts.failures == 0 {
            let cached = count(counts.hits, "action");
            let from_remote = match counts.remote_hits {
                0 => String::new(),
                _ => format!(" ({from_remote}saving {saved:.1} CPU seconds)"),
            };
            say(&format!("nothing to do: {cached} cached{from_remote}"));
        } else {
            say(&format!(
                "{} ran ({:.1} CPU seconds), {} cached ({from_remote}saving {saved:.1}), {} failed",
                count(counts.misses, "action"),
                seconds(counts.cpu_spent),
                counts.hits,
                counts.failures
            ));
        }
        if let Some(line) = self.report.transfer.as_ref().and_then(transferred) {
            say(&line);
        }
        let output = self.workspace.output();
        let shown = output.strip_prefix(&self.settings.directory).unwrap_or(&output);
        say(&format!("{} under {}/", count(self.files, "file"), shown.display()));
    }

    /// Returns what was asked for, if that is nothing that is ever made by itself.
    fn makes_nothing(&self) -> Option<String> {
        let wanted = || self.plan.goals.iter().filter(|goal| goal.is_wanted());
        let mut labels: Vec<_> = wanted().map(|goal| goal.label.to_string()).collect();
        labels.dedup();
        let counts = self.report.counts;
        let idle = counts.hits + counts.misses + counts.failures == 0;
        let bare = wanted().all(|goal| goal.outputs.is_empty());
        (idle && bare && !labels.is_empty()).then(|| match labels.as_slice() {
            [only] => only.clone(),
            all => format!("each of {} targets", all.len()),
        })
    }

    /// Shows the first failures with the beginning of their logs.
    pub(crate) fn show_failures(&self) {
        if let Some(store) = self.store {
            show_failures(self.workspace, store, self.plan, self.report);
        }
    }

    /// Says which cells were to fail and do so no more.
    fn show_unexpected(&self) {
        let paint = Paint::for_stderr();
        let mut passed = 0_usize;
        for (goal, outcome) in self.plan.goals.iter().zip(&self.report.goals) {
            if !matches!(outcome.status, GoalStatus::UnexpectedPass) {
                continue;
            }
            passed += 1;
            if passed <= FAILURES_SHOWN {
                let (label, cell) = (&goal.label, &goal.cell);
                tell(&format!(
                    "{} {label}{cell} was to fail and passes now: take it out of `xfail`",
                    paint.red("xpass:")
                ));
            }
        }
        if passed > FAILURES_SHOWN {
            tell(&format!("and {} more that pass", passed - FAILURES_SHOWN));
        }
    }
}

/// Returns what went to and from the remote, if anything did.
fn transferred(transfer: &Transfer) -> Option<String> {
    let mut parts = Vec::new();
    if transfer.downloaded_bytes > 0 {
        let bytes = ByteSize(transfer.downloaded_bytes);
        parts.push(format!("downloaded {bytes} ({})", count(transfer.downloaded_blobs, "blob")));
    }
    if transfer.uploaded_results > 0 {
        let results = count(transfer.uploaded_results, "result");
        parts.push(format!("uploaded {results}, {}", ByteSize(transfer.uploaded_bytes)));
    }
    if transfer.not_uploaded > 0 {
        let because = transfer.because.as_deref().map(|error| chain(error).join(": "));
        let because = because.unwrap_or_else(|| "too many waited".to_owned());
        parts.push(format!("{} could not be uploaded: {because}", transfer.not_uploaded));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Shows the first failures with the beginning of their logs.
pub(crate) fn show_failures(
    workspace: &OpenWorkspace,
    store: &LocalStore,
    plan: &Plan,
    report: &Report,
) {
    let paint = Paint::for_stderr();
    let mut shown = Vec::new();
    for (goal, outcome) in plan.goals.iter().zip(&report.goals) {
        let GoalStatus::Failed(failure) = &outcome.status else { continue };
        // One action may be why many goals failed.
        if shown.contains(&failure.owner) {
            continue;
        }
        shown.push(failure.owner.clone());
        if shown.len() > FAILURES_SHOWN {
            continue;
        }
        let again = if failure.remembered {
            " (remembered; bld build --retry-failed runs it again)"
        } else {
            ""
        };
        tell(&format!("{} {}: {}{again}", paint.red("failed:"), failure.owner, failure.kind));
        let log = output::failure_text(store, failure);
        let first = log.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let (owner, text) = (failure.owner.to_string(), format!("{}: {first}", failure.kind));
        tell_service(Ci::detect().error(None, &owner, &text));
        let lines: Vec<_> = log.lines().filter(|line| !line.trim().is_empty()).collect();
        for line in lines.iter().take(LOG_LINES_SHOWN) {
            tell(&format!("    {line}"));
        }
        if lines.len() > LOG_LINES_SHOWN {
            tell(&format!("    … {} more lines", lines.len() - LOG_LINES_SHOWN));
        }
        match &goal.failure_log {
            Some(path) => {
                let place = output::place(workspace, goal, path);
                tell(&format!("    the whole log: {}", place.display()));
            }
            None if !lines.is_empty() => {
                let (label, cell) = (&failure.owner.label, &failure.owner.cell);
                tell(&format!("    the whole log: bld log '{label}{cell}'"));
            }
            None => {}
        }
    }
    if shown.len() > FAILURES_SHOWN {
        tell(&format!("and {} more failures", shown.len() - FAILURES_SHOWN));
    }
}

fn unavailable(status: &GoalStatus) -> Option<&str> {
    match status {
        GoalStatus::Unavailable(reason) => Some(reason),
        GoalStatus::Built
        | GoalStatus::Cached
        | GoalStatus::Excluded
        | GoalStatus::Failed(_)
        | GoalStatus::Skipped
        | GoalStatus::ExpectedFailure(_)
        | GoalStatus::UnexpectedPass => None,
    }
}
