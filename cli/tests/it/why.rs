//! Why things ran: what builds say, and what is still known of it later.

use std::fs;

use serde_json::Value;

use crate::base::base;
use crate::machine::Machine;

/// The line that says why `hello` ran.
const HELLO_RAN: &str = "genrule //hello:hello ran because ";

/// A greeting that says who made it; a variable and a word of the command can be put in.
fn greet(machine: &Machine, variable: &str, cmd: &str) {
    machine.write(
        "t/BUILD.bld",
        &format!(
            "load(\"@rules//files.bzl\", \"genrule\")\n\
             genrule(name = \"g\", srcs = glob([\"*.txt\"]), cmd = \"{cmd}\", outs = [\"g\"], \
             env = {{{variable}}}, root = \"//hello:shell\")\n"
        ),
    );
}

/// Builds and returns why the greeting ran.
#[track_caller]
fn greeted(machine: &Machine) -> String {
    let built = machine.run(&["build", "//t:g", "--explain"]).expect(0).stdout;
    let mut lines = built.lines();
    let why = lines.find_map(|line| line.strip_prefix("genrule //t:g ran because "));
    why.unwrap_or_else(|| panic!("{built}")).to_owned()
}

#[track_caller]
fn why(machine: &Machine, arguments: &[&str]) -> Value {
    let arguments = [&["why", "--json"], arguments].concat();
    machine.run(&arguments).expect(0).json()
}

#[test]
fn the_first_line_of_a_build_names_the_source_that_changed_and_why_says_it_again_later() {
    let machine = Machine::hello();
    let first = machine.run(&["build", "//hello:all"]).expect(0).stdout;
    assert!(first.starts_with("2 actions were never built before\n"), "{first}");
    machine.write("hello/name.txt", "you");

    let built = machine.run(&["build", "//hello:all"]).expect(0).stdout;
    assert!(built.starts_with(&format!("{HELLO_RAN}hello/name.txt changed\n")), "{built}");
    let again = machine.run(&["build", "//hello:all"]).expect(0).stdout;
    assert!(!again.contains("because"), "nothing ran: {again}");

    // Every command is a process of its own; nothing but what is on disk says why.
    let said = machine.run(&["why", "//hello:hello"]).expect(0).stdout;
    assert_eq!(said, "genrule //hello:hello ran in build 2 because hello/name.txt changed\n");
    let said = why(&machine, &["//hello:hello"]);
    assert_eq!(said[0]["ran"]["build"], 2);
    assert_eq!(said[0]["ran"]["reason"]["kind"], "changed");
    assert_eq!(said[0]["ran"]["reason"]["differences"][0], "hello/name.txt changed");
}

#[test]
fn with_json_a_build_says_why_each_action_ran() {
    let machine = Machine::hello();
    let first = machine.run(&["build", "//hello:all", "--json"]).expect(0).json();
    let kinds: Vec<_> =
        first["ran"].as_array().unwrap().iter().map(|it| &it["reason"]["kind"]).collect();
    assert_eq!(kinds, ["new", "new"]);
    let again = machine.run(&["build", "//hello:all", "--json"]).expect(0).json();
    assert_eq!(again["ran"].as_array().unwrap().len(), 0);
}

#[test]
fn explain_names_every_action() {
    let machine = Machine::hello();
    let built = machine.run(&["build", "//hello:all", "--explain"]).expect(0).stdout;
    let lines: Vec<_> = built.lines().filter(|line| line.contains(" ran because ")).collect();
    assert_eq!(
        lines,
        [
            "build_root //hello:shell (root) ran because it was never built before",
            "genrule //hello:hello ran because it was never built before",
        ]
    );
}

