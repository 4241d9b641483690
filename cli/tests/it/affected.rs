//! What a git change affects: told by real repositories and the real binary.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use model::{Digest, DigestFunction};

use crate::machine::{Machine, Ran};

/// Runs git in a folder, with nothing configured.
#[track_caller]
fn git(folder: &Path, arguments: &[&str]) -> String {
    let names = ["AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL"];
    let mut command = Command::new("git");
    command
        .args(["-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always"])
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", folder)
        .envs(names.map(|name| (format!("GIT_{name}"), "somebody")));
    Ran::of(&mut command).expect(0).stdout.trim().to_owned()
}

/// A workspace of boxes in a repository of its own, committed and built.
fn committed() -> Machine {
    let machine = Machine::new().with_boxes();
    machine.write(".gitignore", "bld-out\n");
    commit(&machine);
    machine.run(&["build", "//..."]).expect(0);
    machine
}

fn commit(machine: &Machine) {
    let folder = machine.workspace();
    git(&folder, &["init", "--quiet"]);
    git(&folder, &["add", "--all"]);
    git(&folder, &["commit", "--quiet", "-m", "base"]);
}

/// Returns what is affected since the last commit, as lines.
#[track_caller]
fn affected(machine: &Machine) -> Vec<String> {
    let said = machine.run(&["affected", "--base", "HEAD"]).expect(0).stdout;
    said.lines().map(str::to_owned).collect()
}

/// Returns label, change and whether it is only perhaps, for each that is affected.
#[track_caller]
fn told(machine: &Machine, arguments: &[&str]) -> Vec<(String, String, bool)> {
    let answer = machine.run(&[&["affected", "--json", "--base", "HEAD"], arguments].concat());
    let answer = answer.expect(0).json();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let one = |it: &serde_json::Value| {
        (text(&it["label"]), text(&it["change"]), it["superset"].as_bool().unwrap())
    };
    answer["affected"].as_array().unwrap().iter().map(one).collect()
}

fn is(label: &str, change: &str, perhaps: bool) -> (String, String, bool) {
    (label.to_owned(), change.to_owned(), perhaps)
}

#[test]
fn without_a_change_nothing_is_affected() {
    let machine = committed();
    let said = machine.run(&["affected", "--base", "HEAD"]).expect(0);
    assert_eq!(said.stdout, "");
    said.says(&["0 cells affected: 0 added, 0 changed, 0 perhaps; 0 removed"]);
}

#[test]
fn a_changed_source_affects_the_cells_that_read_it_and_a_build_of_them_is_all_there_is_to_do() {
    let machine = committed();
    machine.write("p/b.txt", "another\n");
    let cells = affected(&machine);
    assert_eq!(cells, ["//p:cells{kernel=3,kind=bpf}", "//p:cells{kernel=3,kind=mod}"]);
    machine.write("p/c.txt", "another\n");
    assert_eq!(affected(&machine), ["//p:cells"], "all of a target is its label");

    let mut build = vec!["build"];
    build.extend(cells.iter().map(String::as_str));
    build.push("//p:cells");
    machine.run(&build).expect(0);
    let plan = machine.run(&["plan", "//..."]).expect(0).stdout;
    assert!(plan.contains("nothing to do"), "{plan}");
    assert_eq!(
        affected(&machine),
        ["//p:cells"],
        "what is affected does not depend on what is built"
    );
}

#[test]
fn what_waits_for_a_changed_step_is_perhaps_affected_until_that_is_built() {
    let machine = committed();
    machine.write("p/notes.txt", "other notes\n");
    let inner = is("//p:inner", "changed", false);
    assert_eq!(told(&machine, &[]), [inner.clone(), is("//p:outer", "changed", true)]);
    // The notes are dropped: the inner box comes out the same, and the outer one was never affected.
    machine.run(&["build", "//p:inner"]).expect(0);
    assert_eq!(told(&machine, &[]), std::slice::from_ref(&inner));

    machine.write("p/a.txt", "other text\n");
    machine.run(&["build", "//p:inner"]).expect(0);
    assert_eq!(told(&machine, &[]), [inner, is("//p:outer", "changed", false)]);
}

#[test]
fn an_edit_of_a_build_file_that_changes_nothing_affects_nothing() {
    let machine = committed();
    machine.edit(
        "p/BUILD.bld",
        "box(name = \"alone\"",
        "# Alone.\nbox(tags = [\"x\"], name = \"alone\"",
    );
    assert_eq!(affected(&machine), [""; 0]);
}

#[test]
fn a_renamed_target_is_added_and_the_old_one_removed() {
    let machine = committed();
    machine.edit("p/BUILD.bld", "\"alone\", say", "\"lonely\", say");
    let said = machine.run(&["affected", "--base", "HEAD"]).expect(0);
    assert_eq!(said.stdout, "//p:lonely\n");
    said.says(&["removed: //p:alone", "1 added, 0 changed, 0 perhaps; 1 removed"]);
    assert_eq!(told(&machine, &[]), [is("//p:lonely", "added", false)]);
}

