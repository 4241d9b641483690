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
    /// Trees of which all listings and files are.
    whole: BTreeSet<TreeDigest>,
}

impl Known {
    /// Returns the trees of which so much is there.
    fn trees(&self, reach: Reach) -> &BTreeSet<TreeDigest> {
        match reach {
            Reach::Listings => &self.listed,
            Reach::Files => &self.whole,
        }
    }
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
            wanted.whole.clear();
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
        let Wanted { mut promised, mut useful, mut listed, mut whole } = Wanted::default();
        promised.extend([work.purpose.action.0, work.command]);
        let result = &work.result;
        promised.extend(result.files.iter().map(|file| file.digest));
        promised.extend(result.stdout.into_iter().chain(result.stderr));
        promised.extend(result.directories.iter().map(|directory| directory.tree));
        for directory in &result.directories {
            self.walk(directory.root, Reach::Files, &mut promised, &mut whole);
        }
        self.walk(work.input_root, Reach::Listings, &mut useful, &mut listed);
        for tree in &work.locked {
            self.walk(*tree, Reach::Files, &mut useful, &mut whole);
        }
        Wanted { promised, useful, listed, whole }
    }

    /// Adds what of a tree is meant and may not be there, and to `walked` the trees that were gone through, if that could
    /// be done.
    fn walk(
        &self,
        root: TreeDigest,
        reach: Reach,
        into: &mut BTreeSet<Digest>,
        walked: &mut BTreeSet<TreeDigest>,
    ) {
        let is_known = |tree: &TreeDigest| {
            self.known.lock().expect("no holder panics").trees(reach).contains(tree)
        };
        let (mut seen, mut is_whole) = (BTreeSet::new(), true);
        let mut pending = vec![root];
        while let Some(tree) = pending.pop() {
            if is_known(&tree) || walked.contains(&tree) || !seen.insert(tree) {
                continue;
            }
            into.insert(tree.0);
            let Some(directory) = self.store.peek_directory(tree) else {
                // Nobody knows what is below it.
                is_whole = false;
                continue;
            };
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
        if is_whole {
            walked.append(&mut seen);
        }
    }

    fn remember(&self, wanted: Wanted) {
        let mut known = self.known.lock().expect("no holder panics");
        if known.blobs.len() + known.listed.len() + known.whole.len() > KNOWN_MAX {
            *known = Known::default();
        }
        known.blobs.extend(wanted.promised);
        known.blobs.extend(wanted.useful);
        known.listed.extend(wanted.listed);
        known.whole.extend(wanted.whole);
    }
}

/// What of a tree is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// The listings of its directories.
    Listings,
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
    /// Trees of which all listings and files will be there.
    whole: BTreeSet<TreeDigest>,
}

impl Wanted {
    /// Returns what is not known to be there.
    fn not_among(&self, known: &BTreeSet<Digest>) -> BTreeSet<Digest> {
        let all = self.promised.iter().chain(&self.useful);
        all.filter(|digest| !digest.is_empty() && !known.contains(*digest)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use model::{ActionDigest, DigestFunction, Directory, PathSegment};
    use store::BlobStore as _;
    use testkit::MemoryStore;

    use super::*;

    /// What is uploaded from a store of its own.
    struct Bench {
        _folder: tempfile::TempDir,
        store: Arc<LocalStore>,
        uploads: Uploads,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = LocalStore::open(folder.path(), DigestFunction::Blake3).unwrap();
            let store = Arc::new(store);
            let uploads = Uploads::new(&store, Arc::new(MemoryStore::new()));
            Self { _folder: folder, store, uploads }
        }

        async fn blob(&self, text: &'static str) -> Digest {
            let digest = Digest::of(DigestFunction::Blake3, text.as_bytes());
            self.store
                .write(digest, bytes::Bytes::from_static(text.as_bytes()).into())
                .await
                .unwrap();
            digest
        }

        fn tree(&self, name: &str, node: TreeNode) -> TreeDigest {
            let mut directory = Directory::new();
            directory.add(PathSegment::new(name).unwrap(), node).unwrap();
            self.store.write_directory(&directory).unwrap()
        }

        /// Returns what an action made that read a locked tree.
        async fn work(&self, action: &'static str, locked: TreeDigest) -> Work {
            let action = ActionDigest(self.blob(action).await);
            let purpose = Purpose { action, target: String::new(), mnemonic: String::new() };
            Work {
                purpose,
                command: self.blob("command").await,
                input_root: self.store.write_directory(&Directory::new()).unwrap(),
                result: ActionResult::default(),
                locked: vec![locked],
            }
        }

        /// Uploads one, and returns what explains the next that read the same.
        async fn useful_after(&self, locked: TreeDigest) -> BTreeSet<Digest> {
            self.uploads.shared.work(self.work("first", locked).await).await;
            assert_eq!(self.uploads.transfer().not_uploaded, 0);
            let next = self.work("second", locked).await;
            let mut useful = self.uploads.shared.wanted(&next).useful;
            useful.remove(&next.input_root.0);
            useful
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_locked_tree_that_is_there_is_not_looked_through_again() {
        let bench = Bench::new();
        let header = TreeNode::File { digest: bench.blob("header").await, executable: false };
        let tree = bench.tree("usr", TreeNode::Directory(bench.tree("a.h", header)));
        assert_eq!(bench.useful_after(tree).await, BTreeSet::new());
        assert_eq!(bench.uploads.transfer().uploaded_results, 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_locked_tree_of_which_something_is_nowhere_may_be_there_later() {
        let bench = Bench::new();
        let lost = Digest::of(DigestFunction::Blake3, b"lost");
        let file = TreeNode::File { digest: lost, executable: false };
        let tree = bench.tree("a.h", file);
        assert_eq!(bench.useful_after(tree).await, BTreeSet::from([tree.0, lost]));
        let tree = bench.tree("usr", TreeNode::Directory(TreeDigest(lost)));
        assert_eq!(bench.useful_after(tree).await, BTreeSet::from([tree.0, lost]));
    }
}
