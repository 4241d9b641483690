//! How commands begin and end when there is nothing, or nothing sensible, to run.

use executor::{ExecuteError, Fate, Rung};
use model::{Node, RelativePath};

use crate::support::{World, path};
use crate::tests;

tests![
    a_program_that_is_absent_ends_with_127,
    a_program_that_cannot_be_executed_ends_with_126,
    no_program_at_all_ends_with_127,
    a_program_is_looked_for_in_the_commands_own_path,
    a_script_names_its_interpreter,
    arguments_arrive_as_they_are,
    the_working_directory_is_where_it_starts,
    a_working_directory_that_the_sandbox_cannot_make_is_refused,
];

fn a_program_that_is_absent_ends_with_127(rung: Rung) {
    let world = World::new(rung);
    for absent in ["/none", "none", "./none", "/usr/bin/true/none"] {
        let ran = world.run(&[absent]).ran();
        assert_eq!((ran.execution.fate, ran.exit_code()), (Fate::Exited, 127), "{absent}");
        assert!(ran.stderr.starts_with(&format!("bld: cannot run `{absent}`: ")), "{}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1);
    }
}

fn a_program_that_cannot_be_executed_ends_with_126(rung: Rung) {
    let world = World::new(rung);
    let digest = world.store.ingest_bytes(b"no format that anybody knows", true).unwrap();
    let strange = Node::File { digest, executable: true };
    for (program, node) in [
        ("/plain", world.file("#!/bin/sh\n")),
        ("/strange", strange),
        ("/folder", world.tree(&[("a", "a")])),
    ] {
        let ran = world.run(&[program]).at(&program[1..], node).ran();
        assert_eq!((ran.execution.fate, ran.exit_code()), (Fate::Exited, 126), "{program}");
        assert!(ran.stderr.starts_with("bld: cannot run"), "{}", ran.stderr);
    }
    let ran = world.run(&["/bin/true", "nul\0"]).ran();
    assert_eq!(ran.exit_code(), 126);
}

fn no_program_at_all_ends_with_127(rung: Rung) {
    let world = World::new(rung);
    assert_eq!(world.run(&[]).ran().exit_code(), 127);
    assert_eq!(world.run(&[""]).ran().exit_code(), 127);
}

fn a_program_is_looked_for_in_the_commands_own_path(rung: Rung) {
    let world = World::new(rung);
    let case =
        world.run(&["printf", "found"]).environment(&[("PATH", "/none:/etc/passwd::/usr/bin")]);
    assert_eq!(case.says(), "found");
    let case = world.run(&["printf", "found"]).environment(&[]);
    assert_eq!(case.ran().exit_code(), 127);
}

fn a_script_names_its_interpreter(rung: Rung) {
    let world = World::new(rung);
    let script = |text: &str| {
        let digest = world.store.ingest_bytes(text.as_bytes(), true).unwrap();
        Node::File { digest, executable: true }
    };
    let case = world.run(&["/script", "x"]).at("script", script("#!/bin/sh\necho $0 $1\n"));
    assert_eq!(case.says(), "/script x\n");
    let case = world.run(&["/script"]).at("script", script("#!/no/interpreter\n"));
    assert_eq!(case.ran().exit_code(), 127);
}

fn arguments_arrive_as_they_are(rung: Rung) {
    let world = World::new(rung);
    let case = world.run(&["/usr/bin/printf", "<%s>", "", " a  b ", "ä\n", "$HOME*", "-n"]);
    assert_eq!(case.says(), "<>< a  b ><ä\n><$HOME*><-n>");
}

fn the_working_directory_is_where_it_starts(rung: Rung) {
    let world = World::new(rung);
    let mut case = world.sh("stat -c %n:%a . out; pwd");
    assert_eq!(case.says(), ".:755\nout:755\n/work\n");
    case.command.working_directory = path("elsewhere");
    assert_eq!(case.says(), ".:755\nout:755\n/elsewhere\n");
}

fn a_working_directory_that_the_sandbox_cannot_make_is_refused(rung: Rung) {
    let world = World::new(rung);
    for place in ["", "dev", "proc", "tmp", "etc", "usr/bin", "a/b"] {
        let mut case = world.sh("true");
        case.command.working_directory = RelativePath::new(place).unwrap_or_default();
        let error = case.outcome().unwrap_err();
        assert!(matches!(error, ExecuteError::WorkingDirectory(_)), "/{place}: {error}");
        assert!(error.is_action_fault());
    }
    world.is_clean();
}
