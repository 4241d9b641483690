//! Without a sandbox: only what lives in its working directory alone, and with the same answers.

use std::time::Duration;

use executor::{ExecuteError, Fate, Limits, Rung};

use crate::support::{Case, SOON, World, block_on, eventually, marker, sleepers};
use crate::tests;

tests![
    an_action_with_a_build_root_is_refused,
    inputs_may_be_written_and_stay_as_they_were,
    a_program_that_cannot_be_run_is_told,
    a_time_out_ends_it,
    dropping_the_future_ends_it,
];

/// With nothing at the root but the working directory.
fn alone<'a>(world: &'a World, script: &str) -> Case<'a> {
    let mut case = world.sh(script).at("work", world.tree(&[("a", "a\n")]));
    case.root.retain(|name, _| name == "work");
    case
}

fn an_action_with_a_build_root_is_refused(rung: Rung) {
    let world = World::new(rung);
    let error = world.sh("true").outcome().unwrap_err();
    assert!(matches!(error, ExecuteError::NeedsSandbox), "{error}");
    world.is_clean();
}

fn inputs_may_be_written_and_stay_as_they_were(rung: Rung) {
    let world = World::new(rung);
    let ran = alone(&world, "cat a; echo b >> a; cat a > out/b").output("out/b").ran();
    assert_eq!((ran.stdout.as_str(), ran.execution.rung), ("a\n", Rung::Bare));
    assert_eq!(world.text(Some(ran.execution.result.files[0].digest)), "a\nb\n");
    assert_eq!(alone(&world, "cat a").says(), "a\n");
    world.is_clean();
}

fn a_program_that_cannot_be_run_is_told(rung: Rung) {
    let world = World::new(rung);
    let mut case = alone(&world, "");
    case.command.arguments = vec!["/none".to_owned()];
    let ran = case.ran();
    assert_eq!(ran.exit_code(), 127);
    assert!(ran.stderr.starts_with("bld: cannot run `/none`: "), "{}", ran.stderr);
    case.command.arguments = Vec::new();
    assert_eq!(case.ran().exit_code(), 127);
}

fn a_time_out_ends_it(rung: Rung) {
    let world = World::new(rung);
    let marker = marker();
    let limits = Limits { time: Duration::from_secs(1), ..Limits::default() };
    let ran = alone(&world, &format!("sleep {marker} & sleep {marker}")).limits(limits).ran();
    assert_eq!(ran.execution.fate, Fate::TimedOut);
    assert!(ran.execution.result.metadata.wall < SOON);
    eventually("nobody sleeps", || sleepers(&marker) == 0);
    world.is_clean();
}

fn dropping_the_future_ends_it(rung: Rung) {
    let world = World::new(rung);
    let marker = marker();
    let case = alone(&world, &format!("sleep {marker}"));
    block_on(async {
        let begun = tokio::task::spawn_blocking({
            let marker = marker.clone();
            move || eventually("it sleeps", || sleepers(&marker) == 1)
        });
        tokio::select! {
            ended = case.execute() => panic!("it ended: {ended:?}"),
            begun = begun => begun.unwrap(),
        }
    });
    eventually("nobody sleeps", || sleepers(&marker) == 0);
    let tmp = world.store.root().join("tmp");
    eventually("nothing is left", || std::fs::read_dir(&tmp).unwrap().next().is_none());
}
