//! Tar archives that lie, climb out, follow links or never end are refused, by name.

use formats::{Kind, Limits};

use crate::raw::{TarEntry, directory, entry, hard_link, pax, symlink, tar, text};
use crate::support::World;

fn check(entries: &[TarEntry], message: &str) {
    assert_eq!(World::new().refusal(Kind::Tar, &tar(entries)), message);
}

fn check_limited(set: impl FnOnce(&mut Limits), entries: &[TarEntry], message: &str) {
    assert_eq!(World::limited(set).refusal(Kind::Tar, &tar(entries)), message);
}

#[test]
fn names_that_leave_the_tree_are_refused() {
    check(&[text("../evil", "")], "`../evil`: `..` is not a name");
    check(&[text("a/../../evil", "")], "`a/../../evil`: `..` is not a name");
    check(&[directory("./..")], "`./..`: `..` is not a name");
    check(&[text("/etc/passwd", "")], "`/etc/passwd`: the name is absolute");
    let slashes = "a path has an empty name (it is absolute, or has a slash too many)";
    check(&[text(".//etc", "")], &format!("`.//etc`: {slashes}"));
    check(&[directory("a//")], &format!("`a//`: {slashes}"));
    check(&[text("a/./b", "")], "`a/./b`: `.` is not a name");
}

#[test]
fn names_that_are_none_are_refused() {
    check(&[text("", "")], "``: malformed: the name is empty");
    check(&[text(b"a\xff", "")], "`a\u{fffd}`: the name is not UTF-8");
    check(&[text(".", "")], "`.`: malformed: the root of the archive is not a directory");
    check(&[symlink("./", "x")], "`./`: malformed: a name that is no directory's ends in a slash");
    check(&[text("a/", "")], "`a/`: malformed: a name that is no directory's ends in a slash");
    let nul = TarEntry { content: b"a\0b\0".to_vec(), ..entry(b'L', "././@LongLink") };
    check(&[nul, text("x", "")], "`././@LongLink`: malformed: a long name is empty or has a NUL");
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    check(&[text("/\x1b[31m", "")], "`/\\u{1b}[31m`: the name is absolute");
}

#[test]
fn names_and_targets_that_are_too_long_are_refused() {
    let name = "n".repeat(256);
    check(
        &[pax(&[("path", &name)]), text("x", "")],
        &format!("`{}…`: the name {name:?} is longer than 255 bytes", "n".repeat(200)),
    );
    let path = "d/".repeat(2049);
    check_limited(
        |limits| limits.depth = 10_000,
        &[pax(&[("path", &path)]), directory("x")],
        &format!("`{}…`: more than 4096 bytes in a path, which is the limit", "d/".repeat(100)),
    );
    let target = "t".repeat(4096);
    let world = World::new();
    let message =
        world.refusal(Kind::Tar, &tar(&[pax(&[("linkpath", &target)]), symlink("x", "y")]));
    assert!(message.starts_with("`x`: \"ttt"), "{message}");
    assert!(message.ends_with(
        "cannot be the target of a link (empty, with a NUL, or longer than 4095 bytes)"
    ));
    let long = TarEntry { content: vec![b'l'; 5000], ..entry(b'L', "././@LongLink") };
    check(
        &[long, text("x", "")],
        "`././@LongLink`: more than 4096 bytes in a path, which is the limit",
    );
}

#[test]
fn nothing_is_written_through_a_link_or_a_file() {
    check(
        &[symlink("lib", "/usr/lib"), text("lib/evil", "")],
        "`lib/evil`: the path leads through `lib`, which is not a directory",
    );
    check(
        &[symlink("a/b", "../.."), directory("a/b/c")],
        "`a/b/c`: the path leads through `a/b`, which is not a directory",
    );
    check(
        &[text("a", ""), text("a/b", "")],
        "`a/b`: the path leads through `a`, which is not a directory",
    );
    check(
        &[symlink("a", "b"), directory("a")],
        "`a`: the path leads through `a`, which is not a directory",
    );
}

