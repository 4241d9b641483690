//! Putting input trees together from artifacts.

use futures::future::try_join_all;
use model::{Directory, Node as TreeNode, RelativePath, TreeDigest};
use store::{Draft, Entry};

use super::{Build, BuildError, Stop, broken};
use crate::graph::{Artifact, Node, NodeId};
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
        let inputs = |source| broken(BuildError::Inputs { owner: owner(), source });
        let mut draft = Draft::new();
        let mut ran = false;
        for ((place, artifact), (node, node_ran)) in entries.iter().zip(found) {
            ran |= node_ran;
            if place.is_root() {
                let TreeNode::Directory(tree) = node else {
                    return Err(broken(BuildError::NotATree { owner: owner() }));
                };
                let directory = self.listing(tree, artifact.node).await?;
                for (name, child) in directory.children() {
                    if let TreeNode::Directory(tree) = child {
                        self.note_maker(tree.0, artifact.node);
                    }
                    draft.replace(name.clone(), Entry::Node(child.clone()));
                }
                continue;
            }
            if let TreeNode::Directory(tree) = &node {
                self.note_maker(tree.0, artifact.node);
            }
            draft.add(&self.store, place, node).map_err(inputs)?;
        }
        self.check_links(entries, &mut draft, owner)?;
        let tree = draft.finish(&self.store).map_err(broken)?;
        self.note_parts(tree, entries);
        Ok((tree, ran))
    }

    /// A link of the workspace stays a link; what it leads to must then be an input too.
    fn check_links(
        &self,
        entries: &[(RelativePath, Artifact)],
        draft: &mut Draft,
        owner: &(dyn Fn() -> String + Sync),
    ) -> Result<(), Stop> {
        let inputs = |source| broken(BuildError::Inputs { owner: owner(), source });
        for (place, artifact) in entries {
            let Node::Source(path) = self.plan.graph.node(artifact.node) else { continue };
            let Some(Entry::Node(TreeNode::Symlink(target))) =
                draft.get(&self.store, place).map_err(inputs)?.cloned()
            else {
                continue;
            };
            let folder = place.split_last().map(|(folder, _)| folder).unwrap_or_default();
            let leads_to = resolve(&folder, target.as_str());
            let there = match &leads_to {
                Some(path) => draft.get(&self.store, path).map_err(inputs)?.is_some(),
                None => false,
            };
            if !there {
                let (path, target) = (path.clone(), target.to_string());
                return Err(broken(SourceError::Dangling { path, target }));
            }
        }
        Ok(())
    }

    /// Trees inside a tree that was put together may be asked for by themselves: remember who makes them.
    fn note_parts(&self, tree: TreeDigest, entries: &[(RelativePath, Artifact)]) {
        let mut pending = vec![(tree, RelativePath::root())];
        while let Some((tree, at)) = pending.pop() {
            let makes = |(place, _): &&(RelativePath, Artifact)| *place == at;
            if let Some((_, artifact)) = entries.iter().find(makes) {
                self.note_maker(tree.0, artifact.node);
                continue;
            }
            let Ok(Some(directory)) = self.store.directory(tree) else { continue };
            for (name, child) in directory.directories() {
                let below = at.child(name);
                if entries.iter().any(|(place, _)| place.strip_prefix(&below).is_some()) {
                    pending.push((child, below));
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
        if self.ensure_tree(tree).await.map_err(broken)?.is_none() {
            self.remake(maker).await?;
        }
        let gone = || broken(BuildError::Gone { owner: self.owner_name(maker) });
        self.store.directory(tree).map_err(broken)?.ok_or_else(gone)
    }
}
