//! A tree is united with what is there already.

use model::{Directory, Node, PathSegment, RelativePath, TreeDigest};
use store::{Draft, Entry, LocalStore, StoreError};

use crate::OnConflict;
use crate::conflict::{ComposeFault, Conflict, Origin, Side};
use crate::operation::OPERATION_DEPTH_MAX;

/// The most directories one inside the other that are united or searched: each takes a stack frame.
pub(crate) const DEPTH_MAX: usize = 2 * OPERATION_DEPTH_MAX;

/// How something is united with what is there.
pub(crate) struct Merge<'a> {
    pub store: &'a LocalStore,
    pub on_conflict: OnConflict,
    pub origin: Origin,
}

impl Merge<'_> {
    /// Unites `node` with what stands at `path` of `draft`.
    pub(crate) fn node(
        &self,
        draft: &mut Draft,
        path: &RelativePath,
        node: Node,
    ) -> Result<(), ComposeFault> {
        let Some((parent, name)) = path.split_last() else {
            return match node {
                Node::Directory(tree) => self.children(draft, path, tree),
                Node::File { .. } | Node::Symlink(_) => {
                    let incoming = Side::from(&node);
                    Err(conflict(path, Side::Directory, incoming, self.origin))
                }
            };
        };
        let directory = draft.directory(self.store, &parent)?;
        self.child(directory, path, name, node)
    }

    /// Unites the children of `tree` with those of `draft`, which stands at `path`.
    fn children(
        &self,
        draft: &mut Draft,
        path: &RelativePath,
        tree: TreeDigest,
    ) -> Result<(), ComposeFault> {
        check_depth(path)?;
        for (name, node) in open(self.store, tree)?.children() {
            self.child(draft, &path.child(name), name.clone(), node.clone())?;
        }
        Ok(())
    }

    fn child(
        &self,
        draft: &mut Draft,
        path: &RelativePath,
        name: PathSegment,
        node: Node,
    ) -> Result<(), ComposeFault> {
        let here = RelativePath::from(name.clone());
        let present = match draft.get(self.store, &here)? {
            None => {
                draft.replace(name, Entry::Node(node));
                return Ok(());
            }
            // The same digest: whatever lies below is the same, and nobody needs to look.
            Some(Entry::Node(present)) if *present == node => return Ok(()),
            Some(present) => Side::from(present),
        };
        match (present, node) {
            (Side::Directory, Node::Directory(tree)) => {
                self.children(draft.directory(self.store, &here)?, path, tree)
            }
            (present, node) => match self.on_conflict {
                OnConflict::First => Ok(()),
                OnConflict::Last => {
                    draft.replace(name, Entry::Node(node));
                    Ok(())
                }
                OnConflict::Refuse => Err(conflict(path, present, Side::from(&node), self.origin)),
            },
        }
    }
}

/// Returns the directory that is the root of `tree`; its absence is an error.
pub(crate) fn open(store: &LocalStore, tree: TreeDigest) -> Result<Directory, StoreError> {
    store.directory(tree)?.ok_or(StoreError::Missing { digest: tree.0 })
}

/// Returns the fault of two sides that differ.
pub(crate) fn conflict(
    path: &RelativePath,
    present: Side,
    incoming: Side,
    origin: Origin,
) -> ComposeFault {
    ComposeFault::Conflict(Box::new(Conflict { path: path.clone(), present, incoming, origin }))
}

/// Refuses what lies too deep for a walk that takes a stack frame per directory.
pub(crate) fn check_depth(path: &RelativePath) -> Result<(), ComposeFault> {
    if path.segments().count() > DEPTH_MAX {
        return Err(ComposeFault::Deep { path: path.clone() });
    }
    Ok(())
}
