//! What came of each test, in one word.

use std::sync::Arc;
use std::time::Duration;

use engine::{Failure, Goal, GoalOutcome, GoalStatus, Plan, Report, Tested, Verdict};

/// What came of a test, and all that is known of it.
pub(crate) struct Judged<'a> {
    pub(crate) goal: &'a Goal,
    pub(crate) word: Word,
    /// What was run; `None` if nothing was.
    pub(crate) tested: Option<&'a Tested>,
    /// Why it did not pass.
    pub(crate) failure: Option<&'a Arc<Failure>>,
    /// Why it cannot be had.
    pub(crate) unavailable: Option<&'a str>,
}

/// What came of a test, in one word; in the order in which they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Word {
    Passed,
    Cached,
    Flaky,
    Failed,
    TimedOut,
    /// Something that the test needs failed.
    NotBuilt,
    /// Another failure stopped the build first.
    Skipped,
    Excluded,
    /// It failed, as it must.
    ExpectedFailure,
    /// It passed, though it must fail.
    UnexpectedPass,
    /// Something that it needs is not there, and that is nobody's mistake.
    Unavailable,
}

impl Word {
    pub(crate) const ALL: [Self; 11] = [
        Self::Passed,
        Self::Cached,
        Self::Flaky,
        Self::Failed,
        Self::TimedOut,
        Self::NotBuilt,
        Self::Skipped,
        Self::Excluded,
        Self::ExpectedFailure,
        Self::UnexpectedPass,
        Self::Unavailable,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Cached => "cached",
            Self::Flaky => "flaky",
            Self::Failed => "failed",
            Self::TimedOut => "timed out",
            Self::NotBuilt => "not built",
            Self::Skipped => "skipped",
            Self::Excluded => "excluded",
            Self::ExpectedFailure => "xfail",
            Self::UnexpectedPass => "xpass",
            Self::Unavailable => "unavailable",
        }
    }
}

impl Judged<'_> {
    /// Returns what the test is called.
    pub(crate) fn name(&self) -> String {
        format!("{}{}", self.goal.label, self.goal.cell)
    }

    /// Returns how long all attempts took; for a cached test, how long it took then.
    pub(crate) fn wall(&self) -> Duration {
        let attempts = self.tested.map(|tested| tested.attempts.as_slice()).unwrap_or_default();
        attempts.iter().map(|attempt| attempt.wall).sum()
    }
}

/// Returns what came of each test of the plan, in its order.
pub(crate) fn of<'a>(plan: &'a Plan, report: &'a Report) -> Vec<Judged<'a>> {
    let judge = |(goal, outcome): (&'a Goal, &'a GoalOutcome)| {
        let node = goal.results.as_ref().map(|results| results.results.node);
        let tested = node.and_then(|node| report.tested.get(&node));
        let failure = outcome.status.failure();
        let word = word(tested, &outcome.status);
        Judged { goal, word, tested, failure, unavailable: goal.unavailable.as_deref() }
    };
    plan.goals.iter().zip(&report.goals).map(judge).collect()
}

fn word(tested: Option<&Tested>, status: &GoalStatus) -> Word {
    match (status, tested.map(|tested| (tested.verdict(), tested.cached))) {
        (GoalStatus::Excluded, _) => Word::Excluded,
        (GoalStatus::ExpectedFailure(_), _) => Word::ExpectedFailure,
        (GoalStatus::UnexpectedPass, _) => Word::UnexpectedPass,
        (GoalStatus::Unavailable(_), _) => Word::Unavailable,
        (_, Some((Verdict::Passed, true))) => Word::Cached,
        (_, Some((Verdict::Passed, false))) => Word::Passed,
        (_, Some((Verdict::Flaky, _))) => Word::Flaky,
        (_, Some((Verdict::Failed, _))) => Word::Failed,
        (_, Some((Verdict::TimedOut, _))) => Word::TimedOut,
        (GoalStatus::Failed(_), None) => Word::NotBuilt,
        (GoalStatus::Built | GoalStatus::Cached | GoalStatus::Skipped, None) => Word::Skipped,
    }
}
