//! `bld test`: what passes once is not run again, what fails is shown, and nothing that is flaky is hidden.

use std::fs;

use crate::base::base;
use crate::machine::Machine;

const RULES: &str = "load(\"@rules//test.bzl\", \"test\")\n";

/// Returns a machine with these tests in the package `t`; their root has busybox.
fn machine(tests: &[(&str, &str)]) -> Machine {
    let machine = Machine::hello();
    let declare = |(name, text): &(&str, &str)| {
        format!("test(name = {name:?}, root = \"//hello:shell\", {text})\n")
    };
    let tests: String = tests.iter().map(declare).collect();
    machine.write("t/BUILD.bld", &format!("{RULES}{tests}"));
    machine
}

/// Returns the line about a test.
#[track_caller]
fn line<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let found = text.lines().find(|line| line.split_whitespace().next() == Some(name));
    found.unwrap_or_else(|| panic!("no {name} in:\n{text}")).split_whitespace().collect()
}

#[test]
fn a_test_that_passed_is_found_and_one_that_failed_is_run_again_with_its_log_and_results_kept() {
    let machine = machine(&[
        ("good", "cmd = 'echo fine; echo 1 > $TEST_OUTPUT/number'"),
        ("bad", "cmd = 'echo out; echo worse >&2; echo 2 > $TEST_OUTPUT/number; exit 3'"),
        ("slow", "cmd = 'echo waiting; sleep 60', timeout_seconds = 1"),
        (
            "cells",
            "cmd = 'echo \"$@\"', args = ['a', 'b'], matrix = {'n': ['1', '2']}, exclude = [{'n': '2'}]",
        ),
    ]);
    let first = machine.run(&["test", "//t/..."]).expect(1);
    assert_eq!(line(&first.stdout, "//t:good")[1], "passed");
    assert_eq!(line(&first.stdout, "//t:cells{n=1}")[1], "passed");
    assert_eq!(line(&first.stdout, "//t:cells{n=2}")[1], "excluded");
    let bad = line(&first.stdout, "//t:bad");
    assert_eq!((bad[1], bad[bad.len() - 3..].join(" ").as_str()), ("failed", "exit status 3"));
    assert_eq!(line(&first.stdout, "//t:slow")[1..3], ["timed", "out"]);
    assert!(first.stdout.contains("== //t:bad: exit status 3\nout\nworse\n"), "{}", first.stdout);
    assert!(first.stdout.contains("waiting\n") && !first.stdout.contains("fine\n"));
    assert!(first.stdout.ends_with("5 tests: 2 passed, 1 failed, 1 timed out, 1 excluded\n"));

    let read = |path: &str| fs::read_to_string(machine.output(path)).unwrap();
    assert_eq!(read("t/good.test/results/number"), "1\n");
    assert_eq!(read("t/bad.test/results/number"), "2\n");
    assert!(read("t/bad.test/test.log").ends_with("-- stdout\nout\n-- stderr\nworse\n"));
    assert!(read("t/cells.test/n=1/test.log").contains("a b\n"));

    let second = machine.run(&["test", "//t/...", "--test-output", "none"]).expect(1);
    assert_eq!(line(&second.stdout, "//t:good")[1], "cached");
    assert!(second.stdout.ends_with("5 tests: 2 cached, 1 failed, 1 timed out, 1 excluded\n"));
    assert!(!second.stdout.contains("worse"));
    let third = machine.run(&["test", "//t:good", "--no-cache", "--test-output", "all"]).expect(0);
    assert_eq!(line(&third.stdout, "//t:good")[1], "passed");
    assert!(third.stdout.contains("== //t:good: passed\nfine\n"), "{}", third.stdout);

    // Building does not run tests, and takes nothing away that they left.
    machine.run(&["build", "//..."]).expect(0);
    assert_eq!(read("t/good.test/results/number"), "1\n");
    machine.assert_nothing_is_left();
}

