//! What differs between two files is named, down to the member, the section and the field.

use std::io::{Cursor, Write as _};

use formats::difference::{Cause, DifferenceLimits, Finding, Hint, explain};
use formats::gzip;
use proptest::prelude::*;

fn found(left: &[u8], right: &[u8]) -> Vec<Finding> {
    explain(left, right, &[], DifferenceLimits::default())
}

/// Returns places and causes, as a reader sees them.
fn told(findings: &[Finding]) -> Vec<(String, Option<Cause>)> {
    findings.iter().map(|it| (it.place.join(" > "), it.cause)).collect()
}

fn tar_of(members: &[(&str, &[u8], u64)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, data, time) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(*time);
        builder.append_data(&mut header, name, *data).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip_of(bytes: &[u8], time: u32) -> Vec<u8> {
    let mut writer = gzip(Vec::new());
    writer.write_all(bytes).unwrap();
    let mut packed = writer.finish().unwrap();
    packed[4..8].copy_from_slice(&time.to_le_bytes());
    packed
}

fn zip_of(members: &[(&str, &[u8])], time: zip::DateTime) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, data) in members {
        let options = zip::write::SimpleFileOptions::default().last_modified_time(time);
        writer.start_file(*name, options).unwrap();
        writer.write_all(data).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn ar_of(members: &[(&str, &[u8], u64)]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, data, time) in members {
        let size = data.len();
        let header = format!("{name:<16}{time:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 100_644);
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
    }
    bytes
}

fn cpio_of(members: &[(&str, &[u8], u32, u32)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, data, inode, time) in members {
        let (size, length) = (data.len(), name.len() + 1);
        let header = format!(
            "070701{inode:08x}{:08x}{:08x}{:08x}{:08x}{time:08x}{size:08x}{:08x}{:08x}{:08x}{:08x}{length:08x}{:08x}",
            0o100_644, 0, 0, 1, 0, 0, 0, 0, 0
        );
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// A small ELF file of 64 bits with these sections.
fn elf_of(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut names = vec![0];
    let mut data = vec![0; 64];
    let mut headers = vec![[0u8; 64]];
    let mut header = |name: &[u8], kind: u32, content: &[u8], data: &mut Vec<u8>| {
        let mut header = [0; 64];
        header[..4].copy_from_slice(&u32::try_from(names.len()).unwrap().to_le_bytes());
        names.extend_from_slice(name);
        names.push(0);
        header[4..8].copy_from_slice(&kind.to_le_bytes());
        header[24..32].copy_from_slice(&(data.len() as u64).to_le_bytes());
        let content = if content.is_empty() { names.clone() } else { content.to_vec() };
        header[32..40].copy_from_slice(&(content.len() as u64).to_le_bytes());
        data.extend_from_slice(&content);
        header
    };
    for (name, content) in sections {
        headers.push(header(name.as_bytes(), 1, content, &mut data));
    }
    headers.push(header(b".shstrtab", 3, b"", &mut data));
    let at = data.len() as u64;
    let count = u16::try_from(headers.len()).unwrap();
    data.extend(headers.concat());
    data[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    data[16] = 1;
    data[18] = 62;
    data[20] = 1;
    data[40..48].copy_from_slice(&at.to_le_bytes());
    data[52] = 64;
    data[58] = 64;
    data[60..62].copy_from_slice(&count.to_le_bytes());
    data[62..64].copy_from_slice(&(count - 1).to_le_bytes());
    data
}

#[test]
fn equal_files_have_no_differences_and_others_always_have_one() {
    assert_eq!(found(b"same", b"same"), []);
    assert_eq!(found(b"", b"x").len(), 1);
    assert_eq!(found(b"short", b"shorter")[0].left, "ends after 5 bytes");
}

#[test]
fn the_first_byte_that_differs_is_shown_with_what_stands_around_it() {
    let findings = found(b"first line\nbuilt by anna\n", b"first line\nbuilt by otto\n");
    assert_eq!(findings[0].offset, Some(20));
    assert_eq!(findings[0].left, r#""built by anna\n""#);
    assert_eq!(findings[0].right, r#""built by otto\n""#);
    let findings = found(&[0, 1, 2, 3, 4, 5, 6], &[0, 1, 2, 3, 4, 0xff, 6]);
    assert_eq!((findings[0].left.as_str(), findings[0].offset), ("01 02 03 04 05 06", Some(5)));
}

#[test]
fn a_member_of_a_compressed_tar_is_named_and_so_is_its_time() {
    let pack = |text: &[u8], time| {
        gzip_of(&tar_of(&[("a/same.txt", b"same", 0), ("a/b.txt", text, time)]), 0)
    };
    let findings = found(&pack(b"one", 0), &pack(b"two", 0));
    assert_eq!(told(&findings), [("in gzip > member a/b.txt".to_owned(), None)]);
    assert_eq!(findings[0].offset, Some(0));
    let findings = found(&pack(b"one", 1_700_000_000), &pack(b"one", 1_700_000_001));
    let expected = [("in gzip > member a/b.txt > time".to_owned(), Some(Cause::Time))];
    assert_eq!(told(&findings), expected);
}

#[test]
fn times_in_headers_of_gzip_ar_zip_and_cpio_are_found() {
    let day = |day| zip::DateTime::from_date_and_time(2026, 11, day, 10, 0, 0).unwrap();
    for (left, right, place) in [
        (gzip_of(b"x", 1_700_000_000), gzip_of(b"x", 1_700_000_009), "gzip header > time"),
        (ar_of(&[("a.o/", b"x", 1)]), ar_of(&[("a.o/", b"x", 2)]), "member a.o > time"),
        (zip_of(&[("a", b"x")], day(1)), zip_of(&[("a", b"x")], day(2)), "member a > time"),
        (cpio_of(&[("a", b"x", 1, 1)]), cpio_of(&[("a", b"x", 1, 2)]), "member a > time"),
    ] {
        assert_eq!(told(&found(&left, &right)), [(place.to_owned(), Some(Cause::Time))]);
    }
    let findings = found(&cpio_of(&[("a", b"x", 1, 1)]), &cpio_of(&[("a", b"x", 2, 1)]));
    assert_eq!(told(&findings), [("member a > inode".to_owned(), Some(Cause::Inode))]);
}

#[test]
fn contents_of_members_of_zip_ar_and_cpio_are_found() {
    let text = |word: &str| format!("{word} a text that is long enough to be deflated deflated");
    let (one, two) = (text("one"), text("two"));
    let (one, two) = (one.as_bytes(), two.as_bytes());
    let time = zip::DateTime::default();
    for (left, right) in [
        (zip_of(&[("a", one)], time), zip_of(&[("a", two)], time)),
        (ar_of(&[("a/", one, 0)]), ar_of(&[("a/", two, 0)])),
        (cpio_of(&[("a", one, 1, 0)]), cpio_of(&[("a", two, 1, 0)])),
    ] {
        let findings = found(&left, &right);
        assert_eq!(told(&findings), [("member a".to_owned(), None)]);
        assert_eq!(findings[0].offset, Some(0));
    }
}

#[test]
fn members_in_another_order_and_members_that_only_one_has_are_told() {
    let (a, b) = (("a", &b"1"[..], 0), ("b", &b"2"[..], 0));
    let findings = found(&tar_of(&[a, b]), &tar_of(&[b, a]));
    assert_eq!(told(&findings), [("order of members".to_owned(), Some(Cause::Order))]);
    let findings = found(&tar_of(&[a, b]), &tar_of(&[a]));
    assert_eq!(told(&findings), [("member b".to_owned(), None)]);
    assert_eq!(findings[0].right, "not there");
}

#[test]
fn sections_of_a_program_are_named_and_the_build_id_comes_last() {
    let program = |text: &[u8], id: &[u8]| {
        elf_of(&[(".note.gnu.build-id", id), (".text", b"code"), (".rodata", text)])
    };
    let left = program(b"built at Nov 20 2026 10:11:12", b"iiii");
    let right = program(b"built at Nov 20 2026 10:11:13", b"jjjj");
    let expected = [
        ("section .rodata".to_owned(), Some(Cause::Time)),
        ("section .note.gnu.build-id".to_owned(), Some(Cause::BuildId)),
    ];
    assert_eq!(told(&found(&left, &right)), expected);
}

#[test]
fn likely_causes_are_guessed_from_the_bytes() {
    for (left, right, cause) in [
        ("built 2026-11-20 10:00", "built 2026-11-21 10:00", Some(Cause::Time)),
        ("at 1795240631", "at 1795240632", Some(Cause::Time)),
        ("in /home/a/x.c:1", "in /build/b/x.c:1", Some(Cause::Path)),
        ("beta alpha gamma", "alpha beta gamma", Some(Cause::Order)),
        ("Beta\nalpha\n", "alpha\nBeta\n", Some(Cause::Order)),
        ("id=3f9ac1", "id=77b0d2", Some(Cause::Random)),
        ("pid 120", "pid 131", Some(Cause::Random)),
        ("plain words", "other words", None),
    ] {
        let findings = found(left.as_bytes(), right.as_bytes());
        assert_eq!(findings[0].cause, cause, "{left} {right}");
    }
    let time = |seconds: u32| [&[0; 8][..], &seconds.to_le_bytes(), &[0; 8]].concat();
    let findings = found(&time(1_795_240_631), &time(1_795_240_700));
    assert_eq!(findings[0].cause, Some(Cause::Time));
}

#[test]
fn words_that_only_one_run_could_know_tell_the_cause() {
    let hint =
        |cause, left: &str, right: &str| Hint { cause, left: left.into(), right: right.into() };
    let hints =
        [hint(Cause::Host, "bld", "elsewhere"), hint(Cause::Path, "/work", "/perturbed/work")];
    let limits = DifferenceLimits::default();
    for (left, right, cause) in [
        ("on bld", "on elsewhere", Some(Cause::Host)),
        ("cd /work/x", "cd /perturbed/work/x", Some(Cause::Path)),
        ("words", "swords", None),
    ] {
        let findings = explain(left.as_bytes(), right.as_bytes(), &hints, limits);
        assert_eq!(findings[0].cause, cause, "{left} {right}");
    }
}

#[test]
fn bombs_and_deep_nests_are_compared_as_bytes_once_a_limit_is_reached() {
    let limits = DifferenceLimits { findings: 2, depth: 3, unpacked_bytes: 1 << 20 };
    let bomb = |last: u8| {
        let mut plain = vec![0; 8 << 20];
        plain.push(last);
        gzip_of(&plain, 0)
    };
    let findings = explain(&bomb(1), &bomb(2), &[], limits);
    assert_eq!(told(&findings), [(String::new(), None)]);
    let nest = |text: &[u8]| (0..6).fold(text.to_vec(), |bytes, _| tar_of(&[("x", &bytes, 0)]));
    let findings = explain(&nest(b"a"), &nest(b"b"), &[], limits);
    assert_eq!(findings[0].place.len(), 3);
    let many = |text: &[u8]| tar_of(&[("a", text, 0), ("b", text, 0), ("c", text, 0)]);
    assert_eq!(explain(&many(b"x"), &many(b"y"), &[], limits).len(), 2);
}

/// Files of every kind that is looked into.
fn seeds() -> Vec<Vec<u8>> {
    let tar = tar_of(&[("a", b"text", 5), ("b", b"more", 6)]);
    vec![
        gzip_of(&tar, 7),
        tar,
        zip_of(&[("a", b"text"), ("b", b"more")], zip::DateTime::default()),
        ar_of(&[("a/", b"text", 1), ("//", b"long/\n", 0), ("/0", b"x", 2)]),
        cpio_of(&[("a", b"text", 1, 1), ("b", b"more", 2, 2)]),
        elf_of(&[(".text", b"code"), (".debug_info", b"path")]),
    ]
}

proptest! {
    #[test]
    fn damaged_files_of_every_kind_are_explained_without_a_panic(
        kind in 0..6usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in any::<prop::sample::Index>(),
    ) {
        let left = seeds().swap_remove(kind);
        let mut right = left.clone();
        for (at, byte) in edits {
            let at = at.index(right.len());
            right[at] = byte;
        }
        right.truncate(cut.index(right.len()) + 1);
        for (left, right) in [(&left, &right), (&right, &left)] {
            let findings = explain(left, right, &[], DifferenceLimits::default());
            prop_assert_eq!(findings.is_empty(), left == right);
        }
    }

    #[test]
    fn any_bytes_are_explained_without_a_panic(left: Vec<u8>, right: Vec<u8>) {
        let findings = explain(&left, &right, &[], DifferenceLimits::default());
        prop_assert_eq!(findings.is_empty(), left == right);
    }
}
