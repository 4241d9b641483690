//! The record of a build: one line that says what it was, and a line for each action that ran or has a new key.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use engine::{Pattern, Report, Span};
use serde::{Deserialize, Serialize};

use super::key::Key;
use super::reason::Reason;
use crate::clock;
use crate::error::CliError;

/// The version of a record.
pub(super) const VERSION: u32 = 1;

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
    /// Those of the hits that were found in the remote.
    #[serde(default)]
    pub(crate) remote_hits: u64,
    /// What came from the remote.
    #[serde(default)]
    pub(crate) downloaded_bytes: u64,
    /// How many results went there, with how many bytes that were not there yet, and how many did not get there.
    #[serde(default)]
    pub(crate) uploaded_results: u64,
    #[serde(default)]
    pub(crate) uploaded_bytes: u64,
    #[serde(default)]
    pub(crate) not_uploaded: u64,
}

impl BuildRecord {
    pub(crate) fn of(report: &Report) -> Self {
        let ended = clock::now();
        let counts = report.counts;
        let transfer = report.transfer.clone().unwrap_or_default();
        Self {
            ended,
            hits: counts.hits,
            misses: counts.misses,
            failures: counts.failures,
            cpu_seconds_spent: counts.cpu_spent.as_secs_f64(),
            cpu_seconds_saved: counts.cpu_saved.as_secs_f64(),
            remote_hits: counts.remote_hits,
            downloaded_bytes: transfer.downloaded_bytes,
            uploaded_results: transfer.uploaded_results,
            uploaded_bytes: transfer.uploaded_bytes,
            not_uploaded: transfer.not_uploaded,
        }
    }
}

/// What a build was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// The patterns, as they are meant from the root.
    pub(crate) patterns: Vec<String>,
    /// What `--set` said.
    pub(crate) settings: Vec<String>,
}

impl Asked {
    pub(crate) fn new(patterns: &[Pattern], settings: &[String]) -> Self {
        let patterns = patterns.iter().map(|it| format!("{}{}", it.targets, it.cells));
        Self { patterns: patterns.collect(), settings: settings.to_vec() }
    }
}

/// How a build goes about it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// Whether results are recorded.
    pub(crate) kept: bool,
    /// Whether what failed before is tried again.
    pub(crate) retries_failed: bool,
    /// Whether tests run that passed before.
    pub(crate) tests_again: bool,
}

/// What a build was: the first line of its record.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    pub(crate) version: u32,
    /// Its number in the workspace.
    pub(crate) build: u64,
    /// The version of `bld`.
    pub(crate) bld: String,
    /// What was asked for.
    pub(crate) patterns: Vec<String>,
    /// What `--set` said.
    pub(crate) settings: Vec<String>,
    /// Seconds since the epoch.
    pub(crate) began: f64,
    /// How long it took.
    pub(crate) seconds: f64,
    /// Whether something that was asked for is not there.
    pub(crate) failed: bool,
    /// Whether it was broken off.
    #[serde(default)]
    pub(crate) interrupted: bool,
    pub(crate) counts: BuildRecord,
    /// The function of all digests here.
    pub(crate) function: String,
    /// What all keys and outcomes hash to: equal where nothing is different from another build.
    pub(crate) fingerprint: String,
}

impl Head {
    /// Returns how the build ended, in a word or two.
    pub(crate) fn word(&self) -> &'static str {
        match (self.interrupted, self.failed) {
            (true, _) => "broke off",
            (false, true) => "failed",
            (false, false) => "succeeded",
        }
    }

    /// Returns what a build was that ends now, but for its number and what its keys hash to.
    pub(super) fn of(began: SystemTime, asked: &Asked, report: &Report) -> Self {
        Self {
            version: VERSION,
            build: 0,
            bld: env!("CARGO_PKG_VERSION").to_owned(),
            patterns: asked.patterns.clone(),
            settings: asked.settings.clone(),
            began: began.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
            seconds: began.elapsed().unwrap_or_default().as_secs_f64(),
            failed: report.has_failed(),
            interrupted: report.interrupted,
            counts: BuildRecord::of(report),
            function: String::new(),
            fingerprint: String::new(),
        }
    }
}

/// What a build did about one action.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    /// Its key.
    pub(crate) action: String,
    /// `succeeded`, or how it failed.
    pub(crate) outcome: String,
    pub(crate) cpu_seconds: f64,
    pub(crate) stdout: Option<String>,
    pub(crate) stderr: Option<String>,
    /// When it ran and why; `None` if its result was found.
    pub(crate) ran: Option<Run>,
}

/// One running of an action.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Run {
    /// Seconds since the build began.
    pub(crate) began: f64,
    pub(crate) ended: f64,
    pub(crate) reason: Reason,
    /// Whether it is part of the chain that took longest.
    pub(crate) critical: bool,
}

impl Run {
    pub(crate) fn span(&self) -> Span {
        let duration =
            |seconds| std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
        Span { began: duration(self.began), ended: duration(self.ended) }
    }
}

/// A build's record.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) head: Head,
    pub(crate) lines: BTreeMap<Key, Line>,
}

impl Record {
    pub(super) fn to_text(&self) -> String {
        let mut text = serde_json::to_string(&self.head).expect("a head has texts and numbers");
        text.push('\n');
        for (key, line) in &self.lines {
            text.push_str(key.as_str());
            text.push('\t');
            text += &serde_json::to_string(line).expect("a line has texts and numbers");
            text.push('\n');
        }
        text
    }

    /// Reads a record; `None` if it is not there, or of another version.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, CliError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CliError::disk("read", path)(error)),
        };
        let mut lines = text.lines();
        let Some(head) = lines.next().and_then(parse_head) else { return Ok(None) };
        let parse = |line: &str| {
            let (key, line) = line.split_once('\t')?;
            Some((Key::from_text(key), serde_json::from_str(line).ok()?))
        };
        Ok(Some(Self { head, lines: lines.filter_map(parse).collect() }))
    }
}

/// Reads only what a build was; `None` if that cannot be read.
pub(super) fn read_head(path: &Path) -> Option<Head> {
    let mut line = String::new();
    BufReader::new(File::open(path).ok()?).read_line(&mut line).ok()?;
    parse_head(&line)
}

fn parse_head(line: &str) -> Option<Head> {
    let head: Head = serde_json::from_str(line).ok()?;
    (head.version == VERSION).then_some(head)
}