#[test]
fn a_test_that_is_flaky_is_called_so_with_every_attempt_and_never_found_in_the_cache() {
    // Each run has an even chance: that none of forty fails once, nobody will see.
    let machine = machine(&[(
        "coin",
        "cmd = 'case $(cat /proc/sys/kernel/random/uuid) in [0-7]*) echo tails; exit 1;; esac; echo heads'",
    )]);
    let arguments = ["test", "//t:coin", "--attempts", "100"];
    let many = [&arguments[..], &["--runs", "40", "--json", "--junit", "coin.xml"]].concat();
    let json = machine.run(&many).expect(0).json();
    let test = &json["tests"][0];
    assert_eq!((&test["status"], &json["summary"]["flaky"]), (&"flaky".into(), &1.into()));
    let attempts = test["attempts"].as_array().unwrap();
    for run in 1..=40 {
        let of_run: Vec<_> = attempts.iter().filter(|it| it["run"] == run).collect();
        let (last, earlier) = of_run.split_last().unwrap();
        assert_eq!((&last["outcome"], &last["stdout"]), (&"passed".into(), &"heads\n".into()));
        assert!(
            earlier.iter().all(|it| it["outcome"] == "exit status 1" && it["stdout"] == "tails\n")
        );
    }
    assert!(attempts.len() > 40);
    let xml = machine.read("coin.xml");
    assert!(xml.contains("tests=\"40\" failures=\"0\"") && xml.contains("== run "), "{xml}");

    // Nothing of it was recorded: it is run each time.
    let again = machine.run(&["test", "//t:coin", "--attempts", "100", "--json"]).expect(0).json();
    assert_ne!(again["tests"][0]["status"], "cached");
    let failed = machine.run(&["test", "//t:coin", "--runs", "40"]).expect(1);
    assert!(line(&failed.stdout, "//t:coin").join(" ").contains("of 40 attempts failed"));
}

#[test]
fn what_the_tests_need_is_built_and_if_it_cannot_be_they_are_not_run() {
    let machine = Machine::hello();
    machine.write(
        "t/BUILD.bld",
        r#"
load("@rules//files.bzl", "genrule")
load("@rules//test.bzl", "test")
genrule(name = "data", cmd = "echo data > out/data", outs = ["data"], root = "//hello:shell")
genrule(name = "none", cmd = "echo no way >&2; exit 4", outs = ["data"], root = "//hello:shell", tags = ["manual"])
test(name = "reads", cmd = "cat /src/data", data = [":data"], root = "//hello:shell")
test(name = "cannot", cmd = "cat /src/data", data = [":none"], root = "//hello:shell")
"#,
    );
    let ran = machine.run(&["test", "//t/...", "--junit", "t.xml"]).expect(1);
    assert_eq!(line(&ran.stdout, "//t:reads")[1], "passed");
    assert_eq!(
        line(&ran.stdout, "//t:cannot")[1..],
        ["not", "built", "//t:none:", "exit", "status", "4"]
    );
    assert!(ran.stdout.contains("no way"), "{}", ran.stdout);
    let xml = machine.read("t.xml");
    assert!(
        xml.contains("errors=\"1\"") && xml.contains("not built: //t:none: exit status 4"),
        "{xml}"
    );
}

