//! Inputs: where they lie in the sandbox, and that they stay what they are.

use std::fs;

use executor::{ExecuteError, Rung};
use model::{Digest, DigestFunction, Node, SymlinkTarget, TreeDigest};
use store::FILE_TIME_SECONDS;

use crate::support::{World, path};
use crate::tests;

tests![
    trees_files_and_links_lie_at_the_root,
    inputs_in_the_working_directory_can_be_written_and_stay_as_they_were,
    everything_in_the_working_directory_belongs_to_the_command,
    every_input_carries_the_same_time,
    what_the_input_root_has_in_etc_lies_below_the_sandboxs_own,
    what_the_input_root_has_in_own_directories_is_not_shown,
    a_link_where_the_sandbox_mounts_something_is_refused,
    a_working_directory_whose_outputs_have_no_place_is_refused,
    a_missing_input_is_named,
    a_store_may_have_any_name_that_is_text,
    the_umask_of_bld_does_not_show,
];

fn link(target: &str) -> Node {
    Node::Symlink(SymlinkTarget::new(target).unwrap())
}

fn trees_files_and_links_lie_at_the_root(rung: Rung) {
    let world = World::new(rung);
    let case = world
        .sh("cat /tree/a/b /file /link; stat -c '%F %a' /file /link /tree")
        .at("tree", world.tree(&[("a/b", "in a tree\n")]))
        .at("file", world.file("a file\n"))
        .at("link", link("tree/a/b"));
    let said = case.says();
    assert!(
        said.starts_with(
            "in a tree\na file\nin a tree\nregular file 444\nsymbolic link 777\ndirectory 755\n"
        ),
        "{said}"
    );
}

fn inputs_in_the_working_directory_can_be_written_and_stay_as_they_were(rung: Rung) {
    let world = World::new(rung);
    let work = world.tree(&[("a", "a\n"), ("deep/down/b", "b\n"), ("deep/c", "c\n")]);
    let script = "
        set -e
        cat a deep/down/b
        chmod u+w a; echo changed >> a; cat a
        echo new > deep/down/new; mv deep/down/b deep/moved; rm deep/c; ln -s a deep/link
        echo made > deep/down/made.o; cp a deep/down/copy
        ls deep deep/down
        rm -r deep; ls
        mkdir deep; ls deep";
    let said = world.sh(script).at("work", work.clone()).says();
    let expected =
        "a\nb\na\nchanged\ndeep:\ndown\nlink\nmoved\n\ndeep/down:\ncopy\nmade.o\nnew\na\nout\n";
    assert_eq!(said, expected);
    let again = world.sh("cat a deep/down/b deep/c; ls -A . deep").at("work", work).says();
    assert_eq!(again, "a\nb\nc\n.:\na\ndeep\nout\n\ndeep:\nc\ndown\n");
    world.is_clean();
}

fn everything_in_the_working_directory_belongs_to_the_command(rung: Rung) {
    let world = World::new(rung);
    let work = world.tree(&[("a", "a\n"), ("deep/down/b", "b\n")]);
    let case = world.sh("stat -c '%n %u %g %a' . a deep deep/down deep/down/b").at("work", work);
    let expected = ". 1000 1000 755\na 1000 1000 444\ndeep 1000 1000 755\ndeep/down 1000 1000 755\ndeep/down/b 1000 1000 444\n";
    assert_eq!(case.says(), expected);
}

fn every_input_carries_the_same_time(rung: Rung) {
    let world = World::new(rung);
    let case = world
        .sh("stat -c %Y /tree /tree/a /tree/a/b /file a/b a /usr/bin/sh /etc/passwd")
        .at("tree", world.tree(&[("a/b", "b")]))
        .at("work", world.tree(&[("a/b", "b")]))
        .at("file", world.file("a file"));
    assert_eq!(case.says(), format!("{FILE_TIME_SECONDS}\n").repeat(8));
}

