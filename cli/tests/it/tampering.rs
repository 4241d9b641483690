//! What somebody changed on the way here is refused, by name.

use std::fs;
use std::path::PathBuf;

use crate::base::base;
use crate::machine::{Machine, copy};

/// Returns a machine with a mirror of its own, and the package that `fixtures/hello` needs in it.
fn machine_with_mirror() -> (Machine, PathBuf) {
    let machine = Machine::hello();
    let lock = machine.read("bld.lock");
    let path = lock.lines().find(|line| line.starts_with("deb ")).unwrap();
    let path = path.split(' ').nth(4).unwrap();
    let mirror = machine.root().join("mirror");
    let package = mirror.join(path);
    copy(base().mirror().join(path).parent().unwrap(), package.parent().unwrap());
    machine.use_mirror(&mirror);
    (machine, package)
}

/// Changes one word of the only `deb` line of the lock.
fn change_word(machine: &Machine, word: usize, change: impl Fn(&str) -> String) {
    let lock = machine.read("bld.lock");
    let lines = lock.lines().map(|line| {
        if !line.starts_with("deb ") {
            return line.to_owned();
        }
        let mut words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        words[word] = change(&words[word]);
        words.join(" ")
    });
    machine.write("bld.lock", &(lines.collect::<Vec<_>>().join("\n") + "\n"));
}

/// Returns hexadecimal digits with the first one changed.
fn other_hex(hex: &str) -> String {
    let first = if hex.starts_with('0') { '1' } else { '0' };
    format!("{first}{}", &hex[1..])
}

#[track_caller]
fn assert_refused(machine: &Machine, words: &[&str]) {
    machine.run(&["build", "//hello:all"]).expect(3).says(words);
    assert!(!machine.output("hello/hello.txt").exists());
    let stat = machine.run(&["cache", "stat", "--json"]).expect(0).json();
    assert_eq!(stat["actions"], 0);
}

#[test]
fn a_package_with_one_flipped_bit_is_refused_and_taken_once_it_is_right() {
    let (machine, package) = machine_with_mirror();
    let right = fs::read(&package).unwrap();
    let mut wrong = right.clone();
    let middle = wrong.len() / 2;
    wrong[middle] ^= 1;
    let write = |bytes: &[u8]| {
        fs::remove_file(&package).unwrap();
        fs::write(&package, bytes).unwrap();
    };
    write(&wrong);
    assert_refused(&machine, &["busybox-static", "has SHA-256", "expected"]);
    write(&right[..right.len() - 1]);
    assert_refused(&machine, &["busybox-static", "bytes instead of"]);
    write(&right);
    machine.run(&["build", "//hello:all"]).expect(0);
}

#[test]
fn a_lock_that_names_another_archive_or_another_tree_is_refused() {
    let (machine, _) = machine_with_mirror();
    let lock = machine.read("bld.lock");
    change_word(&machine, 6, other_hex);
    assert_refused(&machine, &["busybox-static", "has SHA-256", "expected"]);
    machine.write("bld.lock", &lock);
    change_word(&machine, 7, other_hex);
    assert_refused(&machine, &["busybox-static", "unpacks to", "but the lock says"]);
    machine.write("bld.lock", &lock);
    machine.run(&["build", "//hello:all"]).expect(0);
}

#[test]
fn a_lock_that_cannot_be_read_is_refused_with_the_number_of_the_line() {
    let machine = Machine::hello();
    let lock = machine.read("bld.lock");
    let conflict = lock.replacen("deb ", "<<<<<<< HEAD\ndeb ", 1);
    for (text, fault) in [
        (conflict.as_str(), "bld.lock line 3: a merge conflict was left here"),
        (&lock.replacen("deb ", "dep ", 1), "bld.lock line 3: `dep` is not a kind of line"),
        (&format!("{lock}{}", lock.lines().last().unwrap()), "already says this"),
        ("", "begins with `bld-lock"),
        (&lock.replacen("bld-lock 1", "bld-lock 2", 1), "needs a newer bld"),
    ] {
        machine.write("bld.lock", text);
        machine.run(&["build", "//hello:all"]).expect(2).says(&["bld.lock", fault]);
        assert_eq!(machine.read("bld.lock"), text, "nobody repairs it unasked");
    }
}
