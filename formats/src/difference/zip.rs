//! The members of a zip archive, read forgivingly: here nothing is unpacked to a place that it names.

use std::borrow::Cow;
use std::io::Read as _;

use flate2::read::DeflateDecoder;

use super::container::Field;
use super::{Cause, excerpt};

const END: &[u8] = b"PK\x05\x06";
const END_BYTES: usize = 22;
const CENTRAL: &[u8] = b"PK\x01\x02";
const CENTRAL_BYTES: usize = 46;
const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_BYTES: usize = 30;

/// How far from the end its record may stand: a comment follows it.
const COMMENT_BYTES_MAX: usize = 0xffff;

/// What the central directory says of a member.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
    deflated: bool,
    local: usize,
    compressed: usize,
}

/// Returns the members, if this is a zip archive; they end where its directory cannot be read any more.
pub(super) fn entries(bytes: &[u8]) -> Option<Vec<Entry>> {
    if !bytes.starts_with(LOCAL) && !bytes.starts_with(END) {
        return None;
    }
    let tail = bytes.len().saturating_sub(END_BYTES + COMMENT_BYTES_MAX);
    let end = bytes[tail..].windows(END.len()).rposition(|window| window == END)? + tail;
    let mut at = number(bytes, end + 16, 4)?;
    let mut entries = Vec::new();
    while let Some((entry, next)) = central(bytes, at) {
        entries.push(entry);
        at = next;
    }
    Some(entries)
}

fn central(bytes: &[u8], at: usize) -> Option<(Entry, usize)> {
    let header = bytes.get(at..at.checked_add(CENTRAL_BYTES)?)?;
    if !header.starts_with(CENTRAL) {
        return None;
    }
    let of = |at, length| number(header, at, length);
    let name_at = at + CENTRAL_BYTES;
    let extra_at = name_at.checked_add(of(28, 2)?)?;
    let comment_at = extra_at.checked_add(of(30, 2)?)?;
    let time = dos_time(of(12, 2)?, of(14, 2)?);
    let entry = Entry {
        name: format!("member {}", excerpt::words(bytes.get(name_at..extra_at)?)),
        fields: vec![
            Field::new("time", &time, Some(Cause::Time)),
            Field::new("mode", &format!("{:o}", of(38, 4)? >> 16), Some(Cause::Umask)),
            Field::new("extra fields", &hex(bytes.get(extra_at..comment_at)?), Some(Cause::Time)),
            Field::new("compression method", &of(10, 2)?, None),
        ],
        deflated: of(10, 2)? == 8,
        local: of(42, 4)?,
        compressed: of(20, 4)?,
    };
    Some((entry, comment_at.checked_add(of(32, 2)?)?))
}

impl Entry {
    /// Returns what the member holds, if that is no more than `max` bytes.
    pub(super) fn data<'a>(&self, archive: &'a [u8], max: u64) -> Option<Cow<'a, [u8]>> {
        let header = archive.get(self.local..self.local.checked_add(LOCAL_BYTES)?)?;
        if !header.starts_with(LOCAL) {
            return None;
        }
        let from = self.local + LOCAL_BYTES + number(header, 26, 2)? + number(header, 28, 2)?;
        let data = archive.get(from..from.checked_add(self.compressed)?)?;
        if !self.deflated {
            return (data.len() as u64 <= max).then_some(Cow::Borrowed(data));
        }
        let mut unpacked = Vec::new();
        DeflateDecoder::new(data).take(max).read_to_end(&mut unpacked).ok()?;
        Some(Cow::Owned(unpacked))
    }
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte)))
}

/// Returns the time as MS-DOS packed it.
fn dos_time(time: usize, date: usize) -> String {
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        1980 + (date >> 9),
        date >> 5 & 15,
        date & 31,
        time >> 11,
        time >> 5 & 63,
        (time & 31) * 2
    )
}

fn hex(bytes: &[u8]) -> String {
    /// How many bytes are shown; the rest is only compared by its length.
    const MAX: usize = 32;
    let shown: Vec<_> = bytes.iter().take(MAX).map(|byte| format!("{byte:02x}")).collect();
    let shown = shown.concat();
    if bytes.len() > MAX { format!("{shown}… ({} bytes)", bytes.len()) } else { shown }
}
