//! Whether all that a result refers to is here. Nothing is answered that a client could not have.

use std::collections::BTreeSet;
use std::io::{self, BufReader};

use bytes::Bytes;
use model::{Digest, DigestFunction};
use store::{Blob, Cellar, StoreError};
use tokio::task::{consume_budget, spawn_blocking};
use wire::references::{self, ResultReferences};

use crate::limits::{CLOSURE_BYTES_MAX, DIRECTORIES_MAX, DIRECTORY_BYTES_MAX};

/// Returns what is missing of all that a result refers to, directly or not: nothing, if it can be answered. Asking extends
/// the life of what is here.
///
/// What is larger than any client needs, or is not what it is used as, counts as missing. After the first directory that
/// is, nothing further is looked for.
pub(crate) async fn missing(
    cellar: &dyn Cellar,
    function: DigestFunction,
    result: &ResultReferences,
) -> Result<BTreeSet<Digest>, StoreError> {
    let needed = result.blobs.iter().copied().collect();
    let mut closure = Closure { cellar, function, needed, bytes: 0 };
    for tree in result.trees.iter().copied().collect::<BTreeSet<_>>() {
        if !closure.add_tree(tree).await? {
            return Ok(BTreeSet::from([tree]));
        }
    }
    let mut seen: BTreeSet<_> = result.directories.iter().copied().collect();
    let mut pending: Vec<_> = seen.iter().copied().collect();
    while let Some(directory) = pending.pop() {
        let below = closure.add_directory(directory).await?;
        let Some(below) = below.filter(|_| seen.len() <= DIRECTORIES_MAX) else {
            return Ok(BTreeSet::from([directory]));
        };
        pending.extend(below.into_iter().filter(|it| seen.insert(*it)));
        consume_budget().await;
    }
    cellar.find_missing(closure.needed).await
}

/// What a result refers to, as far as it was followed.
struct Closure<'a> {
    cellar: &'a dyn Cellar,
    function: DigestFunction,
    needed: BTreeSet<Digest>,
    /// How many bytes of directories were read.
    bytes: u64,
}

impl Closure<'_> {
    /// Adds the files of a tree. Returns whether it is one.
    async fn add_tree(&mut self, tree: Digest) -> Result<bool, StoreError> {
        let Some(blob) = self.read(tree).await? else { return Ok(false) };
        let (function, mut needed) = (self.function, std::mem::take(&mut self.needed));
        let added = spawn_blocking(move || {
            let mut reader = BufReader::new(blob.into_reader()?);
            references::add_files_of_tree(function, &mut reader, &mut needed).map(|()| needed)
        });
        match added.await.expect("following a tree does not panic") {
            Ok(needed) => self.needed = needed,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(false),
            Err(source) => return Err(StoreError::Input { source }),
        }
        Ok(true)
    }

    /// Adds the files of a directory. Returns its directories if it is one.
    async fn add_directory(&mut self, digest: Digest) -> Result<Option<Vec<Digest>>, StoreError> {
        if digest.size() > DIRECTORY_BYTES_MAX {
            return Ok(None);
        }
        let Some(blob) = self.read(digest).await? else { return Ok(None) };
        let bytes: Bytes = blob.into_bytes().map_err(|source| StoreError::Input { source })?;
        let Ok(below) = references::of_directory(self.function, &bytes) else { return Ok(None) };
        self.needed.extend(below.files);
        Ok(Some(below.directories))
    }

    /// Returns a blob, unless all of them are more than anybody needs.
    async fn read(&mut self, digest: Digest) -> Result<Option<Blob>, StoreError> {
        self.bytes = self.bytes.saturating_add(digest.size());
        if self.bytes > CLOSURE_BYTES_MAX {
            return Ok(None);
        }
        self.cellar.read(digest).await
    }
}
