//! Actions: from a node to a digest, from the digest to a result, found or made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use executor::{BUILTIN_PROGRAM, Fate, SANDBOX_SALT, builtin_salt, joined};
use futures::future::{BoxFuture, FutureExt as _};
use model::{
    Action, ActionDigest, ActionResult, Command, Digest, Node as TreeNode, Platform, RelativePath,
    TreeDigest,
};
use store::{ActionLock, StoreError};
use tokio::sync::{OnceCell, SemaphorePermit};
use wire::encode;

use super::attempt::Attempted;
use super::{Build, BuildError, Failure, FailureKind, Made, Outcome, Ran, Span, Stop, broken};
use crate::graph::{Artifact, BuiltinNode, Node, NodeId, Owner, RunNode};

/// Where every command starts.
const WORKING_DIRECTORY: &str = "work";

/// Where a built-in's only output lies.
const BUILTIN_OUTPUT: &str = "out/tree";

/// An action, its command, and what they are called.
pub(super) struct Keyed {
    pub(super) action: Action,
    pub(super) command: Command,
    pub(super) digest: ActionDigest,
}

/// Where a result was found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// In the store of this machine.
    Near,
    /// In the remote.
    Afar,
}

/// How a result came about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// It was found.
    Found(Found),
    /// The action ran.
    Ran(Span),
}

impl How {
    fn span(self) -> Option<Span> {
        if let Self::Ran(span) = self { Some(span) } else { None }
    }
}

impl Build {
    pub(super) async fn run_node(&self, id: NodeId, run: &RunNode) -> Outcome {
        if run.test {
            return self.test_node(id, run).await;
        }
        let keyed = self.key_of_run(run).await?;
        self.obtain(id, &run.owner, &keyed).await
    }

    pub(super) async fn builtin_node(&self, id: NodeId, builtin: &BuiltinNode) -> Outcome {
        let keyed = self.key_of_builtin(builtin).await?;
        self.obtain(id, &builtin.owner, &keyed).await
    }

    /// Boxed, because inputs may have to be made again, which needs their keys.
    pub(super) fn key_of_run<'a>(&'a self, run: &'a RunNode) -> BoxFuture<'a, Result<Keyed, Stop>> {
        self.key_of_run_now(run).boxed()
    }

    async fn key_of_run_now(&self, run: &RunNode) -> Result<Keyed, Stop> {
        let owner = || run.owner.to_string();
        let (input_root, _) = self.place(&run.inputs, &owner).await?;
        run_key(run, input_root, |bytes| self.store.ingest_bytes(bytes, false))
    }