#[test]
fn a_name_that_comes_twice_is_refused() {
    check(&[text("a", "1"), text("a", "2")], "`a`: the name appears twice");
    check(&[text("a", "1"), text("./a", "1")], "`./a`: the name appears twice");
    check(&[symlink("a", "b"), symlink("a", "b")], "`a`: the name appears twice");
    check(&[symlink("a", "b"), text("a", "")], "`a`: the name appears twice");
    check(&[directory("a"), symlink("a", "b")], "`a`: the name appears twice");
    check(&[text("a/b", ""), text("a", "")], "`a`: the name appears twice");
    check(&[text("a", ""), hard_link("a", "a")], "`a`: the name appears twice");
}

#[test]
fn hard_links_to_what_is_no_earlier_file_are_refused() {
    let refused = |target: &str| {
        format!("`h`: a hard link to `{target}`, which is not a file that came before it")
    };
    check(&[hard_link("h", "later"), text("later", "")], &refused("later"));
    check(&[directory("d"), hard_link("h", "d")], &refused("d"));
    check(&[symlink("l", "/etc/passwd"), hard_link("h", "l")], &refused("l"));
    check(&[symlink("l", "d"), text("d/f", ""), hard_link("h", "l/f")], &refused("l/f"));
    check(&[hard_link("h", "/etc/passwd")], "`h`: the name is absolute");
    check(&[hard_link("h", "../x")], "`h`: `..` is not a name");
    check(&[hard_link("h", "")], "`h`: malformed: the name is empty");
    let sized = TarEntry { content: b"x".to_vec(), ..hard_link("h", "a") };
    check(&[text("a", ""), sized], "`h`: malformed: a link has a size");
    let world = World::stripping("p");
    let bytes = tar(&[text("q/f", ""), hard_link("p/h", "q/f")]);
    let message = "`p/h`: a hard link to `q/f`, which is not a file that came before it";
    assert_eq!(world.refusal(Kind::Tar, &bytes), message);
}

#[test]
fn links_that_lead_out_are_refused_unless_they_may() {
    let world = World::inside();
    for (name, target, message) in [
        ("l", "/etc", "`l`: the link leads to the absolute path `/etc`"),
        ("l", "..", "`l`: the link to `..` leads out of the archive"),
        ("a/l", "../..", "`a/l`: the link to `../..` leads out of the archive"),
        ("a/l", "b/../../../a", "`a/l`: the link to `b/../../../a` leads out of the archive"),
        ("a/b/l", "./../../../x", "`a/b/l`: the link to `./../../../x` leads out of the archive"),
    ] {
        let bytes = tar(&[symlink(name, target)]);
        assert_eq!(world.refusal(Kind::Tar, &bytes), message);
        assert!(World::new().list(Kind::Tar, &bytes).ends_with(&format!("{name} -> {target}\n")));
    }
}

#[test]
fn links_to_nothing_or_to_no_text_are_refused() {
    check(
        &[symlink("l", "")],
        "`l`: \"\" cannot be the target of a link (empty, with a NUL, or longer than 4095 bytes)",
    );
    check(&[symlink("l", b"\xc3")], "`l`: the target of the link is not UTF-8");
}

#[test]
fn what_a_tree_cannot_hold_is_refused() {
    for (flag, kind) in
        [(b'3', "a character device"), (b'4', "a block device"), (b'6', "a named pipe")]
    {
        check(&[entry(flag, "dev/x")], &format!("`dev/x`: it is {kind}, which a tree cannot hold"));
    }
    check(&[entry(b'S', "s")], "`s`: it is a sparse file");
    for key in ["GNU.sparse.major", "GNU.sparse.map", "SCHILY.realsize"] {
        check(&[pax(&[(key, "1")]), text("s", "")], "`PaxHeaders/x`: it is a sparse file");
    }
    for flag in [b'7', b'D', b'M', b'V', b'X', b'9', 0xff] {
        let flag_text = format!("{:?}", char::from(flag));
        check(&[entry(flag, "x")], &format!("`x`: its type flag {flag_text} is not known"));
    }
}

