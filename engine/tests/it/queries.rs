//! Questions: each function and operation, and mistakes shown where they are.

use engine::query::{Atoms, Query, QueryGraph};
use expect_test::{Expect, expect};
use model::RelativePath;

use crate::fixture::{Fixture, each};

/// A chain `app` → `lib` → `base` with a second way from `app` to `base`, a matrix, and what stands alone.
const WORKSPACE: &str = r#"
//- /BUILD.bld
load(":lib.bzl", "join")
join(name = "app", srcs = ["main.c"], deps = ["//lib:lib", ":direct"], text = "program", tags = ["ship"])
join(name = "direct", deps = ["//lib:base"])
join(name = "alone", srcs = glob(["data/*.txt"]), text = "two words", show_cell = True)
join(name = "hidden", deps = [":alone"], tags = ["manual"])
//- /lib/BUILD.bld
load("//:lib.bzl", "join")
join(name = "lib", srcs = ["lib.c", "headers"], deps = [":base"])
join(
    name = "base",
    srcs = select({"kernel=1": ["old.c"], "default": ["new.c"]}),
    matrix = {"kernel": ["1", "2"]},
    show_cell = True,
)
//- /main.c
//- /data/a.txt
//- /data/b.txt
//- /lib/lib.c
//- /lib/headers/one.h
//- /lib/old.c
//- /lib/new.c
"#;

fn ask(here: &str, question: &str) -> Result<String, String> {
    let targets = Fixture::new(WORKSPACE).targets();
    let graph = QueryGraph::of_targets(&targets);
    let here = RelativePath::new(here).unwrap();
    let atoms = Atoms::new(&targets, &here);
    let query = Query::parse(question).map_err(|error| error.to_string())?;
    let answer = query.answer(&graph, &|text| atoms.targets(&graph, text));
    let answer = answer.map_err(|error| error.to_string())?;
    if answer.is_empty() {
        return Ok("(nothing)".to_owned());
    }
    Ok(answer.iter().map(|node| graph.node(*node).name.as_str()).collect::<Vec<_>>().join(" "))
}

/// Checks the answers to questions about targets, asked from the root.
fn check(questions: &[&str], expected: &Expect) {
    let said = |question: &str| ask("", question).unwrap_or_else(|error| error);
    expected.assert_eq(&each(questions, said));
}

