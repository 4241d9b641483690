//! Packages of a signed mirror: locked once, the same ever after.

use fetch::{Keys, Mode, Source, Stale};
use model::{DigestFunction, RelativePath};
use store::{Draft, Entry};

use crate::bench::{Bench, data, packages, words};

#[test]
fn a_closure_is_locked_and_its_trees_are_in_the_store() {
    let bench = Bench::new();
    let request = packages(&["hello", "mawk"]);
    let (lock, report) =
        bench.lock("stable", std::slice::from_ref(&request), None, Mode::Missing).unwrap();
    let members = lock.members("//toolchain:root");
    let names: Vec<String> = members
        .iter()
        .map(|member| {
            format!("{} {} {} {}", member.group, member.name, member.version, member.arch)
        })
        .collect();
    assert_eq!(
        names,
        [
            "- base-data 3 all",
            "- hello 1:1.0-1 amd64",
            "- libhello1 1.0-1 amd64",
            "- mawk 1.3-1 amd64"
        ]
    );
    let mut hello = Draft::open(&bench.store, members[1].tree).unwrap();
    let path = RelativePath::new("usr/bin/hello").unwrap();
    assert!(matches!(hello.get(&bench.store, &path).unwrap(), Some(Entry::Node(_))));
    assert_eq!(report.added.len(), 4);
    assert_eq!(lock.is_current(&[request], DigestFunction::Blake3), Ok(()));
    assert!(!lock.to_string().contains(bench.root.path().to_str().unwrap()), "{lock}");
}

#[test]
fn locking_again_changes_no_byte_and_downloads_nothing() {
    let bench = Bench::new();
    let requests = [packages(&["hello", "mawk"])];
    let (lock, _) = bench.lock("stable", &requests, None, Mode::Missing).unwrap();
    let read = fetch::Lock::parse(&lock.to_string()).unwrap();
    assert_eq!(read, lock);
    // Not even the indexes are asked for: there is no such suite.
    bench.progress.forget();
    let (again, report) = bench.lock("nonexistent", &requests, Some(&read), Mode::Missing).unwrap();
    assert_eq!(again.to_string(), lock.to_string());
    assert!(report.is_empty());
    assert_eq!(bench.progress.count("begin"), 0);
    // All of it resolved anew is the same, too, and so is another machine's.
    let (anew, _) = bench.lock("stable", &requests, Some(&read), Mode::All).unwrap();
    assert_eq!(anew.to_string(), lock.to_string());
    let (elsewhere, _) = Bench::new().lock("stable", &requests, None, Mode::Missing).unwrap();
    assert_eq!(elsewhere.to_string(), lock.to_string());
}

#[test]
fn an_interrupted_lock_does_not_unpack_again() {
    let bench = Bench::new();
    let requests = [packages(&["hello", "mawk"])];
    bench.lock("stable", &requests, None, Mode::Missing).unwrap();
    bench.progress.forget();
    bench.lock("stable", &requests, None, Mode::Missing).unwrap();
    assert_eq!(bench.progress.count("unpack"), 0);
}

#[test]
fn a_request_that_changed_is_stale_and_the_others_stay_as_they_were() {
    let bench = Bench::new();
    let (lock, _) = bench.lock("stable", &[packages(&["libhello1"])], None, Mode::Missing).unwrap();
    let mut other = packages(&["libhello1", "base-data"]);
    assert_eq!(
        lock.is_current(std::slice::from_ref(&other), DigestFunction::Blake3),
        Err(Stale::Changed { label: "//toolchain:root".to_owned() })
    );
    other.label = "//other:root".to_owned();
    assert!(matches!(
        lock.is_current(std::slice::from_ref(&other), DigestFunction::Blake3),
        Err(Stale::Missing { .. })
    ));
    let requests = [packages(&["libhello1"]), other];
    let (both, report) = bench.lock("later", &requests, Some(&lock), Mode::Missing).unwrap();
    assert_eq!(both.members("//toolchain:root"), lock.members("//toolchain:root"));
    assert_eq!(both.members("//other:root")[1].version, "1.0-2");
    assert_eq!(report.added.len(), 2);
    let (newest, report) = bench.lock("later", &requests, Some(&both), Mode::All).unwrap();
    assert_eq!(newest.members("//toolchain:root")[0].version, "1.0-2");
    assert_eq!((report.added.len(), report.removed.len(), report.upgraded.len()), (0, 0, 1));
    assert!(!newest.to_string().contains("libhello1 1.0-1"), "what nobody pins is not kept");
}

