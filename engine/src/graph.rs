//! The graph that analysis makes: plain nodes, in which no Starlark value is left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::{RelativePath, TreeDigest};
use serde::{Deserialize, Serialize};

use crate::cell::Cell;
use crate::label::Label;

/// The number of a node.
pub type NodeId = usize;

/// Something that a node makes: all of it, one of its outputs, or what lies below a path in that.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Artifact {
    /// The node.
    pub node: NodeId,
    /// Which of its outputs; the root where a node has only one.
    pub output: RelativePath,
    /// A path below that.
    pub below: RelativePath,
}

/// One step from sources and locked trees to outputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

impl Node {
    /// Returns what this is made of, in order; what is used twice is there twice.
    pub fn needs(&self) -> Box<dyn Iterator<Item = &Artifact> + '_> {
        match self {
            Self::Source(_) | Self::Locked(_) | Self::Write { .. } => Box::new(std::iter::empty()),
            Self::Tree(tree) => Box::new(tree.entries.iter().map(|(_, artifact)| artifact)),
            Self::Run(run) => Box::new(run.inputs.iter().map(|(_, artifact)| artifact)),
            Self::Builtin(builtin) => Box::new(builtin.inputs.iter()),
        }
    }

    /// Like [`Node::needs`], to number nodes anew.
    pub(crate) fn needs_mut(&mut self) -> Box<dyn Iterator<Item = &mut Artifact> + '_> {
        match self {
            Self::Source(_) | Self::Locked(_) | Self::Write { .. } => Box::new(std::iter::empty()),
            Self::Tree(tree) => Box::new(tree.entries.iter_mut().map(|(_, artifact)| artifact)),
            Self::Run(run) => Box::new(run.inputs.iter_mut().map(|(_, artifact)| artifact)),
            Self::Builtin(builtin) => Box::new(builtin.inputs.iter_mut()),
        }
    }

    /// Returns whose action this is; `None` if it is not an action.
    pub fn action_owner(&self) -> Option<&Owner> {
        match self {
            Self::Source(_) | Self::Locked(_) | Self::Write { .. } | Self::Tree(_) => None,
            Self::Run(run) => Some(&run.owner),
            Self::Builtin(builtin) => Some(&builtin.owner),
        }
    }
}

/// A tree put together from artifacts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TreeNode {
    /// Whose it is; of those that want the same tree, the first.
    pub owner: Owner,
    /// What stands where.
    pub entries: Vec<(RelativePath, Artifact)>,
}

/// Who wants a node: for messages, logs and records, never for keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Owner {
    /// The target.
    pub label: Label,
    /// Its cell; shared by all of its actions and the goal, for there may be forty thousand.
    pub cell: Arc<Cell>,
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunNode {
    /// Whose it is.
    pub owner: Owner,
    /// The program and its arguments.
    pub arguments: Vec<String>,
    /// The whole environment; most actions have the same.
    pub environment: Arc<BTreeMap<String, String>>,
    /// What stands where in the sandbox; the root path is the build root.
    pub inputs: Vec<(RelativePath, Artifact)>,
    /// What it makes, below `out/`.
    pub outputs: Vec<RelativePath>,
    /// A time-out that the rule declares, and that is part of the key.
    pub timeout: Option<Duration>,
    /// Whether it is a test: its failures are never remembered, and it can be run again and again.
    pub test: bool,
}

