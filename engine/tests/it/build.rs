//! Building: what runs, what does not, and under which names.

use std::fs;
use std::sync::Arc;

use expect_test::expect;

use crate::fixture::in_full;
use crate::workshop::{Workshop, digests, endings};

/// Two sources are stripped of comments, and joined; a third is joined alone.
const CHAIN: &str = r#"
//- /BUILD.bld
load(":rules.bzl", "do")
do(name = "a", verb = "strip", srcs = ["a.c"], words = ["a"])
do(name = "b", verb = "strip", srcs = ["b.c"], words = ["b"])
do(name = "both", deps = {"a": ":a", "b": ":b"}, words = ["both"])
do(name = "alone", srcs = ["c.c"], words = ["alone"])
//- /a.c
# a comment
text of a
//- /b.c
text of b
//- /c.c
text of c
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_build_runs_nothing() {
    let workshop = Workshop::new(CHAIN);
    let report = workshop.build().await;
    assert_eq!(workshop.ran(), ["join alone", "join both", "strip a", "strip b"]);
    assert_eq!(workshop.output(&report, "both"), "bothtext of a\ntext of b\n");
    assert_eq!((report.counts.hits, report.counts.misses), (0, 4));

    let again = workshop.build().await;
    assert_eq!(workshop.ran(), [""; 0]);
    assert_eq!((again.counts.hits, again.counts.misses), (4, 0));
    assert_eq!(digests(&again), digests(&report));
    expect![[r#"
        //:a cached
        //:alone cached
        //:b cached
        //:both cached
    "#]]
    .assert_eq(&endings(&workshop, &again));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_source_runs_again_exactly_what_reads_it() {
    let workshop = Workshop::new(CHAIN);
    workshop.build().await;
    workshop.ran();
    workshop.write("b.c", "another text\n");
    let report = workshop.build().await;
    assert_eq!(workshop.ran(), ["join both", "strip b"]);
    expect![[r#"
        //:a cached
        //:alone cached
        //:b built
        //:both built
    "#]]
    .assert_eq(&endings(&workshop, &report));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_an_output_that_did_not_change_does_not_run() {
    let workshop = Workshop::new(CHAIN);
    let first = workshop.build().await;
    workshop.ran();
    workshop.write("a.c", "# another comment\ntext of a\n");
    let second = workshop.build().await;
    assert_eq!(workshop.ran(), ["strip a"]);
    assert_eq!(digests(&first)["//:both (join)"], digests(&second)["//:both (join)"]);
    assert_ne!(digests(&first)["//:a (strip)"], digests(&second)["//:a (strip)"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_targets_packages_and_axes_change_no_key() {
    let workshop = Workshop::new(CHAIN);
    workshop.build().await;
    workshop.ran();
    let build = fs::read_to_string(workshop.path("BUILD.bld")).unwrap();
    fs::remove_file(workshop.path("BUILD.bld")).unwrap();
    let renamed = build
        .replace("\":rules", "\"//:rules")
        .replace("name = \"a\"", "name = \"first\"")
        .replace("\"a\": \":a\"", "\"a\": \":first\"")
        .replace("name = \"alone\",", "name = \"lonely\", tags = [\"x\"],");
    workshop.write("moved/BUILD.bld", &renamed);
    for source in ["a.c", "b.c", "c.c"] {
        fs::rename(workshop.path(source), workshop.path("moved").join(source)).unwrap();
    }
    workshop.build().await;
    assert_eq!(workshop.ran(), [""; 0]);

    let workshop = Workshop::new(
        "//- /BUILD.bld\nload(':rules.bzl', 'do')\ndo(name = 'x', matrix = {'kernel': ['1', '2']})\n",
    );
    workshop.build().await;
    workshop.ran();
    let build = fs::read_to_string(workshop.path("BUILD.bld")).unwrap();
    workshop.write("BUILD.bld", &build.replace("kernel", "release"));
    workshop.build().await;
    assert_eq!(workshop.ran(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_execute_a_source_is_part_of_the_key() {
    use std::os::unix::fs::PermissionsExt as _;
    let workshop = Workshop::new(CHAIN);
    workshop.build().await;
    workshop.ran();
    fs::set_permissions(workshop.path("c.c"), fs::Permissions::from_mode(0o755)).unwrap();
    workshop.build().await;
    assert_eq!(workshop.ran(), ["join alone"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_in_which_actions_finish_changes_no_digest() {
    let text = r#"
//- /BUILD.bld
load(":rules.bzl", "do", "gather")
do(name = "leaf", verb = "tree", matrix = {"n": [str(n) for n in range(8)]})
do(
    name = "middle",
    matrix = {"n": [str(n) for n in range(8)]},
    root = ":leaf",
    deps = {"next": ":leaf{n=3}"},
)
do(name = "last", deps = {str(n): ":middle{n=%d}" % n for n in range(8)})
"#;
    let expected = digests(&Workshop::new(text).build().await);
    assert_eq!(expected.len(), 17);
    for seed in 0..12_u32 {
        let mut workshop = Workshop::new(text);
        workshop.options.jobs = 1 + seed as usize % 7;
        let mut pretender = workshop.pretender(&workshop.store);
        // Any function of the seed and the command will do, as long as it scatters.
        pretender.delay = Box::new(move |words| {
            words.bytes().fold(seed.wrapping_mul(2_654_435_761), |hash, byte| {
                hash.rotate_left(5).wrapping_mul(16_777_619) ^ u32::from(byte)
            }) % 50
        });
        let report = workshop.build_with(pretender).await.unwrap();
        assert_eq!(digests(&report), expected, "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_edited_while_it_is_compiled_counts_as_what_was_compiled() {
    let workshop = Workshop::new(CHAIN);
    let mut pretender = workshop.pretender(&workshop.store);
    let path = workshop.path("c.c");
    pretender.begins = Box::new(move |words| {
        if words == "join alone" {
            fs::write(&path, "edited meanwhile\n").unwrap();
        }
    });
    let report = workshop.build_with(pretender).await.unwrap();
    assert_eq!(workshop.output(&report, "alone"), "alonetext of c\n");
    workshop.ran();

    let report = workshop.build().await;
    assert_eq!(workshop.ran(), ["join alone"]);
    assert_eq!(workshop.output(&report, "alone"), "aloneedited meanwhile\n");

    // And back again: what was recorded is the truth about the first text.
    workshop.write("c.c", "text of c\n");
    let report = workshop.build().await;
    assert_eq!(workshop.ran(), [""; 0]);
    assert_eq!(workshop.output(&report, "alone"), "alonetext of c\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_of_a_workspace_stay_links_and_need_what_they_lead_to() {
    let build = |srcs: &str| {
        let workshop = Workshop::new(&format!(
            "//- /BUILD.bld\nload(':rules.bzl', 'do')\ndo(name = 'x', srcs = {srcs})\n//- /d/file\ntext\n//- /outside\nsecret\n"
        ));
        workshop.link("d/link", "file");
        workshop.link("d/out", "../outside");
        workshop.link("d/away", "../../../../../etc/passwd");
        workshop.link("d/absolute", "/etc/passwd");
        workshop.link("d/nowhere", "nothing");
        workshop.link("folder", "d");
        workshop
    };
    let workshop = build("['d/file', 'd/link']");
    let report = workshop.build().await;
    assert_eq!(workshop.output(&report, "x"), "text\n→ file\n");

    let mut said = Vec::new();
    for srcs in [
        "['d/link']",
        "['d/out']",
        "['d/away']",
        "['d/absolute']",
        "['d/nowhere']",
        "['d']",
        "['folder/file']",
        "['folder']",
    ] {
        let error = build(srcs).try_build().await.unwrap_err();
        said.push(format!("{srcs}\n    {}\n", in_full(&error)));
    }
    expect![[r#"
        ['d/link']
            the link d/link leads to `file`, which is not an input beside it
        ['d/out']
            the link d/out leads to `../outside`, which is not an input beside it
        ['d/away']
            the link d/away leads to `../../../../../etc/passwd`: links in a workspace are relative and stay inside
        ['d/absolute']
            the link d/absolute leads to `/etc/passwd`: links in a workspace are relative and stay inside
        ['d/nowhere']
            the link d/nowhere leads to `nothing`, which is not an input beside it
        ['d']
            the link d/absolute leads to `/etc/passwd`: links in a workspace are relative and stay inside
        ['folder/file']
            folder/file lies behind the link folder: name what it leads to instead
        ['folder']
            the link folder leads to `d`, which is not an input beside it
    "#]].assert_eq(&said.concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn loading_reads_nothing_outside_the_workspace() {
    let workshop = Workshop::new("//- /BUILD.bld\nread_file('away')\n//- /sub/file\ntext\n");
    let said = |target: &str| {
        let _ = fs::remove_file(workshop.path("away"));
        workshop.link("away", target);
        let said = workshop.plan(&["//..."]).unwrap_err();
        said.lines().next().unwrap_or_default().to_owned()
    };
    expect!["cannot read away: it is, or lies behind, a link that leads out of the workspace"]
        .assert_eq(&said("/etc/passwd"));
    expect!["cannot read away: it is, or lies behind, a link that leads out of the workspace"]
        .assert_eq(&said("../store/format"));
    expect!["cannot read away: it is, or lies behind, a link that leads out of the workspace"]
        .assert_eq(&said("/dev/zero"));
    expect!["cannot read away: it is not a file"].assert_eq(&said("sub"));
    fs::remove_file(workshop.path("away")).unwrap();
    workshop.link("away", "sub/file");
    workshop.plan(&["//..."]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_side_by_side_run_each_action_once() {
    for seed in 0..6_u32 {
        let workshop = Workshop::new(
            "//- /BUILD.bld\nload(':rules.bzl', 'do')\ndo(name = 'x', matrix = {'n': [str(n) for n in range(20)]})\ndo(name = 'y', deps = {str(n): ':x{n=%d}' % n for n in range(20)}, words = ['all'])\n",
        );
        let stores = [workshop.neighbour(), workshop.neighbour()];
        let builds = stores.each_ref().map(|store| {
            let mut pretender = workshop.pretender(store);
            pretender.delay =
                Box::new(move |words| (seed * 7 + u32::try_from(words.len()).unwrap()) % 11);
            tokio::spawn(workshop.prepare(store, pretender).run())
        });
        for build in builds {
            let report = build.await.unwrap().unwrap();
            assert_eq!(report.counts.failures, 0);
        }
        let ran = workshop.ran();
        let mut once = ran.clone();
        once.dedup();
        assert_eq!(ran, once);
        assert_eq!(ran.len(), 21);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_commands_than_jobs_never_run_at_once() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let mut workshop = Workshop::new(
        "//- /BUILD.bld\nload(':rules.bzl', 'do')\ndo(name = 'x', matrix = {'n': [str(n) for n in range(600)]})\n",
    );
    workshop.options.jobs = 3;
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let mut pretender = workshop.pretender(&workshop.store);
    let (counted, highest) = (Arc::clone(&running), Arc::clone(&most));
    pretender.begins = Box::new(move |_| {
        highest.fetch_max(counted.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    });
    let counted = Arc::clone(&running);
    let locks = workshop.store.root().join("locks");
    let held = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&held);
    pretender.delay = Box::new(move |_| {
        // Locks are files that somebody holds open: only what runs has one.
        seen.fetch_max(fs::read_dir(&locks).unwrap().count(), Ordering::SeqCst);
        counted.fetch_sub(1, Ordering::SeqCst);
        0
    });
    let report = workshop.build_with(pretender).await.unwrap();
    assert_eq!(report.counts.misses, 600);
    let (most, held) = (most.load(Ordering::SeqCst), held.load(Ordering::SeqCst));
    assert!((1..=3).contains(&most), "{most}");
    assert!(held <= 8, "{held} locks");
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_build_ends_what_it_runs() {
    let workshop =
        Workshop::new("//- /BUILD.bld\nload(':rules.bzl', 'do')\ndo(name = 'x', verb = 'hang')\n");
    let (began, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
    let (ended, mut has_ended) = tokio::sync::mpsc::unbounded_channel();
    let mut pretender = workshop.pretender(&workshop.store);
    pretender.begins = Box::new(move |_| began.send(()).unwrap());
    pretender.ended = Arc::new(move || ended.send(()).unwrap());
    let build = workshop.prepare(&workshop.store, pretender);
    {
        let run = std::pin::pin!(build.run());
        let heard = std::pin::pin!(has_begun.recv());
        let first = futures::future::select(run, heard).await;
        assert!(matches!(first, futures::future::Either::Right((Some(()), _))));
        // The build is dropped here.
    }
    has_ended.recv().await.unwrap();
}