fn what_the_input_root_has_in_etc_lies_below_the_sandboxs_own(rung: Rung) {
    let world = World::new(rung);
    let etc = world.tree(&[("passwd", "theirs\n"), ("alternatives/cc", "cc\n")]);
    let case = world
        .sh("cat /etc/alternatives/cc /etc/hostname; head -n 1 /etc/passwd; ls /etc")
        .at("etc", etc);
    let expected =
        "cc\nbld\nroot:x:0:0:root:/:/bin/sh\nalternatives\ngroup\nhostname\nhosts\npasswd\n";
    assert_eq!(case.says(), expected);
}

fn what_the_input_root_has_in_own_directories_is_not_shown(rung: Rung) {
    let world = World::new(rung);
    let tree = world.tree(&[("theirs", "x")]);
    let case = world
        .sh("ls /tmp; ls /proc/theirs /dev/theirs 2>/dev/null || echo absent")
        .at("tmp", tree.clone())
        .at("proc", tree.clone())
        .at("dev", link("tmp"));
    assert_eq!(case.says(), "absent\n");
}

fn a_link_where_the_sandbox_mounts_something_is_refused(rung: Rung) {
    let world = World::new(rung);
    let outside = world.outside();
    let target = outside.display().to_string();
    for name in ["work", "etc"] {
        for node in [link(&target), world.file("no directory")] {
            let refusal = world.sh("true").at(name, node).refusal();
            assert_eq!(refusal, format!("the input root's `{name}` is not a directory"));
        }
    }
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
    world.is_clean();
}

fn a_working_directory_whose_outputs_have_no_place_is_refused(rung: Rung) {
    let world = World::new(rung);
    let work = world.tree(&[("out", "a file where outputs go")]);
    let refusal = world.sh("true").at("work", work).refusal();
    assert_eq!(refusal, "the input root's `work/out` is not a directory, but outputs go there");
    let work = world.tree(&[("out/old", "hidden"), ("a", "seen")]);
    assert_eq!(world.sh("ls . out").at("work", work).says(), ".:\na\nout\n\nout:\n");
}

fn a_missing_input_is_named(rung: Rung) {
    let world = World::new(rung);
    let absent = TreeDigest(Digest::of(DigestFunction::Blake3, b"nobody has this"));
    let error = world.sh("true").at("absent", Node::Directory(absent)).outcome().unwrap_err();
    let ExecuteError::MissingInput { digest, path: place } = &error else { panic!("{error}") };
    assert_eq!((*digest, place), (absent.0, &path("absent")));
    assert!(!error.is_action_fault());
    world.is_clean();
}

fn a_store_may_have_any_name_that_is_text(rung: Rung) {
    for name in ["a:b", "a,b", r"a\b", r"a\:b,lowerdir=/\,", "a b\tc", "ä\n'\"", "-o%s#"] {
        let world = World::named(rung, name);
        let case = world
            .sh("echo more >> new; cat a new /etc/b /etc/hostname > out/c; cat out/c")
            .at("work", world.tree(&[("a", "a\n")]))
            .at("etc", world.tree(&[("b", "b\n")]))
            .output("out/c");
        assert_eq!(case.says(), "a\nmore\nb\nbld\n", "{name}");
        world.is_clean();
    }
}

fn the_umask_of_bld_does_not_show(rung: Rung) {
    let world = World::new(rung);
    let script = "[ \"$(umask; stat -c %a / . out out/a /tmp /dev /etc)\" = \"$(printf '0022\\n755\\n755\\n755\\n755\\n1777\\n755\\n755')\" ]";
    assert_eq!(world.sh(script).output("out/a/b").ran().exit_code(), 0);
    // The umask belongs to the whole process, so another one is started for it.
    let mut bld = std::process::Command::new("/bin/sh");
    bld.args(["-c", "umask 077; exec \"$0\""]).arg(std::env::current_exe().unwrap());
    for (name, value) in crate::roles::long_action(rung, &world.outside(), script).get_envs() {
        bld.env(name, value.unwrap());
    }
    bld.env("BLD_IT_OUTPUT", "out/a/b");
    assert!(bld.status().unwrap().success());
}
