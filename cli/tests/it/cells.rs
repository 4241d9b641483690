//! Real cells: two versions of a driver, as module and as probe, for three real kernels.

use std::collections::BTreeMap;
use std::io::Read as _;

use flate2::read::GzDecoder;
use serde_json::Value;

use crate::base::base;
use crate::machine::{Machine, summary};

/// Where a gzip header says whether it holds a name, and where its time is.
const GZIP_FLAGS: usize = 3;
const GZIP_TIME: std::ops::Range<usize> = 4..8;

/// What an ELF header says of the machine that the code is for, at offset 18.
const ELF_MACHINE_BPF: u16 = 247;

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    assert_eq!(bytes[GZIP_FLAGS], 0, "the header holds a name or a comment");
    assert_eq!(bytes[GZIP_TIME], [0; 4], "the header holds a time");
    let mut plain = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

/// Returns what a module says of itself under `key`: `.modinfo` is a row of `key=value`, each ended by a NUL.
fn modinfo(module: &[u8], key: &str) -> String {
    let wanted = format!("{key}=");
    let mut words = module.split(|byte| *byte == 0);
    let found = words.find(|word| word.starts_with(wanted.as_bytes())).unwrap();
    String::from_utf8(found[wanted.len()..].to_vec()).unwrap()
}

/// Returns each cell's status, by kernel, version and kind.
fn statuses(build: &Value) -> BTreeMap<(String, String, String), String> {
    let goals = build["goals"].as_array().unwrap().iter();
    goals
        .filter(|goal| goal["label"] == "//drivers:echo")
        .map(|goal| {
            let axis = |name: &str| goal["cell"][name].as_str().unwrap().to_owned();
            let status = goal["status"].as_str().unwrap().to_owned();
            ((axis("kernel"), axis("version"), axis("kind")), status)
        })
        .collect()
}

/// Returns the kernel that the fixture's blocklist is about.
fn real_time_kernel() -> String {
    base().kernels().into_iter().find(|kernel| kernel.contains("-rt-")).unwrap()
}

#[test]
fn every_cell_that_is_not_blocked_makes_the_file_that_its_kernel_can_load() {
    let machine = Machine::drivers_built();
    let blocked = format!("1.0.0/echo-{}.ko.gz", real_time_kernel());
    let mut expected = Vec::new();
    for kernel in base().kernels() {
        for version in ["1.0.0", "2.0.0"] {
            expected.push(format!("{version}/echo-{kernel}.ko.gz"));
            expected.push(format!("{version}/echo-ebpf-{kernel}.o.gz"));
        }
    }
    expected.retain(|path| *path != blocked);
    expected.sort();

    let outputs = machine.outputs();
    let paths: Vec<_> =
        outputs.iter().map(|(path, _)| path.strip_prefix("drivers/").unwrap()).collect();
    assert_eq!(paths, expected);

    for (path, bytes) in &outputs {
        let plain = gunzip(bytes);
        assert!(plain.starts_with(b"\x7fELF"), "{path}");
        if let Some(name) = path.strip_suffix(".ko.gz") {
            let release = name.split_once("/echo-").unwrap().1;
            let vermagic = modinfo(&plain, "vermagic");
            assert_eq!(vermagic.split(' ').next(), Some(release), "{path}");
            assert_eq!(modinfo(&plain, "name"), "echo", "{path}");
        } else {
            let machine = u16::from_le_bytes([plain[18], plain[19]]);
            assert_eq!(machine, ELF_MACHINE_BPF, "{path}");
        }
        let debug = plain.windows(11).any(|window| window == b".debug_info");
        assert!(!debug, "{path} holds debug information");
        let place = machine.root().to_str().unwrap().as_bytes();
        assert!(!plain.windows(place.len()).any(|window| window == place), "{path} names a folder");
    }
}

#[test]
fn a_second_build_does_nothing() {
    let machine = Machine::drivers_built();
    let again = machine.run(&["build", "//drivers:all"]).expect(0);
    assert!(again.stdout.contains("nothing to do: 16 actions cached"), "{}", again.stdout);
    assert!(again.stdout.contains("11 cached, 1 excluded"), "{}", again.stdout);
    let rows: Vec<_> = base().kernels().iter().map(|it| again.stdout.find(it.as_str())).collect();
    assert!(rows.iter().all(Option::is_some) && rows.is_sorted(), "{}", again.stdout);
}

#[test]
fn a_changed_source_rebuilds_the_cells_that_read_it_and_a_source_changed_back_none() {
    let machine = Machine::drivers_built();
    let path = "drivers/echo/2.0.0/ring.c";
    let before = machine.read(path);
    machine.write(path, &before.replacen('\n', "\n\n", 1));

    let build = machine.run(&["build", "//drivers:all", "--json"]).expect(0).json();
    for ((kernel, version, kind), status) in statuses(&build) {
        let blocked = kernel == real_time_kernel() && version == "1.0.0" && kind == "mod";
        let expected = match (version.as_str(), kind.as_str()) {
            _ if blocked => "excluded",
            ("2.0.0", "mod") => "built",
            _ => "cached",
        };
        assert_eq!(status, expected, "{kernel} {version} {kind}");
    }
    // The module for three kernels; the probe does not read it, and roots and headers are as they were.
    assert_eq!(summary(&build, "misses"), 3);

    machine.write(path, &before);
    let build = machine.run(&["build", "//drivers:all", "--json"]).expect(0).json();
    assert_eq!(summary(&build, "misses"), 0);
}

