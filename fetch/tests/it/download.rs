//! Downloads from servers that break off, refuse, lie and send us elsewhere.

use std::fs;

use fetch::{Mode, Proxies};
use model::DigestFunction;

use crate::bench::{Bench, file_request, words};
use crate::server::{Answer, Server, header};

fn content() -> Vec<u8> {
    (0..200_000_u32).flat_map(u32::to_le_bytes).collect()
}

#[test]
fn a_download_that_breaks_off_goes_on_where_it_stopped() {
    let bench = Bench::new();
    let server = Server::start(vec![Answer::Cut(content(), 500_000), Answer::Whole(content())]);
    bench.lock_file(&server.url("file"), &content()).unwrap();
    let ranges = server.ranges();
    assert_eq!(ranges.len(), 2);
    assert_eq!(ranges[0], None);
    // How much of what was sent arrived before the end did is the system's affair.
    let from: u32 =
        ranges[1].as_deref().unwrap().trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
    assert!(0 < from && from <= 500_000, "{from}");
}

#[test]
fn an_interrupted_lock_is_resumed_by_the_next() {
    let bench = Bench::new();
    let hash = fetch::Sha256::of(&content());
    fs::create_dir_all(bench.partial()).unwrap();
    fs::write(bench.partial().join(format!("{hash}.partial")), &content()[..300_000]).unwrap();
    let server = Server::start(vec![Answer::Whole(content())]);
    bench.lock_file(&server.url("file"), &content()).unwrap();
    assert_eq!(server.ranges(), [Some("bytes=300000-".to_owned())]);
    assert_eq!(fs::read_dir(bench.partial()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn what_an_earlier_download_left_is_thrown_away_if_it_is_wrong() {
    let hash = fetch::Sha256::of(&content());
    for (left, answers, ranges) in [
        (vec![7; 1000], vec![Answer::Whole(content())], vec![Some("bytes=1000-"), None]),
        // More than there is.
        (vec![7; 900_000], vec![Answer::Whole(content())], vec![Some("bytes=900000-"), None]),
        (vec![7; 1000], vec![Answer::NoRanges(content())], vec![Some("bytes=1000-")]),
    ] {
        let bench = Bench::new();
        fs::create_dir_all(bench.partial()).unwrap();
        fs::write(bench.partial().join(format!("{hash}.partial")), left).unwrap();
        let server = Server::start(answers);
        bench.lock_file(&server.url("file"), &content()).unwrap();
        let seen: Vec<Option<String>> = server.ranges();
        assert_eq!(seen.iter().map(Option::as_deref).collect::<Vec<_>>(), ranges);
    }
}

#[test]
fn a_server_in_trouble_is_asked_a_few_times_and_no_more() {
    let bench = Bench::new();
    let server = Server::start(vec![Answer::Status(503)]);
    let error = bench.lock_file(&server.url("file"), &content()).unwrap_err();
    assert_eq!(server.heads().len(), 4);
    assert!(error.is_transient());
    assert_eq!(error.to_string().split(": ").last(), Some("HTTP status 503"));
    let server =
        Server::start(vec![Answer::Status(503), Answer::Status(429), Answer::Whole(content())]);
    bench.lock_file(&server.url("file"), &content()).unwrap();
}

#[test]
fn a_server_that_says_no_is_asked_once() {
    let bench = Bench::new();
    let server = Server::start(vec![Answer::Status(404)]);
    let error = bench.lock_file(&server.url("file"), &content()).unwrap_err();
    assert_eq!(server.heads().len(), 1);
    assert!(!error.is_transient());
}

#[test]
fn wrong_bytes_are_refused_by_their_hash() {
    let bench = Bench::new();
    let server = Server::start(vec![Answer::Whole(b"something else".to_vec())]);
    let error = bench.lock_file(&server.url("file"), &content()).unwrap_err().to_string();
    let (expected, found) = (fetch::Sha256::of(&content()), fetch::Sha256::of(b"something else"));
    assert!(error.contains(&format!("has SHA-256 {found}, expected {expected}")), "{error}");
    assert!(error.contains(&server.url("file")), "{error}");
}

#[test]
fn the_next_address_is_asked_where_one_fails() {
    let bench = Bench::new();
    let bad = Server::start(vec![Answer::Whole(b"something else".to_vec())]);
    let gone = Server::start(vec![Answer::Status(410)]);
    let good = Server::start(vec![Answer::Whole(content())]);
    let mut request = file_request("", &content());
    if let fetch::Wants::HttpFile { urls, .. } = &mut request.wants {
        *urls = vec![bad.url("a"), gone.url("b"), good.url("c")];
    }
    bench.lock_from(&[], &[request], None, Mode::Missing).unwrap();
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let bench = Bench::new();
    let good = Server::start(vec![Answer::Whole(content())]);
    let server = Server::start(vec![Answer::Redirect(good.url("there"))]);
    bench.lock_file(&server.url("file"), &content()).unwrap();
    let bench = Bench::new();
    let server = Server::start(vec![Answer::Redirect("/again".to_owned())]);
    let error = bench.lock_file(&server.url("file"), &content()).unwrap_err().to_string();
    assert!(error.contains("redirected too often"), "{error}");
    assert_eq!(server.heads().len(), 11);
    let server = Server::start(vec![Answer::Redirect("file:///etc/passwd".to_owned())]);
    bench.lock_file(&server.url("file"), &content()).unwrap_err();
}

#[test]
fn a_password_is_sent_and_never_shown() {
    let bench = Bench::new();
    let elsewhere = Server::start(vec![Answer::Status(404)]);
    let server = Server::start(vec![Answer::Redirect(elsewhere.url("x"))]);
    let url = server.url("file").replace("http://", "http://me:secret@");
    let error = bench.lock_file(&url, &content()).unwrap_err();
    assert_eq!(header(&server.heads()[0], "authorization").as_deref(), Some("Basic bWU6c2VjcmV0"));
    assert_eq!(header(&elsewhere.heads()[0], "authorization"), None, "it does not travel along");
    let said = format!("{} {error:?} {}", words(&error), bench.progress.warnings());
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn a_proxy_is_asked_for_the_whole_address() {
    let server = Server::start(vec![Answer::Cut(content(), 1000), Answer::Whole(content())]);
    let proxies = Proxies {
        http: Some(format!("http://u:p@127.0.0.1:{}", server.port())),
        ..Proxies::default()
    };
    let bench = Bench::with(DigestFunction::Blake3, proxies);
    bench.lock_file("http://mirror.invalid/some/file", &content()).unwrap();
    let heads = server.heads();
    assert!(
        heads[0].starts_with(
            "GET http://mirror.invalid/some/file HTTP/1.0\r\nHost: mirror.invalid\r\n"
        ),
        "{}",
        heads[0]
    );
    assert_eq!(header(&heads[0], "proxy-authorization").as_deref(), Some("Basic dTpw"));
    assert_eq!(header(&heads[1], "range").as_deref(), Some("bytes=1000-"));
}

#[test]
fn a_proxy_is_not_asked_for_hosts_that_are_excepted() {
    let server = Server::start(vec![Answer::Whole(content())]);
    let proxies = Proxies {
        http: Some("http://proxy.invalid".to_owned()),
        none: vec!["127.0.0.1".to_owned()],
        ..Proxies::default()
    };
    let bench = Bench::with(DigestFunction::Blake3, proxies);
    bench.lock_file(&server.url("file"), &content()).unwrap();
}

#[test]
fn what_the_store_has_needs_no_network() {
    let bench = Bench::new();
    let server = Server::start(vec![Answer::Whole(content())]);
    let lock = bench.lock_file(&server.url("file"), &content()).unwrap();
    let bench = bench.offline();
    let again = bench.lock_file("http://nowhere.invalid/file", &content()).unwrap();
    assert_eq!(again.trees(), lock.trees());
    let error = bench.lock_file(&server.url("other"), b"other").unwrap_err().to_string();
    assert!(error.ends_with(": offline"), "{error}");
    assert_eq!(server.heads().len(), 1);
}

#[test]
fn a_mirror_over_http_is_read_like_any_other() {
    let bench = Bench::new();
    // A source that never answers: warned of, tried no more than needed, and not in the way.
    let silent =
        fetch::Source { uri: "http://127.0.0.1:1/debian".to_owned(), ..bench.source("stable") };
    let sources = [silent, bench.source("stable")];
    bench
        .lock_from(&sources, &[crate::bench::packages(&["base-data"])], None, Mode::Missing)
        .unwrap();
    assert!(
        bench.progress.warnings().contains("http://127.0.0.1:1/debian stable"),
        "{}",
        bench.progress.warnings()
    );
}
