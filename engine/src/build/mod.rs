//! Building: each node once, as soon as what it reads is there; only what nobody ever ran is run.

mod action;
mod inputs;
mod report;
mod trees;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use executor::{ExecuteError, Executor, Limits};
use futures::future::{BoxFuture, FutureExt as _, join_all};
use model::{Digest, Node as TreeNode, RelativePath};
use store::{DraftError, LocalStore, StoreError, TreeSource};
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;

pub use report::{Counts, Failure, FailureKind, GoalOutcome, GoalStatus, Ran, Report};

use crate::analyze::Plan;
use crate::graph::{Artifact, Node, NodeId, Owner};
use crate::source::{DiskFiles, SourceError, ingest};

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
}

/// Hears what a build does, as it does it.
pub trait Events: Send + Sync {
    /// A command or built-in begins.
    fn started(&self, owner: &Owner);
    /// It ended; `failed` says how.
    fn finished(&self, owner: &Owner, ran: &Ran);
    /// A result was found instead.
    fn hit(&self, owner: &Owner);
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
    #[error("{owner} wants `{path}` of a tree that has no such path")]
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
    /// An artifact names an output that its action did not make.
    #[error("an output of {owner} is gone and cannot be made again")]
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
}

type Outcome = Result<Arc<Made>, Stop>;

/// One build.
pub struct Build {
    store: Arc<LocalStore>,
    executor: Arc<dyn Executor>,
    outside: Arc<dyn TreeSource>,
    files: DiskFiles,
    plan: Arc<Plan>,
    options: BuildOptions,
    events: Arc<dyn Events>,
    slots: Semaphore,
    nodes: Vec<OnceCell<Outcome>>,
    makers: Mutex<BTreeMap<Digest, NodeId>>,
    remade: Mutex<BTreeSet<NodeId>>,
    ran: Mutex<Vec<Ran>>,
    counts: Mutex<Counts>,
    failed: AtomicBool,
}

impl Build {
    /// Returns a build of `plan`. Trees from outside are had from `outside`.
    pub fn new(
        store: Arc<LocalStore>,
        executor: Arc<dyn Executor>,
        outside: Arc<dyn TreeSource>,
        files: DiskFiles,
        plan: Arc<Plan>,
        options: BuildOptions,
        events: Arc<dyn Events>,
    ) -> Arc<Self> {
        let nodes = (0..plan.graph.len()).map(|_| OnceCell::new()).collect();
        Arc::new(Self {
            store,
            executor,
            outside,
            files,
            slots: Semaphore::new(options.jobs.max(1)),
            plan,
            options,
            events,
            nodes,
            makers: Mutex::default(),
            remade: Mutex::default(),
            ran: Mutex::default(),
            counts: Mutex::default(),
            failed: AtomicBool::new(false),
        })
    }

    /// Builds every goal and returns what came of each; dropping the future ends everything that runs.
    pub async fn run(self: Arc<Self>) -> Result<Report, Arc<BuildError>> {
        let mut tasks = JoinSet::new();
        for (index, goal) in self.plan.goals.iter().enumerate() {
            if !goal.excluded {
                let build = Arc::clone(&self);
                tasks.spawn(async move { (index, build.goal(index).await) });
            }
        }
        let mut outcomes: Vec<Option<GoalOutcome>> = vec![None; self.plan.goals.len()];
        while let Some(joined) = tasks.join_next().await {
            let (index, outcome) = joined.expect("a goal does not panic");
            // Dropping the others with the set ends what they run.
            outcomes[index] = Some(outcome?);
        }
        let goals =
            outcomes.into_iter().map(|it| it.unwrap_or_else(GoalOutcome::excluded)).collect();
        let counts = *self.counts.lock().expect("no holder panics");
        let mut ran = std::mem::take(&mut *self.ran.lock().expect("no holder panics"));
        ran.sort_by(|left, right| left.owner.cmp(&right.owner));
        Ok(Report { goals, counts, ran })
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
                Err(Stop::Failed(failure)) => return Ok(GoalOutcome::failed(failure)),
                Err(Stop::Skipped) => return Ok(GoalOutcome::skipped()),
                Err(Stop::Broken(error)) => return Err(error),
            }
        }
        let status = if ran { GoalStatus::Built } else { GoalStatus::Cached };
        Ok(GoalOutcome { status, outputs })
    }

    /// Returns what an artifact came to; its bytes are here.
    async fn goal_output(&self, artifact: &Artifact) -> Result<(TreeNode, bool), Stop> {
        let owner = || self.owner_name(artifact.node);
        let (node, ran) = self.resolve(artifact, &owner).await?;
        let here = match &node {
            TreeNode::File { digest, .. } => self.store.contains(*digest).map_err(broken)?,
            TreeNode::Directory(tree) => {
                self.note_maker(tree.0, artifact.node);
                self.ensure_tree(*tree).await.map_err(broken)?.is_some()
            }
            TreeNode::Symlink(_) => true,
        };
        if here {
            return Ok((node, ran));
        }
        // It was promised by an earlier build and has vanished since: make it again.
        if !self.remake(artifact.node).await? {
            return Err(broken(BuildError::Gone { owner: owner() }));
        }
        Ok((node, true))
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
        async move { self.nodes[id].get_or_init(|| self.make(id)).await.clone() }.boxed()
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
            Node::Tree(entries) => {
                let owner = || "a tree".to_owned();
                let (tree, ran) = self.place(entries, &owner).await?;
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
            Node::Write { .. } | Node::Tree(_) => "a tree".to_owned(),
        }
    }

    fn is_stopping(&self) -> bool {
        self.options.fail_fast && self.failed.load(Ordering::Relaxed)
    }
}

/// Returns the stop for broken machinery.
pub(crate) fn broken(error: impl Into<BuildError>) -> Stop {
    Stop::Broken(Arc::new(error.into()))
}
