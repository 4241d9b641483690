//! What would come of a build: the result of a survey, as plain values.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{ActionDigest, Node as TreeNode, RelativePath, TreeDigest};

use crate::graph::NodeId;

/// What would come of a build, as far as that can be known without one.
#[derive(Debug)]
pub struct Survey {
    /// What would come of each goal, in the plan's order.
    pub goals: Vec<GoalFate>,
    /// What would come of each action that a goal needs, by node.
    pub actions: Vec<SurveyedAction>,
    /// Locked trees that are not here and that what runs needs.
    pub downloads: BTreeSet<TreeDigest>,
    /// What each source that a goal needs holds now.
    pub sources: BTreeMap<RelativePath, TreeNode>,
    /// What the store was asked for.
    pub asked: Asked,
}

/// How often the store was asked, and for what: once for each different thing, however many cells need it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Results of actions.
    pub results: usize,
    /// Listings of trees.
    pub listings: usize,
    /// Bytes of outputs, whether they are here.
    pub outputs: usize,
}

impl Survey {
    /// Returns the action of a node, if a goal needs it.
    pub fn action(&self, node: NodeId) -> Option<&SurveyedAction> {
        let index = self.actions.binary_search_by_key(&node, |action| action.node).ok()?;
        self.actions.get(index)
    }
}

/// What would come of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SurveyedAction {
    /// Its node in the plan.
    pub node: NodeId,
    /// What it is called in the cache; `None` if that depends on what was not built yet.
    pub key: Option<ActionDigest>,
    /// What would come of it.
    pub fate: ActionFate,
    /// The processor time that it took when its result was made, if that was found.
    pub cpu: Duration,
}

/// What would come of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ActionFate {
    /// Its result is found.
    Cached,
    /// It runs: nobody ever ran it.
    Runs,
    /// It runs once more: its result is remembered, but what it made is not here any more, and is needed.
    RunsAgain,
    /// It may run: it waits for something that is not built, so its key cannot be known.
    MayRun,
    /// It failed before, and is not tried again.
    Fails,
    /// It needs something that fails.
    Blocked,
}

impl ActionFate {
    /// Returns whether the action runs for certain.
    pub fn runs(self) -> bool {
        match self {
            Self::Runs | Self::RunsAgain => true,
            Self::Cached | Self::MayRun | Self::Fails | Self::Blocked => false,
        }
    }
}

/// What would come of a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GoalFate {
    /// All that it is made of is found.
    Cached,
    /// An action that makes it runs.
    Runs,
    /// The actions that make it wait for something that is not built; whether they run depends on what that comes to.
    MayRun,
    /// The action of this node failed before, and is not tried again.
    Fails(NodeId),
    /// Its target says that this cell is not built.
    Excluded,
    /// Something that it needs is not there, and that is nobody's mistake.
    Unavailable,
}
