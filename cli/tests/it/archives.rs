//! Plain fetches: archives of every kind, files, commits; and those that are refused.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use model::{Digest, DigestFunction};

use crate::machine::Machine;

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Digest::of(DigestFunction::Sha256, bytes).hex()
}

/// Puts a file where a `file:` address finds it, and returns the address and the hash.
fn serve(machine: &Machine, name: &str, bytes: &[u8]) -> (String, String) {
    let path: PathBuf = machine.root().join("served").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    (format!("file://{}", path.display()), sha256(bytes))
}

/// Declares `http_archive`s and what is like them.
fn declare(machine: &Machine, rules: &[String]) {
    let load = "load(\"@rules//fetch.bzl\", \"git_source\", \"http_archive\", \"http_file\")\n";
    machine.write("BUILD.bld", &format!("{load}{}", rules.concat()));
}

fn http_archive(name: &str, url: &str, sha256: &str, more: &str) -> String {
    format!("http_archive(name = \"{name}\", urls = [\"{url}\"], sha256 = \"{sha256}\", {more})\n")
}

/// A tar with a folder, a text, a program and a link.
fn tarball() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, mode: u32, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        header.set_cksum();
        tar.append_data(&mut header, path, bytes).unwrap();
    };
    add("thing-1.0/text", 0o644, b"hello\n");
    add("thing-1.0/bin/program", 0o755, b"#!/bin/sh\n");
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "thing-1.0/link", "text").unwrap();
    tar.into_inner().unwrap()
}

/// A tar with one entry of that name, which no honest program would write.
fn hostile_tarball(name: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.set_size(4);
    header.set_mode(0o644);
    header.set_cksum();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&header, &b"evil"[..]).unwrap();
    tar.into_inner().unwrap()
}

fn zipfile() -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    for (path, mode, bytes) in [
        ("thing-1.0/text", 0o644, &b"hello\n"[..]),
        ("thing-1.0/bin/program", 0o755, b"#!/bin/sh\n"),
    ] {
        zip.start_file(path, options.unix_permissions(mode)).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.add_symlink("thing-1.0/link", "text", options).unwrap();
    zip.finish().unwrap().into_inner()
}

#[test]
fn archives_of_every_kind_unpack_to_the_same_tree() {
    let machine = Machine::new();
    let tar = tarball();
    let gzip = |bytes: &[u8]| {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    };
    let xz = |bytes: &[u8]| {
        let mut writer = liblzma::write::XzEncoder::new(Vec::new(), 6);
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    };
    let bzip2 = |bytes: &[u8]| {
        let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    };
    let archives = [
        ("tar", tar.clone()),
        ("tar.gz", gzip(&tar)),
        ("tar.xz", xz(&tar)),
        ("tar.bz2", bzip2(&tar)),
        ("tar.zst", zstd::encode_all(&tar[..], 3).unwrap()),
        ("zip", zipfile()),
    ];
    let mut rules = Vec::new();
    for (ending, bytes) in &archives {
        let (url, sha256) = serve(&machine, &format!("thing.{ending}"), bytes);
        rules.push(http_archive(ending, &url, &sha256, "strip_prefix = \"thing-1.0\""));
    }
    declare(&machine, &rules);

    machine.run(&["build", "//:all"]).expect(0);
    for (ending, _) in &archives {
        let tree = machine.output(ending);
        assert_eq!(fs::read(tree.join("text")).unwrap(), b"hello\n", "{ending}");
        assert_eq!(fs::read_link(tree.join("link")).unwrap().to_str(), Some("text"), "{ending}");
        let mode = |path: &str| fs::metadata(tree.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("text"), mode("bin/program")), (0o644, 0o755), "{ending}");
    }
    // The archives differ, the trees do not.
    let trees: Vec<_> = machine
        .read("bld.lock")
        .lines()
        .filter(|line| line.starts_with("archive "))
        .map(|line| line.rsplit(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(trees.len(), archives.len());
    assert!(trees.iter().all(|tree| *tree == trees[0]), "{trees:?}");
}

#[test]
fn a_file_is_fetched_as_it_is() {
    let machine = Machine::new();
    let (url, sha256) = serve(&machine, "program.sh", b"#!/bin/sh\n");
    let rule = |more: &str| {
        format!("http_file(name = \"file\", urls = [\"{url}\"], sha256 = \"{sha256}\", {more})\n")
    };
    declare(&machine, &[rule("executable = True, file_name = \"tool\"")]);
    machine.run(&["build", "//:all"]).expect(0);
    let file = machine.output("tool");
    assert_eq!(fs::read(&file).unwrap(), b"#!/bin/sh\n");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o755);
}

#[test]
fn a_commit_is_taken_without_its_history() {
    let machine = Machine::new();
    let repository = machine.root().join("repository");
    fs::create_dir(&repository).unwrap();
    fs::write(repository.join("driver.c"), "int x;\n").unwrap();
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@b", "-C"])
            .arg(&repository)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", machine.root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "first"]);
    let commit = git(&["rev-parse", "HEAD"]);
    fs::write(repository.join("driver.c"), "int y;\n").unwrap();
    git(&["commit", "-q", "-a", "-m", "second"]);

    let remote = format!("file://{}", repository.display());
    let rule = |commit: &str| {
        format!("git_source(name = \"src\", remote = \"{remote}\", commit = \"{commit}\")\n")
    };
    declare(&machine, &[rule(&commit)]);
    machine.run(&["build", "//:all"]).expect(0);
    assert_eq!(machine.read("bld-out/src/driver.c"), "int x;\n");
    assert!(!machine.output("src/.git").exists());

    let nowhere = "1".repeat(40);
    declare(&machine, &[rule(&nowhere)]);
    machine.run(&["build", "//:all"]).expect(2).says(&[&nowhere]);
}

#[test]
fn other_bytes_than_the_hash_says_are_refused_by_name() {
    let machine = Machine::new();
    let (url, right) = serve(&machine, "thing.tar", &tarball());
    let wrong = sha256(b"something else");
    declare(&machine, &[http_archive("thing", &url, &wrong, "")]);
    let refused = machine.run(&["build", "//:all"]);
    refused.expect(2).says(&["thing", &url, &wrong, &right]);
    assert!(!machine.workspace().join("bld.lock").exists());
    assert!(!machine.output("thing").exists());
}

#[test]
fn archives_that_reach_out_of_their_tree_are_refused_with_the_name_of_the_entry() {
    let mut link = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    link.append_link(&mut header, "thing/link", "../../outside").unwrap();
    let link = link.into_inner().unwrap();
    for (name, bytes, entry) in [
        ("dots.tar", hostile_tarball(b"thing/../../evil"), "thing/../../evil"),
        ("absolute.tar", hostile_tarball(b"/evil"), "/evil"),
        ("link.tar", link, "thing/link"),
    ] {
        let machine = Machine::new();
        let (url, sha256) = serve(&machine, name, &bytes);
        declare(&machine, &[http_archive("thing", &url, &sha256, "")]);
        machine.run(&["build", "//:all"]).expect(2).says(&[name, entry]);
        assert!(!machine.output("thing").exists());
        assert!(!machine.root().join("evil").exists());
    }
}

#[test]
fn an_archive_that_ends_too_early_is_refused() {
    let machine = Machine::new();
    let tar = tarball();
    let (url, sha256) = serve(&machine, "cut.tar", &tar[..700]);
    declare(&machine, &[http_archive("thing", &url, &sha256, "")]);
    machine.run(&["build", "//:all"]).expect(2).says(&["cut.tar"]);
}
