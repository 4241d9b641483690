//! From a place in a sandbox to what people know: the source, the locked tree or the output that stands there.

use model::RelativePath;

use crate::graph::{Artifact, Graph, Node, NodeId, Owner};
use crate::why::Change;

/// What stands at a place in an action's input root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file of the workspace.
    Source(RelativePath),
    /// A tree that `bld.lock` pins: its name, if it has one, and the path in it.
    Locked {
        /// Name and version.
        name: Option<String>,
        /// The path in it.
        path: RelativePath,
    },
    /// A file whose text a rule knows.
    Written,
    /// What another action makes.
    Made {
        /// Which action.
        owner: Owner,
        /// The path below its output.
        path: RelativePath,
    },
}

impl Origin {
    /// Returns what stands at a path of a node's input root, or stood there before the change; `None` if the plan
    /// does not say.
    pub fn of(graph: &Graph, node: NodeId, path: &RelativePath, change: Change) -> Option<Self> {
        match graph.node(node) {
            Node::Run(run) => among(graph, &run.inputs, path, change),
            Node::Builtin(builtin) => {
                let number = path.segments().next()?;
                let rest = path.strip_prefix(&number.clone().into())?;
                let artifact = builtin.inputs.get(number.as_str().parse::<usize>().ok()?)?;
                at(graph, artifact, &rest, change)
            }
            Node::Source(_) | Node::Locked(_) | Node::Write { .. } | Node::Tree(_) => None,
        }
    }
}

fn at(graph: &Graph, artifact: &Artifact, rest: &RelativePath, change: Change) -> Option<Origin> {
    let path = artifact.below.join(rest);
    match graph.node(artifact.node) {
        Node::Source(source) => Some(Origin::Source(source.join(&path))),
        Node::Locked(_) => {
            let name = graph.locked_name(artifact.node).map(str::to_owned);
            Some(Origin::Locked { name, path })
        }
        Node::Write { .. } => Some(Origin::Written),
        Node::Tree(tree) => among(graph, &tree.entries, &path, change),
        Node::Run(run) => Some(Origin::Made { owner: run.owner.clone(), path }),
        Node::Builtin(builtin) => Some(Origin::Made { owner: builtin.owner.clone(), path }),
    }
}

fn among(
    graph: &Graph,
    entries: &[(RelativePath, Artifact)],
    path: &RelativePath,
    change: Change,
) -> Option<Origin> {
    let holds = |(place, artifact)| Some((path.strip_prefix(place)?, place, artifact));
    let holders = entries.iter().map(|(place, artifact)| (place, artifact)).filter_map(holds);
    // The innermost; what is placed inside another artifact hides it.
    let innermost = holders.max_by_key(|(_, place, _)| place.as_str().len());
    match innermost {
        // What is gone may have been placed there by itself: then the root that is still there never had it.
        Some((rest, place, artifact)) if change != Change::Removed || !place.is_root() => {
            at(graph, artifact, &rest, change)
        }
        _ if change == Change::Removed => beside(graph, entries, path).map(Origin::Source),
        // A folder that is new, because something is placed in it.
        _ => {
            let inside = |(place, _): &&(RelativePath, Artifact)| {
                place.strip_prefix(path).is_some_and(|rest| !rest.is_root())
            };
            let (_, artifact) = entries.iter().find(inside)?;
            at(graph, artifact, &RelativePath::root(), change)
        }
    }
}

/// Returns where a source that is gone was, if all that is still beside it comes from one folder under its own name.
fn beside(
    graph: &Graph,
    entries: &[(RelativePath, Artifact)],
    path: &RelativePath,
) -> Option<RelativePath> {
    let (folder, name) = path.split_last()?;
    let mut from = None;
    for (place, artifact) in entries {
        let Some((place_folder, place_name)) = place.split_last() else { continue };
        if place_folder != folder {
            continue;
        }
        let Node::Source(source) = graph.node(artifact.node) else { return None };
        let (source_folder, source_name) = source.split_last()?;
        let same = *from.get_or_insert_with(|| source_folder.clone()) == source_folder;
        if !same || source_name != place_name || !artifact.below.is_root() {
            return None;
        }
    }
    from.map(|from: RelativePath| from.child(&name))
}
