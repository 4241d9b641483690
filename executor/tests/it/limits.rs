//! What a command may use, and what happens when it wants more.

use executor::sandbox::limits_are_kept;
use executor::{ExecuteError, Fate, Limits, Rung};
use rustix::process::geteuid;

use crate::support::World;
use crate::tests;

tests![
    more_memory_than_allowed_is_a_fate,
    more_processes_than_allowed_are_refused,
    a_larger_file_than_allowed_ends_its_writer,
    outputs_that_are_larger_together_are_refused,
];

/// Limits that need control groups are kept for root; nobody else may count on them.
fn must_be_kept() -> bool {
    let kept = limits_are_kept();
    assert!(kept || !geteuid().is_root(), "this machine gives root no control groups");
    kept
}

fn more_memory_than_allowed_is_a_fate(rung: Rung) {
    let world = World::new(rung);
    if !must_be_kept() {
        return;
    }
    let limits = Limits { memory_bytes: 64 << 20, ..Limits::default() };
    let hungry = "perl -e '$x = \"a\" x (256 << 20); print length $x'";
    let ran = world.sh(&format!("{hungry}; echo done")).limits(limits).ran();
    assert_eq!(ran.execution.fate, Fate::OutOfMemory);
    assert!(!ran.execution.fate.is_repeatable());
    let limits = Limits { memory_bytes: 2 << 30, ..Limits::default() };
    assert_eq!(world.sh(hungry).limits(limits).says(), (256 << 20).to_string());
    world.is_clean();
}

fn more_processes_than_allowed_are_refused(rung: Rung) {
    let world = World::new(rung);
    if !must_be_kept() {
        return;
    }
    let script = "my $made = 0; for (1 .. 100) { my $p = fork; last unless defined $p; if (!$p) { sleep 1000 } $made++ } print $made";
    let limits = Limits { processes: 30, ..Limits::default() };
    let made: u32 = world.perl(script).limits(limits).says().parse().unwrap();
    assert!((20..30).contains(&made), "{made}");
    assert_eq!(world.perl(script).says(), "100");
}

fn a_larger_file_than_allowed_ends_its_writer(rung: Rung) {
    let world = World::new(rung);
    let limits = Limits { output_bytes: 1 << 20, ..Limits::default() };
    let ran = world.sh("exec head -c 2000000 /dev/zero > out/a").limits(limits).ran();
    assert_eq!(ran.execution.fate, Fate::Signalled(libc::SIGXFSZ));
    let ran = world.sh("exec yes").limits(limits).ran();
    assert_eq!(ran.execution.fate, Fate::Signalled(libc::SIGXFSZ));
    assert_eq!(ran.stdout.len(), 1 << 20);
}

fn outputs_that_are_larger_together_are_refused(rung: Rung) {
    let world = World::new(rung);
    let limits = Limits { output_bytes: 1 << 20, ..Limits::default() };
    let script = "head -c 700000 /dev/zero > out/a; head -c 700000 /dev/zero > out/b";
    world.sh(script).limits(limits).output("out/a").says();
    let both = world.sh(script).limits(limits).output("out/a").output("out/b");
    let error = both.outcome().unwrap_err();
    assert!(matches!(error, ExecuteError::OutputSize { limit: 1_048_576 }), "{error}");
    assert!(error.is_action_fault());
    world.is_clean();
}