#[test]
fn targets_that_are_not_asked_for_stay_until_everything_is_locked_anew() {
    let bench = Bench::new();
    let (lock, _) = bench.lock("stable", &[packages(&["libhello1"])], None, Mode::Missing).unwrap();
    let mut other = packages(&["base-data"]);
    other.label = "//other:root".to_owned();
    let (both, _) =
        bench.lock("stable", std::slice::from_ref(&other), Some(&lock), Mode::Missing).unwrap();
    assert_eq!(both.labels().collect::<Vec<_>>(), ["//other:root", "//toolchain:root"]);
    let (one, report) = bench.lock("stable", &[other], Some(&both), Mode::All).unwrap();
    assert_eq!(one.labels().collect::<Vec<_>>(), ["//other:root"]);
    assert_eq!(report.removed.len(), 1);
}

#[test]
fn another_digest_function_locks_again_without_the_mirror() {
    let bench = Bench::new();
    let requests = [packages(&["hello", "mawk"])];
    let (lock, _) = bench.lock("stable", &requests, None, Mode::Missing).unwrap();
    assert!(matches!(
        lock.is_current(&requests, DigestFunction::Sha256),
        Err(Stale::Function { .. })
    ));
    std::fs::remove_dir_all(bench.mirror()).unwrap();
    let store = store::LocalStore::open(bench.store.root(), DigestFunction::Sha256).unwrap();
    let bench = Bench { store, ..bench };
    let (again, report) = bench.lock("stable", &requests, Some(&lock), Mode::Missing).unwrap();
    assert_eq!(again.function(), DigestFunction::Sha256);
    assert!(report.is_empty());
    assert_eq!(bench.progress.count("download"), 1 + 1 + 4, "as many as the first time");
    assert_eq!(again.is_current(&requests, DigestFunction::Sha256), Ok(()));
}

#[test]
fn backports_are_used_only_where_nothing_else_will_do() {
    let bench = Bench::new();
    let sources = [bench.source("backports"), bench.source("stable")];
    let (lock, _) =
        bench.lock_from(&sources, &[packages(&["libhello1"])], None, Mode::Missing).unwrap();
    assert_eq!(lock.members("//toolchain:root")[0].version, "1.0-1");
    let (lock, _) = bench
        .lock_from(&sources, &[packages(&["libhello1 (>> 1.0-1)"])], None, Mode::Missing)
        .unwrap();
    assert_eq!(lock.members("//toolchain:root")[0].version, "1.0-2");
}

#[test]
fn a_source_that_is_not_there_is_warned_of_and_named_where_something_is_missing() {
    let bench = Bench::new();
    let gone = Source { uri: "file:///nonexistent/mirror".to_owned(), ..bench.source("stable") };
    let sources = [gone.clone(), bench.source("stable")];
    bench.lock_from(&sources, &[packages(&["base-data"])], None, Mode::Missing).unwrap();
    assert!(bench.progress.warnings().contains("file:///nonexistent/mirror"));
    let error =
        bench.lock_from(&sources, &[packages(&["nonesuch"])], None, Mode::Missing).unwrap_err();
    let error = words(&error);
    assert!(error.contains("//toolchain:root: nothing satisfies `nonesuch`"), "{error}");
    assert!(
        error.contains(
            "sources that could not be used:\n  file:///nonexistent/mirror stable (the test)"
        ),
        "{error}"
    );
    assert!(error.contains("there is no such file"), "{error}");
    let error =
        bench.lock_from(&[gone], &[packages(&["base-data"])], None, Mode::Missing).unwrap_err();
    assert!(error.to_string().contains("there is no source for amd64"), "{error}");
}

#[test]
fn an_expired_release_file_is_a_warning() {
    let bench = Bench::new();
    bench.lock("expired", &[packages(&["base-data"])], None, Mode::Missing).unwrap();
    assert!(bench.progress.warnings().contains("has expired"), "{}", bench.progress.warnings());
}

#[test]
fn a_detached_signature_does_where_there_is_no_inline_one() {
    let bench = Bench::new();
    std::fs::remove_file(bench.mirror().join("dists/stable/InRelease")).unwrap();
    bench.lock("stable", &[packages(&["base-data"])], None, Mode::Missing).unwrap();
    std::fs::remove_file(bench.mirror().join("dists/stable/Release.gpg")).unwrap();
    bench.lock("stable", &[packages(&["mawk"])], None, Mode::Missing).unwrap_err();
}

