//! Verification: everything is hashed again, and what is wrong is set aside.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use model::{Digest, DigestFunction, Hasher, TreeDigest};
use rayon::prelude::*;

use super::{LocalStore, remove_tree};
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
    pub fn verify(&self) -> Result<Verified, StoreError> {
        let mut verified = Verified::default();
        let survey = self.survey()?;
        // Trees first: a blob that is set aside would make every tree of it look torn.
        let trees: Vec<_> = survey.trees.into_iter().collect();
        verified.trees = trees.len() as u64;
        let wrong = trees.into_par_iter().map(|((function, hex), found)| {
            let path = found.paths.into_iter().next().expect("a tree has a path");
            let right = self.tree_is_right(function, &hex)?;
            Ok((!right).then_some(path))
        });
        let wrong: Vec<Option<PathBuf>> = wrong.collect::<Result<_, StoreError>>()?;
        for path in wrong.into_iter().flatten() {
            self.set_aside(&path, &mut verified)?;
        }

        let files: Vec<(Digest, PathBuf)> = survey
            .blobs
            .into_iter()
            .flat_map(|((function, hex), found)| {
                let size = found.bytes;
                found.paths.into_iter().filter_map(move |path| {
                    Digest::from_hex(function, &hex, size).ok().map(|digest| (digest, path))
                })
            })
            .collect();
        verified.blobs = files.len() as u64;
        verified.bytes = files.iter().map(|(digest, _)| digest.size()).sum();
        let wrong: Vec<PathBuf> = files
            .into_par_iter()
            .filter(|(digest, path)| hash_file(digest.function(), path) != Some(*digest))
            .map(|(_, path)| path)
            .collect();
        for path in wrong {
            self.set_aside(&path, &mut verified)?;
        }

        verified.results = survey.results.len() as u64;
        for found in survey.results.iter().filter(|found| found.result.is_none()) {
            self.set_aside(&found.path, &mut verified)?;
        }
        Ok(verified)
    }

    fn tree_is_right(&self, function: DigestFunction, hex: &str) -> Result<bool, StoreError> {
        // The name does not say how long the root's listing is; its blob does.
        let Ok(probe) = Digest::from_hex(function, hex, 0) else {
            return Ok(false);
        };
        let size = [false, true]
            .into_iter()
            .find_map(|executable| fs::metadata(self.blob_path(probe, executable)).ok())
            .map_or(0, |metadata| metadata.len());
        let tree = TreeDigest(Digest::from_parts(function, *probe.hash(), size));
        Ok(self.check_tree(tree)?.is_none())
    }

    fn set_aside(&self, path: &Path, verified: &mut Verified) -> Result<(), StoreError> {
        let name = path.file_name().expect("what is surveyed has a name");
        let to = self.folder("quarantine")?.join(name);
        if to.is_dir() {
            let _ = remove_tree(&to);
        }
        match fs::rename(path, &to) {
            Ok(()) => verified.quarantined.push(path.to_owned()),
            // A collector or another verification was faster.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::disk("set aside", path)(error)),
        }
        Ok(())
    }
}

fn hash_file(function: DigestFunction, path: &Path) -> Option<Digest> {
    let mut file = File::open(path).ok()?;
    let mut hasher = Hasher::new(function);
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = file.read(&mut buffer).ok()?;
        if read == 0 {
            return Some(hasher.finish());
        }
        hasher.update(&buffer[..read]);
    }
}
