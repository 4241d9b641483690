//! Archives and files from addresses that rules name.

use std::fs;
use std::process::Command;

use fetch::{FetchError, Mode, Request, Wants};
use model::RelativePath;
use store::{Draft, Entry};

use crate::bench::{Bench, data, words};

fn archive(urls: Vec<String>, content: &[u8], strip_prefix: &str, root: bool) -> Request {
    let sha256 = fetch::Sha256::of(content).to_string();
    let wants = Wants::HttpArchive { urls, sha256, strip_prefix: strip_prefix.to_owned(), root };
    Request { label: "//third_party:lib".to_owned(), wants }
}

/// Makes a tar archive of a small source tree and returns its path.
fn tarball(bench: &Bench, extra: &[&str]) -> std::path::PathBuf {
    let root = bench.root.path().join("lib-1.0");
    fs::create_dir_all(root.join("src")).unwrap();
    fs::write(root.join("src/lib.c"), "int x;\n").unwrap();
    if !root.join("outside").is_symlink() {
        std::os::unix::fs::symlink("/etc/passwd", root.join("outside")).unwrap();
    }
    let tar = bench.root.path().join("lib.tar");
    let status = Command::new("tar")
        .current_dir(bench.root.path())
        .args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "-czf"])
        .arg(&tar)
        .args(extra)
        .arg("lib-1.0")
        .status()
        .unwrap();
    assert!(status.success());
    tar
}

fn has(bench: &Bench, tree: model::TreeDigest, path: &str) -> bool {
    let mut draft = Draft::open(&bench.store, tree).unwrap();
    let path = RelativePath::new(path).unwrap();
    matches!(draft.get(&bench.store, &path).unwrap(), Some(Entry::Node(_)))
}

#[test]
fn an_archive_is_unpacked_by_what_it_is_and_not_by_its_name() {
    let bench = Bench::new();
    let tar = tarball(&bench, &["--exclude=outside"]);
    let content = fs::read(&tar).unwrap();
    let url = format!("file://{}", tar.display());
    let (lock, _) = bench
        .lock_from(
            &[],
            &[archive(vec![url.clone()], &content, "lib-1.0/", false)],
            None,
            Mode::Missing,
        )
        .unwrap();
    let members = lock.members("//third_party:lib");
    assert_eq!(
        (members.len(), members[0].name.as_str(), members[0].group.as_str()),
        (1, "archive", "-")
    );
    assert!(has(&bench, members[0].tree, "src/lib.c"));
    assert!(lock.to_string().contains(" strip=lib-1.0 "), "{lock}");

    let deb = fs::read(data("mirror/pool/mawk_1.3-1_amd64.deb")).unwrap();
    let path = bench.root.path().join("download");
    fs::write(&path, &deb).unwrap();
    let url = format!("file://{}", path.display());
    let (lock, _) =
        bench.lock_from(&[], &[archive(vec![url], &deb, "", true)], None, Mode::Missing).unwrap();
    assert!(has(&bench, lock.members("//third_party:lib")[0].tree, "usr/bin/mawk"));
}

#[test]
fn links_may_lead_outside_only_in_a_root() {
    let bench = Bench::new();
    let tar = tarball(&bench, &[]);
    let content = fs::read(&tar).unwrap();
    let urls = vec![format!("file://{}", tar.display())];
    let error = bench
        .lock_from(&[], &[archive(urls.clone(), &content, "", false)], None, Mode::Missing)
        .unwrap_err();
    assert!(matches!(error, FetchError::Unpack(_)));
    let error = words(&error);
    assert!(error.contains("lib-1.0/outside") && error.contains("/etc/passwd"), "{error}");
    bench.lock_from(&[], &[archive(urls, &content, "", true)], None, Mode::Missing).unwrap();
}

#[test]
fn the_same_archive_unpacked_in_two_ways_is_downloaded_once() {
    let bench = Bench::new();
    let tar = tarball(&bench, &["--exclude=outside"]);
    let content = fs::read(&tar).unwrap();
    let urls = vec![format!("file://{}", tar.display())];
    let (one, _) = bench
        .lock_from(&[], &[archive(urls.clone(), &content, "", false)], None, Mode::Missing)
        .unwrap();
    fs::remove_file(&tar).unwrap();
    let (other, report) = bench
        .lock_from(&[], &[archive(urls, &content, "lib-1.0", false)], Some(&one), Mode::Missing)
        .unwrap();
    assert_ne!(one.trees(), other.trees());
    assert_eq!(bench.progress.count("download"), 1);
    assert!(report.is_empty(), "the same version of the same thing");
}

#[test]
fn an_archive_is_fetched_from_where_the_rule_says() {
    let bench = Bench::new();
    let tar = tarball(&bench, &["--exclude=outside"]);
    let content = fs::read(&tar).unwrap();
    let requests = [archive(vec![format!("file://{}", tar.display())], &content, "lib-1.0", false)];
    let (lock, _) = bench.lock_from(&[], &requests, None, Mode::Missing).unwrap();
    let tree = lock.members("//third_party:lib")[0].tree;
    let other = Bench::new();
    assert!(other.fetch(&lock, &requests, tree).unwrap());
    assert!(other.store.contains_tree(tree).unwrap());
    let error = Bench::new().fetch(&lock, &[], tree).unwrap_err().to_string();
    assert!(
        error.contains("is locked, but no target and no package source says where to get it"),
        "{error}"
    );
}

#[test]
fn wishes_that_make_no_sense_are_refused() {
    let bench = Bench::new();
    let hash = "0".repeat(64);
    for (json, expected) in [
        (
            format!(r#"{{"http_archive":{{"urls":[],"sha256":"{hash}"}}}}"#),
            "urls: at least one is needed",
        ),
        (
            r#"{"http_archive":{"urls":["http://a/b"],"sha256":"12"}}"#.to_owned(),
            "sha256: `12` is not a hash",
        ),
        (
            format!(r#"{{"http_archive":{{"urls":["ftp://a/b"],"sha256":"{hash}"}}}}"#),
            "only http, https and file",
        ),
        (
            format!(
                r#"{{"http_archive":{{"urls":["http://a/b"],"sha256":"{hash}","strip_prefix":"../x"}}}}"#
            ),
            "`..` is not a name",
        ),
        (
            format!(
                r#"{{"http_file":{{"urls":["http://a/b"],"sha256":"{hash}","file_name":"a/b"}}}}"#
            ),
            "slash",
        ),
        (
            r#"{"git_source":{"remote":"http://a/b","commit":"main"}}"#.to_owned(),
            "branches and tags move",
        ),
        (
            format!(r#"{{"git_source":{{"remote":"--upload-pack=x","commit":"{hash}"}}}}"#),
            "is not the address of a repository",
        ),
        (
            format!(r#"{{"git_source":{{"remote":"ext::sh -c x","commit":"{hash}"}}}}"#),
            "is not the address of a repository",
        ),
    ] {
        let wants: Wants = serde_json::from_str(&json).unwrap();
        let request = Request { label: "//x".to_owned(), wants };
        let error = bench.lock_from(&[], &[request], None, Mode::Missing).unwrap_err().to_string();
        assert!(error.starts_with("//x: ") && error.contains(expected), "{error}");
    }
}
