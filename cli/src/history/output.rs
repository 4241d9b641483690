//! What a build is asked to say of itself, besides its answer.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::events::EventLog;
use super::journal::{Because, Journal};
use super::reason::Kind;
use super::record::Record;
use super::trace::trace;
use crate::error::CliError;
use crate::settings::Settings;
use crate::terminal::count;
use crate::written::{NamedFile, make_folder, refuse_twice};

/// How many reasons are shown unless all are asked for: the first ones explain the others.
const REASONS_SHOWN: usize = 5;

/// What a build says of itself, besides its answer.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct RecordArgs {
    /// Say of every action that ran why it did
    #[arg(long)]
    pub(crate) explain: bool,

    /// Write what happens, as it happens: JSON, a line for each event; - is standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) events: Option<PathBuf>,

    /// Write when things ran, for a trace viewer
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
}

impl RecordArgs {
    /// Returns whether standard output holds events, and so no answer.
    pub(crate) fn takes_stdout(&self) -> bool {
        self.events.as_deref() == Some(Path::new("-"))
    }

    /// Checks that only one thing is written to standard output, and to each file; `others` are asked for, too.
    pub(crate) fn check(&self, settings: &Settings, others: &[NamedFile]) -> Result<(), CliError> {
        if settings.json && self.takes_stdout() {
            return Err(CliError::TwoAnswers);
        }
        let events = self.events.as_ref().filter(|_| !self.takes_stdout());
        let own = [("--events", events), ("--trace", self.trace.as_ref())];
        let own = own.into_iter().filter_map(|(option, path)| Some((option, path?)));
        let own = own.map(|(option, path)| (option, settings.directory.join(path)));
        refuse_twice(&own.chain(others.iter().cloned()).collect::<Vec<_>>())
    }

    /// Begins the event stream, if one is wanted.
    pub(crate) fn begin(
        &self,
        settings: &Settings,
        patterns: &[String],
        plan: &Arc<engine::Plan>,
        journal: &Arc<Journal>,
    ) -> Result<Option<Arc<EventLog>>, CliError> {
        let path = self.events.as_deref().map(|path| resolve(settings, path));
        path.map(|path| EventLog::begin(&path, patterns, plan, journal)).transpose()
    }

    /// Ends the event stream and writes the trace, as far as they are wanted.
    pub(crate) fn end(
        &self,
        settings: &Settings,
        events: Option<&EventLog>,
        record: &Record,
    ) -> Result<(), CliError> {
        if let Some((events, path)) = events.zip(self.events.as_deref()) {
            events.end(path, record)?;
        }
        let Some(path) = &self.trace else { return Ok(()) };
        let path = resolve(settings, path);
        let text = trace(record).to_string();
        make_folder(&path)?;
        fs::write(&path, text).map_err(CliError::disk("write", &path))
    }

    /// Returns the lines that say why things ran: what changed first, what is new only counted, unless all is wanted.
    pub(crate) fn reasons(&self, because: &[Because]) -> Vec<String> {
        let line = |it: &Because| format!("{} ran because {}", it.name, it.reason.text);
        if self.explain {
            return because.iter().map(line).collect();
        }
        let is_new = |it: &&Because| it.reason.kind == Kind::New;
        let (new, others): (Vec<_>, Vec<_>) = because.iter().partition(is_new);
        let mut lines: Vec<_> = others.iter().take(REASONS_SHOWN).copied().map(line).collect();
        match new.as_slice() {
            [] => {}
            [only] if lines.len() < REASONS_SHOWN => lines.push(line(only)),
            _ if new.len() == 1 => lines.push("1 action was never built before".to_owned()),
            _ => {
                let number = count(new.len() as u64, "action");
                lines.push(format!("{number} were never built before"));
            }
        }
        let rest = others.len().saturating_sub(REASONS_SHOWN);
        if rest > 0 {
            lines
                .push(format!("and {} more ran; --explain says why", count(rest as u64, "action")));
        }
        lines
    }
}

/// Returns a path as it is meant from where the command works; `-` stays what it is.
fn resolve(settings: &Settings, path: &Path) -> PathBuf {
    if path == Path::new("-") { path.to_owned() } else { settings.directory.join(path) }
}
