//! A tree that is being made: changed by path, then written as directories.

use std::collections::BTreeMap;
use std::convert::Infallible;

use model::{
    Digest, DigestFunction, Directory, Node, PathSegment, RelativePath, SymlinkTarget, TreeDigest,
};
use wire::encode;

use crate::{LocalStore, StoreError};

/// A tree that is being made. Trees placed in it are opened only where something below them is touched.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    children: BTreeMap<PathSegment, Entry>,
}

/// What stands at a name in a draft.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A file, a link, or a directory that nothing was changed in.
    Node(Node),
    /// A directory that is being made.
    Draft(Draft),
}

/// Why a change to a draft is not possible.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// Something stands there already.
    #[error("`{0}` appears twice")]
    Duplicate(RelativePath),
    /// A path leads through something that is not a directory.
    #[error("`{0}` is not a directory, but something lies below it")]
    NotADirectory(RelativePath),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Draft {
    /// Returns an empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a draft with the children of `tree`.
    pub fn open(store: &LocalStore, tree: TreeDigest) -> Result<Self, StoreError> {
        let directory = store.directory(tree)?.ok_or(StoreError::Missing { digest: tree.0 })?;
        let entry = |(name, node): (&PathSegment, &Node)| (name.clone(), Entry::Node(node.clone()));
        Ok(Self { children: directory.children().map(entry).collect() })
    }

    /// Returns the names here and what stands at them.
    pub fn children(&self) -> impl Iterator<Item = (&PathSegment, &Entry)> {
        self.children.iter()
    }

    /// Puts `node` at `path`, making the directories it lies in.
    pub fn add(
        &mut self,
        store: &LocalStore,
        path: &RelativePath,
        node: Node,
    ) -> Result<(), DraftError> {
        let Some((parent, name)) = path.split_last() else {
            return Err(DraftError::Duplicate(path.clone()));
        };
        let parent = self.directory(store, &parent)?;
        if parent.children.contains_key(&name) {
            return Err(DraftError::Duplicate(path.clone()));
        }
        parent.children.insert(name, Entry::Node(node));
        Ok(())
    }

    /// Puts a link at `path`.
    pub fn link(
        &mut self,
        store: &LocalStore,
        path: &RelativePath,
        target: SymlinkTarget,
    ) -> Result<(), DraftError> {
        self.add(store, path, Node::Symlink(target))
    }

    /// Returns the directory at `path`, making it and those it lies in where there are none.
    pub fn directory(
        &mut self,
        store: &LocalStore,
        path: &RelativePath,
    ) -> Result<&mut Self, DraftError> {
        let mut here = self;
        let mut walked = RelativePath::root();
        for segment in path.segments() {
            walked = walked.child(&segment);
            let entry = here.children.entry(segment).or_insert_with(|| Entry::Draft(Self::new()));
            if let Entry::Node(Node::Directory(tree)) = entry {
                *entry = Entry::Draft(Self::open(store, *tree)?);
            }
            let Entry::Draft(draft) = entry else {
                return Err(DraftError::NotADirectory(walked));
            };
            here = draft;
        }
        Ok(here)
    }

    /// Returns what stands at `path`, if anything does. Nothing is followed.
    pub fn get(
        &mut self,
        store: &LocalStore,
        path: &RelativePath,
    ) -> Result<Option<&Entry>, DraftError> {
        let Some((parent, name)) = path.split_last() else {
            return Ok(None);
        };
        if !self.leads_to_directory(store, &parent)? {
            return Ok(None);
        }
        Ok(self.directory(store, &parent)?.children.get(&name))
    }

    /// Takes away what stands at `path` and returns it.
    pub fn remove(
        &mut self,
        store: &LocalStore,
        path: &RelativePath,
    ) -> Result<Option<Entry>, DraftError> {
        let Some((parent, name)) = path.split_last() else {
            return Ok(None);
        };
        if !self.leads_to_directory(store, &parent)? {
            return Ok(None);
        }
        Ok(self.directory(store, &parent)?.children.remove(&name))
    }

    /// Puts `entry` at the name, in the place of whatever stands there.
    pub fn replace(&mut self, name: PathSegment, entry: Entry) {
        self.children.insert(name, entry);
    }

    fn leads_to_directory(
        &mut self,
        store: &LocalStore,
        path: &RelativePath,
    ) -> Result<bool, DraftError> {
        let mut here = self;
        for segment in path.segments() {
            let Some(entry) = here.children.get_mut(&segment) else {
                return Ok(false);
            };
            if let Entry::Node(Node::Directory(tree)) = entry {
                *entry = Entry::Draft(Self::open(store, *tree)?);
            }
            let Entry::Draft(draft) = entry else {
                return Ok(false);
            };
            here = draft;
        }
        Ok(true)
    }

    /// Writes the directories to the store and returns the digest of the root.
    pub fn finish(self, store: &LocalStore) -> Result<TreeDigest, StoreError> {
        self.fold(&mut |directory| store.write_directory(directory))
    }

    /// Returns the digest of the root; nothing is written.
    pub fn digest(self, function: DigestFunction) -> TreeDigest {
        let named = self.fold::<Infallible>(&mut |directory| {
            Ok(TreeDigest(Digest::of(function, &encode::directory(directory))))
        });
        named.unwrap_or_else(|never| match never {})
    }

    fn fold<E>(
        self,
        name: &mut dyn FnMut(&Directory) -> Result<TreeDigest, E>,
    ) -> Result<TreeDigest, E> {
        let mut directory = Directory::new();
        for (segment, entry) in self.children {
            let node = match entry {
                Entry::Node(node) => node,
                Entry::Draft(draft) => Node::Directory(draft.fold(name)?),
            };
            directory.replace(segment, node);
        }
        name(&directory)
    }
}
