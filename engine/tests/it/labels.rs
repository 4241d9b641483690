//! Labels and patterns: which targets and cells somebody means.

use expect_test::expect;

use crate::fixture::Fixture;

const PACKAGES: &str = r#"
//- /BUILD.bld
load("//:lib.bzl", "join")
join(name = "top")
//- /drivers/BUILD.bld
load("//:lib.bzl", "join")
join(name = "echo", matrix = {"kernel": ["6.1", "6.12"], "kind": ["mod", "bpf"]})
join(name = "drivers")
join(name = "slow", tags = ["manual"])
//- /drivers/extra/BUILD.bld
load("//:lib.bzl", "join")
join(name = "more")
//- /.hidden/BUILD.bld
fail("nobody looks here")
//- /bld-out/BUILD.bld
fail("nor here")
"#;

fn goals(patterns: &[&str]) -> String {
    Fixture::new(PACKAGES).goals(patterns)
}

#[test]
fn patterns_stand_for_every_target_that_is_not_manual() {
    expect![[r#"
        //:top
        //drivers:drivers
        //drivers:echo{kernel=6.1,kind=bpf}
        //drivers:echo{kernel=6.1,kind=mod}
        //drivers:echo{kernel=6.12,kind=bpf}
        //drivers:echo{kernel=6.12,kind=mod}
        //drivers/extra:more
    "#]]
    .assert_eq(&goals(&["//..."]));
    expect![[r#"
        //drivers:drivers
        //drivers:echo{kernel=6.1,kind=bpf}
        //drivers:echo{kernel=6.1,kind=mod}
        //drivers:echo{kernel=6.12,kind=bpf}
        //drivers:echo{kernel=6.12,kind=mod}
    "#]]
    .assert_eq(&goals(&["//drivers:all"]));
    expect![[r#"
        //drivers/extra:more
    "#]]
    .assert_eq(&goals(&["//drivers/extra/..."]));
    expect![[r#"
        //drivers:drivers
        //drivers:slow
    "#]]
    .assert_eq(&goals(&["//drivers", "//drivers:slow", "//drivers:slow"]));
}

#[test]
fn braces_choose_cells() {
    expect![[r#"
        //drivers:echo{kernel=6.1,kind=mod}
        //drivers:echo{kernel=6.12,kind=mod}
    "#]]
    .assert_eq(&goals(&["//drivers:echo{kind=mod}"]));
    expect![[r#"
        //drivers:echo{kernel=6.1,kind=bpf}
        //drivers:echo{kernel=6.12,kind=bpf}
    "#]]
    .assert_eq(&goals(&["//drivers:echo{kernel=6.1*,kind=~b.f}"]));
    expect![[r#"
        no cell of //drivers:echo matches {kernel=5.*}
    "#]]
    .assert_eq(&goals(&["//drivers:echo{kernel=5.*}"]));
}

#[test]
fn a_choice_of_cells_among_many_targets_means_those_that_have_the_axes() {
    expect![[r#"
        //drivers:echo{kernel=6.12,kind=bpf}
        //drivers:echo{kernel=6.12,kind=mod}
    "#]]
    .assert_eq(&goals(&["//...{kernel=6.12}"]));
    expect![[r#"
        no cell of //... matches {colour=red}
    "#]]
    .assert_eq(&goals(&["//...{colour=red}"]));
}

#[test]
fn what_is_not_there_is_named_with_what_may_be_meant() {
    expect![[r#"
        drivers/BUILD.bld declares no target `ecko`, did you mean `echo`?
    "#]]
    .assert_eq(&goals(&["//drivers:ecko"]));
    expect![[r#"
        there is no package //driver: driver/BUILD.bld does not exist, did you mean `//drivers`?
    "#]]
    .assert_eq(&goals(&["//driver:echo"]));
    expect![[r#"
        //drivers:echo has no axis `kernl`, did you mean `kernel`?
    "#]]
    .assert_eq(&goals(&["//drivers:echo{kernl=6.1}"]));
    expect![[r#"
        //drivers:echo has no axis `colour` (its axes are: `kernel`, `kind`)
    "#]]
    .assert_eq(&goals(&["//drivers:echo{colour=red}"]));
    expect![[r#"
        no cell of //drivers:echo matches {kernel=6.12,kind=mdo}, did you mean `mod`?
    "#]]
    .assert_eq(&goals(&["//drivers:echo{kernel=6.12,kind=mdo}"]));
    expect![[r#"
        no cell of //... matches {kernel=6.122}, did you mean `6.12`?
    "#]]
    .assert_eq(&goals(&["//...{kernel=6.122}"]));
    expect![[r#"
        //drivers:drivers has no axis `kernel`, and no other: it has no matrix
    "#]]
    .assert_eq(&goals(&["//drivers:drivers{kernel=6.1}"]));
    expect![[r#"
        there is no package at or below //nothing
    "#]]
    .assert_eq(&goals(&["//nothing/..."]));
    expect![[r#"
        BUILD.bld declares no target `nothing-like-it`
    "#]]
    .assert_eq(&goals(&["//:nothing-like-it"]));
}

#[test]
fn what_is_no_label_is_refused() {
    expect![[r#"
        `//drivers:a b` is not a label: the name of a target is made of letters, digits and -_.+=,@~/, and is not `all` or `...`
    "#]].assert_eq(&goals(&["//drivers:a b"]));
    expect![[r#"
        `//../drivers:echo` is not a label: its package is not a path inside the workspace
    "#]]
    .assert_eq(&goals(&["//../drivers:echo"]));
    expect![[r#"
        `//drivers:echo{kernel}` does not choose cells: the braces hold axis=value, with commas between them
    "#]].assert_eq(&goals(&["//drivers:echo{kernel}"]));
    expect![[r#"
        `//drivers:echo{kind=mod,kind=bpf}` does not choose cells: the axis `kind` is named twice; a glob or ~regular expression can stand for many values
    "#]].assert_eq(&goals(&["//drivers:echo{kind=mod,kind=bpf}"]));
    expect![[r#"
        `//drivers:echo{kernel=~6.(1}` does not choose cells: `~6.(1` is not a pattern: unclosed group
    "#]].assert_eq(&goals(&["//drivers:echo{kernel=~6.(1}"]));
    expect![[r#"
        `//` is not a label: labels look like //package:name, //package or :name
    "#]]
    .assert_eq(&goals(&["//"]));
}
