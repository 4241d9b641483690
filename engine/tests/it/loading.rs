//! Loading: files that load files, and what is wrong with them.

use std::fmt::Write as _;

use expect_test::expect;

use crate::fixture::{Fixture, check};

#[test]
fn a_syntax_error_is_shown_with_a_caret() {
    check(
        "//- /p/BUILD.bld\nx = [1,\n     2\ny = 3\n",
        &expect![[r#"
        Parse error: unexpected identifier 'y', expected symbol ']'
         --> p/BUILD.bld:3:1
          |
        3 | y = 3
          | ^
    "#]],
    );
}

#[test]
fn a_caret_stands_below_what_it_means_behind_tabs_too() {
    check(
        "//- /BUILD.bld\nx = \"a\tb\" + nothing\n",
        &expect![[r#"
        Variable `nothing` not found
         --> BUILD.bld:1:13
          |
        1 | x = "a	b" + nothing
          |       	     ^^^^^^^
    "#]],
    );
}

#[test]
fn an_unknown_name_is_named_with_what_may_be_meant() {
    check(
        "//- /BUILD.bld\nglobb([\"*\"])\n",
        &expect![[r#"
        Variable `globb` not found, did you mean `glob`?
         --> BUILD.bld:1:1
          |
        1 | globb(["*"])
          | ^^^^^
    "#]],
    );
}

#[test]
fn files_that_load_each_other_are_shown_as_the_chain() {
    check(
        r#"
//- /BUILD.bld
load(":start.bzl", "X")
//- /start.bzl
load("//p:a.bzl", "X")
//- /p/a.bzl
load(":b.bzl", "X")
//- /p/b.bzl
load(":a.bzl", "X")
"#,
        &expect![[r#"
            files load each other: p/a.bzl → p/b.bzl → p/a.bzl
             --> p/b.bzl:1:1
              |
            1 | load(":a.bzl", "X")
              | ^^^^^^^^^^^^^^^^^^^
        "#]],
    );
}

#[test]
fn a_chain_of_loads_has_an_end() {
    let mut text = String::from("//- /BUILD.bld\nload(':f0.bzl', 'X')\n");
    for number in 0..40 {
        writeln!(text, "//- /f{number}.bzl\nload(':f{}.bzl', 'X')", number + 1).unwrap();
    }
    let said = Fixture::new(&text).render(&["//..."]);
    assert!(said.starts_with("more than 32 files load one another: f0.bzl → f1.bzl"), "{said}");
}

#[test]
fn a_file_that_cannot_be_loaded_is_named_where_it_is_loaded() {
    check(
        "//- /BUILD.bld\nload(\":lbi.bzl\", \"join\")\n",
        &expect![[r#"
        there is no file `lbi.bzl`, did you mean `lib.bzl`?
         --> BUILD.bld:1:1
          |
        1 | load(":lbi.bzl", "join")
          | ^^^^^^^^^^^^^^^^^^^^^^^^
    "#]],
    );
    check(
        "//- /BUILD.bld\nload(\"@rules//kernl.bzl\", \"x\")\n//- @rules/kernel.bzl\n",
        &expect![[r#"
        there is no file `@rules//kernl.bzl`, did you mean `kernel.bzl`?
         --> BUILD.bld:1:1
          |
        1 | load("@rules//kernl.bzl", "x")
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#]],
    );
    check(
        "//- /BUILD.bld\nload(\":lib.bzl\", \"joni\")\n",
        &expect![[r#"
        Module has no symbol `joni`, did you mean `join`?
         --> BUILD.bld:1:18
          |
        1 | load(":lib.bzl", "joni")
          |                  ^^^^^^
    "#]],
    );
    check(
        "//- /BUILD.bld\nload(\"lib\", \"join\")\n",
        &expect![[r#"
        `lib` cannot be loaded: write "@rules//file.bzl", "//package:file.bzl" or ":file.bzl"
         --> BUILD.bld:1:1
          |
        1 | load("lib", "join")
          | ^^^^^^^^^^^^^^^^^^^
    "#]],
    );
    check(
        "//- /BUILD.bld\nload(\"//../lib:x.bzl\", \"join\")\n",
        &expect![[r#"
        `//../lib:x.bzl` cannot be loaded: write "@rules//file.bzl", "//package:file.bzl" or ":file.bzl"
         --> BUILD.bld:1:1
          |
        1 | load("//../lib:x.bzl", "join")
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#]],
    );
}

#[test]
fn a_mistake_in_a_loaded_file_is_shown_there() {
    check(
        "//- /BUILD.bld\nload(\":bad.bzl\", \"x\")\n//- /bad.bzl\nx = 1 + \"2\"\n",
        &expect![[r#"
        Operation `+` not supported for types `int` and `string`
         --> bad.bzl:1:5
          |
        1 | x = 1 + "2"
          |     ^^^^^^^
    "#]],
    );
}

#[test]
fn one_file_is_one_file_however_its_label_splits_the_path() {
    check(
        r#"
//- /BUILD.bld
load("//a:b/c.bzl", one = "X")
load("//a/b:c.bzl", two = "X")
load(":lib.bzl", "join")
join(name = "x", text = one + two)
//- /a/b/c.bzl
load(":d.bzl", "X")
//- /a/b/d.bzl
X = read_text("text")
//- /a/b/text
text
"#,
        &expect![[r#"
            0 run //:x ["join", "text\ntext\n"] > out/joined
            //:x x=#0:out/joined
        "#]],
    );
}

#[test]
fn only_a_build_file_declares_targets_and_only_a_rule_file_makes_rules() {
    check(
        "//- /BUILD.bld\nload(\":bad.bzl\", \"x\")\n//- /bad.bzl\nload(\":lib.bzl\", \"join\")\njoin(name = \"a\")\nx = 1\n",
        &expect![[r#"
            join() declares a target, which only a BUILD.bld can do
             --> bad.bzl:2:1
              |
            2 | join(name = "a")
              | ^^^^^^^^^^^^^^^^
        "#]],
    );
    check(
        "//- /BUILD.bld\ndef _r(ctx):\n    return []\nr = rule(implementation = _r, attrs = {})\n",
        &expect![[r#"
            rules are made at the top of a .bzl file
             --> BUILD.bld:3:5
              |
            3 | r = rule(implementation = _r, attrs = {})
              |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        "#]],
    );
}

#[test]
fn a_function_that_calls_itself_is_stopped() {
    check(
        "//- /BUILD.bld\ndef f(x):\n    return f(x + 1)\nf(0)\n",
        &expect![[r#"
        calls nest too deeply: does a function call itself?
         --> BUILD.bld:2:12
          |
        2 |     return f(x + 1)
          |            ^^^^^^^^
          = called at BUILD.bld:3
    "#]],
    );
}

#[test]
fn a_folder_of_the_workspace_stands_in_for_the_rule_library() {
    let text = r#"
//- @rules/r.bzl
X = "built in"
//- /BUILD.bld
load("@rules//r.bzl", "X")
load(":lib.bzl", "join")
join(name = "a", text = X)
//- /mine/r.bzl
load(":other.bzl", Y = "X")
X = Y + read_text("text")
//- /mine/other.bzl
X = "mine "
//- /mine/text
own
"#;
    check(
        text,
        &expect![[r#"
        0 run //:a ["join", "built in"] > out/joined
        //:a a=#0:out/joined
    "#]],
    );
    let text = format!("{text}//- /bld.toml\nrules = \"mine\"\n");
    check(
        &text,
        &expect![[r#"
        0 run //:a ["join", "mine own\n"] > out/joined
        //:a a=#0:out/joined
    "#]],
    );
}

#[test]
fn the_same_files_make_the_same_plan_in_whatever_order_folders_are_listed() {
    let fixture = Fixture::new(
        r#"
//- /BUILD.bld
load(":lib.bzl", "join")
join(name = "z", srcs = glob(["**/*.c"]), deps = ["//p:b", "//q:a"])
//- /b.c
//- /a.c
//- /s/c.c
//- /q/BUILD.bld
load("//:lib.bzl", "join")
join(name = "a")
//- /p/BUILD.bld
load("//:lib.bzl", "join")
join(name = "b")
join(name = "a", matrix = {"z": ["2", "1"], "a": ["y", "x"]})
"#,
    );
    let plan = fixture.render(&["//..."]);
    assert_eq!(plan, fixture.render(&["//..."]));
    assert_eq!(plan, fixture.clone().backwards().render(&["//..."]));
    assert!(plan.contains("//p:a{a=y,z=2}"), "{plan}");
    // Asking in another order asks for the same.
    assert_eq!(fixture.goals(&["//q:a", "//p:b"]), fixture.goals(&["//p:b", "//q:a", "//p:b"]));
}
