//! What a person or a machine chooses, and how one finds out who chose it.

use crate::machine::{Machine, Ran};

/// Writes the user's own file.
fn user_file(machine: &Machine, text: &str) {
    let folder = machine.root().join("home/.config/bld");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("bld.toml"), text).unwrap();
}

/// Runs `bld` without the variables that tests are run with.
fn run(machine: &Machine, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = machine.command(arguments);
    command.env_remove("BLD_STORE").envs(variables.iter().copied());
    Ran::of(&mut command)
}

#[test]
fn a_flag_counts_before_the_environment_that_before_the_file_that_before_the_default() {
    let machine = Machine::bare();
    let home = machine.root().join("home");
    let explain = |arguments: &[&str], variables: &[(&str, &str)]| {
        let arguments = [arguments, &["config", "explain", "store"]].concat();
        let said = run(&machine, &arguments, variables).expect(0).stdout;
        said.replace(home.to_str().unwrap(), "~")
    };
    let said = explain(&[], &[]);
    assert!(said.starts_with("store = ~/.cache/bld\n  because of the default\n"), "{said}");
    user_file(&machine, "jobs = 3\n\nstore = \"~/elsewhere\"\n");
    let said = explain(&[], &[]);
    let from_file =
        "because of ~/.config/bld/bld.toml:3\n  in place of ~/.cache/bld (the default)\n";
    assert!(said.starts_with(&format!("store = ~/elsewhere\n  {from_file}")), "{said}");
    let said = explain(&[], &[("BLD_STORE", "/from/variable")]);
    assert!(said.starts_with("store = /from/variable\n  because of the variable BLD_STORE\n"));
    let said = explain(&["--store", "/from/flag"], &[("BLD_STORE", "/from/variable")]);
    assert!(said.starts_with("store = /from/flag\n  because of --store\n"), "{said}");
    assert_eq!(said.matches("in place of").count(), 3, "{said}");

    // It is not only said.
    machine.write("bld.toml", "");
    let stat = run(&machine, &["cache", "stat", "--json"], &[]);
    let store = stat.expect(0).json()["store"].as_str().unwrap().to_owned();
    assert_eq!(store, home.join("elsewhere").to_str().unwrap());
}

#[test]
fn a_variable_that_is_empty_or_relative_names_no_folder() {
    let machine = Machine::bare();
    machine.write("bld.toml", "");
    let home = machine.root().join("home").to_str().unwrap().to_owned();
    let store = |variables: &[(&str, &str)]| {
        let said = run(&machine, &["config", "list", "--json"], variables).expect(0).json();
        let found = said.as_array().unwrap().iter().find(|it| it["key"] == "store").cloned();
        found.unwrap()["value"].as_str().unwrap().to_owned()
    };
    let usual = format!("{home}/.cache/bld");
    assert_eq!(store(&[("XDG_CACHE_HOME", "")]), usual);
    assert_eq!(store(&[("XDG_CACHE_HOME", "cache")]), usual);
    assert_eq!(store(&[("XDG_CACHE_HOME", "/c"), ("HOME", "")]), "/c/bld");
    let nowhere = [("HOME", ""), ("XDG_CACHE_HOME", "")];
    run(&machine, &["cache", "stat"], &nowhere).expect(2).says(&["HOME", "--store"]);
    user_file(&machine, "store = \"~/elsewhere\"\n");
    let config = format!("{home}/.config");
    run(&machine, &["cache", "stat"], &[("XDG_CONFIG_HOME", &config), ("HOME", "")])
        .expect(2)
        .says(&["bld.toml:1", "`~/elsewhere`", "HOME is not set"]);
    assert_eq!(std::fs::read_dir(machine.workspace()).unwrap().count(), 1, "only bld.toml");
}

#[test]
fn everything_that_can_be_chosen_is_listed_also_for_programs() {
    let machine = Machine::bare();
    user_file(&machine, "jobs = 3\ncolour = \"never\"\nstore_budget = \"7 GiB\"\n");
    let said = run(&machine, &["config", "list", "--json"], &[]).expect(0).json();
    let value = |name: &str| {
        let all = said.as_array().unwrap().iter();
        let found = all.clone().find(|it| it["key"] == name).unwrap();
        found["value"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        (value("jobs"), value("colour"), value("store_budget")),
        ("3".into(), "never".into(), "7 GiB".into())
    );
    let text = run(&machine, &["config", "list"], &[]).expect(0).stdout;
    assert_eq!(text.lines().count(), said.as_array().unwrap().len());
    let said = run(&machine, &["config", "explain", "jobs", "--json"], &[("BLD_JOBS", "9")]);
    let said = said.expect(0).json();
    assert_eq!(said["value"], "9");
    assert_eq!(said["origin"], "the variable BLD_JOBS");
    assert_eq!(said["overridden"][0]["value"], "3");
}

#[test]
fn a_mistake_in_the_users_file_is_shown_with_its_line() {
    let machine = Machine::bare();
    for (text, says) in [
        ("\njob = 3\n", "bld.toml:2: there is no key `job`, did you mean `jobs`?"),
        (
            "jobs = 3\ndigest = \"sha256\"\n",
            "bld.toml:2: there is no key `digest`; it belongs into the bld.toml of a workspace",
        ),
        ("jobs = 0\n", "`jobs` cannot be `0`, as "),
        ("store_budget = \"much\"\n", "`much` is not a size"),
        ("jobs = [1]\n", "bld.toml:1: `jobs` is a text or a number"),
        ("store = \"here\"\n", "bld.toml:1: `here` is neither absolute nor"),
        ("jobs = \n", "TOML parse error at line 1"),
    ] {
        user_file(&machine, text);
        run(&machine, &["config", "list"], &[]).expect(2).says(&[says]);
    }
    user_file(&machine, "");
    run(&machine, &["config", "explain", "stores"], &[]).expect(2).says(&["did you mean `store`?"]);
    run(&machine, &["config", "list"], &[("BLD_JOBS", "many")])
        .expect(2)
        .says(&["`jobs` cannot be `many`, as the variable BLD_JOBS has it"]);
}
