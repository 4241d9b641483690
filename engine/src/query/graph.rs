//! What questions are asked of: named nodes and what they need.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use model::RelativePath;
use serde_json::{Value as Json, json};

use crate::graph::{Node, NodeId, Owner};
use crate::plan::Plan;
use crate::targets::TargetInfo;

/// What a file is, where a target has its rule.
const SOURCE: &str = "source file";

/// What a locked tree is.
const LOCKED: &str = "locked tree";

/// A node that has a name.
#[derive(Clone, Debug)]
pub struct QueryNode {
    /// Its label, its path or its action's owner.
    pub name: String,
    /// Its rule, or the role of its action; or what else it is.
    pub kind: String,
    /// What is known of it.
    pub attrs: BTreeMap<String, Json>,
}

/// Named nodes, in the order of their names, and their edges.
#[derive(Debug, Default)]
pub struct QueryGraph {
    nodes: Vec<QueryNode>,
    deps: Vec<BTreeSet<usize>>,
    users: Vec<BTreeSet<usize>>,
    names: BTreeMap<String, usize>,
    /// Which node of the plan is which of these.
    pub(super) of_plan: BTreeMap<NodeId, usize>,
}

impl QueryGraph {
    /// Returns the graph of targets and the files that they name, whatever cell or setting chooses.
    pub fn of_targets(targets: &[TargetInfo]) -> Self {
        let mut draft = Draft::default();
        for target in targets {
            let node = QueryNode {
                name: target.label.to_string(),
                kind: target.kind.clone(),
                attrs: target.attrs.clone(),
            };
            draft.nodes.insert(node.name.clone(), node);
            let needs = draft.needs.entry(target.label.to_string()).or_default();
            needs.extend(target.deps.iter().map(ToString::to_string));
            needs.extend(target.sources.iter().map(ToString::to_string));
            draft.sources.extend(target.sources.iter().cloned());
        }
        draft.finish()
    }

    /// Returns the graph of a plan's actions, and of the sources and locked trees that they read.
    pub fn of_actions(plan: &Plan) -> Self {
        let mut draft = Draft::default();
        let mut names: Vec<BTreeSet<String>> = Vec::with_capacity(plan.graph.len());
        let mut of_plan = BTreeMap::new();
        for id in 0..plan.graph.len() {
            let node = plan.graph.node(id);
            let needs: BTreeSet<String> =
                node.needs().flat_map(|input| names[input.node].iter().cloned()).collect();
            let name = match node {
                // Trees and written files are parts of what reads them.
                Node::Tree(_) | Node::Write { .. } => {
                    names.push(needs);
                    continue;
                }
                Node::Source(path) => {
                    draft.sources.insert(path.clone());
                    path.to_string()
                }
                Node::Locked(tree) => {
                    let name = format!("locked {}", tree.0);
                    let attrs = BTreeMap::from([("tree".to_owned(), json!(tree.0.to_string()))]);
                    let node = QueryNode { name: name.clone(), kind: LOCKED.to_owned(), attrs };
                    draft.nodes.insert(name.clone(), node);
                    name
                }
                Node::Run(run) => {
                    let attrs = json!({
                        "arguments": run.arguments,
                        "environment": *run.environment,
                        "outputs": run.outputs.iter().map(RelativePath::as_str).collect::<Vec<_>>(),
                    });
                    draft.action(&run.owner, attrs)
                }
                Node::Builtin(it) => {
                    draft.action(&it.owner, json!({ "builtin": it.name, "options": it.options }))
                }
            };
            draft.needs.insert(name.clone(), needs);
            of_plan.insert(id, name.clone());
            names.push(BTreeSet::from([name]));
        }
        let mut graph = draft.finish();
        graph.of_plan = of_plan.into_iter().map(|(id, name)| (id, graph.names[&name])).collect();
        graph
    }

    /// Returns how many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Returns whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Returns the node of that number.
    pub fn node(&self, node: usize) -> &QueryNode {
        &self.nodes[node]
    }

    /// Returns the number of the node of that name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// Returns what a node needs.
    pub fn deps(&self, node: usize) -> impl Iterator<Item = usize> {
        self.deps[node].iter().copied()
    }

    /// Returns what needs a node.
    pub fn users(&self, node: usize) -> impl Iterator<Item = usize> {
        self.users[node].iter().copied()
    }

    /// Returns the names of all attributes that a node has.
    pub(super) fn attr_names(&self) -> BTreeSet<String> {
        self.nodes.iter().flat_map(|node| node.attrs.keys().cloned()).collect()
    }

    /// Returns an answer as graphviz draws it: the nodes, and the edges between them.
    pub fn dot(&self, answer: &[usize]) -> String {
        let quoted = |node: usize| {
            let name = self.nodes[node].name.replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"{name}\"")
        };
        let among: BTreeSet<usize> = answer.iter().copied().collect();
        let mut text = String::from("digraph bld {\n  node [shape=box];\n");
        for node in answer {
            let _ = writeln!(text, "  {};", quoted(*node));
            for dep in self.deps[*node].intersection(&among) {
                let _ = writeln!(text, "  {} -> {};", quoted(*node), quoted(*dep));
            }
        }
        text.push_str("}\n");
        text
    }
}

/// A graph that is being made, by names.
#[derive(Default)]
struct Draft {
    nodes: BTreeMap<String, QueryNode>,
    needs: BTreeMap<String, BTreeSet<String>>,
    sources: BTreeSet<RelativePath>,
}

impl Draft {
    /// Adds an action and returns its name.
    fn action(&mut self, owner: &Owner, about: Json) -> String {
        let mut attrs: BTreeMap<String, Json> = BTreeMap::new();
        if let Json::Object(fields) = about {
            attrs.extend(fields);
        }
        attrs.insert("label".to_owned(), json!(owner.label.to_string()));
        attrs.insert("cell".to_owned(), json!(owner.cell.0));
        attrs.insert("role".to_owned(), json!(owner.role));
        let mut name = owner.to_string();
        // A target may have several actions of one role.
        let mut number = 1;
        while self.nodes.contains_key(&name) {
            number += 1;
            name = format!("{owner} #{number}");
        }
        let node = QueryNode { name: name.clone(), kind: owner.role.clone(), attrs };
        self.nodes.insert(name.clone(), node);
        name
    }

    fn finish(mut self) -> QueryGraph {
        for path in &self.sources {
            let (name, kind) = (path.to_string(), SOURCE.to_owned());
            let node = QueryNode { name: name.clone(), kind, attrs: BTreeMap::new() };
            self.nodes.insert(name, node);
        }
        let nodes: Vec<QueryNode> = self.nodes.into_values().collect();
        let names: BTreeMap<String, usize> =
            nodes.iter().enumerate().map(|(number, node)| (node.name.clone(), number)).collect();
        let mut graph = QueryGraph {
            deps: vec![BTreeSet::new(); nodes.len()],
            users: vec![BTreeSet::new(); nodes.len()],
            nodes,
            names,
            of_plan: BTreeMap::new(),
        };
        for (name, needs) in self.needs {
            let node = graph.names[&name];
            // A label that nobody declares is a mistake of the target that names it, and shown when that is analysed.
            for need in needs.iter().filter_map(|need| graph.names.get(need).copied()) {
                graph.deps[node].insert(need);
                graph.users[need].insert(node);
            }
        }
        graph
    }
}