#[test]
fn the_record_of_tests_is_that_of_a_build() {
    let machine = machine(&[("good", "cmd = 'true'"), ("bad", "cmd = 'echo worse; exit 3'")]);
    let files = ["--events", "new/events", "--trace", "traces/trace", "--junit", "junit/all.xml"];
    let ran = machine.run(&[&["test", "//t/...", "--explain"][..], &files].concat()).expect(1);
    let why = "test //t:good (test) ran because it was never built before\n";
    assert!(ran.stdout.contains(why), "{}", ran.stdout);
    let events = machine.read("new/events");
    assert!(events.starts_with('{') && events.trim_end().ends_with('}'), "{events}");
    assert_eq!(events.matches("\"event\":\"goal\"").count(), 2, "{events}");
    assert!(machine.read("traces/trace").contains("//t:good (test)"));
    assert!(machine.read("junit/all.xml").contains("<testsuites"));

    // What ran again says why in any case; a test that ran often says so once.
    let again = machine.run(&["test", "//t:good", "--runs", "3"]).expect(0);
    let why = "test //t:good (test) ran because it was asked to run again";
    assert_eq!(again.stdout.matches(why).count(), 1, "{}", again.stdout);
    let json = machine.run(&["test", "//t:good", "--no-cache", "--json"]).expect(0).json();
    assert_eq!(json["ran"][0]["action"], "test //t:good (test)");
    assert_eq!(json["ran"][0]["reason"]["kind"], "asked");
    let failed = machine.run(&["test", "//t:bad", "--events", "-"]).expect(1).says(&["worse"]);
    assert!(failed.stdout.lines().all(|line| line.starts_with('{')), "{}", failed.stdout);
    machine.run(&["test", "//t:bad", "--events", "-", "--json"]).expect(2);
}

#[test]
fn a_pattern_without_tests_and_numbers_that_make_no_sense_are_mistakes() {
    let machine = machine(&[("good", "cmd = 'true'")]);
    machine.run(&["test", "//hello/..."]).expect(2).says(&["there is no test in //hello/..."]);
    for wrong in
        [["--runs", "0"], ["--attempts", "0"], ["--runs", "1001"], ["--test-output", "some"]]
    {
        machine.run(&[&["test", "//t:good"][..], &wrong].concat()).expect(2).says(&[wrong[0]]);
    }
    machine.write(
        "both/BUILD.bld",
        &format!(
            "{RULES}test(name = 'both', cmd = 'true', program = 'p', root = '//hello:shell')\n"
        ),
    );
    machine.write("both/p", "");
    machine.run(&["test", "//both"]).expect(2).says(&["a test has a `program` or a `cmd`"]);
}

/// What one test covered: a line far more often than 32 bits can count, a branch whose line it never reached.
const ONE: &str = "TN:one
SF:x.c
FN:3,main
FN:10,20,f<a,b>
FNDA:1,main
FNDA:0,f<a,b>
FNF:2
FNH:1
BRDA:4,0,0,-
BRDA:4,0,1,2
BRDA:12,0,0,-
DA:3,3000000000
DA:10,0
LF:2
LH:1
end_of_record
";

const OTHER: &str = "SF:x.c
FN:3,main
FNDA:2,main
FNDA:5,f<a,b>
BRDA:4,0,0,1
BRDA:4,0,1,-
DA:3,3000000000
DA:10,5
DA:9,0
end_of_record
SF:a b.c
DA:1,0,checksum=
end_of_record
";

/// Both, as `coverage_report` has promised to write them since its first version.
const BOTH: &str = "SF:a b.c
DA:1,0
LF:1
LH:0
end_of_record
SF:x.c
FN:3,main
FN:10,20,f<a,b>
FNDA:3,main
FNDA:5,f<a,b>
FNF:2
FNH:2
BRDA:4,0,0,1
BRDA:4,0,1,2
BRDA:12,0,0,-
BRF:3
BRH:2
DA:3,6000000000
DA:9,0
DA:10,5
LF:3
LH:2
end_of_record
";

