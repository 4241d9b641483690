//! Running actions again that have a result, and comparing: what is recorded stays as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use executor::Executor;
use model::{ActionDigest, ActionResult, Command, Digest, Node as TreeNode, RelativePath};
use store::StoreError;
use tokio::task::JoinSet;

use super::action::{Keyed, outputs_of};
use super::attempt::Attempted;
use super::{Build, BuildError, FailureKind, Ran, Stop, broken};
use crate::graph::{Node, NodeId, Owner};

/// How many differing paths of one action are told: who has more has one reason for all of them.
const DIFFERENCES_MAX: usize = 1000;

/// An action that was run again.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Its node in the plan.
    pub node: NodeId,
    /// Which one.
    pub owner: Owner,
    /// What it is called in the cache.
    pub action: ActionDigest,
    /// What came of it.
    pub verdict: Reproduction,
}

/// What came of running an action again.
#[derive(Clone, Debug, PartialEq)]
pub enum Reproduction {
    /// Every run made what is recorded.
    Reproducible,
    /// A run made something else.
    Differs {
        /// How many runs did.
        runs: usize,
        /// What the first of them made.
        outputs: Vec<OutputDifference>,
    },
    /// It did what it should once, and now it fails.
    Failed {
        /// How.
        kind: FailureKind,
        /// What the run that failed wrote to standard output, unless nothing.
        stdout: Option<Digest>,
        /// What it wrote to standard error, unless nothing.
        stderr: Option<Digest>,
    },
    /// It could not be run again: what it needs is not there any more.
    Untried {
        /// Why.
        reason: String,
    },
}

/// A file, link or tree that is not what is recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputDifference {
    /// Where it is, from the working directory.
    pub path: RelativePath,
    /// What is recorded.
    pub recorded: Option<TreeNode>,
    /// What was made now.
    pub again: Option<TreeNode>,
}

impl Build {
    /// Runs actions again, once on each of `executors`, and compares what they make with what is recorded.
    ///
    /// An action without a result is passed over. Nothing that a run makes is recorded.
    pub async fn verify(
        self: Arc<Self>,
        ran: Vec<Ran>,
        executors: Vec<Arc<dyn Executor>>,
    ) -> Result<Vec<Verified>, Arc<BuildError>> {
        let mut seen = BTreeSet::new();
        let mut left = ran.into_iter().filter(|ran| seen.insert(ran.action));
        let executors: Arc<[_]> = executors.into();
        let mut tasks = JoinSet::new();
        let mut verified = Vec::new();
        loop {
            while tasks.len() < self.options.jobs {
                let Some(ran) = left.next() else { break };
                let (build, executors) = (Arc::clone(&self), Arc::clone(&executors));
                tasks.spawn(async move { (build.verify_one(&ran, &executors).await, ran) });
            }
            let Some(joined) = tasks.join_next().await else { break };
            let (found, Ran { node, owner, action, .. }) =
                joined.expect("verifying does not panic");
            let reason = match found {
                Ok(found) => {
                    verified.extend(found);
                    continue;
                }
                Err(Stop::Broken(error)) => return Err(error),
                Err(Stop::Failed(failure)) => format!("{}: {}", failure.owner, failure.kind),
                Err(Stop::Unavailable(reason)) => reason.to_string(),
                Err(Stop::Skipped) => "a failure stopped the build".to_owned(),
            };
            verified.push(Verified {
                node,
                owner,
                action,
                verdict: Reproduction::Untried { reason },
            });
        }
        verified.sort_by(|left, right| left.owner.cmp(&right.owner));
        Ok(verified)
    }

