//! Building: each node once, as soon as what it reads is there; only what nobody ever ran is run.

mod action;
mod attempt;
mod far;
mod fate;
mod inputs;
mod prepare;
mod promises;
mod report;
mod survey;
mod testing;
mod trees;
mod upload;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use executor::{ExecuteError, Executor, Limits};
use futures::future::{BoxFuture, FutureExt as _, join_all};
use model::{ActionDigest, Digest, Node as TreeNode, RelativePath};
use store::{DraftError, LocalStore, Remote, StoreError, TreeSource};
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;

pub use fate::{ActionFate, Asked, GoalFate, Survey, SurveyedAction};
pub use prepare::{Prepared, Unprepared};
pub use promises::survey_sharing;
pub use report::{
    Counts, Failure, FailureKind, GoalOutcome, GoalStatus, Ran, Report, Span, Transfer,
};
pub use survey::survey;
pub use testing::{Attempt, TestOptions, Tested, Verdict};
pub use verify::{OutputDifference, Reproduction, Verified};

use crate::disk::DiskFiles;
use crate::graph::{Artifact, Node, NodeId, Owner};
use crate::plan::Plan;
use crate::source::{SourceError, ingest};
use far::Far;

/// How a build is to go about it.
#[derive(Clone, Copy, Debug)]
pub struct BuildOptions {
    /// How many commands run at once.
    pub jobs: usize,
    /// Whether a failure stops what has not begun yet.
    pub fail_fast: bool,
    /// Whether remembered failures are tried again.
    pub retry_failed: bool,
    /// What an action may use.
    pub limits: Limits,
    /// How tests are run.
    pub tests: TestOptions,
}

/// Hears what a build does, as it does it.
pub trait Events: Send + Sync {
    /// A command or built-in begins.
    fn started(&self, owner: &Owner);
    /// It ended.
    fn finished(&self, ran: &Ran);
    /// It ended without having run: something that it needs is nowhere.
    fn abandoned(&self, _owner: &Owner) {}
    /// A result was found instead, or a remembered failure.
    fn hit(&self, ran: &Ran);
    /// This is what came of a goal, by its place in the plan.
    fn goal(&self, _index: usize, _outcome: &GoalOutcome) {}
    /// The remote fails: what it does not give is made here.
    fn degraded(&self, _error: &StoreError) {}
    /// All is built, and so many results are still to be uploaded.
    fn uploading(&self, _left: usize) {}
}

/// What stops a whole build; the failure of an action does not.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A source cannot be an input.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A tree could not be put together.
    #[error("the inputs of {owner} do not fit together")]
    Inputs {
        /// Whose they are.
        owner: String,
        /// Why.
        source: DraftError,
    },
    /// The executor failed.
    #[error("cannot run {owner}")]
    Execute {
        /// The action.
        owner: String,
        /// Why.
        source: ExecuteError,
    },
    /// A path was asked for that a tree does not have.
    #[error("{owner} wants `{path}` in a tree that has no such path")]
    NoSuchPath {
        /// Who wants it.
        owner: String,
        /// The path.
        path: RelativePath,
    },
    /// Something is a file where a tree is needed.
    #[error("{owner} wants a tree, but is given a file")]
    NotATree {
        /// Who wants it.
        owner: String,
    },
    /// There is no such built-in.
    #[error("{owner} wants the built-in `{name}`, which this bld does not have")]
    UnknownBuiltin {
        /// Who wants it.
        owner: String,
        /// Its name.
        name: String,
    },
    /// What an earlier build made has vanished, and running it again does not make the same.
    #[error(
        "an output of {owner} has vanished from the store, and running it again made something else; build again"
    )]
    Gone {
        /// Whose it is.
        owner: String,
    },
}

/// What a node came to.
#[derive(Debug)]
pub(crate) struct Made {
    /// Its outputs.
    pub(crate) outputs: BTreeMap<RelativePath, TreeNode>,
    /// Whether something ran for it, here and now.
    pub(crate) ran: bool,
}

