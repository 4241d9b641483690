//! What others made: found in a remote, and brought near only as far as somebody needs its bytes.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use model::{ActionDigest, ActionResult, Command, Digest, Node as TreeNode, TreeDigest};
use store::{
    DegradingStore, LocalStore, Provenance, Purpose, Remote, StoreError, TieredStore,
    TreeSource as _,
};

use super::action::{Keyed, outputs_of};
use super::upload::{Uploads, Work};
use super::{Build, Events, Made, Transfer};
use crate::graph::{Node, NodeId, Owner};

/// A remote, and what a build has to do with it.
pub(super) struct Far {
    remote: DegradingStore,
    tiers: TieredStore,
    uploads: Option<Uploads>,
    /// Whose results promised what was not there.
    distrusted: Mutex<BTreeSet<ActionDigest>>,
    /// Whether nothing that others said counts any more.
    ignored: AtomicBool,
}

impl Far {
    pub(super) fn new(
        store: &Arc<LocalStore>,
        remote: Arc<dyn Remote>,
        events: &Arc<dyn Events>,
    ) -> Self {
        let hearer = Arc::clone(events);
        let remote = DegradingStore::new(remote, move |error| hearer.degraded(error));
        store.believe(remote.provenance());
        let uploads = remote.is_writable().then(|| Uploads::new(store, Arc::new(remote.clone())));
        Self {
            tiers: TieredStore::new(Arc::clone(store), Arc::new(remote.clone())),
            remote,
            uploads,
            distrusted: Mutex::default(),
            ignored: AtomicBool::new(false),
        }
    }

    /// Returns what went to and fro by now.
    pub(super) fn transfer(&self) -> Transfer {
        let (downloaded_blobs, downloaded_bytes) = self.tiers.come();
        let uploaded = self.uploads.as_ref().map(Uploads::transfer).unwrap_or_default();
        Transfer { downloaded_blobs, downloaded_bytes, ..uploaded }
    }

    /// Waits until everything is uploaded, or has failed to be.
    pub(super) async fn finish_uploads(&self, events: &dyn Events) {
        if let Some(uploads) = &self.uploads {
            uploads.finish(events).await;
        }
    }

    /// Does not believe an action's result again in this build, whoever gives it.
    fn distrust(&self, action: ActionDigest) {
        self.distrusted.lock().expect("no holder panics").insert(action);
    }

    /// Believes nothing any more that others said.
    pub(super) fn ignore(&self) {
        self.ignored.store(true, Ordering::Relaxed);
    }

    fn is_believed(&self, action: ActionDigest) -> bool {
        !self.ignored.load(Ordering::Relaxed)
            && !self.distrusted.lock().expect("no holder panics").contains(&action)
    }
}

impl Build {
    /// Returns what this store says that the action made, as far as it is believed in this build.
    pub(super) fn find_near(
        &self,
        action: ActionDigest,
    ) -> Result<Option<ActionResult>, StoreError> {
        let found = self.store.lookup_result_of(action)?;
        let is_believed = |(provenance, _): &(Provenance, _)| {
            let far = self.far.as_ref();
            *provenance == Provenance::Local || far.is_none_or(|far| far.is_believed(action))
        };
        Ok(found.filter(is_believed).map(|(_, result)| result))
    }

    /// Returns what the remote says that the action made; it is recorded here, so it is asked once.
    pub(super) async fn find_afar(
        &self,
        owner: &Owner,
        keyed: &Keyed,
    ) -> Result<Option<ActionResult>, StoreError> {
        let Some(far) = self.far.as_ref().filter(|far| far.is_believed(keyed.digest)) else {
            return Ok(None);
        };
        let remote = far.remote.for_action(&purpose(owner, keyed));
        let Some(result) = remote.lookup(keyed.digest).await? else { return Ok(None) };
        if !is_plausible(&keyed.command, &result) {
            return Ok(None);
        }
        tokio::task::block_in_place(|| {
            self.store.record_result_of(&far.remote.provenance(), keyed.digest, &result)
        })?;
        Ok(Some(result))
    }

