//! Trees put together: what unites, what is refused, and what is not even looked at.

use formats::{ComposeFault, Kind, Operation, compose};
use model::{Digest, DigestFunction, Directory, Node, PathSegment, TreeDigest};

use crate::raw::{TarEntry, directory, symlink, tar, text};
use crate::support::World;

impl World {
    fn tree(&self, entries: &[TarEntry]) -> TreeDigest {
        self.unpack(Kind::Tar, &tar(entries)).unwrap()
    }

    fn composed(&self, trees: &[TreeDigest], operations: &str) -> String {
        let operations: Vec<Operation> = serde_json::from_str(operations).unwrap();
        self.listing(compose(&self.store, trees, &operations).unwrap())
    }

    fn not_composed(&self, trees: &[TreeDigest], operations: &str) -> String {
        let operations: Vec<Operation> = serde_json::from_str(operations).unwrap();
        let error = compose(&self.store, trees, &operations).unwrap_err();
        assert!(!error.is_transient());
        assert_eq!(error.operation, operations.len() - 1);
        error.fault.to_string()
    }
}

/// Returns a tree of which the store has nothing.
fn unknown_tree() -> TreeDigest {
    TreeDigest(Digest::of(DigestFunction::Blake3, b"never written"))
}

#[test]
fn directories_unite_and_equal_files_are_one() {
    let world = World::new();
    let one = world.tree(&[text("usr/bin/a", "a"), text("usr/share/same", "s"), directory("x")]);
    let two = world.tree(&[text("usr/bin/b", "b"), text("usr/share/same", "s"), text("x/y", "")]);
    let listing = "usr/\nusr/bin/\nusr/bin/a = \"a\"\nusr/bin/b = \"b\"\nusr/share/\nusr/share/same = \"s\"\nx/\nx/y = \"\"\n";
    assert_eq!(
        world.composed(&[one, two], r#"[{"merge":{"tree":0}},{"merge":{"tree":1}}]"#),
        listing
    );
    assert_eq!(
        world.composed(&[one, two], r#"[{"merge":{"tree":1}},{"merge":{"tree":0}}]"#),
        listing
    );
}

#[test]
fn one_tree_merged_into_nothing_is_itself() {
    let world = World::new();
    let tree = world.tree(&[text("a/b", "x")]);
    let merge = [serde_json::from_str::<Operation>(r#"{"merge":{"tree":0}}"#).unwrap()];
    assert_eq!(compose(&world.store, &[tree], &merge).unwrap(), tree);
    assert_eq!(world.composed(&[], "[]"), "");
}

#[test]
fn a_part_goes_where_it_is_told() {
    let world = World::new();
    let tree = world.tree(&[text("usr/src/x/Makefile", "all:"), text("usr/src/y", "")]);
    assert_eq!(
        world.composed(&[tree], r#"[{"merge":{"tree":0,"from":"usr/src/x","to":"build/k"}}]"#),
        "build/\nbuild/k/\nbuild/k/Makefile = \"all:\"\n"
    );
    assert_eq!(
        world.composed(&[tree], r#"[{"merge":{"tree":0,"from":"usr/src/x/Makefile","to":"m"}}]"#),
        "m = \"all:\"\n"
    );
}

#[test]
fn subtrees_that_nothing_is_changed_in_are_not_opened() {
    let world = World::new();
    let mut root = Directory::new();
    root.add(PathSegment::new("huge").unwrap(), Node::Directory(unknown_tree())).unwrap();
    let tree = world.store.write_directory(&root).unwrap();
    let operations = r#"[
        {"merge":{"tree":0}},
        {"merge":{"tree":0}},
        {"merge":{"tree":0,"to":"k"}},
        {"merge":{"tree":0,"from":"huge","to":"deep/down"}},
        {"merge":{"tree":0,"from":"huge","to":"deep/down"}},
        {"remove":{"paths":["*/nothing/like/this", "k/x*"]}},
        {"directory":{"path":"tmp"}}
    ]"#;
    // `*/nothing` looks into every top-level directory, and so does need the huge one.
    let with_look: Vec<Operation> = serde_json::from_str(operations).unwrap();
    compose(&world.store, &[tree], &with_look).unwrap_err();
    let mut without_look = with_look;
    without_look[5] = serde_json::from_str(r#"{"remove":{"paths":["k/x*"]}}"#).unwrap();
    compose(&world.store, &[tree], &without_look).unwrap();
}

#[test]
fn differing_files_are_refused_and_both_sides_named() {
    let world = World::new();
    let one = world.tree(&[text("etc/motd", "one")]);
    let two = world.tree(&[TarEntry { mode: "0000755\0", ..text("etc/motd", "second") }]);
    let link = world.tree(&[symlink("etc/motd", "/run/motd")]);
    let blake3 = |text: &str| Digest::of(DigestFunction::Blake3, text.as_bytes()).short();
    let merges = r#"[{"merge":{"tree":0}},{"merge":{"tree":1}}]"#;
    assert_eq!(
        world.not_composed(&[one, two], merges),
        format!(
            "`etc/motd` is a file ({}…, 3 bytes) already, and an executable file ({}…, 6 bytes) in input tree 1",
            blake3("one"),
            blake3("second")
        )
    );
    assert_eq!(
        world.not_composed(&[link, one], merges),
        format!(
            "`etc/motd` is a link to `/run/motd` already, and a file ({}…, 3 bytes) in input tree 1",
            blake3("one")
        )
    );
    let directory = world.tree(&[directory("etc/motd")]);
    assert_eq!(
        world.not_composed(&[directory, link], merges),
        "`etc/motd` is a directory already, and a link to `/run/motd` in input tree 1"
    );
    assert_eq!(
        world.not_composed(&[link, directory], merges),
        "`etc/motd` is a link to `/run/motd` already, and a directory in input tree 1"
    );
}

#[test]
fn whoever_is_said_to_win_wins() {
    let world = World::new();
    let one = world.tree(&[text("a", "1"), text("d/x", "1"), text("only/one", "")]);
    let two = world.tree(&[text("a", "2"), text("d", "2"), text("only/two", "")]);
    assert_eq!(
        world.composed(
            &[one, two],
            r#"[{"merge":{"tree":0}},{"merge":{"tree":1,"on_conflict":"first"}}]"#
        ),
        "a = \"1\"\nd/\nd/x = \"1\"\nonly/\nonly/one = \"\"\nonly/two = \"\"\n"
    );
    assert_eq!(
        world.composed(
            &[one, two],
            r#"[{"merge":{"tree":0}},{"merge":{"tree":1,"on_conflict":"last"}}]"#
        ),
        "a = \"2\"\nd = \"2\"\nonly/\nonly/one = \"\"\nonly/two = \"\"\n"
    );
}

#[test]
fn what_is_not_there_cannot_be_merged() {
    let world = World::new();
    let tree = world.tree(&[text("a", ""), symlink("l", "d"), text("d/x", "")]);
    for from in ["b", "a/b", "l/x", "d/x/y"] {
        let operations = format!(r#"[{{"merge":{{"tree":0,"from":"{from}"}}}}]"#);
        assert_eq!(
            world.not_composed(&[tree], &operations),
            format!("input tree 0 has no `{from}`")
        );
    }
    assert_eq!(
        world.not_composed(&[tree], r#"[{"merge":{"tree":1}}]"#),
        "there is no input tree 1, only 1"
    );
    let operations: Vec<Operation> = serde_json::from_str(r#"[{"merge":{"tree":0}}]"#).unwrap();
    let error = compose(&world.store, &[unknown_tree()], &operations).unwrap_err();
    assert!(matches!(error.fault, ComposeFault::Store(_)));
    assert!(error.is_transient());
}

#[test]
fn nothing_is_put_through_a_link_or_file() {
    let world = World::new();
    let tree = world.tree(&[symlink("lib", "usr/lib"), text("f", ""), directory("d")]);
    for (operation, path) in [
        (r#"{"file":{"path":"lib/x","text":""}}"#, "lib"),
        (r#"{"link":{"path":"f/x","target":"y"}}"#, "f"),
        (r#"{"directory":{"path":"lib"}}"#, "lib"),
        (r#"{"merge":{"tree":0,"to":"lib/below"}}"#, "lib"),
    ] {
        assert_eq!(
            world.not_composed(&[tree], &format!(r#"[{{"merge":{{"tree":0}}}},{operation}]"#)),
            format!("`{path}` is not a directory, but something is to lie below it")
        );
    }
    assert_eq!(
        world.not_composed(&[tree], r#"[{"merge":{"tree":0,"from":"f"}}]"#)[..14],
        *"`` is a direct"
    );
}

#[test]
fn old_packages_unite_with_new_ones_below_usr() {
    let world = World::new();
    let old = world.tree(&[
        text("bin/sh", "sh"),
        text("lib/libc.so", "c"),
        text("lib64/ld.so", "ld"),
        text("etc/x", ""),
    ]);
    let new = world.tree(&[
        text("usr/bin/cc", "cc"),
        text("usr/lib/libc.a", "a"),
        text("usr/sbin/init", ""),
    ]);
    let listing = "\
bin -> usr/bin
etc/
etc/x = \"\"
lib -> usr/lib
lib64 -> usr/lib64
sbin -> usr/sbin
usr/
usr/bin/
usr/bin/cc = \"cc\"
usr/bin/sh = \"sh\"
usr/lib/
usr/lib/libc.a = \"a\"
usr/lib/libc.so = \"c\"
usr/lib64/
usr/lib64/ld.so = \"ld\"
usr/sbin/
usr/sbin/init = \"\"
";
    let before = r#"[{"merge":{"tree":0,"usr_merged":true}},{"merge":{"tree":1,"usr_merged":true}},{"usr_merge":{}}]"#;
    let after = r#"[{"merge":{"tree":0}},{"merge":{"tree":1}},{"usr_merge":{}}]"#;
    assert_eq!(world.composed(&[old, new], before), listing);
    assert_eq!(world.composed(&[old, new], after), listing);
    // The package that owns the links, as of today.
    let base = world.tree(&[
        symlink("bin", "usr/bin"),
        symlink("lib", "/usr/lib"),
        directory("usr/bin"),
        directory("usr/lib"),
    ]);
    let with_base = r#"[{"merge":{"tree":0,"usr_merged":true}},{"merge":{"tree":1,"usr_merged":true}},{"usr_merge":{}}]"#;
    assert_eq!(
        world.composed(&[base, old], with_base),
        "bin -> usr/bin\netc/\netc/x = \"\"\nlib -> /usr/lib\nlib64 -> usr/lib64\nusr/\nusr/bin/\nusr/bin/sh = \"sh\"\nusr/lib/\nusr/lib/libc.so = \"c\"\nusr/lib64/\nusr/lib64/ld.so = \"ld\"\n"
    );
}

#[test]
fn usr_merge_goes_below_the_place_that_a_tree_is_merged_to() {
    let world = World::new();
    let old = world.tree(&[text("bin/sh", "sh")]);
    assert_eq!(
        world.composed(&[old], r#"[{"merge":{"tree":0,"to":"root","usr_merged":true}}]"#),
        "root/\nroot/usr/\nroot/usr/bin/\nroot/usr/bin/sh = \"sh\"\n"
    );
}

#[test]
fn usr_merge_does_not_choose_between_two_files() {
    let world = World::new();
    let tree = world.tree(&[text("bin/sh", "1"), text("usr/bin/sh", "22")]);
    let message = world.not_composed(&[tree], r#"[{"merge":{"tree":0}},{"usr_merge":{}}]"#);
    assert!(message.starts_with("`usr/bin/sh` is a file ("), "{message}");
    assert!(message.ends_with("1 bytes) in what usr-merge moves or links"), "{message}");
    let other = world.tree(&[symlink("bin", "/opt/bin"), text("usr/bin/sh", "")]);
    assert_eq!(
        world.not_composed(&[other], r#"[{"merge":{"tree":0}},{"usr_merge":{}}]"#),
        "`bin` is a link to `/opt/bin` already, and a link to `usr/bin` in what usr-merge moves or links"
    );
}

#[test]
fn what_fits_a_pattern_is_removed_and_the_rest_stays() {
    let world = World::new();
    let tree = world.tree(&[
        text("build/include/config/a", ""),
        text("build/include/config/d/b", ""),
        text("build/include/keep", ""),
        text("doc/x/a.o", ""),
        text("doc/a.o", ""),
        text("a.o", ""),
    ]);
    let removed = |paths: &str| {
        world.composed(
            &[tree],
            &format!(r#"[{{"merge":{{"tree":0}}}},{{"remove":{{"paths":{paths}}}}}]"#),
        )
    };
    assert_eq!(
        removed(r#"["build/include/config/*", "**/*.o", "never/there"]"#),
        "build/\nbuild/include/\nbuild/include/config/\nbuild/include/keep = \"\"\ndoc/\ndoc/x/\n"
    );
    assert_eq!(removed(r#"["build", "doc/**"]"#), "a.o = \"\"\ndoc/\n");
    assert_eq!(removed(r#"["**"]"#), "");
}

#[test]
fn links_and_files_take_the_place_of_links_and_files_only() {
    let world = World::new();
    let tree = world.tree(&[symlink("usr/bin/awk", "gawk"), text("etc/f", "old"), directory("d")]);
    let operations = r#"[
        {"merge":{"tree":0}},
        {"link":{"path":"usr/bin/awk","target":"mawk"}},
        {"link":{"path":"usr/bin/new","target":"../x"}},
        {"file":{"path":"etc/f","text":"new","executable":true}},
        {"file":{"path":"usr/bin/new","text":""}},
        {"directory":{"path":"d"}},
        {"directory":{"path":"tmp/deep"}}
    ]"#;
    assert_eq!(
        world.composed(&[tree], operations),
        "d/\netc/\netc/f* = \"new\"\ntmp/\ntmp/deep/\nusr/\nusr/bin/\nusr/bin/awk -> mawk\nusr/bin/new = \"\"\n"
    );
    for operation in [r#"{"link":{"path":"d","target":"x"}}"#, r#"{"file":{"path":"d","text":""}}"#]
    {
        assert_eq!(
            world.not_composed(&[tree], &format!(r#"[{{"merge":{{"tree":0}}}},{operation}]"#)),
            "`d` is a directory; a file or link does not take its place"
        );
    }
}

#[test]
fn operations_apply_in_their_order() {
    let world = World::new();
    let tree = world.tree(&[text("a", "tree")]);
    let put = r#"{"file":{"path":"a","text":"put"}}"#;
    let remove = r#"{"remove":{"paths":["a"]}}"#;
    let merge = r#"{"merge":{"tree":0}}"#;
    assert_eq!(world.composed(&[tree], &format!("[{merge},{put},{remove}]")), "");
    assert_eq!(world.composed(&[tree], &format!("[{put},{remove},{merge}]")), "a = \"tree\"\n");
    assert_eq!(world.composed(&[tree], &format!("[{merge},{put}]")), "a = \"put\"\n");
}

#[test]
fn stars_stay_within_a_name_and_double_stars_cross_them() {
    let world = World::new();
    let finds = |pattern: &str, path: &str| {
        let tree = world.tree(&[text(path, "")]);
        let operations =
            format!(r#"[{{"merge":{{"tree":0}}}},{{"remove":{{"paths":["{pattern}"]}}}}]"#);
        !world.composed(&[tree], &operations).contains(&format!("{path} ="))
    };
    for (pattern, path) in [
        ("a", "a"),
        ("*", "x"),
        ("*.o", "x.o"),
        ("*.o", ".o"),
        ("a*c*e", "abcde"),
        ("a*a", "aa"),
        ("a/*", "a/b"),
        ("**", "a"),
        ("**/x", "x"),
        ("**/x", "a/b/x"),
        ("a/**", "a/b/c"),
        ("a/**/b", "a/b"),
        ("a/**/b", "a/x/y/b"),
        ("**/**/b", "b"),
        ("**/a/**/b", "x/a/a/y/b"),
    ] {
        assert!(finds(pattern, path), "{pattern} {path}");
    }
    for (pattern, path) in [
        ("a", "ab"),
        ("*.o", "d/x.o"),
        ("a*a", "a"),
        ("*b*", "ac"),
        ("?", "a"),
        ("a/*/c", "a/b"),
        ("a/**", "a"),
        ("**/x", "x.y"),
        ("a/**/b", "a/x/c"),
    ] {
        assert!(!finds(pattern, path), "{pattern} {path}");
    }
}
