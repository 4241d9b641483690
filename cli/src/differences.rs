//! What differed when actions were run again, explained for people and for programs.

use std::fmt::Write as _;

use engine::{FailureKind, Goal, OutputDifference, Reproduction, Verified};
use executor::Variation;
use formats::difference::{Cause, DifferenceLimits, Finding, Hint, explain};
use model::Node;
use serde_json::{Value, json};
use store::LocalStore;

use crate::command::verify::{Culprits, Verification};
use crate::error::CliError;
use crate::terminal::{Paint, say, say_json};

/// How many files of one action are looked into; the others are only named.
const FILES_EXPLAINED: usize = 10;

/// The largest file that is looked into, in bytes: it and its other version are held in memory.
const FILE_BYTES_MAX: u64 = 512 << 20;

/// How many lines are shown of what a run that failed wrote.
const LOG_LINES_SHOWN: usize = 12;

/// How many findings of one file are printed; JSON has all.
const FINDINGS_SHOWN: usize = 5;

/// An action that did not make again what is recorded, and how what it made differs.
pub(crate) struct Explained<'a> {
    verified: &'a Verified,
    culprits: Option<&'a Culprits>,
    files: Vec<(&'a OutputDifference, Vec<Finding>)>,
    /// The first lines of what a run that failed wrote.
    log: Vec<String>,
}

/// Looks into everything that differs.
pub(crate) fn explain_all<'a>(
    store: &LocalStore,
    verification: &'a Verification,
) -> Result<Vec<Explained<'a>>, CliError> {
    let hints = hints(verification);
    let explained = verification.suspicious().map(|verified| {
        let outputs: &[OutputDifference] = match &verified.verdict {
            Reproduction::Differs { outputs, .. } => outputs,
            Reproduction::Reproducible
            | Reproduction::Failed { .. }
            | Reproduction::Untried { .. } => &[],
        };
        let mut files = Vec::new();
        for (number, output) in outputs.iter().enumerate() {
            let looked_into = number < FILES_EXPLAINED;
            let findings = if looked_into { look(store, output, &hints)? } else { Vec::new() };
            files.push((output, findings));
        }
        let culprits = verification.culprits.get(&verified.node);
        Ok(Explained { verified, culprits, files, log: log(store, &verified.verdict)? })
    });
    explained.collect()
}

fn log(store: &LocalStore, verdict: &Reproduction) -> Result<Vec<String>, CliError> {
    let Reproduction::Failed { stdout, stderr, .. } = verdict else { return Ok(Vec::new()) };
    let mut lines = Vec::new();
    // What went wrong is on standard error.
    for digest in [stderr, stdout].into_iter().flatten() {
        let bytes = store.read_bytes(*digest)?.unwrap_or_default();
        lines.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned));
    }
    lines.truncate(LOG_LINES_SHOWN);
    Ok(lines)
}

fn hints(verification: &Verification) -> Vec<Hint> {
    let hint = |variation: Variation| {
        let cause = match variation {
            Variation::Time => Cause::Time,
            Variation::Path => Cause::Path,
            Variation::Host => Cause::Host,
            Variation::User => Cause::User,
            Variation::Cpus => Cause::Cpus,
            Variation::Umask => Cause::Umask,
            Variation::Locale => Cause::Locale,
            Variation::Readdir => Cause::Order,
        };
        variation.words().iter().map(move |(left, right)| Hint {
            cause,
            left: (*left).to_owned(),
            right: (*right).to_owned(),
        })
    };
    verification.variations.iter().copied().flat_map(hint).collect()
}

fn look(
    store: &LocalStore,
    output: &OutputDifference,
    hints: &[Hint],
) -> Result<Vec<Finding>, CliError> {
    let digest = |node: &Option<Node>| match node {
        Some(Node::File { digest, .. }) if digest.size() <= FILE_BYTES_MAX => Some(*digest),
        _ => None,
    };
    let (Some(left), Some(right)) = (digest(&output.recorded), digest(&output.again)) else {
        return Ok(Vec::new());
    };
    let (Some(left), Some(right)) = (store.read_bytes(left)?, store.read_bytes(right)?) else {
        return Ok(Vec::new());
    };
    Ok(explain(&left, &right, hints, DifferenceLimits::default()))
}

/// Says how one action differs.
pub(crate) fn say_one(paint: Paint, runs: u16, verification: &Verification, it: &Explained<'_>) {
    let owner = &it.verified.owner;
    match &it.verified.verdict {
        Reproduction::Failed { kind, .. } => {
            say(&format!(
                "{} {owner}: it was done once, and now fails: {kind}",
                paint.red("failed:")
            ));
            for line in &it.log {
                say(&format!("    {line}"));
            }
            return;
        }
        Reproduction::Differs { runs: differing, .. } => {
            let times =
                if runs == 1 { String::new() } else { format!(" in {differing} of {runs} runs") };
            say(&format!("{} {owner}{times}", paint.red("differs:")));
        }
        Reproduction::Untried { reason } => {
            say(&format!(
                "{} {owner}: what it needs is not there: {reason}",
                paint.red("untried:")
            ));
            return;
        }
        Reproduction::Reproducible => return,
    }
    if let Some(line) = culprits_text(verification, it.culprits) {
        say(&format!("    {line}"));
    }
    for (output, findings) in &it.files {
        let how = nodes_differ(output);
        say(&format!(
            "    {}{}",
            output.path,
            if findings.is_empty() { format!(": {how}") } else { String::new() }
        ));
        for finding in findings.iter().take(FINDINGS_SHOWN) {
            say(&format!("        {}", finding_text(finding)));
            say(&format!("            recorded  {}", finding.left));
            say(&format!("            again     {}", finding.right));
        }
        if findings.len() > FINDINGS_SHOWN {
            say(&format!("        … {} more differences", findings.len() - FINDINGS_SHOWN));
        }
    }
}

