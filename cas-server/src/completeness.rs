//! Whether all that a result refers to is here. Nothing is answered that a client could not have.

use std::collections::BTreeSet;

use bytes::Bytes;
use model::{Digest, DigestFunction};
use store::{Cellar, StoreError};
use wire::references::{self, ResultReferences};

use crate::limits::{DIRECTORIES_MAX, DIRECTORY_BYTES_MAX, TREE_BYTES_MAX};

/// Returns whether everything that a result refers to is here, directly or not. Asking extends its life.
///
/// What is larger than any client needs, or is not what it is used as, counts as absent.
pub(crate) async fn is_complete(
    cellar: &dyn Cellar,
    function: DigestFunction,
    result: &ResultReferences,
) -> Result<bool, StoreError> {
    let mut needed: BTreeSet<_> = result.blobs.iter().copied().collect();
    for tree in &result.trees {
        let Some(bytes) = read(cellar, *tree, TREE_BYTES_MAX).await? else { return Ok(false) };
        let Ok(files) = references::of_tree(function, &bytes) else { return Ok(false) };
        needed.extend(files);
    }
    let mut seen: BTreeSet<_> = result.directories.iter().copied().collect();
    let mut pending: Vec<_> = seen.iter().copied().collect();
    while let Some(directory) = pending.pop() {
        let bytes = read(cellar, directory, DIRECTORY_BYTES_MAX).await?;
        let Some(bytes) = bytes else { return Ok(false) };
        let Ok(below) = references::of_directory(function, &bytes) else { return Ok(false) };
        needed.extend(below.files);
        pending.extend(below.directories.into_iter().filter(|it| seen.insert(*it)));
        if seen.len() > DIRECTORIES_MAX {
            return Ok(false);
        }
    }
    Ok(cellar.find_missing(needed).await?.is_empty())
}

/// Returns the bytes of a blob that is at most that large.
async fn read(
    cellar: &dyn Cellar,
    digest: Digest,
    bytes_max: u64,
) -> Result<Option<Bytes>, StoreError> {
    if digest.size() > bytes_max {
        return Ok(None);
    }
    let Some(blob) = cellar.read(digest).await? else { return Ok(None) };
    blob.into_bytes().map(Some).map_err(|source| StoreError::Input { source })
}