#[test]
fn counts_of_the_same_line_function_or_branch_are_added_up_whatever_the_order_of_the_tests() {
    let machine = Machine::with_store_and(&base().tested());
    let declare = |order: &str| {
        machine.write("merged/BUILD.bld", &format!(
            r#"
load("@rules//test.bzl", "coverage_report", "test")
[test(name = name, cmd = "cp /src/*.info $TEST_COVERAGE", data = [name + ".info"], coverage = True, root = "//roman:gcc") for name in ["one", "other"]]
coverage_report(name = "merged", tests = [{order}], root = "//roman:gcc")
"#
        ));
    };
    machine.write("merged/one.info", ONE);
    machine.write("merged/other.info", OTHER);
    for order in ["':one', ':other'", "':other', ':one'"] {
        declare(order);
        machine.run(&["build", "//merged"]).expect(0);
        assert_eq!(fs::read_to_string(machine.output("merged/merged.info")).unwrap(), BOTH);
    }
    for (wrong, why) in [
        ("SF:x.c\nDA:1,many\nend_of_record\n", "2: a count is not a number: DA:1,many"),
        ("DA:1,1\n", "1: not in the record of a source: DA:1,1"),
        ("SF:x.c\nDA:1,1\n", "other.info: the last record has no end"),
        ("SF:x.c\nMCDC:1\nend_of_record\n", "2: this kind of line is not known: MCDC:1"),
    ] {
        machine.write("merged/other.info", wrong);
        let refused = machine.run(&["build", "//merged"]).expect(1);
        refused.says(&["coverage_report: ", why]);
    }
}

#[test]
fn what_tests_cover_is_added_up_from_gcc_counters() {
    let machine = Machine::with_store_and(&base().tested());
    machine.run(&["test", "//..."]).expect(0);
    let built = machine.run(&["build", "//roman:coverage", "--json"]).expect(0).json();
    // The tests are not run again for it.
    assert_eq!(built["summary"]["misses"], 1, "{built:#}");
    let report = fs::read_to_string(machine.output("roman/coverage.info")).unwrap();
    let source = fs::read_to_string(machine.workspace().join("roman/roman.c")).unwrap();
    let count_of = |code: &str| -> u64 {
        let number = 1 + source.lines().position(|line| line.contains(code)).unwrap();
        let line = report.lines().find_map(|line| line.strip_prefix(&format!("DA:{number},")));
        line.unwrap_or_else(|| panic!("no line {number} in:\n{report}")).parse().unwrap()
    };
    // Three numbers in one test, four in the other.
    assert_eq!(count_of("putchar('\\n')"), 3);
    assert_eq!(count_of("int number = atoi"), 7);
    assert_eq!(count_of("return refuse"), 4);
    assert_eq!(count_of("return 2;"), 0);
    assert!(
        report.starts_with("SF:/src/roman.c\n")
            && report.ends_with("\nLF:18\nLH:17\nend_of_record\n")
    );

    let text = machine.read("roman/BUILD.bld");
    machine.write("roman/BUILD.bld", &text.replace("coverage = True,", ""));
    machine
        .run(&["build", "//roman:coverage"])
        .expect(2)
        .says(&["//roman:numbers measures no coverage: say coverage = True there"]);
}

#[test]
fn a_test_is_run_where_tests_are_asked_for_and_is_nothing_to_a_build() {
    let machine = machine(&[
        ("good", "cmd = 'exit 0'"),
        ("bad", "cmd = 'exit 1', matrix = {'n': ['1']}, xfail = [{'n': '1'}]"),
    ]);
    let all = |words: &[&str], code: i32| {
        machine.run(&[words, &["//t:all"]].concat()).expect(code).stdout
    };
    let built = all(&["build"], 0);
    assert!(built.contains("1 cached") && !built.contains("xpass"), "{built}");
    machine.run(&["build", "//hello:hello"]).expect(0);
    assert!(!all(&["plan"], 0).contains("//t:"));
    let plan = all(&["plan", "--tests"], 0);
    assert!(plan.contains("//t:good  1 will run"), "{plan}");
    let tested = all(&["test"], 0);
    assert_eq!(line(&tested, "//t:bad{n=1}")[1], "xfail");
    assert!(all(&["plan", "--tests"], 0).contains("//t:good  1 cached"));
    let verified = machine.run(&["verify", "--own", "//t:good"]).expect(0).stdout;
    assert!(verified.contains("1 action run again once"), "{verified}");
    let asked = machine.run(&["query", "--actions", "//t:good"]).expect(0).stdout;
    assert!(asked.contains("//t:good (test)"), "{asked}");
    machine.run(&["shell", "//t:good", "--", "/bin/sh", "-c", "exit 3"]).expect(3);
}
