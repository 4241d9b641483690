//! What is kept of what a command makes, and what is refused.

use std::fs;

use executor::{ExecuteError, Execution, Rung};
use model::{Directory, Node, TreeDigest};

use crate::support::{World, path};
use crate::tests;

tests![
    a_file_is_kept_with_its_executable_bit,
    a_tree_is_kept_with_empty_directories_and_links,
    a_link_is_kept_as_it_is,
    what_was_not_made_is_absent,
    the_directories_above_an_output_are_there_already,
    what_was_not_declared_is_not_kept,
    what_trees_cannot_hold_is_refused_by_name,
    a_name_that_is_not_text_is_refused,
    an_output_that_lies_too_deep_is_refused,
    an_output_outside_of_its_place_is_refused,
    a_link_above_an_output_leads_nowhere,
    something_else_above_an_output_is_refused,
    modes_that_forbid_reading_hide_nothing,
    files_linked_with_one_another_are_each_kept,
    the_same_action_makes_the_same_in_two_stores,
    a_tree_output_can_be_an_input,
    outputs_of_a_failed_command_are_kept_too,
    sparse_and_empty_files_are_kept,
];

fn root_of(execution: &Execution) -> TreeDigest {
    execution.result.directories[0].root
}

fn listing(world: &World, tree: TreeDigest) -> Directory {
    world.store.directory(tree).unwrap().unwrap()
}

fn a_file_is_kept_with_its_executable_bit(rung: Rung) {
    let world = World::new(rung);
    let script = "echo plain > out/a; echo program > out/b; chmod 755 out/b; echo strange > out/c; chmod 611 out/c";
    let case = world.sh(script).output("out/a").output("out/b").output("out/c");
    let files = case.ran().execution.result.files;
    let kept: Vec<_> = files
        .iter()
        .map(|file| (file.path.as_str(), world.text(Some(file.digest)), file.executable))
        .collect();
    let expected =
        [("out/a", "plain\n", false), ("out/b", "program\n", true), ("out/c", "strange\n", false)];
    assert_eq!(kept, expected.map(|(path, text, executable)| (path, text.to_owned(), executable)));
    world.is_clean();
}

