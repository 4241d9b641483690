//! Commits of repositories on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fetch::{Mode, Request, Wants};
use model::{Node, RelativePath, TreeDigest};
use store::{Draft, Entry};

use crate::bench::{Bench, words};

/// Runs git as somebody who has no configuration.
fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(folder)
        .env_remove("GIT_DIR")
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")])
        .envs([("GIT_AUTHOR_DATE", "@0 +0000"), ("GIT_COMMITTER_DATE", "@0 +0000")])
        .args([
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@example.invalid",
            "-c",
            "protocol.file.allow=always",
        ])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn repository(bench: &Bench, format: &str) -> PathBuf {
    let folder = bench.root.path().join("upstream");
    fs::create_dir_all(folder.join("src")).unwrap();
    git(&folder, &["init", "--quiet", "--object-format", format, "-b", "main", "."]);
    fs::write(folder.join("src/a.c"), "$Format:%H$ $Id$\n").unwrap();
    fs::write(folder.join("left-out"), "").unwrap();
    fs::write(
        folder.join(".gitattributes"),
        "left-out export-ignore\n*.c export-subst ident text eol=crlf\n",
    )
    .unwrap();
    fs::write(folder.join("run.sh"), "#!/bin/sh\n").unwrap();
    std::os::unix::fs::symlink("src/a.c", folder.join("link")).unwrap();
    git(&folder, &["add", "."]);
    git(&folder, &["update-index", "--chmod=+x", "run.sh"]);
    git(&folder, &["commit", "--quiet", "-m", "one"]);
    folder
}

fn request(remote: &Path, commit: &str) -> Request {
    let wants = Wants::GitSource {
        remote: format!("file://{}", remote.display()),
        commit: commit.to_owned(),
    };
    Request { label: "//src:driver".to_owned(), wants }
}

fn node(bench: &Bench, tree: TreeDigest, path: &str) -> Node {
    let mut draft = Draft::open(&bench.store, tree).unwrap();
    match draft.get(&bench.store, &RelativePath::new(path).unwrap()).unwrap() {
        Some(Entry::Node(node)) => node.clone(),
        other => unreachable!("{path}: {other:?}"),
    }
}

#[test]
fn a_commit_becomes_exactly_the_tree_it_names() {
    for format in ["sha1", "sha256"] {
        let bench = Bench::new();
        let folder = repository(&bench, format);
        let commit = git(&folder, &["rev-parse", "HEAD"]);
        // It is not the newest any more, and no branch points to it.
        fs::write(folder.join("later"), "").unwrap();
        git(&folder, &["add", "."]);
        git(&folder, &["commit", "--quiet", "-m", "two"]);
        let requests = [request(&folder, &commit)];
        let (lock, _) = bench.lock_from(&[], &requests, None, Mode::Missing).unwrap();
        let member = &lock.members("//src:driver")[0];
        assert_eq!((member.name.as_str(), member.version.as_str()), ("git", commit.as_str()));
        let root = bench.store.directory(member.tree).unwrap().unwrap();
        let names: Vec<&str> = root.children().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [".gitattributes", "left-out", "link", "run.sh", "src"]);
        let Node::File { digest, executable: false } = node(&bench, member.tree, "src/a.c") else {
            unreachable!()
        };
        assert_eq!(&*bench.store.read_bytes(digest).unwrap().unwrap(), b"$Format:%H$ $Id$\n");
        assert!(matches!(node(&bench, member.tree, "run.sh"), Node::File { executable: true, .. }));
        assert!(matches!(node(&bench, member.tree, "link"), Node::Symlink(_)));
        // It can be fetched elsewhere, and here it is never asked for again.
        let other = Bench::new();
        assert!(other.fetch(&lock, &requests, member.tree).unwrap());
        fs::remove_dir_all(&folder).unwrap();
        let (again, _) = bench.lock_from(&[], &requests, None, Mode::Missing).unwrap();
        assert_eq!(again.to_string(), lock.to_string());
    }
}

#[test]
fn what_a_remote_does_not_have_is_an_error_that_names_both() {
    let bench = Bench::new();
    let folder = repository(&bench, "sha1");
    let absent = "0123456789".repeat(4);
    let error = words(
        &bench.lock_from(&[], &[request(&folder, &absent)], None, Mode::Missing).unwrap_err(),
    );
    assert!(
        error.contains(&absent) && error.contains(&format!("file://{}", folder.display())),
        "{error}"
    );
    // A tree is an object with a name, too.
    let tree = git(&folder, &["rev-parse", "HEAD^{tree}"]);
    let error =
        words(&bench.lock_from(&[], &[request(&folder, &tree)], None, Mode::Missing).unwrap_err());
    assert!(error.contains(&tree), "{error}");
    let error = words(
        &bench
            .lock_from(&[], &[request(Path::new("/nonexistent"), &absent)], None, Mode::Missing)
            .unwrap_err(),
    );
    assert!(error.contains("cannot fetch it from file:///nonexistent"), "{error}");
}

#[test]
fn submodules_are_refused_by_name() {
    let bench = Bench::new();
    let folder = repository(&bench, "sha1");
    git(
        &folder,
        &["submodule", "--quiet", "add", &format!("file://{}", folder.display()), "vendor/lib"],
    );
    git(&folder, &["commit", "--quiet", "-m", "two"]);
    let commit = git(&folder, &["rev-parse", "HEAD"]);
    let error = words(
        &bench.lock_from(&[], &[request(&folder, &commit)], None, Mode::Missing).unwrap_err(),
    );
    assert!(error.contains("it has submodules, which are not fetched (vendor/lib)"), "{error}");
}

#[test]
fn a_link_out_of_the_repository_is_refused() {
    let bench = Bench::new();
    let folder = repository(&bench, "sha1");
    std::os::unix::fs::symlink("../../outside", folder.join("src/out")).unwrap();
    git(&folder, &["add", "."]);
    git(&folder, &["commit", "--quiet", "-m", "two"]);
    let commit = git(&folder, &["rev-parse", "HEAD"]);
    let error = words(
        &bench.lock_from(&[], &[request(&folder, &commit)], None, Mode::Missing).unwrap_err(),
    );
    assert!(error.contains("src/out"), "{error}");
}

#[test]
fn without_a_network_no_remote_is_asked() {
    let bench = Bench::new().offline();
    let wants = Wants::GitSource {
        remote: "https://me:secret@example.invalid/x".to_owned(),
        commit: "0".repeat(40),
    };
    let request = Request { label: "//src:driver".to_owned(), wants };
    let error = words(&bench.lock_from(&[], &[request], None, Mode::Missing).unwrap_err());
    assert!(error.contains("https://…@example.invalid/x cannot be asked: offline"), "{error}");
}
