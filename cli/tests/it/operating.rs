//! A server as whoever runs it sees it: from afar, and when it is told to end.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use serde_json::json;

use crate::machine::Machine;
use crate::served::Served;

/// Sends a request of plain HTTP and returns the head of the answer.
fn ask(served: &Served, method: &str, path: &str, body: &str) -> String {
    let host = served.address().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: ccache/4\r\n\
         Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_server_is_looked_at_purged_and_scrubbed_from_afar() {
    let machine = Machine::bare();
    let served = Served::start(&machine);
    let remote = served.address();
    assert!(ask(&served, "PUT", "/ccache/ab/cdef0123", "an object").starts_with("HTTP/1.1 201"));
    assert!(ask(&served, "GET", "/ccache/ab/cdef0123", "").ends_with("an object"));
    assert!(ask(&served, "GET", "/ccache/ab/cdef0124", "").starts_with("HTTP/1.1 404"));

    let stat = machine.run(&["cache", "stat", "--remote", remote, "--json"]).expect(0).json();
    assert_eq!(stat["values"], 1);
    assert_eq!(stat["lookups"], json!({"ccache": {"hits": 1, "misses": 1, "incomplete": 0}}));
    let clients = stat["clients"].as_array().unwrap();
    let client = clients.iter().find(|it| it["tool"] == "ccache").unwrap();
    assert_eq!(client["identity"], "anonymous");
    assert_eq!(client["requests"], 3);
    let text = machine.run(&["cache", "stat", "--remote", remote]).expect(0).stdout;
    assert!(text.contains("ccache                 50.0 % found (1 hits, 1 misses)"), "{text}");

    let scrubbed = machine.run(&["cache", "scrub", "--remote", remote, "--json"]).expect(0).json();
    assert_eq!((&scrubbed["corrupt"], &scrubbed["failure"]), (&json!(0), &json!(null)));
    assert!(scrubbed["records"].as_u64().unwrap() >= 1, "{scrubbed}");

    let purge = |what: &[&str]| {
        let arguments = [&["cache", "purge", "--json", "--remote", remote], what].concat();
        machine.run(&arguments).expect(0).json()["purged"].as_u64()
    };
    assert_eq!(purge(&["--writer", "token:nobody"]), Some(0));
    assert_eq!(purge(&["--writer", "anonymous"]), Some(1));
    assert!(ask(&served, "GET", "/ccache/ab/cdef0123", "").starts_with("HTTP/1.1 404"));
    let digest = format!("blake3:{}/5", "ab".repeat(32));
    assert_eq!(purge(&["--digest", &digest]), Some(0));
    assert_eq!(purge(&["--action", &digest, "--namespace", "pr/17"]), Some(0));
}

#[test]
fn what_makes_no_sense_is_refused_before_anybody_is_asked() {
    let machine = Machine::bare();
    for arguments in [
        &["cache", "stat", "--remote", "cache:8980"][..],
        &["cache", "purge", "--remote", "http://cache:1"],
        &["cache", "purge", "--remote", "http://cache:1", "--digest", "abc"],
        &["cache", "purge", "--remote", "http://cache:1", "--writer", "a", "--action", "b"],
        &["cache", "purge", "--remote", "http://cache:1", "--writer", "a", "--project", "b"],
        &["cache", "scrub"],
    ] {
        machine.run(arguments).expect(2);
    }
    // Nobody listens where nothing was ever bound.
    machine.run(&["cache", "stat", "--remote", "http://127.0.0.1:1"]).expect(3);
}

#[test]
fn a_server_that_is_told_to_end_ends_well_and_keeps_what_it_was_given() {
    let machine = Machine::bare();
    let served = Served::start(&machine);
    assert!(ask(&served, "GET", "/readyz", "").starts_with("HTTP/1.1 200"));
    assert!(ask(&served, "PUT", "/ccache/ab/cdef0123", "an object").starts_with("HTTP/1.1 201"));
    served.end();

    let served = Served::start(&machine);
    assert!(ask(&served, "GET", "/ccache/ab/cdef0123", "").ends_with("an object"));
}

#[test]
fn flags_that_operators_are_shown_are_there() {
    let machine = Machine::bare();
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/deploy");
    let read = |name: &str| fs::read_to_string(deploy.join(name)).unwrap();
    let help = |command: &[&str]| machine.run(&[command, &["--help"]].concat()).expect(0).stdout;
    let server = help(&["server"]);
    for name in ["bld-server.service", "Containerfile", "kubernetes.yaml"] {
        assert!(read(name).contains("--config") && server.contains("--config"), "{name}");
    }
    let readme = read("README.md");
    let commands = readme.lines().filter_map(|line| line.trim_start().strip_prefix("bld "));
    let mut seen = 0;
    for line in commands {
        let words: Vec<_> = line.split(" #").next().unwrap().split_whitespace().collect();
        let flag = words.iter().position(|it| it.starts_with("--")).unwrap_or(words.len());
        let help = help(&words[..flag]);
        for word in words.iter().filter(|it| it.starts_with("--")) {
            assert!(help.contains(word), "`bld {line}`: {word}");
            seen += 1;
        }
    }
    assert!(seen >= 7, "the README shows how to purge and scrub");
}
