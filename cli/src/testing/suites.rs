//! Tests as `JUnit` has them: a suite for each package, a case for each run of each cell.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use engine::{Attempt, Tested};
use store::LocalStore;

use super::logs;
use super::verdicts::{Judged, Word};
use crate::junit::{Case, CaseOutcome, Suite};

/// How much of a log goes into the document: programs that read it hold it in memory whole. The end is kept.
const LOG_BYTES_MAX: usize = 1 << 20;

/// Returns the suites; tests that were not run now are in them as they were when they were.
pub(crate) fn of(store: &LocalStore, all: &[Judged<'_>]) -> Vec<Suite> {
    let mut suites: BTreeMap<String, Vec<Case>> = BTreeMap::new();
    for judged in all {
        let name = format!("//{}", judged.goal.label.package);
        suites.entry(name).or_default().extend(cases(store, judged));
    }
    suites.into_iter().map(|(name, cases)| Suite { name, cases }).collect()
}

fn cases(store: &LocalStore, judged: &Judged<'_>) -> Vec<Case> {
    let name = format!("{}{}", judged.goal.label.name, judged.goal.cell);
    let class = judged.goal.label.to_string();
    let Some(tested) = judged.tested else {
        let outcome = not_run(store, judged);
        let (stdout, stderr) = (String::new(), String::new());
        return vec![Case { name, class, seconds: 0.0, outcome, stdout, stderr }];
    };
    let runs: Vec<&[Attempt]> =
        tested.attempts.chunk_by(|one, other| one.run == other.run).collect();
    let case = |run: &&[Attempt]| {
        let last = run.last().expect("a run has an attempt");
        let name = if runs.len() > 1 { format!("{name} run {}", last.run) } else { name.clone() };
        Case {
            name,
            class: class.clone(),
            seconds: run.iter().map(|attempt| attempt.wall.as_secs_f64()).sum(),
            outcome: outcome(store, judged.word, last),
            stdout: format!(
                "{}{}",
                earlier(store, tested, run),
                end_of(&logs::text(store, last.stdout))
            ),
            stderr: end_of(&logs::text(store, last.stderr)),
        }
    };
    runs.iter().map(case).collect()
}

fn outcome(store: &LocalStore, word: Word, attempt: &Attempt) -> CaseOutcome {
    match (word, &attempt.failure) {
        (Word::UnexpectedPass, None) => CaseOutcome::Failed {
            message: "it was to fail and passes now".to_owned(),
            text: String::new(),
        },
        (_, None) => CaseOutcome::Passed,
        (Word::ExpectedFailure, Some(kind)) => {
            CaseOutcome::Skipped { message: format!("failed as expected: {kind}") }
        }
        (_, Some(kind)) => {
            let log = logs::text(store, attempt.stdout) + &logs::text(store, attempt.stderr);
            CaseOutcome::Failed { message: kind.to_string(), text: end_of(&log) }
        }
    }
}

fn not_run(store: &LocalStore, judged: &Judged<'_>) -> CaseOutcome {
    match (judged.word, judged.failure) {
        (Word::ExpectedFailure, Some(failure)) => {
            let message = format!("failed as expected: {}: {}", failure.owner, failure.kind);
            CaseOutcome::Skipped { message }
        }
        (_, Some(failure)) => {
            let log = logs::text(store, failure.stdout) + &logs::text(store, failure.stderr);
            let message = format!("not built: {}: {}", failure.owner, failure.kind);
            CaseOutcome::Error { message, text: end_of(&log) }
        }
        (Word::Unavailable, None) => {
            let why = judged.unavailable.unwrap_or_default();
            CaseOutcome::Skipped { message: format!("unavailable: {why}") }
        }
        (Word::Excluded, None) => CaseOutcome::Skipped { message: "excluded".to_owned() },
        _ => CaseOutcome::Skipped { message: "another failure stopped the build".to_owned() },
    }
}

/// Returns what the attempts before the last one came to: a test that passed in the end may have failed before.
fn earlier(store: &LocalStore, tested: &Tested, run: &[Attempt]) -> String {
    let Some((_, earlier)) = run.split_last() else { return String::new() };
    let first = tested.attempts.iter().position(|it| it.run == run[0].run).unwrap_or_default();
    let mut text = String::new();
    for (index, attempt) in earlier.iter().enumerate() {
        let log = logs::text(store, attempt.stdout) + &logs::text(store, attempt.stderr);
        let title = logs::title(tested, first + index);
        let _ = writeln!(text, "== {title}: {}\n{}", logs::ending(attempt), end_of(&log));
    }
    text
}

fn end_of(log: &str) -> String {
    if log.len() <= LOG_BYTES_MAX {
        return log.to_owned();
    }
    let mut from = log.len() - LOG_BYTES_MAX;
    while !log.is_char_boundary(from) {
        from += 1;
    }
    format!("(the first {from} bytes are left out)\n{}", &log[from..])
}
