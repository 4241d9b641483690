//! The members of a tar archive, read forgivingly: here nothing is unpacked.

use std::borrow::Cow;

use super::container::{Field, Part};
use super::{Cause, excerpt};
use crate::pax::Extension;
use crate::tarball::{BLOCK_BYTES, number, until_nul};

/// Returns the members, if this is a tar archive; they end where it cannot be read any more.
pub(super) fn parts(bytes: &[u8]) -> Option<Vec<Part<'_>>> {
    if bytes.get(257..262)? != b"ustar" {
        return None;
    }
    let mut rest = bytes;
    let mut parts = Vec::new();
    let mut before = Before::default();
    while let Some((header, after)) = rest.split_at_checked(BLOCK_BYTES) {
        if &header[257..262] != b"ustar" {
            break;
        }
        let size = number(&header[124..136]).and_then(|size| usize::try_from(size).ok());
        let Some((data, after)) = size.and_then(|size| after.split_at_checked(size)) else { break };
        let padding = data.len().next_multiple_of(BLOCK_BYTES) - data.len();
        rest = after.get(padding..).unwrap_or_default();
        match header[156] {
            b'x' | b'g' | b'L' | b'K' => before.read(header[156], data),
            _ => parts.push(member(header, data, std::mem::take(&mut before))),
        }
    }
    Some(parts)
}

/// What stands in headers before a member and belongs to it.
#[derive(Default)]
struct Before {
    name: Option<Vec<u8>>,
    raw: Vec<u8>,
}

impl Before {
    fn read(&mut self, kind: u8, data: &[u8]) {
        if kind == b'L' {
            self.name = Some(until_nul(data).to_owned());
            return;
        }
        let mut extension = Extension::default();
        if kind == b'x' && extension.read(data).is_ok() {
            self.name = extension.path.or(self.name.take());
        }
        self.raw.extend_from_slice(data);
    }
}

fn member<'a>(header: &[u8], data: &'a [u8], before: Before) -> Part<'a> {
    let (name, prefix) = (until_nul(&header[..100]), until_nul(&header[345..500]));
    let name = before.name.unwrap_or_else(|| match (&header[257..263], prefix) {
        (b"ustar\0", prefix) if !prefix.is_empty() => [prefix, b"/", name].concat(),
        _ => name.to_owned(),
    });
    let field = |name, range: std::ops::Range<usize>, cause| {
        Field::new(name, &excerpt::words(until_nul(&header[range]).trim_ascii()), cause)
    };
    Part {
        name: format!("member {}", excerpt::words(&name)),
        fields: vec![
            field("time", 136..148, Some(Cause::Time)),
            field("mode", 100..108, Some(Cause::Umask)),
            field("owner", 108..116, Some(Cause::User)),
            field("group", 116..124, Some(Cause::User)),
            field("owner's name", 265..297, Some(Cause::User)),
            field("group's name", 297..329, Some(Cause::User)),
            field("kind", 156..157, None),
            field("target", 157..257, None),
            Field::new("extended header", &excerpt::words(&before.raw), None),
        ],
        data: Cow::Borrowed(data),
        cause: None,
    }
}