    /// Makes a blob present that is here or in the remote, and returns whether it is.
    pub(super) async fn bring_blob(&self, digest: Digest) -> Result<bool, StoreError> {
        match &self.far {
            Some(far) => far.tiers.bring(digest).await,
            None => tokio::task::block_in_place(|| self.store.contains(digest)),
        }
    }

    /// Makes the listing of one directory present, if the remote has it.
    pub(super) async fn bring_listing(&self, tree: TreeDigest) -> Result<bool, StoreError> {
        let Some(far) = &self.far else { return Ok(false) };
        Ok(far.tiers.bring_listing(tree).await?.is_some())
    }

    /// Makes the listings of a whole tree present, if they are here or in the remote.
    pub(super) async fn bring_listings(&self, tree: TreeDigest) -> Result<bool, StoreError> {
        let Some(far) = &self.far else { return Ok(false) };
        far.tiers.ensure_listings(tree).await
    }

    /// Makes a tree present that is not made here: from the remote, else from outside.
    pub(super) async fn bring_tree(&self, tree: TreeDigest) -> Result<Option<PathBuf>, StoreError> {
        if let Some(far) = &self.far
            && let Some(path) = far.tiers.ensure(tree).await?
        {
            return Ok(Some(path));
        }
        self.outside.ensure(tree).await
    }

    /// Makes all bytes of what a node came to present that are here or in the remote; returns whether they all are.
    pub(super) async fn bring_made(&self, made: &Made) -> Result<bool, StoreError> {
        for node in made.outputs.values() {
            let is_here = match node {
                TreeNode::File { digest, .. } => self.bring_blob(*digest).await?,
                TreeNode::Directory(tree) => {
                    tokio::task::block_in_place(|| self.store.contains_tree(*tree))?
                        || match &self.far {
                            Some(far) => far.tiers.bring_tree(*tree).await?.is_empty(),
                            None => false,
                        }
                }
                TreeNode::Symlink(_) => true,
            };
            if !is_here {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Forgets a result that promised what is not there, and does not believe it again in this build.
    pub(super) fn doubt(&self, action: ActionDigest) -> Result<(), StoreError> {
        if let Some(far) = &self.far {
            far.distrust(action);
        }
        self.store.forget_result(action)
    }

    /// Uploads what an action made that ran here, when there is time.
    pub(super) fn upload(&self, id: NodeId, owner: &Owner, keyed: &Keyed, result: &ActionResult) {
        let Some(uploads) = self.far.as_ref().and_then(|far| far.uploads.as_ref()) else { return };
        uploads.add(Work {
            purpose: purpose(owner, keyed),
            command: keyed.action.command,
            input_root: keyed.action.input_root,
            result: result.clone(),
            locked: self.locked_inputs(id),
        });
    }

    /// Returns the locked trees among what an action reads.
    fn locked_inputs(&self, id: NodeId) -> Vec<TreeDigest> {
        let graph = &self.plan.graph;
        let mut locked = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut pending: Vec<_> = graph.node(id).needs().map(|it| it.node).collect();
        while let Some(id) = pending.pop() {
            if !seen.insert(id) {
                continue;
            }
            match graph.node(id) {
                Node::Locked(tree) => _ = locked.insert(*tree),
                Node::Tree(tree) => pending.extend(tree.entries.iter().map(|(_, it)| it.node)),
                Node::Source(_) | Node::Write { .. } | Node::Run(_) | Node::Builtin(_) => {}
            }
        }
        locked.into_iter().collect()
    }
}

fn purpose(owner: &Owner, keyed: &Keyed) -> Purpose {
    let target = format!("{}{}", owner.label, owner.cell);
    Purpose { action: keyed.digest, target, mnemonic: owner.role.clone() }
}

/// Returns whether a result is one that an action can have come to which did what it should: all outputs that it
/// declares, and no others.
pub(super) fn is_plausible(command: &Command, result: &ActionResult) -> bool {
    let outputs = result.files.len() + result.directories.len() + result.symlinks.len();
    result.exit_code == 0
        && outputs == command.output_paths.len()
        && outputs_of(command, result).is_ok()
}
