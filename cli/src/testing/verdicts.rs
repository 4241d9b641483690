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
}

impl Word {
    pub(crate) const ALL: [Self; 8] = [
        Self::Passed,
        Self::Cached,
        Self::Flaky,
        Self::Failed,
        Self::TimedOut,
        Self::NotBuilt,
        Self::Skipped,
        Self::Excluded,
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
        let failure = match &outcome.status {
            GoalStatus::Failed(failure) => Some(failure),
            GoalStatus::Built | GoalStatus::Cached | GoalStatus::Excluded | GoalStatus::Skipped => {
                None
            }
        };
        Judged { goal, word: word(tested, &outcome.status), tested, failure }
    };
    plan.goals.iter().zip(&report.goals).map(judge).collect()
}

fn word(tested: Option<&Tested>, status: &GoalStatus) -> Word {
    let Some(tested) = tested else {
        return match status {
            GoalStatus::Excluded => Word::Excluded,
            GoalStatus::Failed(_) => Word::NotBuilt,
            GoalStatus::Built | GoalStatus::Cached | GoalStatus::Skipped => Word::Skipped,
        };
    };
    match tested.verdict() {
        Verdict::Passed if tested.cached => Word::Cached,
        Verdict::Passed => Word::Passed,
        Verdict::Flaky => Word::Flaky,
        Verdict::Failed => Word::Failed,
        Verdict::TimedOut => Word::TimedOut,
    }
}
