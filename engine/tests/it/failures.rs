//! Failures: values, remembered where they would happen again.

use executor::Rung;
use expect_test::expect;

use crate::workshop::{Workshop, endings};

const FAILURES: &str = r#"
//- /BUILD.bld
load(":rules.bzl", "do")
do(name = "exit", verb = "exit", words = ["3"])
do(name = "shell_saw_a_signal", verb = "exit", words = ["137"])
do(name = "kill", verb = "kill", words = ["9"])
do(name = "timeout", verb = "timeout")
do(name = "oom", verb = "oom")
do(name = "nothing", verb = "nothing")
do(name = "device", verb = "device")
do(name = "after", deps = {"x": ":exit"}, words = ["never"])
do(name = "well", words = ["well"])
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_stops_only_what_needs_it() {
    let workshop = Workshop::new(FAILURES);
    let report = workshop.build().await;
    expect![[r#"
        //:after failed: //:exit (exit) exit status 3
        //:device failed: //:device (device) the output `out/made` is a device
        //:exit failed: //:exit (exit) exit status 3
        //:kill failed: //:kill (kill) ended by signal 9
        //:nothing failed: //:nothing (nothing) it did not make out/made
        //:oom failed: //:oom (oom) out of memory
        //:shell_saw_a_signal failed: //:shell_saw_a_signal (exit) exit status 137
        //:timeout failed: //:timeout (timeout) its time was up
        //:well built
    "#]]
    .assert_eq(&endings(&workshop, &report));
    let ran = workshop.ran();
    assert!(
        ran.contains(&"join well".to_owned()) && !ran.contains(&"join never".to_owned()),
        "{ran:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_would_fail_again_is_remembered() {
    let mut workshop = Workshop::new(FAILURES);
    workshop.build().await;
    workshop.ran();
    let report = workshop.build().await;
    assert_eq!(workshop.ran(), ["device", "exit 137", "kill 9", "oom", "timeout"]);
    expect![[r#"
        //:after failed: //:exit (exit) exit status 3, remembered
        //:device failed: //:device (device) the output `out/made` is a device
        //:exit failed: //:exit (exit) exit status 3, remembered
        //:kill failed: //:kill (kill) ended by signal 9
        //:nothing failed: //:nothing (nothing) it did not make out/made, remembered
        //:oom failed: //:oom (oom) out of memory
        //:shell_saw_a_signal failed: //:shell_saw_a_signal (exit) exit status 137
        //:timeout failed: //:timeout (timeout) its time was up
        //:well cached
    "#]]
    .assert_eq(&endings(&workshop, &report));

    workshop.options.retry_failed = true;
    let report = workshop.build().await;
    assert_eq!(
        workshop.ran(),
        ["device", "exit 137", "exit 3", "kill 9", "nothing", "oom", "timeout"]
    );
    assert_eq!(report.counts.hits, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remembered_failure_has_its_log() {
    let workshop = Workshop::new(
        "//- /BUILD.bld\nload(':rules.bzl', 'do')\ndo(name = 'x', verb = 'exit', words = ['3'])\n",
    );
    workshop.build().await;
    let report = workshop.build().await;
    let engine::GoalStatus::Failed(failure) = &report.goals[0].status else { panic!("it failed") };
    let log = workshop.store.read_bytes(failure.stderr.unwrap()).unwrap().unwrap();
    assert_eq!(&log[..], b"log of exit 3\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ran_without_a_sandbox_is_never_recorded() {
    let workshop = Workshop::new(FAILURES);
    for _ in 0..2 {
        let mut pretender = workshop.pretender(&workshop.store);
        pretender.rung = Rung::Bare;
        workshop.build_with(pretender).await.unwrap();
        assert_eq!(workshop.ran().len(), 8);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_failure_stops_the_rest_if_asked_to() {
    let mut workshop = Workshop::new(
        "//- /BUILD.bld\nload(':rules.bzl', 'do')\ndo(name = 'a', verb = 'exit', words = ['1'])\ndo(name = 'b', deps = {str(n): ':c{n=%d}' % n for n in range(50)})\ndo(name = 'c', matrix = {'n': [str(n) for n in range(50)]})\n",
    );
    workshop.options.fail_fast = true;
    workshop.options.jobs = 1;
    let mut pretender = workshop.pretender(&workshop.store);
    // Everything but the failure takes its time.
    pretender.delay = Box::new(|words| if words == "exit 1" { 0 } else { 2000 });
    let report = workshop.build_with(pretender).await.unwrap();
    let endings = endings(&workshop, &report);
    assert!(endings.contains("//:a failed: //:a (exit) exit status 1\n"), "{endings}");
    assert!(endings.contains("//:b skipped\n"), "{endings}");
    assert!(workshop.ran().len() < 51);
}
