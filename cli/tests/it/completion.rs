//! Completion, in the shells that people have: the TAB key in bash, zsh and fish.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::machine::{Machine, Ran};
use crate::pty::Terminal;

const ROWS: u16 = 40;
const COLUMNS: u16 = 150;

/// Ctrl-U and Ctrl-L: away with the line, and with all else on the screen.
const WIPE: &str = "\x15\x0c";

/// A workspace with axes whose values nobody needs to lock.
fn workspace() -> Machine {
    let machine = Machine::bare();
    machine.write("bld.toml", "[settings]\nflavour = [\"plain\", \"rich\"]\n");
    machine.write(
        "kernels/kernels.bzl",
        "def _impl(ctx):\n    return [AxisInfo(values = ctx.attr.releases)]\n\
         kernels = rule(implementation = _impl, attrs = {\"releases\": attr.string_list()})\n",
    );
    machine.write(
        "kernels/BUILD.bld",
        "load(\":kernels.bzl\", \"kernels\")\n\
         kernels(name = \"supported\", releases = [\"6.1.0-47-amd64\", \"6.12.9+deb13-amd64\"])\n",
    );
    machine.write(
        "drivers/BUILD.bld",
        "load(\"@rules//files.bzl\", \"filegroup\")\n\
         filegroup(name = \"echo\", srcs = glob([\"*.c\"]), matrix = {\"kernel\": \"//kernels:supported\", \"kind\": [\"mod\", \"bpf\"]})\n\
         filegroup(name = \"sources\", srcs = glob([\"*.c\"]), tags = [\"manual\"])\n",
    );
    machine.write("drivers/main.c", "\n");
    machine.write("drivers/docs/BUILD.bld", "");
    // A mistake here is no matter for what lies elsewhere.
    machine.write("broken/BUILD.bld", "this is no Starlark\n");
    machine.write("empty/deep/file", "");
    machine
}

