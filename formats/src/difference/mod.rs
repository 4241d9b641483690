//! What differs between two files: where inside them, and what has probably made it so.
//!
//! Archives, compressed data and programs are looked into, within limits. What cannot be parsed is compared as
//! bytes: an answer there always is.

mod ar;
mod cause;
mod container;
mod cpio;
mod elf;
mod excerpt;
mod tar;
mod zip;

use std::borrow::Cow;
use std::io::Read as _;

pub use cause::{Cause, Hint};

use crate::{Codec, Limits, decompress};
use container::Part;

/// How many findings are made at most: a person reads the first few, and one cause makes many.
pub const FINDINGS_MAX: usize = 16;

/// How deep archives in archives are looked into: a module in a tar in a package in a repository is four.
pub const DEPTH_MAX: usize = 8;

/// How many bytes are decompressed for one explanation, both sides and all levels together.
pub const UNPACKED_BYTES_MAX: u64 = 1 << 30;

/// One place where two files differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where: what leads to it, outermost first (`member data.tar`, `section .text`).
    pub place: Vec<String>,
    /// The first byte there that differs; nothing where it is a field or a whole part that differs.
    pub offset: Option<u64>,
    /// What the one file has there, in words that can be shown.
    pub left: String,
    /// What the other one has.
    pub right: String,
    /// What has probably made it so.
    pub cause: Option<Cause>,
}

/// What an explanation may cost; the default is the constants.
#[derive(Clone, Copy, Debug)]
pub struct DifferenceLimits {
    /// See [`FINDINGS_MAX`].
    pub findings: usize,
    /// See [`DEPTH_MAX`].
    pub depth: usize,
    /// See [`UNPACKED_BYTES_MAX`].
    pub unpacked_bytes: u64,
}

impl Default for DifferenceLimits {
    fn default() -> Self {
        Self { findings: FINDINGS_MAX, depth: DEPTH_MAX, unpacked_bytes: UNPACKED_BYTES_MAX }
    }
}

/// Returns where two files differ, the likeliest causes first; nothing only if they are equal.
///
/// `hints` are words that only one of the two runs could know.
pub fn explain(
    left: &[u8],
    right: &[u8],
    hints: &[Hint],
    limits: DifferenceLimits,
) -> Vec<Finding> {
    let unpacked_left = limits.unpacked_bytes;
    let mut explainer =
        Explainer { hints, limits, unpacked_left, place: Vec::new(), findings: Vec::new() };
    explainer.compare(left, right);
    // A build id is the sum of all else: what else differs says why.
    explainer.findings.sort_by_key(|finding| finding.cause.is_some_and(Cause::is_consequence));
    explainer.findings
}

struct Explainer<'a> {
    hints: &'a [Hint],
    limits: DifferenceLimits,
    unpacked_left: u64,
    place: Vec<String>,
    findings: Vec<Finding>,
}

