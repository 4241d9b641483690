//! Globs, sources and the texts that BUILD and rule files read.

use expect_test::expect;

use crate::fixture::{Fixture, check};

#[test]
fn a_glob_finds_the_files_of_the_package_and_no_others() {
    check(
        r#"
//- /BUILD.bld
load(":lib.bzl", "join")
join(name = "every", srcs = glob(["**"], exclude = ["**/*.orig", "lib.bzl"]))
join(name = "c", srcs = glob(["*.c", "sub/*.c"]))
//- /a.c
//- /a.c.orig
//- /sub/b.c
//- /sub/deep/c.c.orig
//- /package/BUILD.bld
//- /package/d.c
//- /bld-out/e.c
//- /.git/HEAD
"#,
        &expect![[r#"
            0 source a.c
            1 source sub/b.c
            2 run //:c ["join", ""] /src/a.c=#0 /src/sub/b.c=#1 > out/joined
            3 run //:every ["join", ""] /src/a.c=#0 /src/sub/b.c=#1 > out/joined
            //:c c=#2:out/joined
            //:every every=#3:out/joined
        "#]],
    );
}

#[test]
fn a_glob_that_finds_nothing_is_a_mistake_unless_it_says_that_it_is_none() {
    check(
        r#"
//- /BUILD.bld
load(":lib.bzl", "join")
join(name = "a", srcs = glob(["*.cpp"]))
"#,
        &expect![[r#"
            no file matches *.cpp (say allow_empty = True if that is meant)
             --> BUILD.bld:2:25
              |
            2 | join(name = "a", srcs = glob(["*.cpp"]))
              |                         ^^^^^^^^^^^^^^^
        "#]],
    );
    check(
        r#"
//- /BUILD.bld
load(":lib.bzl", "join")
join(name = "a", srcs = glob(["*.cpp"], allow_empty = True))
"#,
        &expect![[r#"
            0 run //:a ["join", ""] > out/joined
            //:a a=#0:out/joined
        "#]],
    );
}

#[test]
fn a_glob_stays_in_its_package() {
    for pattern in ["../*.c", "/etc/*", "a**"] {
        let build = format!("//- /p/BUILD.bld\nglob([{pattern:?}])\n");
        let said = Fixture::new(&build).render(&["//..."]);
        assert!(
            said.contains(&format!("`{pattern}` is not a glob for files of this package")),
            "{said}"
        );
        assert!(said.contains("--> p/BUILD.bld:1:1"), "{said}");
    }
}

#[test]
fn a_source_that_is_not_there_is_named_with_what_may_be_meant() {
    check(
        r#"
//- /p/BUILD.bld
load("//:lib.bzl", "join")
join(name = "a", srcs = ["sub/fiel.c"])
//- /p/sub/file.c
"#,
        &expect![[r#"
            `srcs` of //p:a: there is no file `p/sub/fiel.c`, did you mean `file.c`?
             --> p/BUILD.bld:2:1
              |
            2 | join(name = "a", srcs = ["sub/fiel.c"])
              | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        "#]],
    );
}

#[test]
fn sources_may_be_folders_and_what_other_targets_make() {
    check(
        r#"
//- /BUILD.bld
load(":lib.bzl", "join")
join(name = "a", srcs = ["folder", "//p:b"])
//- /p/BUILD.bld
load("//:lib.bzl", "join")
join(name = "b")
//- /folder/x
"#,
        &expect![[r#"
            0 source folder
            1 run //p:b ["join", ""] > out/joined
            2 run //:a ["join", ""] /src/b=#1:out/joined /src/folder=#0 > out/joined
            //:a a=#2:out/joined
            //p:b b=#1:out/joined
        "#]],
    );
}

#[test]
fn a_build_file_reads_files_of_its_package_and_a_rule_file_those_beside_it() {
    check(
        r#"
//- /rules/r.bzl
load("//:lib.bzl", "join")
TEXT = read_text("script.sh")
def declare(name):
    join(name = name, text = TEXT + read_file("list") + package_name())
//- /rules/script.sh
script
//- /p/BUILD.bld
load("//rules:r.bzl", "declare")
declare(name = "a")
//- /p/list
list
"#,
        &expect![[r#"
            0 run //p:a ["join", "script\nlist\np"] > out/joined
            //p:a a=#0:out/joined
        "#]],
    );
}

#[test]
fn texts_that_are_not_there_or_not_theirs_are_refused() {
    check(
        "//- /p/BUILD.bld\nread_file(\"lits\")\n//- /p/list\n",
        &expect![[r#"
        there is no file `p/lits`, did you mean `list`?
         --> p/BUILD.bld:1:1
          |
        1 | read_file("lits")
          | ^^^^^^^^^^^^^^^^^
    "#]],
    );
    check(
        "//- /p/BUILD.bld\nread_file(\"../secret\")\n//- /secret\n",
        &expect![[r#"
        `../secret` is not a path inside this package: `..` is not a name
         --> p/BUILD.bld:1:1
          |
        1 | read_file("../secret")
          | ^^^^^^^^^^^^^^^^^^^^^^
    "#]],
    );
    check(
        "//- /p/BUILD.bld\nread_text(\"list\")\n//- /p/list\n",
        &expect![[r#"
        read_text is for .bzl files, while they are loaded; a BUILD.bld has read_file
         --> p/BUILD.bld:1:1
          |
        1 | read_text("list")
          | ^^^^^^^^^^^^^^^^^
    "#]],
    );
    check(
        "//- /BUILD.bld\nload(':r.bzl', 'X')\n//- /r.bzl\nX = read_file(\"list\")\n",
        &expect![[r#"
        files can only be looked at from a BUILD.bld (or a function that it calls)
         --> r.bzl:1:5
          |
        1 | X = read_file("list")
          |     ^^^^^^^^^^^^^^^^^
    "#]],
    );
    check(
        "//- /BUILD.bld\nload('@rules//r.bzl', 'X')\n//- @rules/r.bzl\nX = read_text(\"s.hs\")\n//- @rules/s.sh\n",
        &expect![[r#"
        there is no file `@rules//s.hs`, did you mean `s.sh`?
         --> @rules//r.bzl:1:5
          |
        1 | X = read_text("s.hs")
          |     ^^^^^^^^^^^^^^^^^
    "#]],
    );
}
