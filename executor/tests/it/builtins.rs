//! Built-ins: actions like any other, without a sandbox.

use executor::{BUILTIN_PROGRAM, ExecuteError, Executor as _, Job, Limits, Rung, builtin_salt};
use model::{Action, Command, Node, Platform};
use store::Draft;
use wire::encode;

use crate::support::{World, block_on, path};
use crate::tests;

tests![
    trees_are_composed,
    a_conflict_is_a_failure_with_a_message,
    an_unknown_builtin_is_refused,
    a_builtin_of_another_version_is_refused,
    operations_that_cannot_be_read_are_refused,
];

const MERGE_BOTH: &str = r#"[{"merge":{"tree":0}},{"merge":{"tree":1}}]"#;

struct Builtin<'a> {
    name: &'a str,
    operations: &'a str,
    salt: String,
}

fn compose(operations: &str) -> Builtin<'_> {
    Builtin { name: "compose", operations, salt: builtin_salt("compose").unwrap() }
}

fn run(
    world: &World,
    builtin: &Builtin<'_>,
    trees: &[Node],
) -> Result<executor::Execution, ExecuteError> {
    let mut draft = Draft::new();
    for (number, tree) in trees.iter().enumerate() {
        draft.add(&world.store, &path(&number.to_string()), tree.clone()).unwrap();
    }
    let arguments = [BUILTIN_PROGRAM, builtin.name, builtin.operations].map(str::to_owned);
    let command = Command {
        arguments: arguments.to_vec(),
        output_paths: vec![path("out/tree")],
        ..Command::default()
    };
    let encoded = encode::command(&command);
    let action = Action {
        command: world.store.ingest_bytes(&encoded, false).unwrap(),
        input_root: draft.finish(&world.store).unwrap(),
        timeout: None,
        salt: builtin.salt.clone(),
        platform: Platform::default(),
    };
    let job = Job { action: &action, command: &command, limits: Limits::default() };
    block_on(world.executor().execute(job, &*world.store))
}

fn trees_are_composed(rung: Rung) {
    let world = World::new(rung);
    let trees =
        [world.tree(&[("a/x", "x"), ("same", "s")]), world.tree(&[("a/y", "y"), ("same", "s")])];
    let execution = run(&world, &compose(MERGE_BOTH), &trees).unwrap();
    assert_eq!(execution.result.exit_code, 0);
    let output = &execution.result.directories[0];
    assert_eq!(output.path, path("out/tree"));
    let expected = world.tree(&[("a/x", "x"), ("a/y", "y"), ("same", "s")]);
    assert_eq!(Node::Directory(output.root), expected);
    let shown = world.sh("ls /t /t/a").at("t", expected).says();
    assert_eq!(shown, "/t:\na\nsame\n\n/t/a:\nx\ny\n");
    world.is_clean();
}

fn a_conflict_is_a_failure_with_a_message(rung: Rung) {
    let world = World::new(rung);
    let trees = [world.tree(&[("a", "one")]), world.tree(&[("a", "other")])];
    let result = run(&world, &compose(MERGE_BOTH), &trees).unwrap().result;
    assert_eq!((result.exit_code, result.directories.len()), (1, 0));
    let message = world.text(result.stderr);
    assert!(message.starts_with("bld: "), "{message}");
}

fn an_unknown_builtin_is_refused(rung: Rung) {
    let world = World::new(rung);
    let builtin = Builtin { name: "decompose", operations: "[]", salt: "x".to_owned() };
    let error = run(&world, &builtin, &[]).unwrap_err();
    assert!(matches!(error, ExecuteError::UnknownBuiltin { .. }), "{error}");
    assert!(error.is_action_fault());
}

fn a_builtin_of_another_version_is_refused(rung: Rung) {
    let world = World::new(rung);
    let salt = "bld-builtin-compose-0".to_owned();
    let builtin = Builtin { name: "compose", operations: "[]", salt };
    let error = run(&world, &builtin, &[]).unwrap_err();
    assert!(matches!(error, ExecuteError::UnknownBuiltin { .. }), "{error}");
}

fn operations_that_cannot_be_read_are_refused(rung: Rung) {
    let world = World::new(rung);
    let error = run(&world, &compose("nonsense"), &[]).unwrap_err();
    assert!(matches!(error, ExecuteError::BuiltinArguments { .. }), "{error}");
    assert!(error.is_action_fault());
}