fn a_tree_is_kept_with_empty_directories_and_links(rung: Rung) {
    let world = World::new(rung);
    let script = "
        mkdir -p out/tree/a/b out/tree/empty; echo x > out/tree/a/b/x; cp /bin/true out/tree/a/true
        ln -s a/b/x out/tree/link; ln -s /nowhere/at/all out/tree/dangling; ln -s . out/tree/loop";
    let execution = world.sh(script).output("out/tree").ran().execution;
    let tree = listing(&world, root_of(&execution));
    let names: Vec<_> = tree.children().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a", "dangling", "empty", "link", "loop"]);
    let target = |name| match tree.get(name) {
        Some(Node::Symlink(target)) => target.as_str(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        (target("link"), target("dangling"), target("loop")),
        ("a/b/x", "/nowhere/at/all", ".")
    );
    let Some(Node::Directory(empty)) = tree.get("empty") else { panic!("no directory") };
    assert!(listing(&world, *empty).is_empty());
    let Some(Node::Directory(a)) = tree.get("a") else { panic!("no directory") };
    let program = listing(&world, *a);
    assert!(matches!(program.get("true"), Some(Node::File { executable: true, .. })));
    // The message that lists the whole tree is kept too, for others than us.
    assert!(!world.bytes(Some(execution.result.directories[0].tree)).is_empty());
    world.is_clean();
}

fn a_link_is_kept_as_it_is(rung: Rung) {
    let world = World::new(rung);
    let case =
        world.sh("ln -s /etc/passwd out/a; ln -s ../gone out/b").output("out/a").output("out/b");
    let links = case.ran().execution.result.symlinks;
    let links: Vec<_> = links.iter().map(|it| (it.path.as_str(), it.target.as_str())).collect();
    assert_eq!(links, [("out/a", "/etc/passwd"), ("out/b", "../gone")]);
}

fn what_was_not_made_is_absent(rung: Rung) {
    let world = World::new(rung);
    let case = world
        .sh("echo x > out/a; rm -r out/deep")
        .output("out/a")
        .output("out/b")
        .output("out/deep/c");
    let result = case.ran().execution.result;
    assert_eq!((result.files.len(), result.directories.len(), result.symlinks.len()), (1, 0, 0));
}

fn the_directories_above_an_output_are_there_already(rung: Rung) {
    let world = World::new(rung);
    let case = world
        .sh("echo x > out/a/b/c; echo y > out/a/d; mkdir out/a/e")
        .output("out/a/b/c")
        .output("out/a/d");
    case.says();
    assert_eq!(case.ran().execution.result.files.len(), 2);
}

fn what_was_not_declared_is_not_kept(rung: Rung) {
    let world = World::new(rung);
    let case = world
        .sh("echo declared > out/a; echo undeclared > out/b; echo undeclared > b")
        .output("out/a");
    let result = case.ran().execution.result;
    assert_eq!(result.files.len(), 1);
    let undeclared = model::Digest::of(world.store.function(), b"undeclared\n");
    assert!(!world.store.contains(undeclared).unwrap());
}

fn what_trees_cannot_hold_is_refused_by_name(rung: Rung) {
    let world = World::new(rung);
    let pipe = "is a device, socket or pipe, which a tree cannot hold";
    let bits = "has a set-user-id, set-group-id or sticky bit, which a tree cannot hold";
    let attributes = "has extended attributes, which a tree cannot hold";
    let socket =
        r#"perl -e 'socket(S, 1, 1, 0); bind(S, pack("S a*", 1, "out/tree/x")) or die $!'"#;
    let attribute = r#"perl -e '($p, $n, $v) = ("out/tree/x", "user.x", "v"); syscall(188, $p, $n, $v, 1, 0) == 0 or die $!'"#;
    for (script, why) in [
        ("mkfifo out/tree/x", pipe),
        (socket, pipe),
        ("touch out/tree/x; chmod 4755 out/tree/x", bits),
        ("touch out/tree/x; chmod 2755 out/tree/x", bits),
        ("touch out/tree/x; chmod 1644 out/tree/x", bits),
        ("mkdir out/tree/x; chmod 2755 out/tree/x", bits),
        (&format!("touch out/tree/x; {attribute}"), attributes),
        (&format!("mkdir out/tree/x; {attribute}"), attributes),
    ] {
        let script = format!("set -e; mkdir -p out/tree; {script}");
        for output in ["out/tree", "out/tree/x"] {
            let refusal = world.sh(&script).output(output).refusal();
            assert_eq!(refusal, format!("the output `out/tree/x` {why}"), "{script}");
        }
    }
    world.is_clean();
}

fn a_name_that_is_not_text_is_refused(rung: Rung) {
    let world = World::new(rung);
    let case = world
        .perl(r#"mkdir "out/a"; open(F, ">", "out/a/\xff") or die; print F "x""#)
        .output("out/a");
    let refusal = case.refusal();
    assert!(refusal.ends_with("has a name that is not UTF-8"), "{refusal}");
    let case = world.perl(r#"symlink("\xff", "out/a") or die"#).output("out/a");
    assert_eq!(case.refusal(), "the output `out/a` has a target that is not UTF-8");
    world.is_clean();
}

fn an_output_that_lies_too_deep_is_refused(rung: Rung) {
    let world = World::new(rung);
    let deep = |levels: u32| {
        format!(r#"chdir "out"; for (1 .. {levels}) {{ mkdir "d" or die; chdir "d" or die }}"#)
    };
    world.perl(&deep(62)).output("out/d").says();
    for levels in [64, 2500] {
        let refusal = world.perl(&deep(levels)).output("out/d").refusal();
        assert!(refusal.ends_with("lies too deep"), "{refusal}");
    }
    let long = r#"chdir "out"; for (1 .. 30) { mkdir "d" x 200 or die; chdir "d" x 200 or die }"#;
    let refusal = world.perl(long).output(&format!("out/{}", "d".repeat(200))).refusal();
    assert!(refusal.ends_with("lies too deep"), "{refusal}");
    world.is_clean();
}

fn an_output_outside_of_its_place_is_refused(rung: Rung) {
    let world = World::new(rung);
    for place in ["elsewhere", "outer/a", "a/out/b"] {
        let error = world.sh("true").output(place).outcome().unwrap_err();
        assert!(matches!(&error, ExecuteError::OutputPlace(it) if *it == path(place)), "{error}");
        assert!(error.is_action_fault());
    }
    world.is_clean();
}

fn a_link_above_an_output_leads_nowhere(rung: Rung) {
    let world = World::new(rung);
    let victim = world.outside().join("victim");
    fs::write(&victim, "of the machine").unwrap();
    let script = format!("rmdir out/sub; ln -s {} out/sub", world.outside().display());
    let refusal = world.sh(&script).output("out/sub/victim").refusal();
    assert_eq!(
        refusal,
        "the output `out/sub/victim` lies behind something that is not a directory"
    );
    assert_eq!(fs::read_to_string(&victim).unwrap(), "of the machine");
    // The same as an output of its own is a link, and as such harmless.
    let script = format!("ln -s {} out/sub", world.outside().display());
    let links = world.sh(&script).output("out/sub").ran().execution.result.symlinks;
    assert_eq!(links.len(), 1);
    world.is_clean();
}

fn something_else_above_an_output_is_refused(rung: Rung) {
    let world = World::new(rung);
    let refusal = world.sh("rmdir out/sub; echo x > out/sub").output("out/sub/a").refusal();
    assert_eq!(refusal, "the output `out/sub/a` lies behind something that is not a directory");
}

fn modes_that_forbid_reading_hide_nothing(rung: Rung) {
    let world = World::new(rung);
    let script = "
        mkdir -p out/tree/a; echo x > out/tree/a/x; chmod 000 out/tree/a/x out/tree/a out/tree
        echo y > out/sub/y; chmod 000 out/sub/y out/sub; echo z > out/z; chmod 200 out/z; chmod 000 out .";
    let case = world.sh(script).output("out/sub/y").output("out/tree").output("out/z");
    let result = case.ran().execution.result;
    assert_eq!((result.files.len(), result.directories.len()), (2, 1));
    assert_eq!(world.text(Some(result.files[0].digest)), "y\n");
    let Some(Node::Directory(a)) = listing(&world, result.directories[0].root).get("a").cloned()
    else {
        panic!("no directory")
    };
    assert!(matches!(listing(&world, a).get("x"), Some(Node::File { executable: false, .. })));
    world.is_clean();
}

fn files_linked_with_one_another_are_each_kept(rung: Rung) {
    let world = World::new(rung);
    let script = "echo x > out/a; ln out/a out/b; mkdir out/tree; ln out/a out/tree/c; ln out/a out/undeclared";
    let result =
        world.sh(script).output("out/a").output("out/b").output("out/tree").ran().execution.result;
    assert_eq!(result.files[0].digest, result.files[1].digest);
    let digest = result.files[0].digest;
    let expected = Node::File { digest, executable: false };
    assert_eq!(listing(&world, result.directories[0].root).get("c"), Some(&expected));
    world.is_clean();
}

fn the_same_action_makes_the_same_in_two_stores(rung: Rung) {
    let made = |world: &World| {
        let script = "
            mkdir out/tree; ls -R /work/src /usr /etc /dev > out/tree/seen 2> /dev/null
            stat -c '%n %F %a %u %g %Y' src src/a src/b src/b/c > out/tree/stat
            env > out/env; id >> out/env; cat /etc/* >> out/env";
        let case = world
            .sh(script)
            .at("work", world.tree(&[("src/a", "a"), ("src/b/c", "c")]))
            .output("out/env")
            .output("out/tree");
        let action = wire::encode::action(&case.action());
        let result = case.ran().execution.result;
        (action, result.files, result.directories, result.stdout, result.stderr)
    };
    let (one, other) = (World::named(rung, "one"), World::named(rung, "another, longer"));
    assert_eq!(made(&one), made(&other));
    // And on whichever rung.
    assert_eq!(made(&one), made(&World::new(Rung::UserNamespace)));
}

fn a_tree_output_can_be_an_input(rung: Rung) {
    let world = World::new(rung);
    let execution =
        world.sh("mkdir out/tree; echo handed on > out/tree/a").output("out/tree").ran().execution;
    let tree = Node::Directory(root_of(&execution));
    assert_eq!(
        world
            .sh("cat /tree/a b/a")
            .at("tree", tree.clone())
            .at("work", {
                let mut draft = store::Draft::new();
                draft.add(&world.store, &path("b"), tree).unwrap();
                Node::Directory(draft.finish(&world.store).unwrap())
            })
            .says(),
        "handed on\nhanded on\n"
    );
}

fn outputs_of_a_failed_command_are_kept_too(rung: Rung) {
    let world = World::new(rung);
    let ran = world.sh("echo x > out/a; exit 3").output("out/a").ran();
    assert_eq!((ran.exit_code(), ran.execution.result.files.len()), (3, 1));
}

fn sparse_and_empty_files_are_kept(rung: Rung) {
    let world = World::new(rung);
    let script = "touch out/empty out/program; chmod 755 out/program; perl -e 'open(F, \">\", \"out/sparse\"); truncate F, 3000000'";
    let case = world.sh(script).output("out/empty").output("out/program").output("out/sparse");
    let files = case.ran().execution.result.files;
    let sizes: Vec<_> = files.iter().map(|it| (it.digest.size(), it.executable)).collect();
    assert_eq!(sizes, [(0, false), (0, true), (3_000_000, false)]);
    world.is_clean();
}
