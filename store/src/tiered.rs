//! A near store, and a far one out of which it is filled as far as something is needed.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use model::{Digest, Directory, Node, TreeDigest};

use crate::room::Room;
use crate::turns::Turns;
use crate::{BlobStore as _, LocalStore, Remote, StoreError, TreeSource};

/// How many blobs of a tree come at once: a store far away answers many small questions in the time of one.
const COMING_MAX: usize = 256;

/// How much of a blob is in memory at most, in bytes: larger ones come piece by piece.
const BLOB_BYTES_MAX: u64 = 4 << 20;

/// Brings from far what is not near. What comes is believed only if it hashes to its digest; what does not is not there.
pub struct TieredStore {
    near: Arc<LocalStore>,
    far: Arc<dyn Remote>,
    turns: Turns,
    room: Room,
    blobs: AtomicU64,
    bytes: AtomicU64,
}

impl TieredStore {
    /// Returns a store that fills `near` out of `far`.
    pub fn new(near: Arc<LocalStore>, far: Arc<dyn Remote>) -> Self {
        let (turns, blobs, bytes) = Default::default();
        Self { near, far, turns, room: Room::new(BLOB_BYTES_MAX), blobs, bytes }
    }

    /// Returns how many blobs have come, and how many bytes they have.
    pub fn come(&self) -> (u64, u64) {
        (self.blobs.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Makes a blob present, and returns whether it could be had. It stays until this process ends.
    pub async fn bring(&self, digest: Digest) -> Result<bool, StoreError> {
        if tokio::task::block_in_place(|| self.near.contains(digest))? {
            return Ok(true);
        }
        let _turn = self.turns.take(digest).await;
        if tokio::task::block_in_place(|| self.near.contains(digest))? {
            return Ok(true);
        }
        let _room = self.room.take(digest.size()).await;
        let Some(blob) = self.far.read(digest).await? else { return Ok(false) };
        match self.near.write(digest, blob).await {
            Ok(()) => {
                self.blobs.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(digest.size(), Ordering::Relaxed);
                Ok(true)
            }
            // It broke off, or is something else.
            Err(StoreError::Input { .. } | StoreError::Mismatch { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes the listing of one directory present and returns it, if it can be had.
    pub async fn bring_listing(&self, tree: TreeDigest) -> Result<Option<Directory>, StoreError> {
        tokio::task::block_in_place(|| self.near.pin_tree(tree))?;
        self.listing(tree).await
    }

    /// Makes the listings of all directories of a tree present. Returns those of its digests that cannot be had.
    pub async fn bring_listings(&self, tree: TreeDigest) -> Result<BTreeSet<Digest>, StoreError> {
        Ok(self.walk(tree).await?.missing)
    }

    /// Makes all blobs of a tree present. Returns those that cannot be had.
    pub async fn bring_tree(&self, tree: TreeDigest) -> Result<BTreeSet<Digest>, StoreError> {
        // Who wants the same tree waits, instead of asking for each of its blobs as well.
        let _turn = self.turns.take(turn_of(tree)).await;
        let Walked { mut missing, files } = self.walk(tree).await?;
        let lacking = tokio::task::block_in_place(|| {
            files.into_iter().filter(|digest| !self.near.peek_blob(*digest)).collect::<Vec<_>>()
        });
        let brought = stream::iter(lacking)
            .map(|digest| async move { Ok::<_, StoreError>((digest, self.bring(digest).await?)) });
        let mut brought = brought.buffer_unordered(COMING_MAX);
        while let Some((digest, is_here)) = brought.try_next().await? {
            if !is_here {
                missing.insert(digest);
            }
        }
        Ok(missing)
    }

    /// Goes through all directories of a tree, level by level.
    async fn walk(&self, tree: TreeDigest) -> Result<Walked, StoreError> {
        // Once, for all below it.
        tokio::task::block_in_place(|| self.near.pin_tree(tree))?;
        let mut walked = Walked::default();
        let mut seen = BTreeSet::from([tree]);
        let mut level = vec![tree];
        while !level.is_empty() {
            let listings = stream::iter(std::mem::take(&mut level))
                .map(|tree| async move { Ok::<_, StoreError>((tree, self.listing(tree).await?)) });
            let mut listings = listings.buffer_unordered(COMING_MAX);
            while let Some((tree, listing)) = listings.try_next().await? {
                let Some(directory) = listing else {
                    walked.missing.insert(tree.0);
                    continue;
                };
                for (_, node) in directory.children() {
                    match node {
                        Node::File { digest, .. } => _ = walked.files.insert(*digest),
                        Node::Directory(child) if seen.insert(*child) => level.push(*child),
                        Node::Directory(_) | Node::Symlink(_) => {}
                    }
                }
            }
        }
        Ok(walked)
    }

    async fn listing(&self, tree: TreeDigest) -> Result<Option<Directory>, StoreError> {
        let here = || tokio::task::block_in_place(|| self.near.peek_directory(tree));
        if let Some(directory) = here() {
            return Ok(Some(directory));
        }
        if !self.bring(tree.0).await? {
            return Ok(None);
        }
        // A blob that is no directory is none that can be had.
        Ok(here())
    }
}

/// What is in a tree.
#[derive(Default)]
struct Walked {
    files: BTreeSet<Digest>,
    /// Directories whose listings cannot be had.
    missing: BTreeSet<Digest>,
}

/// The turn for a whole tree is another than that for the listing of its root.
fn turn_of(tree: TreeDigest) -> Digest {
    Digest::of(tree.0.function(), tree.0.hash())
}

#[async_trait]
impl TreeSource for TieredStore {
    async fn ensure(&self, tree: TreeDigest) -> Result<Option<PathBuf>, StoreError> {
        let here = || tokio::task::block_in_place(|| self.near.materialise(tree));
        if let Some(path) = here()? {
            return Ok(Some(path));
        }
        if !self.bring_tree(tree).await?.is_empty() {
            return Ok(None);
        }
        here()
    }

    async fn ensure_listings(&self, tree: TreeDigest) -> Result<bool, StoreError> {
        Ok(self.bring_listings(tree).await?.is_empty())
    }
}
