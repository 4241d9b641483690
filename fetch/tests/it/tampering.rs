//! What somebody changed on the way is refused, and named.

use std::fs;
use std::path::Path;

use fetch::{FetchError, Lock, LockFault, Mode};

use crate::bench::{Bench, packages, words};

const HEADER: &str = "bld-lock 1 unpack 1 blake3\n";

fn change(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from));
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

fn refusal(bench: &Bench, suite: &str) -> String {
    words(&bench.lock(suite, &[packages(&["base-data"])], None, Mode::Missing).unwrap_err())
}

#[test]
fn a_changed_release_file_is_refused() {
    let bench = Bench::new();
    change(&bench.mirror().join("dists/stable/InRelease"), "Origin: bld", "Origin: eve");
    let error = refusal(&bench, "stable");
    assert!(error.contains("dists/stable/InRelease: BAD signature"), "{error}");
}

#[test]
fn text_around_a_signature_is_not_believed() {
    for before in [true, false] {
        let bench = Bench::new();
        let suites = bench.mirror().join("dists");
        // An index that is really there, but not vouched for in this suite.
        let forged = fs::read(suites.join("later/main/binary-amd64/Packages.xz")).unwrap();
        let hash = fetch::Sha256::of(&forged);
        fs::write(suites.join(format!("stable/main/binary-amd64/by-hash/SHA256/{hash}")), &forged)
            .unwrap();
        let lines = format!("SHA256:\n {hash} {} main/binary-amd64/Packages.xz\n", forged.len());
        let path = suites.join("stable/InRelease");
        let signed = fs::read_to_string(&path).unwrap();
        let around =
            if before { format!("{lines}\n{signed}") } else { format!("{signed}\n{lines}") };
        fs::write(&path, around).unwrap();
        // gpgv may refuse it all or leave that part out.
        match bench.lock("stable", &[packages(&["libhello1"])], None, Mode::Missing) {
            Ok((lock, _)) => assert_eq!(lock.members("//toolchain:root")[0].version, "1.0-1"),
            Err(error) => assert!(words(&error).contains("InRelease"), "{error}"),
        }
    }
}

