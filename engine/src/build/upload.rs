//! Giving to a remote what was made here: in the background, beside the build and never in its way.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use model::{ActionResult, Digest, Node as TreeNode, TreeDigest};
use store::{LocalStore, Purpose, Remote, Room, StoreError};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Events, Transfer};

/// How many results are uploaded at once: each is many blobs, which go side by side.
const RESULTS_AT_ONCE: usize = 8;

/// How many blobs of a result are on their way at once.
const BLOBS_AT_ONCE: usize = 64;

/// How many results may wait: more than the largest matrices have cells. What is beyond is not uploaded.
const WAITING_MAX: usize = 1 << 17;

/// How much of a blob is in memory at most, in bytes: larger ones stay in their files.
const BLOB_BYTES_MAX: u64 = 16 << 20;

/// How many digests are remembered as being there already, so that nobody asks again: a hundred megabytes at most.
const KNOWN_MAX: usize = 1 << 20;

/// What an action made here, and what explains it.
pub(super) struct Work {
    pub(super) purpose: Purpose,
    pub(super) command: Digest,
    pub(super) input_root: TreeDigest,
    pub(super) result: ActionResult,
    /// The locked trees that it read: mirrors forget, and what was used stays buildable.
    pub(super) locked: Vec<TreeDigest>,
}

/// Everything that is being uploaded. Dropping it ends that.
pub(super) struct Uploads {
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
}

struct Shared {
    store: Arc<LocalStore>,
    remote: Arc<dyn Remote>,
    slots: Semaphore,
    room: Room,
    known: Mutex<Known>,
    transfer: Mutex<Transfer>,
    /// Whether the remote said that it may not be written to.
    refused: AtomicBool,
}

/// What is there already.
#[derive(Default)]
struct Known {
    blobs: BTreeSet<Digest>,
    /// Trees of which all listings are.
    listed: BTreeSet<TreeDigest>,
}

impl Uploads {
    pub(super) fn new(store: &Arc<LocalStore>, remote: Arc<dyn Remote>) -> Self {
        let shared = Shared {
            store: Arc::clone(store),
            remote,
            slots: Semaphore::new(RESULTS_AT_ONCE),
            room: Room::new(BLOB_BYTES_MAX),
            known: Mutex::default(),
            transfer: Mutex::default(),
            refused: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared), tasks: Mutex::default() }
    }

    /// Takes work on; it is done when there is time.
    pub(super) fn add(&self, work: Work) {
        let mut tasks = self.tasks.lock().expect("no holder panics");
        // What is done makes room.
        while tasks.try_join_next().is_some() {}
        if tasks.len() >= WAITING_MAX || self.shared.is_refused() {
            self.shared.transfer().not_uploaded += 1;
            return;
        }
        let shared = Arc::clone(&self.shared);
        tasks.spawn(async move { shared.work(work).await });
    }

    /// Returns what came of it by now.
    pub(super) fn transfer(&self) -> Transfer {
        self.shared.transfer().clone()
    }

    /// Waits until all work is done, and tells how much is left.
    pub(super) async fn finish(&self, events: &dyn Events) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().expect("no holder panics"));
        while tasks.try_join_next().is_some() {}
        while !tasks.is_empty() {
            events.uploading(tasks.len());
            tasks.join_next().await;
        }
        events.uploading(0);
    }
}

