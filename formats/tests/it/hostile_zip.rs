//! Zip archives whose halves disagree, that overlap, hide bytes or explode are refused, by name.

use formats::{Kind, Limits};

use crate::raw::{ZipEntry, deflated, stored, zip, zip_link};
use crate::support::World;

fn check(entries: &[ZipEntry], message: &str) {
    assert_eq!(World::new().refusal(Kind::Zip, &zip(entries)), message);
}

fn check_bytes(bytes: &[u8], message: &str) {
    assert_eq!(World::new().refusal(Kind::Zip, bytes), message);
}

fn check_limited(set: impl FnOnce(&mut Limits), entries: &[ZipEntry], message: &str) {
    assert_eq!(World::limited(set).refusal(Kind::Zip, &zip(entries)), message);
}

#[test]
fn the_archives_of_these_tests_are_good_before_they_are_broken() {
    let world = World::new();
    let directory = ZipEntry { mode: 0o040_755, ..stored("d/", "") };
    let old = ZipEntry { host: 0, mode: 0o777, ..stored("old/x", "x") };
    let bytes = zip(&[stored("a", "x"), deflated("b", "xx"), zip_link("l", "a"), directory, old]);
    let listing = "a = \"x\"\nb = \"xx\"\nd/\nl -> a\nold/\nold/x = \"x\"\n";
    assert_eq!(world.list(Kind::Zip, &bytes), listing);
}

#[test]
fn names_that_leave_the_tree_or_are_none_are_refused() {
    check(&[stored("../evil", "")], "`../evil`: `..` is not a name");
    check(&[stored("/evil", "")], "`/evil`: the name is absolute");
    check(&[stored("", "")], "``: malformed: the name is empty");
    check(&[stored("a\0b", "")], "`a\\0b`: the name \"a\\0b\" has a slash or a NUL in it");
    check(
        &[ZipEntry { host: 0, ..stored("ä", "") }],
        "`ä`: malformed: the name is neither ASCII nor marked as UTF-8",
    );
    let not_text = ZipEntry { flags: 1 << 11, ..stored(b"\xff", "") };
    check(&[not_text], "`\u{fffd}`: the name is not UTF-8");
    let long = "n".repeat(256);
    check(
        &[stored(&long, "")],
        &format!("`{}…`: the name {long:?} is longer than 255 bytes", "n".repeat(200)),
    );
}

#[test]
fn names_that_come_twice_or_lead_through_a_link_are_refused() {
    check(&[stored("a", ""), stored("a", "")], "`a`: the name appears twice");
    check(
        &[zip_link("l", "/"), stored("l/x", "")],
        "`l/x`: the path leads through `l`, which is not a directory",
    );
}

#[test]
fn links_obey_the_same_policy() {
    let world = World::inside();
    let bytes = zip(&[zip_link("l", "/etc")]);
    assert_eq!(world.refusal(Kind::Zip, &bytes), "`l`: the link leads to the absolute path `/etc`");
    let bytes = zip(&[zip_link("a/l", "../../x")]);
    assert_eq!(
        world.refusal(Kind::Zip, &bytes),
        "`a/l`: the link to `../../x` leads out of the archive"
    );
    check(
        &[zip_link("l", vec![b't'; 4096])],
        "`l`: more than 4095 bytes in the target of a link, which is the limit",
    );
    check(&[zip_link("l", b"\xff")], "`l`: the target of the link is not UTF-8");
}

#[test]
fn what_a_tree_cannot_hold_or_the_format_does_not_know_is_refused() {
    let pipe = ZipEntry { mode: 0o010_644, ..stored("p", "") };
    check(&[pipe], "`p`: it is a device, pipe or socket, which a tree cannot hold");
    for flag in [1, 1 | 1 << 6, 1 << 13] {
        check(&[ZipEntry { flags: flag, ..stored("e", "") }], "`e`: it is encrypted");
    }
    check(
        &[ZipEntry { flags: 1 << 5, ..stored("e", "") }],
        "`e`: malformed: it has flags that are not known",
    );
    for method in [1, 9, 12, 14, 93, 99] {
        let known =
            format!("`m`: its compression method {method} is not known (known: stored, deflate)");
        check(&[ZipEntry { method, ..stored("m", "") }], &known);
    }
    let disagree = "malformed: its mode and the end of its name disagree about a directory";
    check(&[stored("d/", "")], &format!("`d/`: {disagree}"));
    check(&[ZipEntry { mode: 0o040_755, ..stored("d", "") }], &format!("`d`: {disagree}"));
    check(
        &[ZipEntry { mode: 0o040_755, ..stored("d/", "x") }],
        "`d/`: malformed: a directory has a size",
    );
    check(
        &[ZipEntry { compressed: 2, ..stored("s", "x") }],
        "`s`: malformed: it is stored and has two sizes",
    );
}