impl Explainer<'_> {
    fn is_full(&self) -> bool {
        self.findings.len() >= self.limits.findings
    }

    fn compare(&mut self, left: &[u8], right: &[u8]) {
        if left == right || self.is_full() {
            return;
        }
        let before = self.findings.len();
        if self.place.len() < self.limits.depth {
            self.look_inside(left, right);
        }
        if self.findings.len() == before {
            self.compare_bytes(left, right);
        }
    }

    fn look_inside(&mut self, left: &[u8], right: &[u8]) {
        let codec = Codec::sniff(left);
        if codec != Codec::Plain && codec == Codec::sniff(right) {
            return self.compare_compressed(codec, left, right);
        }
        let parsers = [elf::parts, ar::parts, tar::parts, cpio::parts];
        for parts in parsers {
            if let (Some(left), Some(right)) = (parts(left), parts(right)) {
                return self.compare_parts(&left, &right);
            }
        }
        if let (Some(left_parts), Some(right_parts)) = (zip::entries(left), zip::entries(right)) {
            let left = self.unzip(left, left_parts);
            let right = self.unzip(right, right_parts);
            self.compare_parts(&left, &right);
        }
    }

    fn compare_compressed(&mut self, codec: Codec, left: &[u8], right: &[u8]) {
        if codec == Codec::Gzip {
            let (left, right) = (gzip_header(left), gzip_header(right));
            self.compare_parts(&[left], &[right]);
        }
        let (Some(left), Some(right)) = (self.unpack(left), self.unpack(right)) else { return };
        if left == right {
            if self.findings.is_empty() {
                let text = || "the same content".to_owned();
                self.find(codec.name(), None, text(), text(), Some(Cause::Compression));
            }
            return;
        }
        self.within(format!("in {}", codec.name()), |it| it.compare(&left, &right));
    }

    fn compare_parts(&mut self, left: &[Part<'_>], right: &[Part<'_>]) {
        for difference in container::compare(left, right) {
            if self.is_full() {
                return;
            }
            match difference {
                container::Difference::Field { part, field, left, right, cause } => {
                    self.within(part, |it| it.find(field, None, left, right, cause));
                }
                container::Difference::Data { part, left, right, cause } => {
                    let before = self.findings.len();
                    self.within(part, |it| it.compare(left, right));
                    for finding in &mut self.findings[before..] {
                        finding.cause = finding.cause.or(cause);
                        if cause.is_some_and(Cause::is_consequence) {
                            finding.cause = cause;
                        }
                    }
                }
                container::Difference::Only { part, left } => {
                    let (there, absent) = ("there".to_owned(), "not there".to_owned());
                    let (left, right) = if left { (there, absent) } else { (absent, there) };
                    self.within(part, |it| it.find("", None, left, right, None));
                }
                container::Difference::Order { left, right } => {
                    self.find("order of members", None, left, right, Some(Cause::Order));
                }
            }
        }
    }

    fn compare_bytes(&mut self, left: &[u8], right: &[u8]) {
        let offset = excerpt::first_difference(left, right);
        let cause = cause::guess(left, right, offset, self.hints);
        let (left, right) = (excerpt::show(left, offset), excerpt::show(right, offset));
        self.find("", Some(offset as u64), left, right, cause);
    }

    fn find(
        &mut self,
        place: &str,
        offset: Option<u64>,
        left: String,
        right: String,
        cause: Option<Cause>,
    ) {
        if self.is_full() {
            return;
        }
        let named = (!place.is_empty()).then(|| place.to_owned());
        let place = self.place.iter().cloned().chain(named).collect();
        self.findings.push(Finding { place, offset, left, right, cause });
    }

    fn within(&mut self, place: String, look: impl FnOnce(&mut Self)) {
        let named = !place.is_empty();
        if named {
            self.place.push(place);
        }
        look(self);
        if named {
            self.place.pop();
        }
    }

    /// Returns what compressed bytes hold, or nothing if that is damaged or more than there is room for.
    fn unpack(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let limits = Limits { unpacked_bytes: self.unpacked_left, ..Limits::default() };
        let mut unpacked = Vec::new();
        let mut reader = decompress(bytes, &limits).ok()?;
        reader.read_to_end(&mut unpacked).ok()?;
        self.unpacked_left = self.unpacked_left.saturating_sub(unpacked.len() as u64);
        Some(unpacked)
    }

    fn unzip<'a>(&mut self, archive: &'a [u8], entries: Vec<zip::Entry>) -> Vec<Part<'a>> {
        let mut parts = Vec::new();
        for entry in entries {
            let data = entry.data(archive, self.unpacked_left).unwrap_or_default();
            // Stored members count too: a hostile directory can name the same bytes a thousand times.
            self.unpacked_left = self.unpacked_left.saturating_sub(data.len() as u64);
            parts.push(Part { name: entry.name, fields: entry.fields, data, cause: None });
        }
        parts
    }
}

/// Returns the header of gzip data as a part: what it says of time, name and system.
fn gzip_header(bytes: &[u8]) -> Part<'static> {
    /// The bit of the flags that says that a name follows; another that more fields stand before it.
    const HAS_NAME: u8 = 8;
    const HAS_EXTRA: u8 = 4;
    let at = |place: usize| bytes.get(place).copied().unwrap_or_default();
    let time = u32::from_le_bytes([at(4), at(5), at(6), at(7)]);
    let name = if at(3) & HAS_NAME != 0 && at(3) & HAS_EXTRA == 0 {
        let rest = bytes.get(10..).unwrap_or_default();
        excerpt::words(rest.split(|byte| *byte == 0).next().unwrap_or_default())
    } else {
        String::new()
    };
    Part {
        name: "gzip header".to_owned(),
        fields: vec![
            container::Field::new("time", &time, Some(Cause::Time)),
            container::Field::new("name", &name, None),
            container::Field::new("level and system", &format!("{} {}", at(8), at(9)), None),
        ],
        data: Cow::Borrowed(&[]),
        cause: None,
    }
}
