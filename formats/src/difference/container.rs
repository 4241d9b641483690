//! Things that are made of parts (archives, programs), compared part by part.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Cause;

/// How much of an order of names is shown.
const NAMES_SHOWN: usize = 4;

/// A member of an archive or a section of a program.
pub(super) struct Part<'a> {
    /// What it is called, in words that can be shown.
    pub(super) name: String,
    /// What is said of it.
    pub(super) fields: Vec<Field>,
    /// What it holds.
    pub(super) data: Cow<'a, [u8]>,
    /// What makes it differ, where its name says so.
    pub(super) cause: Option<Cause>,
}

/// Something that is said of a part: its time, its owner.
pub(super) struct Field {
    name: &'static str,
    value: String,
    cause: Option<Cause>,
}

impl Field {
    pub(super) fn new(name: &'static str, value: &impl ToString, cause: Option<Cause>) -> Self {
        Self { name, value: value.to_string(), cause }
    }
}

/// One way in which two sequences of parts differ.
pub(super) enum Difference<'a> {
    /// Something that is said of a part.
    Field { part: String, field: &'static str, left: String, right: String, cause: Option<Cause> },
    /// What a part holds.
    Data { part: String, left: &'a [u8], right: &'a [u8], cause: Option<Cause> },
    /// A part that only one of them has.
    Only { part: String, left: bool },
    /// The same parts in another order.
    Order { left: String, right: String },
}

/// Returns how two sequences of parts differ.
pub(super) fn compare<'a>(left: &'a [Part<'_>], right: &'a [Part<'_>]) -> Vec<Difference<'a>> {
    let mut differences = Vec::new();
    let (left_parts, right_parts) = (numbered(left), numbered(right));
    let same_names = left_parts.keys().eq(right_parts.keys());
    if same_names && names(left).ne(names(right)) {
        let first = names(left).zip(names(right)).take_while(|(left, right)| left == right).count();
        let shown = |parts: &[Part<'_>]| {
            let shown: Vec<_> = names(parts).skip(first).take(NAMES_SHOWN).collect();
            shown.join(", ")
        };
        differences.push(Difference::Order { left: shown(left), right: shown(right) });
    }
    for (key, part) in &left_parts {
        match right_parts.get(key) {
            Some(other) => compare_part(part, other, &mut differences),
            None => differences.push(Difference::Only { part: part.name.clone(), left: true }),
        }
    }
    for (key, part) in &right_parts {
        if !left_parts.contains_key(key) {
            differences.push(Difference::Only { part: part.name.clone(), left: false });
        }
    }
    differences
}

fn compare_part<'a>(
    left: &'a Part<'_>,
    right: &'a Part<'_>,
    differences: &mut Vec<Difference<'a>>,
) {
    for (field, other) in left.fields.iter().zip(&right.fields) {
        if field.value != other.value {
            differences.push(Difference::Field {
                part: left.name.clone(),
                field: field.name,
                left: field.value.clone(),
                right: other.value.clone(),
                cause: field.cause,
            });
        }
    }
    if left.data != right.data {
        let (part, cause) = (left.name.clone(), left.cause);
        differences.push(Difference::Data { part, left: &left.data, right: &right.data, cause });
    }
}

fn names<'a>(parts: &'a [Part<'_>]) -> impl Iterator<Item = &'a str> {
    parts.iter().map(|part| part.name.as_str())
}

/// Returns the parts by name, and by how many of that name came before.
fn numbered<'a, 'b>(parts: &'a [Part<'b>]) -> BTreeMap<(&'a str, usize), &'a Part<'b>> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for part in parts {
        let number = seen.entry(&part.name).or_default();
        found.insert((part.name.as_str(), *number), part);
        *number += 1;
    }
    found
}
