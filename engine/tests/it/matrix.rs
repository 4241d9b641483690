//! Matrices: one target over many cells, and what its dependencies see of them.

use engine::Node;
use expect_test::expect;

use crate::fixture::{Fixture, check};

const KERNELS: &str = r#"
//- /k.bzl
load(":lib.bzl", "FileInfo", "join")
def _list(ctx):
    return [AxisInfo(values = ctx.attr.values)]
kernel_list = rule(implementation = _list, attrs = {"values": attr.string_list()})
def _plain(ctx):
    return []
plain = rule(implementation = _plain, attrs = {"deps": attr.label_list()})
def _one(ctx):
    return [DefaultInfo(outputs = {"one": ctx.attr.dep[FileInfo].file})]
one = rule(implementation = _one, attrs = {"dep": attr.label(providers = [FileInfo])})
//- /BUILD.bld
load(":lib.bzl", "join")
load(":k.bzl", "kernel_list", "one", "plain")
kernel_list(name = "kernels", values = ["6.1", "6.12"])
"#;

fn kernels(build: &str) -> Fixture {
    Fixture::new(&format!("{KERNELS}{build}\n"))
}

#[test]
fn an_axis_has_the_values_that_a_target_gives_it() {
    expect![[r#"
        0 run //:a{kernel=6.1,kind=mod} ["join", ""] > out/joined kernel=6.1 kind=mod
        1 run //:a{kernel=6.1,kind=bpf} ["join", ""] > out/joined kernel=6.1 kind=bpf
        2 run //:a{kernel=6.12,kind=mod} ["join", ""] > out/joined kernel=6.12 kind=mod
        3 run //:a{kernel=6.12,kind=bpf} ["join", ""] > out/joined kernel=6.12 kind=bpf
        //:a{kernel=6.1,kind=bpf} a6.1bpf=#1:out/joined
        //:a{kernel=6.1,kind=mod} a6.1mod=#0:out/joined
        //:a{kernel=6.12,kind=bpf} a6.12bpf=#3:out/joined
        //:a{kernel=6.12,kind=mod} a6.12mod=#2:out/joined
    "#]].assert_eq(
        &kernels(r#"join(name = "a", matrix = {"kernel": ":kernels", "kind": ["mod", "bpf"]}, show_cell = True)"#)
            .render(&["//:a"]),
    );
}

#[test]
fn cells_can_be_excluded_by_globs_and_regular_expressions() {
    let fixture = kernels(
        r#"
join(
    name = "a",
    matrix = {"kernel": ["5.10", "6.1-rt", "6.1", "6.12"], "kind": ["mod", "bpf"]},
    exclude = [{"kernel": "*-rt"}, {"kernel": r"~6\.1\d", "kind": "bpf"}, {"kernel": "5.10", "kind": "mod"}],
)"#,
    );
    let plan = fixture.render(&["//:a"]);
    let excluded: String =
        plan.split_inclusive('\n').filter(|line| line.ends_with("excluded\n")).collect();
    expect![[r#"
        //:a{kernel=5.10,kind=mod} excluded
        //:a{kernel=6.1-rt,kind=bpf} excluded
        //:a{kernel=6.1-rt,kind=mod} excluded
        //:a{kernel=6.12,kind=bpf} excluded
    "#]]
    .assert_eq(&excluded);
}

#[test]
fn an_exclusion_that_cannot_be_is_refused() {
    let said = |exclude: &str| {
        let build =
            format!("join(name = 'a', matrix = {{'kernel': ['6.1']}}, exclude = {exclude})");
        let said = kernels(&build).render(&["//:a"]);
        format!("{exclude}\n    {}\n", said.lines().next().unwrap_or_default())
    };
    let excludes =
        ["[{'kernl': '6.1'}]", "[{'kernel': '~('}]", "[{'kernel': 6}]", "['6.1']", "'6.1'"];
    expect![[r#"
        [{'kernl': '6.1'}]
            `exclude` names `kernl`, which is not an axis, did you mean `kernel`?
        [{'kernel': '~('}]
            `exclude`: `~(` is not a pattern: unclosed group
        [{'kernel': 6}]
            `exclude` is a list of dicts from axes to patterns
        ['6.1']
            `exclude` is a list of dicts from axes to patterns
        '6.1'
            `exclude` is a list of dicts, not text
    "#]]
    .assert_eq(&excludes.map(said).concat());
}

#[test]
fn an_axis_that_cannot_be_is_refused() {
    let said = |matrix: &str| {
        let build = format!("join(name = 'a', matrix = {matrix})");
        let said = kernels(&build).render(&["//:a"]);
        format!("{matrix}\n    {}\n", said.lines().next().unwrap_or_default())
    };
    let matrices = [
        "['6.1']",
        "{7: ['6.1']}",
        "{'a=b': ['6.1']}",
        "{'kernel': [7]}",
        "{'kernel': ['6.1', '6.1']}",
        "{'kernel': ['6.1,6.2']}",
        "{'kernel': ['']}",
        "{'kernel': '6.1'}",
        "{'kernel': ':kernel'}",
        "{'kernel': ':lib.bzl'}",
    ];
    expect![[r#"
        ['6.1']
            `matrix` is a dict from axes to values, not a list
        {7: ['6.1']}
            the axes of a matrix are texts
        {'a=b': ['6.1']}
            `a=b` cannot be an axis: axes are named with letters, digits, - and _
        {'kernel': [7]}
            the axis `kernel` is a list of texts, or the label of a target that provides AxisInfo
        {'kernel': ['6.1', '6.1']}
            the axis `kernel`: the value `6.1` is there twice
        {'kernel': ['6.1,6.2']}
            the axis `kernel`: `6.1,6.2` cannot be a value: values are not empty, do not begin with ~, and have no space and none of , { } * ?
        {'kernel': ['']}
            the axis `kernel`: `` cannot be a value: values are not empty, do not begin with ~, and have no space and none of , { } * ?
        {'kernel': '6.1'}
            `6.1` is not a label: labels look like //package:name, //package or :name
        {'kernel': ':kernel'}
            the axis `kernel` of //:a: BUILD.bld declares no target `kernel`, did you mean `kernels`?
        {'kernel': ':lib.bzl'}
            the axis `kernel` of //:a: BUILD.bld declares no target `lib.bzl`
    "#]].assert_eq(&matrices.map(said).concat());
    expect![[r#"
        the axis `kernel` of //:b: //:a does not provide AxisInfo
         --> BUILD.bld:5:1
          |
        5 | join(name = 'b', matrix = {'kernel': ':a'})
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#]]
    .assert_eq(
        &kernels("join(name = 'a')\njoin(name = 'b', matrix = {'kernel': ':a'})").render(&["//:b"]),
    );
    expect![[r#"
        the axis `kernel` of //:b: //:bad: the value `x` is there twice
         --> BUILD.bld:5:1
          |
        5 | join(name = 'b', matrix = {'kernel': ':bad'})
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#]].assert_eq(
        &kernels("kernel_list(name = 'bad', values = ['x', 'x'])\njoin(name = 'b', matrix = {'kernel': ':bad'})")
            .render(&["//:b"]),
    );
}

#[test]
fn a_matrix_of_too_many_cells_is_refused() {
    let axes: Vec<_> =
        (0..7).map(|axis| format!("'a{axis}': [str(n) for n in range(10)]")).collect();
    let axes = axes.join(", ");
    expect![[r#"
        //:a has more than 1000000 cells
         --> BUILD.bld:4:1
          |
        4 | join(name = 'a', matrix = {'a0': [str(n) for n in range(10)], 'a1': [str(n) for n in range(10)], 'a2': [str(n) for n in range(10)], 'a3': [str(n) for n in range(10)], 'a4': [str(n) for n in range(10)], 'a5': [str(n) for n in range(10)], 'a6': [str(n) for n in range(10)]})
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#]].assert_eq(&kernels(&format!("join(name = 'a', matrix = {{{axes}}})")).render(&["//:a"]));
}

#[test]
fn a_dependency_sees_only_its_own_axes_and_is_analysed_once_for_each_of_them() {
    let fixture = kernels(
        r#"
join(name = "headers", matrix = {"kernel": ":kernels"}, show_cell = True)
join(name = "root")
join(
    name = "a",
    matrix = {"kernel": ":kernels", "kind": ["mod", "bpf"], "version": ["1", "2", "3"]},
    deps = [":headers", ":root"],
)"#,
    );
    let plan = fixture.plan(&["//:a"]).unwrap();
    let count = |name: &str| {
        let is = |id: &usize| matches!(plan.graph.node(*id), Node::Run(run) if run.owner.label.name == name);
        (0..plan.graph.len()).filter(is).count()
    };
    assert_eq!((count("headers"), count("root"), count("a")), (2, 1, 12));
}

#[test]
fn a_list_of_labels_stands_for_all_cells_that_are_not_excluded() {
    expect![[r#"
        0 run //:a{kernel=6.1,kind=mod} ["join", ""] > out/joined
        1 run //:a{kernel=6.12,kind=mod} ["join", ""] > out/joined
        2 run //:a{kernel=6.12,kind=bpf} ["join", ""] > out/joined
        3 run //:whole ["join", ""] /deps/a6.12bpf=#2:out/joined /deps/a6.12mod=#1:out/joined /deps/a6.1mod=#0:out/joined > out/joined
        4 run //:for_each{kernel=6.1} ["join", ""] /deps/a6.1mod=#0:out/joined > out/joined
        5 run //:for_each{kernel=6.12} ["join", ""] /deps/a6.12bpf=#2:out/joined /deps/a6.12mod=#1:out/joined > out/joined
        6 run //:some ["join", ""] /deps/a6.12bpf=#2:out/joined /deps/a6.12mod=#1:out/joined > out/joined
        //:for_each{kernel=6.1} for_each6.1=#4:out/joined
        //:for_each{kernel=6.12} for_each6.12=#5:out/joined
        //:some some=#6:out/joined
        //:whole whole=#3:out/joined
    "#]].assert_eq(
        &kernels(
            r#"
join(name = "a", matrix = {"kernel": ":kernels", "kind": ["mod", "bpf"]}, exclude = [{"kernel": "6.1", "kind": "bpf"}])
join(name = "whole", deps = [":a"])
join(name = "for_each", deps = [":a"], matrix = {"kernel": ":kernels"})
join(name = "some", deps = [":a{kernel=6.12}"])"#,
        )
        .render(&["//:whole", "//:for_each", "//:some"]),
    );
}

#[test]
fn a_label_stands_for_one_cell() {
    let fixture = |dep: &str| {
        kernels(&format!(
            "join(name = 'a', matrix = {{'kernel': ':kernels'}}, exclude = [{{'kernel': '6.12'}}])\none(name = 'b', dep = '{dep}')"
        ))
    };
    expect![[r#"
        0 run //:a{kernel=6.1} ["join", ""] > out/joined
        //:b one=#0:out/joined
    "#]]
    .assert_eq(&fixture(":a{kernel=6.1}").render(&["//:b"]));
    expect![[r#"
        `dep` of //:b: //:a has no cell {kernel=5.10}
         --> BUILD.bld:5:1
          |
        5 | one(name = 'b', dep = ':a{kernel=5.10}')
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#]]
    .assert_eq(&fixture(":a{kernel=5.10}").render(&["//:b"]));
    expect![[r#"
        `dep` of //:b: //:a has no axis `kernl`, did you mean `kernel`?
         --> BUILD.bld:5:1
          |
        5 | one(name = 'b', dep = ':a{kernl=6.1}')
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#]]
    .assert_eq(&fixture(":a{kernl=6.1}").render(&["//:b"]));
    expect![[r#"
        `dep` of //:b: `:a{kernel=6.12}` has no cell that is not excluded
         --> BUILD.bld:5:1
          |
        5 | one(name = 'b', dep = ':a{kernel=6.12}')
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#]]
    .assert_eq(&fixture(":a{kernel=6.12}").render(&["//:b"]));
    let fixture =
        kernels("join(name = 'a', matrix = {'kernel': ':kernels'})\none(name = 'b', dep = ':a')");
    expect![[r#"
        `dep` of //:b: `:a` stands for 2 cells, but one is wanted: choose one with {kernel=…}, or give this target the axis `kernel`
         --> BUILD.bld:5:1
          |
        5 | one(name = 'b', dep = ':a')
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#]].assert_eq(&fixture.render(&["//:b"]));
}

#[test]
fn a_dependency_must_have_the_cell() {
    expect![[r#"
        `dep` of //:b: //:a has no cell {kernel=6.12}
         --> BUILD.bld:6:1
          |
        6 | one(name = "b", dep = ":a", matrix = {"kernel": ":kernels"})
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#]]
    .assert_eq(
        &kernels(
            r#"
join(name = "a", matrix = {"kernel": ["6.1"]})
one(name = "b", dep = ":a", matrix = {"kernel": ":kernels"})"#,
        )
        .render(&["//:b"]),
    );
}

#[test]
fn targets_that_depend_on_each_other_are_shown_as_the_chain() {
    expect![[r#"
        targets depend on each other: //:a{kernel=6.1} → //:b{kernel=6.1} → //:a{kernel=6.1}
         --> BUILD.bld:6:1
          |
        6 | plain(name = "a", deps = [":b"], matrix = {"kernel": ["6.1"]})
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#]]
    .assert_eq(
        &kernels(
            r#"
plain(name = "start", deps = [":a"])
plain(name = "a", deps = [":b"], matrix = {"kernel": ["6.1"]})
plain(name = "b", deps = [":a"], matrix = {"kernel": ["6.1"]})"#,
        )
        .render(&["//:start"]),
    );
    check(
        "//- /BUILD.bld\nload(':lib.bzl', 'join')\njoin(name = 'a', matrix = {'kernel': ':a'})\n",
        &expect![[r#"
            the axis `kernel` of //:a: //:a has a matrix itself
             --> BUILD.bld:2:1
              |
            2 | join(name = 'a', matrix = {'kernel': ':a'})
              | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        "#]],
    );
}

#[test]
fn a_chain_of_dependencies_has_an_end_that_the_stack_can_hold() {
    let chain = |length: usize| {
        let links = format!(
            "plain(name = 't0')\n[plain(name = 't%d' % n, deps = [':t%d' % (n - 1)]) for n in range(1, {length})]"
        );
        kernels(&links).render(&[&format!("//:t{}", length - 1)])
    };
    assert_eq!(chain(1000), "//:t999\n");
    expect![[r#"
        //:t499 is more than 1000 dependencies away from //:t1499
         --> BUILD.bld:5:2
          |
        5 | [plain(name = 't%d' % n, deps = [':t%d' % (n - 1)]) for n in range(1, 1500)]
          |  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#]]
    .assert_eq(&chain(1500));
}
