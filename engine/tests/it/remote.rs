//! What others made is found in a remote, and only what is needed of it comes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use engine::{Report, Transfer};
use expect_test::expect;
use model::{ActionDigest, ActionResult, Digest, DigestFunction, Node, TreeDigest};
use store::{
    ActionCache, Blob, BlobStore, Namespace, Provenance, Purpose, ReadOnlyStore, Remote, StoreError,
};
use testkit::{FlakyStore, MemoryStore};

use crate::workshop::{Workshop, endings};

/// A tree, a file made of it, a tree made of both, and a file at the end; the toolchain stands at the root.
const CHAIN: &str = r#"
//- /BUILD.bld
load(":rules.bzl", "do", "gather")
do(name = "tools", verb = "tree", srcs = ["tool"], words = ["of tools"], tags = ["manual"])
do(name = "tree", verb = "tree", srcs = ["a.c"], words = ["of a"], root = ":tools", tags = ["manual"])
do(name = "file", deps = {"t": ":tree"}, words = ["file of "], root = ":tools", tags = ["manual"])
gather(name = "gathered", deps = [":tree", ":file"], tags = ["manual"])
do(name = "last", verb = "copies", deps = {"g": ":gathered"}, srcs = ["last.c"], root = ":tools")
//- /a.c
text
//- /last.c
last
//- /tool
hammer
"#;

const ALL: [&str; 4] = ["copies", "join file of ", "tree of a", "tree of tools"];

/// What a remote was asked, and how it answers.
#[derive(Clone)]
struct Watched {
    inner: Arc<dyn Remote>,
    heard: Arc<Heard>,
    provenance: Provenance,
    /// Changes what is read.
    spoils: Arc<dyn Fn(Digest, Bytes) -> Bytes + Send + Sync>,
    /// Changes what is found.
    lies: Arc<dyn Fn(ActionResult) -> ActionResult + Send + Sync>,
}

#[derive(Default)]
struct Heard {
    asked: Mutex<BTreeSet<Digest>>,
    read: Mutex<BTreeMap<Digest, u64>>,
    looked_up: Mutex<BTreeMap<ActionDigest, u64>>,
    written: Mutex<BTreeSet<Digest>>,
    recorded: Mutex<Vec<ActionDigest>>,
    calls: AtomicU64,
}

impl Watched {
    fn over(inner: impl Remote + 'static) -> Self {
        Self {
            inner: Arc::new(inner),
            heard: Arc::default(),
            provenance: Provenance::Remote,
            spoils: Arc::new(|_, bytes| bytes),
            lies: Arc::new(|result| result),
        }
    }

    fn count(&self) {
        self.heard.calls.fetch_add(1, Ordering::SeqCst);
    }

    fn calls(&self) -> u64 {
        self.heard.calls.load(Ordering::SeqCst)
    }

    /// Returns the texts of what was read, sorted; of listings only that they are.
    async fn texts(&self, store: &MemoryStore) -> Vec<String> {
        let read: Vec<Digest> = self.heard.read.lock().unwrap().keys().copied().collect();
        let mut texts = Vec::new();
        for digest in read {
            let bytes = store.read(digest).await.unwrap().unwrap().into_bytes().unwrap();
            let is_listing = matches!(bytes.first(), Some(0x0a | 0x12));
            let text = String::from_utf8_lossy(&bytes).into_owned();
            texts.push(if is_listing { "a listing".to_owned() } else { text });
        }
        texts.sort();
        texts
    }
}

#[async_trait]
impl BlobStore for Watched {
    async fn find_missing(
        &self,
        digests: BTreeSet<Digest>,
    ) -> Result<BTreeSet<Digest>, StoreError> {
        self.count();
        self.heard.asked.lock().unwrap().extend(&digests);
        self.inner.find_missing(digests).await
    }

    async fn read(&self, digest: Digest) -> Result<Option<Blob>, StoreError> {
        self.count();
        *self.heard.read.lock().unwrap().entry(digest).or_default() += 1;
        let Some(blob) = self.inner.read(digest).await? else { return Ok(None) };
        let bytes = blob.into_bytes().unwrap();
        Ok(Some((self.spoils)(digest, bytes).into()))
    }

    async fn write(&self, digest: Digest, blob: Blob) -> Result<(), StoreError> {
        self.count();
        self.heard.written.lock().unwrap().insert(digest);
        self.inner.write(digest, blob).await
    }
}

