//! Deep signatures: what a node is made from, all the way down, as one digest, without building anything.
//!
//! Equal signatures mean that a build makes the same. Different ones need not mean that it makes something else: a
//! step in between may make the same bytes again. Names (labels, cells, roles) are in no signature, as in no key.

use model::{ActionDigest, Digest, DigestFunction, Hasher, RelativePath};

use crate::graph::{Artifact, BuiltinNode, Graph, Node, NodeId, RunNode};
use crate::plan::{Goal, Plan};

/// Signatures are compared with each other and kept in notes; they name no blob, so the workspace's choice is not theirs.
const FUNCTION: DigestFunction = DigestFunction::Blake3;

/// Returns the signature of each node, by its number. `source` says what stands for a source: what it holds, or where
/// it is.
pub fn signatures(plan: &Plan, source: impl Fn(&RelativePath) -> Digest) -> Vec<Digest> {
    let all = fold(&plan.graph, |_| Known::Described, &source);
    all.into_iter().map(|signature| signature.expect("everything is described")).collect()
}

/// Returns the identity of each node: like a signature, but an action is what its key says. `None` where that depends
/// on an action without a key.
pub fn identities(
    plan: &Plan,
    key: impl Fn(NodeId) -> Option<ActionDigest>,
    source: impl Fn(&RelativePath) -> Digest,
) -> Vec<Option<Digest>> {
    let known = |id| match (plan.graph.node(id).action_owner(), key(id)) {
        (None, _) => Known::Described,
        (Some(_), Some(key)) => Known::Keyed(key),
        (Some(_), None) => Known::Unknown,
    };
    fold(&plan.graph, known, &source)
}

/// Returns what a goal comes to, of what its nodes come to; `None` if one of them is not known.
pub fn of_goal(goal: &Goal, nodes: impl Fn(NodeId) -> Option<Digest>) -> Option<Digest> {
    let mut sum = Sum::new("goal");
    sum.number(u64::from(goal.excluded));
    sum.number(u64::from(goal.xfail));
    for (path, artifact) in &goal.outputs {
        sum.text(path.as_str());
        sum.artifact(artifact, nodes(artifact.node)?);
    }
    Some(sum.finish())
}

/// What stands for a node.
enum Known {
    /// What it is made from.
    Described,
    /// A key that says so already.
    Keyed(ActionDigest),
    /// Nothing yet.
    Unknown,
}

fn fold(
    graph: &Graph,
    known: impl Fn(NodeId) -> Known,
    source: &impl Fn(&RelativePath) -> Digest,
) -> Vec<Option<Digest>> {
    let mut all: Vec<Option<Digest>> = Vec::with_capacity(graph.len());
    for id in 0..graph.len() {
        let digest = match known(id) {
            Known::Described => describe(graph.node(id), &all, source),
            Known::Keyed(key) => Some(Sum::new("key").digest(key.0).finish()),
            Known::Unknown => None,
        };
        all.push(digest);
    }
    all
}

fn describe(
    node: &Node,
    before: &[Option<Digest>],
    source: &impl Fn(&RelativePath) -> Digest,
) -> Option<Digest> {
    let mut sum;
    match node {
        Node::Source(path) => {
            sum = Sum::new("source");
            sum.digest(source(path));
        }
        Node::Locked(tree) => {
            sum = Sum::new("locked");
            sum.digest(tree.0);
        }
        Node::Write { content, executable } => {
            sum = Sum::new("write");
            sum.text(content);
            sum.number(u64::from(*executable));
        }
        Node::Tree(tree) => {
            sum = Sum::new("tree");
            sum.placed(&tree.entries, before)?;
        }
        // Taken apart, so that a new field has to be put in here too.
        Node::Run(RunNode { owner: _, arguments, environment, inputs, outputs, timeout, test }) => {
            sum = Sum::new("run");
            sum.texts(arguments.iter().map(String::as_str));
            sum.texts(environment.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]));
            sum.texts(outputs.iter().map(RelativePath::as_str));
            sum.number(u64::from(*test));
            sum.text(&timeout.map(|it| it.as_nanos().to_string()).unwrap_or_default());
            sum.placed(inputs, before)?;
        }
        Node::Builtin(BuiltinNode { owner: _, name, inputs, options }) => {
            sum = Sum::new("builtin");
            sum.texts([name.as_str(), options.as_str()]);
            for artifact in inputs {
                sum.artifact(artifact, before[artifact.node]?);
            }
        }
    }
    Some(sum.finish())
}

/// Hashes parts one after the other; each carries its length, so that no two lists of parts look alike.
struct Sum(Hasher);

impl Sum {
    fn new(kind: &str) -> Self {
        let mut sum = Self(Hasher::new(FUNCTION));
        sum.text(kind);
        sum
    }

    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
    }

    fn texts<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) {
        let texts: Vec<_> = texts.into_iter().collect();
        self.number(texts.len() as u64);
        for text in texts {
            self.text(text);
        }
    }

    fn digest(&mut self, digest: Digest) -> &mut Self {
        self.text(digest.function().name());
        self.0.update(digest.hash());
        self.number(digest.size());
        self
    }

    fn artifact(&mut self, artifact: &Artifact, node: Digest) {
        self.digest(node);
        self.texts([artifact.output.as_str(), artifact.below.as_str()]);
    }

    fn placed(
        &mut self,
        entries: &[(RelativePath, Artifact)],
        before: &[Option<Digest>],
    ) -> Option<()> {
        self.number(entries.len() as u64);
        for (place, artifact) in entries {
            self.text(place.as_str());
            self.artifact(artifact, before[artifact.node]?);
        }
        Some(())
    }

    fn finish(&mut self) -> Digest {
        std::mem::replace(&mut self.0, Hasher::new(FUNCTION)).finish()
    }
}
