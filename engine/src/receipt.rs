//! Receipts: what a build came to and what it depended on, so that the same build need not be thought through again.
//!
//! A receipt holds what was seen of the workspace, the plan, and what each goal came to. If everything still looks the
//! same there is nothing to do. If only inputs changed, the plan is still right, and only the goals that they reach are
//! worked on.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use model::{Digest, DigestFunction, HASH_BYTES, Node as TreeNode, RelativePath};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::analyze::{Goal, LockRequest, Plan};
use crate::build::{GoalOutcome, GoalStatus};
use crate::graph::{Graph, Node};
use crate::snapshot::Snapshot;

/// What a receipt's bytes begin with.
const MAGIC: &[u8] = b"bld-receipt-1\n";

/// The bytes of a section's length.
const LENGTH_BYTES: usize = 8;

/// What is looked at first, and mostly alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Front {
    /// What was seen of the workspace and of what was put under `bld-out`.
    pub snapshot: Arc<Snapshot>,
    /// When the build ended, in seconds since the epoch.
    pub ended: u64,
    /// How many actions the plan has.
    pub actions: u64,
    /// Their processor time, when they ran.
    pub cpu: Duration,
    /// How many files lie under `bld-out`.
    pub files: u64,
    /// Whether every goal was built.
    pub is_complete: bool,
    /// Whether a goal has axes, so that there is a grid to show.
    pub has_axes: bool,
}

/// What one goal came to: its outputs, unless it has to be worked on again.
type Kept = Option<Vec<(RelativePath, TreeNode)>>;

/// What a receipt remembers of the plan.
#[derive(Debug)]
pub struct Remembered {
    /// The plan.
    pub plan: Plan,
    /// What each goal came to, where that is to be kept.
    pub outcomes: Vec<Option<GoalOutcome>>,
    /// What the workspace asked to be locked.
    pub requests: Vec<LockRequest>,
}

/// A receipt, of which only the front is decoded.
#[derive(Clone, Debug)]
pub struct Receipt {
    front: Front,
    bytes: Vec<u8>,
    goals: Range<usize>,
    rest: Range<usize>,
}

#[derive(Serialize, Deserialize)]
struct Rest {
    nodes: Vec<Node>,
    /// Labels, and JSON.
    requests: Vec<(String, String)>,
}

impl Receipt {
    /// Returns the receipt of a build.
    pub fn new(
        front: Front,
        plan: &Plan,
        outcomes: &[GoalOutcome],
        requests: &[LockRequest],
    ) -> Self {
        let goals: Vec<(&Goal, Kept)> = plan.goals.iter().zip(outcomes.iter().map(kept)).collect();
        let request = |it: &LockRequest| (it.label.clone(), it.wants.to_string());
        let rest = (plan.graph.nodes(), requests.iter().map(request).collect::<Vec<_>>());
        Self::assemble(front, &encode(&goals), &encode(&rest))
    }

    /// Returns this with other outcomes of the same plan.
    #[must_use]
    pub fn renewed(&self, front: Front, goals: &[Goal], outcomes: &[GoalOutcome]) -> Self {
        let goals: Vec<(&Goal, Kept)> = goals.iter().zip(outcomes.iter().map(kept)).collect();
        Self::assemble(front, &encode(&goals), &self.bytes[self.rest.clone()])
    }

    /// Returns this with another front: what was seen again looked the same.
    #[must_use]
    pub fn with_front(&self, front: Front) -> Self {
        Self::assemble(front, &self.bytes[self.goals.clone()], &self.bytes[self.rest.clone()])
    }

    fn assemble(front: Front, goals: &[u8], rest: &[u8]) -> Self {
        let mut bytes = MAGIC.to_vec();
        append(&mut bytes, &encode(&front));
        let goals = append(&mut bytes, goals);
        let rest = append(&mut bytes, rest);
        Self { front, bytes, goals, rest }
    }

    /// Parses a receipt; one that is torn or of another form is as good as none.
    pub fn parse(bytes: Vec<u8>) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let mut at = bytes.len() - rest.len();
        let front = section(&bytes, &mut at)?;
        let goals = section(&bytes, &mut at)?;
        let rest = section(&bytes, &mut at)?;
        let front = decode(&bytes, &front)?;
        Some(Self { front, bytes, goals, rest })
    }

    /// Returns the receipt's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns what is looked at first.
    pub fn front(&self) -> &Front {
        &self.front
    }

    /// Returns the goals and what each came to, without the plan's graph.
    pub fn goals(&self) -> Option<(Vec<Goal>, Vec<Option<GoalOutcome>>)> {
        let goals: Vec<(Goal, Kept)> = decode(&self.bytes, &self.goals)?;
        let outcome = |(goal, kept): (Goal, Kept)| {
            let outcome = kept.map(|outputs| outcome(&goal, outputs));
            (goal, outcome)
        };
        Some(goals.into_iter().map(outcome).unzip())
    }

    /// Returns the plan, and what each of its goals came to.
    pub fn remembered(&self) -> Option<Remembered> {
        let (goals, outcomes) = self.goals()?;
        let rest: Rest = decode(&self.bytes, &self.rest)?;
        let graph = Graph::from_nodes(rest.nodes)?;
        let request = |(label, wants): (String, String)| {
            Some(LockRequest { label, wants: serde_json::from_str(&wants).ok()? })
        };
        let requests = rest.requests.into_iter().map(request).collect::<Option<_>>()?;
        Some(Remembered { plan: Plan { graph, goals }, outcomes, requests })
    }
}

/// Failures and what was skipped are looked at again.
fn kept(outcome: &GoalOutcome) -> Kept {
    match outcome.status {
        GoalStatus::Built | GoalStatus::Cached | GoalStatus::Excluded => {
            Some(outcome.outputs.clone())
        }
        GoalStatus::Failed(_) | GoalStatus::Skipped => None,
    }
}

fn outcome(goal: &Goal, outputs: Vec<(RelativePath, TreeNode)>) -> GoalOutcome {
    let status = if goal.excluded { GoalStatus::Excluded } else { GoalStatus::Cached };
    GoalOutcome { status, outputs, is_fresh: false }
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain values can be written to memory")
}

/// Appends a section — its length, its bytes, what they hash to — and returns where its bytes are.
fn append(bytes: &mut Vec<u8>, section: &[u8]) -> Range<usize> {
    bytes.extend_from_slice(&(section.len() as u64).to_le_bytes());
    let start = bytes.len();
    bytes.extend_from_slice(section);
    let end = bytes.len();
    bytes.extend_from_slice(Digest::of(DigestFunction::Blake3, section).hash());
    start..end
}

/// Returns where the section's bytes are that begins at `at`, and moves on to the next.
fn section(bytes: &[u8], at: &mut usize) -> Option<Range<usize>> {
    let length = bytes.get(*at..)?.first_chunk::<LENGTH_BYTES>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let start = *at + LENGTH_BYTES;
    let end = start.checked_add(length)?;
    *at = end.checked_add(HASH_BYTES)?;
    bytes.get(start..*at)?;
    Some(start..end)
}

/// Decodes a section, if it is what was written.
fn decode<T: DeserializeOwned>(bytes: &[u8], section: &Range<usize>) -> Option<T> {
    let hash = bytes.get(section.end..)?.first_chunk::<HASH_BYTES>()?;
    let section = bytes.get(section.clone())?;
    if Digest::of(DigestFunction::Blake3, section).hash() != hash {
        return None;
    }
    postcard::from_bytes(section).ok()
}
