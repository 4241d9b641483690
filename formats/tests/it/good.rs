//! Archives made by other people's programs become the trees that they hold.

use std::io::Write as _;

use formats::Kind;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::raw::{self, TarEntry, directory, entry, hard_link, pax, symlink, text};
use crate::support::{COMPRESSORS, World};

const LISTING: &str = "\
bin/
bin/run* = \"#!/bin/sh\\n\"
empty/
etc/
etc/motd = \"hello\\n\"
etc/none = \"\"
link -> ../outside
";

fn made_by_the_tar_crate() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |name: &str, kind: tar::EntryType, mode: u32, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(1000);
        header.set_mtime(1_700_000_000);
        if kind == tar::EntryType::Symlink {
            header.set_size(0);
            builder.append_link(&mut header, name, str::from_utf8(content).unwrap()).unwrap();
        } else {
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, content).unwrap();
        }
    };
    add("empty", tar::EntryType::Directory, 0o755, b"");
    add("bin/run", tar::EntryType::Regular, 0o4755, b"#!/bin/sh\n");
    add("etc/motd", tar::EntryType::Regular, 0o644, b"hello\n");
    add("etc/none", tar::EntryType::Regular, 0o655, b"");
    add("link", tar::EntryType::Symlink, 0o777, b"../outside");
    builder.into_inner().unwrap()
}

fn made_by_the_zip_crate(method: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    writer.add_directory("empty/", options.unix_permissions(0o755)).unwrap();
    for (name, mode, content) in
        [("bin/run", 0o755, "#!/bin/sh\n"), ("etc/motd", 0o644, "hello\n"), ("etc/none", 0o655, "")]
    {
        writer.start_file(name, options.unix_permissions(mode)).unwrap();
        writer.write_all(content.as_bytes()).unwrap();
    }
    writer.add_symlink("link", "../outside", options).unwrap();
    writer.finish().unwrap().into_inner()
}

#[test]
fn a_tar_archive_of_any_codec_becomes_its_tree() {
    let world = World::new();
    for (extension, compress) in COMPRESSORS {
        let bytes = compress(&made_by_the_tar_crate());
        assert_eq!(world.list(Kind::Tar, &bytes), LISTING, "tar{extension}");
    }
}

#[test]
fn a_package_with_data_of_any_codec_becomes_its_tree() {
    let world = World::new();
    for (extension, compress) in COMPRESSORS {
        let bytes = raw::deb(&format!("data.tar{extension}"), &compress(&made_by_the_tar_crate()));
        assert_eq!(world.list(Kind::Deb, &bytes), LISTING, "data.tar{extension}");
    }
}

#[test]
fn a_zip_archive_becomes_its_tree() {
    let world = World::new();
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        assert_eq!(world.list(Kind::Zip, &made_by_the_zip_crate(method)), LISTING, "{method}");
    }
}

#[test]
fn a_zip_archive_that_was_written_as_a_stream_becomes_its_tree() {
    let world = World::new();
    let mut writer = ZipWriter::new_stream(Vec::new());
    for (name, large) in [("a", false), ("b", true)] {
        let options = SimpleFileOptions::default().large_file(large);
        writer.start_file(name, options).unwrap();
        writer.write_all(name.as_bytes()).unwrap();
    }
    let bytes = writer.finish().unwrap().into_inner();
    assert_eq!(world.list(Kind::Zip, &bytes), "a = \"a\"\nb = \"b\"\n");
}

#[test]
fn a_zip_archive_with_a_comment_and_wide_sizes_becomes_its_tree() {
    let world = World::new();
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.set_comment("0123456789abcdef").unwrap();
    writer.start_file("wide", SimpleFileOptions::default().large_file(true)).unwrap();
    writer.write_all(b"x").unwrap();
    writer.start_file("größe", SimpleFileOptions::default()).unwrap();
    let bytes = writer.finish().unwrap().into_inner();
    assert_eq!(world.list(Kind::Zip, &bytes), "größe = \"\"\nwide = \"x\"\n");
}

