//! From places in a sandbox to what people know.

use engine::{Change, Node, Origin, Plan};
use expect_test::{Expect, expect};
use model::RelativePath;

use crate::fixture::Fixture;
use crate::workshop::Workshop;

const RULES: &str = r#"
//- /r.bzl
load(":rules.bzl", "FileInfo")
def _deep(ctx):
    script = ctx.actions.write("exit 0\n")
    inner = ctx.actions.tree({"x/" + path.removeprefix("c/"): it for path, it in ctx.attr.srcs.items()})
    [made] = ctx.actions.run(
        arguments = ["join"],
        inputs = {
            "/": ctx.attr.root[FileInfo].file,
            "/bld": ctx.actions.tree({"build.sh": script}),
            "/src": inner,
        },
        outputs = ["made"],
        role = "deep",
    )
    tree = ctx.actions.builtin("compose", inputs = [inner, ctx.attr.root[FileInfo].file], options = [], role = "composed")
    return [DefaultInfo(outputs = {ctx.name: made, "tree": tree})]
deep = rule(implementation = _deep, attrs = {"srcs": attr.source_list(), "root": attr.label(providers = [FileInfo])})
//- /p/BUILD.bld
load("//:rules.bzl", "do")
load("//:r.bzl", "deep")
do(name = "root", verb = "tree")
do(name = "flat", srcs = ["c/a.c", "c/b.c"], root = ":root")
deep(name = "deep", srcs = ["c/a.c", "c/b.c", "c/sub"], root = ":root")
//- /p/c/a.c
//- /p/c/b.c
//- /p/c/sub/inner.c
//- /BUILD.bld
"#;

fn plan() -> Plan {
    Workshop::new(RULES).plan(&["//..."]).unwrap()
}

/// Compares what stands at places of a target's action, each after a change.
#[track_caller]
fn check(plan: &Plan, owner: &str, places: &[(&str, Change)], expected: &Expect) {
    let is_it = |id: &usize| {
        let node = plan.graph.node(*id);
        matches!(node, Node::Run(run) if run.owner.to_string() == owner)
            || matches!(node, Node::Builtin(it) if it.owner.to_string() == owner)
    };
    let node = (0..plan.graph.len()).find(is_it).unwrap();
    let tell = |(place, change): &(&str, Change)| {
        let path = RelativePath::new(*place).unwrap();
        let origin = match Origin::of(&plan.graph, node, &path, *change) {
            Some(Origin::Source(path)) => format!("source {path}"),
            Some(Origin::Locked { name, path }) => format!("{path} of {name:?}"),
            Some(Origin::Written) => "written".to_owned(),
            Some(Origin::Made { owner, path }) => format!("`{path}` of {owner}"),
            None => "unknown".to_owned(),
        };
        format!("{place} {change:?}: {origin}\n")
    };
    let told: Vec<_> = places.iter().map(tell).collect();
    expected.assert_eq(&told.concat());
}

#[test]
fn a_place_leads_through_trees_to_the_source_or_the_action_that_makes_it() {
    check(
        &plan(),
        "//p:deep (deep)",
        &[
            ("src/x/a.c", Change::Content),
            ("src/x/sub/inner.c", Change::Content),
            ("src/x/sub/deeper/new.c", Change::Added),
            ("bld/build.sh", Change::Content),
            ("one", Change::Content),
            ("usr/lib", Change::Added),
        ],
        &expect![[r#"
            src/x/a.c Content: source p/c/a.c
            src/x/sub/inner.c Content: source p/c/sub/inner.c
            src/x/sub/deeper/new.c Added: source p/c/sub/deeper/new.c
            bld/build.sh Content: written
            one Content: `one` of //p:root (tree)
            usr/lib Added: `usr/lib` of //p:root (tree)
        "#]],
    );
    check(
        &plan(),
        "//p:deep (composed)",
        &[("0/x/b.c", Change::Content), ("1/sub/two", Change::Content), ("7", Change::Content)],
        &expect![[r#"
            0/x/b.c Content: source p/c/b.c
            1/sub/two Content: `sub/two` of //p:root (tree)
            7 Content: unknown
        "#]],
    );
}

#[test]
fn what_was_removed_is_called_after_what_is_still_beside_it() {
    let removed = |place| (place, Change::Removed);
    check(
        &plan(),
        "//p:flat (join)",
        &[removed("src/c/gone.c"), removed("src/elsewhere/gone.c"), removed("gone")],
        &expect![[r#"
            src/c/gone.c Removed: source p/c/gone.c
            src/elsewhere/gone.c Removed: unknown
            gone Removed: unknown
        "#]],
    );
    check(
        &plan(),
        "//p:deep (deep)",
        &[removed("src/x/gone.c"), removed("src/x/sub/gone.c"), removed("bld/gone")],
        &expect![[r#"
            src/x/gone.c Removed: source p/c/gone.c
            src/x/sub/gone.c Removed: source p/c/sub/gone.c
            bld/gone Removed: unknown
        "#]],
    );
}

#[test]
fn a_folder_that_is_new_is_called_after_what_is_placed_in_it() {
    let plan = Workshop::new(
        &RULES.replace(", root = \":root\")", ")").replace("deep(name", "# deep(name"),
    );
    check(
        &plan.plan(&["//..."]).unwrap(),
        "//p:flat (join)",
        &[("src", Change::Added), ("src/c", Change::Added), ("nowhere", Change::Added)],
        &expect![[r#"
            src Added: source p/c/a.c
            src/c Added: source p/c/a.c
            nowhere Added: unknown
        "#]],
    );
}

#[test]
fn a_locked_tree_is_called_what_the_lock_calls_it() {
    let text = r#"
//- /r.bzl
def _root(ctx):
    trees = [it.tree for it in ctx.locked]
    return [DefaultInfo(outputs = {"root": ctx.actions.builtin("compose", inputs = trees, options = [])})]
root = rule(implementation = _root, attrs = {"packages": attr.string_list()}, lock = {"packages": ["packages"]})
//- /BUILD.bld
load(":r.bzl", "root")
root(name = "a", packages = ["gcc", "make"])
"#;
    let fixture = Fixture::new(text).locking("//:a", &[("-", "gcc", "12.2"), ("-", "make", "4.3")]);
    let plan = fixture.plan(&["//:a"]).unwrap();
    check(
        &plan,
        "//:a",
        &[("0/usr/bin/gcc", Change::Content), ("1", Change::Content)],
        &expect![[r#"
            0/usr/bin/gcc Content: usr/bin/gcc of Some("gcc 12.2")
            1 Content:  of Some("make 4.3")
        "#]],
    );
    assert_eq!(plan.graph.rule(&plan.goals[0].label), Some("root"));
}
