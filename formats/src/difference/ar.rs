//! The members of an `ar` archive: static libraries and Debian packages.

use std::borrow::Cow;

use super::container::{Field, Part};
use super::{Cause, excerpt};

const MAGIC: &[u8] = b"!<arch>\n";
const HEADER_BYTES: usize = 60;

/// Returns the members, if this is an `ar` archive; what cannot be read any more is a member without a name.
pub(super) fn parts(bytes: &[u8]) -> Option<Vec<Part<'_>>> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let mut parts = Vec::new();
    let mut long_names: &[u8] = &[];
    while let Some((header, after)) = rest.split_at_checked(HEADER_BYTES) {
        let size = field(&header[48..58]).parse().unwrap_or(usize::MAX);
        let Some((data, after)) = after.split_at_checked(size) else { break };
        let name = header[..16].trim_ascii_end();
        if name == b"//" {
            long_names = data;
        }
        parts.push(Part {
            name: format!("member {}", member_name(name, long_names)),
            fields: vec![
                Field::new("time", &field(&header[16..28]), Some(Cause::Time)),
                Field::new("owner", &field(&header[28..34]), Some(Cause::User)),
                Field::new("group", &field(&header[34..40]), Some(Cause::User)),
                Field::new("mode", &field(&header[40..48]), Some(Cause::Umask)),
            ],
            data: Cow::Borrowed(data),
            cause: None,
        });
        rest = after.get(size % 2..).unwrap_or_default();
    }
    Some(parts)
}

fn field(bytes: &[u8]) -> String {
    excerpt::words(bytes.trim_ascii())
}

/// GNU ar ends names with a slash, and keeps long ones in a member of their own: `/` and where.
fn member_name(name: &[u8], long_names: &[u8]) -> String {
    match name {
        b"/" => return "(symbol table)".to_owned(),
        b"//" => return "(long names)".to_owned(),
        _ => {}
    }
    let long = name.strip_prefix(b"/").and_then(|at| str::from_utf8(at).ok()?.parse().ok());
    if let Some(rest) = long.and_then(|at: usize| long_names.get(at..)) {
        let name = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        return excerpt::words(name.strip_suffix(b"/").unwrap_or(name));
    }
    excerpt::words(name.strip_suffix(b"/").unwrap_or(name))
}
