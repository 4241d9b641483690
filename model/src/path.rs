//! Names and relative paths that cannot leave the tree they are in.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest name of a child, in bytes: what Linux file systems accept (`NAME_MAX`).
pub const NAME_BYTES_MAX: usize = 255;

/// The name of one child of a directory: not empty, not `.` or `..`, no `/`, no NUL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathSegment(String);

impl PathSegment {
    /// Parses `name`.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidPath> {
        let name = name.into();
        check_segment(&name)?;
        Ok(Self(name))
    }

    /// Checks a name that nobody keeps.
    pub fn check(name: &str) -> Result<(), InvalidPath> {
        check_segment(name)
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_segment(name: &str) -> Result<(), InvalidPath> {
    if name.is_empty() {
        return Err(InvalidPath::Empty);
    }
    if name == "." || name == ".." {
        return Err(InvalidPath::Dots(name.to_owned()));
    }
    if name.contains(['/', '\0']) {
        return Err(InvalidPath::Character(name.to_owned()));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(InvalidPath::Long(name.to_owned()));
    }
    Ok(())
}

impl TryFrom<String> for PathSegment {
    type Error = InvalidPath;

    fn try_from(name: String) -> Result<Self, InvalidPath> {
        Self::new(name)
    }
}

impl From<PathSegment> for String {
    fn from(segment: PathSegment) -> Self {
        segment.0
    }
}

impl fmt::Display for PathSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for PathSegment {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<std::path::Path> for PathSegment {
    fn as_ref(&self) -> &std::path::Path {
        self.0.as_ref()
    }
}

/// A path below some root: segments with `/` between them; no segments name the root itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelativePath(String);

impl RelativePath {
    /// Returns the root.
    pub fn root() -> Self {
        Self::default()
    }

    /// Parses a path without a leading, trailing or doubled slash; the empty text is the root.
    pub fn new(path: impl Into<String>) -> Result<Self, InvalidPath> {
        let path = path.into();
        if !path.is_empty() {
            path.split('/').try_for_each(check_segment)?;
        }
        Ok(Self(path))
    }

    /// Returns the path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether this names the root itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the segments, outermost first.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = PathSegment> + '_ {
        self.0
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| PathSegment(segment.to_owned()))
    }

    /// Returns this path with `segment` below it.
    #[must_use]
    pub fn child(&self, segment: &PathSegment) -> Self {
        if self.is_root() { Self(segment.0.clone()) } else { Self(format!("{}/{segment}", self.0)) }
    }

    /// Returns `other` below this path.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        match (self.is_root(), other.is_root()) {
            (true, _) => other.clone(),
            (_, true) => self.clone(),
            _ => Self(format!("{}/{}", self.0, other.0)),
        }
    }

    /// Returns the directory this lies in and its name there, or `None` for the root.
    pub fn split_last(&self) -> Option<(Self, PathSegment)> {
        if self.is_root() {
            return None;
        }
        let (parent, name) = self.0.rsplit_once('/').unwrap_or(("", &self.0));
        Some((Self(parent.to_owned()), PathSegment(name.to_owned())))
    }

    /// Returns what follows `base`, or `None` where this does not lie at or below it.
    pub fn strip_prefix(&self, base: &Self) -> Option<Self> {
        if base.is_root() {
            return Some(self.clone());
        }
        let rest = self.0.strip_prefix(&base.0)?;
        if rest.is_empty() {
            return Some(Self::root());
        }
        rest.strip_prefix('/').map(|rest| Self(rest.to_owned()))
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RelativePath {
    type Error = InvalidPath;

    fn try_from(path: String) -> Result<Self, InvalidPath> {
        Self::new(path)
    }
}

impl From<RelativePath> for String {
    fn from(path: RelativePath) -> Self {
        path.0
    }
}

impl FromStr for RelativePath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl AsRef<std::path::Path> for RelativePath {
    fn as_ref(&self) -> &std::path::Path {
        self.0.as_ref()
    }
}

impl From<PathSegment> for RelativePath {
    fn from(segment: PathSegment) -> Self {
        Self(segment.0)
    }
}

/// Why a text is not a name or a relative path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// A name is empty: the path is absolute, ends in a slash or has two in a row.
    #[error("a path has an empty name (it is absolute, or has a slash too many)")]
    Empty,
    /// A name is `.` or `..`.
    #[error("`{0}` is not a name")]
    Dots(String),
    /// A name has a slash or a NUL in it.
    #[error("the name {0:?} has a slash or a NUL in it")]
    Character(String),
    /// A name is longer than [`NAME_BYTES_MAX`].
    #[error("the name {0:?} is longer than {NAME_BYTES_MAX} bytes")]
    Long(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leaves_its_root() {
        for text in ["/etc", "a/../b", "..", ".", "a//b", "a/", "./a", "a\0b"] {
            RelativePath::new(text).unwrap_err();
        }
        PathSegment::new("a".repeat(256)).unwrap_err();
    }

    #[test]
    fn paths_split_and_join_again() {
        let path = RelativePath::new("a/b/c").unwrap();
        let (parent, name) = path.split_last().unwrap();
        assert_eq!((parent.as_str(), name.as_str()), ("a/b", "c"));
        assert_eq!(parent.child(&name), path);
        assert_eq!(path.strip_prefix(&parent).unwrap().as_str(), "c");
        assert_eq!(path.strip_prefix(&RelativePath::new("a/bb").unwrap()), None);
        assert_eq!(RelativePath::root().join(&path), path);
        assert_eq!(path.segments().count(), 3);
        assert_eq!(RelativePath::root().segments().count(), 0);
    }
}
