//! What came of a build.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{ActionDigest, Digest, Node, RelativePath};
use store::StoreError;

use super::Tested;
use crate::graph::{NodeId, Owner};
use crate::plan::Goal;

/// What came of a build.
#[derive(Debug, Default)]
pub struct Report {
    /// What came of each goal, in the plan's order.
    pub goals: Vec<GoalOutcome>,
    /// How many actions there were.
    pub counts: Counts,
    /// What each action did, those found in the cache too, by owner.
    pub ran: Vec<Ran>,
    /// What came of each test, by its node.
    pub tested: BTreeMap<NodeId, Tested>,
    /// What went to and from the remote, if there is one.
    pub transfer: Option<Transfer>,
    /// Whether it was broken off; then it says nothing of goals.
    pub interrupted: bool,
}

impl Report {
    /// Returns whether something that was asked for is not there.
    pub fn has_failed(&self) -> bool {
        let lacks = |status: &GoalStatus| match status {
            GoalStatus::Failed(_) | GoalStatus::Skipped | GoalStatus::UnexpectedPass => true,
            GoalStatus::Built
            | GoalStatus::Cached
            | GoalStatus::Excluded
            | GoalStatus::ExpectedFailure(_)
            | GoalStatus::Unavailable(_) => false,
        };
        self.goals.iter().any(|goal| lacks(&goal.status))
    }
}

/// How many actions there were, and what they cost or saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Actions whose results were found.
    pub hits: u64,
    /// Those of them that were found in the remote.
    pub remote_hits: u64,
    /// Actions that ran.
    pub misses: u64,
    /// Actions that failed, now or as remembered.
    pub failures: u64,
    /// Processor time of what ran.
    pub cpu_spent: Duration,
    /// Processor time that the results found had cost when they were made.
    pub cpu_saved: Duration,
}

impl Counts {
    /// Counts an action.
    pub(super) fn add(&mut self, ran: &Ran) {
        if ran.executed.is_none() {
            self.hits += 1;
            self.remote_hits += u64::from(ran.from_remote);
            self.cpu_saved += ran.cpu;
        } else {
            self.misses += 1;
            self.cpu_spent += ran.cpu;
        }
        self.failures += u64::from(ran.failure.is_some());
    }

    /// Leaves only what ran.
    pub(super) fn forget_hits(&mut self) {
        let Self { misses, cpu_spent, .. } = *self;
        *self = Self { misses, cpu_spent, ..Self::default() };
    }
}

/// What went to and from a remote.
#[derive(Clone, Debug, Default)]
pub struct Transfer {
    /// How many blobs came.
    pub downloaded_blobs: u64,
    /// How many bytes they have.
    pub downloaded_bytes: u64,
    /// How many results went.
    pub uploaded_results: u64,
    /// How many blobs went for them: those that were not there.
    pub uploaded_blobs: u64,
    /// How many bytes those have.
    pub uploaded_bytes: u64,
    /// How many results did not get there.
    pub not_uploaded: u64,
    /// Why the first of them did not.
    pub because: Option<Arc<StoreError>>,
}

impl Transfer {
    /// Returns what went and came in two builds, one right after the other.
    #[must_use]
    pub fn after(self, first: &Self) -> Self {
        Self {
            downloaded_blobs: self.downloaded_blobs + first.downloaded_blobs,
            downloaded_bytes: self.downloaded_bytes + first.downloaded_bytes,
            uploaded_results: self.uploaded_results + first.uploaded_results,
            uploaded_blobs: self.uploaded_blobs + first.uploaded_blobs,
            uploaded_bytes: self.uploaded_bytes + first.uploaded_bytes,
            not_uploaded: self.not_uploaded + first.not_uploaded,
            because: first.because.clone().or(self.because),
        }
    }
}

/// What came of one goal.
#[derive(Clone, Debug)]
pub struct GoalOutcome {
    /// How it ended.
    pub status: GoalStatus,
    /// What it made: path below its package's output folder, and what stands there.
    pub outputs: Vec<(RelativePath, Node)>,
}

impl GoalOutcome {
    fn bare(status: GoalStatus) -> Self {
        Self { status, outputs: Vec::new() }
    }

    /// Returns whether this stays as it is as long as nothing changes that the goal depends on. Failures, what was
    /// skipped, and what nobody had to give are looked at again.
    pub fn is_settled(&self, goal: &Goal) -> bool {
        match self.status {
            GoalStatus::Built | GoalStatus::Cached | GoalStatus::Excluded => true,
            GoalStatus::Unavailable(_) => goal.unavailable.is_some(),
            GoalStatus::Failed(_)
            | GoalStatus::Skipped
            | GoalStatus::ExpectedFailure(_)
            | GoalStatus::UnexpectedPass => false,
        }
    }

