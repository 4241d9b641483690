//! What came of tests, for people and in JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use store::LocalStore;

use super::verdicts::{Judged, Word};
use super::{logs, results};
use crate::command::test::ShownOutput;
use crate::history::Because;
use crate::terminal::{Paint, count, say, say_json};
use crate::workspace::OpenWorkspace;

/// Prints the logs that are wanted, a line for each test, and counts.
pub(crate) fn text(
    workspace: &OpenWorkspace,
    store: &LocalStore,
    all: &[Judged<'_>],
    shown: ShownOutput,
) {
    for judged in all {
        show_logs(store, judged, shown);
    }
    let paint = Paint::for_stdout();
    let width = all.iter().map(|judged| judged.name().len()).max().unwrap_or_default();
    for judged in all {
        let name = judged.name();
        let word = coloured(paint, judged.word);
        let seconds = judged.tested.map(|_| format!("{:8.2} s", judged.wall().as_secs_f64()));
        let line = format!("{name:<width$}  {word} {}", seconds.unwrap_or_default());
        say(format!("{}{}", line.trim_end(), remark(judged)).trim_end());
        if let (Word::Failed | Word::TimedOut | Word::Flaky | Word::UnexpectedPass, Some(log)) =
            (judged.word, results::log_place(workspace, judged))
        {
            let log = log.strip_prefix(&workspace.root).unwrap_or(&log);
            say(&format!("{:width$}  the whole log: {}", "", log.display()));
        }
    }
    let words: Vec<_> =
        counts(all).iter().map(|(word, number)| format!("{number} {}", word.as_str())).collect();
    say(&format!("{}: {}", count(all.len() as u64, "test"), words.join(", ")));
}

fn counts(all: &[Judged<'_>]) -> BTreeMap<Word, u64> {
    let mut counts = BTreeMap::new();
    for judged in all {
        *counts.entry(judged.word).or_default() += 1;
    }
    counts
}

fn coloured(paint: Paint, word: Word) -> String {
    let text = format!("{:<9}", word.as_str());
    match word {
        Word::Passed => paint.green(&text),
        Word::Cached => text,
        Word::Flaky | Word::Skipped => paint.yellow(&text),
        Word::Failed | Word::TimedOut | Word::NotBuilt | Word::UnexpectedPass => paint.red(&text),
        Word::Excluded | Word::ExpectedFailure | Word::Unavailable => paint.dim(&text),
    }
}

/// Returns what there is to say of a test beyond its word and time.
fn remark(judged: &Judged<'_>) -> String {
    let attempts = judged.tested.map(|tested| tested.attempts.as_slice()).unwrap_or_default();
    let failed = attempts.iter().filter(|attempt| attempt.failure.is_some()).count();
    let of_many = match attempts.len() {
        0 | 1 => String::new(),
        all if failed == 0 => format!("  {all} runs"),
        all => format!("  {failed} of {all} attempts failed"),
    };
    match (judged.word, judged.failure) {
        (Word::Failed, Some(failure)) => format!("{of_many}  {}", failure.kind),
        (Word::NotBuilt | Word::ExpectedFailure, Some(failure)) => {
            format!("{of_many}  {}: {}", failure.owner, failure.kind)
        }
        (Word::UnexpectedPass, _) => format!("{of_many}  take it out of `xfail`"),
        (Word::Unavailable, _) => {
            judged.unavailable.map(|why| format!("  {why}")).unwrap_or_default()
        }
        _ => of_many,
    }
}

fn show_logs(store: &LocalStore, judged: &Judged<'_>, shown: ShownOutput) {
    if let (Word::NotBuilt, Some(failure)) = (judged.word, judged.failure)
        && shown != ShownOutput::None
    {
        say(&format!("== {}: {}: {}", judged.name(), failure.owner, failure.kind));
        for log in [failure.stdout, failure.stderr] {
            say_log(&logs::text(store, log));
        }
    }
    let Some(tested) = judged.tested else { return };
    for (index, attempt) in tested.attempts.iter().enumerate() {
        let is_wanted = match shown {
            ShownOutput::All => true,
            ShownOutput::Errors => {
                attempt.failure.is_some() && judged.word != Word::ExpectedFailure
            }
            ShownOutput::None => false,
        };
        if !is_wanted {
            continue;
        }
        let title = logs::title(tested, index);
        let title = if title.is_empty() { title } else { format!(", {title}") };
        let cached = if tested.cached { ", cached" } else { "" };
        say(&format!("== {}{title}: {}{cached}", judged.name(), logs::ending(attempt)));
        for log in [attempt.stdout, attempt.stderr] {
            say_log(&logs::text(store, log));
        }
    }
}

fn say_log(text: &str) {
    if !text.is_empty() {
        say(text.trim_end_matches('\n'));
    }
}

/// Prints the answer in JSON.
pub(crate) fn json(
    workspace: &OpenWorkspace,
    store: &LocalStore,
    all: &[Judged<'_>],
    because: &[Because],
) {
    let tests: Vec<_> = all.iter().map(|judged| test_json(workspace, store, judged)).collect();
    let counts = counts(all);
    let number = |word: &Word| (key(*word), counts.get(word).copied().unwrap_or_default());
    let summary: BTreeMap<_, _> = Word::ALL.iter().map(number).collect();
    let ran = because.iter().map(|it| json!({ "action": it.name, "reason": it.reason }));
    let ran: Vec<_> = ran.collect();
    say_json(&json!({ "tests": tests, "ran": ran, "summary": summary }));
}

/// Returns a word as programs read it.
fn key(word: Word) -> String {
    word.as_str().replace(' ', "_")
}

fn test_json(workspace: &OpenWorkspace, store: &LocalStore, judged: &Judged<'_>) -> Value {
    let attempts = judged.tested.map(|tested| tested.attempts.as_slice()).unwrap_or_default();
    let attempts: Vec<_> = attempts
        .iter()
        .map(|attempt| {
            json!({
                "run": attempt.run,
                "outcome": logs::ending(attempt),
                "seconds": attempt.wall.as_secs_f64(),
                "stdout": logs::text(store, attempt.stdout),
                "stderr": logs::text(store, attempt.stderr),
            })
        })
        .collect();
    json!({
        "label": judged.goal.label.to_string(),
        "cell": judged.goal.cell.0,
        "status": key(judged.word),
        "seconds": judged.wall().as_secs_f64(),
        "attempts": attempts,
        "results": results::place(workspace, judged),
        "log": results::log_place(workspace, judged),
        "failure": judged.failure.map(|failure| json!({
            "action": failure.owner.to_string(),
            "kind": failure.kind.to_string(),
        })),
    })
}
