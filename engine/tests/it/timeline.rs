//! Lanes and critical paths.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::{Graph, Node, NodeId, Span, critical_path, lanes};
use proptest::prelude::*;

use crate::workshop::Workshop;

fn span(began: u64, ended: u64) -> Span {
    Span { began: Duration::from_millis(began), ended: Duration::from_millis(ended) }
}

#[test]
fn a_lane_is_taken_again_as_soon_as_it_is_free() {
    let spans = [span(0, 10), span(2, 4), span(4, 9), span(5, 6), span(10, 11)];
    assert_eq!(lanes(&spans), [0, 1, 1, 2, 0]);
    assert_eq!(lanes(&[]), [0; 0]);
}

proptest! {
    #[test]
    fn nothing_overlaps_in_a_lane_and_no_lane_is_wasted(
        spans in prop::collection::vec((0_u64..50, 0_u64..20), 0..30),
    ) {
        let spans: Vec<_> = spans.into_iter().map(|(began, long)| span(began, began + long)).collect();
        let lanes = lanes(&spans);
        for (one, of_one) in spans.iter().zip(&lanes).enumerate().map(|(i, it)| ((i, it.0), it.1)) {
            for (other, of_other) in spans.iter().zip(&lanes).enumerate().map(|(i, it)| ((i, it.0), it.1)) {
                let apart = one.1.ended <= other.1.began || other.1.ended <= one.1.began;
                prop_assert!(one.0 == other.0 || of_one != of_other || apart);
            }
        }
        // As many things go on at once as there are lanes: at the instant when one of them begins.
        let at_once = |at: Duration| spans.iter().filter(|it| it.began <= at && (at < it.ended || it.began == at)).count();
        let most = spans.iter().map(|it| at_once(it.began)).max().unwrap_or_default();
        prop_assert!(lanes.iter().max().map_or(0, |last| last + 1) <= most);
    }
}

/// `first` is needed by `left` and `right` through a tree, and both by `last`.
const DIAMOND: &str = r#"
//- /BUILD.bld
load(":rules.bzl", "do", "gather")
do(name = "first", words = ["first"])
gather(name = "gathered", deps = [":first"])
do(name = "left", deps = {"g": ":gathered"}, words = ["left"])
do(name = "right", deps = {"g": ":gathered"}, words = ["right"])
do(name = "last", deps = {"l": ":left", "r": ":right"}, words = ["last"])
do(name = "alone", words = ["alone"])
"#;

/// Returns the name of the target whose command a node is.
fn name(graph: &Graph, id: NodeId) -> Option<&str> {
    if let Node::Run(run) = graph.node(id) { Some(&run.owner.label.name) } else { None }
}

fn node(graph: &Graph, wanted: &str) -> NodeId {
    (0..graph.len()).find(|id| name(graph, *id) == Some(wanted)).unwrap()
}

/// Returns the names on the critical path if these ran, from when to when.
fn critical(ran: &[(&str, u64, u64)]) -> Vec<String> {
    let plan = Workshop::new(DIAMOND).plan(&["//..."]).unwrap();
    let spans: BTreeMap<NodeId, Span> = ran
        .iter()
        .map(|(name, began, ended)| (node(&plan.graph, name), span(*began, *ended)))
        .collect();
    let path = critical_path(&plan.graph, &spans).into_iter();
    path.map(|id| name(&plan.graph, id).unwrap().to_owned()).collect()
}

#[test]
fn the_critical_path_is_the_chain_that_takes_longest() {
    let ran =
        [("first", 0, 5), ("left", 5, 8), ("right", 5, 30), ("last", 30, 31), ("alone", 0, 20)];
    assert_eq!(critical(&ran), ["first", "right", "last"]);
    let ran =
        [("first", 0, 5), ("left", 5, 28), ("right", 5, 7), ("last", 30, 31), ("alone", 0, 20)];
    assert_eq!(critical(&ran), ["first", "left", "last"]);
    let ran = [("first", 0, 5), ("left", 5, 8), ("right", 5, 9), ("last", 9, 10), ("alone", 0, 20)];
    assert_eq!(critical(&ran), ["alone"]);
}

#[test]
fn the_critical_path_leads_through_what_was_found() {
    assert_eq!(critical(&[("first", 0, 5), ("last", 5, 6)]), ["first", "last"]);
    assert_eq!(critical(&[("last", 5, 6)]), ["last"]);
    assert_eq!(critical(&[]), [""; 0]);
}

#[test]
fn what_was_made_again_later_held_nothing_up() {
    assert_eq!(critical(&[("left", 6, 9), ("last", 3, 8)]), ["last"]);
}
