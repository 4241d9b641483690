//! Trees: directories of files, links and other directories, and nothing else.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Digest, PathSegment, TreeDigest};

/// The longest target of a symbolic link, in bytes: what Linux accepts (`PATH_MAX`, less its NUL).
pub const TARGET_BYTES_MAX: usize = 4095;

/// One directory of a tree; its children stand in the order of their names' bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    children: BTreeMap<PathSegment, Node>,
}

/// What a name in a directory stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Node {
    /// A file: the digest of its bytes, and whether it may be executed.
    File {
        /// The digest of the file's bytes.
        digest: Digest,
        /// Whether the file may be executed.
        executable: bool,
    },
    /// A directory, named by its digest.
    Directory(TreeDigest),
    /// A symbolic link.
    Symlink(SymlinkTarget),
}

impl Directory {
    /// Returns a directory without children.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a child.
    pub fn add(&mut self, name: PathSegment, node: Node) -> Result<(), DuplicateName> {
        if self.children.contains_key(&name) {
            return Err(DuplicateName(name));
        }
        self.children.insert(name, node);
        Ok(())
    }

    /// Adds a child, or puts it in the place of the one of that name.
    pub fn replace(&mut self, name: PathSegment, node: Node) {
        self.children.insert(name, node);
    }

    /// Takes a child away and returns it, if it was there.
    pub fn remove(&mut self, name: &str) -> Option<Node> {
        self.children.remove(name)
    }

    /// Returns the child of that name.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.children.get(name)
    }

    /// Returns the children in the order of their names.
    pub fn children(&self) -> impl Iterator<Item = (&PathSegment, &Node)> {
        self.children.iter()
    }

    /// Returns the directories among the children.
    pub fn directories(&self) -> impl Iterator<Item = (&PathSegment, TreeDigest)> {
        self.children.iter().filter_map(|(name, node)| match node {
            Node::Directory(digest) => Some((name, *digest)),
            Node::File { .. } | Node::Symlink(_) => None,
        })
    }

    /// Returns how many children there are.
    pub fn len(&self) -> usize {
        self.children.len()
    }

    /// Returns whether there are no children.
    pub fn is_empty(&self) -> bool {
        self.children.is_empty()
    }
}

/// The target of a symbolic link, kept as it is: it may be absolute, dangle or lead outside.
///
/// Nothing in `bld` follows one; only a sandboxed command does, inside its own root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SymlinkTarget(String);

impl SymlinkTarget {
    /// Parses a target: not empty, no NUL, not longer than [`TARGET_BYTES_MAX`].
    pub fn new(target: impl Into<String>) -> Result<Self, InvalidTarget> {
        let target = target.into();
        if target.is_empty() || target.contains('\0') || target.len() > TARGET_BYTES_MAX {
            return Err(InvalidTarget(target));
        }
        Ok(Self(target))
    }

    /// Returns the target as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the target is an absolute path.
    pub fn is_absolute(&self) -> bool {
        self.0.starts_with('/')
    }
}

impl TryFrom<String> for SymlinkTarget {
    type Error = InvalidTarget;

    fn try_from(target: String) -> Result<Self, InvalidTarget> {
        Self::new(target)
    }
}

impl From<SymlinkTarget> for String {
    fn from(target: SymlinkTarget) -> Self {
        target.0
    }
}

impl fmt::Display for SymlinkTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A directory was given a second child of the same name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name `{0}` appears twice")]
pub struct DuplicateName(pub PathSegment);

/// A text cannot be the target of a symbolic link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot be the target of a link (empty, with a NUL, or longer than {TARGET_BYTES_MAX} bytes)"
)]
pub struct InvalidTarget(pub String);
