//! Drivers in virtual machines: kernels are really booted, and what they say is reported.

use std::fs;

use crate::base::base;
use crate::machine::{Machine, Ran};

/// Scripts after which a machine comes to no end.
const ENDLESS: &str = r#"
[
    driver_load_test(
        name = how,
        module = ":vault{kernel=NEWEST}",
        kernels = ":kernels",
        exercise = how + ".sh",
        root = ":qemu",
        timeout_seconds = {"hang": 20}.get(how, 300),
    )
    for how in ["hang", "panic"]
]
"#;

/// How long the machine that hangs is waited for, as said above.
const HANG_SECONDS: u32 = 20;

/// Returns the log of a test, as `bld` keeps it.
fn log(machine: &Machine, test: &str, kernel: Option<&str>) -> String {
    let cell = kernel.map(|kernel| format!("kernel={kernel}/")).unwrap_or_default();
    let path = machine.output(&format!("drivers/{test}.test/{cell}test.log"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[track_caller]
fn assert_has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no `{word}` in:\n{text}");
    }
}

fn status(tests: &Ran, label: &str) -> Vec<String> {
    let json = tests.json();
    let tests = json["tests"].as_array().unwrap().iter();
    tests
        .filter(|test| test["label"] == label)
        .map(|test| test["status"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_driver_is_loaded_into_the_kernels_that_it_is_for_and_a_failure_says_what_the_kernel_said() {
    let machine = Machine::with_store_and(&base().loadtest());
    let kernels = &base().kernels()[..2];
    let passed = machine.run(&["test", "//...", "--json", "--junit", "first.xml"]).expect(0);
    assert_eq!(status(&passed, "//drivers:vault-load"), ["passed", "passed"]);
    for kernel in kernels {
        // What the machine itself says it runs, and what the module says in it.
        let folder = format!("drivers/vault-load.test/kernel={kernel}/results");
        let read =
            |name: &str| fs::read_to_string(machine.output(&format!("{folder}/{name}"))).unwrap();
        let steps = read("steps");
        assert_has(
            &steps,
            &[&format!("booted {kernel}\n"), "load 0\n", "exercise 0\n", "unload 0\n"],
        );
        assert_has(
            &read("console.log"),
            &[&format!("Linux version {kernel} "), "vault: 512 bytes"],
        );
        let log = log(&machine, "vault-load", Some(kernel));
        assert_has(
            &log,
            &["vault: 512 bytes", "vault: gone", "exercised /dev/vault with 512 bytes"],
        );
        assert!(!log.contains("Linux version"), "only what is about the driver:\n{log}");
    }

    let newest = &kernels[1];
    let cell = format!("{{kernel={newest}}}");
    let (stubborn, crash) =
        (format!("//drivers:vault-refuses{cell}"), format!("//drivers:crash-load{cell}"));
    let all = ["test", "//...", &stubborn, &crash, "//drivers:vault-stranger", "--json"];
    let build = machine.read("drivers/BUILD.bld");
    machine.write("drivers/BUILD.bld", &format!("{build}{ENDLESS}").replace("NEWEST", newest));
    machine.write("drivers/panic.sh", "echo c >/proc/sysrq-trigger\n");
    machine.write("drivers/hang.sh", "while true; do sleep 1; done\n");
    let failed = machine.run(&[&all[..], &["--junit", "second.xml"]].concat()).expect(1);
    assert_eq!(status(&failed, "//drivers:vault-load"), ["cached", "cached"]);
    for name in ["vault-refuses", "vault-stranger", "crash-load"] {
        assert_eq!(status(&failed, &format!("//drivers:{name}")), ["failed"], "{name}");
    }
    let refused = log(&machine, "vault-refuses", Some(newest));
    assert_has(
        &refused,
        &[
            &format!("FAILED: the driver cannot be loaded into {newest} "),
            "vault: a capacity of 0 bytes is not between 1 and 4096",
            "insmod: can't insert '/driver.ko': Invalid argument",
        ],
    );
    let stranger = log(&machine, "vault-stranger", None);
    assert_has(
        &stranger,
        &["vault: disagrees about version of symbol", "FAILED: the driver cannot be loaded"],
    );
    let crashed = log(&machine, "crash-load", Some(newest));
    assert_has(
        &crashed,
        &[
            "FAILED: the driver was loaded, but exercising it failed",
            "FAILED: the kernel reports an oops",
            "BUG: kernel NULL pointer dereference",
            "crash_write",
        ],
    );

    let hung = log(&machine, "hang", None);
    assert_has(&hung, &["FAILED: ", &format!("within {HANG_SECONDS} seconds")]);
    let panicked = log(&machine, "panic", None);
    assert_has(
        &panicked,
        &[
            "FAILED: the kernel died while the driver was exercised",
            "Kernel panic - not syncing: sysrq triggered crash",
        ],
    );

    // Continuous integration sees the same of results that were found.
    let cases = |file: &str| -> Vec<(String, String, bool)> {
        let xml = machine.read(file);
        let document = roxmltree::Document::parse(&xml).unwrap();
        let cases = document.descendants().filter(|node| node.has_tag_name("testcase"));
        let case = |node: roxmltree::Node<'_, '_>| {
            let child = |name: &str| node.children().find(|it| it.has_tag_name(name));
            let out = child("system-out").and_then(|it| it.text()).unwrap_or_default().to_owned();
            (node.attribute("name").unwrap().to_owned(), out, child("failure").is_some())
        };
        cases.map(case).collect()
    };
    let (first, second) = (cases("first.xml"), cases("second.xml"));
    assert_eq!(first.len(), 2);
    assert!(first.iter().all(|case| second.contains(case) && !case.2), "{first:?}\n{second:?}");
    assert_eq!(second.iter().filter(|case| case.2).count(), 5);
    machine.assert_nothing_is_left();
}