impl Made {
    fn plain(node: TreeNode) -> Self {
        let outputs = BTreeMap::from([(RelativePath::root(), node)]);
        Self { outputs, ran: false }
    }
}

/// Why a node came to nothing.
#[derive(Clone, Debug)]
pub(crate) enum Stop {
    /// An action failed: this one or one that it needs.
    Failed(Arc<Failure>),
    /// The build was told to stop, or broke.
    Broken(Arc<BuildError>),
    /// Another failure stopped it before it began.
    Skipped,
    /// Something that it needs is nowhere any more.
    Unavailable(Arc<str>),
}

type Outcome = Result<Arc<Made>, Stop>;

/// What each node came to, as far as it was worked on.
type Nodes = Arc<[OnceCell<Outcome>]>;

/// The one time in a build that a node is run again, which all who miss its outputs wait for.
type Remaking = Arc<OnceCell<Result<(), Stop>>>;

/// How many goals are worked on at once, besides those that run: enough to keep every slot busy,
/// and few enough that forty thousand cells do not all lie in memory half done.
const GOALS_WAITING_MAX: usize = 256;

/// How many wait at once for other processes: each takes a thread.
const WAITERS_MAX: usize = 64;

/// How often a build goes through its plan if what it was promised from afar turns out to be gone and something else is
/// made here: each time what is gone is made, so more than a few times is not to be waited for.
const PASSES_MAX: u32 = 4;

/// One build.
pub struct Build {
    store: Arc<LocalStore>,
    executor: Arc<dyn Executor>,
    outside: Arc<dyn TreeSource>,
    far: Option<Far>,
    files: DiskFiles,
    plan: Arc<Plan>,
    options: BuildOptions,
    events: Arc<dyn Events>,
    slots: Semaphore,
    waiters: Semaphore,
    nodes: Mutex<Nodes>,
    makers: Mutex<BTreeMap<Digest, BTreeSet<NodeId>>>,
    remade: Mutex<BTreeMap<NodeId, Remaking>>,
    ran: Mutex<Vec<Ran>>,
    tested: Mutex<BTreeMap<NodeId, Tested>>,
    counts: Mutex<Counts>,
    /// What ran in earlier passes through the plan.
    ran_before: Mutex<BTreeSet<ActionDigest>>,
    failed: AtomicBool,
    tolerated: BTreeSet<NodeId>,
    began: Instant,
}