fn culprits_text(verification: &Verification, culprits: Option<&Culprits>) -> Option<String> {
    let culprits = culprits?;
    if culprits.by_itself {
        return Some("it differs each time, with nothing perturbed but the time".to_owned());
    }
    let names: Vec<_> = culprits.variations.iter().map(|it| it.name()).collect();
    if names.is_empty() {
        let all: Vec<_> = verification.variations.iter().map(|it| it.name()).collect();
        return Some(format!("it differs only with all of these together: {}", all.join(", ")));
    }
    Some(format!("it differs with --perturb {} alone, and not without", names.join(" or ")))
}

fn finding_text(finding: &Finding) -> String {
    let mut text = finding.place.join(" > ");
    if let Some(offset) = finding.offset {
        let separator = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{separator}byte {offset}");
    }
    if let Some(cause) = finding.cause {
        let _ = write!(text, ": probably {cause}");
    }
    text
}

/// Returns in words how two nodes differ that are not two files with different bytes.
fn nodes_differ(output: &OutputDifference) -> String {
    let kind = |node: &Option<Node>| match node {
        None => "not there".to_owned(),
        Some(Node::Directory(_)) => "a folder".to_owned(),
        Some(Node::Symlink(target)) => format!("a link to {target}"),
        Some(Node::File { digest, executable }) => {
            let executable = if *executable { "executable " } else { "" };
            format!("an {executable}file of {} bytes ({})", digest.size(), digest.short())
                .replace("an file", "a file")
        }
    };
    format!("recorded is {}, now it is {}", kind(&output.recorded), kind(&output.again))
}

/// Prints everything as JSON.
pub(crate) fn say_as_json(
    runs: u16,
    cells: &[(&Goal, &'static str)],
    verification: &Verification,
    explained: &[Explained<'_>],
) {
    let actions: Vec<_> = verification
        .verified
        .iter()
        .map(|it| {
            let explained =
                explained.iter().find(|explained| explained.verified.action == it.action);
            action_json(it, explained)
        })
        .collect();
    let cells: Vec<_> = cells
        .iter()
        .map(|(goal, word)| {
            json!({ "label": goal.label.to_string(), "cell": goal.cell.0, "verdict": word })
        })
        .collect();
    let names: Vec<_> = verification.variations.iter().map(|it| it.name()).collect();
    let count = |wanted: fn(&Reproduction) -> bool| {
        verification.verified.iter().filter(|it| wanted(&it.verdict)).count()
    };
    say_json(&json!({
        "runs": runs,
        "perturbed": names,
        "actions": actions,
        "cells": cells,
        "summary": {
            "reproducible": count(|it| matches!(it, Reproduction::Reproducible)),
            "differs": count(|it| matches!(it, Reproduction::Differs { .. })),
            "failed": count(|it| matches!(it, Reproduction::Failed { .. })),
            "untried": count(|it| matches!(it, Reproduction::Untried { .. })),
        },
    }));
}

fn action_json(verified: &Verified, explained: Option<&Explained<'_>>) -> Value {
    let failure = |kind: &FailureKind| Some(kind.to_string());
    let (word, runs, failure) = match &verified.verdict {
        Reproduction::Reproducible => ("reproducible", 0, None),
        Reproduction::Differs { runs, .. } => ("differs", *runs, None),
        Reproduction::Failed { kind, .. } => ("failed", 0, failure(kind)),
        Reproduction::Untried { reason } => ("untried", 0, Some(reason.clone())),
    };
    let files = explained.map(|it| it.files.iter().map(file_json).collect::<Vec<_>>());
    let culprits = explained.and_then(|it| it.culprits).map(|it| {
        let names: Vec<_> = it.variations.iter().map(|it| it.name()).collect();
        json!({ "by_itself": it.by_itself, "with": names })
    });
    json!({
        "name": verified.owner.to_string(),
        "action": verified.action.to_string(),
        "verdict": word,
        "runs_differing": runs,
        "failure": failure,
        "log": explained.map(|it| it.log.as_slice()).unwrap_or_default(),
        "culprits": culprits,
        "differences": files.unwrap_or_default(),
    })
}

fn file_json((output, findings): &(&OutputDifference, Vec<Finding>)) -> Value {
    let digest = |node: &Option<Node>| match node {
        Some(Node::File { digest, .. }) => Some(digest.to_string()),
        Some(Node::Directory(tree)) => Some(tree.to_string()),
        Some(Node::Symlink(target)) => Some(target.to_string()),
        None => None,
    };
    let findings: Vec<_> = findings
        .iter()
        .map(|it| {
            json!({
                "place": it.place,
                "offset": it.offset,
                "recorded": it.left,
                "again": it.right,
                "cause": it.cause.map(Cause::name),
            })
        })
        .collect();
    json!({
        "path": output.path.to_string(),
        "recorded": digest(&output.recorded),
        "again": digest(&output.again),
        "findings": findings,
    })
}
