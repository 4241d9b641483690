//! Cells that must fail, and cells that cannot be had.

use expect_test::expect;

use crate::fixture::{Fixture, check};
use crate::workshop::{Workshop, digests, endings};

const EXPECTED: &str = r#"
//- /BUILD.bld
load(":rules.bzl", "do")
do(
    name = "x",
    verb = "exit",
    words = select({"n=1": ["1"], "n=2": ["2"], "default": ["137"]}),
    matrix = {"n": ["1", "2", "3"]},
    xfail = XFAIL,
)
do(name = "timeout", verb = "timeout", matrix = {"n": ["1"]}, xfail = [{"n": "*"}])
do(name = "well", words = ["well"], matrix = {"n": ["1", "2"]}, xfail = [{"n": "2"}])
"#;

fn expecting(xfail: &str) -> Workshop {
    Workshop::new(&EXPECTED.replace("XFAIL", xfail))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_that_must_fail_and_does_is_no_failure_and_one_that_passes_is() {
    let workshop = expecting(r#"[{"n": "~[23]"}]"#);
    for _ in 0..2 {
        workshop.build().await;
    }
    let report = workshop.build().await;
    // A signal or a time-out says nothing about what was to be built.
    expect![[r"
        //:timeout{n=1} failed: //:timeout{n=1} (timeout) its time was up
        //:well{n=1} cached
        //:well{n=2} xpass
        //:x{n=1} failed: //:x{n=1} (exit) exit status 1, remembered
        //:x{n=2} xfail: //:x{n=2} (exit) exit status 2, remembered
        //:x{n=3} failed: //:x{n=3} (exit) exit status 137
    "]]
    .assert_eq(&endings(&workshop, &report));
    assert!(report.has_failed());
    assert_eq!(report.goals[2].outputs.len(), 1, "what passes is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn expecting_a_failure_changes_no_key() {
    let (one, other) = (expecting("[]"), expecting(r#"[{"n": "*"}]"#));
    assert_eq!(digests(&one.build().await), digests(&other.build().await));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_failures_that_must_be_leave_nothing_failed() {
    let build = "//- /BUILD.bld\nload(':rules.bzl', 'do')\ndo(name = 'x', verb = 'exit', words = ['1'], matrix = {'n': ['1']}, xfail = [{'n': '1'}])\n";
    assert!(!Workshop::new(build).build().await.has_failed());
    assert!(Workshop::new(&build.replace("'1'}]", "'2'}]")).build().await.has_failed());
    let without_axes = build.replace("matrix = {'n': ['1']}, xfail = [{'n': '1'}]", "xfail = [{}]");
    assert!(!Workshop::new(&without_axes).build().await.has_failed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_must_be_stops_nothing_unless_others_need_what_failed() {
    let build = "//- /BUILD.bld\nload(':rules.bzl', 'do')\ndo(name = 'a', verb = 'exit', words = ['1'], matrix = {'n': ['1']}, xfail = [{'n': '1'}])\ndo(name = 'b', words = ['b'], matrix = {'n': [str(n) for n in range(50)]})\n";
    let skipped = async |build: &str| {
        let mut workshop = Workshop::new(build);
        workshop.options.fail_fast = true;
        workshop.options.jobs = 1;
        let mut pretender = workshop.pretender(&workshop.store);
        pretender.delay = Box::new(|words| if words == "exit 1" { 0 } else { 500 });
        let report = workshop.build_with(pretender).await.unwrap();
        endings(&workshop, &report).matches("skipped").count()
    };
    assert_eq!(skipped(build).await, 0);
    let needed = format!("{build}do(name = 'c', deps = {{'a': ':a{{n=1}}'}})\n");
    assert!(skipped(&needed).await > 0);
}

#[test]
fn a_wrong_xfail_is_refused_by_its_name() {
    check(
        r#"
//- /BUILD.bld
load(":lib.bzl", "join")
join(name = "a", matrix = {"kernel": ["6.1"]}, xfail = [{"kernl": "6.1"}])
"#,
        &expect![[r#"
            `xfail` names `kernl`, which is not an axis, did you mean `kernel`?
             --> BUILD.bld:2:1
              |
            2 | join(name = "a", matrix = {"kernel": ["6.1"]}, xfail = [{"kernl": "6.1"}])
              | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        "#]],
    );
}

const UNAVAILABLE: &str = r#"
//- /k.bzl
load(":lib.bzl", "FileInfo", "join")
def _headers(ctx):
    kernel = ctx.cell["kernel"]
    if kernel in ctx.attr.lacking:
        return [UnavailableInfo(reason = "no headers for " + kernel)]
    file = ctx.actions.write(kernel)
    return [DefaultInfo(outputs = {kernel: file}), FileInfo(file = file)]
headers = rule(implementation = _headers, attrs = {"lacking": attr.string_list()})
def _one(ctx):
    return [DefaultInfo(outputs = {"one" + ctx.cell.get("kernel", ""): ctx.attr.dep[FileInfo].file})]
one = rule(implementation = _one, attrs = {"dep": attr.label(providers = [FileInfo])})
def _src(ctx):
    return [DefaultInfo(outputs = {"src" + ctx.cell["kernel"]: ctx.attr.src})]
src = rule(implementation = _src, attrs = {"src": attr.source()})
//- /BUILD.bld
load(":lib.bzl", "join")
load(":k.bzl", "headers", "one", "src")
KERNELS = {"kernel": ["1", "2", "3"]}
headers(name = "headers", lacking = LACKING, matrix = KERNELS)
one(name = "driver", dep = ":headers", matrix = KERNELS, xfail = [{"kernel": "2"}], exclude = [{"kernel": "3"}])
src(name = "copy", src = ":headers", matrix = KERNELS)
join(name = "every", srcs = [":headers"])
one(name = "named", dep = ":headers{kernel=2}")
"#;

#[test]
fn what_cannot_be_had_makes_unavailable_what_needs_it_and_is_left_out_where_many_are_wanted() {
    let lacking = |lacking: &str| {
        let plan = Fixture::new(&UNAVAILABLE.replace("LACKING", lacking));
        let plan = plan.render(&["//:every", "//:copy", "//:driver", "//:named"]);
        let goals = plan.lines().filter(|line| !line.starts_with(|it: char| it.is_ascii_digit()));
        goals.collect::<Vec<_>>().join("\n") + "\n"
    };
    expect![[r#"
        //:copy{kernel=1} src1=#0
        //:copy{kernel=2} unavailable: no headers for 2
        //:copy{kernel=3} unavailable: no headers for 3
        //:driver{kernel=1} one1=#0
        //:driver{kernel=2} xfail unavailable: no headers for 2
        //:driver{kernel=3} excluded
        //:every every=#1:out/joined
        //:named unavailable: no headers for 2
    "#]]
    .assert_eq(&lacking(r#"["2", "3"]"#));
    expect![[r#"
        //:copy{kernel=1} unavailable: no headers for 1
        //:copy{kernel=2} unavailable: no headers for 2
        //:copy{kernel=3} unavailable: no headers for 3
        //:driver{kernel=1} unavailable: no headers for 1
        //:driver{kernel=2} xfail unavailable: no headers for 2
        //:driver{kernel=3} excluded
        //:every unavailable: no headers for 1
        //:named unavailable: no headers for 2
    "#]]
    .assert_eq(&lacking(r#"["1", "2", "3"]"#));
}

#[test]
fn an_unavailable_target_gives_no_axis_and_nothing_else() {
    let said = |provides: &str| {
        let text = format!(
            "//- /k.bzl\ndef _list(ctx):\n    return [{provides}]\nlist = rule(implementation = _list, attrs = {{}})\n//- /BUILD.bld\nload(':lib.bzl', 'join')\nload(':k.bzl', 'list')\nlist(name = 'l')\njoin(name = 'a', matrix = {{'n': ':l'}})\n"
        );
        let said = Fixture::new(&text).render(&["//:a"]);
        format!("{}\n", said.lines().next().unwrap_or_default())
    };
    expect![[r#"
        the axis `n` of //:a: //:l is unavailable: no list
        the implementation of list returns UnavailableInfo beside other providers: it stands alone
        UnavailableInfo needs the field `reason`
    "#]]
    .assert_eq(
        &[
            "UnavailableInfo(reason = 'no list')",
            "UnavailableInfo(reason = 'no list'), AxisInfo(values = ['1'])",
            "UnavailableInfo()",
        ]
        .map(said)
        .concat(),
    );
}