impl Build {
    /// Returns a build of `plan`. What others made is had from `remote`, trees from outside from `outside`.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a build, which only its caller stacks"
    )]
    pub fn new(
        store: Arc<LocalStore>,
        executor: Arc<dyn Executor>,
        remote: Option<Arc<dyn Remote>>,
        outside: Arc<dyn TreeSource>,
        files: DiskFiles,
        plan: Arc<Plan>,
        options: BuildOptions,
        events: Arc<dyn Events>,
    ) -> Arc<Self> {
        let tolerated = if options.fail_fast { tolerated(&plan) } else { BTreeSet::new() };
        let far = remote.map(|remote| Far::new(&store, remote, &events));
        Arc::new(Self {
            store,
            executor,
            outside,
            far,
            files,
            slots: Semaphore::new(options.jobs.clamp(1, Semaphore::MAX_PERMITS)),
            waiters: Semaphore::new(WAITERS_MAX),
            nodes: Mutex::new(fresh_nodes(&plan)),
            plan,
            options,
            events,
            makers: Mutex::default(),
            remade: Mutex::default(),
            ran: Mutex::default(),
            tested: Mutex::default(),
            counts: Mutex::default(),
            failed: AtomicBool::new(false),
            ran_before: Mutex::default(),
            tolerated,
            began: Instant::now(),
        })
    }

    /// Builds every goal and returns what came of each; dropping the future ends everything that runs.
    pub async fn run(self: Arc<Self>) -> Result<Report, Arc<BuildError>> {
        let mut passes_left = PASSES_MAX;
        let goals = loop {
            passes_left -= 1;
            match Arc::clone(&self).pass().await {
                // What was promised from afar is gone, and was made otherwise here: what follows from it, too, now.
                Err(error) if passes_left > 0 && error.is_gone() && self.may_begin_again() => {
                    self.begin_again(passes_left == 1);
                }
                ended => break ended?,
            }
        };
        if let Some(far) = &self.far {
            far.finish_uploads(&*self.events).await;
        }
        Ok(Report { goals, interrupted: false, ..self.broken_off() })
    }

    /// Works on every goal, and returns what came of each.
    async fn pass(self: Arc<Self>) -> Result<Vec<GoalOutcome>, Arc<BuildError>> {
        let mut tasks = JoinSet::new();
        let goals = self.plan.goals.iter().enumerate();
        let mut wanted = goals.filter(|(_, goal)| goal.is_wanted()).map(|(index, _)| index);
        let mut next = |tasks: &mut JoinSet<_>| {
            if let Some(index) = wanted.next() {
                let build = Arc::clone(&self);
                tasks.spawn(async move { (index, build.goal(index).await) });
            }
        };
        for _ in 0..GOALS_WAITING_MAX.saturating_add(self.options.jobs).min(self.plan.goals.len()) {
            next(&mut tasks);
        }
        let mut outcomes: Vec<Option<GoalOutcome>> = vec![None; self.plan.goals.len()];
        while let Some(joined) = tasks.join_next().await {
            next(&mut tasks);
            let (index, outcome) = joined.expect("a goal does not panic");
            let outcome = match outcome {
                Ok(outcome) => outcome,
                Err(error) => {
                    // Ends what they run.
                    tasks.shutdown().await;
                    return Err(error);
                }
            };
            self.events.goal(index, &outcome);
            outcomes[index] = Some(outcome);
        }
        let unwanted = |(index, outcome): (usize, Option<GoalOutcome>)| {
            outcome.unwrap_or_else(|| {
                let outcome = GoalOutcome::unwanted(&self.plan.goals[index]);
                self.events.goal(index, &outcome);
                outcome
            })
        };
        Ok(outcomes.into_iter().enumerate().map(unwanted).collect())
    }

    /// Returns whether something was promised from afar, and something was made in its place.
    fn may_begin_again(&self) -> bool {
        self.far.is_some() && !self.remade.lock().expect("no holder panics").is_empty()
    }

    /// Forgets what nodes came to, but not what ran: its results are recorded. The `last` time nobody else is believed.
    fn begin_again(&self, last: bool) {
        if last && let Some(far) = &self.far {
            far.ignore();
        }
        *self.nodes.lock().expect("no holder panics") = fresh_nodes(&self.plan);
        self.makers.lock().expect("no holder panics").clear();
        self.remade.lock().expect("no holder panics").clear();
        let mut ran = self.ran.lock().expect("no holder panics");
        ran.retain(|ran| ran.executed.is_some());
        let ran_before = ran.iter().map(|ran| ran.action).collect();
        *self.ran_before.lock().expect("no holder panics") = ran_before;
        self.counts.lock().expect("no holder panics").forget_hits();
    }

    /// Returns what was done by now, for who breaks off.
    pub fn broken_off(&self) -> Report {
        let counts = *self.counts.lock().expect("no holder panics");
        let mut ran = std::mem::take(&mut *self.ran.lock().expect("no holder panics"));
        ran.sort_by(|left, right| left.owner.cmp(&right.owner));
        let tested = std::mem::take(&mut *self.tested.lock().expect("no holder panics"));
        let transfer = self.far.as_ref().map(Far::transfer);
        Report { goals: Vec::new(), counts, ran, tested, transfer, interrupted: true }
    }

    async fn goal(&self, index: usize) -> Result<GoalOutcome, Arc<BuildError>> {
        let goal = &self.plan.goals[index];
        let found =
            join_all(goal.outputs.iter().map(|(_, artifact)| self.goal_output(artifact))).await;
        let mut outputs = Vec::new();
        let mut ran = false;
        for ((path, _), found) in goal.outputs.iter().zip(found) {
            match found {
                Ok((node, node_ran)) => {
                    outputs.push((path.clone(), node));
                    ran |= node_ran;
                }
                Err(Stop::Failed(failure)) => return Ok(GoalOutcome::failed(goal, failure)),
                Err(Stop::Skipped) => return Ok(GoalOutcome::skipped()),
                Err(Stop::Unavailable(reason)) => return Ok(GoalOutcome::unavailable(reason)),
                Err(Stop::Broken(error)) => return Err(error),
            }
        }
        // What makes nothing cannot fail: a test, where only what is built is asked for.
        let status = match (goal.xfail && !outputs.is_empty(), ran) {
            (true, _) => GoalStatus::UnexpectedPass,
            (false, true) => GoalStatus::Built,
            (false, false) => GoalStatus::Cached,
        };
        Ok(GoalOutcome { status, outputs })
    }

    /// Returns what an artifact came to; its bytes are here.
    async fn goal_output(&self, artifact: &Artifact) -> Result<(TreeNode, bool), Stop> {
        let owner = || self.owner_name(artifact.node);
        let (node, ran) = self.resolve(artifact, &owner).await?;
        if let TreeNode::Directory(tree) = &node {
            self.note_maker(tree.0, artifact.node);
        }
        if self.bring(&node).await? {
            return Ok((node, ran));
        }
        // It was promised by an earlier build and has vanished since: make it again.
        self.restore(artifact.node).await?;
        if self.bring(&node).await? {
            return Ok((node, true));
        }
        Err(broken(BuildError::Gone { owner: owner() }))
    }

    /// Makes what a goal came to present, if it can be had, and returns whether it is.
    async fn bring(&self, node: &TreeNode) -> Result<bool, Stop> {
        match node {
            TreeNode::File { digest, .. } => self.bring_blob(*digest).await.map_err(broken),
            TreeNode::Directory(tree) => {
                Ok(self.ensure_tree(*tree).await.map_err(broken)?.is_some())
            }
            TreeNode::Symlink(_) => Ok(true),
        }
    }

    /// Returns what an artifact stands for.
    async fn resolve(
        &self,
        artifact: &Artifact,
        owner: &(dyn Fn() -> String + Sync),
    ) -> Result<(TreeNode, bool), Stop> {
        let made = self.node(artifact.node).await?;
        let gone = || broken(BuildError::Gone { owner: owner() });
        let whole = made.outputs.get(&artifact.output).cloned().ok_or_else(gone)?;
        let mut node = whole;
        for segment in artifact.below.segments() {
            let no_such_path =
                || broken(BuildError::NoSuchPath { owner: owner(), path: artifact.below.clone() });
            let TreeNode::Directory(tree) = node else { return Err(no_such_path()) };
            let directory = self.listing(tree, artifact.node).await?;
            node = directory.get(segment.as_str()).cloned().ok_or_else(no_such_path)?;
        }
        Ok((node, made.ran))
    }

    /// Returns what a node came to; it is worked on once, whoever asks first.
    fn node(&self, id: NodeId) -> BoxFuture<'_, Outcome> {
        let nodes = Arc::clone(&self.nodes.lock().expect("no holder panics"));
        async move { nodes[id].get_or_init(|| self.make(id)).await.clone() }.boxed()
    }

    async fn make(&self, id: NodeId) -> Outcome {
        match self.plan.graph.node(id) {
            Node::Source(path) => {
                let node = tokio::task::block_in_place(|| ingest(&self.store, &self.files, path));
                node.map(|node| Arc::new(Made::plain(node))).map_err(broken)
            }
            Node::Locked(tree) => Ok(Arc::new(Made::plain(TreeNode::Directory(*tree)))),
            Node::Write { content, executable } => {
                let digest = self.store.ingest_bytes(content.as_bytes(), *executable);
                let node =
                    TreeNode::File { digest: digest.map_err(broken)?, executable: *executable };
                Ok(Arc::new(Made::plain(node)))
            }
            Node::Tree(tree) => {
                let owner = || tree.owner.to_string();
                let (tree, ran) = self.place(&tree.entries, &owner).await?;
                let outputs = BTreeMap::from([(RelativePath::root(), TreeNode::Directory(tree))]);
                Ok(Arc::new(Made { outputs, ran }))
            }
            Node::Run(run) => self.run_node(id, run).await,
            Node::Builtin(builtin) => self.builtin_node(id, builtin).await,
        }
    }

    fn owner_name(&self, id: NodeId) -> String {
        match self.plan.graph.node(id) {
            Node::Run(run) => run.owner.to_string(),
            Node::Builtin(builtin) => builtin.owner.to_string(),
            Node::Source(path) => path.to_string(),
            Node::Locked(tree) => format!("the locked tree {}", tree.0.short()),
            Node::Tree(tree) => tree.owner.to_string(),
            Node::Write { .. } => "a file that a rule writes".to_owned(),
        }
    }

    /// Returns how long this build has been going on.
    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn is_stopping(&self) -> bool {
        self.options.fail_fast && self.failed.load(Ordering::Relaxed)
    }
}

