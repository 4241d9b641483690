//! Patterns of paths: `*` within a name, `**` for any number of names.

use std::fmt;

use model::{InvalidPath, PathSegment};
use serde::{Deserialize, Serialize};

/// The most names in a pattern: no path of an archive has more.
pub(crate) const GLOB_SEGMENTS_MAX: usize = crate::limits::DEPTH_MAX;

/// A pattern of paths below a root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Glob {
    segments: Vec<Segment>,
}

/// What one name of a path must be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// `**`: any number of names; at the end of a pattern, at least one.
    AnyDepth,
    /// A name in which each `*` stands for any characters, or none.
    Name(String),
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGlob {
    /// A name in the pattern is not one that a tree can hold.
    #[error("the pattern `{pattern}` is not possible")]
    Name {
        /// The pattern.
        pattern: String,
        /// What is wrong with a name in it.
        source: InvalidPath,
    },
    /// `**` stands beside other characters.
    #[error("in the pattern `{0}`, `**` is not a whole name")]
    AnyDepth(String),
    /// The pattern is longer than any path.
    #[error("the pattern `{0}` has more than {GLOB_SEGMENTS_MAX} names")]
    Long(String),
}

impl Glob {
    /// Parses a pattern.
    pub fn new(pattern: &str) -> Result<Self, InvalidGlob> {
        let segments: Vec<_> =
            pattern.split('/').map(|name| parse(pattern, name)).collect::<Result<_, _>>()?;
        if segments.len() > GLOB_SEGMENTS_MAX {
            return Err(InvalidGlob::Long(pattern.to_owned()));
        }
        Ok(Self { segments })
    }

    /// Returns what the pattern is looking for below the root.
    pub(crate) fn search(&self) -> Search<'_> {
        Search { rest: &self.segments }
    }
}

fn parse(pattern: &str, name: &str) -> Result<Segment, InvalidGlob> {
    if name == "**" {
        return Ok(Segment::AnyDepth);
    }
    if name.contains("**") {
        return Err(InvalidGlob::AnyDepth(pattern.to_owned()));
    }
    let name = PathSegment::new(name)
        .map_err(|source| InvalidGlob::Name { pattern: pattern.to_owned(), source })?;
    Ok(Segment::Name(name.to_string()))
}

impl TryFrom<String> for Glob {
    type Error = InvalidGlob;

    fn try_from(pattern: String) -> Result<Self, Self::Error> {
        Self::new(&pattern)
    }
}

impl From<Glob> for String {
    fn from(glob: Glob) -> Self {
        glob.to_string()
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.segments.iter().enumerate() {
            let slash = if index == 0 { "" } else { "/" };
            match segment {
                Segment::AnyDepth => write!(f, "{slash}**")?,
                Segment::Name(name) => write!(f, "{slash}{name}")?,
            }
        }
        Ok(())
    }
}

/// What is left of a pattern in some directory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Search<'a> {
    rest: &'a [Segment],
}

impl Search<'_> {
    /// Returns whether the name is found, and adds to `below` what to look for in it.
    pub(crate) fn step(self, name: &str, below: &mut Vec<Self>) -> bool {
        let Some((first, rest)) = self.rest.split_first() else { return false };
        let rest = Self { rest };
        match first {
            Segment::AnyDepth => {
                // Twice the same search would cost twice, at every level again.
                if !below.contains(&self) {
                    below.push(self);
                }
                rest.rest.is_empty() || rest.step(name, below)
            }
            Segment::Name(pattern) if !matches(pattern, name) => false,
            Segment::Name(_) if rest.rest.is_empty() => true,
            Segment::Name(_) => {
                if !below.contains(&rest) {
                    below.push(rest);
                }
                false
            }
        }
    }
}

/// Returns whether the name fits a pattern with stars, in time bounded by the product of their lengths.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}