#[test]
fn hostile_extension_headers_are_refused() {
    check(&[pax(&[("path", "../evil")]), text("good", "")], "`../evil`: `..` is not a name");
    check(&[pax(&[("path", "/evil")]), text("good", "")], "`/evil`: the name is absolute");
    let named = "`PaxHeaders/x`: malformed:";
    let empty = "a path or linkpath in a PAX header is empty or has a NUL";
    check(&[pax(&[("path", "")]), text("x", "")], &format!("{named} {empty}"));
    check(&[pax(&[("path", "a\0b")]), text("x", "")], &format!("{named} {empty}"));
    check(&[pax(&[("linkpath", "a\0")]), symlink("x", "y")], &format!("{named} {empty}"));
    let number = "the size in a PAX header is not a number";
    for size in ["-1", "+1", "", "0x1", "99999999999999999999999"] {
        check(&[pax(&[("size", size)]), text("x", "")], &format!("{named} {number}"));
    }
    let twice = "an extension header says the same thing twice";
    check(&[pax(&[("path", "a"), ("path", "b")]), text("x", "")], &format!("{named} {twice}"));
    let form = "a PAX record is not of the form `length key=value`";
    for record in
        ["x", "5 a=b", "4 a=b\n", "7 =abc\n", "99 a=b\n", "-6 a=b\n", " a=b\n", "3 \n", "0 a=b\n"]
    {
        let broken = TarEntry { content: record.into(), ..pax(&[]) };
        check(&[broken, text("x", "")], &format!("{named} {form}"));
    }
    check(
        &[pax(&[("uid", "1")]), pax(&[("uid", "1")]), text("x", "")],
        &format!("{named} one entry has two extension headers"),
    );
    check(&[pax(&[("path", "a")])], "malformed: an extension header is followed by no entry");
    let long = TarEntry { content: b"long\0".to_vec(), ..entry(b'L', "././@LongLink") };
    check(
        &[pax(&[("path", "a")]), long, text("x", "")],
        &format!("`././@LongLink`: malformed: {twice}"),
    );
}

#[test]
fn a_global_header_names_and_measures_nothing() {
    for key in ["path", "linkpath", "size"] {
        let global = TarEntry { flag: b'g', ..pax(&[(key, "1")]) };
        check(
            &[global, text("x", "")],
            "`PaxHeaders/x`: malformed: a global PAX header gives a path, linkpath or size to every entry",
        );
    }
    let sparse = TarEntry { flag: b'g', ..pax(&[("GNU.sparse.major", "1")]) };
    check(&[sparse, text("x", "")], "`PaxHeaders/x`: it is a sparse file");
}

#[test]
fn headers_that_are_none_are_refused() {
    let mut bytes = tar(&[text("a", "")]);
    bytes[0] = b'b';
    assert_eq!(World::new().refusal(Kind::Tar, &bytes), "the checksum does not match");
    check(
        &[TarEntry { magic: *b"nothing\0", ..text("a", "") }],
        "malformed: a tar header is of no known format",
    );
    let size = |size: &[u8]| TarEntry { size: Some(size.to_vec()), ..text("a", "") };
    for field in
        [&b"-0000000001\0"[..], b"0000000008\0\0", b"0000 000001\0", &[0xff; 12], &[0x80; 12]]
    {
        check(&[size(field)], "`a`: malformed: the size in a tar header is not a number");
    }
    let mode = TarEntry { mode: "rwxr-xr-", ..text("a", "") };
    check(&[mode], "`a`: malformed: the mode in a tar header is not a number");
    let sized = TarEntry { content: b"x".to_vec(), ..directory("d") };
    check(&[sized], "`d`: malformed: a directory has a size");
    let sized = TarEntry { content: b"x".to_vec(), ..symlink("l", "t") };
    check(&[sized], "`l`: malformed: a link has a size");
}

#[test]
fn an_archive_cut_off_anywhere_is_refused() {
    let world = World::new();
    let content = vec![b'x'; 2_000_000];
    let bytes = tar(&[directory("d"), text("d/large", content), text("e", "x")]);
    let end = bytes.len() - 512;
    for length in [0, 1, 511, 512, 513, 1024, 1025, 1_000_000, 2_001_408, end - 512, end - 1, end] {
        let message = world.refusal(Kind::Tar, &bytes[..length]);
        assert!(message.ends_with("the archive is truncated"), "{length}: {message}");
    }
    let message = world.refusal(Kind::Tar, &bytes[..1_000_000]);
    assert_eq!(message, "`d/large`: the archive is truncated");
    world.unpack(Kind::Tar, &bytes).unwrap();
}

