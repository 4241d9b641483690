//! Survey: what a build would find, run and wait for. Nothing is run, fetched, locked or recorded.
//!
//! A node only refers to those before it, so one walk from the first to the last settles what is known, and one back
//! again which bytes are needed of that. Sources, and the listings of trees put together from known things, are taken
//! into the store as a build would take them; nothing else is written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::{ActionDigest, Digest, Directory, Node as TreeNode, RelativePath, TreeDigest};
use store::{Draft, LocalStore, Remembered};

use super::action::{Keyed, builtin_entries, builtin_key, outputs_of, run_key};
use super::far::is_plausible;
use super::fate::{ActionFate, Asked, GoalFate, Survey, SurveyedAction};
use super::inputs::{Unplaced, put_together};
use super::promises::Promises;
use super::{BuildError, Stop};
use crate::disk::DiskFiles;
use crate::graph::{Artifact, Node, NodeId};
use crate::plan::{Goal, Plan};
use crate::source::ingest;

/// How many listings are kept in memory: a build root is looked into once, not once for every cell.
const LISTINGS_MAX: usize = 1024;

/// Surveys a plan. With `retry_failed`, what is remembered as failed counts as what never ran.
pub fn survey(
    store: &LocalStore,
    files: &DiskFiles,
    plan: &Plan,
    retry_failed: bool,
) -> Result<Survey, Arc<BuildError>> {
    survey_knowing(store, files, plan, retry_failed, &mut Promises::default())
}

/// Surveys a plan where something is known besides what is here.
pub(super) fn survey_knowing(
    store: &LocalStore,
    files: &DiskFiles,
    plan: &Plan,
    retry_failed: bool,
    promises: &mut Promises,
) -> Result<Survey, Arc<BuildError>> {
    let mut surveyor = Surveyor {
        store,
        files,
        plan,
        retry_failed,
        promises,
        listings: BTreeMap::new(),
        states: Vec::with_capacity(plan.graph.len()),
        actions: Vec::new(),
        sources: BTreeMap::new(),
        needed: vec![false; plan.graph.len()],
        asked: Asked::default(),
    };
    for (id, wanted) in plan.wanted().into_iter().enumerate() {
        let state = if wanted { surveyor.state(id)? } else { State::Unwanted };
        surveyor.states.push(state);
    }
    let downloads = surveyor.look_for_bytes()?;
    let goals = plan.goals.iter().map(|goal| surveyor.goal(goal)).collect();
    let Surveyor { actions, sources, asked, .. } = surveyor;
    Ok(Survey { goals, actions, downloads, sources, asked })
}

/// What is known of a node.
enum State {
    /// No goal needs it.
    Unwanted,
    /// What it comes to, by output. A slice: there are as many as actions, and nearly all have one.
    Made(Box<[(RelativePath, TreeNode)]>),
    /// It comes to nothing yet.
    Stuck(Stuck),
}

/// Why it is not known what a node comes to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stuck {
    /// What it needs is not built.
    Waits,
    /// It runs.
    Runs,
    /// The action of this node failed before.
    Failed(NodeId),
}

/// Why something cannot be put together: it is stuck, or the build would break off.
enum Lack {
    Stuck(Stuck),
    Broken(Arc<BuildError>),
}

impl Lack {
    fn of(stop: Stop) -> Self {
        match stop {
            Stop::Broken(error) => Self::Broken(error),
            // Only what runs fails or is skipped.
            Stop::Failed(_) | Stop::Skipped | Stop::Unavailable(_) => Self::Stuck(Stuck::Waits),
        }
    }
}

impl<E: Into<BuildError>> From<E> for Lack {
    fn from(error: E) -> Self {
        Self::Broken(Arc::new(error.into()))
    }
}

struct Surveyor<'a> {
    store: &'a LocalStore,
    files: &'a DiskFiles,
    plan: &'a Plan,
    retry_failed: bool,
    promises: &'a mut Promises,
    listings: BTreeMap<TreeDigest, Arc<Directory>>,
    states: Vec<State>,
    actions: Vec<SurveyedAction>,
    sources: BTreeMap<RelativePath, TreeNode>,
    /// Of which nodes bytes are needed, not only names.
    needed: Vec<bool>,
    asked: Asked,
}

