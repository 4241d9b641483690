//! Tests: cached when they pass, never when they fail, and run as often as somebody wants.

use engine::{Report, TestOptions};
use expect_test::expect;

use crate::workshop::{Workshop, endings};

const TESTS: &str = r#"
//- /BUILD.bld
load(":rules.bzl", "check", "do")
check(name = "good", words = ["good"])
check(name = "bad", verb = "exit", words = ["3"])
check(name = "slow", verb = "timeout")
check(name = "flaky", verb = "flaky", words = ["2"])
check(name = "unbuilt", deps = [":broken"])
do(name = "broken", verb = "exit", words = ["4"])
do(name = "after", deps = {"x": ":good"}, words = ["after"])
"#;

/// Returns what was run of each test, a line for each.
fn tested(report: &Report) -> String {
    let mut lines: Vec<String> = report
        .tested
        .values()
        .map(|test| {
            let attempts = test.attempts.iter().map(|attempt| {
                let ending =
                    attempt.failure.as_ref().map_or("passed".to_owned(), ToString::to_string);
                format!("{} {ending}", attempt.run)
            });
            let attempts = attempts.collect::<Vec<_>>().join(", ");
            let (cached, made) = (if test.cached { " cached" } else { "" }, test.outputs.len());
            format!(
                "{} {:?}{cached}: {attempts}; {made} outputs\n",
                test.owner.label,
                test.verdict()
            )
        })
        .collect();
    lines.sort();
    lines.concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_that_passed_is_not_run_again_and_one_that_failed_is() {
    let workshop = Workshop::new(TESTS);
    let report = workshop.test().await;
    assert!(report.has_failed());
    expect![[r#"
        //:bad Failed: 1 exit status 3; 0 outputs
        //:flaky Failed: 1 exit status 1; 1 outputs
        //:good Passed: 1 passed; 1 outputs
        //:slow TimedOut: 1 its time was up; 0 outputs
    "#]]
    .assert_eq(&tested(&report));
    assert_eq!(workshop.ran(), ["exit 3", "exit 4", "flaky 2", "join good", "timeout"]);

    let report = workshop.test().await;
    assert!(tested(&report).contains("//:good Passed cached: 1 passed; 1 outputs\n"));
    // What the test `unbuilt` needs is remembered as failed: that is no test.
    assert_eq!(workshop.ran(), ["exit 3", "flaky 2", "timeout"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn building_a_test_builds_what_it_makes_and_does_not_run_it() {
    let workshop = Workshop::new(TESTS);
    let report = workshop.build().await;
    expect![[r#"
        //:after built
        //:bad cached
        //:broken failed: //:broken (exit) exit status 4
        //:flaky cached
        //:good cached
        //:slow cached
        //:unbuilt cached
    "#]]
    .assert_eq(&endings(&workshop, &report));
    // The one whose results something else needs.
    expect!["//:good Passed: 1 passed; 1 outputs\n"].assert_eq(&tested(&report));
    assert_eq!(workshop.ran(), ["exit 4", "join after", "join good"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_that_passes_at_the_second_attempt_is_flaky_and_looked_at_again() {
    let mut workshop = Workshop::new(
        "//- /BUILD.bld\nload(':rules.bzl', 'check')\ncheck(name = 'x', verb = 'flaky', words = ['2'])\n",
    );
    workshop.options.tests.attempts = 3;
    for _ in 0..2 {
        let report = workshop.test().await;
        assert!(!report.has_failed());
        expect!["//:x Flaky: 1 exit status 1, 1 passed; 1 outputs\n"].assert_eq(&tested(&report));
        assert_eq!(workshop.ran(), ["flaky 2", "flaky 2"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_take_nothing_from_the_cache_and_a_failed_one_is_a_failure() {
    let mut workshop = Workshop::new(
        "//- /BUILD.bld\nload(':rules.bzl', 'check')\ncheck(name = 'x', verb = 'flaky', words = ['2'])\ncheck(name = 'y')\n",
    );
    workshop.options.tests.runs = 3;
    for _ in 0..2 {
        let report = workshop.test().await;
        assert!(report.has_failed());
        expect![[r#"
            //:x Failed: 1 exit status 1, 2 passed, 3 passed; 1 outputs
            //:y Passed: 1 passed, 2 passed, 3 passed; 1 outputs
        "#]]
        .assert_eq(&tested(&report));
        assert_eq!(workshop.ran().len(), 6);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_is_known_is_forgotten_when_the_same_test_fails() {
    let mut workshop = Workshop::new(
        "//- /BUILD.bld\nload(':rules.bzl', 'check')\ncheck(name = 'x', verb = 'flaky', words = ['2'])\n",
    );
    // It passes the first time, because the same command was seen once before.
    workshop.log.lock().unwrap().push("flaky 2".to_owned());
    assert!(!workshop.test().await.has_failed());
    workshop.ran();
    assert!(!workshop.test().await.has_failed());
    assert_eq!(workshop.ran(), [""; 0]);

    workshop.options.tests.use_cache = false;
    assert!(workshop.test().await.has_failed());
    workshop.ran();
    workshop.options.tests = TestOptions::default();
    assert!(workshop.test().await.has_failed());
}

#[tokio::test(flavor = "multi_thread")]
async fn results_that_vanished_are_made_again() {
    let workshop = Workshop::new(
        "//- /BUILD.bld\nload(':rules.bzl', 'check')\ncheck(name = 'x', words = ['precious'])\n",
    );
    workshop.test().await;
    workshop.ran();
    assert_eq!(workshop.lose(|bytes| bytes == b"precious"), 1);
    let report = workshop.test().await;
    assert_eq!(workshop.ran(), ["join precious"]);
    assert!(!report.has_failed());
}

#[test]
fn a_rule_of_tests_must_say_what_its_test_is() {
    let refuse = |returned: &str| {
        let workshop = Workshop::new(&format!(
            "//- /BUILD.bld\nload(':own.bzl', 'own')\nown(name = 'x')\n//- /own.bzl\ndef _own(ctx):\n    return {returned}\nown = rule(implementation = _own, attrs = {{}}, test = True)\n"
        ));
        workshop.plan(&["//..."]).unwrap_err()
    };
    let nothing = refuse("[]");
    assert!(nothing.contains("the test //:x does not provide TestInfo"), "{nothing}");
    let written = refuse("[TestInfo(results = ctx.actions.write('x'))]");
    assert!(
        written.contains(
            "the test //:x has results that no test makes: ctx.actions.run(…, test = True) does"
        ),
        "{written}"
    );
}
