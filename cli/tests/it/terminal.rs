//! What a terminal shows, and what a file gets instead.

use std::process::{Command, Stdio};

use crate::machine::{Machine, Ran};
use crate::pty::Terminal;

/// Moves the cursor up and clears a line: what only a terminal understands.
const CLEAR_LINE: &str = "\x1b[2K";

/// A command that runs long enough to be drawn, and one that fails.
const SLOW: &str = r#"
load("@rules//files.bzl", "genrule")

genrule(name = "slow", cmd = "sleep 1; touch out/slow", outs = ["slow"], root = "//hello:shell")
genrule(name = "bad", cmd = "echo no good >&2; exit 7", outs = ["bad"], root = "//hello:shell")
"#;

/// Runs `bld` on a terminal of its own and returns what that shows.
fn on_a_terminal(machine: &Machine, arguments: &str, environment: &[(&str, &str)]) -> Ran {
    let inner = machine.command(&[]);
    let mut script = Command::new("script");
    script
        .args(["--quiet", "--return", "--command"])
        .arg(format!("{} {arguments}", inner.get_program().to_str().unwrap()))
        .arg("/dev/null")
        .env_clear()
        .envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("TERM", "xterm")
        .envs(environment.iter().copied())
        .current_dir(machine.workspace())
        .stdin(Stdio::null());
    Ran::of(&mut script)
}

#[test]
fn on_a_terminal_what_runs_is_drawn_in_colour_and_wiped_at_the_end() {
    let machine = Machine::hello();
    machine.write("t/BUILD.bld", SLOW);
    let shown = on_a_terminal(&machine, "build //t:all", &[]).expect(1).stdout;
    assert!(shown.contains(CLEAR_LINE), "{shown:?}");
    assert!(shown.contains("run //t:slow"), "{shown:?}");
    assert!(shown.contains("\x1b[31;1mfailed"), "{shown:?}");
    // Nothing of the picture stands after the last line was wiped.
    let (_, rest) = shown.rsplit_once(CLEAR_LINE).unwrap();
    assert!(!rest.contains("run //t:slow"), "{rest:?}");
    assert!(rest.contains("2 actions ran") || rest.contains("3 actions ran"), "{rest:?}");
    machine.assert_nothing_is_left();
}

#[test]
fn no_color_and_dumb_terminals_are_respected() {
    let machine = Machine::hello();
    machine.write("t/BUILD.bld", SLOW);
    let shown = on_a_terminal(&machine, "build //t:all", &[("NO_COLOR", "1")]).expect(1).stdout;
    assert!(!shown.contains("\x1b[3"), "{shown:?}");
    assert!(shown.contains(CLEAR_LINE), "it is drawn all the same: {shown:?}");
    let shown = on_a_terminal(&machine, "build //t:all", &[("TERM", "dumb")]).expect(1).stdout;
    assert!(!shown.contains('\x1b'), "{shown:?}");
}

#[test]
fn without_a_terminal_there_are_plain_lines() {
    let machine = Machine::hello();
    machine.write("t/BUILD.bld", SLOW);
    let ran = machine.run(&["build", "//t:all"]).expect(1);
    assert!(!ran.stderr.contains('\x1b') && !ran.stdout.contains('\x1b'), "{}", ran.stderr);
    let lines: Vec<_> = ran.stderr.lines().collect();
    let has = |start: &str| lines.iter().any(|line| line.starts_with(start));
    for start in [
        "fetch  busybox-static",
        "ran    //hello:shell (root) in ",
        "ran    //t:slow in ",
        "failed //t:bad after ",
    ] {
        assert!(has(start), "no {start} in {lines:#?}");
    }
    ran.says(&["failed: //t:bad: exit status 7", "    no good", "bld log '//t:bad'"]);
}