#[test]
fn each_kind_of_change_is_called_by_its_name() {
    let machine = Machine::hello();
    let cat = "cat /src/*.txt > out/g";
    machine.write("t/a.txt", "a");
    greet(&machine, "", cat);
    assert_eq!(greeted(&machine), "it was never built before");

    machine.write("t/b.txt", "b");
    assert_eq!(greeted(&machine), "t/b.txt was added");
    fs::remove_file(machine.workspace().join("t/b.txt")).unwrap();
    // The key before that is known, too, and so is its result: nothing runs, and nothing needs a reason.
    machine.run(&["build", "//t:g"]).expect(0).stdout.lines().for_each(|line| {
        assert!(!line.contains("because"), "{line}");
    });
    machine.write("t/a.txt", "another a");
    assert_eq!(greeted(&machine), "t/a.txt changed");

    greet(&machine, "\"CC\": \"clang\"", cat);
    assert_eq!(greeted(&machine), "environment CC differs (not set, now `clang`)");
    greet(&machine, "\"CC\": \"gcc\"", cat);
    assert_eq!(greeted(&machine), "environment CC differs (`clang`, now `gcc`)");
    greet(&machine, "\"CC\": \"gcc\"", "cat /src/a.txt > out/g");
    let argument = "argument 3 of its command differs";
    assert_eq!(
        greeted(&machine),
        format!("{argument} (`cat /src/*.txt > out/g`, now `cat /src/a.txt > out/g`)")
    );

    // A source is what people change; it comes before what else differs.
    greet(&machine, "\"CC\": \"tcc\"", "cat /src/a.txt > out/g");
    machine.write("t/a.txt", "a third a");
    assert_eq!(greeted(&machine), "t/a.txt changed (and 1 more)");
    let said = why(&machine, &["//t:g"]);
    let differences = said[0]["ran"]["reason"]["differences"].as_array().unwrap();
    assert_eq!(differences, &["t/a.txt changed", "environment CC differs (`gcc`, now `tcc`)"]);
}

#[test]
fn a_source_that_is_removed_is_called_by_its_path() {
    let machine = Machine::hello();
    machine.write("t/a.txt", "a");
    machine.write("t/b.txt", "b");
    greet(&machine, "", "cat /src/*.txt > out/g");
    greeted(&machine);
    fs::remove_file(machine.workspace().join("t/b.txt")).unwrap();
    assert_eq!(greeted(&machine), "t/b.txt was removed");
}

#[test]
fn what_follows_from_another_action_is_said_after_it_and_names_it() {
    let machine = Machine::hello();
    machine.write(
        "t/BUILD.bld",
        r#"
load("@rules//files.bzl", "genrule")
genrule(name = "b", srcs = ["b.txt"], cmd = "cat /src/b.txt > out/made", outs = ["made"], root = "//hello:shell")
genrule(name = "a", srcs = [":b"], cmd = "cat /src/made > out/last", outs = ["last"], root = "//hello:shell")
"#,
    );
    machine.write("t/b.txt", "b");
    machine.run(&["build", "//t:all"]).expect(0);
    machine.write("t/b.txt", "another b");
    let built = machine.run(&["build", "//t:all"]).expect(0).stdout;
    let expected = "genrule //t:b ran because t/b.txt changed\n\
                    genrule //t:a ran because the output of //t:b changed\n";
    assert!(built.starts_with(expected), "{built}");
}

#[test]
fn a_result_that_was_evicted_is_said_to_be() {
    let machine = Machine::hello();
    machine.run(&["build", "//hello:all"]).expect(0);
    machine.run(&["cache", "gc", "--to", "0"]).expect(0);
    // As long as what it made is in its place, nobody needs the result.
    let idle = machine.run(&["build", "//hello:all"]).expect(0).stdout;
    assert!(idle.starts_with("nothing to do: "), "{idle}");
    std::fs::remove_dir_all(machine.workspace().join("bld-out")).unwrap();
    let built = machine.run(&["build", "//hello:all"]).expect(0).stdout;
    let expected = "build_root //hello:shell (root) ran because its result was evicted from the store\n\
                    genrule //hello:hello ran because its result was evicted from the store\n";
    assert!(built.starts_with(expected), "{built}");
}

#[test]
fn where_the_earlier_messages_are_gone_it_says_so() {
    let machine = Machine::hello();
    machine.run(&["build", "//hello:all"]).expect(0);
    machine.run(&["cache", "gc", "--to", "0"]).expect(0);
    machine.write("hello/name.txt", "you");
    let built = machine.run(&["build", "//hello:all"]).expect(0).stdout;
    let expected =
        "its key is another; what the earlier one was made of was evicted from the store";
    assert!(built.contains(&format!("{HELLO_RAN}{expected}\n")), "{built}");
}

