//! `bld lock`, `--locked` and `--offline`.

use std::fs;

use crate::base::{base, link_store};
use crate::machine::{Machine, Ran, copy};

#[test]
fn a_lock_is_made_by_the_first_build_unless_that_is_forbidden() {
    let machine = Machine::hello();
    let lock = machine.read("bld.lock");
    fs::remove_file(machine.workspace().join("bld.lock")).unwrap();
    machine
        .run(&["build", "//hello:all", "--locked"])
        .expect(2)
        .says(&["--locked forbids", "//hello:shell is not locked yet"]);
    assert!(!machine.workspace().join("bld.lock").exists());
    machine.write("bld.lock", &lock);
    machine.run(&["build", "//hello:all", "--locked"]).expect(0);
    machine.run(&["lock", "--locked"]).expect(0);
    assert_eq!(machine.read("bld.lock"), lock);
}

#[test]
fn a_lock_of_something_else_is_stale() {
    let machine = Machine::hello();
    let text = machine.read("hello/BUILD.bld");
    machine.write(
        "hello/BUILD.bld",
        &text.replace("\"busybox-static\"", "\"busybox-static\", \"sed\""),
    );
    for command in [&["build", "//hello:all", "--locked"][..], &["lock", "--locked"]] {
        machine.run(command).expect(2).says(&[
            "--locked forbids",
            "//hello:shell asks for something else than when it was locked",
        ]);
    }
}

#[test]
fn offline_works_with_what_is_here_and_says_what_is_not() {
    let machine = Machine::hello();
    // Nothing listens there; offline, nobody asks.
    machine.write(
        "bld.toml",
        "[[debian.mirrors]]\nurl = \"http://127.0.0.1:9/debian\"\nsuites = [\"stable\"]\n",
    );
    machine.run(&["build", "//hello:all", "--offline"]).expect(3).says(&[
        "busybox-static",
        "http://127.0.0.1:9/debian/pool/",
        "offline",
    ]);

    machine.use_mirror(&base().mirror());
    machine.run(&["build", "//hello:all"]).expect(0);
    fs::remove_dir_all(machine.workspace().join("bld-out")).unwrap();
    machine.write(
        "bld.toml",
        "[[debian.mirrors]]\nurl = \"http://127.0.0.1:9/debian\"\nsuites = [\"stable\"]\n",
    );
    machine.run(&["build", "//hello:all", "--offline"]).expect(0);
    // Something new to run, with a root that is here.
    machine.write("hello/name.txt", "nobody\n");
    machine.run(&["build", "//hello:all", "--offline"]).expect(0);
    assert_eq!(machine.read("bld-out/hello/hello.txt"), "Hello, nobody!\n");

    fs::remove_file(machine.workspace().join("bld.lock")).unwrap();
    machine.run(&["lock", "--offline"]).expect(3).says(&["//hello:shell", "offline"]);
}

/// Returns a machine with the drivers' workspace, the base's store and the machine's own package sources.
fn machine_with_real_sources() -> Machine {
    let machine = Machine::new();
    copy(&base().drivers(), &machine.workspace());
    link_store(&base().store(), &machine.store());
    machine
}

/// Runs `bld` with the environment of this process, whose proxies may be needed to reach the mirrors.
fn lock(machine: &Machine) -> Ran {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bld"));
    command.arg("lock").current_dir(machine.workspace()).env("BLD_STORE", machine.store());
    Ran::of(&mut command).expect(0)
}

#[test]
fn locking_again_changes_no_byte_and_downloads_no_package() {
    let machine = machine_with_real_sources();
    let before = machine.read("bld.lock");
    let ran = lock(&machine);
    assert_eq!(machine.read("bld.lock"), before);
    assert!(ran.stdout.contains("bld.lock unchanged"), "{}", ran.stdout);
    assert!(!ran.stderr.contains("linux-headers"), "{}", ran.stderr);

    // Lines in another order, as a merge may leave them, come back into theirs.
    let mut lines: Vec<_> = before.lines().collect();
    lines[2..].reverse();
    machine.write("bld.lock", &(lines.join("\n") + "\n"));
    machine.run(&["lock", "--locked"]).expect(0);
    lock(&machine);
    assert_eq!(machine.read("bld.lock"), before);
}

#[test]
fn a_kernel_that_vanished_from_the_mirror_stays_locked_and_is_reported() {
    let machine = machine_with_real_sources();
    let kernel = base().kernels()[0].clone();
    let vanished = format!("{kernel}.1");
    // Asked for by a pattern that both match.
    let build = machine.read("drivers/BUILD.bld");
    machine.write(
        "drivers/BUILD.bld",
        &build.replace(&format!("\"{kernel}\""), &format!("\"{kernel}*\"")),
    );
    lock(&machine);
    let lock_before = machine.read("bld.lock");
    let mut lines: Vec<_> = lock_before.lines().map(str::to_owned).collect();
    let its: Vec<_> = lines.iter().filter(|line| line.contains(&kernel)).cloned().collect();
    // Everything of the kernel again, under the name of one that no mirror has; what it shares stays shared.
    for line in its {
        if line.starts_with("deb ") || line.starts_with("pin ") {
            lines.push(line.replace(&kernel, &vanished));
        }
    }
    machine.write("bld.lock", &(lines.join("\n") + "\n"));

    let ran = lock(&machine);
    let after = machine.read("bld.lock");
    for line in lines {
        assert!(after.contains(&line), "{line} is gone:\n{after}");
    }
    let says = |word: &str| {
        ran.stdout.lines().any(|line| line.starts_with("vanished") && line.contains(word))
    };
    assert!(says(&vanished), "{}", ran.stdout);
}