#[async_trait]
impl ActionCache for Watched {
    async fn lookup(&self, action: ActionDigest) -> Result<Option<ActionResult>, StoreError> {
        self.count();
        *self.heard.looked_up.lock().unwrap().entry(action).or_default() += 1;
        let found = self.inner.lookup(action).await?;
        Ok(found.map(|result| (self.lies)(result)))
    }

    async fn record(&self, action: ActionDigest, result: &ActionResult) -> Result<(), StoreError> {
        self.count();
        self.heard.recorded.lock().unwrap().push(action);
        self.inner.record(action, result).await
    }
}

impl Remote for Watched {
    fn address(&self) -> Arc<str> {
        self.inner.address()
    }

    fn is_writable(&self) -> bool {
        self.inner.is_writable()
    }

    fn provenance(&self) -> Provenance {
        self.provenance.clone()
    }

    fn for_action(&self, _: &Purpose) -> Arc<dyn Remote> {
        Arc::new(self.clone())
    }
}

/// Passes every call on but one.
#[derive(Clone)]
struct Faulty(Arc<FlakyStore<MemoryStore>>);

#[async_trait]
impl BlobStore for Faulty {
    async fn find_missing(
        &self,
        digests: BTreeSet<Digest>,
    ) -> Result<BTreeSet<Digest>, StoreError> {
        self.0.find_missing(digests).await
    }

    async fn read(&self, digest: Digest) -> Result<Option<Blob>, StoreError> {
        self.0.read(digest).await
    }

    async fn write(&self, digest: Digest, blob: Blob) -> Result<(), StoreError> {
        self.0.write(digest, blob).await
    }
}

#[async_trait]
impl ActionCache for Faulty {
    async fn lookup(&self, action: ActionDigest) -> Result<Option<ActionResult>, StoreError> {
        self.0.lookup(action).await
    }

    async fn record(&self, action: ActionDigest, result: &ActionResult) -> Result<(), StoreError> {
        self.0.record(action, result).await
    }
}

