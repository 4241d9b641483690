//! Why trees do not become one tree.

use std::fmt;

use model::{Node, RelativePath};
use store::{DraftError, Entry, StoreError};

use crate::merge::DEPTH_MAX;

/// An operation could not be done.
#[derive(Debug, thiserror::Error)]
#[error("cannot compose trees (operation {operation})")]
pub struct ComposeError {
    /// Which of the operations, counted from 0; their number, if only the result could not be kept.
    pub operation: usize,
    /// What is wrong.
    #[source]
    pub fault: ComposeFault,
}

impl ComposeError {
    /// Returns whether the same call may succeed later without anybody mending anything.
    pub fn is_transient(&self) -> bool {
        match &self.fault {
            ComposeFault::Store(source) => source.is_transient(),
            ComposeFault::NoTree { .. }
            | ComposeFault::Absent { .. }
            | ComposeFault::Conflict(_)
            | ComposeFault::NotADirectory { .. }
            | ComposeFault::IsDirectory { .. }
            | ComposeFault::Deep { .. } => false,
        }
    }
}

/// Why an operation could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ComposeFault {
    /// There are not so many input trees.
    #[error("there is no input tree {tree}, only {count}")]
    NoTree {
        /// The number that was given.
        tree: usize,
        /// How many there are.
        count: usize,
    },
    /// What was to be merged is not there.
    #[error("input tree {tree} has no `{path}`")]
    Absent {
        /// The input tree.
        tree: usize,
        /// What is not there.
        path: RelativePath,
    },
    /// Two sides differ, and nobody said who wins.
    #[error(transparent)]
    Conflict(Box<Conflict>),
    /// A path leads through a file or a link.
    #[error("`{path}` is not a directory, but something is to lie below it")]
    NotADirectory {
        /// The file or link.
        path: RelativePath,
    },
    /// A directory stands where a file or link is to be put.
    #[error("`{path}` is a directory; a file or link does not take its place")]
    IsDirectory {
        /// The directory.
        path: RelativePath,
    },
    /// Directories lie too deep in one another.
    #[error("`{path}` lies deeper than {DEPTH_MAX} directories")]
    Deep {
        /// Where the limit was met.
        path: RelativePath,
    },
    /// The store failed, or lacks a directory of an input tree.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DraftError> for ComposeFault {
    fn from(error: DraftError) -> Self {
        match error {
            DraftError::Duplicate(path) => Self::IsDirectory { path },
            DraftError::NotADirectory(path) => Self::NotADirectory { path },
            DraftError::Store(source) => Self::Store(source),
        }
    }
}

/// A path that is one thing in the composed tree and another in what is merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is {present} already, and {incoming} in {origin}")]
pub struct Conflict {
    /// Where they differ, in the composed tree.
    pub path: RelativePath,
    /// What is there.
    pub present: Side,
    /// What was to come.
    pub incoming: Side,
    /// Where it was to come from.
    pub origin: Origin,
}

/// One of two sides of a conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// A directory.
    Directory,
    /// A file or link.
    Node(Node),
}

impl From<&Entry> for Side {
    fn from(entry: &Entry) -> Self {
        match entry {
            Entry::Draft(_) => Self::Directory,
            Entry::Node(node) => Self::from(node),
        }
    }
}

impl From<&Node> for Side {
    fn from(node: &Node) -> Self {
        match node {
            Node::Directory(_) => Self::Directory,
            Node::File { .. } | Node::Symlink(_) => Self::Node(node.clone()),
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory | Self::Node(Node::Directory(_)) => f.write_str("a directory"),
            Self::Node(Node::Symlink(target)) => write!(f, "a link to `{target}`"),
            Self::Node(Node::File { digest, executable }) => {
                let kind = if *executable { "an executable file" } else { "a file" };
                write!(f, "{kind} ({}…, {} bytes)", digest.short(), digest.size())
            }
        }
    }
}

/// Where something comes from that is merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An input tree, counted from 0.
    Tree(usize),
    /// The top-level directory of the same name, which moves below `usr`.
    UsrMerge,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tree(tree) => write!(f, "input tree {tree}"),
            Self::UsrMerge => f.write_str("what usr-merge moves or links"),
        }
    }
}
