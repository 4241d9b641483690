//! The bytes of a lock.

use fetch::{Lock, Mode, Request, Wants};

use crate::bench::{Bench, kernel_request};

#[test]
fn a_lock_has_this_form() {
    let bench = Bench::new();
    let path = bench.root.path().join("a file");
    std::fs::write(&path, "hello").unwrap();
    let wants = Wants::HttpFile {
        urls: vec![format!("file://{}/a%20file", bench.root.path().display())],
        sha256: fetch::Sha256::of(b"hello").to_string(),
        name: "a file".to_owned(),
        executable: true,
    };
    let file = Request { label: "//x:a b".to_owned(), wants };
    let requests = [file, kernel_request(&["6.1.0-1-*"])];
    let (lock, _) = bench.lock("stable", &requests, None, Mode::Missing).unwrap();
    let text = lock.to_string();
    let hello = fetch::Sha256::of(b"hello");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1], "bld-lock 1 unpack 1 blake3");
    assert!(lines[2..].is_sorted(), "{text}");
    let kinds: Vec<&str> = lines[2..].iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(
        kinds,
        ["deb", "deb", "deb", "file", "pin", "pin", "pin", "pin", "request", "request"]
    );
    assert!(lines[2].starts_with(
        "deb linux-headers-6.1.0-1-amd64 6.1.1-1 amd64 pool/linux-headers-6.1.0-1-amd64_6.1.1-1_amd64.deb 8"
    ));
    assert!(lines[5].starts_with(&format!("file {hello} a%20file x 5 ")), "{text}");
    assert_eq!(
        lines[6],
        "pin //drivers:kernels 6.1.0-1-amd64 deb linux-headers-6.1.0-1-amd64 6.1.1-1 amd64"
    );
    assert_eq!(lines[9], format!("pin //x:a%20b - file {hello} a%20file x"));
    assert_eq!(Lock::parse(&text).unwrap(), lock);
}

/// The hash of a request must not change with our code: every lock would be stale.
#[test]
fn the_hash_of_a_request_stays_what_it_is() {
    let bench = Bench::new();
    let (one, _) = bench
        .lock("stable", &[kernel_request(&["6.1.0-1-*", "6.1.0-2-*"])], None, Mode::Missing)
        .unwrap();
    let (other, _) = bench
        .lock("stable", &[kernel_request(&["6.1.0-2-*", "6.1.0-1-*"])], None, Mode::Missing)
        .unwrap();
    assert_eq!(one.to_string(), other.to_string());
    let json = br#"{"debian_kernels":{"patterns":["6.1.0-1-*","6.1.0-2-*"],"arch":"amd64"}}"#;
    let line = format!("request //drivers:kernels {}", fetch::Sha256::of(json));
    assert!(one.to_string().contains(&line), "{one}");
    let wants: Wants = serde_json::from_slice(json).unwrap();
    assert_eq!(wants, kernel_request(&["6.1.0-1-*", "6.1.0-2-*"]).wants);
    serde_json::from_str::<Wants>(r#"{"debian_kernels":{"patterns":[],"arch":"x","more":1}}"#)
        .unwrap_err();
}
