//! What targets ask to be locked, and what the lock gives them.

use expect_test::expect;

use crate::fixture::Fixture;

const ROOT: &str = r#"
//- /r.bzl
def _root(ctx):
    names = ["%s %s %s" % (it.group, it.name, it.version) for it in ctx.locked]
    tree = ctx.actions.tree({it.name: it.tree for it in ctx.locked})
    return [DefaultInfo(outputs = {"root": tree, "list": ctx.actions.write("\n".join(names))})]
root = rule(
    implementation = _root,
    attrs = {"packages": attr.string_list(), "arch": attr.string(default = "amd64"), "note": attr.string()},
    lock = {"packages": ["packages", "arch"]},
)
"#;

fn roots(build: &str) -> Fixture {
    Fixture::new(&format!("{ROOT}//- /BUILD.bld\nload(':r.bzl', 'root')\n{build}\n"))
}

#[test]
fn lock_requests_are_those_of_all_targets_manual_ones_too() {
    let fixture = roots(
        "root(name = 'b', packages = ['gcc', 'make'], tags = ['manual'])\nroot(name = 'a', note = 'x')",
    );
    expect![[r#"
        //:a wants {"packages":{"arch":"amd64","packages":[]}}
        //:b wants {"packages":{"arch":"amd64","packages":["gcc","make"]}}
    "#]]
    .assert_eq(&fixture.lock_requests());
}

#[test]
fn what_is_locked_cannot_depend_on_the_cell() {
    let fixture = roots("root(name = 'a', packages = select({'default': ['gcc']}))");
    expect![[r#"
        `packages` of //:a says what is locked, so it cannot be a select
         --> BUILD.bld:2:1
          |
        2 | root(name = 'a', packages = select({'default': ['gcc']}))
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#]]
    .assert_eq(&fixture.lock_requests());
    let fixture = roots("root(name = 'a', note = select({'default': 'gcc'}))");
    expect![[r#"
        //:a wants {"packages":{"arch":"amd64","packages":[]}}
    "#]]
    .assert_eq(&fixture.lock_requests());
}

#[test]
fn a_target_is_given_what_the_lock_pins_for_it() {
    let fixture = roots("root(name = 'a', packages = ['gcc'])");
    expect![[r#"
        bld.lock pins nothing for //:a: run `bld lock`
         --> BUILD.bld:2:1
          |
        2 | root(name = 'a', packages = ['gcc'])
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#]]
    .assert_eq(&fixture.render(&["//..."]));
    let fixture = fixture.locking("//:a", &[("-", "gcc", "12"), ("-", "libc", "2.36")]);
    expect![[r#"
        0 locked 3bdaee38
        1 locked dd16a136
        2 tree /gcc=#0 /libc=#1
        3 write "- gcc 12\n- libc 2.36"
        //:a list=#3 root=#2
    "#]]
    .assert_eq(&fixture.render(&["//..."]));
}

#[test]
fn a_lock_names_attributes_of_its_rule() {
    let text = "//- /r.bzl\ndef _r(ctx):\n    return []\nr = rule(implementation = _r, attrs = {'packages': attr.string_list()}, lock = {'p': ['package']})\n//- /BUILD.bld\nload(':r.bzl', 'r')\n";
    expect![[r#"
        `lock` names `package`, which is not an attribute, did you mean `packages`?
         --> r.bzl:3:5
          |
        3 | r = rule(implementation = _r, attrs = {'packages': attr.string_list()}, lock = {'p': ['package']})
          |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#]].assert_eq(&Fixture::new(text).lock_requests());
}
