//! How often what an action came to has been replaced or taken away, though nobody collected garbage.
//!
//! Who remembers results beside the store (a receipt of a build) asks for this number: as long as it is the same, no
//! result that was looked up then says anything else now.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use super::LocalStore;
use crate::StoreError;

/// The file; each of its bytes is one time.
const FILE: &str = "rewrites";

/// Returns how often a result was replaced by another or taken away, in the store at `root`, which need not be opened.
pub fn rewrites(root: &Path) -> u64 {
    fs::metadata(root.join(FILE)).map_or(0, |metadata| metadata.len())
}

impl LocalStore {
    pub(super) fn count_rewrite(&self) -> Result<(), StoreError> {
        let path = self.root.join(FILE);
        let file = OpenOptions::new().append(true).create(true).open(&path);
        let counted = file.and_then(|mut file| file.write_all(b"."));
        counted.map_err(StoreError::disk("write", &path))
    }
}
