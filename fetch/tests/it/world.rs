//! The machine's real package sources. The only tests here that need a network.

use std::path::Path;

use fetch::{Mode, machine_sources};

use crate::bench::{Bench, packages};

#[test]
fn make_is_locked_from_the_machines_own_mirror_and_again_offline() {
    let bench = Bench::new();
    let sources = machine_sources(Path::new("/etc/apt")).unwrap();
    let requests = [packages(&["make"])];
    let (lock, report) = bench.lock_from(&sources, &requests, None, Mode::Missing).unwrap();
    let names: Vec<String> =
        lock.members("//toolchain:root").into_iter().map(|member| member.name).collect();
    for expected in ["libc6", "make"] {
        assert!(names.iter().any(|name| name == expected), "{names:?}");
    }
    assert_eq!(report.added.len(), names.len());
    let bench = bench.offline();
    let (again, _) = bench.lock_from(&sources, &requests, Some(&lock), Mode::Missing).unwrap();
    assert_eq!(again.to_string(), lock.to_string());
}