#[test]
fn halves_that_disagree_are_refused() {
    let good = deflated("a", "content");
    let cases = [
        (ZipEntry { local_name: Some(b"b".to_vec()), ..good.clone() }, "name"),
        (ZipEntry { local_flags: Some(1 << 11), ..good.clone() }, "flags"),
        (ZipEntry { local_method: Some(0), ..good.clone() }, "compression method"),
        (ZipEntry { local_crc: Some(1), ..good.clone() }, "checksum"),
        (ZipEntry { local_crc: Some(0), ..good.clone() }, "checksum"),
        (ZipEntry { local_size: Some(1), ..good.clone() }, "size"),
    ];
    for (entry, field) in cases {
        let message =
            format!("`a`: the central directory and the local header disagree about its {field}");
        check(&[entry], &message);
    }
    let other_name = b"\x75\x70\x06\0\x01\0\0\0\0b".to_vec();
    check(
        &[ZipEntry { extra: other_name, ..good }],
        "`a`: the central directory and the local header disagree about its name",
    );
}

#[test]
fn descriptors_that_disagree_or_are_absent_are_refused() {
    let streamed =
        ZipEntry { flags: 1 << 3, local_crc: Some(0), local_size: Some(0), ..stored("a", "x") };
    let descriptor = |crc: u32, compressed: u32, size: u32| {
        [crc, compressed, size].iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>()
    };
    let crc = streamed.crc;
    let with = |descriptor: Vec<u8>| ZipEntry { descriptor, ..streamed.clone() };
    let world = World::new();
    let marked = [b"PK\x07\x08".to_vec(), descriptor(crc, 1, 1)].concat();
    for good in [descriptor(crc, 1, 1), marked] {
        world.unpack(Kind::Zip, &zip(&[with(good)])).unwrap();
    }
    for bad in [descriptor(1, 1, 1), descriptor(crc, 2, 1), descriptor(crc, 1, 2)] {
        check(
            &[with(bad)],
            "`a`: the central directory and the local header disagree about its size or checksum",
        );
    }
    check(&[with(Vec::new())], "`a`: it overlaps another entry");
    check(&[with(vec![0; 40])], "`a`: bytes of the archive belong to no entry");
    check(
        &[with([b"junk".to_vec(), descriptor(crc, 1, 1)].concat())],
        "`a`: malformed: no data descriptor where one should be",
    );
}

#[test]
fn entries_that_overlap_are_refused() {
    let same = ZipEntry { offset: Some(0), ..stored("a", "xxxx") };
    check(&[stored("a", "xxxx"), same], "`a`: it overlaps another entry");
    let inner = zip(&[stored("inner", "x")]);
    let quoted = ZipEntry { offset: Some(31), ..stored("inner", "x") };
    let outer = stored("o", &inner[..36]);
    let message = World::new().refusal(Kind::Zip, &zip(&[outer, quoted]));
    assert_eq!(message, "`o`: it overlaps another entry");
}

#[test]
fn bytes_that_belong_to_nothing_are_refused() {
    let good = zip(&[stored("a", "x"), stored("b", "x")]);
    check_bytes(&[b"#!/bin/sh\n", &good[..]].concat(), "bytes of the archive belong to no entry");
    check_bytes(&[&[0; 100], &good[..]].concat(), "bytes of the archive belong to no entry");
    check_bytes(
        &[&good[..], b"\0"].concat(),
        "malformed: no end of a zip archive at the end of the file",
    );
    let gap = ZipEntry { descriptor: vec![0; 3], ..stored("a", "x") };
    check(&[gap, stored("b", "x")], "`a`: bytes of the archive belong to no entry");
    let before = ZipEntry { offset: Some(1), ..stored("a", "x") };
    check(&[before], "`a`: bytes of the archive belong to no entry");
    let mut orphan = good.clone();
    // One entry less in the directory: its bytes are still there.
    let end = orphan.len() - 22;
    orphan[end + 8] = 1;
    orphan[end + 10] = 1;
    check_bytes(&orphan, "malformed: the central directory has more entries than it says");
    orphan[end + 8] = 3;
    orphan[end + 10] = 3;
    check_bytes(&orphan, "the archive is truncated");
}

