//! `bld shell`: the sandbox of an action, seen from inside.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::machine::Machine;

/// How long something that must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether it has.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

const TARGETS: &str = r#"
load("@rules//files.bzl", "genrule")

genrule(
    name = "bad",
    cmd = "echo half > out/bad; echo note > note; echo no good >&2; exit 7",
    srcs = ["a.txt"],
    outs = ["bad"],
    root = "//hello:shell",
)
genrule(name = "after", cmd = "cat /src/bad > out/after", srcs = [":bad"], outs = ["after"], root = "//hello:shell")
genrule(
    name = "many",
    cmd = select({"which=one": "echo 1 > out/many", "default": "echo 2 > out/many"}),
    outs = ["many"],
    root = "//hello:shell",
    matrix = {"which": ["one", "two"]},
)
"#;

fn machine() -> Machine {
    let machine = Machine::hello();
    machine.write("t/BUILD.bld", TARGETS);
    machine.write("t/a.txt", "a source\n");
    machine
}

/// `bld` on a terminal of its own, somebody who types, and what they see.
struct Seat {
    child: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<String>>,
}

impl Seat {
    /// Runs a shell command on a terminal; `$BLD` in it is the program.
    fn new(machine: &Machine, command: &str) -> Self {
        let inner = machine.command(&[]);
        let mut script = Command::new("script");
        script
            .args(["--quiet", "--return", "--command", command, "/dev/null"])
            .env_clear()
            .envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .env("TERM", "xterm")
            .env("BLD", inner.get_program())
            .current_dir(machine.workspace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = script.spawn().unwrap();
        let (keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let shown = Arc::new(Mutex::new(String::new()));
        let seen = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = screen.read(&mut buffer) {
                seen.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
        });
        Self { child, keys, shown }
    }

    /// Waits until the terminal shows this.
    fn sees(&self, text: &str) {
        let seen = || self.shown.lock().unwrap().contains(text).then_some(());
        let began = Instant::now();
        while seen().is_none() {
            let shown = self.shown.lock().unwrap().clone();
            assert!(began.elapsed() < PATIENCE, "no `{text}` in:\n{shown}");
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    fn ends(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

#[test]
fn a_command_sees_what_the_action_sees() {
    let machine = machine();
    let look =
        "pwd; id -u; uname -n; cat /src/a.txt; ls /; echo $TZ; cat /proc/net/dev | wc -l; exit 5";
    machine.run(&["build", "//t:bad"]).expect(1);
    let ran = machine.run(&["shell", "//t:bad", "--", "sh", "-c", look]).expect(5);
    assert!(ran.stdout.starts_with("/work\n1000\nbld\na source\n"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("work\nUTC\n3\n"), "{}", ran.stdout);
    assert_eq!(ran.stderr, "");
    let own = ["shell", "//t:bad", "--", "/tmp/bld-command"];
    machine.run(&own).expect(7).says(&["no good"]);
    machine.assert_nothing_is_left();
}

#[test]
fn with_failed_the_state_of_the_failure_is_there_and_nothing_is_recorded() {
    let machine = machine();
    let look = ["shell", "//t:bad", "--failed", "--", "sh", "-c", "cat out/bad note"];
    let ran = machine.run(&look).expect(0).says(&["no good", "ended with exit status 7"]);
    assert_eq!(ran.stdout, "half\nnote\n");
    let stat = machine.run(&["cache", "stat", "--json"]).expect(0).json();
    assert_eq!((&stat["actions"], &stat["failures"]), (&1.into(), &0.into()), "only the root");
    machine.run(&["build", "//t:bad"]).expect(1).says(&["exit status 7"]);
}

#[test]
fn on_a_terminal_there_is_a_shell_with_the_terminal_for_itself() {
    let machine = machine();
    let resize = "until [ -e go ]; do sleep 0.05; done; stty rows 40 cols 100 < /dev/tty";
    let command = format!("stty rows 33 cols 99; ({resize}) & exec $BLD shell //t:bad");
    let mut seat = Seat::new(&machine, &command);
    seat.sees("leave with: exit");
    seat.sees("$ ");
    // What is typed is shown as well; so what is waited for is put together only when it runs.
    seat.types("[ -t 0 ] && echo is''tty; stty size\n");
    seat.sees("istty");
    seat.sees("33 99");
    // Ctrl-C ends what runs in the shell, and neither the shell nor bld.
    seat.types("echo sleep''ing; sleep 1000\n");
    seat.sees("sleeping");
    seat.types("\x03");
    seat.types("echo after''wards\n");
    seat.sees("afterwards");
    seat.types("until [ \"$(stty size)\" = '40 100' ]; do sleep 0.1; done; echo resi''zed\n");
    machine.write("go", "");
    seat.sees("resized");
    seat.types("/tmp/bld-command; echo status''=$?\n");
    seat.sees("no good");
    seat.sees("status=7");
    seat.types("exit 9\n");
    assert_eq!(seat.ends(), Some(9));
    machine.assert_nothing_is_left();
}

#[test]
fn on_a_terminal_failed_shows_the_failure_first_and_then_opens_the_shell() {
    let machine = machine();
    let mut seat = Seat::new(&machine, "exec $BLD shell //t:bad --failed");
    seat.sees("no good");
    seat.sees("ended with exit status 7");
    seat.types("cat out/bad no''te; exit\n");
    seat.sees("half");
    seat.sees("\nnote");
    assert_eq!(seat.ends(), Some(0));
}

#[test]
fn the_action_must_be_one_and_what_it_needs_must_be_there() {
    let machine = machine();
    let both = ["{which=one}", "{which=two}", "several actions"];
    machine.run(&["shell", "//t:many", "--", "true"]).expect(2).says(&both);
    let one = ["shell", "//t:many{which=one}", "--failed", "--", "sh", "-c", "cat out/many"];
    assert_eq!(machine.run(&one).expect(0).stdout, "1\n");
    let role = ["shell", "//t:bad", "--role", "link", "--", "true"];
    machine.run(&role).expect(2).says(&["no action with the role `link`", "are:\n    //t:bad"]);
    let role = ["shell", "//hello:shell", "--role", "link", "--", "true"];
    machine.run(&role).expect(2).says(&["no command", "there are: nothing"]);
    let needs = ["shell", "//t:after", "--", "true"];
    machine.run(&needs).expect(1).says(&["//t:bad: exit status 7", "cannot be entered"]);
}