#[test]
fn a_cell_that_fails_stops_no_other_and_leaves_its_log_until_it_is_mended() {
    let machine = Machine::drivers_built();
    let kernel = real_time_kernel();
    let blocklist = machine.read("drivers/BLOCKLIST");
    machine.write("drivers/BLOCKLIST", "# Nothing is blocked.\n");
    // Cells beside it have to run, too.
    let source = "drivers/echo/1.0.0/stats.c";
    machine.write(source, &format!("{}\n/* changed */\n", machine.read(source)));

    let failed = machine.run(&["build", "//drivers:all"]).expect(1);
    assert!(failed.stdout.contains("2 built, 9 cached, 1 failed"), "{}", failed.stdout);
    let log = machine.output(&format!("drivers/FAILURES/{kernel}/1.0.0/mod.log"));
    let log = log.to_str().unwrap();
    let failed = failed.says(&["failed:", &kernel, "exit status 2", "vm_flags", log]);
    let text = std::fs::read_to_string(log).unwrap();
    assert!(text.contains("error: assignment of read-only member"), "{text}");
    assert!(!failed.stderr.contains("remembered"), "{}", failed.stderr);

    let again = machine.run(&["build", "//drivers:all", "--json"]).expect(1);
    assert_eq!(summary(&again.json(), "misses"), 0, "the failure is remembered");
    let failures: Vec<_> = again.json()["goals"].as_array().unwrap().clone();
    let failures: Vec<_> = failures.iter().filter(|goal| !goal["failure"].is_null()).collect();
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0]["failure"]["remembered"], true);
    assert_eq!(failures[0]["failure"]["log"], log);
    machine
        .run(&["build", "//drivers:all"])
        .expect(1)
        .says(&["remembered; bld build --retry-failed"]);

    let retried = machine.run(&["build", "//drivers:all", "--retry-failed", "--json"]).expect(1);
    assert_eq!(summary(&retried.json(), "misses"), 1);

    machine.write("drivers/BLOCKLIST", &blocklist);
    machine.run(&["build", "//drivers:all"]).expect(0);
    assert!(!machine.output("drivers/FAILURES").exists(), "what is no failure any more has no log");
}

#[test]
fn a_cell_that_must_fail_is_built_in_vain_and_is_no_failure_of_the_build() {
    let machine = Machine::drivers_built();
    machine.write("drivers/BLOCKLIST", "# Nothing is blocked.\n");
    machine.write("drivers/XFAIL", "*-rt-amd64 1.0.0 mod  # vma->vm_flags is const since 6.3\n");
    let build = machine.read("drivers/BUILD.bld");
    let blocklist = "    blocklist = \"BLOCKLIST\",\n";
    assert!(build.contains(blocklist), "the fixture has changed");
    let xfail = format!("{blocklist}    xfail = parse_blocklist(read_file(\"XFAIL\")),\n");
    let build = build.replace(blocklist, &xfail);
    let loaded = build.replace("\"kernel_list\")", "\"kernel_list\", \"parse_blocklist\")");
    machine.write("drivers/BUILD.bld", &loaded);

    let all = machine.run(&["build", "//drivers:all", "--grid", "grid.xml"]).expect(0);
    assert!(all.stdout.contains("11 cached, 1 xfail"), "{}", all.stdout);
    let log = format!("drivers/FAILURES/{}/1.0.0/mod.log", real_time_kernel());
    let text = std::fs::read_to_string(machine.output(&log)).unwrap();
    assert!(text.contains("error: assignment of read-only member"), "{text}");
    let known = machine.run(&["failures", "//drivers:all"]).expect(0);
    assert!(known.stdout.contains("0 cells failed, 1 failed as expected"), "{}", known.stdout);
    assert!(machine.read("grid.xml").contains("tests=\"12\" failures=\"0\""));

    // Once its cause is mended, it passes, and the list is not true any more.
    machine.write("drivers/XFAIL", "*-rt-amd64 1.0.0 mod\n*-rt-amd64 2.0.0 mod\n");
    let cell = format!("//drivers:echo{{kernel={},version=2.0.0,kind=mod}}", real_time_kernel());
    let passed =
        machine.run(&["build", &cell]).expect(1).says(&["xpass:", "take it out of `xfail`"]);
    assert!(passed.stdout.contains("1 xpass"), "{}", passed.stdout);
}

#[test]
fn a_cell_that_is_blocked_later_leaves_no_old_driver_behind() {
    let machine = Machine::drivers_built();
    let kernel = &base().kernels()[0];
    let driver = machine.output(&format!("drivers/2.0.0/echo-{kernel}.ko.gz"));
    assert!(driver.exists());
    let blocklist = machine.read("drivers/BLOCKLIST");
    machine.write("drivers/BLOCKLIST", &format!("{blocklist}{kernel} 2.0.0 mod\n"));

    machine.run(&["build", "//drivers:all"]).expect(0);
    assert!(!driver.exists());
}

#[test]
fn one_cell_can_be_named() {
    let machine = Machine::drivers_built();
    let kernel = &base().kernels()[0];
    let cell = format!("//drivers:echo{{kernel={kernel},version=2.*,kind=bpf}}");
    let build = machine.run(&["build", &cell, "--json"]).expect(0).json();
    let statuses = statuses(&build);
    let expected = (kernel.clone(), "2.0.0".to_owned(), "bpf".to_owned());
    assert_eq!(statuses.into_keys().collect::<Vec<_>>(), [expected]);
}

#[test]
fn the_log_of_a_cell_is_shown() {
    let machine = Machine::drivers_built();
    let kernel = &base().kernels()[0];
    let label = format!("//drivers:echo-mod{{kernel={kernel},version=1.0.0}}");
    let log = machine.run(&["log", &label]).expect(0);
    assert!(log.stdout.contains(&label), "{}", log.stdout);
    assert!(log.stdout.contains("Entering directory '/k/build'"), "{}", log.stdout);
}
