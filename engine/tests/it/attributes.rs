//! Attributes: checked where they are given, and shown there.

use expect_test::expect;

use crate::fixture::{Fixture, check, each};

const RULE: &str = r#"
//- /all.bzl
Info = provider(fields = {})
def _all(ctx):
    return []
all_kinds = rule(
    implementation = _all,
    attrs = {
        "text": attr.string(),
        "choice": attr.string(values = ["fast", "small"], default = "fast"),
        "number": attr.int(),
        "flag": attr.bool(),
        "words": attr.string_list(),
        "pairs": attr.string_dict(),
        "src": attr.source(),
        "srcs": attr.source_list(),
        "dep": attr.label(),
        "deps": attr.label_list(),
        "named": attr.label_dict(),
        "informed": attr.label(providers = [Info]),
    },
)
def _needy(ctx):
    return []
needy = rule(implementation = _needy, attrs = {"sources": attr.source_list(mandatory = True)})
//- /BUILD.bld
load(":all.bzl", "all_kinds", "needy")
"#;

/// Returns what a workspace comes to in which a target is declared like this.
fn declaring(call: &str) -> String {
    Fixture::new(&format!("{RULE}{call}\n")).render(&["//..."])
}

/// Returns only the message.
fn message(call: &str) -> String {
    declaring(call).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_wrong_type_is_shown_at_the_target() {
    expect![[r#"
        `number` of //:a: a number is wanted, not text
         --> BUILD.bld:2:1
          |
        2 | all_kinds(name = "a", number = "7")
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#]]
    .assert_eq(&declaring(r#"all_kinds(name = "a", number = "7")"#));
}

const WRONG: &[&str] = &[
    r#"all_kinds(name = "a", text = 7)"#,
    r#"all_kinds(name = "a", text = ["7"])"#,
    r#"all_kinds(name = "a", choice = "fats")"#,
    r#"all_kinds(name = "a", choice = 7)"#,
    r#"all_kinds(name = "a", number = True)"#,
    r#"all_kinds(name = "a", number = 5000000000)"#,
    r#"all_kinds(name = "a", flag = 0)"#,
    r#"all_kinds(name = "a", words = "word")"#,
    r#"all_kinds(name = "a", words = ["word", 7])"#,
    r#"all_kinds(name = "a", words = ["word", select({"default": "word"})])"#,
    r#"all_kinds(name = "a", pairs = ["word"])"#,
    r#"all_kinds(name = "a", pairs = {"word": 7})"#,
    r#"all_kinds(name = "a", pairs = {7: "word"})"#,
    r#"all_kinds(name = "a", src = 7)"#,
    r#"all_kinds(name = "a", src = "../outside")"#,
    r#"all_kinds(name = "a", src = "/etc/passwd")"#,
    r#"all_kinds(name = "a", srcs = "file")"#,
    r#"all_kinds(name = "a", srcs = ["BUILD.bld", 7])"#,
    r#"all_kinds(name = "a", srcs = ["BUILD.bld", "BUILD.bld"])"#,
    r#"all_kinds(name = "a", srcs = ["BUILD.bdl"])"#,
    r#"all_kinds(name = "a", dep = "b")"#,
    r#"all_kinds(name = "a", dep = ":b{")"#,
    r#"all_kinds(name = "a", deps = ":b")"#,
    r#"all_kinds(name = "a", deps = [True])"#,
    r#"all_kinds(name = "a", named = [":b"])"#,
    r#"all_kinds(name = "a", named = {"b": 7})"#,
    r#"all_kinds(name = "a", informed = [])"#,
    r#"all_kinds(name = "a", text = print)"#,
    r#"all_kinds(name = 7)"#,
    r#"all_kinds(name = "")"#,
    r#"all_kinds(name = "all")"#,
    r#"all_kinds(name = "a b")"#,
    r#"all_kinds()"#,
    r#"all_kinds("a")"#,
    r#"all_kinds(name = "a", tags = "manual")"#,
    r#"all_kinds(name = "a", txet = "word")"#,
    r#"all_kinds(name = "a", matrx = {})"#,
    r#"needy(name = "a")"#,
    r#"needy(name = "a", source = ["BUILD.bld"])"#,
    r#"needy(name = "a", sources = None)"#,
];

#[test]
fn every_kind_of_attribute_says_what_it_wants() {
    expect![[r#"
        all_kinds(name = "a", text = 7)
            `text` of //:a: text is wanted, not a number
        all_kinds(name = "a", text = ["7"])
            `text` of //:a: text is wanted, not a list
        all_kinds(name = "a", choice = "fats")
            `choice` of //:a: `fats` is none of fast, small, did you mean `fast`?
        all_kinds(name = "a", choice = 7)
            `choice` of //:a: text is wanted, not a number
        all_kinds(name = "a", number = True)
            `number` of //:a: a number is wanted, not True or False
        all_kinds(name = "a", number = 5000000000)
            `number`: this number cannot be used here: numbers have at most 32 bits
        all_kinds(name = "a", flag = 0)
            `flag` of //:a: True or False is wanted, not a number
        all_kinds(name = "a", words = "word")
            `words` of //:a: a list of texts is wanted, not text
        all_kinds(name = "a", words = ["word", 7])
            `words` of //:a: value 2 of the list: text is wanted, not a number
        all_kinds(name = "a", words = ["word", select({"default": "word"})])
            `words` of //:a: value 2 of the list: a select is a whole value, not a part of one
        all_kinds(name = "a", pairs = ["word"])
            `pairs` of //:a: a dict of texts is wanted, not a list
        all_kinds(name = "a", pairs = {"word": 7})
            `pairs` of //:a: the value of `word`: text is wanted, not a number
        all_kinds(name = "a", pairs = {7: "word"})
            `pairs` of //:a: a dict with texts as keys is wanted, not a number
        all_kinds(name = "a", src = 7)
            `src` of //:a: a file or label is wanted, not a number
        all_kinds(name = "a", src = "../outside")
            `src` of //:a: `../outside` is not a path inside the package: `..` is not a name
        all_kinds(name = "a", src = "/etc/passwd")
            `src` of //:a: `/etc/passwd` is not a path inside the package: a path has an empty name (it is absolute, or has a slash too many)
        all_kinds(name = "a", srcs = "file")
            `srcs` of //:a: a list of files and labels is wanted, not text
        all_kinds(name = "a", srcs = ["BUILD.bld", 7])
            `srcs` of //:a: value 2 of the list: a file or label is wanted, not a number
        all_kinds(name = "a", srcs = ["BUILD.bld", "BUILD.bld"])
            `srcs` of //:a: `BUILD.bld` is there twice
        all_kinds(name = "a", srcs = ["BUILD.bdl"])
            `srcs` of //:a: there is no file `BUILD.bdl`, did you mean `BUILD.bld`?
        all_kinds(name = "a", dep = "b")
            `dep` of //:a: `b` is not a label: labels look like //package:name, //package or :name
        all_kinds(name = "a", dep = ":b{")
            `dep` of //:a: `:b{` does not choose cells: the braces hold axis=value, with commas between them
        all_kinds(name = "a", deps = ":b")
            `deps` of //:a: a list of labels is wanted, not text
        all_kinds(name = "a", deps = [True])
            `deps` of //:a: value 1 of the list: a label is wanted, not True or False
        all_kinds(name = "a", named = [":b"])
            `named` of //:a: a dict from texts to labels is wanted, not a list
        all_kinds(name = "a", named = {"b": 7})
            `named` of //:a: the value of `b`: a label is wanted, not a number
        all_kinds(name = "a", informed = [])
            `informed` of //:a: a label is wanted, not a list
        all_kinds(name = "a", text = print)
            Variable `print` not found, did you mean `int`?
        all_kinds(name = 7)
            `name` is text, not a number
        all_kinds(name = "")
            `` cannot be the name of a target: names are made of letters, digits and -_.+=,@~/, and are not `all` or `...`
        all_kinds(name = "all")
            `all` cannot be the name of a target: names are made of letters, digits and -_.+=,@~/, and are not `all` or `...`
        all_kinds(name = "a b")
            `a b` cannot be the name of a target: names are made of letters, digits and -_.+=,@~/, and are not `all` or `...`
        all_kinds()
            all_kinds() needs a name: name = "…"
        all_kinds("a")
            all_kinds() takes named arguments only: name = "…"
        all_kinds(name = "a", tags = "manual")
            `tags` is a list of texts
        all_kinds(name = "a", txet = "word")
            all_kinds() has no attribute `txet`, did you mean `text`?
        all_kinds(name = "a", matrx = {})
            all_kinds() has no attribute `matrx`, did you mean `matrix`?
        needy(name = "a")
            needy() needs `sources`, which //:a does not give
        needy(name = "a", source = ["BUILD.bld"])
            needy() has no attribute `source`, did you mean `sources`?
        needy(name = "a", sources = None)
            needy() needs `sources`, which //:a does not give
    "#]].assert_eq(&each(WRONG, message));
}

#[test]
fn a_value_that_holds_itself_or_a_world_is_refused() {
    let endless = "words = []\nwords.append(words)\nall_kinds(name = \"a\", words = words)";
    expect![[r#"
        `words`: this value nests more than 64 deep (does it hold itself?)
         --> BUILD.bld:4:1
          |
        4 | all_kinds(name = "a", words = words)
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#]]
    .assert_eq(&declaring(endless));
    let exploding = "words = [\"word\"]\n[words.append(list(words)) for _ in range(25)]\nall_kinds(name = \"a\", words = words)";
    expect!["`words`: this value consists of more than 1000000 values"]
        .assert_eq(&message(exploding));
}

#[test]
fn a_target_that_is_missing_is_shown_at_the_one_that_wants_it() {
    expect![[r#"
        `dep` of //:two: BUILD.bld declares no target `ome`, did you mean `one`?
         --> BUILD.bld:3:1
          |
        3 | all_kinds(name = "two", dep = ":ome")
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#]]
    .assert_eq(&declaring("all_kinds(name = \"one\")\nall_kinds(name = \"two\", dep = \":ome\")"));
    expect![[r#"
        `dep` of //:a: there is no package //elsewhere: elsewhere/BUILD.bld does not exist
         --> BUILD.bld:2:1
          |
        2 | all_kinds(name = "a", dep = "//elsewhere:b")
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#]]
    .assert_eq(&declaring(r#"all_kinds(name = "a", dep = "//elsewhere:b")"#));
}

#[test]
fn two_targets_of_one_name_are_refused() {
    expect![[r#"
        there are two targets `a`; the first is at BUILD.bld:2
         --> BUILD.bld:3:1
          |
        3 | all_kinds(name = "a")
          | ^^^^^^^^^^^^^^^^^^^^^
    "#]]
    .assert_eq(&declaring("all_kinds(name = \"a\")\nall_kinds(name = \"a\")"));
}

#[test]
fn a_mistake_in_a_function_that_declares_targets_is_shown_at_its_call() {
    check(
        r#"
//- /macro.bzl
load(":lib.bzl", "join")
def twice(name):
    join(name = name, text = 7)
//- /BUILD.bld
load(":macro.bzl", "twice")
twice(name = "a")
"#,
        &expect![[r#"
            `text` of //:a: text is wanted, not a number
             --> BUILD.bld:2:1
              |
            2 | twice(name = "a")
              | ^^^^^^^^^^^^^^^^^
        "#]],
    );
}

#[test]
fn attributes_that_no_target_could_use_are_refused_where_the_rule_is_made() {
    let attrs = [
        r#"attr.string(default = 7)"#,
        r#"attr.string(values = ["a"], default = "b")"#,
        r#"attr.string(values = ["a", "b"])"#,
        r#"attr.int(default = 7, mandatory = True)"#,
        r#"attr.label(default = "no label")"#,
    ];
    let rule = |attribute: &str| {
        let file = format!(
            "//- /BUILD.bld\nload(':bad.bzl', 'bad')\n//- /bad.bzl\nATTR = {attribute}\nbad = 1"
        );
        Fixture::new(&file).render(&["//..."]).lines().next().unwrap_or_default().to_owned()
    };
    expect![[r#"
        attr.string(default = 7)
            the default: text is wanted, not a number
        attr.string(values = ["a"], default = "b")
            the default: `b` is none of a, did you mean `a`?
        attr.string(values = ["a", "b"])
            say which of a, b is the default, or mandatory = True
        attr.int(default = 7, mandatory = True)
            an attribute that is mandatory has no default
        attr.label(default = "no label")
            the default: `no label` is not a label: labels look like //package:name, //package or :name
    "#]].assert_eq(&each(&attrs, rule));
    check(
        r#"
//- /bad.bzl
def _bad(ctx):
    return []
bad = rule(implementation = _bad, attrs = {"tags": attr.string()})
//- /BUILD.bld
load(":bad.bzl", "bad")
"#,
        &expect![[r#"
            every rule has the attribute `tags`; call this one otherwise
             --> bad.bzl:3:7
              |
            3 | bad = rule(implementation = _bad, attrs = {"tags": attr.string()})
              |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        "#]],
    );
}