    pub(super) fn key_of_builtin<'a>(
        &'a self,
        builtin: &'a BuiltinNode,
    ) -> BoxFuture<'a, Result<Keyed, Stop>> {
        self.key_of_builtin_now(builtin).boxed()
    }

    async fn key_of_builtin_now(&self, builtin: &BuiltinNode) -> Result<Keyed, Stop> {
        let owner = || builtin.owner.to_string();
        for artifact in &builtin.inputs {
            let (node, _) = self.resolve(artifact, &owner).await?;
            let TreeNode::Directory(_) = node else {
                return Err(broken(BuildError::NotATree { owner: owner() }));
            };
        }
        let (input_root, _) = self.place(&builtin_entries(builtin), &owner).await?;
        builtin_key(builtin, input_root, |bytes| self.store.ingest_bytes(bytes, false))
    }

    /// Returns the action's result: found, waited for, or made.
    async fn obtain(&self, id: NodeId, owner: &Owner, keyed: &Keyed) -> Outcome {
        if let Some(outcome) = self.find(id, owner, keyed)? {
            return outcome;
        }
        // Takes no slot, either.
        if let Some(result) = self.find_afar(owner, keyed).await.map_err(broken)? {
            let made = self.found(id, owner, keyed, &result, Found::Afar);
            return Ok(made.expect("it has all outputs"));
        }
        if self.is_stopping() {
            return Err(Stop::Skipped);
        }
        // In this order: the lock is given back first. Were the slot, the next action would take a lock of its own
        // while the results of many that have run are still being recorded.
        let (_slot, _lock) = self.slot_and_lock(keyed.digest).await?;
        if let Some(outcome) = self.find(id, owner, keyed)? {
            return outcome;
        }
        self.execute(id, owner, keyed).await
    }

    /// Returns when the action may run here, and nobody else runs it.
    pub(super) async fn slot_and_lock(
        &self,
        digest: ActionDigest,
    ) -> Result<(SemaphorePermit<'_>, ActionLock), Stop> {
        // The slot first: locks are files, and of thousands of ready actions only those that run hold one.
        let slot = self.slot().await;
        let tried = tokio::task::block_in_place(|| self.store.try_lock_action(digest));
        if let Some(lock) = tried.map_err(broken)? {
            return Ok((slot, lock));
        }
        drop(slot);
        self.wait_for_others(digest).await
    }

    pub(super) async fn slot(&self) -> SemaphorePermit<'_> {
        self.slots.acquire().await.expect("the slots are never closed")
    }

    /// Waits for another process that runs the action; waiting takes no slot.
    async fn wait_for_others(
        &self,
        digest: ActionDigest,
    ) -> Result<(SemaphorePermit<'_>, ActionLock), Stop> {
        let waiter = self.waiters.acquire().await.expect("the waiters are never closed");
        let store = Arc::clone(&self.store);
        let locked = joined(tokio::task::spawn_blocking(move || store.lock_action(digest))).await;
        drop(waiter);
        let lock = locked.map_err(broken)?;
        Ok((self.slot().await, lock))
    }

    /// Looks the action up among successes and remembered failures.
    fn find(&self, id: NodeId, owner: &Owner, keyed: &Keyed) -> Result<Option<Outcome>, Stop> {
        tokio::task::block_in_place(|| {
            if let Some(result) = self.find_near(keyed.digest).map_err(broken)?
                && let Some(made) = self.found(id, owner, keyed, &result, Found::Near)
            {
                return Ok(Some(Ok(made)));
            }
            if self.options.retry_failed {
                return Ok(None);
            }
            let failed = self.store.lookup_failure(keyed.digest).map_err(broken)?;
            Ok(failed.map(|result| {
                let kind = failure_of(&keyed.command, &result, Fate::Exited);
                let kind = kind.unwrap_or(FailureKind::Exit(result.exit_code));
                let how = How::Found(Found::Near);
                let ran = self.count(id, owner, keyed.digest, &result, how, Some(kind.clone()));
                self.events.hit(&ran);
                Err(self.failed(id, owner, keyed.digest, kind, &result, true))
            }))
        })
    }

    /// Takes a result that was found, if it has all outputs.
    pub(super) fn found(
        &self,
        id: NodeId,
        owner: &Owner,
        keyed: &Keyed,
        result: &ActionResult,
        found: Found,
    ) -> Option<Arc<Made>> {
        let outputs = outputs_of(&keyed.command, result).ok()?;
        let ran = self.count(id, owner, keyed.digest, result, How::Found(found), None);
        self.events.hit(&ran);
        self.note_outputs(id, &outputs);
        Some(Arc::new(Made { outputs, ran: false }))
    }

    async fn execute(&self, id: NodeId, owner: &Owner, keyed: &Keyed) -> Outcome {
        if self.is_stopping() {
            return Err(Stop::Skipped);
        }
        self.run_once(id, owner, keyed).await
    }

    async fn run_once(&self, id: NodeId, owner: &Owner, keyed: &Keyed) -> Outcome {
        let attempted = self.attempt(&*self.executor, owner, keyed).await?;
        self.settle(id, owner, keyed, &attempted)
    }

    /// Records what came of running an action.
    fn settle(&self, id: NodeId, owner: &Owner, keyed: &Keyed, attempted: &Attempted) -> Outcome {
        let Attempted { span, result, failure, .. } = attempted;
        let how = How::Ran(*span);
        let ran = self.count(id, owner, keyed.digest, result, how, failure.clone());
        self.events.finished(&ran);
        if let Some(kind) = failure.clone() {
            // 128 and above is how shells tell of a signal that ended their child: perhaps the machine's fault.
            if attempted.is_repeatable() && result.exit_code < 128 {
                self.store.record_failure(keyed.digest, result).map_err(broken)?;
            }
            return Err(self.failed(id, owner, keyed.digest, kind, result, false));
        }
        if attempted.is_isolated() {
            self.store.record_result(keyed.digest, result).map_err(broken)?;
            self.upload(id, owner, keyed, result);
        }
        let outputs = outputs_of(&keyed.command, result).unwrap_or_default();
        self.note_outputs(id, &outputs);
        Ok(Arc::new(Made { outputs, ran: true }))
    }

    pub(super) fn failed(
        &self,
        id: NodeId,
        owner: &Owner,
        action: ActionDigest,
        kind: FailureKind,
        result: &ActionResult,
        remembered: bool,
    ) -> Stop {
        if !self.tolerated.contains(&id) {
            self.failed.store(true, Ordering::Relaxed);
        }
        Stop::Failed(Arc::new(Failure {
            owner: owner.clone(),
            action: Some(action),
            kind,
            remembered,
            stdout: result.stdout,
            stderr: result.stderr,
        }))
    }

    pub(super) fn count(
        &self,
        node: NodeId,
        owner: &Owner,
        action: ActionDigest,
        result: &ActionResult,
        how: How,
        failure: Option<FailureKind>,
    ) -> Ran {
        let cpu = result.metadata.cpu;
        let ran = Ran {
            node,
            owner: owner.clone(),
            action,
            executed: how.span(),
            from_remote: how == How::Found(Found::Afar),
            failure,
            wall: result.metadata.wall,
            cpu,
            stdout: result.stdout,
            stderr: result.stderr,
        };
        // In a second pass, what ran in the first is found, which is no news.
        let is_news = ran.executed.is_some()
            || !self.ran_before.lock().expect("no holder panics").contains(&action);
        if is_news {
            self.counts.lock().expect("no holder panics").add(&ran);
            self.ran.lock().expect("no holder panics").push(ran.clone());
        }
        ran
    }

    pub(super) fn note_outputs(&self, id: NodeId, outputs: &BTreeMap<RelativePath, TreeNode>) {
        for node in outputs.values() {
            if let TreeNode::Directory(tree) = node {
                self.note_maker(tree.0, id);
            }
        }
    }

    /// Runs a node's action again, whatever the cache says, because its outputs are gone: once in a build.
    ///
    /// Takes no slot: whoever misses the outputs may hold the last one.
    pub(super) async fn remake(&self, id: NodeId) -> Result<(), Stop> {
        let remaking = {
            let mut remade = self.remade.lock().expect("no holder panics");
            Arc::clone(remade.entry(id).or_insert_with(|| Arc::new(OnceCell::new())))
        };
        remaking.get_or_init(|| self.remake_now(id)).await.clone()
    }

    async fn remake_now(&self, id: NodeId) -> Result<(), Stop> {
        let (owner, keyed) = match self.plan.graph.node(id) {
            Node::Run(run) if run.test => {
                let keyed = self.key_of_run(run).await?;
                return self.run_test(id, &run.owner, &keyed).await.map(|_| ());
            }
            Node::Run(run) => (&run.owner, self.key_of_run(run).await?),
            Node::Builtin(it) => {
                // It needs no more than listings; the bytes of what it makes are those of its inputs.
                for artifact in &it.inputs {
                    self.restore(artifact.node).await?;
                }
                (&it.owner, self.key_of_builtin(it).await?)
            }
            Node::Source(_) | Node::Locked(_) | Node::Write { .. } | Node::Tree(_) => return Ok(()),
        };
        self.doubt(keyed.digest).map_err(broken)?;
        self.run_once(id, owner, &keyed).await.map(|_| ())
    }
}

