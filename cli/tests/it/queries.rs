//! Questions about targets and actions, asked of the real binary.
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use expect_test::expect;

use crate::machine::Machine;

fn ask(machine: &Machine, arguments: &[&str]) -> String {
    machine.run(&[&["query"], arguments].concat()).expect(0).stdout
}

#[test]
fn targets_are_asked_about_from_any_folder_and_without_a_lock_or_a_store() {
    let machine = Machine::new().with_boxes();
    let said = ask(&machine, &["rdeps(//..., p/a.txt)"]);
    assert_eq!(said, "//p:inner\n//p:outer\np/a.txt\n");
    let said = ask(&machine, &["-C", "p", "somepath(:outer, a.txt)"]);
    assert_eq!(said, "//p:outer\n//p:inner\np/a.txt\n");
    assert!(!machine.workspace().join("bld-out").exists());
    assert_eq!(std::fs::read_dir(machine.store()).unwrap().count(), 0, "no store is opened");
}

#[test]
fn actions_are_asked_about_by_cell() {
    let machine = Machine::new().with_boxes();
    let mut said = String::new();
    for question in [
        "deps(//p:outer)",
        "//p:cells{kernel=3}",
        "rdeps(//..., p/b.txt)",
        "kind(box, //...) - deps(//p:outer)",
    ] {
        for part in [question, "\n", &ask(&machine, &["--actions", question]), "\n"] {
            said.push_str(part);
        }
    }
    expect![[r#"
        deps(//p:outer)
        //p:inner (box)
        //p:outer (box)
        p/a.txt
        p/notes.txt

        //p:cells{kernel=3}
        //p:cells{kernel=3,kind=bpf} (box)
        //p:cells{kernel=3,kind=mod} (box)

        rdeps(//..., p/b.txt)
        //p:cells{kernel=3,kind=bpf} (box)
        //p:cells{kernel=3,kind=mod} (box)
        p/b.txt

        kind(box, //...) - deps(//p:outer)
        //p:alone (box)
        //p:cells{kernel=1,kind=bpf} (box)
        //p:cells{kernel=1,kind=mod} (box)
        //p:cells{kernel=2,kind=mod} (box)
        //p:cells{kernel=3,kind=bpf} (box)
        //p:cells{kernel=3,kind=mod} (box)

    "#]]
    .assert_eq(&said);
}

#[test]
fn answers_come_as_json_and_as_a_drawing_too() {
    let machine = Machine::new().with_boxes();
    let json = machine.run(&["query", "//p:outer", "--json"]).expect(0).json();
    assert_eq!(json[0]["name"], "//p:outer");
    assert_eq!(json[0]["kind"], "box");
    assert_eq!(json[0]["attrs"]["deps"]["inner"], ":inner");
    assert_eq!(json[0]["deps"], serde_json::json!(["//p:inner"]));
    let cells = machine.run(&["query", "//p:cells", "--output", "json"]).expect(0).json();
    assert_eq!(cells[0]["attrs"]["srcs"]["select"]["default"], serde_json::json!(["c.txt"]));
    assert_eq!(cells[0]["deps"], serde_json::json!(["p/b.txt", "p/c.txt"]), "all branches count");
    let actions = machine.run(&["query", "--actions", "//p:cells{kernel=1,kind=mod}", "--json"]);
    let actions = actions.expect(0).json();
    assert_eq!(actions[0]["attrs"]["cell"]["kernel"], "1");
    assert_eq!(actions[0]["attrs"]["builtin"], "compose");
    assert_eq!(actions[0]["deps"], serde_json::json!(["p/c.txt"]));

    expect![[r#"
        digraph bld {
          node [shape=box];
          "//p:inner";
          "//p:inner" -> "p/a.txt";
          "//p:inner" -> "p/notes.txt";
          "//p:outer";
          "//p:outer" -> "//p:inner";
          "p/a.txt";
          "p/notes.txt";
        }
    "#]]
    .assert_eq(&ask(&machine, &["deps(//p:outer)", "--output=dot"]));
}
