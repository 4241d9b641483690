//! Trees become one tree: directories are united, and no byte of a file is read.

use model::{Directory, Node, PathSegment, RelativePath, SymlinkTarget, TreeDigest};
use store::{Draft, Entry, LocalStore};

use crate::conflict::{ComposeError, ComposeFault, Origin, Side};
use crate::glob::Search;
use crate::merge::{Merge, check_depth, conflict, open};
use crate::{Glob, OnConflict, Operation};

/// The version of what [`compose`] does; part of the key of every action that uses it.
pub const COMPOSE_VERSION: u32 = 1;

/// The top-level directories that live below `usr` since the move that distributions call usr-merge.
const USR_MERGED: [&str; 6] = ["bin", "lib", "lib32", "lib64", "libx32", "sbin"];

/// Applies the operations in order, starting from an empty tree, and returns the tree that comes out.
///
/// Only directories are read that two trees have at the same path, or that an operation names something in.
pub fn compose(
    store: &LocalStore,
    trees: &[TreeDigest],
    operations: &[Operation],
) -> Result<TreeDigest, ComposeError> {
    let mut composition = Composition { store, trees, draft: Draft::new() };
    for (index, operation) in operations.iter().enumerate() {
        composition.apply(operation).map_err(|fault| ComposeError { operation: index, fault })?;
    }
    composition
        .draft
        .finish(store)
        .map_err(|source| ComposeError { operation: operations.len(), fault: source.into() })
}

struct Composition<'a> {
    store: &'a LocalStore,
    trees: &'a [TreeDigest],
    draft: Draft,
}

impl Composition<'_> {
    fn apply(&mut self, operation: &Operation) -> Result<(), ComposeFault> {
        match operation {
            Operation::Merge { tree, from, to, on_conflict, usr_merged } => {
                let node = self.input(*tree, from)?;
                let origin = Origin::Tree(*tree);
                let merge = Merge { store: self.store, on_conflict: *on_conflict, origin };
                let (true, Node::Directory(root)) = (*usr_merged, &node) else {
                    return merge.node(&mut self.draft, to, node);
                };
                for (to, node) in usr_merged_children(self.store, *root, to)? {
                    merge.node(&mut self.draft, &to, node)?;
                }
                Ok(())
            }
            Operation::UsrMerge {} => self.usr_merge(),
            Operation::Remove { paths } => {
                let searches: Vec<_> = paths.iter().map(Glob::search).collect();
                self.remove(&searches)
            }
            Operation::Link { path, target } => self.put(path, Node::Symlink(target.clone())),
            Operation::File { path, text, executable } => {
                let digest = self.store.ingest_bytes(text.as_bytes(), *executable)?;
                self.put(path, Node::File { digest, executable: *executable })
            }
            Operation::Directory { path } => {
                self.draft.directory(self.store, path)?;
                Ok(())
            }
        }
    }

    /// Returns what stands at a path of an input tree.
    fn input(&self, tree: usize, from: &RelativePath) -> Result<Node, ComposeFault> {
        let count = self.trees.len();
        let root = self.trees.get(tree).ok_or(ComposeFault::NoTree { tree, count })?;
        let mut node = Node::Directory(*root);
        for segment in from.segments() {
            let child = match node {
                Node::Directory(directory) => {
                    open(self.store, directory)?.get(segment.as_str()).cloned()
                }
                Node::File { .. } | Node::Symlink(_) => None,
            };
            node = child.ok_or_else(|| ComposeFault::Absent { tree, path: from.clone() })?;
        }
        Ok(node)
    }

    /// Puts a file or link in the place of a file, a link, or nothing.
    fn put(&mut self, path: &RelativePath, node: Node) -> Result<(), ComposeFault> {
        match self.draft.get(self.store, path)? {
            None => {}
            Some(Entry::Draft(_) | Entry::Node(Node::Directory(_))) => {
                return Err(ComposeFault::IsDirectory { path: path.clone() });
            }
            Some(Entry::Node(Node::File { .. } | Node::Symlink(_))) => {
                self.draft.remove(self.store, path)?;
            }
        }
        Ok(self.draft.add(self.store, path, node)?)
    }

    fn usr_merge(&mut self) -> Result<(), ComposeFault> {
        for name in USR_MERGED.map(segment) {
            let path = RelativePath::from(name.clone());
            let below = RelativePath::from(segment("usr")).child(&name);
            match self.draft.get(self.store, &path)? {
                Some(Entry::Node(Node::Symlink(target))) if leads_to(target, &below) => continue,
                Some(entry @ Entry::Node(Node::File { .. } | Node::Symlink(_))) => {
                    let present = Side::from(entry);
                    let incoming = Side::from(&link_to(&below));
                    return Err(conflict(&path, present, incoming, Origin::UsrMerge));
                }
                Some(Entry::Draft(_) | Entry::Node(Node::Directory(_))) => {
                    self.move_directory(&path, &below)?;
                }
                None => {}
            }
            if self.draft.get(self.store, &below)?.is_some() {
                self.draft.add(self.store, &path, link_to(&below))?;
            }
        }
        Ok(())
    }

    fn move_directory(
        &mut self,
        from: &RelativePath,
        to: &RelativePath,
    ) -> Result<(), ComposeFault> {
        let node = match self.draft.remove(self.store, from)? {
            None => return Ok(()),
            Some(Entry::Node(node)) => node,
            Some(Entry::Draft(draft)) => Node::Directory(draft.finish(self.store)?),
        };
        let merge =
            Merge { store: self.store, on_conflict: OnConflict::Refuse, origin: Origin::UsrMerge };
        merge.node(&mut self.draft, to, node)
    }

    fn remove(&mut self, searches: &[Search<'_>]) -> Result<(), ComposeFault> {
        let tree = std::mem::take(&mut self.draft).finish(self.store)?;
        let kept = prune(self.store, tree, searches, &RelativePath::root())?;
        self.draft = Draft::open(self.store, kept)?;
        Ok(())
    }
}