impl Shared {
    fn transfer(&self) -> std::sync::MutexGuard<'_, Transfer> {
        self.transfer.lock().expect("no holder panics")
    }

    fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    async fn work(&self, work: Work) {
        let _slot = self.slots.acquire().await.expect("the slots are never closed");
        if self.is_refused() {
            self.transfer().not_uploaded += 1;
            return;
        }
        match self.upload(&work).await {
            Ok(()) => self.transfer().uploaded_results += 1,
            Err(error) => {
                self.refused.fetch_or(error.is_refusal(), Ordering::Relaxed);
                let mut transfer = self.transfer();
                transfer.not_uploaded += 1;
                transfer.because.get_or_insert(Arc::new(error));
            }
        }
    }

    /// What explains a result and what it names go first: it is a promise that they are there.
    async fn upload(&self, work: &Work) -> Result<(), StoreError> {
        let remote = self.remote.for_action(&work.purpose);
        let mut wanted = tokio::task::block_in_place(|| self.wanted(work));
        let asked = wanted.not_among(&self.known.lock().expect("no holder panics").blobs);
        let missing = remote.find_missing(asked).await?;
        let left = missing.into_iter().map(|digest| {
            let (promised, remote) = (&wanted.promised, &remote);
            async move {
                let is_written = self.write(&**remote, digest).await?;
                if !is_written && promised.contains(&digest) {
                    return Err(StoreError::Missing { digest });
                }
                Ok((!is_written).then_some(digest))
            }
        });
        let written = stream::iter(left).buffer_unordered(BLOBS_AT_ONCE);
        let nowhere: Vec<Option<Digest>> = written.try_collect().await?;
        remote.record(work.purpose.action, &work.result).await?;
        for digest in nowhere.into_iter().flatten() {
            wanted.useful.remove(&digest);
            wanted.listed.clear();
        }
        self.remember(wanted);
        Ok(())
    }

    /// Writes a blob, unless it is not here either.
    async fn write(&self, remote: &dyn Remote, digest: Digest) -> Result<bool, StoreError> {
        let _room = self.room.take(digest.size()).await;
        let blob = tokio::task::block_in_place(|| self.store.read_blob(digest))?;
        let Some(blob) = blob else { return Ok(false) };
        remote.write(digest, blob).await?;
        let mut transfer = self.transfer();
        transfer.uploaded_blobs += 1;
        transfer.uploaded_bytes += digest.size();
        Ok(true)
    }

    /// Returns what has to be there before a result is.
    fn wanted(&self, work: &Work) -> Wanted {
        let Wanted { mut promised, mut useful, mut listed } = Wanted::default();
        promised.extend([work.purpose.action.0, work.command]);
        let result = &work.result;
        promised.extend(result.files.iter().map(|file| file.digest));
        promised.extend(result.stdout.into_iter().chain(result.stderr));
        promised.extend(result.directories.iter().map(|directory| directory.tree));
        for directory in &result.directories {
            self.walk(directory.root, Reach::Files, &mut promised, &mut BTreeSet::new());
        }
        self.walk(work.input_root, Reach::NewListings, &mut useful, &mut listed);
        for tree in &work.locked {
            self.walk(*tree, Reach::Files, &mut useful, &mut BTreeSet::new());
        }
        Wanted { promised, useful, listed }
    }

    /// Adds the listings of a tree that are here, and perhaps what they list, but for what was `seen`.
    fn walk(
        &self,
        root: TreeDigest,
        reach: Reach,
        into: &mut BTreeSet<Digest>,
        seen: &mut BTreeSet<TreeDigest>,
    ) {
        let is_known =
            |tree: &TreeDigest| self.known.lock().expect("no holder panics").listed.contains(tree);
        let mut pending = vec![root];
        while let Some(tree) = pending.pop() {
            if reach == Reach::NewListings && is_known(&tree) || !seen.insert(tree) {
                continue;
            }
            into.insert(tree.0);
            let Some(directory) = self.store.peek_directory(tree) else { continue };
            for (_, node) in directory.children() {
                match node {
                    TreeNode::File { digest, .. } if reach == Reach::Files => {
                        into.insert(*digest);
                    }
                    TreeNode::Directory(child) => pending.push(*child),
                    TreeNode::File { .. } | TreeNode::Symlink(_) => {}
                }
            }
        }
    }

    fn remember(&self, wanted: Wanted) {
        let mut known = self.known.lock().expect("no holder panics");
        if known.blobs.len() + known.listed.len() > KNOWN_MAX {
            *known = Known::default();
        }
        known.blobs.extend(wanted.promised);
        known.blobs.extend(wanted.useful);
        known.listed.extend(wanted.listed);
    }
}

/// What of a tree is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// The listings of its directories, but for those that are known to be there.
    NewListings,
    /// All listings and files.
    Files,
}

/// What has to be there before a result is.
#[derive(Default)]
struct Wanted {
    /// What the result names, and the action.
    promised: BTreeSet<Digest>,
    /// What explains it, and what it was made of.
    useful: BTreeSet<Digest>,
    /// Trees of which all listings will be there.
    listed: BTreeSet<TreeDigest>,
}

impl Wanted {
    /// Returns what is not known to be there.
    fn not_among(&self, known: &BTreeSet<Digest>) -> BTreeSet<Digest> {
        let all = self.promised.iter().chain(&self.useful);
        all.filter(|digest| !digest.is_empty() && !known.contains(*digest)).copied().collect()
    }
}