impl Surveyor<'_> {
    fn state(&mut self, id: NodeId) -> Result<State, Arc<BuildError>> {
        match self.try_state(id) {
            Ok(state) => Ok(state),
            Err(Lack::Stuck(stuck)) => {
                if self.plan.graph.node(id).action_owner().is_some() {
                    let fate = match stuck {
                        Stuck::Waits | Stuck::Runs => ActionFate::MayRun,
                        Stuck::Failed(_) => ActionFate::Blocked,
                    };
                    self.note(id, None, fate, Duration::ZERO);
                    // That one of its inputs runs for certain does not mean that it does.
                    return Ok(State::Stuck(if stuck == Stuck::Runs {
                        Stuck::Waits
                    } else {
                        stuck
                    }));
                }
                Ok(State::Stuck(stuck))
            }
            Err(Lack::Broken(error)) => Err(error),
        }
    }

    fn try_state(&mut self, id: NodeId) -> Result<State, Lack> {
        let function = self.store.function();
        let name = |bytes: &[u8]| Ok(Digest::of(function, bytes));
        match self.plan.graph.node(id) {
            Node::Source(path) => {
                let node = match self.promises.sources.get(path) {
                    Some(node) => node.clone(),
                    None => ingest(self.store, self.files, path)?,
                };
                self.sources.insert(path.clone(), node.clone());
                Ok(whole(node))
            }
            Node::Locked(tree) => Ok(whole(TreeNode::Directory(*tree))),
            Node::Write { content, executable } => {
                let digest = Digest::of(function, content.as_bytes());
                Ok(whole(TreeNode::File { digest, executable: *executable }))
            }
            Node::Tree(tree) => {
                let draft = self.place(&tree.entries, &|| tree.owner.to_string())?;
                Ok(whole(TreeNode::Directory(draft.finish(self.store)?)))
            }
            Node::Run(run) => {
                let draft = self.place(&run.inputs, &|| run.owner.to_string())?;
                let keyed = run_key(run, draft.digest(function), name).map_err(Lack::of)?;
                Ok(self.look_up(id, &keyed))
            }
            Node::Builtin(builtin) => {
                let owner = || builtin.owner.to_string();
                for artifact in &builtin.inputs {
                    let TreeNode::Directory(_) = self.resolve(artifact, &owner)? else {
                        return Err(BuildError::NotATree { owner: owner() }.into());
                    };
                }
                let draft = self.place(&builtin_entries(builtin), &owner)?;
                let keyed = builtin_key(builtin, draft.digest(function), name);
                Ok(self.look_up(id, &keyed.map_err(Lack::of)?))
            }
        }
    }

    /// Looks an action up as a build would: among successes, then among remembered failures.
    fn look_up(&mut self, id: NodeId, keyed: &Keyed) -> State {
        let key = Some(keyed.digest);
        self.asked.results += 1;
        if let Some(result) = self.store.peek_entry(Remembered::Success, keyed.digest)
            && let Ok(outputs) = outputs_of(&keyed.command, &result)
        {
            self.note(id, key, ActionFate::Cached, result.metadata.cpu);
            return State::Made(outputs.into_iter().collect());
        }
        let failed = || self.store.peek_entry(Remembered::Failure, keyed.digest);
        if !self.retry_failed && failed().is_some() {
            self.note(id, key, ActionFate::Fails, Duration::ZERO);
            return State::Stuck(Stuck::Failed(id));
        }
        if let Some(result) = self.promises.results.get(&keyed.digest)
            && is_plausible(&keyed.command, result)
            && let Ok(outputs) = outputs_of(&keyed.command, result)
        {
            self.note(id, key, ActionFate::Cached, result.metadata.cpu);
            return State::Made(outputs.into_iter().collect());
        }
        self.note(id, key, ActionFate::Runs, Duration::ZERO);
        State::Stuck(Stuck::Runs)
    }

    fn note(&mut self, node: NodeId, key: Option<ActionDigest>, fate: ActionFate, cpu: Duration) {
        self.actions.push(SurveyedAction { node, key, fate, cpu });
    }

    /// Returns the tree with each artifact at its place, if all are known.
    fn place(
        &mut self,
        entries: &[(RelativePath, Artifact)],
        owner: &(dyn Fn() -> String + Sync),
    ) -> Result<Draft, Lack> {
        let mut nodes = Vec::with_capacity(entries.len());
        let mut roots = Vec::new();
        // All are asked: a failure among them counts for more than what only waits.
        let mut stuck: Option<Stuck> = None;
        for (place, artifact) in entries {
            let found = self.resolve(artifact, owner).and_then(|node| {
                if let TreeNode::Directory(tree) = &node
                    && place.is_root()
                {
                    roots.push(self.listing(*tree, artifact.node)?);
                }
                Ok(node)
            });
            match found {
                Ok(node) => nodes.push(node),
                Err(Lack::Stuck(lack)) => stuck = stuck.max(Some(lack)),
                Err(Lack::Broken(error)) => return Err(Lack::Broken(error)),
            }
        }
        if let Some(stuck) = stuck {
            return Err(Lack::Stuck(stuck));
        }
        let placed = put_together(self.store, &self.plan.graph, entries, &nodes, &roots, owner);
        placed.map_err(|unplaced| match unplaced {
            // Something lies below a tree whose listing is not here.
            Unplaced::Missing(listing) => {
                self.promises.lacking.insert(TreeDigest(listing));
                for (_, artifact) in entries {
                    self.needed[artifact.node] = true;
                }
                Lack::Stuck(Stuck::Waits)
            }
            Unplaced::Stop(stop) => Lack::of(stop),
        })
    }

    /// Returns what an artifact stands for, if that is known.
    fn resolve(
        &mut self,
        artifact: &Artifact,
        owner: &(dyn Fn() -> String + Sync),
    ) -> Result<TreeNode, Lack> {
        let outputs = match &self.states[artifact.node] {
            State::Made(outputs) => outputs,
            State::Stuck(stuck) => return Err(Lack::Stuck(*stuck)),
            State::Unwanted => unreachable!("what a wanted node reads is wanted"),
        };
        let found = outputs.iter().find(|(output, _)| *output == artifact.output);
        let gone = || BuildError::Gone { owner: owner() };
        let mut node = found.map(|(_, node)| node.clone()).ok_or_else(gone)?;
        for segment in artifact.below.segments() {
            let no_such_path =
                || BuildError::NoSuchPath { owner: owner(), path: artifact.below.clone() };
            let TreeNode::Directory(tree) = node else { return Err(no_such_path().into()) };
            let directory = self.listing(tree, artifact.node)?;
            node = directory.get(segment.as_str()).cloned().ok_or_else(no_such_path)?;
        }
        Ok(node)
    }

    /// Returns the listing of a tree that a node made, if it is here. A build would fetch it or make it again.
    fn listing(&mut self, tree: TreeDigest, maker: NodeId) -> Result<Arc<Directory>, Lack> {
        if let Some(known) = self.listings.get(&tree) {
            return Ok(Arc::clone(known));
        }
        self.asked.listings += 1;
        let Some(directory) = self.store.peek_directory(tree) else {
            self.needed[maker] = true;
            self.promises.lacking.insert(tree);
            return Err(Lack::Stuck(Stuck::Waits));
        };
        if self.listings.len() == LISTINGS_MAX {
            self.listings.clear();
        }
        let directory = Arc::new(directory);
        self.listings.insert(tree, Arc::clone(&directory));
        Ok(directory)
    }

    /// Finds what must be made again or downloaded because what runs, or who asked, needs its bytes.
    fn look_for_bytes(&mut self) -> Result<BTreeSet<TreeDigest>, Arc<BuildError>> {
        for goal in self.plan.goals.iter().filter(|goal| goal.is_wanted()) {
            for (_, artifact) in &goal.outputs {
                if !self.is_here(artifact)? {
                    self.needed[artifact.node] = true;
                }
            }
        }
        let mut downloads = BTreeSet::new();
        // Actions stand in the order of their nodes.
        let mut index = self.actions.len();
        for id in (0..self.states.len()).rev() {
            let node = self.plan.graph.node(id);
            let mut passes_on = self.needed[id] && matches!(node, Node::Tree(_));
            if node.action_owner().is_some() && !matches!(self.states[id], State::Unwanted) {
                index -= 1;
                let key = self.actions[index].key;
                let here = !self.needed[id] || self.has_bytes(id) || self.is_promised(id, key);
                let action = &mut self.actions[index];
                if action.fate == ActionFate::Cached && !here {
                    action.fate = ActionFate::RunsAgain;
                }
                passes_on = action.fate.runs();
            }
            if let Node::Locked(tree) = node
                && self.needed[id]
                && !self.has_bytes(id)
            {
                downloads.insert(*tree);
            }
            if passes_on {
                for input in node.needs() {
                    self.needed[input.node] = true;
                }
            }
        }
        Ok(downloads)
    }

    /// Returns whether what was asked for is here; what is not known yet will be.
    fn is_here(&mut self, artifact: &Artifact) -> Result<bool, Arc<BuildError>> {
        let owner = || "what was asked for".to_owned();
        self.asked.outputs += 1;
        match self.resolve(artifact, &owner) {
            Ok(TreeNode::File { digest, .. }) => Ok(self.store.peek_blob(digest)),
            Ok(TreeNode::Directory(tree)) => Ok(self.store.peek_tree(tree)),
            Ok(TreeNode::Symlink(_)) | Err(Lack::Stuck(_)) => Ok(true),
            Err(Lack::Broken(error)) => Err(error),
        }
    }

    /// Returns whether what a node came to seems to be here. Of a tree only the root is looked at: thousands of trees
    /// of twenty thousand files are not walked for a question.
    fn has_bytes(&self, id: NodeId) -> bool {
        let State::Made(outputs) = &self.states[id] else { return true };
        outputs.iter().all(|(_, node)| match node {
            TreeNode::File { digest, .. } => self.store.peek_blob(*digest),
            TreeNode::Directory(tree) => self.store.peek_blob(tree.0),
            TreeNode::Symlink(_) => true,
        })
    }

    /// Returns whether the remote promises what a node came to.
    fn is_promised(&self, id: NodeId, key: Option<ActionDigest>) -> bool {
        let Some(result) = key.and_then(|key| self.promises.results.get(&key)) else {
            return false;
        };
        let State::Made(outputs) = &self.states[id] else { return true };
        outputs.iter().all(|(_, node)| match node {
            TreeNode::File { digest, .. } => result.files.iter().any(|it| it.digest == *digest),
            TreeNode::Directory(tree) => result.directories.iter().any(|it| it.root == *tree),
            TreeNode::Symlink(_) => true,
        })
    }

    fn goal(&self, goal: &Goal) -> GoalFate {
        if goal.excluded {
            return GoalFate::Excluded;
        }
        if goal.unavailable.is_some() {
            return GoalFate::Unavailable;
        }
        let stuck = goal.outputs.iter().filter_map(|(_, it)| match &self.states[it.node] {
            State::Stuck(stuck) => Some(*stuck),
            State::Made(_) | State::Unwanted => None,
        });
        match stuck.max() {
            Some(Stuck::Failed(node)) => return GoalFate::Fails(node),
            Some(Stuck::Runs) => return GoalFate::Runs,
            Some(Stuck::Waits) => return GoalFate::MayRun,
            None => {}
        }
        let needed = goal.outputs.iter().map(|(_, it)| it).filter(|it| self.needed[it.node]);
        let again = |id: NodeId| {
            let index = self.actions.binary_search_by_key(&id, |action| action.node);
            index.is_ok_and(|index| self.actions[index].fate.runs())
        };
        if self.plan.graph.makers(needed).into_iter().any(again) {
            GoalFate::Runs
        } else {
            GoalFate::Cached
        }
    }
}

/// Returns the state of a node with one output.
fn whole(node: TreeNode) -> State {
    State::Made(Box::new([(RelativePath::root(), node)]))
}