/// Returns the children of a tree and where they go below `to`: what moved to `usr` goes there.
fn usr_merged_children(
    store: &LocalStore,
    root: TreeDigest,
    to: &RelativePath,
) -> Result<Vec<(RelativePath, Node)>, ComposeFault> {
    let directory = open(store, root)?;
    let placed = directory.children().map(|(name, node)| {
        let moves = matches!(node, Node::Directory(_)) && USR_MERGED.contains(&name.as_str());
        let parent = if moves { to.child(&segment("usr")) } else { to.clone() };
        (parent.child(name), node.clone())
    });
    Ok(placed.collect())
}

/// Returns the tree without what the searches find; what they cannot reach is not opened.
fn prune(
    store: &LocalStore,
    tree: TreeDigest,
    searches: &[Search<'_>],
    path: &RelativePath,
) -> Result<TreeDigest, ComposeFault> {
    check_depth(path)?;
    let directory = open(store, tree)?;
    let mut kept = Directory::new();
    for (name, node) in directory.children() {
        let mut below = Vec::new();
        let mut found = false;
        for search in searches {
            found |= search.step(name.as_str(), &mut below);
        }
        if found {
            continue;
        }
        let node = match node {
            Node::Directory(tree) if !below.is_empty() => {
                Node::Directory(prune(store, *tree, &below, &path.child(name))?)
            }
            Node::Directory(_) | Node::File { .. } | Node::Symlink(_) => node.clone(),
        };
        kept.replace(name.clone(), node);
    }
    if kept == directory {
        return Ok(tree);
    }
    Ok(store.write_directory(&kept)?)
}

fn segment(name: &str) -> PathSegment {
    PathSegment::new(name).expect("a name of this file is a name")
}

fn link_to(path: &RelativePath) -> Node {
    Node::Symlink(SymlinkTarget::new(path.as_str()).expect("`usr/` and a name is a target"))
}

fn leads_to(target: &SymlinkTarget, path: &RelativePath) -> bool {
    let target = target.as_str();
    target.strip_prefix('/').unwrap_or(target) == path.as_str()
}
