//! Where executors get trees from: this store, the remote, the outside, or the action that makes them.

use std::path::PathBuf;

use async_trait::async_trait;
use futures::future::{BoxFuture, FutureExt as _};
use model::{Digest, TreeDigest};
use store::{StoreError, TreeSource};

use super::{Build, Stop, broken};
use crate::graph::{Node, NodeId};

impl Build {
    /// Remembers which node a tree comes from, in case its bytes turn out to be gone.
    pub(super) fn note_maker(&self, tree: Digest, node: NodeId) {
        self.makers.lock().expect("no holder panics").entry(tree).or_default().insert(node);
    }

    /// Makes a tree present: from this store, from the remote, from outside, or by running again what makes it.
    pub(super) fn ensure_tree(
        &self,
        tree: TreeDigest,
    ) -> BoxFuture<'_, Result<Option<PathBuf>, StoreError>> {
        async move {
            let here = tokio::task::block_in_place(|| self.store.materialise(tree))?;
            if here.is_some() {
                return Ok(here);
            }
            if let Some(path) = self.bring_tree(tree).await? {
                return Ok(Some(path));
            }
            let makers = self.makers.lock().expect("no holder panics").get(&tree.0).cloned();
            for maker in makers.unwrap_or_default() {
                match self.restore(maker).await {
                    Ok(()) => {}
                    Err(Stop::Unavailable(reason)) => {
                        return Err(StoreError::Vanished { tree, reason });
                    }
                    // The caller says what it misses; the node's own outcome says why.
                    Err(Stop::Failed(_) | Stop::Skipped | Stop::Broken(_)) => return Ok(None),
                }
            }
            tokio::task::block_in_place(|| self.store.materialise(tree))
        }
        .boxed()
    }

    /// Makes the bytes of what a node came to present again, wherever they come from.
    pub(super) fn restore(&self, id: NodeId) -> BoxFuture<'_, Result<(), Stop>> {
        async move {
            match self.plan.graph.node(id) {
                // Taken in by this build, and cheap to take in again.
                Node::Source(_) | Node::Write { .. } => self.make(id).await.map(|_| ()),
                Node::Locked(tree) => {
                    let here = tokio::task::block_in_place(|| self.store.contains_tree(*tree));
                    if !here.map_err(broken)? {
                        self.bring_tree(*tree).await.map_err(broken)?;
                    }
                    Ok(())
                }
                Node::Tree(tree) => {
                    for (_, artifact) in &tree.entries {
                        self.restore(artifact.node).await?;
                    }
                    self.make(id).await.map(|_| ())
                }
                Node::Run(_) | Node::Builtin(_) => {
                    let made = self.node(id).await?;
                    let is_whole = self.bring_made(&made).await.map_err(broken)?;
                    if is_whole { Ok(()) } else { self.remake(id).await }
                }
            }
        }
        .boxed()
    }
}

#[async_trait]
impl TreeSource for Build {
    async fn ensure(&self, tree: TreeDigest) -> Result<Option<PathBuf>, StoreError> {
        self.ensure_tree(tree).await
    }

    async fn ensure_listings(&self, tree: TreeDigest) -> Result<bool, StoreError> {
        Ok(self.bring_listings(tree).await? || self.ensure_tree(tree).await?.is_some())
    }
}