#[test]
fn a_changed_rule_file_affects_what_it_makes() {
    let machine = committed();
    machine.edit("rules.bzl", "\"path\": \"say\"", "\"path\": \"said\"");
    assert_eq!(affected(&machine), ["//p:alone", "//p:cells", "//p:inner", "//p:outer"]);
    let told = told(&machine, &[]);
    assert!(told.contains(&is("//p:alone", "changed", false)), "{told:?}");
    assert!(told.contains(&is("//p:outer", "changed", true)), "{told:?}");
}

#[test]
fn new_packages_targets_and_cells_are_added_and_what_is_gone_is_removed() {
    let machine = committed();
    machine.write(
        "q/BUILD.bld",
        "load(\"//:rules.bzl\", \"box\")\nbox(name = \"new\", say = \"new\")\n",
    );
    machine.edit("p/BUILD.bld", "\"1\", \"2\", \"3\"", "\"2\", \"3\", \"4\"");
    machine.edit("p/BUILD.bld", "box(name = \"alone\", say = \"alone\")\n", "");
    let said = machine.run(&["affected", "--base", "HEAD"]).expect(0);
    let added = "//p:cells{kernel=4,kind=bpf}\n//p:cells{kernel=4,kind=mod}\n//q:new\n";
    assert_eq!(said.stdout, added);
    said.says(&[
        "removed: //p:alone",
        "removed: //p:cells{kernel=1,kind=bpf}",
        "3 added",
        "3 removed",
    ]);

    let only = machine.run(&["affected", "--base", "HEAD", "//q:all"]).expect(0);
    assert_eq!(only.stdout, "//q:new\n");
    only.says(&["0 removed"]);
    let some = machine.run(&["affected", "--base", "HEAD", "//p:cells{kind=mod}"]).expect(0);
    assert_eq!(some.stdout, "//p:cells{kernel=4,kind=mod}\n");
    some.says(&["1 added", "1 removed"]);
}

#[test]
fn a_change_of_the_lock_affects_what_it_pins_for() {
    let machine = Machine::new().with_boxes();
    machine.write(".gitignore", "bld-out\n");
    let data = machine.root().join("data.txt");
    let declare = |text: &str| {
        fs::write(&data, text).unwrap();
        let sha256 = Digest::of(DigestFunction::Sha256, text.as_bytes()).hex();
        machine.write(
            "q/BUILD.bld",
            &format!(
                "load(\"//:rules.bzl\", \"box\")\nload(\"@rules//fetch.bzl\", \"http_file\")\n\
                 http_file(name = \"data\", urls = [\"file://{}\"], sha256 = \"{sha256}\")\n\
                 box(name = \"holds\", srcs = [\":data\"])\nbox(name = \"other\", say = \"other\")\n",
                data.display()
            ),
        );
    };
    declare("first\n");
    machine.run(&["build", "//..."]).expect(0);
    commit(&machine);
    assert_eq!(affected(&machine), [""; 0]);

    let first = machine.read("bld.lock");
    declare("second\n");
    machine.run(&["lock"]).expect(0);
    assert_ne!(machine.read("bld.lock"), first);
    assert_eq!(affected(&machine), ["//q:data", "//q:holds"]);
    let holds = is("//q:holds", "changed", false);
    assert!(
        told(&machine, &[]).contains(&holds),
        "a locked tree has its digest before it is fetched"
    );

    // A lock that git does not keep stands for both sides, as long as it fits.
    git(&machine.workspace(), &["rm", "--quiet", "--cached", "bld.lock"]);
    git(&machine.workspace(), &["commit", "--quiet", "-m", "no lock"]);
    let said = machine.run(&["affected", "--base", "HEAD"]).expect(0);
    assert!(said.stdout.contains("//p:alone\n"), "{}", said.stdout);
    said.says(&["everything counts as affected", "bld.lock does not meet what it asks for"]);
    git(&machine.workspace(), &["commit", "--quiet", "-am", "second"]);
    assert_eq!(affected(&machine), [""; 0]);
}

#[test]
fn a_workspace_in_a_folder_of_its_repository_is_compared_with_that_folder() {
    let machine = Machine::new().with_boxes();
    machine.write(".gitignore", "bld-out\n");
    let top = machine.root().join("top");
    fs::create_dir(&top).unwrap();
    fs::write(top.join("BUILD.bld"), "this is no build file of the workspace").unwrap();
    fs::rename(machine.workspace(), top.join("inside")).unwrap();
    symlink(top.join("inside"), machine.workspace()).unwrap();
    git(&top, &["init", "--quiet"]);
    git(&top, &["add", "--all"]);
    git(&top, &["commit", "--quiet", "-m", "base"]);
    assert_eq!(affected(&machine), [""; 0]);
    machine.write("p/b.txt", "another\n");
    assert_eq!(
        affected(&machine),
        ["//p:cells{kernel=3,kind=bpf}", "//p:cells{kernel=3,kind=mod}"]
    );
    // Where the revision has no workspace, everything is new.
    git(&top, &["rm", "-r", "--quiet", "--cached", "inside"]);
    git(&top, &["commit", "--quiet", "-m", "none"]);
    let said = machine.run(&["affected", "--base", "HEAD"]).expect(0);
    assert_eq!(said.stdout, "//p:alone\n//p:cells\n//p:inner\n//p:outer\n");
    said.says(&["8 added"]);
}