/// Returns a shell in which `bld` is completed; it says `ready` when it is.
fn shell(machine: &Machine, name: &str, arguments: &[&str], setup: &str) -> Terminal {
    let mut command = machine.command(&[]);
    let folder = Path::new(command.get_program()).parent().unwrap().to_owned();
    let path = std::env::join_paths(
        [folder].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    command.env("PATH", path.unwrap()).env("LC_ALL", "C.UTF-8");
    let mut shell = Command::new(name);
    shell
        .args(arguments)
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(machine.workspace());
    let mut terminal = Terminal::start(&shell, ROWS, COLUMNS);
    // The word is put together, so that what the terminal echoes is not taken for it.
    terminal.type_in(&format!("{setup}; clear; echo rea''dy\n"));
    terminal
        .wait_until("a shell that is ready", |screen| screen.lines().any(|line| line == "ready"));
    terminal
}

fn bash(machine: &Machine) -> Terminal {
    let setup = "PS1='> '; bind 'set show-all-if-ambiguous on'; bind 'set bell-style none'; \
                 eval \"$(bld completions bash)\"";
    shell(machine, "bash", &["--noprofile", "--norc", "-i"], setup)
}

fn zsh(machine: &Machine) -> Terminal {
    let setup = "PS1='> '; unsetopt beep; autoload -U compinit; compinit -u -D; \
                 eval \"$(bld completions zsh)\"";
    shell(machine, "zsh", &["-f", "-i"], setup)
}

fn fish(machine: &Machine) -> Terminal {
    let setup = "function fish_prompt; echo '> '; end; set -g fish_autosuggestion_enabled 0; \
                 bld completions fish | source";
    shell(machine, "fish", &["--no-config", "--private", "--interactive"], setup)
}

/// Types a line up to a TAB and checks what it becomes, up to the last space; then it is wiped.
#[track_caller]
fn becomes(terminal: &mut Terminal, typed: &str, expected: &str) {
    terminal.type_in(&format!("{typed}\t"));
    terminal.wait_until(&format!("`{expected}`"), |screen| {
        screen.lines().any(|line| line.strip_prefix("> ") == Some(expected))
    });
    wipe(terminal);
}

/// Types a line up to a TAB and checks what is offered.
#[track_caller]
fn offers(terminal: &mut Terminal, typed: &str, expected: &[&str], others: &[&str]) {
    terminal.type_in(&format!("{typed}\t"));
    let words =
        |screen: &str| -> Vec<String> { screen.split_whitespace().map(str::to_owned).collect() };
    terminal.wait_until(&format!("{expected:?}"), |screen| {
        expected.iter().all(|it| words(screen).iter().any(|word| word == it))
    });
    let shown = words(&terminal.screen());
    for other in others {
        assert!(!shown.iter().any(|word| word == other), "{other} in {}", terminal.screen());
    }
    wipe(terminal);
}

/// Empties the line and the screen.
fn wipe(terminal: &mut Terminal) {
    terminal.type_in(WIPE);
    terminal.wait_until("an empty screen", |screen| screen.trim() == ">");
}

#[test]
fn bash_completes_packages_targets_axes_and_values() {
    let machine = workspace();
    let mut bash = bash(&machine);
    becomes(&mut bash, "bld build //k", "bld build //kernels:");
    becomes(&mut bash, "bld build //kernels:s", "bld build //kernels:supported ");
    becomes(&mut bash, "bld build kernels:s", "bld build kernels:supported ");
    becomes(&mut bash, "bld -C kernels build :s", "bld -C kernels build :supported ");
    becomes(&mut bash, "bld build //drivers:echo{kern", "bld build //drivers:echo{kernel=");
    // A value is whole; what follows it is open.
    becomes(
        &mut bash,
        "bld build //drivers:echo{kernel=6.1.",
        "bld build //drivers:echo{kernel=6.1.0-47-amd64",
    );
    becomes(
        &mut bash,
        r"bld build //drivers:echo{kernel=6.1.0-47-amd64\,k",
        r"bld build //drivers:echo{kernel=6.1.0-47-amd64\,kind=",
    );
    becomes(
        &mut bash,
        r"bld build //drivers:echo{kernel=6*\,kind=m",
        r"bld build //drivers:echo{kernel=6*\,kind=mod} ",
    );
    // In quotes nothing is escaped.
    becomes(
        &mut bash,
        "bld log '//drivers:echo{kernel=6.1.0-47-amd64,k",
        "bld log '//drivers:echo{kernel=6.1.0-47-amd64,kind=",
    );
    becomes(&mut bash, "bld log '//drivers:echo{kind=b", "bld log '//drivers:echo{kind=bpf");
    offers(
        &mut bash,
        "bld build //",
        &["//drivers:", "//drivers/", "//kernels:", "//broken:", "//..."],
        &["//empty/"],
    );
    offers(&mut bash, "bld build //drivers:", &["echo", "echo{", "sources", "all"], &["supported"]);
    offers(
        &mut bash,
        "bld build '//drivers:echo{kernel=",
        &["//drivers:echo{kernel=6.1.0-47-amd64", "//drivers:echo{kernel=6.12.9+deb13-amd64"],
        &[],
    );
}

#[test]
fn bash_completes_commands_options_and_settings() {
    let machine = workspace();
    let mut bash = bash(&machine);
    becomes(&mut bash, "bld completions b", "bld completions bash ");
    becomes(&mut bash, "bld build --retry", "bld build --retry-failed ");
    becomes(&mut bash, "bld build --set fl", "bld build --set flavour=");
    becomes(&mut bash, "bld build --set flavour=r", "bld build --set flavour=rich ");
    becomes(&mut bash, "bld build --sandbox n", "bld build --sandbox none ");
    offers(&mut bash, "bld c", &["cache", "clean", "completions"], &["build"]);
    offers(&mut bash, "bld build --", &["--locked", "--jobs", "--json"], &[]);
}

#[test]
fn zsh_completes_packages_targets_axes_and_values() {
    let machine = workspace();
    let mut zsh = zsh(&machine);
    becomes(&mut zsh, "bld build //k", "bld build //kernels:");
    becomes(&mut zsh, "bld build //kernels:s", "bld build //kernels:supported ");
    becomes(&mut zsh, r"bld build //drivers:echo\{kern", r"bld build //drivers:echo\{kernel=");
    becomes(
        &mut zsh,
        "bld log '//drivers:echo{kernel=6.12",
        "bld log '//drivers:echo{kernel=6.12.9+deb13-amd64",
    );
    becomes(
        &mut zsh,
        "bld log '//drivers:echo{kernel=6.1.0-47-amd64,k",
        "bld log '//drivers:echo{kernel=6.1.0-47-amd64,kind=",
    );
    becomes(&mut zsh, "bld build --set flavour=r", "bld build --set flavour=rich ");
    offers(
        &mut zsh,
        "bld build //drivers:",
        &["//drivers:echo", "//drivers:echo{", "//drivers:sources", "filegroup"],
        &[],
    );
    offers(&mut zsh, "bld c", &["cache", "clean", "completions"], &["build"]);
}

#[test]
fn fish_completes_packages_targets_axes_and_values() {
    let machine = workspace();
    let mut fish = fish(&machine);
    becomes(&mut fish, "bld build //k", "bld build //kernels:");
    becomes(&mut fish, "bld build //kernels:s", "bld build //kernels:supported ");
    becomes(&mut fish, r"bld build //drivers:echo\{kern", r"bld build //drivers:echo\{kernel=");
    becomes(
        &mut fish,
        "bld log '//drivers:echo{kernel=6.1.0-47-amd64,k",
        "bld log '//drivers:echo{kernel=6.1.0-47-amd64,kind=",
    );
    becomes(&mut fish, "bld build --set flavour=r", "bld build --set flavour=rich ");
    offers(
        &mut fish,
        "bld build //drivers:",
        &["…/drivers:echo", "(filegroup)", "…/drivers:sources"],
        &[],
    );
}

/// Asks as bash does.
fn ask(machine: &Machine, line: &str) -> Ran {
    let mut command = machine.command(&["--", line, " \t\n\"'><=;|&(:"]);
    Ran::of(command.env("BLD_COMPLETE", "bash")).expect(0)
}

#[test]
fn the_values_of_an_axis_that_is_locked_come_from_the_lock_and_nothing_is_written() {
    let machine = Machine::drivers();
    fs::remove_dir(machine.store()).unwrap_or_default();
    let kernels = crate::base::base().kernels();
    let answer = ask(&machine, "bld build '//drivers:echo{kernel=");
    assert_eq!(answer.stderr, "");
    for kernel in kernels {
        let line = format!("//drivers:echo{{kernel={kernel}");
        assert!(answer.stdout.lines().any(|it| it == line), "{line} in {}", answer.stdout);
    }
    assert_eq!(fs::read_dir(machine.store()).unwrap().count(), 0, "the store is not opened");
    assert!(!machine.output("").exists());
}

#[test]
fn what_is_wrong_is_no_candidate_and_no_message() {
    let machine = workspace();
    for line in [
        "bld build //broken:",
        "bld build //broken:x{",
        "bld build //nowhere:",
        "bld build //../",
        "bld build ///",
        "bld build //drivers:echo{weather=",
        "bld build //drivers:echo{{",
        "bld -C /nowhere build //",
        "bld biuld //",
        "bld build --set nothing=",
        "",
    ] {
        let answer = ask(&machine, line);
        assert_eq!((answer.stdout.as_str(), answer.stderr.as_str()), ("", ""), "{line}");
    }
    machine.write("bld.toml", "neither = this\n");
    let answer = ask(&machine, "bld build //");
    assert_eq!((answer.stdout.as_str(), answer.stderr.as_str()), ("", ""));
    let outside = Machine::bare();
    let answer = ask(&outside, "bld build //");
    assert_eq!((answer.stdout.as_str(), answer.stderr.as_str()), ("", ""));
}
