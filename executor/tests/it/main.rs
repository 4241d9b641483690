//! The sandbox as a command finds it, on every rung of this machine, as root and as an ordinary user.
//!
//! These are tests of the world: the programs in the sandbox are the machine's own, and one that is absent fails them.

#![expect(clippy::unwrap_used, reason = "tests may panic; helpers are outside #[test]")]
#![expect(clippy::panic, reason = "tests may panic; helpers are outside #[test]")]

mod bare;
mod builtins;
mod ends;
mod host;
mod inputs;
mod limits;
mod logs;
mod ordinary;
mod outputs;
mod perturbations;
mod processes;
mod roles;
mod sessions;
mod sight;
mod support;
mod traces;
mod writes;

use std::process::ExitCode;

use executor::Rung;
use libtest_mimic::{Arguments, Trial};
use rustix::process::geteuid;

/// A test that is asked of every rung.
type Test = (&'static str, fn(Rung));

fn main() -> ExitCode {
    executor::sandbox::run_if_asked();
    if let Some(code) = roles::play_if_asked() {
        return code;
    }
    let arguments = Arguments::from_args();
    let tests: Vec<Test> = [
        builtins::TESTS,
        ends::TESTS,
        inputs::TESTS,
        limits::TESTS,
        logs::TESTS,
        outputs::TESTS,
        perturbations::TESTS,
        processes::TESTS,
        sessions::TESTS,
        sight::TESTS,
        traces::TESTS,
        writes::TESTS,
    ]
    .concat();
    let mut trials: Vec<_> = rungs().iter().flat_map(|rung| on_rung(&tests, *rung)).collect();
    trials.extend(on_rung(bare::TESTS, Rung::Bare));
    if geteuid().is_root() {
        trials.extend(ordinary::trials());
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn on_rung(tests: &[Test], rung: Rung) -> Vec<Trial> {
    let trial = |(name, test): &Test| {
        let test = *test;
        Trial::test(format!("{rung:?}::{name}"), move || {
            test(rung);
            Ok(())
        })
    };
    tests.iter().map(trial).collect()
}

/// The rungs that must work here.
fn rungs() -> &'static [Rung] {
    if geteuid().is_root() { &[Rung::UserNamespace, Rung::Root] } else { &[Rung::UserNamespace] }
}

/// Lists the tests of a module.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) const TESTS: &[crate::Test] =
            &[$((concat!(module_path!(), "::", stringify!($name)), $name)),*];
    };
}
pub(crate) use tests;