impl Remote for Faulty {
    fn address(&self) -> Arc<str> {
        "in memory".into()
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn provenance(&self) -> Provenance {
        Provenance::Remote
    }

    fn for_action(&self, _: &Purpose) -> Arc<dyn Remote> {
        Arc::new(self.clone())
    }
}

/// A workspace like all others of that text, on a machine that has nothing.
fn machine(text: &str, remote: impl Remote + 'static) -> Workshop {
    let mut workshop = Workshop::new(text);
    workshop.remote = Some(Arc::new(remote));
    workshop
}

/// Returns a remote that somebody else filled.
async fn filled(text: &str) -> MemoryStore {
    let remote = MemoryStore::new();
    let first = machine(text, remote.clone());
    let report = first.build().await;
    assert_eq!(report.counts.failures, 0);
    assert_eq!(transfer(&report).not_uploaded, 0);
    remote
}

fn transfer(report: &Report) -> Transfer {
    report.transfer.clone().unwrap()
}

fn cached(report: &Report) -> (u64, u64, u64) {
    (report.counts.hits, report.counts.remote_hits, report.counts.misses)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_machine_downloads_only_what_was_asked_for() {
    let filled = filled(CHAIN).await;
    let remote = Watched::over(filled.clone());
    let machine = machine(CHAIN, remote.clone());
    let report = machine.build().await;
    assert_eq!(machine.ran(), [""; 0]);
    assert_eq!(cached(&report), (4, 4, 0));
    expect![[r#"
        //:last cached
    "#]]
    .assert_eq(&endings(&machine, &report));
    // The goal is a tree of copies, and two listings are looked into: the toolchain stands at the root of actions,
    // and its one folder with all else.
    let read = remote.texts(&filled).await;
    let files: Vec<_> = read.iter().filter(|it| *it != "a listing").collect();
    // What is the same as a source is here already.
    let expected = [
        "file of hammer\ntext\nof toolsof ahammer\nof tools",
        "hammer\ntext\nof tools",
        "of a",
        "of tools",
    ];
    assert_eq!(files, expected);
    assert!(remote.heard.read.lock().unwrap().values().all(|times| *times == 1), "once each");
    assert!(remote.heard.looked_up.lock().unwrap().values().all(|times| *times == 1));
    assert!(remote.heard.asked.lock().unwrap().is_empty(), "nothing is to be uploaded");
    assert_eq!(transfer(&report).downloaded_blobs, read.len() as u64);

    // All of it is known here now.
    let before = remote.calls();
    let again = machine.build().await;
    assert_eq!(cached(&again), (4, 0, 0));
    assert_eq!(remote.calls(), before, "nobody is asked for what is here");
}

/// The last is a file, so nothing of what it was made of is asked for.
const NARROW: &str = r#"
//- /BUILD.bld
load(":rules.bzl", "do")
do(name = "tools", verb = "tree", srcs = ["tool"], words = ["of tools"], tags = ["manual"])
do(name = "headers", verb = "tree", srcs = ["a.h"], words = ["more of a.h"], root = ":tools", tags = ["manual"])
do(name = "object", verb = "strip", srcs = ["a.c"], deps = {"h": ":headers"}, root = ":tools", tags = ["manual"])
do(name = "last", deps = {"o": ":object"}, words = ["linked"], root = ":tools")
//- /a.c
# c
code
//- /a.h
# h
header
//- /tool
hammer
"#;

#[tokio::test(flavor = "multi_thread")]
async fn of_what_a_result_was_made_of_nothing_comes() {
    let filled = filled(NARROW).await;
    let remote = Watched::over(filled.clone());
    let machine = machine(NARROW, remote.clone());
    let report = machine.build().await;
    assert_eq!(cached(&report), (4, 4, 0));
    let text = machine.output(&report, "last");
    // The listing of the toolchain's root, which is merged with what else stands there, and the one file.
    assert_eq!(remote.texts(&filled).await, ["a listing".to_owned(), text]);
    assert_eq!(transfer(&report).downloaded_blobs, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_runs_has_its_inputs_brought() {
    let filled = filled(NARROW).await;
    let remote = Watched::over(filled.clone());
    let machine = machine(NARROW, remote.clone());
    machine.write("a.c", "other\n");
    let report = machine.build().await;
    assert_eq!(machine.ran().len(), 2, "what reads a.c, and what reads that");
    assert_eq!(cached(&report), (2, 2, 2));
    assert_eq!(transfer(&report).uploaded_results, 2);
    // What it was linked from once is not needed, nor what lies in trees that only what was found had read.
    let read = remote.texts(&filled).await;
    assert!(!read.iter().any(|it| it.starts_with("code")), "{read:?}");
    let text = machine.output(&report, "last");
    assert!(text.starts_with("linked") && text.contains("other"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_machine_made_the_next_explains_from_its_messages() {
    let remote = Watched::over(MemoryStore::new());
    let machine = machine(CHAIN, remote.clone());
    let report = machine.build().await;
    assert_eq!(machine.ran(), ALL);
    let Transfer { uploaded_results, uploaded_blobs, uploaded_bytes, not_uploaded, .. } =
        transfer(&report);
    assert_eq!((uploaded_results, not_uploaded), (4, 0));
    let written = remote.heard.written.lock().unwrap().clone();
    assert_eq!(uploaded_blobs, written.len() as u64, "no blob goes twice");
    assert_eq!(uploaded_bytes, written.iter().map(Digest::size).sum::<u64>());
    for ran in &report.ran {
        let read = |digest: Digest| machine.store.read_bytes(digest).unwrap().unwrap();
        let bytes = read(ran.action.0);
        let action = wire::decode::action(DigestFunction::Blake3, &bytes).unwrap();
        let mut trees = vec![action.input_root];
        assert!(written.contains(&ran.action.0) && written.contains(&action.command));
        while let Some(TreeDigest(tree)) = trees.pop() {
            assert!(tree.is_empty() || written.contains(&tree), "{tree:?}");
            let listing = machine.store.directory(TreeDigest(tree)).unwrap().unwrap();
            trees.extend(listing.directories().map(|(_, child)| child));
        }
    }
    // Sources are no results: nobody else needs them.
    let source = Digest::of(DigestFunction::Blake3, b"hammer\n");
    assert!(written.contains(&source), "but this one came out again");
    assert_eq!(remote.heard.recorded.lock().unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_vanished_is_made_again_and_its_entry_not_trusted_twice() {
    // Each file and each listing of all results, one at a time.
    let all = filled(CHAIN).await;
    let seen = Watched::over(all.clone());
    machine(CHAIN, seen.clone()).build().await;
    let read: Vec<Digest> = seen.heard.read.lock().unwrap().keys().copied().collect();
    assert!(read.len() > 6);
    for digest in read {
        let filled = filled(CHAIN).await;
        filled.forget(digest);
        let remote = Watched::over(filled.clone());
        let machine = machine(CHAIN, remote.clone());
        let report = machine.build().await;
        assert_eq!(report.counts.failures, 0, "{digest:?}");
        let ran = machine.ran();
        assert!(!ran.is_empty(), "{digest:?}");
        // Who made it again gives it back, under an entry that is written anew.
        assert!(filled.find_missing(BTreeSet::from([digest])).await.unwrap().is_empty());
        let recorded = remote.heard.recorded.lock().unwrap().clone();
        assert_eq!(recorded.len(), ran.len(), "{digest:?}");
        for action in &recorded {
            let times = remote.heard.looked_up.lock().unwrap()[action];
            assert_eq!(times, 1, "an entry that promised too much was asked for again");
        }
        // The next machine has nothing to do.
        let next = self::machine(CHAIN, filled);
        assert_eq!(next.build().await.counts.misses, 0, "{digest:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_vanished_and_is_made_otherwise_is_followed_by_what_depends_on_it() {
    let filled = filled(NARROW).await;
    filled.forget(Digest::of(DigestFunction::Blake3, b"code\nheader\nmore of a.hhammer\nof tools"));
    let remote = Watched::over(filled.clone());
    let machine = machine(NARROW, remote.clone());
    // Whatever stands in the middle has gone, and the last must run because of another word.
    machine.write(
        "BUILD.bld",
        &NARROW
            .split_once("//- /BUILD.bld\n")
            .unwrap()
            .1
            .split_once("//- /a.c")
            .unwrap()
            .0
            .replace("linked", "linked anew"),
    );
    let report = machine.build_with(changing(&machine)).await.unwrap();
    assert_eq!(report.counts.failures, 0);
    let text = machine.output(&report, "last");
    assert!(text.starts_with("linked anew"), "{text}");
    assert!(text.contains("something else"), "{text}");
    // It is a state from which nothing follows any more.
    machine.ran();
    assert_eq!(machine.build().await.counts.misses, 0);
}

fn changing(machine: &Workshop) -> crate::workshop::Pretender {
    let mut pretender = machine.pretender(&machine.store);
    pretender.changes = true;
    pretender
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_that_gives_wrong_bytes_is_not_believed() {
    let spoils: [fn(Digest, Bytes) -> Bytes; 4] = [
        |_, _| Bytes::from_static(b"poison"),
        |_, bytes| bytes.slice(..bytes.len().saturating_sub(1)),
        |_, bytes| [&bytes[..], b"x"].concat().into(),
        |_, bytes| bytes.iter().map(|byte| byte ^ 1).collect::<Vec<u8>>().into(),
    ];
    let honest = Workshop::new(CHAIN);
    let expected = honest.build().await.goals[0].outputs.clone();
    for spoil in spoils {
        let filled = filled(CHAIN).await;
        let remote = Watched { spoils: Arc::new(spoil), ..Watched::over(filled) };
        let machine = machine(CHAIN, remote);
        let report = machine.build().await;
        assert_eq!(report.counts.failures, 0);
        assert_eq!(report.goals[0].outputs, expected);
        assert_eq!(machine.ran(), ALL, "nothing of it can be used");
        assert!(machine.store.verify().unwrap().quarantined.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_that_names_what_there_is_not_is_not_believed() {
    let lies: [fn(ActionResult) -> ActionResult; 6] = [
        // Other outputs than the command declares.
        |it| ActionResult { files: Vec::new(), directories: Vec::new(), ..it },
        |mut it| {
            it.files.extend(it.files.clone());
            it.directories.extend(it.directories.clone());
            it
        },
        // A failure as a success.
        |it| ActionResult { exit_code: 1, ..it },
        // Right hashes with wrong sizes.
        |it| renamed(it, |it| Digest::from_parts(it.function(), *it.hash(), it.size() + 1)),
        // Hashes of nothing.
        |it| renamed(it, |it| Digest::from_parts(it.function(), [7; 32], it.size())),
        |it| renamed(it, |it| Digest::of(it.function(), it.hash())),
    ];
    let honest = Workshop::new(CHAIN);
    let expected = honest.build().await.goals[0].outputs.clone();
    for (number, lie) in lies.into_iter().enumerate() {
        let filled = filled(CHAIN).await;
        let remote = Watched { lies: Arc::new(lie), ..Watched::over(filled) };
        let machine = machine(CHAIN, remote);
        let report = machine.build().await;
        assert_eq!(report.counts.failures, 0, "lie {number}");
        assert_eq!(report.goals[0].outputs, expected, "lie {number}");
        let mut ran = machine.ran();
        ran.dedup();
        assert_eq!(ran, ALL, "lie {number}");
        let again = machine.build().await;
        assert_eq!(again.counts.misses, 0, "lie {number}: {:?}", machine.ran());
    }
}

fn renamed(mut result: ActionResult, other: impl Fn(Digest) -> Digest) -> ActionResult {
    for file in &mut result.files {
        file.digest = other(file.digest);
    }
    for directory in &mut result.directories {
        directory.root = TreeDigest(other(directory.root.0));
    }
    result
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_at_any_call_makes_no_build_fail() {
    // Downloads first, then uploads.
    for is_filled in [true, false] {
        for nth in 0.. {
            let inner = if is_filled { filled(CHAIN).await } else { MemoryStore::new() };
            let flaky = Arc::new(FlakyStore::failing_on_call(nth, inner));
            let machine = machine(CHAIN, Faulty(Arc::clone(&flaky)));
            let report = machine.build().await;
            assert_eq!(report.counts.failures, 0, "call {nth}");
            let not_uploaded = transfer(&report).not_uploaded;
            if !flaky.has_failed() {
                assert_eq!(not_uploaded, 0);
                break;
            }
            assert!(not_uploaded <= 1, "call {nth}");
            assert_eq!(transfer(&report).because.is_some(), not_uploaded == 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_only_be_read_is_not_written() {
    let remote = Watched::over(ReadOnlyStore::new(Arc::new(filled(CHAIN).await)));
    let machine = machine(CHAIN, remote.clone());
    machine.write("last.c", "other\n");
    let report = machine.build().await;
    assert_eq!(cached(&report), (3, 3, 1));
    assert!(remote.heard.written.lock().unwrap().is_empty());
    assert!(remote.heard.recorded.lock().unwrap().is_empty());
    assert_eq!(transfer(&report).not_uploaded, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ran_without_a_sandbox_is_not_uploaded() {
    let remote = Watched::over(MemoryStore::new());
    let machine = machine(CHAIN, remote.clone());
    let mut pretender = machine.pretender(&machine.store);
    pretender.rung = executor::Rung::Bare;
    let report = machine.build_with(pretender).await.unwrap();
    assert_eq!(report.counts.misses, 4);
    assert!(remote.heard.recorded.lock().unwrap().is_empty());
    assert!(remote.heard.written.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_not_uploaded_and_are_remembered_here() {
    let text =
        "//- /BUILD.bld\nload(':rules.bzl', 'do')\ndo(name = 'x', verb = 'exit', words = ['3'])\n";
    let remote = Watched::over(MemoryStore::new());
    let machine = machine(text, remote.clone());
    assert_eq!(machine.build().await.counts.failures, 1);
    assert!(remote.heard.recorded.lock().unwrap().is_empty());
    let before = remote.calls();
    assert_eq!(machine.build().await.counts.failures, 1);
    assert_eq!(machine.ran(), ["exit 3"]);
    assert_eq!(remote.calls(), before, "what is known here is not asked there");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_pull_request_was_told_is_not_believed_by_others() {
    let pull_request = Provenance::Namespace(Namespace::PullRequest("17".to_owned()));
    let remote = Watched { provenance: pull_request, ..Watched::over(filled(CHAIN).await) };
    let machine = machine(CHAIN, remote);
    assert_eq!(machine.build().await.counts.misses, 0);
    assert_eq!(machine.build().await.counts.misses, 0, "the same build has the same trust");
    // As another process without a remote has it.
    let neighbour = machine.neighbour();
    for action in machine.build().await.ran.iter().map(|ran| ran.action) {
        assert_eq!(neighbour.lookup_result(action).unwrap(), None);
    }
    let alone = machine.prepare_alone(&neighbour);
    assert_eq!(alone.run().await.unwrap().counts.misses, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_that_passed_elsewhere_is_not_run_again() {
    let text = r#"
//- /BUILD.bld
load(":rules.bzl", "check", "do")
do(name = "program", words = ["program"])
check(name = "good", verb = "join", deps = [":program"], words = ["good"])
"#;
    let remote = MemoryStore::new();
    let first = machine(text, remote.clone());
    first.test().await;
    assert_eq!(first.ran(), ["join good", "join program"]);
    let second = machine(text, remote);
    let report = second.test().await;
    assert_eq!(second.ran(), [""; 0]);
    assert!(report.tested.values().all(|tested| tested.cached));
    assert_eq!(report.counts.remote_hits, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_lost_bytes_has_them_from_the_remote_again() {
    let filled = filled(CHAIN).await;
    let remote = Watched::over(filled);
    let machine = machine(CHAIN, remote);
    machine.build().await;
    machine.lose(|_| true);
    let report = machine.build().await;
    assert_eq!(machine.ran(), [""; 0], "its results are known, and the bytes are there");
    assert_eq!(cached(&report), (4, 0, 0));
    for (_, node) in &report.goals[0].outputs {
        let Node::Directory(tree) = node else { unreachable!("it is a tree") };
        assert!(machine.store.contains_tree(*tree).unwrap());
    }
}
