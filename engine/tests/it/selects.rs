//! Select: values that depend on the cell and on the settings.

use expect_test::expect;

use crate::fixture::{Fixture, check};

const SETTINGS: &str = r#"
//- /bld.toml
[settings]
mode = ["fast", "small"]
//- /BUILD.bld
load(":lib.bzl", "join")
"#;

fn with_settings(build: &str) -> Fixture {
    Fixture::new(&format!("{SETTINGS}{build}\n"))
}

#[test]
fn a_select_looks_at_the_cell() {
    check(
        r#"
//- /BUILD.bld
load(":lib.bzl", "join")
join(
    name = "a",
    matrix = {"kernel": ["5.10", "6.1", "6.12"]},
    text = select({"kernel=6.1": "one", "kernel=6.*": "six", "default": "other"}),
)
"#,
        &expect![[r#"
            0 run //:a{kernel=5.10} ["join", "other"] > out/joined
            1 run //:a{kernel=6.1} ["join", "one"] > out/joined
            2 run //:a{kernel=6.12} ["join", "six"] > out/joined
            //:a{kernel=5.10} a5.10=#0:out/joined
            //:a{kernel=6.1} a6.1=#1:out/joined
            //:a{kernel=6.12} a6.12=#2:out/joined
        "#]],
    );
}

#[test]
fn a_select_looks_at_the_settings() {
    let fixture = with_settings(
        r#"join(name = "a", text = select({"mode=fast": "-O3", "mode=small": "-Os"}))"#,
    );
    expect![[r#"
        0 run //:a ["join", "-O3"] > out/joined
        //:a a=#0:out/joined
    "#]]
    .assert_eq(&fixture.render(&["//..."]));
    expect![[r#"
        0 run //:a ["join", "-Os"] > out/joined
        //:a a=#0:out/joined
    "#]]
    .assert_eq(&fixture.clone().with("mode", "small").render(&["//..."]));
    expect![[r#"
        `smal` is not a value of the setting `mode` (they are: fast, small)
    "#]]
    .assert_eq(&fixture.clone().with("mode", "smal").render(&["//..."]));
    expect![[r#"
        there is no setting `mood`; bld.toml declares them under [settings]
    "#]]
    .assert_eq(&fixture.with("mood", "small").render(&["//..."]));
}

#[test]
fn several_conditions_hold_together_or_not_at_all() {
    let fixture = with_settings(
        r#"join(name = "a", matrix = {"kind": ["mod", "bpf"]}, text = select({"kind=mod,mode=fast": "both", "kind=bpf": "bpf"}))"#,
    );
    expect![[r#"
        //:a{kind=bpf}
        //:a{kind=mod}
    "#]]
    .assert_eq(&fixture.goals(&["//..."]));
    expect![[r#"
        `text` of //:a: no condition holds (there are: kind=mod,mode=fast, kind=bpf); add "default"
         --> BUILD.bld:2:1
          |
        2 | join(name = "a", matrix = {"kind": ["mod", "bpf"]}, text = select({"kind=mod,mode=fast": "both", "kind=bpf": "bpf"}))
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#]].assert_eq(&fixture.with("mode", "small").goals(&["//..."]));
}

#[test]
fn a_condition_must_be_of_something_that_is_known() {
    let fixture =
        with_settings(r#"join(name = "a", text = select({"kernel=6.1": "x", "default": "y"}))"#);
    expect![[r#"
        `text` of //:a: the condition `kernel=6.1` asks for `kernel`, which is neither an axis of this target nor a setting
         --> BUILD.bld:2:1
          |
        2 | join(name = "a", text = select({"kernel=6.1": "x", "default": "y"}))
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#]].assert_eq(&fixture.render(&["//..."]));
    let fixture = with_settings(r#"join(name = "a", text = select({"fast": "x"}))"#);
    expect![[r#"
        `fast` is not a condition: write "axis=pattern", several with commas between them, or "default"
         --> BUILD.bld:2:25
          |
        2 | join(name = "a", text = select({"fast": "x"}))
          |                         ^^^^^^^^^^^^^^^^^^^^^
    "#]].assert_eq(&fixture.render(&["//..."]));
    let fixture = with_settings(r#"join(name = "a", text = select({"mode=~(": "x"}))"#);
    expect![[r#"
        `mode=~(` is not a condition: `~(` is not a pattern: unclosed group
         --> BUILD.bld:2:25
          |
        2 | join(name = "a", text = select({"mode=~(": "x"}))
          |                         ^^^^^^^^^^^^^^^^^^^^^^^^
    "#]]
    .assert_eq(&fixture.render(&["//..."]));
}

#[test]
fn every_branch_is_checked_even_those_that_no_cell_takes() {
    let fixture =
        with_settings(r#"join(name = "a", text = select({"mode=fast": "x", "default": 7}))"#);
    expect![[r#"
        `text` of //:a: text is wanted, not a number
         --> BUILD.bld:2:1
          |
        2 | join(name = "a", text = select({"mode=fast": "x", "default": 7}))
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#]]
    .assert_eq(&fixture.render(&["//..."]));
}
