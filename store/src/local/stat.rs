//! What the store holds, in numbers.

use std::collections::{HashMap, HashSet};

use model::{Digest, Node, TreeDigest};

use super::LocalStore;
use super::actions::Remembered;
use super::gc::{BlobName, Survey};
use crate::StoreError;

/// What the store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStat {
    /// How many different blobs.
    pub blobs: u64,
    /// How many whole trees, ready to be mounted.
    pub trees: u64,
    /// How many results of actions.
    pub results: u64,
    /// How many remembered failures.
    pub failures: u64,
    /// Bytes that everything would take if nothing were shared: each tree and each other blob by itself.
    pub logical_bytes: u64,
    /// Bytes that it takes on disk.
    pub physical_bytes: u64,
}

impl LocalStore {
    /// Counts what is here; looks at every file once.
    pub fn stat(&self) -> Result<StoreStat, StoreError> {
        let survey = self.survey()?;
        let of = |table| survey.results.keys().filter(|(of, _)| *of == table).count() as u64;
        Ok(StoreStat {
            blobs: survey.blobs.len() as u64,
            trees: survey.trees.len() as u64,
            results: of(Remembered::Success),
            failures: of(Remembered::Failure),
            logical_bytes: self.logical_bytes(&survey)?,
            physical_bytes: survey.physical(),
        })
    }

    fn logical_bytes(&self, survey: &Survey) -> Result<u64, StoreError> {
        let mut sizes: HashMap<BlobName, u64> = HashMap::new();
        let mut in_trees: HashSet<BlobName> = HashSet::new();
        let mut total = 0;
        let roots = self.roots()?.into_iter().map(|root| (root.0.function(), root.0.hex()));
        for tree in survey.trees.keys().cloned().chain(roots) {
            total += self.tree_bytes(survey, &tree, &mut sizes, &mut in_trees)?;
        }
        let others = survey.blobs.iter().filter(|(name, _)| !in_trees.contains(*name));
        Ok(total + others.map(|(_, found)| found.bytes).sum::<u64>())
    }

    fn tree_bytes(
        &self,
        survey: &Survey,
        tree: &BlobName,
        sizes: &mut HashMap<BlobName, u64>,
        in_trees: &mut HashSet<BlobName>,
    ) -> Result<u64, StoreError> {
        if let Some(size) = sizes.get(tree) {
            return Ok(*size);
        }
        let Some(found) = survey.blobs.get(tree) else { return Ok(0) };
        let Ok(digest) = Digest::from_hex(tree.0, &tree.1, found.bytes) else { return Ok(0) };
        let Some(directory) = self.directory_unpinned(TreeDigest(digest)) else { return Ok(0) };
        in_trees.insert(tree.clone());
        let mut bytes = found.bytes;
        for (_, node) in directory.children() {
            match node {
                Node::File { digest, .. } => {
                    in_trees.insert((digest.function(), digest.hex()));
                    bytes += digest.size();
                }
                Node::Directory(child) => {
                    let child = (child.0.function(), child.0.hex());
                    bytes += self.tree_bytes(survey, &child, sizes, in_trees)?;
                }
                Node::Symlink(_) => {}
            }
        }
        sizes.insert(tree.clone(), bytes);
        Ok(bytes)
    }
}