#[test]
fn words_stand_for_targets_and_files() {
    check(
        &[
            "//...",
            "//lib:all",
            ":app",
            "//:hidden",
            "main.c",
            "lib/headers/one.h",
            "//lib:base{kernel=1}",
            "//...{kernel=*}",
            "set(//:app :direct)",
            "set()",
        ],
        &expect![[r#"
            //...
                //:alone //:app //:direct //lib:base //lib:lib
            //lib:all
                //lib:base //lib:lib
            :app
                //:app
            //:hidden
                //:hidden
            main.c
                main.c
            lib/headers/one.h
                lib/headers
            //lib:base{kernel=1}
                //lib:base
            //...{kernel=*}
                //lib:base
            set(//:app :direct)
                //:app //:direct
            set()
                (nothing)
        "#]],
    );
    assert_eq!(
        ask("lib", "set(:base lib.c headers/one.h)").unwrap(),
        "//lib:base lib/headers lib/lib.c"
    );
}

#[test]
fn functions_walk_the_graph() {
    check(
        &[
            "deps(//:app)",
            "deps(//:app, 1)",
            "deps(//:app, 0)",
            "deps(//lib:base)",
            "rdeps(//..., //lib:base)",
            "rdeps(//..., //lib:base, 1)",
            "rdeps(//:direct, //lib:base)",
            "rdeps(//..., lib/old.c)",
            "rdeps(//:app + //:hidden, data/a.txt)",
            "somepath(//:app, //lib:base)",
            "somepath(//:app, lib/new.c)",
            "somepath(//lib:base, //:app)",
            "allpaths(//:app, //lib:base)",
            "allpaths(//:app, //:alone)",
        ],
        &expect![[r#"
            deps(//:app)
                //:app //:direct //lib:base //lib:lib lib/headers lib/lib.c lib/new.c lib/old.c main.c
            deps(//:app, 1)
                //:app //:direct //lib:lib main.c
            deps(//:app, 0)
                //:app
            deps(//lib:base)
                //lib:base lib/new.c lib/old.c
            rdeps(//..., //lib:base)
                //:app //:direct //lib:base //lib:lib
            rdeps(//..., //lib:base, 1)
                //:direct //lib:base //lib:lib
            rdeps(//:direct, //lib:base)
                //:direct //lib:base
            rdeps(//..., lib/old.c)
                //:app //:direct //lib:base //lib:lib lib/old.c
            rdeps(//:app + //:hidden, data/a.txt)
                //:alone //:hidden data/a.txt
            somepath(//:app, //lib:base)
                //:app //:direct //lib:base
            somepath(//:app, lib/new.c)
                //:app //:direct //lib:base lib/new.c
            somepath(//lib:base, //:app)
                (nothing)
            allpaths(//:app, //lib:base)
                //:app //:direct //lib:base //lib:lib
            allpaths(//:app, //:alone)
                (nothing)
        "#]],
    );
}

#[test]
fn functions_choose_by_kind_attribute_and_name() {
    check(
        &[
            "kind(join, //lib:all)",
            "kind(\"source file\", deps(//lib:lib))",
            "kind(^joi$, //...)",
            "filter(\"/lib:\", //...)",
            "filter(\"[.](c|h)$\", deps(//...))",
            "attr(text, words, //...)",
            "attr(srcs, \"^old.c$\", //...)",
            "attr(tags, ship, //...)",
            "attr(show_cell, True, //...)",
            "attr(matrix, ^2$, //...)",
            "attr(name, \"^a\", //...)",
        ],
        &expect![[r#"
            kind(join, //lib:all)
                //lib:base //lib:lib
            kind("source file", deps(//lib:lib))
                lib/headers lib/lib.c lib/new.c lib/old.c
            kind(^joi$, //...)
                (nothing)
            filter("/lib:", //...)
                //lib:base //lib:lib
            filter("[.](c|h)$", deps(//...))
                lib/lib.c lib/new.c lib/old.c main.c
            attr(text, words, //...)
                //:alone
            attr(srcs, "^old.c$", //...)
                //lib:base
            attr(tags, ship, //...)
                //:app
            attr(show_cell, True, //...)
                //:alone //lib:base
            attr(matrix, ^2$, //...)
                //lib:base
            attr(name, "^a", //...)
                //:alone //:app
        "#]],
    );
}

#[test]
fn operations_go_from_left_to_right() {
    check(
        &[
            "//:app + //lib:lib",
            "//... - //lib:all",
            "//... ^ deps(//:app)",
            "//:app union //:alone except //:alone",
            "//:app + (//:alone - //:alone)",
            "//... intersect //lib:all - //lib:base",
            "deps(//:app) - kind('source file', deps(//:app))",
        ],
        &expect![[r#"
            //:app + //lib:lib
                //:app //lib:lib
            //... - //lib:all
                //:alone //:app //:direct
            //... ^ deps(//:app)
                //:app //:direct //lib:base //lib:lib
            //:app union //:alone except //:alone
                //:app
            //:app + (//:alone - //:alone)
                //:app
            //... intersect //lib:all - //lib:base
                //lib:lib
            deps(//:app) - kind('source file', deps(//:app))
                //:app //:direct //lib:base //lib:lib
        "#]],
    );
}

#[test]
fn mistakes_of_form_are_shown_where_they_are() {
    check(
        &[
            "deps(",
            "deps(//:app",
            "//:app //lib:lib",
            "//:app +",
            "+ //:app",
            "\"//:app",
            "rdeps(//...)",
        ],
        &expect![[r#"
            deps(
                a label, a pattern, a path or a function is wanted here
             --> query:1:6
              |
            1 | deps(
              |      ^
              = written as deps(x) or deps(x, depth)
            deps(//:app
                `)` is wanted here, not the end
             --> query:1:12
              |
            1 | deps(//:app
              |            ^
              = written as deps(x) or deps(x, depth)
            //:app //lib:lib
                `//lib:lib` is too much here: between two sets stands +, - or ^, with spaces around it
             --> query:1:8
              |
            1 | //:app //lib:lib
              |        ^^^^^^^^^
            //:app +
                a label, a pattern, a path or a function is wanted here
             --> query:1:9
              |
            1 | //:app +
              |         ^
            + //:app
                `+` stands between two sets, and before it is none
             --> query:1:1
              |
            1 | + //:app
              | ^
            "//:app
                this quotation has no end
             --> query:1:1
              |
            1 | "//:app
              | ^
            rdeps(//...)
                `,` is wanted here, not `)`
             --> query:1:12
              |
            1 | rdeps(//...)
              |            ^
              = written as rdeps(universe, x) or rdeps(universe, x, depth)
        "#]],
    );
    assert!(ask("", " ").unwrap_err().starts_with("a label, a pattern, a path or a function"));
}

#[test]
fn arguments_that_do_not_fit_are_shown_where_they_are() {
    check(
        &[
            "deps(//:app, x)",
            "set(//:app, //lib:lib)",
            "no such.c",
            "somepath(//:app,)",
            "//:app +//lib:lib",
        ],
        &expect![[r#"
            deps(//:app, x)
                a number is wanted here
             --> query:1:14
              |
            1 | deps(//:app, x)
              |              ^
              = written as deps(x) or deps(x, depth)
            set(//:app, //lib:lib)
                a label or `)` is wanted here, not `,`
             --> query:1:11
              |
            1 | set(//:app, //lib:lib)
              |           ^
              = written as set(label label …)
            no such.c
                `such.c` is too much here: between two sets stands +, - or ^, with spaces around it
             --> query:1:4
              |
            1 | no such.c
              |    ^^^^^^
            somepath(//:app,)
                a label, a pattern, a path or a function is wanted here
             --> query:1:17
              |
            1 | somepath(//:app,)
              |                 ^
              = written as somepath(from, to)
            //:app +//lib:lib
                `+//lib:lib` is too much here: between two sets stands +, - or ^, with spaces around it
             --> query:1:8
              |
            1 | //:app +//lib:lib
              |        ^^^^^^^^^^
        "#]],
    );
}

#[test]
fn words_that_stand_for_nothing_are_shown_where_they_are() {
    check(
        &[
            "dep(//:app)",
            "frobnicate(//:app)",
            "//:ap",
            "deps(//lib:bse)",
            "//nowhere:all",
            "//:app{kernel=1}",
        ],
        &expect![[r#"
            dep(//:app)
                there is no function `dep`, did you mean `deps`?
             --> query:1:1
              |
            1 | dep(//:app)
              | ^^^
            frobnicate(//:app)
                there is no function `frobnicate` (there are: deps, rdeps, somepath, allpaths, kind, attr, filter, set)
             --> query:1:1
              |
            1 | frobnicate(//:app)
              | ^^^^^^^^^^
            //:ap
                there is no target `//:ap`, did you mean `//:app`?
             --> query:1:1
              |
            1 | //:ap
              | ^^^^^
            deps(//lib:bse)
                there is no target `//lib:bse`, did you mean `//lib:base`?
             --> query:1:6
              |
            1 | deps(//lib:bse)
              |      ^^^^^^^^^
            //nowhere:all
                there is no target among //nowhere:all
             --> query:1:1
              |
            1 | //nowhere:all
              | ^^^^^^^^^^^^^
            //:app{kernel=1}
                no target among //:app has the axes of {kernel=1}
             --> query:1:1
              |
            1 | //:app{kernel=1}
              | ^^^^^^^^^^^^^^^^
        "#]],
    );
    check(
        &[
            "kind(\"(\", //...)",
            "attr(txt, a, //...)",
            "deps(//:app)\n- //lib:bsae",
            "//:app-//lib:lib",
        ],
        &expect![[r#"
            kind("(", //...)
                this is no regular expression: unclosed group
             --> query:1:6
              |
            1 | kind("(", //...)
              |      ^^^
              = written as kind(regex, x)
            attr(txt, a, //...)
                nothing here has an attribute `txt`, did you mean `text`?
             --> query:1:6
              |
            1 | attr(txt, a, //...)
              |      ^^^
            deps(//:app)
            - //lib:bsae
                there is no target `//lib:bsae`, did you mean `//lib:base`?
             --> query:2:3
              |
            2 | - //lib:bsae
              |   ^^^^^^^^^^
            //:app-//lib:lib
                `//:app-//lib:lib` is not a label: the name of a target is made of letters, digits and -_.+=,@~/, and is not `all` or `...` (operations have spaces around them)
             --> query:1:1
              |
            1 | //:app-//lib:lib
              | ^^^^^^^^^^^^^^^^
        "#]],
    );
}

#[test]
fn questions_that_nest_too_deeply_or_are_too_long_are_refused() {
    let deep = format!("{}//:app{}", "(".repeat(2000), ")".repeat(2000));
    assert!(ask("", &deep).unwrap_err().contains("nests more than"));
    let long = format!("set({})", "//:app ".repeat(200_000));
    assert!(ask("", &long).unwrap_err().contains("bytes"));
    let chain = format!("//:app{}", " + //:app".repeat(10_000));
    assert_eq!(ask("", &chain).unwrap(), "//:app", "a chain is no nest");
}

#[test]
fn any_text_is_answered_or_refused() {
    let pieces =
        ["deps(", "//:app", ")", ",", "+", "-", "^", "'", "\"", "{", "}", "é", " ", "1", "set("];
    let mut seed = 1_u64;
    for _ in 0..3000 {
        let mut text = String::new();
        for _ in 0..8 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push_str(pieces[usize::try_from(seed >> 33).unwrap() % pieces.len()]);
        }
        let _ = Query::parse(&text).map_err(|error| error.to_string());
    }
}

#[test]
fn actions_are_asked_about_by_the_targets_and_cells_that_they_make() {
    let fixture = Fixture::new(WORKSPACE);
    let targets = fixture.targets();
    let here = RelativePath::root();
    let atoms = Atoms::new(&targets, &here);
    let said = |question: &str| {
        let query = Query::parse(question).unwrap();
        let patterns = atoms.patterns(&query).unwrap();
        let patterns: Vec<_> =
            patterns.iter().map(|it| format!("{}{}", it.targets, it.cells)).collect();
        let patterns: Vec<_> = patterns.iter().map(String::as_str).collect();
        let plan = fixture.plan(&patterns).unwrap();
        let graph = QueryGraph::of_actions(&plan);
        let answer = query.answer(&graph, &|text| atoms.actions(&graph, &plan, text));
        let answer = answer.unwrap_or_else(|error| panic!("{error}"));
        answer.iter().map(|node| graph.node(*node).name.as_str()).collect::<Vec<_>>().join(" | ")
    };
    let questions = [
        "//lib:base",
        "//lib:base{kernel=2}",
        "deps(//:direct)",
        "rdeps(//..., lib/old.c)",
        "somepath(//:app, lib/new.c)",
        "filter(kernel=1, deps(//:app))",
        "attr(environment, ^2$, deps(//:direct))",
        "kind('source file', deps(//:alone))",
    ];
    expect![[r#"
        //lib:base
            //lib:base{kernel=1} | //lib:base{kernel=2}
        //lib:base{kernel=2}
            //lib:base{kernel=2}
        deps(//:direct)
            //:direct | //lib:base{kernel=1} | //lib:base{kernel=2} | lib/new.c | lib/old.c
        rdeps(//..., lib/old.c)
            //:app | //:direct | //lib:base{kernel=1} | //lib:lib | lib/old.c
        somepath(//:app, lib/new.c)
            //:app | //:direct | //lib:base{kernel=2} | lib/new.c
        filter(kernel=1, deps(//:app))
            //lib:base{kernel=1}
        attr(environment, ^2$, deps(//:direct))
            //lib:base{kernel=2}
        kind('source file', deps(//:alone))
            data/a.txt | data/b.txt
    "#]]
    .assert_eq(&each(&questions, said));
}

#[test]
fn an_answer_can_be_drawn() {
    let targets = Fixture::new(WORKSPACE).targets();
    let graph = QueryGraph::of_targets(&targets);
    let here = RelativePath::root();
    let atoms = Atoms::new(&targets, &here);
    let query = Query::parse("allpaths(//:app, //lib:base)").unwrap();
    let answer = query.answer(&graph, &|text| atoms.targets(&graph, text)).unwrap();
    expect![[r#"
        digraph bld {
          node [shape=box];
          "//:app";
          "//:app" -> "//:direct";
          "//:app" -> "//lib:lib";
          "//:direct";
          "//:direct" -> "//lib:base";
          "//lib:base";
          "//lib:lib";
          "//lib:lib" -> "//lib:base";
        }
    "#]]
    .assert_eq(&graph.dot(&answer));
}