#[test]
fn only_keys_that_are_named_count() {
    let bench = Bench::new();
    let with = |keys: Keys| {
        let source = Source { keys, ..bench.source("stable") };
        bench.lock_from(&[source], &[packages(&["base-data"])], None, Mode::Missing)
    };
    let ring = |name: &str| Keys { files: vec![data(name)], ..Keys::default() };
    with(ring("keyring.asc")).unwrap();
    for (keys, expected) in [
        (ring("stranger.gpg"), "no valid signature by a known key (NO_PUBKEY"),
        (ring("nonexistent.gpg"), "no keyring is configured or readable"),
        (
            Keys { fingerprints: vec!["00".repeat(20)], ..ring("keyring.gpg") },
            "which Signed-By does not name",
        ),
    ] {
        let error = words(&with(keys).unwrap_err());
        assert!(error.contains(expected), "{error}");
        assert!(error.contains("dists/stable/InRelease"), "{error}");
    }
    let both = Keys {
        files: vec![data("nonexistent.gpg"), data("stranger.gpg"), data("keyring.gpg")],
        ..Keys::default()
    };
    with(both).unwrap();
    bench.lock("foreign", &[packages(&["base-data"])], None, Mode::Missing).unwrap_err();
}

#[test]
fn a_fingerprint_of_the_signing_key_is_enough() {
    let bench = Bench::new();
    let shown = std::process::Command::new("gpgv")
        .args(["--status-fd", "1", "--keyring"])
        .arg(data("keyring.gpg"))
        .arg(data("mirror/dists/stable/InRelease"))
        .output()
        .unwrap();
    let status = String::from_utf8_lossy(&shown.stdout).into_owned();
    let valid = status.lines().find_map(|line| line.strip_prefix("[GNUPG:] VALIDSIG ")).unwrap();
    for suffix in ["", "!"] {
        let fingerprint = format!("{}{suffix}", valid.split(' ').next().unwrap());
        let keys = Keys {
            files: vec![data("keyring.gpg")],
            fingerprints: vec![fingerprint],
            ..Keys::default()
        };
        let source = Source { keys, ..bench.source("stable") };
        bench.lock_from(&[source], &[packages(&["base-data"])], None, Mode::Missing).unwrap();
    }
}

#[test]
fn a_trusted_source_is_used_unsigned_with_a_warning() {
    let bench = Bench::new();
    let release = std::fs::read_to_string(bench.mirror().join("dists/foreign/Release")).unwrap();
    std::fs::write(
        bench.mirror().join("dists/foreign/Release"),
        format!("Label: changed\n{release}"),
    )
    .unwrap();
    let source = Source { trusted: true, ..bench.source("foreign") };
    bench
        .lock_from(std::slice::from_ref(&source), &[packages(&["base-data"])], None, Mode::Missing)
        .unwrap();
    assert!(
        bench.progress.warnings().contains("without checking any signature"),
        "{}",
        bench.progress.warnings()
    );
    std::fs::remove_file(bench.mirror().join("dists/foreign/Release")).unwrap();
    bench.lock_from(&[source], &[packages(&["mawk"])], None, Mode::Missing).unwrap();
}

#[test]
fn flat_repositories_are_refused_with_a_warning() {
    let bench = Bench::new();
    let flat = Source { suite: "./".to_owned(), components: Vec::new(), ..bench.source("stable") };
    let sources = [flat, bench.source("stable")];
    bench.lock_from(&sources, &[packages(&["base-data"])], None, Mode::Missing).unwrap();
    assert!(bench.progress.warnings().contains("flat repositories are not supported"));
}

#[test]
fn a_wish_that_makes_no_sense_names_the_target() {
    let bench = Bench::new();
    let error = bench.lock("stable", &[packages(&["a b"])], None, Mode::Missing).unwrap_err();
    assert!(
        error.to_string().starts_with("//toolchain:root: packages: `a b` is not of the form"),
        "{error}"
    );
    let twice = [packages(&["mawk"]), packages(&["gawk"])];
    let error = bench.lock("stable", &twice, None, Mode::Missing).unwrap_err();
    assert_eq!(error.to_string(), "//toolchain:root asks for two different things");
}
