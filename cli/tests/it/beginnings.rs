//! The first minutes: a new workspace, and manual pages.

use std::fs;
use std::process::Command;

use crate::base::base;
use crate::machine::{Machine, Ran};

/// Makes packages come from what is downloaded already.
fn use_mirror(machine: &Machine, workspace: &str) {
    let url = format!("file://{}", base().mirror().display());
    let config = format!("{workspace}/bld.toml");
    let text = machine.read(&config);
    let mirror = format!("[[debian.mirrors]]\nurl = \"{url}\"\nsuites = [\"stable\"]\n");
    machine.write(&config, &(text + &mirror));
}

#[test]
fn a_new_workspace_builds_at_once_and_what_is_there_is_kept() {
    let machine = Machine::bare();
    let said = machine.run(&["init", "new"]).expect(0).stdout;
    assert!(said.contains("cd new\n") && said.contains("bld build //..."), "{said}");
    // Locked as the machine's package sources would have it: tests download only once.
    let lock = base().hello_lock();
    assert!(lock.contains("//hello:shell"), "the fixture asks for the same");
    machine.write("new/bld.lock", &lock);
    use_mirror(&machine, "new");
    machine.run(&["-C", "new", "build", "//..."]).expect(0);
    assert_eq!(machine.read("new/bld-out/hello/hello.txt"), "Hello, world!\n");
    assert_eq!(machine.read("new/.gitignore"), "/bld-out/\n");

    let again = machine.run(&["init", "new"]).expect(2);
    again.says(&["bld.toml, hello/BUILD.bld, hello/name.txt", "will not be overwritten"]);
    let inside = machine.run(&["init", "new/hello/deeper"]).expect(2);
    inside.says(&["a workspace cannot hold another"]);
    assert!(!machine.workspace().join("new/hello/deeper").exists());
}

#[test]
fn a_git_repository_becomes_a_workspace_and_results_stay_out_of_it() {
    let machine = Machine::bare();
    machine.write(".gitignore", "/target");
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.args(arguments).current_dir(machine.workspace()).env("HOME", machine.root());
        Ran::of(&mut git).expect(0).stdout
    };
    git(&["init", "--quiet"]);
    let written = machine.run(&["init", "--json"]).expect(0).json();
    let names = ["bld.toml", "hello/BUILD.bld", "hello/name.txt", ".gitignore"];
    assert_eq!(written["written"], serde_json::json!(names));
    machine.write("bld-out/hello/hello.txt", "");
    assert_eq!(machine.read(".gitignore"), "/target\n/bld-out/\n");
    let status = git(&["status", "--porcelain", "--untracked-files=all"]);
    assert!(status.contains("hello/BUILD.bld") && !status.contains("bld-out"), "{status}");
}

#[test]
fn there_is_a_manual_page_for_every_command_and_man_can_show_it() {
    let machine = Machine::bare();
    let written = machine.run(&["man", "pages", "--json"]).expect(0).json();
    let pages = written["written"].as_array().unwrap();
    let help = machine.run(&["--help"]).expect(0).stdout;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.map_while(|line| line.strip_prefix("  ")?.split(' ').next());
    for command in commands.filter(|it| !it.is_empty() && *it != "help") {
        let name = format!("bld-{command}.1");
        assert!(pages.iter().any(|page| page.as_str().unwrap().ends_with(&name)), "{name}");
    }
    for page in pages {
        let page = page.as_str().unwrap();
        let lint = Ran::of(Command::new("mandoc").args(["-Tlint", "-Wunsupp", page]));
        assert_eq!((lint.code, lint.stdout.as_str()), (Some(0), ""), "{page}");
        let shown = Ran::of(Command::new("mandoc").args(["-Tascii", page])).expect(0).stdout;
        assert!(shown.contains(concat!("bld ", env!("CARGO_PKG_VERSION"))), "{shown}");
    }
    let page = fs::read_to_string(machine.workspace().join("pages/bld-cache-gc.1")).unwrap();
    assert!(page.contains("bld cache gc") && page.contains("SIZE"), "{page}");
}
