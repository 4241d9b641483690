//! Packages whose outside is wrong are refused; their inside is a tar archive like any other.

use formats::Kind;

use crate::raw::{ar, deb, tar, text};
use crate::support::{World, gz};

fn check(bytes: &[u8], message: &str) {
    assert_eq!(World::new().refusal(Kind::Deb, bytes), message);
}

const VERSION: (&str, &[u8]) = ("debian-binary", b"2.0\n");
const CONTROL: (&str, &[u8]) = ("control.tar.xz", b"");

#[test]
fn members_must_come_in_order() {
    let data = tar(&[text("a", "")]);
    let data = ("data.tar", &data[..]);
    check(
        &ar(&[CONTROL, data]),
        "`control.tar.xz`: malformed: it stands where debian-binary should be",
    );
    check(&ar(&[VERSION, data]), "`data.tar`: malformed: it stands where control.tar should be");
    check(
        &ar(&[VERSION, CONTROL, ("other", b""), data]),
        "`other`: malformed: it stands where data.tar should be",
    );
    check(
        &ar(&[("_first", b""), VERSION, CONTROL, data]),
        "`_first`: malformed: it stands where debian-binary should be",
    );
    check(
        &ar(&[VERSION, CONTROL, data, data]),
        "`data.tar`: something follows the end of the archive",
    );
    check(
        &ar(&[VERSION, CONTROL, data, ("x", b"")]),
        "`x`: something follows the end of the archive",
    );
}

#[test]
fn a_package_without_all_members_is_refused() {
    for members in [&[][..], &[VERSION], &[VERSION, CONTROL], &[VERSION, CONTROL, ("_x", b"")]] {
        check(&ar(members), "the archive is truncated");
    }
    check(b"", "the archive is truncated");
    check(b"not a package at all", "malformed: it does not start as an ar archive");
}

#[test]
fn another_version_or_codec_is_refused() {
    let data = tar(&[]);
    check(
        &ar(&[("debian-binary", b"3.0\n"), CONTROL, ("data.tar", &data)]),
        "`debian-binary`: malformed: the package has another format than 2",
    );
    for name in ["data.tar.lzma", "data.tar.", "data.tarx", "data"] {
        check(
            &deb(name, &data),
            &format!("`{name}`: malformed: it stands where data.tar should be"),
        );
    }
    for (name, data) in
        [("data.tar.gz", data.clone()), ("data.tar", gz(&data)), ("data.tar.xz", gz(&data))]
    {
        let message = format!("`{name}`: malformed: it is not compressed as its name says");
        check(&deb(name, &data), &message);
    }
}

#[test]
fn refusals_name_the_file_in_the_package() {
    check(
        &deb("data.tar.gz", &gz(&tar(&[text("./../evil", "")]))),
        "`./../evil`: `..` is not a name",
    );
}

#[test]
fn broken_headers_are_refused() {
    let good = deb("data.tar", &tar(&[]));
    let broken = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    check(&broken(8 + 58, b'x'), "malformed: no ar header where one should be");
    for byte in [b'-', b'+', b'x', b' '] {
        check(&broken(8 + 48, byte), "malformed: the size of an ar member is not a number");
    }
    let odd = ar(&[VERSION, ("control.tar", b"odd"), ("data.tar", &tar(&[]))]);
    let mut bytes = odd.clone();
    let padding = 8 + 60 + 4 + 60 + 3;
    assert_eq!(bytes[padding], b'\n');
    bytes[padding] = b'x';
    check(&bytes, "`control.tar`: malformed: a member of odd size is not followed by a newline");
}

#[test]
fn a_package_cut_off_anywhere_is_refused() {
    let world = World::new();
    for data in [("data.tar", tar(&[text("a", "x")])), ("data.tar.gz", gz(&tar(&[text("a", "x")])))]
    {
        let bytes = deb(data.0, &data.1);
        let end = bytes.len() - usize::from(data.1.len() % 2 == 1);
        for length in 0..end {
            let message = world.refusal(Kind::Deb, &bytes[..length]);
            assert!(message.ends_with("the archive is truncated"), "{length}: {message}");
        }
    }
}

#[test]
fn garbage_after_the_compressed_data_is_refused() {
    let data = [gz(&tar(&[text("a", "")])), b"garbage".to_vec()].concat();
    check(&deb("data.tar.gz", &data), "something follows the end of the archive");
    let padded = [tar(&[text("a", "")]), b"garbage".to_vec()].concat();
    check(&deb("data.tar", &padded), "something follows the end of the archive");
}
