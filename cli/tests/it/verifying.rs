//! `bld verify`: what is not made the same again is found, named, and explained.

use serde_json::Value;

use crate::machine::Machine;

/// Commands that depend on what they should not, each under the perturbation that shows it, and one that does not.
const SUSPECTS: &str = r#"
load("@rules//files.bzl", "genrule")

COMMANDS = {
    "clean": "for it in /src/*.txt; do cat $it; done > out/clean",
    "time": "date +%s > out/time",
    "path": "pwd -P > out/path",
    "host": "uname -n > out/host",
    "user": "id -u > out/user",
    "umask": "umask > out/umask",
    "locale": "echo $LC_ALL > out/locale",
    "readdir": "find /src -name '*.txt' > out/readdir",
}

[
    genrule(
        name = name,
        cmd = cmd,
        srcs = ["a.txt", "b.txt", "c.txt"],
        outs = [name],
        root = "//hello:shell",
    )
    for name, cmd in COMMANDS.items()
]
"#;

fn suspects() -> Machine {
    let machine = Machine::hello();
    machine.write("t/BUILD.bld", SUSPECTS);
    for name in ["a", "b", "c"] {
        machine.write(&format!("t/{name}.txt"), &format!("text of {name}\n"));
    }
    machine
}

/// Returns what is said of the action `//t:<name>`.
fn action<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let actions = answer["actions"].as_array().unwrap();
    let wanted = format!("//t:{name}");
    actions.iter().find(|it| it["name"] == wanted.as_str()).unwrap()
}

fn entries(machine: &Machine) -> Value {
    machine.run(&["cache", "stat", "--json"]).expect(0).json()["actions"].clone()
}

#[test]
fn every_perturbation_catches_who_depends_on_it_and_nobody_else() {
    let machine = suspects();
    machine.run(&["build", "//t:all"]).expect(0);
    let before = entries(&machine);
    let all = ["verify", "//t:all", "--own", "--perturb", "all", "--json"];
    let answer = machine.run(&all).expect(1).json();
    assert_eq!(
        answer["summary"],
        serde_json::json!({"reproducible": 1, "differs": 7, "failed": 0, "untried": 0})
    );
    assert_eq!(action(&answer, "clean")["verdict"], "reproducible");
    for (name, cause) in [
        ("time", "time"),
        ("path", "path"),
        ("host", "host"),
        ("user", "user"),
        ("umask", "umask"),
        ("locale", "locale"),
        ("readdir", "order"),
    ] {
        let found = action(&answer, name);
        assert_eq!(found["verdict"], "differs", "{found:#}");
        assert_eq!(found["differences"][0]["path"], format!("out/{name}"), "{found:#}");
        assert_eq!(found["differences"][0]["findings"][0]["cause"], cause, "{found:#}");
        let with = if name == "time" { vec![] } else { vec![name] };
        let culprits = serde_json::json!({"by_itself": name == "time", "with": with});
        assert_eq!(found["culprits"], culprits, "{found:#}");
    }
    let cell = &answer["cells"].as_array().unwrap().iter().find(|it| it["label"] == "//t:host");
    assert_eq!(cell.unwrap()["verdict"], "differs");
    // Nothing that was made again is recorded.
    assert_eq!(entries(&machine), before);
    let build = machine.run(&["build", "//t:all"]).expect(0);
    assert!(build.stdout.contains("nothing to do"), "{}", build.stdout);
}