#[test]
fn a_comment_that_looks_like_another_end_is_refused() {
    let good = zip(&[stored("a", "x")]);
    let other = zip(&[]);
    let mut bytes = good.clone();
    let end = bytes.len();
    bytes[end - 2..].copy_from_slice(&u16::try_from(other.len()).unwrap().to_le_bytes());
    bytes.extend(&other);
    check_bytes(&bytes, "malformed: the zip archive has two ends");
}

#[test]
fn several_disks_are_refused() {
    let mut bytes = zip(&[stored("a", "x")]);
    let end = bytes.len() - 22;
    bytes[end + 4] = 1;
    check_bytes(&bytes, "malformed: the zip archive has several disks");
}

#[test]
fn content_that_is_not_what_is_announced_is_refused() {
    check(&[ZipEntry { crc: 1, ..stored("a", "x") }], "`a`: the checksum does not match");
    check(&[ZipEntry { crc: 1, ..deflated("a", "x") }], "`a`: the checksum does not match");
    let large = vec![b'x'; 2_000_000];
    check(&[ZipEntry { crc: 1, ..deflated("a", &large) }], "`a`: the checksum does not match");
    let more = ZipEntry { size: 3, ..deflated("a", "xxxx") };
    check(&[more], "`a`: the central directory and the local header disagree about its size");
    check(&[ZipEntry { size: 5, ..deflated("a", "xxxx") }], "`a`: the archive is truncated");
    let mut broken = deflated("a", "some text that is compressed");
    broken.data[0] = 0xff;
    check(&[broken], "`a`: its deflate data is damaged, or something else follows it");
    let mut trailing = deflated("a", "x");
    trailing.data.extend(b"junk");
    trailing.compressed += 4;
    check(&[trailing], "`a`: something follows the end of the archive");
}

#[test]
fn extra_fields_that_are_none_are_refused() {
    for extra in [&b"\x01"[..], b"\x01\0\x09\0", b"\x01\0\0\0\x01\0\0\0"] {
        let entry = ZipEntry { extra: extra.to_vec(), ..stored("a", "x") };
        check(&[entry], "`a`: malformed: its extra fields are not well formed");
    }
    let narrow =
        ZipEntry { size: u32::MAX, extra: b"\x01\0\x04\0\0\0\0\0".to_vec(), ..deflated("a", "x") };
    check(&[narrow], "`a`: malformed: its extra fields are not well formed");
}

#[test]
fn a_zip_cut_off_anywhere_is_refused() {
    let world = World::new();
    let bytes = zip(&[stored("a", "x"), deflated("b", "xx")]);
    for length in 0..bytes.len() {
        world.refusal(Kind::Zip, &bytes[..length]);
    }
    world.unpack(Kind::Zip, &bytes).unwrap();
}

#[test]
fn every_limit_is_kept_and_named() {
    let two = [stored("a", "x"), stored("b", "x")];
    check_limited(|l| l.entries = 1, &two, "more than 1 entries, which is the limit");
    check_limited(
        |l| l.depth = 1,
        &[stored("a/b", "")],
        "`a/b`: more than 1 names in a path, which is the limit",
    );
    check_limited(
        |l| l.names_bytes = 1,
        &two,
        "`b`: more than 1 bytes in all names, which is the limit",
    );
    check_limited(
        |l| l.file_bytes = 0,
        &two,
        "`a`: more than 0 bytes in a file, which is the limit",
    );
    check_limited(
        |l| l.unpacked_bytes = 1,
        &two,
        "`b`: more than 1 unpacked bytes, which is the limit",
    );
    let bomb = deflated("bomb", vec![0; 1 << 20]);
    check_limited(
        |l| (l.ratio, l.ratio_free_bytes) = (100, 1 << 16),
        &[bomb],
        "`bomb`: more than 100 times the compressed size, which is the limit",
    );
    let huge = ZipEntry {
        size: u32::MAX,
        extra: [&b"\x01\0\x08\0"[..], &(1u64 << 50).to_le_bytes()].concat(),
        ..deflated("huge", "x")
    };
    check(&[huge], "`huge`: more than 68719476736 unpacked bytes, which is the limit");
}
