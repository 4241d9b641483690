//! Putting input trees together from artifacts.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::try_join_all;
use model::{Digest, Directory, Node as TreeNode, PathSegment, RelativePath, TreeDigest};
use store::{Draft, DraftError, Entry, LocalStore, StoreError};

use super::{Build, BuildError, Stop, broken};
use crate::graph::{Artifact, Graph, Node, NodeId};
use crate::source::{SourceError, resolve};

impl Build {
    /// Returns the tree with each artifact at its place, and whether something ran for one of them.
    pub(super) async fn place(
        &self,
        entries: &[(RelativePath, Artifact)],
        owner: &(dyn Fn() -> String + Sync),
    ) -> Result<(TreeDigest, bool), Stop> {
        let wanted = entries.iter().map(|(_, artifact)| self.resolve(artifact, owner));
        let found = try_join_all(wanted).await?;
        let ran = found.iter().any(|(_, ran)| *ran);
        let nodes: Vec<_> = found.into_iter().map(|(node, _)| node).collect();
        let mut drafted = self.draft(entries, &nodes, owner).await;
        // Each time one listing more comes, so this ends.
        while let Err(Unplaced::Missing(digest)) = drafted
            && self.bring_listing(TreeDigest(digest)).await.map_err(broken)?
        {
            drafted = self.draft(entries, &nodes, owner).await;
        }
        if let Err(Unplaced::Missing(_)) = drafted {
            // A listing that must be looked into was made by an earlier build and has vanished since.
            for (_, artifact) in entries {
                self.restore(artifact.node).await?;
            }
            drafted = self.draft(entries, &nodes, owner).await;
        }
        let draft = drafted.map_err(|unplaced| match unplaced {
            Unplaced::Missing(_) => broken(BuildError::Gone { owner: owner() }),
            Unplaced::Stop(stop) => stop,
        })?;
        let tree = draft.finish(&self.store).map_err(broken)?;
        self.note_parts(tree, entries);
        Ok((tree, ran))
    }

    async fn draft(
        &self,
        entries: &[(RelativePath, Artifact)],
        nodes: &[TreeNode],
        owner: &(dyn Fn() -> String + Sync),
    ) -> Result<Draft, Unplaced> {
        let mut roots = Vec::new();
        for ((place, artifact), node) in entries.iter().zip(nodes) {
            let TreeNode::Directory(tree) = node else { continue };
            self.note_maker(tree.0, artifact.node);
            if place.is_root() {
                let listed = self.listing(*tree, artifact.node).await.map_err(Unplaced::Stop)?;
                for (_, child) in listed.directories() {
                    self.note_maker(child.0, artifact.node);
                }
                roots.push(Arc::new(listed));
            }
        }
        put_together(&self.store, &self.plan.graph, entries, nodes, &roots, owner)
    }

    /// Trees inside a tree that was put together may be asked for by themselves: remember what is in them.
    fn note_parts(&self, tree: TreeDigest, entries: &[(RelativePath, Artifact)]) {
        let mut pending = vec![(tree, entries.iter().map(|(at, it)| (at.clone(), it)).collect())];
        while let Some((tree, parts)) = pending.pop() {
            let parts: Vec<(RelativePath, &Artifact)> = parts;
            for (_, artifact) in &parts {
                self.note_maker(tree.0, artifact.node);
            }
            // What stands here as a whole has its own parts, and its own maker.
            if parts.iter().all(|(at, _)| at.is_root()) {
                continue;
            }
            let Ok(Some(directory)) = self.store.directory(tree) else { continue };
            let mut below: BTreeMap<PathSegment, Vec<_>> = BTreeMap::new();
            for (at, artifact) in parts {
                let mut segments = at.segments();
                let Some(first) = segments.next() else { continue };
                let rest = segments.fold(RelativePath::root(), |rest, it| rest.child(&it));
                below.entry(first).or_default().push((rest, artifact));
            }
            for (name, child) in directory.directories() {
                if let Some(parts) = below.remove(name) {
                    pending.push((child, parts));
                }
            }
        }
    }

    /// Returns the listing of a tree that a node made; brings it or makes it again if it is not here.
    pub(super) async fn listing(&self, tree: TreeDigest, maker: NodeId) -> Result<Directory, Stop> {
        if let Some(directory) = self.store.directory(tree).map_err(broken)? {
            return Ok(directory);
        }
        self.note_maker(tree.0, maker);
        if !self.bring_listing(tree).await.map_err(broken)? {
            self.ensure_tree(tree).await.map_err(broken)?;
        }
        if let Some(directory) = self.store.directory(tree).map_err(broken)? {
            return Ok(directory);
        }
        let gone = || broken(BuildError::Gone { owner: self.owner_name(maker) });
        self.restore(maker).await?;
        self.store.directory(tree).map_err(broken)?.ok_or_else(gone)
    }
}

/// Returns the tree with each artifact at its place. `roots` are the listings of those that stand at the root.
pub(super) fn put_together(
    store: &LocalStore,
    graph: &Graph,
    entries: &[(RelativePath, Artifact)],
    nodes: &[TreeNode],
    roots: &[Arc<Directory>],
    owner: &(dyn Fn() -> String + Sync),
) -> Result<Draft, Unplaced> {
    let mut draft = Draft::new();
    let mut roots = roots.iter();
    for ((place, _), node) in entries.iter().zip(nodes) {
        if !place.is_root() {
            let added = draft.add(store, place, node.clone());
            added.map_err(|error| unplaced(error, owner))?;
            continue;
        }
        let (TreeNode::Directory(_), Some(directory)) = (node, roots.next()) else {
            let error = BuildError::NotATree { owner: owner() };
            return Err(Unplaced::Stop(broken(error)));
        };
        for (name, child) in directory.children() {
            draft.replace(name.clone(), Entry::Node(child.clone()));
        }
    }
    check_links(store, graph, entries, &mut draft, owner)?;
    Ok(draft)
}

/// A link of the workspace stays a link; what it leads to must then be an input too.
fn check_links(
    store: &LocalStore,
    graph: &Graph,
    entries: &[(RelativePath, Artifact)],
    draft: &mut Draft,
    owner: &(dyn Fn() -> String + Sync),
) -> Result<(), Unplaced> {
    for (place, artifact) in entries {
        let Node::Source(path) = graph.node(artifact.node) else { continue };
        let found = draft.get(store, place).map_err(|error| unplaced(error, owner))?;
        let Some(Entry::Node(TreeNode::Symlink(target))) = found.cloned() else { continue };
        let folder = place.split_last().map(|(folder, _)| folder).unwrap_or_default();
        let there = match resolve(&folder, target.as_str()) {
            Some(path) => {
                let found = draft.get(store, &path);
                found.map_err(|error| unplaced(error, owner))?.is_some()
            }
            None => false,
        };
        if !there {
            let (path, target) = (path.clone(), target.to_string());
            return Err(Unplaced::Stop(broken(SourceError::Dangling { path, target })));
        }
    }
    Ok(())
}

/// Why inputs are not in their places.
pub(super) enum Unplaced {
    /// A listing is not in the store.
    Missing(Digest),
    /// The build cannot go on.
    Stop(Stop),
}

fn unplaced(error: DraftError, owner: &(dyn Fn() -> String + Sync)) -> Unplaced {
    if let DraftError::Store(StoreError::Missing { digest }) = error {
        return Unplaced::Missing(digest);
    }
    Unplaced::Stop(broken(BuildError::Inputs { owner: owner(), source: error }))
}
