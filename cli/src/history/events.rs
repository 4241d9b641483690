//! The event stream of a build: a line of JSON for each thing that happens, written as it happens.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use engine::{Events, GoalOutcome, Owner, Plan, Ran};
use serde_json::{Value, json};
use store::StoreError;

use super::journal::{Journal, outcome};
use super::record::Record;
use crate::ci::Ci;
use crate::error::CliError;
use crate::grid;
use crate::terminal::chain;
use crate::written::make_folder;

/// The version of the stream: it stands in its first line.
const VERSION: u32 = 1;

/// Tells several listeners what a build does, in order.
pub(crate) struct FanOut(pub(crate) Vec<Arc<dyn Events>>);

impl Events for FanOut {
    fn started(&self, owner: &Owner) {
        self.0.iter().for_each(|it| it.started(owner));
    }

    fn finished(&self, ran: &Ran) {
        self.0.iter().for_each(|it| it.finished(ran));
    }

    fn hit(&self, ran: &Ran) {
        self.0.iter().for_each(|it| it.hit(ran));
    }

    fn abandoned(&self, owner: &Owner) {
        self.0.iter().for_each(|it| it.abandoned(owner));
    }

    fn goal(&self, index: usize, outcome: &GoalOutcome) {
        self.0.iter().for_each(|it| it.goal(index, outcome));
    }

    fn degraded(&self, error: &StoreError) {
        self.0.iter().for_each(|it| it.degraded(error));
    }

    fn uploading(&self, left: usize) {
        self.0.iter().for_each(|it| it.uploading(left));
    }
}

/// Writes what a build does, a line for each event.
pub(crate) struct EventLog {
    began: Instant,
    plan: Arc<Plan>,
    journal: Arc<Journal>,
    out: Mutex<Out>,
}

struct Out {
    file: Box<dyn Write + Send>,
    ci: Ci,
    /// The first line that could not be written; nothing is written after it.
    failed: Option<std::io::Error>,
    ended: bool,
}

impl Out {
    fn line(&mut self, value: &Value) {
        if self.failed.is_none() && !self.ended {
            // In one piece, so that whoever follows the file never sees half a line.
            let line = self.ci.tame_json(&format!("{value}\n"));
            let written = self.file.write_all(line.as_bytes());
            self.failed = written.and_then(|()| self.file.flush()).err();
        }
    }
}

impl EventLog {
    /// Begins a stream; `-` is standard output.
    pub(super) fn begin(
        path: &Path,
        patterns: &[String],
        plan: &Arc<Plan>,
        journal: &Arc<Journal>,
    ) -> Result<Arc<Self>, CliError> {
        let is_stdout = path == Path::new("-");
        let file: Box<dyn Write + Send> = if is_stdout {
            Box::new(std::io::stdout())
        } else {
            make_folder(path)?;
            Box::new(File::create(path).map_err(CliError::disk("create", path))?)
        };
        // Whoever keeps the log of this must not take it for commands.
        let ci = if is_stdout { Ci::detect() } else { Ci::Plain };
        let out = Out { file, ci, failed: None, ended: false };
        let log = Self {
            began: Instant::now(),
            plan: Arc::clone(plan),
            journal: Arc::clone(journal),
            out: Mutex::new(out),
        };
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        log.write(json!({
            "event": "build_started",
            "version": VERSION,
            "bld": env!("CARGO_PKG_VERSION"),
            "time": time.as_secs_f64(),
            "patterns": patterns,
            "goals": plan.goals.len(),
        }));
        Ok(Arc::new(log))
    }

    /// Ends the stream of a build that came to its end.
    pub(super) fn end(&self, path: &Path, record: &Record) -> Result<(), CliError> {
        self.write(json!({
            "event": "build_finished",
            "build": record.head.build,
            "outcome": record.head.word(),
            "summary": record.head.counts,
        }));
        let mut out = self.out.lock().expect("no holder panics");
        out.ended = true;
        match out.failed.take() {
            // Who reads standard output may have seen enough.
            Some(error) if path != Path::new("-") => Err(CliError::disk("write", path)(error)),
            _ => Ok(()),
        }
    }

    fn write(&self, mut event: Value) {
        event["at"] = json!(self.began.elapsed().as_secs_f64());
        self.out.lock().expect("no holder panics").line(&event);
    }
}

/// A build that breaks off says so; one that is killed leaves a stream without an end.
impl Drop for EventLog {
    fn drop(&mut self) {
        let event = json!({ "event": "build_finished", "build": null, "outcome": "broke off" });
        self.write(event);
    }
}

fn event(name: &str, owner: &Owner) -> Value {
    json!({
        "event": name,
        "name": owner.to_string(),
        "label": owner.label.to_string(),
        "cell": owner.cell.0,
        "role": owner.role,
    })
}

fn told(name: &str, ran: &Ran) -> Value {
    let mut event = event(name, &ran.owner);
    event["action"] = json!(ran.action.to_string());
    event["outcome"] = json!(outcome(ran.failure.as_ref()));
    event["cpu_seconds"] = json!(ran.cpu.as_secs_f64());
    event["stdout"] = json!(ran.stdout.map(|it| it.to_string()));
    event["stderr"] = json!(ran.stderr.map(|it| it.to_string()));
    event
}

impl Events for EventLog {
    fn started(&self, owner: &Owner) {
        self.write(event("action_started", owner));
    }

    fn finished(&self, ran: &Ran) {
        let mut event = told("action_finished", ran);
        event["wall_seconds"] = json!(ran.wall.as_secs_f64());
        event["began"] = json!(ran.executed.map(|span| span.began.as_secs_f64()));
        event["ended"] = json!(ran.executed.map(|span| span.ended.as_secs_f64()));
        event["reason"] = json!(self.journal.reason(ran));
        self.write(event);
    }

    fn hit(&self, ran: &Ran) {
        let mut event = told("action_cached", ran);
        event["from"] = json!(if ran.from_remote { "remote" } else { "local" });
        self.write(event);
    }

    fn degraded(&self, error: &StoreError) {
        self.write(json!({ "event": "remote_failed", "error": chain(error) }));
    }

    fn abandoned(&self, owner: &Owner) {
        self.write(event("action_abandoned", owner));
    }

    fn goal(&self, index: usize, outcome: &GoalOutcome) {
        let goal = &self.plan.goals[index];
        let failure = outcome.status.failure().map(|failure| {
            json!({
                "action": failure.owner.to_string(),
                "kind": failure.kind.to_string(),
                "remembered": failure.remembered,
            })
        });
        self.write(json!({
            "event": "goal",
            "label": goal.label.to_string(),
            "cell": goal.cell.0,
            "status": grid::Status::of(&outcome.status).name(),
            "failure": failure,
        }));
    }
}
