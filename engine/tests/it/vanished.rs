//! Bytes that earlier builds made and that have gone since: made again where somebody needs them.

use expect_test::expect;

use crate::fixture::in_full;
use crate::workshop::{Workshop, endings};

/// A tree, a file made of it, a tree made of both, and a file at the end.
const CHAIN: &str = r#"
//- /BUILD.bld
load(":rules.bzl", "do", "gather")
do(name = "tree", verb = "tree", srcs = ["a.c"], words = ["of a"], tags = ["manual"])
do(name = "file", deps = {"t": ":tree"}, words = ["file of "], tags = ["manual"])
gather(name = "gathered", deps = [":tree", ":file"], tags = ["manual"])
do(name = "last", verb = "copies", deps = {"g": ":gathered"}, srcs = ["last.c"])
//- /a.c
text
//- /last.c
last
"#;

async fn built() -> Workshop {
    let workshop = Workshop::new(CHAIN);
    workshop.build().await;
    assert_eq!(workshop.ran(), ["copies", "join file of ", "tree of a"]);
    workshop
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_vanished_is_made_again() {
    let workshop = built().await;
    assert!(workshop.lose(|bytes| bytes == b"last\n") > 0);
    // The source is taken in anew; nothing else is lacking.
    let report = workshop.build().await;
    assert_eq!(workshop.ran(), [""; 0]);
    expect![[r#"
        //:last cached
    "#]]
    .assert_eq(&endings(&workshop, &report));

    assert!(workshop.lose(|bytes| bytes == b"file of text\nof a") > 0);
    let report = workshop.build().await;
    // The file lies in the last tree, too; what reads the file is run for it.
    assert_eq!(workshop.ran(), ["copies", "join file of "]);
    expect![[r#"
        //:last cached
    "#]]
    .assert_eq(&endings(&workshop, &report));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_vanished_in_the_middle_is_made_again_when_what_follows_runs() {
    let lost: [(&str, &[u8]); 3] = [
        ("file", b"file of text\nof a"),
        ("tree's file", b"text\n"),
        ("tree's other file", b"of a"),
    ];
    for (what, bytes) in lost {
        let workshop = built().await;
        assert!(workshop.lose(|found| found == bytes) > 0, "{what}");
        workshop.write("last.c", "another\n");
        let report = workshop.build().await;
        assert_eq!(report.counts.failures, 0, "{what}");
        let ran = workshop.ran();
        assert!(ran.contains(&"copies".to_owned()), "{what}: {ran:?}");
        // It is all here again.
        assert_eq!(workshop.build().await.counts.misses, 0, "{what}");
        assert_eq!(workshop.ran(), [""; 0], "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_that_vanished_are_made_again() {
    // Every directory of every tree, wherever it stands in the chain.
    for nth in 0.. {
        let workshop = built().await;
        let seen = std::cell::Cell::new(0);
        let lost = workshop.lose(|bytes| {
            let is_listing = bytes.first() == Some(&0x0a) || bytes.first() == Some(&0x12);
            if is_listing {
                seen.set(seen.get() + 1);
            }
            is_listing && seen.get() == nth + 1
        });
        if lost == 0 {
            assert!(nth > 5, "there are listings");
            break;
        }
        workshop.write("last.c", "another\n");
        let report = workshop.build().await;
        assert_eq!(report.counts.failures, 0, "listing {nth}");
        assert_eq!(workshop.build().await.counts.misses, 0, "listing {nth}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_vanished_is_made_again() {
    let workshop = built().await;
    workshop.lose(|_| true);
    let report = workshop.build().await;
    assert_eq!(workshop.ran(), ["copies", "join file of ", "tree of a"]);
    expect![[r#"
        //:last cached
    "#]]
    .assert_eq(&endings(&workshop, &report));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_miss_the_same_wait_for_the_one_that_makes_it() {
    let text = r#"
//- /BUILD.bld
load(":rules.bzl", "do")
do(name = "tree", verb = "tree", words = ["shared"], tags = ["manual"])
do(name = "x", root = ":tree", deps = {"t": ":tree"}, srcs = ["s"], matrix = {"n": [str(n) for n in range(30)]})
//- /s
one
"#;
    for seed in 0..5 {
        let workshop = Workshop::new(text);
        workshop.build().await;
        workshop.ran();
        workshop.lose(|bytes| bytes == b"shared");
        workshop.write("s", "two\n");
        let mut pretender = workshop.pretender(&workshop.store);
        pretender.delay = Box::new(move |words| if words == "tree shared" { 40 * seed } else { 0 });
        let report = workshop.build_with(pretender).await.unwrap();
        assert_eq!(report.counts.failures, 0);
        let trees = workshop.ran().iter().filter(|it| *it == "tree shared").count();
        assert_eq!(trees, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_made_the_same_again_is_said_to_be_gone() {
    let text = "//- /BUILD.bld\nload(':rules.bzl', 'do')\ndo(name = 'x', verb = 'join', words = ['once'])\n";
    let workshop = Workshop::new(text);
    workshop.build().await;
    workshop.lose(|bytes| bytes == b"once");
    let mut pretender = workshop.pretender(&workshop.store);
    pretender.changes = true;
    let error = workshop.build_with(pretender).await.unwrap_err();
    expect![[r#"
        an output of //:x (join) has vanished from the store, and running it again made something else; build again
    "#]].assert_eq(&format!("{}\n", in_full(&error)));
    // Building again, as it says, helps.
    let mut pretender = workshop.pretender(&workshop.store);
    pretender.changes = true;
    workshop.build_with(pretender).await.unwrap();
}