#[test]
fn with_json_standard_output_is_one_document_even_when_something_fails() {
    let machine = Machine::hello();
    machine.write("t/BUILD.bld", SLOW);
    let build = machine.run(&["build", "//t:all", "--json"]).expect(1).json();
    let bad =
        build["goals"].as_array().unwrap().iter().find(|goal| goal["label"] == "//t:bad").unwrap();
    assert_eq!(bad["status"], "failed");
    assert_eq!(bad["outputs"], serde_json::json!([]));
    assert_eq!(bad["failure"]["action"], "//t:bad");
    assert_eq!(bad["failure"]["kind"], "exit status 7");
    let wrong = machine.run(&["build", "//t:nothing", "--json"]).expect(2).json();
    assert!(wrong["error"][0].as_str().unwrap().contains("nothing"), "{wrong:#}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let machine = Machine::hello();
    machine.run(&["build", "//hello:all"]).expect(0);
    for arguments in [&["cache", "stat"][..], &["completions", "bash"], &["build", "//hello:all"]] {
        let mut command = machine.command(arguments);
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let ran = Ran::from(child.wait_with_output().unwrap()).expect(0);
        assert_eq!(ran.stderr, "");
    }
}

/// Commands that run until they are stopped, one with a name that is longer than narrow terminals.
const ENDLESS: &str = r#"
load("@rules//files.bzl", "genrule")

[genrule(name = name, cmd = "touch out/begun; sleep 600; : " + name, outs = ["begun"], root = "//hello:shell")
 for name in ["short", "a-name-that-is-much-longer-than-a-terminal-of-forty-columns-is-wide"]]
"#;

#[test]
fn a_session_is_drawn_in_place_fits_a_terminal_that_shrinks_and_ends_clean_after_ctrl_c() {
    let machine = Machine::hello();
    machine.write("t/BUILD.bld", ENDLESS);
    let mut terminal =
        Terminal::start(&machine.command(&["build", "//t:all", "--jobs", "2"]), 24, 100);
    let shows = |screen: &str, name: &str| {
        screen.lines().filter(|line| line.contains(&format!("run //t:{name}"))).count()
    };
    terminal.wait_until("both that run", |screen| {
        shows(screen, "short") == 1 && shows(screen, "a-name-that") == 1
    });
    // It is drawn anew in its place: the time goes on, the lines stay as many.
    let time = |screen: &str| {
        screen.lines().find_map(|it| it.split_once(" cached").map(|(it, _)| it.to_owned()))
    };
    let before = time(&terminal.screen());
    terminal.wait_until("a later time", |screen| time(screen).is_some() && time(screen) != before);
    assert_eq!(shows(&terminal.screen(), "short"), 1, "{}", terminal.screen());

    terminal.resize(24, 40);
    let before = time(&terminal.screen());
    terminal.wait_until("a picture for forty columns", |screen| {
        time(screen) != before && shows(screen, "short") == 1 && shows(screen, "a-name-that") == 1
    });
    let drawn = terminal.screen();
    assert_eq!(drawn.lines().filter(|it| it.contains("cached")).count(), 1, "{drawn}");
    assert!(drawn.lines().all(|line| !line.contains("-columns-is-wide")), "{drawn}");

    terminal.type_in("\x03");
    let (ended, screen, bytes) = terminal.end();
    assert_eq!(ended.code(), Some(130), "{screen}");
    assert!(screen.contains("error: interrupted"), "{screen}");
    assert!(!screen.contains("run //t:short") && !screen.contains("cached"), "{screen}");
    // Whatever was hidden or coloured is as it was.
    let bytes = String::from_utf8_lossy(&bytes).into_owned();
    assert_eq!(bytes.matches("\x1b[?25l").count(), bytes.matches("\x1b[?25h").count());
    machine.assert_nothing_is_left();
}

/// An action that tries to speak to the CI service in its log.
const FORGER: &str = r#"
load("@rules//files.bzl", "genrule")

genrule(
    name = "forger",
    cmd = "printf '::set-output name=a::b\n  ::stop-commands::x\nsee ##[error]y\n\r::error::z\n' >&2; exit 7",
    outs = ["x"],
    root = "//hello:shell",
)
"#;

#[test]
fn github_gets_groups_and_annotations_and_no_log_can_forge_them() {
    let machine = Machine::hello();
    machine.write("t/BUILD.bld", FORGER);
    let in_ci = |arguments: &[&str], variable: &str| {
        let mut command = machine.command(arguments);
        let root = machine.workspace().canonicalize().unwrap();
        Ran::of(command.env("CI", "true").env(variable, "true").env("GITHUB_WORKSPACE", root))
    };
    let ran = in_ci(&["build", "//t:all"], "GITHUB_ACTIONS").expect(1);
    let log = in_ci(&["log", "//t:forger"], "GITHUB_ACTIONS").expect(0);
    for said in [&ran.stderr, &ran.stdout, &log.stdout] {
        for line in said.split(['\n', '\r']).map(str::trim_start) {
            let ours =
                ["::group::bld", "::endgroup::", "::error title=//t%3Aforger::exit status 7"];
            assert!(
                !line.starts_with("::") || ours.iter().any(|it| line.starts_with(it)),
                "{line}"
            );
            assert!(!line.contains("##["), "{line}");
        }
    }
    assert_eq!(ran.stderr.matches("::group::").count(), 1, "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("::endgroup::").count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("::error title=//t%3Aforger::"), "{}", ran.stderr);

    machine.write("t/BUILD.bld", "\nfilegroup(name = 1)\n");
    let wrong = in_ci(&["build", "//t:all"], "GITHUB_ACTIONS").expect(2);
    wrong.says(&[
        "::error file=t/BUILD.bld,line=2,col=1,title=bld::Variable `filegroup` not found%0A",
    ]);
    machine.write("t/BUILD.bld", FORGER);
    let lab = in_ci(&["build", "//t:all", "--retry-failed"], "GITLAB_CI").expect(1);
    let names: Vec<_> =
        lab.stderr.match_indices("section_").map(|(at, _)| &lab.stderr[at + 8..at + 13]).collect();
    assert_eq!(names, ["start", "end:1"], "{}", lab.stderr);
}