/// A built-in action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    locked_names: BTreeMap<NodeId, String>,
    rules: BTreeMap<Label, String>,
    environments: BTreeSet<Arc<BTreeMap<String, String>>>,
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

    /// Returns all nodes, in order.
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Returns what people call a node: what the lock calls its tree, or the rule that declared it.
    pub(crate) fn alias(&self, id: NodeId) -> Option<&str> {
        match &self.nodes[id] {
            Node::Locked(_) => self.locked_name(id),
            Node::Run(run) => self.rule(&run.owner.label),
            Node::Builtin(builtin) => self.rule(&builtin.owner.label),
            Node::Source(_) | Node::Write { .. } | Node::Tree(_) => None,
        }
    }

    /// Returns the graph of these nodes and their aliases, or `None` if one refers to itself or to a later one.
    pub(crate) fn from_nodes(nodes: Vec<(Node, Option<String>)>) -> Option<Self> {
        let mut graph = Self::default();
        for (id, (node, alias)) in nodes.into_iter().enumerate() {
            if node.needs().any(|it| it.node >= id) {
                return None;
            }
            match (&node, alias) {
                (Node::Locked(_), Some(name)) => _ = graph.locked_names.insert(id, name),
                (Node::Run(run), Some(rule)) => graph.note_rule(&run.owner.label, &rule),
                (Node::Builtin(it), Some(rule)) => graph.note_rule(&it.owner.label, &rule),
                _ => {}
            }
            graph.nodes.push(node);
        }
        Some(graph)
    }

    /// Returns how many nodes are actions.
    pub fn actions(&self) -> u64 {
        let is_action = |node: &&Node| matches!(node, Node::Run(_) | Node::Builtin(_));
        self.nodes.iter().filter(is_action).count() as u64
    }

    /// Returns of every node whether it is one of these, or they need it.
    pub fn closure(&self, roots: impl IntoIterator<Item = NodeId>) -> Vec<bool> {
        let mut needed = vec![false; self.nodes.len()];
        roots.into_iter().for_each(|id| needed[id] = true);
        // A node only refers to those before it.
        for id in (0..needed.len()).rev() {
            if needed[id] {
                self.nodes[id].needs().for_each(|it| needed[it.node] = true);
            }
        }
        needed
    }

    /// Returns how many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Returns whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Returns what the lock calls a locked tree: name and version. Of those with the same tree, the first.
    pub fn locked_name(&self, id: NodeId) -> Option<&str> {
        self.locked_names.get(&id).map(String::as_str)
    }

    /// Returns the name of the rule that a target was declared with, if the target was analysed.
    pub fn rule(&self, label: &Label) -> Option<&str> {
        self.rules.get(label).map(String::as_str)
    }

    pub(crate) fn note_rule(&mut self, label: &Label, rule: &str) {
        if !self.rules.contains_key(label) {
            self.rules.insert(label.clone(), rule.to_owned());
        }
    }

    /// Returns the nodes that these artifacts come from when trees are seen through: actions, sources, locked trees
    /// and written files.
    pub fn makers<'a>(
        &self,
        artifacts: impl IntoIterator<Item = &'a Artifact>,
    ) -> BTreeSet<NodeId> {
        let mut found = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut pending: Vec<NodeId> = artifacts.into_iter().map(|it| it.node).collect();
        while let Some(id) = pending.pop() {
            let node = self.node(id);
            if !matches!(node, Node::Tree(_)) {
                found.insert(id);
            } else if seen.insert(id) {
                pending.extend(node.needs().map(|it| it.node));
            }
        }
        found
    }

    pub(crate) fn add(&mut self, node: Node) -> Artifact {
        self.nodes.push(node);
        Artifact {
            node: self.nodes.len() - 1,
            output: RelativePath::root(),
            below: RelativePath::root(),
        }
    }

    /// Returns the one environment that is equal to this.
    pub(crate) fn environment(
        &mut self,
        environment: BTreeMap<String, String>,
    ) -> Arc<BTreeMap<String, String>> {
        if let Some(known) = self.environments.get(&environment) {
            return Arc::clone(known);
        }
        let environment = Arc::new(environment);
        self.environments.insert(Arc::clone(&environment));
        environment
    }

    pub(crate) fn source(&mut self, path: &RelativePath) -> Artifact {
        self.share(Shared::Source(path.clone()), || Node::Source(path.clone()))
    }

    pub(crate) fn locked(&mut self, tree: TreeDigest, name: &str, version: &str) -> Artifact {
        let artifact = self.share(Shared::Locked(tree), || Node::Locked(tree));
        let named = || format!("{name} {version}").trim_end().to_owned();
        self.locked_names.entry(artifact.node).or_insert_with(named);
        artifact
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