#[test]
fn a_failure_that_is_tried_again_is_said_to_be() {
    let machine = Machine::hello();
    machine.write("t/a.txt", "a");
    greet(&machine, "", "exit 7");
    machine.run(&["build", "//t:g"]).expect(1);
    let built = machine.run(&["build", "//t:g", "--retry-failed"]).expect(1).stdout;
    let expected = "it failed the last time (exit status 7) and was asked for again";
    assert!(built.starts_with(&format!("genrule //t:g ran because {expected}\n")), "{built}");
}

#[test]
fn what_was_built_without_a_sandbox_runs_again_because_nothing_was_recorded() {
    let machine = Machine::new();
    machine.write(
        "t/BUILD.bld",
        "load(\"@rules//files.bzl\", \"genrule\")\ngenrule(name = \"g\", cmd = \"echo g > out/g\", outs = [\"g\"])\n",
    );
    machine.run(&["build", "//t:g", "--sandbox", "none"]).expect(0);
    let built = machine.run(&["build", "//t:g", "--sandbox", "none"]).expect(0).stdout;
    let expected = "genrule //t:g ran because its last result was not kept\n";
    assert!(built.starts_with(expected), "{built}");
}

#[test]
fn a_new_kernel_is_compared_with_the_nearest_one() {
    let machine = Machine::drivers_built();
    let kernels = base().kernels();
    let module = |kernel: &str| format!("//drivers:echo{{kernel={kernel},version=2.0.0,kind=mod}}");
    // As if the second had never been built here: its results and all that is known of it are gone.
    fs::remove_dir_all(machine.store().join("history")).unwrap();
    machine.run(&["build", &module(&kernels[0])]).expect(0);
    let said = why(&machine, &[&module(&kernels[0])]);
    assert_eq!(said[0]["ran"], Value::Null, "its result was found");
    let path = "drivers/echo/2.0.0/ring.c";
    machine.write(path, &format!("{}\n/* changed */\n", machine.read(path)));

    let built = machine.run(&["build", &module(&kernels[0])]).expect(0).stdout;
    let name =
        |kernel: &str| format!("//drivers:echo-mod{{kernel={kernel},version=2.0.0}} (module)");
    let changed = format!("kernel_module {} ran because {path} changed\n", name(&kernels[0]));
    assert!(built.starts_with(&changed), "{built}");

    let built = machine.run(&["build", &module(&kernels[1]), "--explain"]).expect(0).stdout;
    let ran = format!("kernel_module {} ran because", name(&kernels[1]));
    let line =
        built.lines().find(|line| line.starts_with(&ran)).unwrap_or_else(|| panic!("{built}"));
    let unlike =
        format!("it was never built before; unlike {}: environment UNAME", name(&kernels[0]));
    assert!(line.contains(&unlike), "{line}");
    // The target that the cell stands for has the reason; headers differ in files that are named.
    let said = why(&machine, &[&module(&kernels[1])]);
    let differences = said[0]["ran"]["reason"]["differences"].as_array().unwrap();
    let headers = format!("of //drivers:echo-headers{{kernel={}}} (headers) differs", kernels[1]);
    let header = |it: &&Value| it.as_str().unwrap().ends_with(&headers);
    assert!(differences.iter().any(|it| header(&it)), "{differences:#?} {headers}");
}

#[test]
fn builds_are_numbered_listed_and_compared() {
    let machine = Machine::hello();
    machine.run(&["build", "//hello:all"]).expect(0);
    machine.write("hello/name.txt", "you");
    machine.run(&["build", "//hello:hello"]).expect(0);
    machine.run(&["build", "//hello:hello"]).expect(0);

    let builds = machine.run(&["builds", "--json"]).expect(0).json();
    let builds = builds.as_array().unwrap();
    let seen =
        |it: &Value| (it["build"].as_u64().unwrap(), it["counts"]["misses"].as_u64().unwrap());
    assert_eq!(builds.iter().map(seen).collect::<Vec<_>>(), [(1, 2), (2, 1), (3, 0)]);
    assert_eq!(builds[1]["patterns"][0], "//hello:hello");
    let text = machine.run(&["builds"]).expect(0).stdout;
    assert!(
        text.lines().nth(1).unwrap().contains("1 ran, 1 cached, 0 failed  //hello:hello"),
        "{text}"
    );
    let one = machine.run(&["builds", "last-1"]).expect(0).stdout;
    assert!(one.contains("(succeeded) because hello/name.txt changed"), "{one}");

    let since =
        |build: &str| machine.run(&["why", "//hello:hello", "--vs", build]).expect(0).stdout;
    let changed = "genrule //hello:hello has another key than in build 1: hello/name.txt changed\n";
    assert_eq!(since("1"), changed);
    assert_eq!(since("last-2"), changed);
    assert_eq!(since("last"), "genrule //hello:hello has the key that it had in build 3\n");

    let diff = |old: &str, new: &str| machine.run(&["diff", old, new]).expect(0).stdout;
    assert_eq!(
        diff("1", "last"),
        "genrule //hello:hello: hello/name.txt changed\n1 key differs between builds 1 and 3\n"
    );
    assert_eq!(diff("2", "3"), "0 keys differ between builds 2 and 3\n");
    let json = machine.run(&["diff", "1", "2", "--json"]).expect(0).json();
    assert_eq!(json["actions"][0]["differences"][0], "hello/name.txt changed");
    assert_ne!(json["actions"][0]["old"], json["actions"][0]["new"]);

    for text in ["4", "last-3", "last-", "lasting", "first"] {
        let said = machine.run(&["diff", "1", text]).expect(2);
        said.says(&[&format!("there is no build `{text}`; builds 1 to 3 are known")]);
    }
    machine.run(&["why", "//hello:hallo"]).expect(2).says(&["nothing of //hello:hallo is known"]);
}

