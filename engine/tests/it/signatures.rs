//! Deep signatures: equal where a build makes the same, different where it may not.

use std::collections::BTreeMap;

use engine::{Plan, signature};
use model::{Digest, DigestFunction};

use crate::fixture::Fixture;

/// A source is joined, put into a tree, and joined again in two cells.
const CHAIN: &str = r#"
//- /BUILD.bld
load(":lib.bzl", "join")
join(name = "a", srcs = ["a.c"], text = "A")
join(name = "b", srcs = ["b.c"], text = "B")
join(name = "both", deps = [":a", ":b"], text = "all", matrix = {"n": ["1", "2"]}, show_cell = True)
//- /a.c
a
//- /b.c
b
"#;

/// Returns the signature of each goal; a source is what its text says.
fn goals(fixture: &Fixture, changed: &str) -> BTreeMap<String, Digest> {
    let plan = fixture.plan(&["//..."]).unwrap();
    let all = signatures(&plan, changed);
    let of = |goal: &engine::Goal| {
        let found = signature::of_goal(goal, |id| Some(all[id])).unwrap();
        (format!("{}{}", goal.label, goal.cell), found)
    };
    plan.goals.iter().map(of).collect()
}

fn signatures(plan: &Plan, changed: &str) -> Vec<Digest> {
    signature::signatures(plan, |path| {
        let text = if path.as_str() == changed { "changed" } else { path.as_str() };
        Digest::of(DigestFunction::Blake3, text.as_bytes())
    })
}

fn differing(left: &BTreeMap<String, Digest>, right: &BTreeMap<String, Digest>) -> Vec<String> {
    left.iter()
        .filter(|(name, it)| right.get(*name) != Some(it))
        .map(|(it, _)| it.clone())
        .collect()
}

#[test]
fn a_changed_source_changes_the_signature_of_all_that_reads_it() {
    let fixture = Fixture::new(CHAIN);
    let before = goals(&fixture, "");
    assert_eq!(differing(&before, &goals(&fixture, "")), [""; 0]);
    let after = goals(&fixture, "b.c");
    assert_eq!(differing(&before, &after), ["//:b", "//:both{n=1}", "//:both{n=2}"]);
}

#[test]
fn names_are_in_no_signature() {
    let before = goals(&Fixture::new(CHAIN), "");
    let renamed = CHAIN
        .replace("name = \"a\"", "name = \"first\"")
        .replace("\":a\"", "\":first\"")
        .replace("/deps/a", "/deps/first");
    let after = goals(&Fixture::new(&renamed), "");
    // The goal's output is called after its target, and a join shows its dependencies under their names.
    assert_eq!(before["//:b"], after["//:b"]);
    let plan = Fixture::new(CHAIN).plan(&["//:a"]).unwrap();
    let other = Fixture::new(&renamed).plan(&["//:first"]).unwrap();
    assert_eq!(signatures(&plan, ""), signatures(&other, ""));
}

#[test]
fn everything_that_a_rule_says_is_in_the_signature() {
    let original = goals(&Fixture::new(CHAIN), "");
    for (from, to) in [
        ("text = \"A\"", "text = \"other\""),
        ("srcs = [\"a.c\"]", "srcs = [\"a.c\", \"b.c\"]"),
        ("text = \"A\"", "text = \"A\", out = \"other\""),
    ] {
        let changed = goals(&Fixture::new(&CHAIN.replace(from, to)), "");
        assert_eq!(
            differing(&original, &changed),
            ["//:a", "//:both{n=1}", "//:both{n=2}"],
            "{from} → {to}"
        );
    }
    let environment = CHAIN.replace("show_cell = True", "show_cell = False");
    let changed = goals(&Fixture::new(&environment), "");
    assert_eq!(differing(&original, &changed), ["//:both{n=1}", "//:both{n=2}"]);
}

#[test]
fn an_action_with_a_key_is_what_its_key_says_and_one_without_is_not_known() {
    let plan = Fixture::new(CHAIN).plan(&["//..."]).unwrap();
    let source = |changed: &'static str| {
        move |path: &model::RelativePath| {
            let text = if path.as_str() == changed { "changed" } else { "" };
            Digest::of(DigestFunction::Blake3, text.as_bytes())
        }
    };
    let key = |id| {
        let owner = plan.graph.node(id).action_owner()?;
        let known = owner.label.name != "b";
        known.then(|| model::ActionDigest(Digest::of(DigestFunction::Blake3, b"key")))
    };
    let before = signature::identities(&plan, key, source(""));
    let after = signature::identities(&plan, key, source("a.c"));
    let goal = |name: &str| plan.goals.iter().find(|goal| goal.label.name == name).unwrap();
    let of = |name, all: &[Option<Digest>]| signature::of_goal(goal(name), |id| all[id]);
    assert_eq!(of("a", &before), of("a", &after), "the key says what the source came to");
    assert!(of("a", &before).is_some());
    assert_eq!(of("b", &before), None);
}