    /// Returns what comes of a goal for which nothing is to be built.
    pub(crate) fn unwanted(goal: &Goal) -> Self {
        Self::bare(match &goal.unavailable {
            Some(reason) => GoalStatus::Unavailable(Arc::clone(reason)),
            None => GoalStatus::Excluded,
        })
    }

    pub(crate) fn unavailable(reason: Arc<str>) -> Self {
        Self::bare(GoalStatus::Unavailable(reason))
    }

    pub(crate) fn skipped() -> Self {
        Self::bare(GoalStatus::Skipped)
    }

    /// A failure is only expected where it is the same every time: running out of time or memory never is.
    pub(crate) fn failed(goal: &Goal, failure: Arc<Failure>) -> Self {
        Self::bare(if goal.xfail && failure.kind.is_repeatable() {
            GoalStatus::ExpectedFailure(failure)
        } else {
            GoalStatus::Failed(failure)
        })
    }
}

/// How a goal ended.
#[derive(Clone, Debug)]
pub enum GoalStatus {
    /// Something ran for it.
    Built,
    /// All that it needs was found.
    Cached,
    /// Its target says that this cell is not built.
    Excluded,
    /// An action failed.
    Failed(Arc<Failure>),
    /// Another failure stopped the build first.
    Skipped,
    /// An action failed, as its target's `xfail` says that it must.
    ExpectedFailure(Arc<Failure>),
    /// It was made, though its target's `xfail` says that it must fail.
    UnexpectedPass,
    /// Something that it needs is not there, for this reason: nobody's mistake, and nothing was run.
    Unavailable(Arc<str>),
}

impl GoalStatus {
    /// Returns the failure, expected or not.
    pub fn failure(&self) -> Option<&Arc<Failure>> {
        match self {
            Self::Failed(failure) | Self::ExpectedFailure(failure) => Some(failure),
            Self::Built
            | Self::Cached
            | Self::Excluded
            | Self::Skipped
            | Self::UnexpectedPass
            | Self::Unavailable(_) => None,
        }
    }
}

/// How an action failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which one.
    pub owner: Owner,
    /// What it is called in the cache.
    pub action: Option<ActionDigest>,
    /// How.
    pub kind: FailureKind,
    /// Whether this was remembered from an earlier build.
    pub remembered: bool,
    /// What it wrote to standard output, unless nothing.
    pub stdout: Option<Digest>,
    /// What it wrote to standard error, unless nothing.
    pub stderr: Option<Digest>,
}

/// How an action failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// It ended with this exit status.
    Exit(i32),
    /// It did not make an output that it declares.
    NoOutput(RelativePath),
    /// This signal ended it.
    Signal(i32),
    /// It ran longer than it may.
    TimedOut,
    /// It needed more memory than it may.
    OutOfMemory,
    /// An output is something that cannot be kept.
    BadOutput(String),
}

impl FailureKind {
    /// Returns whether the same action would fail like this again, as far as anybody can tell.
    pub fn is_repeatable(&self) -> bool {
        match self {
            // 128 and above is how shells tell of a signal that ended their child.
            Self::Exit(code) => *code < 128,
            Self::NoOutput(_) | Self::BadOutput(_) => true,
            Self::Signal(_) | Self::TimedOut | Self::OutOfMemory => false,
        }
    }
}

impl std::fmt::Display for FailureKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit status {code}"),
            Self::NoOutput(path) => write!(f, "it did not make {path}"),
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
            Self::TimedOut => f.write_str("its time was up"),
            Self::OutOfMemory => f.write_str("out of memory"),
            Self::BadOutput(why) => f.write_str(why),
        }
    }
}

/// What one action did.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its node in the plan.
    pub node: NodeId,
    /// Which one.
    pub owner: Owner,
    /// What it is called in the cache.
    pub action: ActionDigest,
    /// When it ran; `None` if its result was found.
    pub executed: Option<Span>,
    /// Whether its result was found in the remote, and not here.
    pub from_remote: bool,
    /// How it failed, if it did.
    pub failure: Option<FailureKind>,
    /// How long the command ran, by the clock; when it was made, for a result that was found.
    pub wall: Duration,
    /// Its processor time.
    pub cpu: Duration,
    /// What it wrote to standard output, unless nothing.
    pub stdout: Option<Digest>,
    /// What it wrote to standard error, unless nothing.
    pub stderr: Option<Digest>,
}

/// From when to when something ran, since the build began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its begin.
    pub began: Duration,
    /// Its end.
    pub ended: Duration,
}
