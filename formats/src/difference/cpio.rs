//! The members of a cpio archive of the kind that kernels and packages use (`newc`).

use std::borrow::Cow;

use super::container::{Field, Part};
use super::{Cause, excerpt};

const MAGICS: [&[u8]; 2] = [b"070701", b"070702"];
const HEADER_BYTES: usize = 110;

/// The name of what stands at the end.
const END: &[u8] = b"TRAILER!!!";

/// Returns the members, if this is such an archive; they end where it cannot be read any more.
pub(super) fn parts(bytes: &[u8]) -> Option<Vec<Part<'_>>> {
    if !MAGICS.contains(&bytes.get(..6)?) {
        return None;
    }
    let mut parts = Vec::new();
    let mut at = 0;
    while let Some((part, next)) = member(bytes, at) {
        parts.push(part);
        at = next;
    }
    Some(parts)
}

/// Returns the member at a place, and where the next one begins; nothing at the end.
fn member(bytes: &[u8], at: usize) -> Option<(Part<'_>, usize)> {
    let header = bytes.get(at..at.checked_add(HEADER_BYTES)?)?;
    if !MAGICS.contains(&&header[..6]) {
        return None;
    }
    let number = |index: usize| {
        let from = 6 + 8 * index;
        u32::from_str_radix(str::from_utf8(&header[from..from + 8]).ok()?, 16).ok()
    };
    let name_at = at + HEADER_BYTES;
    let name_end = name_at.checked_add(usize::try_from(number(11)?).ok()?)?;
    let name = bytes.get(name_at..name_end)?;
    let name = name.strip_suffix(b"\0").unwrap_or(name);
    if name == END {
        return None;
    }
    let data_at = name_end.checked_next_multiple_of(4)?;
    let data_end = data_at.checked_add(usize::try_from(number(6)?).ok()?)?;
    let field = |name, index, cause| Field::new(name, &number(index).unwrap_or_default(), cause);
    let part = Part {
        name: format!("member {}", excerpt::words(name)),
        fields: vec![
            field("time", 5, Some(Cause::Time)),
            field("mode", 1, Some(Cause::Umask)),
            field("owner", 2, Some(Cause::User)),
            field("group", 3, Some(Cause::User)),
            field("inode", 0, Some(Cause::Inode)),
            field("links", 4, None),
            field("device", 8, Some(Cause::Inode)),
        ],
        data: Cow::Borrowed(bytes.get(data_at..data_end)?),
        cause: None,
    };
    Some((part, data_end.checked_next_multiple_of(4)?))
}
