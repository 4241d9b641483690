//! Verification: everything is hashed again, and what is wrong is set aside.

use std::fs;
use std::path::{Path, PathBuf};

use model::{ActionDigest, Digest, TreeDigest};
use rayon::prelude::*;

use super::LocalStore;
use super::blobs::hash_file;
use super::gc::BlobName;
use crate::StoreError;

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// How many files of blobs were hashed.
    pub blobs: u64,
    /// How many trees were compared with their digests.
    pub trees: u64,
    /// How many results were parsed.
    pub results: u64,
    /// Bytes hashed.
    pub bytes: u64,
    /// What was wrong and is now in `quarantine/`.
    pub quarantined: Vec<PathBuf>,
}

impl LocalStore {
    /// Hashes every blob and tree again, parses every result, and sets aside what is wrong.
    ///
    /// Whatever looks wrong is pinned and looked at once more: a collector may have been taking it away,
    /// and somebody else may have made it again since.
    pub fn verify(&self) -> Result<Verified, StoreError> {
        let mut verified = Verified::default();
        let survey = self.survey()?;
        // Trees first: a blob that is set aside would make every tree of it look torn.
        let trees: Vec<_> = survey.trees.into_iter().collect();
        verified.trees = trees.len() as u64;
        let wrong = trees.into_par_iter().filter_map(|((function, hex), found)| {
            let digest =
                Digest::from_hex(function, &hex, 0).expect("the survey only lists digests");
            let path = found.paths.into_iter().next().expect("a tree has a path");
            self.check_tree(TreeDigest(digest)).map(|_fault| (TreeDigest(digest), path))
        });
        let wrong: Vec<_> = wrong.collect();
        for (tree, path) in wrong {
            if self.set_wrong_tree_aside(tree)? {
                verified.quarantined.push(path);
            }
        }

        let files: Vec<(BlobName, PathBuf)> = survey
            .blobs
            .into_iter()
            .flat_map(|(name, found)| found.paths.into_iter().map(move |it| (name.clone(), it)))
            .collect();
        verified.blobs = files.len() as u64;
        let found: Vec<_> = files
            .into_par_iter()
            .map(|(name, path)| match hash_file(name.0, &path) {
                Some(found) if found.hex() == name.1 => (found.size(), None),
                found => (found.map_or(0, |found| found.size()), Some((name, path))),
            })
            .collect();
        verified.bytes = found.iter().map(|(bytes, _)| bytes).sum();
        for ((function, hex), path) in found.into_iter().filter_map(|(_, wrong)| wrong) {
            self.pin_blob(
                Digest::from_hex(function, &hex, 0).expect("the survey only lists digests"),
            )?;
            if path.exists() && hash_file(function, &path).is_none_or(|found| found.hex() != hex) {
                self.set_aside(&path, &mut verified)?;
            }
        }

        verified.results = survey.results.len() as u64;
        for ((table, (function, hex)), found) in survey.results {
            let action =
                Digest::from_hex(function, &hex, 0).expect("the survey only lists digests");
            if found.result.is_none() && self.lookup_in(table, ActionDigest(action))?.is_none() {
                self.set_aside(&found.path, &mut verified)?;
            }
        }
        Ok(verified)
    }

    /// Sets a tree aside that looked wrong, if it still does now that no collector is taking it away
    /// and nobody is making it. Returns whether it did.
    fn set_wrong_tree_aside(&self, tree: TreeDigest) -> Result<bool, StoreError> {
        self.pin_tree(tree)?;
        let _lock = self.lock_tree(tree)?;
        Ok(self.check_tree(tree).is_some() && self.set_tree_aside(tree)?)
    }

    fn set_aside(&self, path: &Path, verified: &mut Verified) -> Result<(), StoreError> {
        let name = path.file_name().expect("what is surveyed has a name");
        let to = self.folder("quarantine")?.join(name);
        match fs::rename(path, &to) {
            Ok(()) => verified.quarantined.push(path.to_owned()),
            // A collector or another verification was faster.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::disk("set aside", path)(error)),
        }
        Ok(())
    }
}
