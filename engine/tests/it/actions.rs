//! Actions as rules declare them: what they may be given.

use expect_test::expect;

use crate::fixture::Fixture;

fn implementation(body: &str) -> String {
    let text = format!(
        "//- /p.bzl\ndef _r(ctx):\n    file = ctx.actions.write('text')\n    made = {body}\n    return []\nr = rule(implementation = _r, attrs = {{}})\n//- /BUILD.bld\nload(':p.bzl', 'r')\nr(name = 'a')\n"
    );
    Fixture::new(&text).render(&["//..."])
}

#[test]
fn what_no_command_could_do_is_refused_where_it_is_declared() {
    let bodies = [
        "ctx.actions.run(arguments = [], inputs = {}, outputs = ['x'])",
        "ctx.actions.run(arguments = ['a\\0b'], inputs = {}, outputs = ['x'])",
        "ctx.actions.run(arguments = ['a'], inputs = {}, outputs = [])",
        "ctx.actions.run(arguments = ['a'], inputs = {}, outputs = ['x', 'x'])",
        "ctx.actions.run(arguments = ['a'], inputs = {}, outputs = ['../x'])",
        "ctx.actions.run(arguments = ['a'], inputs = {}, outputs = ['/x'])",
        "ctx.actions.run(arguments = ['a'], inputs = {}, outputs = ['x', 'x-y', 'x/y'])",
        "ctx.actions.run(arguments = ['a'], inputs = {'/../x': file}, outputs = ['x'])",
        "ctx.actions.run(arguments = ['a'], inputs = {'/x': file, 'x': file}, outputs = ['x'])",
        "ctx.actions.run(arguments = ['a'], inputs = {'/x': 'file'}, outputs = ['x'])",
        "ctx.actions.run(arguments = ['a'], inputs = {}, outputs = ['x'], env = {'A=B': ''})",
        "ctx.actions.run(arguments = ['a'], inputs = {}, outputs = ['x'], timeout_seconds = 0)",
        "ctx.actions.run(argument = ['a'], inputs = {}, outputs = ['x'])",
        "ctx.actions.builtin('conpose', inputs = [], options = [])",
        "ctx.actions.builtin('compose', inputs = [], options = file)",
        "ctx.actions.tree({'a/../b': file})",
        "ctx.actions.rum()",
        "subtree(file, '../x')",
        "matches('~(', 'x')",
    ];
    let said = |body: &str| {
        let said = implementation(body);
        format!("{body}\n    {}\n", said.lines().next().unwrap_or_default())
    };
    expect![[r#"
        ctx.actions.run(arguments = [], inputs = {}, outputs = ['x'])
            `arguments` holds at least the program
        ctx.actions.run(arguments = ['a\0b'], inputs = {}, outputs = ['x'])
            `arguments` has a NUL in it: "a\0b"
        ctx.actions.run(arguments = ['a'], inputs = {}, outputs = [])
            `outputs` holds at least one path, and none twice
        ctx.actions.run(arguments = ['a'], inputs = {}, outputs = ['x', 'x'])
            `outputs` holds at least one path, and none twice
        ctx.actions.run(arguments = ['a'], inputs = {}, outputs = ['../x'])
            the output `../x`: `..` is not a name
        ctx.actions.run(arguments = ['a'], inputs = {}, outputs = ['/x'])
            the output `/x`: a path has an empty name (it is absolute, or has a slash too many)
        ctx.actions.run(arguments = ['a'], inputs = {}, outputs = ['x', 'x-y', 'x/y'])
            the output `x/y` lies inside the output `x`
        ctx.actions.run(arguments = ['a'], inputs = {'/../x': file}, outputs = ['x'])
            nothing can be placed at `/../x`: `..` is not a name
        ctx.actions.run(arguments = ['a'], inputs = {'/x': file, 'x': file}, outputs = ['x'])
            two artifacts are placed at `/x`
        ctx.actions.run(arguments = ['a'], inputs = {'/x': 'file'}, outputs = ['x'])
            Type of parameter `inputs` doesn't match, expected `dict[str, artifact]`, actual `dict (repr: {"/x": "file"})`
        ctx.actions.run(arguments = ['a'], inputs = {}, outputs = ['x'], env = {'A=B': ''})
            `A=B` cannot be the name of a variable in `env`
        ctx.actions.run(arguments = ['a'], inputs = {}, outputs = ['x'], timeout_seconds = 0)
            `timeout_seconds` is a positive number
        ctx.actions.run(argument = ['a'], inputs = {}, outputs = ['x'])
            Missing named-only parameter `arguments` for call to `run`
        ctx.actions.builtin('conpose', inputs = [], options = [])
            this bld has no built-in `conpose`
        ctx.actions.builtin('compose', inputs = [], options = file)
            `options` holds texts, numbers, lists and dicts
        ctx.actions.tree({'a/../b': file})
            nothing can be placed at `a/../b`: `..` is not a name
        ctx.actions.rum()
            Object of type `actions` has no attribute `rum`, did you mean `run`?
        subtree(file, '../x')
            `../x` is not a path inside this tree: `..` is not a name
        matches('~(', 'x')
            `~(` is not a pattern: unclosed group
    "#]].assert_eq(&bodies.map(said).concat());
}

#[test]
fn such_a_mistake_is_shown_in_the_rule_and_at_the_target() {
    expect![[r#"
        nothing can be placed at `..`: `..` is not a name
         --> p.bzl:3:12
          |
        3 |     made = ctx.actions.tree({'..': file})
          |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          = for //:a at BUILD.bld:2
    "#]]
    .assert_eq(&implementation("ctx.actions.tree({'..': file})"));
}

#[test]
fn what_the_plan_says_of_each_action() {
    let text = r##"
//- /p.bzl
def _r(ctx):
    script = ctx.actions.write("#!/bin/sh\n", executable = True)
    tree = ctx.actions.tree({"b": script, "/": ctx.attr.folder})
    same = ctx.actions.tree({"b": script, "/": ctx.attr.folder})
    second, first = ctx.actions.run(
        arguments = ["/b", basename(ctx.attr.folder)],
        inputs = {"/": tree, "/x/y": subtree(same, "sub/z")},
        outputs = ["second", "first"],
        env = {"B": "2", "A": "1"},
        timeout_seconds = 60,
        role = "step",
    )
    whole = ctx.actions.builtin("compose", inputs = [tree, first], options = [{"usr_merge": {}}])
    return [DefaultInfo(outputs = {"2": second, "1": first, "whole": whole}, failure_log = "FAILURES/x.log")]
r = rule(implementation = _r, attrs = {"folder": attr.source()})
//- /BUILD.bld
load(":p.bzl", "r")
r(name = "a", folder = "folder")
//- /folder/x
"##;
    expect![[r##"
        0 source folder
        1 write "#!/bin/sh\n" executable
        2 tree /=#0 /b=#1
        3 run //:a (step) ["/b", "folder"] /=#2 /x/y=#2:sub/z > out/first > out/second A=1 B=2 within 60s
        4 builtin //:a compose [#2 #3:out/first] [{"usr_merge":{}}]
        //:a 1=#3:out/first 2=#3:out/second whole=#4 log=FAILURES/x.log
    "##]].assert_eq(&Fixture::new(text).render(&["//..."]));
}
