//! The graph that analysis makes: plain nodes, in which no Starlark value is left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::{RelativePath, TreeDigest};

use crate::cell::Cell;
use crate::label::Label;

/// The number of a node.
pub type NodeId = usize;

/// Something that a node makes: all of it, one of its outputs, or what lies below a path in that.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Artifact {
    /// The node.
    pub node: NodeId,
    /// Which of its outputs; the root where a node has only one.
    pub output: RelativePath,
    /// A path below that.
    pub below: RelativePath,
}

/// One step from sources and locked trees to outputs.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// A file or folder of the workspace.
    Source(RelativePath),
    /// A tree that `bld.lock` pins.
    Locked(TreeDigest),
    /// A file whose text the rule knows.
    Write {
        /// The text.
        content: Arc<str>,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A tree put together from artifacts. Not an action: nothing is read or run for it.
    Tree(TreeNode),
    /// A command in a sandbox.
    Run(RunNode),
    /// A built-in action.
    Builtin(BuiltinNode),
}

/// A tree put together from artifacts.
#[derive(Clone, Debug, PartialEq)]
pub struct TreeNode {
    /// Whose it is; of those that want the same tree, the first.
    pub owner: Owner,
    /// What stands where.
    pub entries: Vec<(RelativePath, Artifact)>,
}

/// Who wants a node: for messages, logs and records, never for keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The target.
    pub label: Label,
    /// Its cell.
    pub cell: Cell,
    /// Which of its actions.
    pub role: String,
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.label, self.cell)?;
        if self.role.is_empty() { Ok(()) } else { write!(f, " ({})", self.role) }
    }
}

/// A command in a sandbox.
#[derive(Clone, Debug, PartialEq)]
pub struct RunNode {
    /// Whose it is.
    pub owner: Owner,
    /// The program and its arguments.
    pub arguments: Vec<String>,
    /// The whole environment.
    pub environment: BTreeMap<String, String>,
    /// What stands where in the sandbox; the root path is the build root.
    pub inputs: Vec<(RelativePath, Artifact)>,
    /// What it makes, below `out/`.
    pub outputs: Vec<RelativePath>,
    /// A time-out that the rule declares, and that is part of the key.
    pub timeout: Option<Duration>,
}

/// A built-in action.
#[derive(Clone, Debug, PartialEq)]
pub struct BuiltinNode {
    /// Whose it is.
    pub owner: Owner,
    /// The built-in's name.
    pub name: String,
    /// What it works on, in order.
    pub inputs: Vec<Artifact>,
    /// What it is to do, as JSON.
    pub options: String,
}

/// All nodes; a node only refers to those before it, so there are no cycles.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    shared: BTreeMap<Shared, NodeId>,
}

/// What is one node however many want it: the script of forty thousand cells is in memory once.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shared {
    Source(RelativePath),
    Locked(TreeDigest),
    Write(Arc<str>, bool),
    Tree(Vec<(RelativePath, Artifact)>),
}

impl Graph {
    /// Returns the node of that number.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    /// Returns how many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Returns whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Returns what a node reads.
    pub fn inputs(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        let (placed, ordered): (&[(RelativePath, Artifact)], &[Artifact]) = match self.node(id) {
            Node::Source(_) | Node::Locked(_) | Node::Write { .. } => (&[], &[]),
            Node::Tree(tree) => (&tree.entries, &[]),
            Node::Run(run) => (&run.inputs, &[]),
            Node::Builtin(builtin) => (&[], &builtin.inputs),
        };
        let placed = placed.iter().map(|(_, artifact)| artifact.node);
        placed.chain(ordered.iter().map(|artifact| artifact.node))
    }

    pub(crate) fn add(&mut self, node: Node) -> Artifact {
        self.nodes.push(node);
        Artifact {
            node: self.nodes.len() - 1,
            output: RelativePath::root(),
            below: RelativePath::root(),
        }
    }

    pub(crate) fn source(&mut self, path: &RelativePath) -> Artifact {
        self.share(Shared::Source(path.clone()), || Node::Source(path.clone()))
    }

    pub(crate) fn locked(&mut self, tree: TreeDigest) -> Artifact {
        self.share(Shared::Locked(tree), || Node::Locked(tree))
    }

    pub(crate) fn write(&mut self, content: &str, executable: bool) -> Artifact {
        let content = Arc::<str>::from(content);
        let shared = Shared::Write(Arc::clone(&content), executable);
        self.share(shared, || Node::Write { content, executable })
    }

    pub(crate) fn tree(
        &mut self,
        owner: &Owner,
        entries: Vec<(RelativePath, Artifact)>,
    ) -> Artifact {
        let shared = Shared::Tree(entries.clone());
        self.share(shared, || Node::Tree(TreeNode { owner: owner.clone(), entries }))
    }

    fn share(&mut self, shared: Shared, node: impl FnOnce() -> Node) -> Artifact {
        if let Some(node) = self.shared.get(&shared) {
            let (output, below) = (RelativePath::root(), RelativePath::root());
            return Artifact { node: *node, output, below };
        }
        let artifact = self.add(node());
        self.shared.insert(shared, artifact.node);
        artifact
    }

    /// Returns the file name that an artifact would naturally have.
    pub(crate) fn basename(&self, artifact: &Artifact) -> String {
        let name = |path: &RelativePath| path.split_last().map(|(_, name)| name.to_string());
        let own = || match &self.nodes[artifact.node] {
            Node::Source(path) => name(path),
            Node::Locked(_)
            | Node::Write { .. }
            | Node::Tree(_)
            | Node::Run(_)
            | Node::Builtin(_) => None,
        };
        name(&artifact.below).or_else(|| name(&artifact.output)).or_else(own).unwrap_or_default()
    }
}

/// Returns the first path that lies inside another, and that one.
pub(crate) fn first_nested<'a>(
    paths: impl IntoIterator<Item = &'a RelativePath>,
) -> Option<(&'a RelativePath, &'a RelativePath)> {
    let all: BTreeSet<&RelativePath> = paths.into_iter().collect();
    all.iter().find_map(|inner| {
        let mut folder = inner.split_last()?.0;
        while !folder.is_root() {
            if let Some(outer) = all.get(&folder) {
                return Some((*inner, *outer));
            }
            folder = folder.split_last()?.0;
        }
        None
    })
}
