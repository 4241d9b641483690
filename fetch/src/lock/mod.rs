//! The lock: what was pinned, for whom, and the digest of the tree that each parcel unpacks to.
//!
//! A value; reading and writing the file is the caller's.

mod parse;
mod print;
#[cfg(test)]
mod tests;
mod word;

use std::collections::{BTreeMap, BTreeSet};

use model::{DigestFunction, TreeDigest};

use crate::parcel::{Key, Wrapping};
use crate::{Request, Sha256};

pub use parse::{LockError, LockFault};

/// The version of the lock's form.
pub const LOCK_VERSION: u32 = 1;

/// What was pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    pub(crate) function: DigestFunction,
    pub(crate) unpack_rules: u32,
    pub(crate) items: BTreeMap<Key, Item>,
    pub(crate) pins: BTreeSet<Pin>,
    pub(crate) requests: BTreeMap<String, Sha256>,
}

/// A parcel that was pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// What is downloaded.
    pub(crate) wrapping: Wrapping,
    /// What it unpacks to.
    pub(crate) tree: TreeDigest,
}

/// That a target's request is met by a parcel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pin {
    /// The target.
    pub(crate) label: String,
    /// The kernel, in lists of kernels; else `-`.
    pub(crate) group: String,
    /// The parcel.
    pub(crate) key: Key,
}

/// One tree of what a target asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// The kernel, in lists of kernels; else `-`.
    pub group: String,
    /// The package; `archive`, the name of the file or `git` for what is none.
    pub name: String,
    /// The version; a hash or commit for what is no package.
    pub version: String,
    /// The architecture; `-` for what has none.
    pub arch: String,
    /// The tree.
    pub tree: TreeDigest,
}

/// Why a lock does not answer what is asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// A target is not in it.
    #[error("{label} is not locked yet")]
    Missing {
        /// The target.
        label: String,
    },
    /// A target asks for something else now.
    #[error("{label} asks for something else than when it was locked")]
    Changed {
        /// The target.
        label: String,
    },
    /// Its trees were unpacked by other rules than today's.
    #[error("the lock is of unpack rules {found}, this bld has {}", formats::UNPACK_RULES_VERSION)]
    Rules {
        /// The lock's.
        found: u32,
    },
    /// Its digests are of another function.
    #[error("the lock's digests are {found}, the workspace uses {expected}")]
    Function {
        /// The lock's.
        found: DigestFunction,
        /// The workspace's.
        expected: DigestFunction,
    },
}

impl Lock {
    /// Returns a lock that pins nothing.
    pub fn new(function: DigestFunction) -> Self {
        Self {
            function,
            unpack_rules: formats::UNPACK_RULES_VERSION,
            items: BTreeMap::new(),
            pins: BTreeSet::new(),
            requests: BTreeMap::new(),
        }
    }

    /// Parses the text of a lock.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        parse::parse(text)
    }

    /// Returns the function its trees are named with.
    pub fn function(&self) -> DigestFunction {
        self.function
    }

    /// Returns the trees that a target's request is met by, by group and name.
    pub fn members(&self, label: &str) -> Vec<Member> {
        let mut members: Vec<Member> = self
            .pins
            .iter()
            .filter(|pin| pin.label == label)
            .filter_map(|pin| Some(member(&pin.group, &pin.key, self.items.get(&pin.key)?.tree)))
            .collect();
        members.sort();
        members
    }

    /// Returns whether every request is met, by digests of `function`.
    pub fn is_current(&self, requests: &[Request], function: DigestFunction) -> Result<(), Stale> {
        if self.function != function {
            return Err(Stale::Function { found: self.function, expected: function });
        }
        if self.unpack_rules != formats::UNPACK_RULES_VERSION {
            return Err(Stale::Rules { found: self.unpack_rules });
        }
        for request in requests {
            let label = request.label.clone();
            match self.requests.get(&label) {
                None => return Err(Stale::Missing { label }),
                Some(digest) if *digest != request.digest() => {
                    return Err(Stale::Changed { label });
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Returns the kernel that a tree is locked for, and what it is; `None` if something else needs it, too.
    pub fn kernel_of(&self, tree: TreeDigest) -> Option<(&str, String)> {
        let is_it = |pin: &&Pin| self.items.get(&pin.key).is_some_and(|item| item.tree == tree);
        let mut pins = self.pins.iter().filter(is_it);
        let first = pins.next()?;
        let is_of_kernel = first.group != "-" && pins.all(|pin| pin.group != "-");
        is_of_kernel.then(|| (first.group.as_str(), first.key.to_string()))
    }

    /// Returns the locked trees.
    pub fn trees(&self) -> BTreeSet<TreeDigest> {
        self.items.values().map(|item| item.tree).collect()
    }

    /// Returns the targets it knows.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.requests.keys().map(String::as_str)
    }

    /// Forgets every target that is not among `labels`, and what only they needed.
    pub fn retain_labels(&mut self, labels: &BTreeSet<&str>) {
        self.requests.retain(|label, _| labels.contains(label.as_str()));
        self.pins.retain(|pin| labels.contains(pin.label.as_str()));
        self.forget_unpinned();
    }

    pub(crate) fn forget_unpinned(&mut self) {
        let pinned: BTreeSet<&Key> = self.pins.iter().map(|pin| &pin.key).collect();
        self.items.retain(|key, _| pinned.contains(key));
    }
}

pub(crate) fn member(group: &str, key: &Key, tree: TreeDigest) -> Member {
    let (name, version, arch) = match key {
        Key::Deb { name, version, arch } => (name.clone(), version.clone(), arch.clone()),
        Key::Archive { sha256, .. } => ("archive".to_owned(), sha256.to_string(), "-".to_owned()),
        Key::File { sha256, name, .. } => (name.to_string(), sha256.to_string(), "-".to_owned()),
        Key::Git { commit } => ("git".to_owned(), commit.to_string(), "-".to_owned()),
    };
    Member { group: group.to_owned(), name, version, arch, tree }
}
