//! Providers and implementations: what targets tell each other.

use expect_test::expect;

use crate::fixture::check;

#[test]
fn a_provider_that_is_demanded_and_lacking_is_named() {
    check(
        r#"
//- /p.bzl
OneInfo = provider(fields = {"x": "string"})
OtherInfo = provider(fields = {"x": "string"})
def _has(ctx):
    return [OneInfo(x = "1")]
has = rule(implementation = _has, attrs = {})
def _wants(ctx):
    return []
wants = rule(implementation = _wants, attrs = {"dep": attr.label(providers = [OtherInfo])})
//- /BUILD.bld
load(":p.bzl", "has", "wants")
has(name = "a")
wants(name = "b", dep = ":a")
"#,
        &expect![[r#"
            `dep` of //:b: //:a does not provide OtherInfo (it provides OneInfo, DefaultInfo)
             --> BUILD.bld:3:1
              |
            3 | wants(name = "b", dep = ":a")
              | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        "#]],
    );
}

fn implementation(body: &str) -> String {
    let text = format!(
        r#"
//- /p.bzl
XInfo = provider(fields = {{"text": "string", "list": "list", "file": "artifact", "any": "any"}})
YInfo = provider(fields = {{}})
def _r(ctx):
{body}
r = rule(implementation = _r, attrs = {{"dep": attr.label(), "word": attr.string()}})
//- /BUILD.bld
load(":p.bzl", "r")
r(name = "a")
r(name = "b", dep = ":a")
"#
    );
    crate::fixture::Fixture::new(&text).render(&["//..."])
}

#[test]
fn fail_shows_the_rule_and_the_target() {
    expect![[r#"
        the kernel a is not there
         --> p.bzl:4:5
          |
        4 |     fail("the kernel", ctx.name, "is not there")
          |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          = for //:a at BUILD.bld:2
    "#]]
    .assert_eq(&implementation("    fail(\"the kernel\", ctx.name, \"is not there\")"));
}

#[test]
fn a_mistake_deep_in_a_rule_shows_the_calls() {
    check(
        r#"
//- /p.bzl
def _inner(x):
    return x.nothing
def _outer(ctx):
    return _inner(ctx.attr)
r = rule(implementation = _outer, attrs = {})
//- /BUILD.bld
load(":p.bzl", "r")
r(name = "a")
"#,
        &expect![[r#"
            Object of type `struct` has no attribute `nothing`
             --> p.bzl:2:12
              |
            2 |     return x.nothing
              |            ^^^^^^^^^
              = called at p.bzl:4
              = for //:a at BUILD.bld:2
        "#]],
    );
}

#[test]
fn fields_are_typed_and_known() {
    let said = |body: &str| {
        let said = implementation(&format!("    return [{body}]"));
        format!("{body}\n    {}\n", said.lines().next().unwrap_or_default())
    };
    let bodies = [
        r#"XInfo(text = 7, list = [], file = ctx.actions.write(""), any = 1)"#,
        r#"XInfo(text = "", list = {}, file = ctx.actions.write(""), any = 1)"#,
        r#"XInfo(text = "", list = [], file = "name", any = 1)"#,
        r#"XInfo(text = "", list = [], file = ctx.actions.write(""))"#,
        r#"XInfo(txet = "", list = [], file = ctx.actions.write(""), any = 1)"#,
        r#"XInfo("")"#,
        r#"XInfo(text = "", list = [], file = ctx.actions.write(""), any = ctx.actions)"#,
    ];
    expect![[r#"
        XInfo(text = 7, list = [], file = ctx.actions.write(""), any = 1)
            the field `text` of XInfo holds text, not a number
        XInfo(text = "", list = {}, file = ctx.actions.write(""), any = 1)
            the field `list` of XInfo holds a list, not a dict
        XInfo(text = "", list = [], file = "name", any = 1)
            the field `file` of XInfo holds an artifact, not text
        XInfo(text = "", list = [], file = ctx.actions.write(""))
            XInfo needs the field `any`
        XInfo(txet = "", list = [], file = ctx.actions.write(""), any = 1)
            XInfo has no field `txet`, did you mean `text`?
        XInfo("")
            XInfo() takes named arguments only: its fields
        XInfo(text = "", list = [], file = ctx.actions.write(""), any = ctx.actions)
            a value of type actions cannot be used here: attributes and providers hold text, numbers, lists, dicts, structs, artifacts and providers
    "#]].assert_eq(&bodies.map(said).concat());
}

#[test]
fn an_implementation_returns_a_list_of_providers_each_once() {
    let said = |body: &str| {
        let said = implementation(&format!("    {body}"));
        format!("{body}\n    {}\n", said.lines().next().unwrap_or_default())
    };
    let bodies = [
        "pass",
        "return YInfo()",
        "return [7]",
        "return [YInfo(), YInfo()]",
        "return [DefaultInfo(outputs = [])]",
        "return [DefaultInfo(outputs = {7: ctx.actions.write('')})]",
        "return [DefaultInfo(outputs = {'x': 'y'})]",
        "return [DefaultInfo(outputs = {'../x': ctx.actions.write('')})]",
        "return [DefaultInfo(outputs = {'': ctx.actions.write('')})]",
        "return [DefaultInfo(outputs = {'x': ctx.actions.write(''), 'x/y': ctx.actions.write('')})]",
        "return [DefaultInfo(failure_log = '/x')]",
        "return [ctx.attr.dep[YInfo] if ctx.attr.dep else DefaultInfo()]",
        "return [] if ctx.attr.wrd else []",
        "return [YInfo().text]",
    ];
    expect![[r#"
        pass
            the implementation of r returns None, not a list of providers
        return YInfo()
            the implementation of r returns <YInfo>, not a list of providers
        return [7]
            the implementation of r returns 7 among the providers
        return [YInfo(), YInfo()]
            the implementation of r returns YInfo twice
        return [DefaultInfo(outputs = [])]
            the field `outputs` of DefaultInfo holds a dict, not a list
        return [DefaultInfo(outputs = {7: ctx.actions.write('')})]
            what //:a makes: the outputs of DefaultInfo are a dict from paths to artifacts
        return [DefaultInfo(outputs = {'x': 'y'})]
            what //:a makes: the outputs of DefaultInfo are a dict from paths to artifacts
        return [DefaultInfo(outputs = {'../x': ctx.actions.write('')})]
            what //:a makes: the output `../x`: `..` is not a name
        return [DefaultInfo(outputs = {'': ctx.actions.write('')})]
            what //:a makes: the output ``: it has no name
        return [DefaultInfo(outputs = {'x': ctx.actions.write(''), 'x/y': ctx.actions.write('')})]
            what //:a makes: the output `x/y` lies inside the output `x`
        return [DefaultInfo(failure_log = '/x')]
            the `failure_log` of //:a: a path has an empty name (it is absolute, or has a slash too many)
        return [ctx.attr.dep[YInfo] if ctx.attr.dep else DefaultInfo()]
            //:a does not provide YInfo
        return [] if ctx.attr.wrd else []
            Object of type `struct` has no attribute `wrd`, did you mean `word`?
        return [YInfo().text]
            Object of type `provider_instance` has no attribute `text`
    "#]].assert_eq(&bodies.map(said).concat());
}

#[test]
fn a_rule_is_implemented_by_the_very_function_that_it_was_given() {
    check(
        r#"
//- /lib.bzl
def made(text):
    def impl(ctx):
        return [DefaultInfo(outputs = {text: ctx.actions.write(text)})]
    return rule(implementation = impl, attrs = {})
def made_of(impl):
    return rule(implementation = impl, attrs = {})
def impl(ctx):
    fail("the wrong one")
//- /p.bzl
load(":lib.bzl", "made", "made_of")
def impl(ctx):
    return [DefaultInfo(outputs = {"own": ctx.actions.write("own")})]
one = made("one")
two = made("two")
own = made_of(impl)
short = rule(implementation = lambda ctx: [], attrs = {})
//- /BUILD.bld
load(":p.bzl", "one", "own", "short", "two")
one(name = "a")
two(name = "b")
own(name = "c")
short(name = "d")
"#,
        &expect![[r#"
            0 write "one"
            1 write "two"
            2 write "own"
            //:a one=#0
            //:b two=#1
            //:c own=#2
            //:d
        "#]],
    );
    check(
        "//- /p.bzl\nr = rule(implementation = 7, attrs = {})\n//- /BUILD.bld\nload(':p.bzl', 'r')\n",
        &expect![[r#"
            `implementation` is a function
             --> p.bzl:1:5
              |
            1 | r = rule(implementation = 7, attrs = {})
              |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        "#]],
    );
}

#[test]
fn a_provider_of_the_same_name_from_another_file_is_another() {
    check(
        r#"
//- /one.bzl
Info = provider(fields = {})
def _has(ctx):
    return [Info()]
has = rule(implementation = _has, attrs = {})
//- /two.bzl
Info = provider(fields = {})
def _wants(ctx):
    return [DefaultInfo(outputs = {"yes" if Info in ctx.attr.dep else "no": ctx.actions.write("")})]
wants = rule(implementation = _wants, attrs = {"dep": attr.label()})
//- /BUILD.bld
load(":one.bzl", "has")
load(":two.bzl", "wants")
has(name = "a")
wants(name = "b", dep = ":a")
"#,
        &expect![[r#"
            0 write ""
            //:a
            //:b no=#0
        "#]],
    );
}
