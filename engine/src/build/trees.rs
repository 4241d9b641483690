//! Where executors get trees from: this store, the outside, or the action that makes them.

use std::path::PathBuf;

use async_trait::async_trait;
use futures::future::{BoxFuture, FutureExt as _};
use model::{Digest, TreeDigest};
use store::{StoreError, TreeSource};

use super::{Build, Stop};
use crate::graph::NodeId;

impl Build {
    /// Remembers which node makes a tree, in case its bytes turn out to be gone.
    pub(super) fn note_maker(&self, tree: Digest, node: NodeId) {
        self.makers.lock().expect("no holder panics").entry(tree).or_insert(node);
    }

    /// Makes a tree present: from this store, from outside, or by running again what makes it.
    pub(super) fn ensure_tree(
        &self,
        tree: TreeDigest,
    ) -> BoxFuture<'_, Result<Option<PathBuf>, StoreError>> {
        async move {
            let here = tokio::task::block_in_place(|| self.store.materialise(tree))?;
            if here.is_some() {
                return Ok(here);
            }
            if let Some(path) = self.outside.ensure(tree).await? {
                return Ok(Some(path));
            }
            let maker = self.makers.lock().expect("no holder panics").get(&tree.0).copied();
            let Some(maker) = maker else { return Ok(None) };
            match self.remake(maker).await {
                Ok(_) => tokio::task::block_in_place(|| self.store.materialise(tree)),
                // The caller says what it misses; the node's own outcome says why.
                Err(Stop::Failed(_) | Stop::Skipped | Stop::Broken(_)) => Ok(None),
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
}