/// Returns the key of a command whose inputs are known; `keep` names the messages that it is made of.
pub(super) fn run_key(
    run: &RunNode,
    input_root: TreeDigest,
    keep: impl Fn(&[u8]) -> Result<Digest, StoreError>,
) -> Result<Keyed, Stop> {
    let command = Command {
        arguments: run.arguments.clone(),
        environment: (*run.environment).clone(),
        output_paths: run.outputs.clone(),
        working_directory: RelativePath::new(WORKING_DIRECTORY).expect("a constant"),
    };
    let property = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let platform = Platform(BTreeMap::from([
        property("ISA", "x86-64"),
        property("OSFamily", "linux"),
        property("bld-root", "input"),
    ]));
    let action = Action {
        command: keep(&encode::command(&command)).map_err(broken)?,
        input_root,
        timeout: run.timeout,
        salt: SANDBOX_SALT.to_owned(),
        platform,
    };
    keyed(action, command, keep)
}

/// Returns the key of a built-in whose inputs are known; `keep` names the messages that it is made of.
pub(super) fn builtin_key(
    builtin: &BuiltinNode,
    input_root: TreeDigest,
    keep: impl Fn(&[u8]) -> Result<Digest, StoreError>,
) -> Result<Keyed, Stop> {
    let salt = builtin_salt(&builtin.name).ok_or_else(|| {
        let owner = builtin.owner.to_string();
        broken(BuildError::UnknownBuiltin { owner, name: builtin.name.clone() })
    })?;
    let command = Command {
        arguments: vec![BUILTIN_PROGRAM.to_owned(), builtin.name.clone(), builtin.options.clone()],
        output_paths: vec![RelativePath::new(BUILTIN_OUTPUT).expect("a constant")],
        ..Command::default()
    };
    let action = Action {
        command: keep(&encode::command(&command)).map_err(broken)?,
        input_root,
        timeout: None,
        salt,
        platform: Platform::default(),
    };
    keyed(action, command, keep)
}