#[test]
fn a_zip_archive_with_more_entries_than_sixteen_bits_becomes_its_tree() {
    let world = World::new();
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for number in 0..66_000 {
        let name = format!("d{}/{number}", number / 1000);
        writer.start_file(name, SimpleFileOptions::default()).unwrap();
    }
    let bytes = writer.finish().unwrap().into_inner();
    let tree = world.unpack(Kind::Zip, &bytes).unwrap();
    assert_eq!(world.store.directory(tree).unwrap().unwrap().len(), 66);
}

#[test]
fn a_leading_dot_and_a_repeated_directory_mean_nothing() {
    let world = World::new();
    let bytes = raw::tar(&[
        directory("./"),
        directory("./usr/"),
        text("./usr/x", "1"),
        directory("usr"),
        text("usr/y", "2"),
    ]);
    assert_eq!(world.list(Kind::Tar, &bytes), "usr/\nusr/x = \"1\"\nusr/y = \"2\"\n");
}

#[test]
fn a_hard_link_is_the_same_file() {
    let world = World::new();
    let executable = TarEntry { mode: "0000755\0", ..text("./usr/a", "x") };
    let bytes = raw::tar(&[executable, hard_link("./usr/b", "./usr/a"), hard_link("c", "usr/b")]);
    assert_eq!(
        world.list(Kind::Deb, &raw::deb("data.tar", &bytes)),
        "c* = \"x\"\nusr/\nusr/a* = \"x\"\nusr/b* = \"x\"\n"
    );
}

#[test]
fn the_owner_alone_decides_who_executes() {
    let world = World::new();
    let bytes = raw::tar(&[
        TarEntry { mode: "0000100\0", ..text("a", "") },
        TarEntry { mode: "0000677\0", ..text("b", "") },
        TarEntry { mode: "\0\0\0\0\0\0\0\0", ..text("c", "") },
    ]);
    assert_eq!(world.list(Kind::Tar, &bytes), "a* = \"\"\nb = \"\"\nc = \"\"\n");
}

#[test]
fn long_names_are_read_in_all_three_ways() {
    let world = World::new();
    let name = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    let target = "t".repeat(300);
    let gnu = |flag, value: &str| TarEntry {
        content: format!("{value}\0").into_bytes(),
        magic: *b"ustar  \0",
        ..entry(flag, "././@LongLink")
    };
    let ways = [
        vec![gnu(b'L', &name), gnu(b'K', &target), symlink("short", "short")],
        vec![gnu(b'K', &target), gnu(b'L', &name), symlink("short", "short")],
        vec![pax(&[("path", &name), ("mtime", "1.5"), ("linkpath", &target)]), symlink("s", "s")],
    ];
    for entries in ways {
        let listing = world.list(Kind::Tar, &raw::tar(&entries));
        assert_eq!(listing, format!("{}/\n{name} -> {target}\n", "d".repeat(120)));
    }
    let prefixed = TarEntry { prefix: b"a/b".to_vec(), ..text("c", "") };
    assert_eq!(
        world.list(Kind::Tar, &raw::tar(std::slice::from_ref(&prefixed))),
        "a/\na/b/\na/b/c = \"\"\n"
    );
    let gnu_times = TarEntry { magic: *b"ustar  \0", ..prefixed };
    assert_eq!(world.list(Kind::Tar, &raw::tar(&[gnu_times])), "c = \"\"\n");
}

#[test]
fn sizes_are_read_in_all_three_ways() {
    let world = World::new();
    let binary =
        TarEntry { size: Some(b"\x80\0\0\0\0\0\0\0\0\0\0\x01".to_vec()), ..text("a", "x") };
    let by_pax = TarEntry { size: Some(b"00000000000\0".to_vec()), ..text("b", "x") };
    let bytes = raw::tar(&[binary, pax(&[("size", "1")]), by_pax]);
    assert_eq!(world.list(Kind::Tar, &bytes), "a = \"x\"\nb = \"x\"\n");
}