#[test]
fn only_zeros_may_follow_the_end() {
    let world = World::new();
    let mut bytes = tar(&[text("a", "")]);
    bytes.resize(bytes.len() + 10_000, 0);
    world.unpack(Kind::Tar, &bytes).unwrap();
    bytes.push(1);
    assert_eq!(world.refusal(Kind::Tar, &bytes), "something follows the end of the archive");
    let two = [tar(&[text("a", "")]), tar(&[text("b", "")])].concat();
    assert_eq!(world.refusal(Kind::Tar, &two), "something follows the end of the archive");
    let lone_zero = [&tar(&[text("a", "")])[..1024 - 512 + 512], &tar(&[text("b", "")])].concat();
    assert_eq!(world.refusal(Kind::Tar, &lone_zero), "something follows the end of the archive");
}

#[test]
fn every_limit_is_kept_and_named() {
    let two = [text("a", "x"), text("b", "x")];
    check_limited(|l| l.entries = 1, &two, "`b`: more than 1 entries, which is the limit");
    let deep = [text("a/b/c", "")];
    check_limited(
        |l| l.depth = 2,
        &deep,
        "`a/b/c`: more than 2 names in a path, which is the limit",
    );
    check_limited(|l| l.entries = 2, &deep, "`a/b/c`: more than 2 entries, which is the limit");
    check_limited(
        |l| l.path_bytes = 4,
        &deep,
        "`a/b/c`: more than 4 bytes in a path, which is the limit",
    );
    check_limited(
        |l| l.names_bytes = 1,
        &two,
        "`b`: more than 1 bytes in all names, which is the limit",
    );
    check_limited(
        |l| l.names_bytes = 3,
        &[symlink("l", "target")],
        "`l`: more than 3 bytes in all names, which is the limit",
    );
    let large = [text("large", "0123456789")];
    check_limited(
        |l| l.file_bytes = 9,
        &large,
        "`large`: more than 9 bytes in a file, which is the limit",
    );
    check_limited(
        |l| l.unpacked_bytes = 1024,
        &[text("large", vec![0; 2_000_000])],
        "more than 1024 unpacked bytes, which is the limit",
    );
    check_limited(
        |l| l.extension_bytes = 4,
        &[pax(&[("path", "a")]), text("x", "")],
        "`PaxHeaders/x`: more than 4 bytes in an extension header, which is the limit",
    );
}

#[test]
fn a_size_that_is_only_announced_costs_nothing() {
    let huge = TarEntry { size: Some(b"77777777777\0".to_vec()), ..text("huge", "") };
    check(&[huge], "`huge`: the archive is truncated");
    let beyond = TarEntry {
        size: Some(b"\x80\0\0\0\0\x7f\xff\xff\xff\xff\xff\xff".to_vec()),
        ..text("huge", "")
    };
    check(&[beyond], "`huge`: more than 17179869184 bytes in a file, which is the limit");
}

#[test]
fn a_prefix_that_is_not_there_or_no_directory_is_refused() {
    let world = World::stripping("p/q");
    let absent = "nothing lies below `p/q`, which was to be stripped";
    assert_eq!(world.refusal(Kind::Tar, &tar(&[text("a", "")])), absent);
    assert_eq!(world.refusal(Kind::Tar, &tar(&[directory("p")])), absent);
    let link = tar(&[symlink("p", "/"), text("p/q/r", "")]);
    assert_eq!(
        world.refusal(Kind::Tar, &link),
        "`p`: `p/q` was to be stripped and is not a directory"
    );
    let file = tar(&[text("p/q", "")]);
    assert_eq!(
        world.refusal(Kind::Tar, &file),
        "`p/q`: `p/q` was to be stripped and is not a directory"
    );
}
