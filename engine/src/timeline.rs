//! When things ran: beside each other in lanes, and which of them decided how long it took.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use crate::build::Span;
use crate::graph::{Artifact, Graph, Node, NodeId};

/// Returns a lane for each span, so that no two in a lane overlap, and there are as few lanes as can be.
pub fn lanes(spans: &[Span]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by_key(|index| (spans[*index].began, spans[*index].ended));
    let mut lanes = vec![0; spans.len()];
    let mut busy = BinaryHeap::new();
    let mut free = BTreeSet::new();
    for index in order {
        let span = spans[index];
        while let Some(Reverse((ended, lane))) = busy.peek().copied()
            && ended <= span.began
        {
            busy.pop();
            free.insert(lane);
        }
        let lane = free.pop_first().unwrap_or(busy.len());
        lanes[index] = lane;
        busy.push(Reverse((span.ended, lane)));
    }
    lanes
}

/// Returns the chain of nodes, each needed by the next, that took longest: with ever so many cores the build would
/// have taken as long as this. In the order in which they ran.
pub fn critical_path(graph: &Graph, ran: &BTreeMap<NodeId, Span>) -> Vec<NodeId> {
    // For each node: how long the longest chain up to it takes, and the last of that chain that ran.
    let mut longest: Vec<(Duration, Option<NodeId>)> = Vec::with_capacity(graph.len());
    let mut before: BTreeMap<NodeId, Option<NodeId>> = BTreeMap::new();
    for id in 0..graph.len() {
        let needed = needs(graph.node(id)).map(|artifact| longest[artifact.node]);
        let Some(span) = ran.get(&id) else {
            longest.push(needed.max().unwrap_or_default());
            continue;
        };
        // One that was made again, for somebody else, may have ended after this began: it held nothing up.
        let over = |last: Option<NodeId>| last.is_none_or(|last| ran[&last].ended <= span.began);
        let (duration, last) = needed.filter(|(_, last)| over(*last)).max().unwrap_or_default();
        before.insert(id, last);
        longest.push((duration + span.ended.saturating_sub(span.began), Some(id)));
    }
    let mut chain = Vec::new();
    let mut next = longest.into_iter().max().and_then(|(_, last)| last);
    while let Some(id) = next {
        chain.push(id);
        next = before[&id];
    }
    chain.reverse();
    chain
}

fn needs(node: &Node) -> Box<dyn Iterator<Item = &Artifact> + '_> {
    match node {
        Node::Source(_) | Node::Locked(_) | Node::Write { .. } => Box::new(std::iter::empty()),
        Node::Tree(tree) => Box::new(tree.entries.iter().map(|(_, artifact)| artifact)),
        Node::Run(run) => Box::new(run.inputs.iter().map(|(_, artifact)| artifact)),
        Node::Builtin(builtin) => Box::new(builtin.inputs.iter()),
    }
}