    async fn verify_one(
        &self,
        ran: &Ran,
        executors: &[Arc<dyn Executor>],
    ) -> Result<Option<Verified>, Stop> {
        let Some(recorded) = self.store.lookup_result(ran.action).map_err(broken)? else {
            return Ok(None);
        };
        let Some(keyed) = self.keyed_of(ran.node).await? else { return Ok(None) };
        let mut verdict = Reproduction::Reproducible;
        for executor in executors {
            let found = self.run_again(ran, &keyed, &recorded, executor.as_ref()).await?;
            verdict = match (verdict, found) {
                (verdict, Reproduction::Reproducible) => verdict,
                (Reproduction::Differs { runs, outputs }, Reproduction::Differs { .. }) => {
                    Reproduction::Differs { runs: runs + 1, outputs }
                }
                (_, found) => found,
            };
            if let Reproduction::Failed { .. } = verdict {
                break;
            }
        }
        let owner = ran.owner.clone();
        Ok(Some(Verified { node: ran.node, owner, action: ran.action, verdict }))
    }

    async fn run_again(
        &self,
        ran: &Ran,
        keyed: &Keyed,
        recorded: &ActionResult,
        executor: &dyn Executor,
    ) -> Result<Reproduction, Stop> {
        let slot = self.slot().await;
        let attempted = self.attempt(executor, &ran.owner, keyed).await;
        drop(slot);
        let Attempted { span, result, failure, .. } = attempted?;
        self.events.finished(&Ran {
            executed: Some(span),
            failure: failure.clone(),
            wall: result.metadata.wall,
            cpu: result.metadata.cpu,
            stdout: result.stdout,
            stderr: result.stderr,
            ..ran.clone()
        });
        if let Some(kind) = failure {
            return Ok(Reproduction::Failed { kind, stdout: result.stdout, stderr: result.stderr });
        }
        let outputs = tokio::task::block_in_place(|| {
            self.compare(&keyed.command, recorded, &result).map_err(broken)
        })?;
        Ok(if outputs.is_empty() {
            Reproduction::Reproducible
        } else {
            Reproduction::Differs { runs: 1, outputs }
        })
    }

    fn compare(
        &self,
        command: &Command,
        recorded: &ActionResult,
        again: &ActionResult,
    ) -> Result<Vec<OutputDifference>, StoreError> {
        let outputs = |result| outputs_of(command, result).unwrap_or_default();
        let mut differences = Vec::new();
        let mut pending = vec![(RelativePath::root(), outputs(recorded), outputs(again))];
        while let Some((folder, recorded, mut again)) = pending.pop() {
            let mut pairs: BTreeMap<_, _> = recorded
                .into_iter()
                .map(|(path, node)| (path.clone(), (Some(node), again.remove(&path))))
                .collect();
            pairs.extend(again.into_iter().map(|(path, node)| (path, (None, Some(node)))));
            for (path, (recorded, again)) in pairs {
                if recorded == again || differences.len() >= DIFFERENCES_MAX {
                    continue;
                }
                let path = folder.join(&path);
                if let (Some(left), Some(right)) = (&recorded, &again)
                    && let (Some(left), Some(right)) = (self.listed(left)?, self.listed(right)?)
                {
                    pending.push((path, left, right));
                    continue;
                }
                differences.push(OutputDifference { path, recorded, again });
            }
        }
        differences.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(differences)
    }

    /// Returns what is in a tree, if the node is one whose listing is here.
    fn listed(
        &self,
        node: &TreeNode,
    ) -> Result<Option<BTreeMap<RelativePath, TreeNode>>, StoreError> {
        let TreeNode::Directory(tree) = node else { return Ok(None) };
        let listing = |directory: model::Directory| {
            let children = directory.children();
            children.map(|(name, node)| (RelativePath::from(name.clone()), node.clone())).collect()
        };
        Ok(self.store.directory(*tree)?.map(listing))
    }

    /// Returns a node as the action that it is, once its inputs are there; nothing if it is none.
    pub(super) async fn keyed_of(&self, id: NodeId) -> Result<Option<Keyed>, Stop> {
        match self.plan.graph.node(id) {
            Node::Run(run) => self.key_of_run(run).await.map(Some),
            Node::Builtin(builtin) => self.key_of_builtin(builtin).await.map(Some),
            Node::Source(_) | Node::Locked(_) | Node::Write { .. } | Node::Tree(_) => Ok(None),
        }
    }
}
