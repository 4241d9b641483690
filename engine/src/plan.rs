//! What is to be built, as plain values: goals, and the graph that they need.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::RelativePath;
use serde::{Deserialize, Serialize};

use crate::cell::Cell;
use crate::graph::{Artifact, Graph};
use crate::label::Label;

/// One thing that somebody asked for: a target in one of its cells.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Goal {
    /// The target.
    pub label: Label,
    /// The cell.
    pub cell: Arc<Cell>,
    /// Whether the target's `exclude` names this cell: then it is not built.
    pub excluded: bool,
    /// Whether the target's `xfail` names this cell: then it must fail.
    pub xfail: bool,
    /// Why it cannot be had, if something that it needs is not there: then it is not built.
    pub unavailable: Option<Arc<str>>,
    /// What it makes: path below its package's folder in `bld-out`, and artifact.
    pub outputs: Vec<(RelativePath, Artifact)>,
    /// Where its log goes if it fails.
    pub failure_log: Option<RelativePath>,
    /// Whether it is a test, excluded or not.
    pub is_test: bool,
    /// What the test leaves; `None` unless it is a test that is not excluded.
    pub results: Option<TestResults>,
}

/// What a test leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestResults {
    /// Its results, a file or folder: an output of the action that is the test.
    pub results: Artifact,
    /// What its coverage was measured to be, if it was.
    pub coverage: Option<Artifact>,
}

/// What is to be built.
#[derive(Debug, Default)]
pub struct Plan {
    /// The nodes.
    pub graph: Arc<Graph>,
    /// What was asked for, in order.
    pub goals: Vec<Goal>,
    /// The targets of the workspace that no pattern for many stands for, if all were loaded.
    pub manual: BTreeSet<Label>,
}

impl Goal {
    /// Returns whether there is something to build.
    pub fn is_wanted(&self) -> bool {
        !self.excluded && self.unavailable.is_none()
    }

    /// Returns what its test leaves, if it is one.
    fn left(&self) -> impl Iterator<Item = (RelativePath, Artifact)> {
        self.results.iter().map(|it| (it.results.output.clone(), it.results.clone()))
    }
}

impl Plan {
    /// Returns of every node whether a goal needs it that is to be built.
    pub fn wanted(&self) -> Vec<bool> {
        let goals = self.goals.iter().filter(|goal| goal.is_wanted());
        self.graph.closure(goals.flat_map(|goal| goal.outputs.iter().map(|(_, it)| it.node)))
    }

    /// Returns how many actions its goals need.
    pub fn actions(&self) -> u64 {
        let wanted = self.wanted().into_iter().enumerate().filter(|(_, wanted)| *wanted);
        wanted.filter(|(id, _)| self.graph.node(*id).action_owner().is_some()).count() as u64
    }

    /// Returns the plan for only the goals with these numbers.
    #[must_use]
    pub fn only(&self, numbers: &[usize]) -> Self {
        let goals = numbers.iter().map(|number| self.goals[*number].clone()).collect();
        Self { graph: Arc::clone(&self.graph), goals, manual: self.manual.clone() }
    }

    /// Returns the plan for running the tests among the goals, and for nothing else. What a goal makes then is its
    /// test's results.
    #[must_use]
    pub fn tests(&self) -> Self {
        let results = |goal: &Goal| Goal { outputs: goal.left().collect(), ..goal.clone() };
        let goals = self.goals.iter().filter(|goal| goal.is_test).map(results).collect();
        Self { graph: Arc::clone(&self.graph), goals, manual: self.manual.clone() }
    }

    /// Returns the plan without the tests that make nothing unless they are run.
    #[must_use]
    pub fn without_tests(&self) -> Self {
        let is_test = |goal: &Goal| goal.is_test && goal.outputs.is_empty();
        let kept = self.goals.iter().enumerate().filter(|(_, goal)| !is_test(goal));
        self.only(&kept.map(|(number, _)| number).collect::<Vec<_>>())
    }

    /// Returns the plan in which tests are run, too: what they leave is among what their goals make.
    #[must_use]
    pub fn with_tests(&self) -> Self {
        let both = |goal: &Goal| {
            let outputs = goal.outputs.iter().cloned().chain(goal.left()).collect();
            Goal { outputs, ..goal.clone() }
        };
        let goals = self.goals.iter().map(both).collect();
        Self { graph: Arc::clone(&self.graph), goals, manual: self.manual.clone() }
    }
}