#[test]
fn what_trees_do_not_speak_of_is_passed_over() {
    let world = World::new();
    let global =
        TarEntry { flag: b'g', ..pax(&[("comment", "0123456789012345678901234567890123456789")]) };
    let attributes = pax(&[("SCHILY.xattr.user.x", "=\n"), ("uid", "7"), ("atime", "1")]);
    let set_id = TarEntry { mode: "0006755\0", ..text("su", "") };
    let old = TarEntry { magic: [0; 8], ..entry(b'\0', "old/") };
    let bytes = raw::tar(&[global, attributes, set_id, old]);
    assert_eq!(world.list(Kind::Tar, &bytes), "old/\nsu* = \"\"\n");
}

#[test]
fn a_large_file_is_streamed_and_equal() {
    let world = World::new();
    let content: Vec<u8> = (0..3_000_000u32).flat_map(|n| (n % 251).to_le_bytes()).collect();
    let expected = model::Digest::of(model::DigestFunction::Blake3, &content);
    let large = [
        (Kind::Tar, crate::support::zst(&raw::tar(&[text("large", &content)]))),
        (Kind::Zip, raw::zip(&[raw::deflated("large", &content)])),
    ];
    for (kind, bytes) in large {
        let tree = world.unpack(kind, &bytes).unwrap();
        let directory = world.store.directory(tree).unwrap().unwrap();
        let node = model::Node::File { digest: expected, executable: false };
        assert_eq!(directory.get("large"), Some(&node));
    }
}

#[test]
fn stripping_a_prefix_leaves_out_what_lies_beside_it() {
    let world = World::stripping("pkg/1.0");
    let bytes = raw::tar(&[
        text("README", "no"),
        directory("pkg"),
        directory("pkg/1.0"),
        text("pkg/1.0/a", "yes"),
        text("pkg/1.0/d/b", "yes"),
        text("pkg/2.0/a", "no"),
        hard_link("pkg/1.0/c", "pkg/1.0/a"),
    ]);
    assert_eq!(world.list(Kind::Tar, &bytes), "a = \"yes\"\nc = \"yes\"\nd/\nd/b = \"yes\"\n");
}

#[test]
fn links_inside_stay_verbatim() {
    let world = World::inside();
    let bytes =
        raw::tar(&[symlink("a/b/c", "../../d/./e"), symlink("a/up", ".."), symlink("x", "y//z/")]);
    let listing = "a/\na/b/\na/b/c -> ../../d/./e\na/up -> ..\nx -> y//z/\n";
    assert_eq!(world.list(Kind::Tar, &bytes), listing);
}

#[test]
fn a_package_may_carry_members_that_start_with_an_underscore() {
    let world = World::new();
    let data = raw::tar(&[text("a", "")]);
    let bytes = raw::ar(&[
        ("debian-binary", b"2.0\n"),
        ("_x", b"odd"),
        ("control.tar.gz/", b"never read"),
        ("_y", b""),
        ("data.tar", &data),
        ("_gpgorigin", b"signature"),
    ]);
    assert_eq!(world.list(Kind::Deb, &bytes), "a = \"\"\n");
}

#[test]
fn an_archive_of_nothing_is_an_empty_tree() {
    let world = World::new();
    assert_eq!(world.list(Kind::Tar, &raw::tar(&[])), "");
    assert_eq!(world.list(Kind::Zip, &raw::zip(&[])), "");
    assert_eq!(world.list(Kind::Deb, &raw::deb("data.tar", &raw::tar(&[]))), "");
}

#[test]
fn a_zip_archive_from_unix_may_have_names_beyond_ascii_without_saying_so() {
    // As Info-ZIP writes them: the bytes of the file system, no flag.
    let world = World::new();
    assert_eq!(world.list(Kind::Zip, &raw::zip(&[raw::stored("größe", "")])), "größe = \"\"\n");
}