#[test]
fn files_that_git_does_not_know_count_as_they_lie_there() {
    let machine = committed();
    machine.edit("p/BUILD.bld", "srcs = [\"a.txt\", \"notes.txt\"]", "srcs = glob([\"*.txt\"])");
    git(&machine.workspace(), &["commit", "--quiet", "-am", "glob"]);
    assert_eq!(affected(&machine), [""; 0]);
    machine.write("p/new \"file\".txt", "new\n");
    assert_eq!(affected(&machine), ["//p:inner", "//p:outer"]);
}

#[test]
fn a_base_that_cannot_be_planned_makes_everything_count() {
    let machine = committed();
    machine.write("p/broken/BUILD.bld", "box(\n");
    commit(&machine);
    fs::remove_file(machine.workspace().join("p/broken/BUILD.bld")).unwrap();
    let said = machine.run(&["affected", "--base", "HEAD"]).expect(0);
    assert_eq!(said.stdout, "//p:alone\n//p:cells\n//p:inner\n//p:outer\n");
    said.says(&["warning: everything counts as affected", "p/broken/BUILD.bld"]);
    let json = machine.run(&["affected", "--base", "HEAD", "--json"]).expect(0).json();
    assert_eq!(json["superset"], true);
    assert_eq!(json["warnings"].as_array().unwrap().len(), 1);
}

#[test]
fn revisions_that_are_none_are_refused_and_none_is_taken_for_an_option() {
    let machine = committed();
    for revision in
        ["nowhere", "--upload-pack=touch hacked", "-h", "", "HEAD:p", "--all", "HEAD nowhere"]
    {
        let base = format!("--base={revision}");
        machine
            .run(&["affected", &base])
            .expect(2)
            .says(&["is no commit that this repository has"]);
    }
    assert!(!machine.workspace().join("hacked").exists());
    assert_eq!(
        git(&machine.workspace(), &["status", "--porcelain"]),
        "",
        "git's index is as it was"
    );
}

#[test]
fn repositories_without_a_commit_or_with_too_few_say_so_and_no_repository_too() {
    let machine = Machine::new().with_boxes();
    let outside = tempfile::tempdir_in(std::env::temp_dir()).unwrap();
    fs::write(outside.path().join("bld.toml"), "").unwrap();
    let folder = outside.path().to_str().unwrap();
    let lost = machine.run(&["-C", folder, "affected", "--base", "HEAD"]).expect(2);
    lost.says(&["is in no git repository"]);
    git(&machine.workspace(), &["init", "--quiet"]);
    machine.run(&["affected", "--base", "HEAD"]).expect(2).says(&["there is no commit yet"]);

    let origin = committed();
    let first = git(&origin.workspace(), &["rev-parse", "HEAD"]);
    origin.write("p/a.txt", "second\n");
    git(&origin.workspace(), &["commit", "--quiet", "-am", "second"]);
    let clone = Machine::new();
    fs::remove_dir_all(clone.workspace()).unwrap();
    let url = format!("file://{}", origin.workspace().display());
    let target = clone.workspace();
    git(clone.root(), &["clone", "--quiet", "--depth=1", &url, target.to_str().unwrap()]);
    clone.run(&["affected", "--base", &first]).expect(2).says(&["this clone is shallow"]);
    clone.run(&["affected", "--base", "HEAD"]).expect(0);
}

#[test]
fn hooks_and_monitors_of_the_repository_do_not_run() {
    use std::os::unix::fs::PermissionsExt as _;
    let machine = committed();
    let mark = machine.root().join("ran");
    for name in ["post-checkout", "post-index-change", "reference-transaction"] {
        let hook = machine.workspace().join(".git/hooks").join(name);
        fs::create_dir_all(hook.parent().unwrap()).unwrap();
        fs::write(&hook, format!("#!/bin/sh\ntouch '{}'\n", mark.display())).unwrap();
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    }
    machine.run(&["affected", "--base", "HEAD"]).expect(0);
    assert!(!mark.exists());
}

#[test]
fn a_test_is_affected_by_what_it_runs_and_by_what_is_expected_of_it() {
    let machine = Machine::hello();
    machine.write(".gitignore", "bld-out\n");
    let declare = |more: &str| {
        let rules = "load(\"@rules//test.bzl\", \"test\")\n";
        let text = format!("test(name = \"t\", root = \"//hello:shell\", {more})\n");
        machine.write("t/BUILD.bld", &format!("{rules}{text}"));
    };
    declare("cmd = 'exit 0'");
    machine.run(&["test", "//t"]).expect(0);
    commit(&machine);
    assert_eq!(affected(&machine), Vec::<String>::new());
    declare("cmd = 'echo other'");
    assert_eq!(affected(&machine), ["//t:t"]);
    declare("cmd = 'exit 0', xfail = [{}]");
    assert_eq!(affected(&machine), ["//t:t"]);
}
