//! Looking without touching: nothing is pinned, marked as used or locked. For who only asks, and takes nothing.
//!
//! What is here now may be collected the next moment, so no answer may be built upon.

use model::{ActionDigest, ActionResult, Digest, Directory, Node, TreeDigest};

use super::{LocalStore, Remembered};

impl LocalStore {
    /// Returns what the tables say of an action now.
    pub fn peek_entry(&self, table: Remembered, action: ActionDigest) -> Option<ActionResult> {
        self.entry_unpinned(table, action)
    }

    /// Returns whether a blob is here now.
    pub fn peek_blob(&self, digest: Digest) -> bool {
        digest.is_empty() || self.look_for_blob(digest).is_some()
    }

    /// Returns the directory that is the root of a tree, if it is here now.
    pub fn peek_directory(&self, tree: TreeDigest) -> Option<Directory> {
        self.directory_unpinned(tree)
    }

    /// Returns whether a whole tree is here now, as a directory or as blobs.
    pub fn peek_tree(&self, tree: TreeDigest) -> bool {
        if self.tree_path(tree).exists() {
            return true;
        }
        let mut pending = vec![tree];
        while let Some(tree) = pending.pop() {
            let Some(directory) = self.directory_unpinned(tree) else { return false };
            for (_, node) in directory.children() {
                match node {
                    Node::File { digest, .. } if !self.peek_blob(*digest) => return false,
                    Node::Directory(child) => pending.push(*child),
                    Node::File { .. } | Node::Symlink(_) => {}
                }
            }
        }
        true
    }
}