/// Both messages are kept: a later build explains itself by comparing them.
fn keyed(
    action: Action,
    command: Command,
    keep: impl Fn(&[u8]) -> Result<Digest, StoreError>,
) -> Result<Keyed, Stop> {
    let digest = ActionDigest(keep(&encode::action(&action)).map_err(broken)?);
    Ok(Keyed { action, command, digest })
}

/// Returns what a built-in sees: its inputs, numbered.
pub(super) fn builtin_entries(builtin: &BuiltinNode) -> Vec<(RelativePath, Artifact)> {
    let place = |(number, artifact): (usize, &Artifact)| {
        let place = RelativePath::new(number.to_string()).expect("a number is a name");
        (place, artifact.clone())
    };
    builtin.inputs.iter().enumerate().map(place).collect()
}

/// Returns each declared output of a result, or the first that is lacking.
pub(super) fn outputs_of(
    command: &Command,
    result: &ActionResult,
) -> Result<BTreeMap<RelativePath, TreeNode>, RelativePath> {
    let files = result.files.iter().map(|file| {
        let node = TreeNode::File { digest: file.digest, executable: file.executable };
        (file.path.clone(), node)
    });
    let trees = result.directories.iter().map(|it| (it.path.clone(), TreeNode::Directory(it.root)));
    let links =
        result.symlinks.iter().map(|it| (it.path.clone(), TreeNode::Symlink(it.target.clone())));
    let mut outputs: BTreeMap<_, _> = files.chain(trees).chain(links).collect();
    for path in &command.output_paths {
        if !outputs.contains_key(path) {
            return Err(path.clone());
        }
    }
    // A built-in has one output, which artifacts name as the whole node.
    let builtin = command.arguments.first().is_some_and(|program| program == BUILTIN_PROGRAM);
    if builtin && let Some(tree) = outputs.remove(&command.output_paths[0]) {
        outputs.insert(RelativePath::root(), tree);
    }
    Ok(outputs)
}

/// Returns how a command failed, if it did.
pub(super) fn failure_of(
    command: &Command,
    result: &ActionResult,
    fate: Fate,
) -> Option<FailureKind> {
    match fate {
        Fate::TimedOut => return Some(FailureKind::TimedOut),
        Fate::OutOfMemory => return Some(FailureKind::OutOfMemory),
        Fate::Signalled(signal) => return Some(FailureKind::Signal(signal)),
        Fate::Exited => {}
    }
    if result.exit_code != 0 {
        return Some(FailureKind::Exit(result.exit_code));
    }
    outputs_of(command, result).err().map(FailureKind::NoOutput)
}
