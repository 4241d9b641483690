//! The sections of a program, module or object file.

use std::borrow::Cow;

use object::{Object as _, ObjectSection as _};

use super::container::Part;
use super::{Cause, excerpt};

/// What an ELF file begins with.
const MAGIC: &[u8; 4] = b"\x7fELF";

/// How many sections are compared: with one per function, the largest kernels have a few tens of thousands.
const SECTIONS_MAX: usize = 100_000;

/// Returns the sections, if this is an ELF file that can be read.
pub(super) fn parts(bytes: &[u8]) -> Option<Vec<Part<'_>>> {
    if !bytes.starts_with(MAGIC) {
        return None;
    }
    let file = object::File::parse(bytes).ok()?;
    let sections: Vec<_> = file.sections().take(SECTIONS_MAX).collect();
    // Sections that all claim the whole file would take for ever to compare.
    let claimed = sections
        .iter()
        .map(|it| it.file_range().map_or(0, |(_, size)| size))
        .fold(0, u64::saturating_add);
    if claimed > bytes.len() as u64 {
        return None;
    }
    Some(sections.iter().map(part).collect())
}

fn part<'a>(section: &object::Section<'a, '_>) -> Part<'a> {
    let name = section.name_bytes().unwrap_or_default();
    Part {
        name: format!("section {}", excerpt::words(name)),
        fields: Vec::new(),
        data: Cow::Borrowed(section.data().unwrap_or_default()),
        cause: cause_of(name),
    }
}

/// Returns what makes a section of that name differ, where the name says so.
fn cause_of(name: &[u8]) -> Option<Cause> {
    match name {
        b".note.gnu.build-id" => Some(Cause::BuildId),
        b".gnu_debuglink" => Some(Cause::DebugInformation),
        name if name.starts_with(b".debug_") || name.starts_with(b".zdebug_") => {
            Some(Cause::DebugInformation)
        }
        _ => None,
    }
}
