//! What tests wrote, out of the store.

use std::fmt::Write as _;

use engine::{Attempt, Tested};
use model::Digest;
use store::LocalStore;

/// Returns a log as text.
pub(crate) fn text(store: &LocalStore, log: Option<Digest>) -> String {
    let Some(digest) = log else { return String::new() };
    match store.read_bytes(digest) {
        Ok(Some(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        Ok(None) | Err(_) => "(this log was evicted from the store)\n".to_owned(),
    }
}

/// Returns what an attempt came to, in words.
pub(crate) fn ending(attempt: &Attempt) -> String {
    attempt.failure.as_ref().map_or_else(|| "passed".to_owned(), ToString::to_string)
}

/// Returns what an attempt is called: nothing, where there is only one.
pub(crate) fn title(tested: &Tested, index: usize) -> String {
    let attempts = &tested.attempts;
    let attempt = &attempts[index];
    let first = attempts.iter().position(|it| it.run == attempt.run).unwrap_or(index);
    let has_runs = attempts.iter().any(|it| it.run != attempt.run);
    let of_run = attempts.iter().filter(|it| it.run == attempt.run).count();
    let mut parts = Vec::new();
    if has_runs {
        parts.push(format!("run {}", attempt.run));
    }
    if of_run > 1 {
        parts.push(format!("attempt {}", index - first + 1));
    }
    parts.join(", ")
}

/// Returns everything that a test wrote, with a line before each attempt and each stream.
pub(crate) fn whole(store: &LocalStore, tested: &Tested) -> String {
    let mut whole = String::new();
    for (index, attempt) in tested.attempts.iter().enumerate() {
        let title = title(tested, index);
        let title = if title.is_empty() { String::new() } else { format!("{title}: ") };
        let seconds = attempt.wall.as_secs_f64();
        let _ = writeln!(whole, "== {title}{}, {seconds:.2} s", ending(attempt));
        for (stream, log) in [("stdout", attempt.stdout), ("stderr", attempt.stderr)] {
            let text = text(store, log);
            if !text.is_empty() {
                let _ = writeln!(whole, "-- {stream}\n{}", text.trim_end_matches('\n'));
            }
        }
    }
    whole
}