#[test]
fn a_target_whose_name_another_begins_with_is_another() {
    let machine = Machine::hello();
    let rule = |name: &str| {
        format!(
            "genrule(name = \"{name}\", cmd = \"echo {name}; touch out/{name}\", outs = [\"{name}\"], root = \"//hello:shell\")\n"
        )
    };
    let text = format!("load(\"@rules//files.bzl\", \"genrule\")\n{}{}", rule("x"), rule("x-y"));
    machine.write("t/BUILD.bld", &text);
    machine.write("tt/BUILD.bld", &text);
    machine.run(&["build", "//..."]).expect(0);
    let names = |pattern: &str| -> Vec<String> {
        let log = machine.run(&["log", pattern, "--json"]).expect(0).json();
        let runs = log.as_array().unwrap().iter();
        runs.map(|run| run["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("//t:x"), ["//t:x"]);
    assert_eq!(names("//t/..."), ["//t:x", "//t:x-y"]);
    for command in ["why", "log"] {
        let meant = |typed: &str, meant: &str| {
            machine.run(&[command, typed]).expect(2).says(&[&format!(", did you mean `{meant}`?")]);
        };
        meant("//t:x-z", "//t:x-y");
        meant("//u:all", "//t");
        meant("//u/...", "//t");
        let never = machine.run(&[command, "//t:nothing-like-it"]).expect(2).stderr;
        assert!(!never.contains("did you mean"), "{never}");
    }
    assert_eq!(names("//t:all"), ["//t:x", "//t:x-y"]);
}

#[test]
fn a_cell_of_a_matrix_stands_for_the_one_action_that_makes_it() {
    let machine = Machine::drivers_built();
    let kernel = &base().kernels()[0];
    let log = |kind: &str| {
        let cell = format!("//drivers:echo{{kernel={kernel},version=1.0.0,kind={kind}}}");
        let log = machine.run(&["log", &cell, "--json"]).expect(0).json();
        let runs = log.as_array().unwrap().iter();
        runs.map(|run| run["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        log("mod"),
        [format!("//drivers:echo-mod{{kernel={kernel},version=1.0.0}} (module)")]
    );
    let cell = |cell: &str| format!("//drivers:echo{{{cell}}}");
    for (typed, meant) in [
        ("//drivers:ehco".to_owned(), "//drivers:echo"),
        (cell("kernl=6.1"), "kernel"),
        (cell(&format!("kernel={}", &kernel[..kernel.len() - 1])), kernel),
    ] {
        let meant = format!(", did you mean `{meant}`?");
        machine.run(&["why", &typed]).expect(2).says(&[&meant]);
        machine.run(&["log", &typed]).expect(2).says(&[&meant]);
    }
    let nearly = cell(&format!("kernel={}", &kernel[..kernel.len() - 1]));
    machine.run(&["build", &nearly]).expect(2).says(&[&format!(", did you mean `{kernel}`?")]);
    assert_eq!(
        log("bpf"),
        [format!("//drivers:echo-bpf{{kernel={kernel},version=1.0.0}} (probe)")]
    );
}