#[test]
fn a_changed_index_is_refused() {
    let bench = Bench::new();
    let folder = bench.mirror().join("dists/later/main/binary-amd64");
    fs::remove_file(folder.join("Packages.gz")).unwrap();
    let mut bytes = fs::read(folder.join("Packages.xz")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(folder.join("Packages.xz"), bytes).unwrap();
    let error = refusal(&bench, "later");
    assert!(error.contains("main/binary-amd64/Packages"), "{error}");
    // The best form is changed, the next is not there.
    assert!(error.contains("there is no such file"), "{error}");
    fs::write(folder.join("Packages.gz"), "short").unwrap();
    let error = refusal(&bench, "later");
    assert!(error.contains("Packages.gz: 5 bytes instead of"), "{error}");
}

#[test]
fn a_changed_package_is_refused() {
    for (bytes, expected) in [
        (None, "has SHA-256"),
        (Some(&b"!<arch>\n"[..]), "8 bytes instead of 544"),
        (Some(&[0; 9999][..]), "more than the 544 bytes that were expected"),
    ] {
        let bench = Bench::new();
        let path = bench.mirror().join("pool/base-data_3_all.deb");
        let mut content = fs::read(&path).unwrap();
        content[100] ^= 1;
        fs::write(&path, bytes.unwrap_or(&content)).unwrap();
        let error = refusal(&bench, "stable");
        assert!(error.starts_with("cannot get base-data 3 all: file://"), "{error}");
        assert!(error.contains("pool/base-data_3_all.deb") && error.contains(expected), "{error}");
        // What was refused is not resumed: with the right file the next run is fine.
        fs::copy(crate::bench::data("mirror/pool/base-data_3_all.deb"), &path).unwrap();
        bench.lock("stable", &[packages(&["base-data"])], None, Mode::Missing).unwrap();
    }
}

#[test]
fn a_locked_tree_is_fetched_or_refused() {
    let bench = Bench::new();
    let requests = [packages(&["base-data"])];
    let (lock, _) = bench.lock("stable", &requests, None, Mode::Missing).unwrap();
    let tree = lock.members("//toolchain:root")[0].tree;
    // Another machine has nothing but the lock.
    let other = Bench::new();
    assert!(other.fetch(&lock, &requests, tree).unwrap());
    assert!(other.store.contains_tree(tree).unwrap());
    let unknown = model::TreeDigest(model::Digest::of(model::DigestFunction::Blake3, b"unknown"));
    assert!(!other.fetch(&lock, &requests, unknown).unwrap());
    // A digit of the tree's digest is changed in the lock.
    let text = lock.to_string();
    let hex = tree.0.hex();
    let flipped = format!("{}{}", if hex.starts_with('0') { '1' } else { '0' }, &hex[1..]);
    let edited = Lock::parse(&text.replace(&hex, &flipped)).unwrap();
    let wrong = edited.members("//toolchain:root")[0].tree;
    let error = other.fetch(&edited, &requests, wrong).unwrap_err();
    assert!(matches!(error, FetchError::Tree { .. }));
    let error = error.to_string();
    assert!(error.starts_with("base-data 3 all unpacks to") && error.contains(&flipped), "{error}");
}

#[test]
fn a_lock_line_that_makes_no_sense_is_refused_with_its_number() {
    let hash = "0".repeat(64);
    let deb = format!("deb a 1 all pool/a.deb 5 {hash} {hash}/7");
    for (line, expected) in [
        ("<<<<<<< HEAD".to_owned(), "merge conflict"),
        ("=======".to_owned(), "merge conflict"),
        (">>>>>>> theirs".to_owned(), "merge conflict"),
        ("rpm a 1".to_owned(), "`rpm` is not a kind of line"),
        (String::new(), "`` is not a kind of line"),
        (deb.replace(" all", ""), "a `deb` line has 8 words"),
        (deb.replace("a 1", "a  1"), "a `deb` line has 8 words"),
        (format!("{deb} "), "a `deb` line has 8 words"),
        (deb.replace(" 5 ", " 05 "), "`05` is malformed"),
        (deb.replace("pool/a", "../a"), "`../a.deb` is malformed"),
        (deb.replace("/7", ""), "is not of the form <hash>/<size>"),
        (deb.replace(&hash, &"0".repeat(63)), "is not a hash of 64"),
        (deb.replace("a 1", "%61 1"), "`%61` is malformed"),
        (deb.replace("a 1", "% 1"), "`%` is malformed"),
        ("git main 0/0".to_owned(), "branches and tags move"),
        (format!("archive {hash} strip=../x 5 {hash}/7"), "`strip=../x` is malformed"),
        (format!("file {hash} a/b - 5 {hash}/7"), "a slash"),
        ("pin //a:b".to_owned(), "is not a kind of line"),
        ("pin //a:b - deb a 1 all".to_owned(), "a 1 all is pinned, but has no line of its own"),
        ("request //a:b 12".to_owned(), "is not a hash of 64"),
    ] {
        let error = Lock::parse(&format!("# comment\n{HEADER}{line}\n")).unwrap_err();
        assert_eq!(error.line, 3, "{line}: {error}");
        assert!(error.to_string().contains(expected), "{line}: {error}");
    }
}

#[test]
fn a_lock_that_says_something_twice_is_refused() {
    let hash = "0".repeat(64);
    let deb = format!("deb a 1 all pool/a.deb 5 {hash} {hash}/7");
    let other = deb.replace("/7", "/8");
    for second in [&deb, &other] {
        let error = Lock::parse(&format!("{HEADER}{deb}\n{second}\n")).unwrap_err();
        assert_eq!((error.line, error.fault), (3, LockFault::Repeated { first: 2 }));
    }
}

#[test]
fn a_lock_of_another_kind_is_refused() {
    for (header, expected) in [
        ("", "line 1: a lock begins with"),
        ("# only a comment", "a lock begins with"),
        ("bld-lock 1", "a lock begins with"),
        ("bld-lock 2 unpack 1 blake3", "needs a newer bld (lock format version 2)"),
        ("bld-lock 1 unpack 99 blake3", "needs a newer bld (unpack rules version 99)"),
        ("bld-lock 1 unpack 1 md5", "unknown digest function `md5`"),
        ("<<<<<<< HEAD", "merge conflict"),
    ] {
        let error = Lock::parse(header).unwrap_err().to_string();
        assert!(error.contains(expected), "{header}: {error}");
    }
}