#[test]
fn what_differs_is_told_in_words_and_can_be_forgotten() {
    let machine = suspects();
    // A miss is made first, and is what is compared with.
    let ran = machine.run(&["verify", "//t:host", "--own", "--perturb", "host,umask"]).expect(1);
    for line in [
        "differs: //t:host",
        "it differs with --perturb host alone, and not without",
        "out/host",
        "byte 0: probably the host name",
        "recorded  \"bld\\n\"",
        "again     \"another-host\\n\"",
        "differs       //t:host",
        "1 action run again once, perturbed: host, umask: 0 reproducible, 1 not",
    ] {
        assert!(ran.stdout.contains(line), "no `{line}` in\n{}", ran.stdout);
    }
    let before = entries(&machine);
    let same = machine.run(&["verify", "//t:host", "--perturb", "none", "--runs", "2"]).expect(0);
    assert!(same.stdout.contains("2 actions run again 2 times: 2 reproducible"), "{}", same.stdout);
    let forget = ["verify", "//t:host", "--perturb", "host", "--own", "--forget"];
    let forgotten = machine.run(&forget).expect(1);
    assert!(forgotten.stdout.contains("are forgotten"), "{}", forgotten.stdout);
    assert_eq!(entries(&machine).as_u64().unwrap() + 1, before.as_u64().unwrap());
}

#[test]
fn runs_that_differ_now_and_then_are_counted_and_so_are_those_that_fail() {
    let machine = Machine::hello();
    let build = |cmd: &str| {
        format!(
            "load(\"@rules//files.bzl\", \"genrule\")\ngenrule(name = \"x\", cmd = '''{cmd}''', outs = [\"x\"], root = \"//hello:shell\")\n"
        )
    };
    machine
        .write("t/BUILD.bld", &build("head -c 8 /dev/urandom | od -An -tx1 | tr -d ' ' > out/x"));
    let random = machine.run(&["verify", "//t:x", "--own", "--runs", "3"]).expect(1);
    assert!(random.stdout.contains("differs: //t:x in 3 of 3 runs"), "{}", random.stdout);
    assert!(random.stdout.contains("probably something new each time"), "{}", random.stdout);
    machine.write("t/BUILD.bld", &build("uname -n >&2; [ `uname -n` = bld ] && touch out/x"));
    let fails = machine.run(&["verify", "//t:x", "--own", "--perturb", "host", "--json"]).expect(1);
    let fails = fails.json();
    assert_eq!(action(&fails, "x")["verdict"], "failed");
    assert_eq!(action(&fails, "x")["failure"], "exit status 1");
    assert_eq!(action(&fails, "x")["log"], serde_json::json!(["another-host"]));
    machine.write("t/BUILD.bld", &build("exit 4"));
    machine.run(&["verify", "//t:x"]).expect(1).says(&["exit status 4"]);
    let again = "remembered; bld build --retry-failed runs it again";
    machine.run(&["verify", "//t:x"]).expect(1).says(&["exit status 4", again]);
    machine.assert_nothing_is_left();
}

#[test]
fn archives_are_looked_into() {
    let machine = Machine::hello();
    let cmd =
        "mkdir d; echo same > d/same; uname -n > d/host; tar cf d.tar d; gzip -c d.tar > out/x";
    machine.write(
        "t/BUILD.bld",
        &format!(
            "load(\"@rules//files.bzl\", \"genrule\")\ngenrule(name = \"x\", cmd = '''{cmd}''', outs = [\"x\"], root = \"//hello:shell\")\n"
        ),
    );
    let ran =
        machine.run(&["verify", "//t:x", "--own", "--perturb", "host,time", "--json"]).expect(1);
    let answer = ran.json();
    let findings = action(&answer, "x")["differences"][0]["findings"].as_array().unwrap();
    let places: Vec<_> = findings.iter().map(|it| it["place"].to_string()).collect();
    let host = findings.iter().find(|it| it["cause"] == "host");
    let host = host.unwrap_or_else(|| panic!("{places:?}"));
    assert_eq!(host["place"], serde_json::json!(["in gzip", "member d/host"]), "{places:?}");
    let time = findings.iter().any(|it| it["cause"] == "time");
    assert!(time, "the members' own times differ: {places:?}");
}

#[test]
fn wrong_words_are_refused() {
    let machine = suspects();
    machine.run(&["verify", "//t:all", "--perturb", "moon"]).expect(2).says(&["moon", "readdir"]);
    machine.run(&["verify", "//t:all", "--runs", "0"]).expect(2).says(&["--runs"]);
    machine.run(&["verify", "//t:nothing"]).expect(2).says(&["nothing"]);
}