/// Returns the nodes that only goals need which must fail: what fails there stops nothing.
fn tolerated(plan: &Plan) -> BTreeSet<NodeId> {
    let reached = |xfail: bool| {
        let goals = plan.goals.iter().filter(|goal| goal.xfail == xfail);
        let mut reached = BTreeSet::new();
        let mut pending: Vec<NodeId> =
            goals.flat_map(|goal| goal.outputs.iter().map(|(_, artifact)| artifact.node)).collect();
        while let Some(id) = pending.pop() {
            if reached.insert(id) {
                pending.extend(plan.graph.node(id).needs().map(|it| it.node));
            }
        }
        reached
    };
    let expected = reached(true);
    if expected.is_empty() { expected } else { &expected - &reached(false) }
}

fn fresh_nodes(plan: &Plan) -> Nodes {
    (0..plan.graph.len()).map(|_| OnceCell::new()).collect()
}

impl BuildError {
    /// Returns whether something is missing that was promised, and that what makes it did not make again.
    fn is_gone(&self) -> bool {
        match self {
            Self::Gone { .. } => true,
            Self::Store(error) | Self::Inputs { source: DraftError::Store(error), .. } => {
                matches!(error, StoreError::Missing { .. })
            }
            Self::Execute { source, .. } => matches!(
                source,
                ExecuteError::MissingInput { .. }
                    | ExecuteError::Store(StoreError::Missing { .. })
                    | ExecuteError::Draft(DraftError::Store(StoreError::Missing { .. }))
            ),
            Self::Source(_)
            | Self::Inputs { .. }
            | Self::NoSuchPath { .. }
            | Self::NotATree { .. }
            | Self::UnknownBuiltin { .. } => false,
        }
    }

    /// Returns why something is nowhere any more, if that is what is behind this: then the machinery is well.
    fn vanished(&self) -> Option<&Arc<str>> {
        let (Self::Store(error)
        | Self::Inputs { source: DraftError::Store(error), .. }
        | Self::Execute { source: ExecuteError::Store(error), .. }) = self
        else {
            return None;
        };
        let StoreError::Vanished { reason, .. } = error else { return None };
        Some(reason)
    }
}

/// Returns the stop for broken machinery, or for what is to be had nowhere.
pub(crate) fn broken(error: impl Into<BuildError>) -> Stop {
    let error = error.into();
    match error.vanished() {
        Some(reason) => Stop::Unavailable(Arc::clone(reason)),
        None => Stop::Broken(Arc::new(error)),
    }
}
