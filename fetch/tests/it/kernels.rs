//! Lists of kernels: they grow, and what was in them stays.

use fetch::{Lock, Mode, Wants};

use crate::bench::{Bench, kernel_request};

fn shown(lock: &Lock) -> Vec<String> {
    let members = lock.members("//drivers:kernels");
    members
        .iter()
        .map(|member| format!("{} {} {}", member.group, member.name, member.version))
        .collect()
}

const STABLE: [&str; 6] = [
    "6.1.0-1-amd64 linux-headers-6.1.0-1-amd64 6.1.1-1",
    "6.1.0-1-amd64 linux-headers-6.1.0-1-common 6.1.1-1",
    "6.1.0-1-amd64 linux-kbuild-6.1 6.1.2-1",
    "6.1.0-2-amd64 linux-headers-6.1.0-2-amd64 6.1.2-1",
    "6.1.0-2-amd64 linux-headers-6.1.0-2-common 6.1.2-1",
    "6.1.0-2-amd64 linux-kbuild-6.1 6.1.2-1",
];

#[test]
fn every_kernel_that_matches_is_locked_with_its_companions() {
    let bench = Bench::new();
    let (lock, _) =
        bench.lock("stable", &[kernel_request(&["6.1.0-*-amd64"])], None, Mode::Missing).unwrap();
    assert_eq!(shown(&lock), STABLE);
    let (one, _) = bench
        .lock("stable", &[kernel_request(&["6.1.0-?-amd64", "*-1-*"])], None, Mode::Missing)
        .unwrap();
    assert_eq!(shown(&one), STABLE);
    let (one, _) =
        bench.lock("stable", &[kernel_request(&["6.1.0-2-amd64"])], None, Mode::Missing).unwrap();
    assert_eq!(shown(&one), STABLE[3..]);
}

#[test]
fn a_new_kernel_adds_lines_and_one_that_vanished_is_kept() {
    let bench = Bench::new();
    let requests = [kernel_request(&["6.1.0-*-amd64"])];
    let (old, _) = bench.lock("stable", &requests, None, Mode::Missing).unwrap();
    let (new, report) = bench.lock("later", &requests, Some(&old), Mode::All).unwrap();
    let mut expected = STABLE.to_vec();
    expected.extend([
        "6.1.0-3-amd64 linux-headers-6.1.0-3-amd64 6.1.3-1",
        "6.1.0-3-amd64 linux-headers-6.1.0-3-common 6.1.3-1",
        "6.1.0-3-amd64 linux-kbuild-6.1 6.1.3-1",
    ]);
    assert_eq!(shown(&new), expected);
    let (before, after) = (old.to_string(), new.to_string());
    assert!(
        before.lines().all(|line| after.lines().any(|other| other == line)),
        "a line was changed:\n{after}"
    );
    assert_eq!((report.added.len(), report.removed.len(), report.upgraded.len()), (3, 0, 0));
    let vanished: Vec<String> = report
        .kept_vanished
        .iter()
        .map(|change| format!("{} {}", change.group, change.name))
        .collect();
    assert_eq!(
        vanished,
        [
            // Its kernel is still offered; a newer host program must not rebuild what was built with it.
            "6.1.0-2-amd64 linux-kbuild-6.1",
            "6.1.0-1-amd64 linux-headers-6.1.0-1-amd64",
            "6.1.0-1-amd64 linux-headers-6.1.0-1-common",
            "6.1.0-1-amd64 linux-kbuild-6.1",
        ]
    );
}

#[test]
fn a_kernel_that_is_not_asked_for_any_more_goes() {
    let bench = Bench::new();
    let (old, _) =
        bench.lock("stable", &[kernel_request(&["6.1.0-*-amd64"])], None, Mode::Missing).unwrap();
    let (new, report) =
        bench.lock("stable", &[kernel_request(&["6.1.0-2-*"])], Some(&old), Mode::Missing).unwrap();
    assert_eq!(shown(&new), STABLE[3..]);
    assert_eq!(report.removed.len(), 3);
}

#[test]
fn a_pattern_that_matches_nothing_is_an_error_with_near_names() {
    let bench = Bench::new();
    let requests = [kernel_request(&["6.1.0-*-amd64", "6.1.0-*-amd46"])];
    let error = bench.lock("stable", &requests, None, Mode::Missing).unwrap_err();
    assert_eq!(
        error.to_string(),
        "//drivers:kernels: no kernel for amd64 matches `6.1.0-*-amd46` (there are 6.1.0-1-amd64, 6.1.0-2-amd64)"
    );
}

#[test]
fn a_pattern_whose_kernels_all_vanished_is_none() {
    let bench = Bench::new();
    let requests = [kernel_request(&["6.1.0-1-amd64"])];
    let (old, _) = bench.lock("stable", &requests, None, Mode::Missing).unwrap();
    let (new, report) = bench.lock("later", &requests, Some(&old), Mode::All).unwrap();
    assert_eq!(new.to_string(), old.to_string());
    assert_eq!(report.kept_vanished.len(), 3);
}

#[test]
fn a_kernel_that_is_named_is_locked_if_it_has_headers_and_is_no_mistake_if_it_has_none() {
    let bench = Bench::new();
    let mut request = kernel_request(&["6.1.0-2-amd64"]);
    let without = bench.lock("stable", &[request.clone()], None, Mode::Missing).unwrap().0;
    let Wants::DebianKernels { releases, .. } = &mut request.wants else {
        panic!("it asks for kernels")
    };
    releases.extend(["6.1.0-1-amd64", "6.1.0-0-amd64"].map(str::to_owned));
    let (lock, _) = bench.lock("stable", &[request.clone()], None, Mode::Missing).unwrap();
    assert_eq!(shown(&lock), STABLE);
    let requests = [request];
    lock.is_current(&requests, lock.function()).unwrap();
    without.is_current(&requests, lock.function()).unwrap_err();

    // One that has vanished since stays, as those do that match a pattern.
    let (later, report) = bench.lock("later", &requests, Some(&lock), Mode::All).unwrap();
    assert_eq!(shown(&later), STABLE);
    assert!(report.kept_vanished.iter().any(|change| change.group == "6.1.0-1-amd64"));
}
