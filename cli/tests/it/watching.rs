//! `bld build --watch`: what changes is built again, and nothing else makes it build.

use std::fs;
use std::process::Stdio;

use rustix::process::Signal;

use crate::machine::{Machine, wait_for};

/// Says that a round is over.
const WAITING: &str = "waiting for changes";

/// A workspace whose one target puts files together, and what a watching `bld` says about it.
struct Watched {
    machine: Machine,
    build: crate::machine::Started,
}

impl Watched {
    fn start() -> Self {
        let machine = Machine::new();
        machine.write("t/a.txt", "one\n");
        machine.write(
            "t/BUILD.bld",
            "load(\"@rules//files.bzl\", \"filegroup\")\n\
             filegroup(name = \"things\", srcs = glob([\"**/*.txt\"]))\n",
        );
        let said = fs::File::create(machine.root().join("said")).unwrap();
        let mut command = machine.command(&["build", "//...", "--watch"]);
        command.stdout(Stdio::null()).stderr(said);
        let build = crate::machine::Started::new(command);
        let watched = Self { machine, build };
        watched.rounds(1);
        watched
    }

    fn said(&self) -> String {
        fs::read_to_string(self.machine.root().join("said")).unwrap()
    }

    /// Waits until so many rounds are over.
    fn rounds(&self, number: usize) {
        wait_for(&format!("round {number}"), || {
            (self.said().matches(WAITING).count() >= number).then_some(())
        });
    }

    fn made(&self, path: &str, text: &str) {
        wait_for(&format!("{text:?} in {path}"), || {
            let made = fs::read_to_string(self.machine.output(path)).ok()?;
            (made == text).then_some(())
        });
    }
}

#[test]
fn what_changes_is_built_again_also_in_new_folders_and_after_mistakes() {
    let watched = Watched::start();
    watched.made("t/things/a.txt", "one\n");
    watched.machine.write("t/a.txt", "two\n");
    watched.made("t/things/a.txt", "two\n");
    watched.machine.write("t/new/deep/b.txt", "b\n");
    watched.made("t/things/new/deep/b.txt", "b\n");
    // As many editors save: beside, and renamed.
    watched.machine.write("t/a.txt~", "three\n");
    let folder = watched.machine.workspace().join("t");
    fs::rename(folder.join("a.txt~"), folder.join("a.txt")).unwrap();
    watched.made("t/things/a.txt", "three\n");

    let good = watched.machine.read("t/BUILD.bld");
    watched.machine.write("t/BUILD.bld", "filegroup(\n");
    wait_for("the mistake", || watched.said().contains("t/BUILD.bld:2:1").then_some(()));
    watched.machine.write("t/BUILD.bld", &good);
    watched.machine.write("t/a.txt", "four\n");
    watched.made("t/things/a.txt", "four\n");

    watched.build.signal(Signal::INT);
    let ended = watched.build.end();
    assert_eq!(ended.code, Some(130));
    let said = fs::read_to_string(watched.machine.root().join("said")).unwrap();
    assert!(said.ends_with("error: interrupted\n"), "{said}");
}

#[test]
fn many_changes_at_once_are_one_build_and_results_are_none() {
    let watched = Watched::start();
    // The build before wrote results, and that was not taken for a change.
    assert_eq!(watched.said().matches(WAITING).count(), 1);
    for number in 0..50 {
        watched.machine.write(&format!("t/burst/{number}.txt"), "x\n");
    }
    watched.made("t/things/burst/49.txt", "x\n");
    watched.rounds(2);
    fs::remove_file(watched.machine.output("t/things/burst/7.txt")).unwrap();
    // The next change is the next round: what happened under bld-out was none.
    watched.machine.write("t/a.txt", "last\n");
    watched.made("t/things/a.txt", "last\n");
    watched.rounds(3);
    let rounds = watched.said().matches(WAITING).count();
    assert!(rounds <= 4, "{rounds} rounds for one save and fifty files at once");
    assert!(watched.machine.output("t/things/burst/7.txt").exists());
}
