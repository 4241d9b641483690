//! Nothing to do takes no time, and is only said when it is so: whatever happens to a workspace, a build that
//! remembers earlier ones comes to the same as one that remembers nothing.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::machine::{Machine, Ran};

/// Where random edits begin; one more seed for each run of CI would find no more than these do together.
const SEEDS: [u64; 4] = [1, 2, 3, 4];

/// How many edits are made from each seed.
const EDITS: usize = 45;

/// What a text may be: of equal length, so that sizes tell nothing.
const TEXTS: [&str; 4] = ["one\n", "two\n", "six\n", "ten\n"];

/// A file that nobody makes: nobody removes it either, unless it lies in a folder that is an output.
const STRANGER: &str = "stranger";

const PACKAGE: &str = r#"load("@rules//files.bzl", "filegroup", "genrule")
load("//:names.bzl", "NAME")

filegroup(name = "files", srcs = glob(["*.txt", "sub/**"]))
genrule(
    name = NAME,
    srcs = glob(["*.txt"]),
    cmd = "cat /src/*.txt > out/joined",
    outs = ["joined"],
    root = "//hello:shell",
)
"#;

#[test]
fn whatever_is_edited_a_build_that_remembers_comes_to_the_same_as_one_that_does_not() {
    std::thread::scope(|scope| {
        for pair in SEEDS.chunks(2) {
            scope.spawn(move || pair.iter().for_each(|seed| edit_at_random(*seed)));
        }
    });
}

#[test]
fn what_a_link_leads_to_and_what_a_source_lies_behind_count_too() {
    let (machine, forgetful) = (workspace(), Machine::bare());
    machine.write(
        "n/BUILD.bld",
        "load(\"@rules//files.bzl\", \"filegroup\")\nfilegroup(name = \"named\", srcs = [\"link\", \"dir/f\"])\n",
    );
    machine.write("n/t.txt", "one\n");
    machine.write("n/dir/f", "one\n");
    let at = |name: &str| machine.workspace().join("n").join(name);
    symlink("t.txt", at("link")).unwrap();
    let check = |what: &str| compare(&machine, &forgetful, &[what.to_owned()]);
    check("as it is");
    fs::rename(at("t.txt"), at("aside")).unwrap();
    check("the link leads nowhere");
    fs::rename(at("aside"), at("t.txt")).unwrap();
    check("it leads there again");
    fs::rename(at("dir"), at("real")).unwrap();
    symlink("real", at("dir")).unwrap();
    check("the file lies behind a link");
    fs::remove_file(at("dir")).unwrap();
    fs::rename(at("real"), at("dir")).unwrap();
    check("and does no more");
}

/// A package with a file that is different each time that it is made, and a copy of it.
fn dice() -> Machine {
    let machine = Machine::hello();
    machine.write(
        "dice/BUILD.bld",
        r#"
load("@rules//files.bzl", "genrule")
genrule(name = "roll", cmd = "head -c 16 /dev/urandom | od -x > out/roll", outs = ["roll"], root = "//hello:shell")
genrule(name = "copy", srcs = [":roll"], cmd = "cat /src/roll > out/copy", outs = ["copy"], root = "//hello:shell")
"#,
    );
    machine.run(&["build", "//..."]).expect(0);
    machine
}

/// Builds everything; the copy must be one, and then there is nothing to do.
#[track_caller]
fn roll_is_copied(machine: &Machine) {
    machine.run(&["build", "//..."]).expect(0);
    let read = |name: &str| fs::read(machine.output(&format!("dice/{name}"))).unwrap();
    assert_eq!(read("roll"), read("copy"));
    let again = machine.run(&["build", "//..."]).expect(0).stdout;
    assert!(again.starts_with("nothing to do"), "{again}");
}

#[test]
fn what_is_made_from_a_result_that_was_lost_is_made_again() {
    let machine = dice();
    let before = fs::read(machine.output("dice/roll")).unwrap();
    machine.run(&["cache", "gc", "--to", "0"]).expect(0);
    fs::remove_file(machine.output("dice/roll")).unwrap();
    roll_is_copied(&machine);
    assert_ne!(fs::read(machine.output("dice/roll")).unwrap(), before);
    // Nor does it matter which build finds out.
    machine.run(&["cache", "gc", "--to", "0"]).expect(0);
    fs::remove_file(machine.output("dice/roll")).unwrap();
    machine.run(&["build", "//dice:roll"]).expect(0);
    roll_is_copied(&machine);
}

#[test]
fn what_is_made_from_a_result_that_was_taken_away_is_made_again() {
    let machine = dice();
    machine.run(&["build", "//dice:roll"]).expect(0);
    let before = fs::read(machine.output("dice/roll")).unwrap();
    machine.run(&["verify", "--forget", "--own", "//dice:roll"]).expect(1);
    machine.run(&["build", "//dice:roll"]).expect(0);
    assert_ne!(fs::read(machine.output("dice/roll")).unwrap(), before);
    roll_is_copied(&machine);
}

fn edit_at_random(seed: u64) {
    let machine = workspace();
    let forgetful = Machine::bare();
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut history = Vec::new();
    compare(&machine, &forgetful, &history);
    for _ in 0..EDITS {
        let kind = if random.below(5) < 3 { edit } else { redeclare };
        history.push(kind(&machine, &mut random));
        // Now and then several edits come between two builds.
        if random.below(4) > 0 {
            compare(&machine, &forgetful, &history);
        }
    }
}

fn workspace() -> Machine {
    let machine = Machine::hello();
    machine.write("names.bzl", "NAME = \"joined\"\n");
    for package in ["a", "b", "b/c"] {
        machine.write(&format!("{package}/BUILD.bld"), PACKAGE);
        machine.write(&format!("{package}/x.txt"), "one\n");
        machine.write(&format!("{package}/sub/y.txt"), "two\n");
    }
    machine
}

/// Builds in the workspace, and in a copy of it of which nothing is remembered.
#[track_caller]
fn compare(machine: &Machine, forgetful: &Machine, history: &[String]) {
    let copy = forgetful.workspace();
    let _ = fs::remove_dir_all(&copy);
    let _ = fs::remove_dir_all(forgetful.store().join("receipts"));
    run("cp", &["-a", path(&machine.workspace()), path(&copy)]);
    let _ = fs::remove_dir_all(copy.join("bld-out"));
    let expected = forgetful.run(&["build", "//..."]);
    let remembering = machine.run(&["build", "//..."]);
    let told = |ran: &Ran, root: &Path| -> Vec<String> {
        let lines = ran.stderr.lines().filter(|line| !line.starts_with("ran "));
        let lines = lines.filter(|line| !line.starts_with("fetch ") && !line.contains("lock"));
        let lines = lines.filter(|line| !line.starts_with("what is made from results that"));
        let lines = lines.map(|line| line.replace(path(root), "$ROOT"));
        // Of several sources that cannot be read, the first that is come upon is told.
        let is_cause = |line: &String| !line.starts_with("  because: ");
        lines.take_while(is_cause).collect()
    };
    let context = || {
        let (out, err) = (&remembering.stdout, &remembering.stderr);
        format!("after {history:#?}\nit said:\n{out}{err}\nand should:\n{}", expected.stderr)
    };
    assert_eq!(remembering.code, expected.code, "{}", context());
    assert_eq!(
        told(&remembering, machine.root()),
        told(&expected, forgetful.root()),
        "{}",
        context()
    );
    if expected.code == Some(0) {
        let (found, wanted) = (outputs(machine), outputs(forgetful));
        for (path, content) in &wanted {
            assert_eq!(found.get(path), Some(content), "{} {}", path.display(), context());
        }
        // Nothing of what was made once and is made no more is left.
        let is_ours = |path: &&PathBuf| !path.ends_with(STRANGER) && !wanted.contains_key(*path);
        assert_eq!(found.keys().find(is_ours), None, "{}", context());
        // And then there is nothing to do.
        let again = machine.run(&["build", "//..."]).expect(0);
        assert!(again.stdout.starts_with("nothing to do"), "{}\n{}", again.stdout, context());
    }
}

/// Returns what lies under `bld-out`: links as what they lead to, files as their permissions and bytes.
fn outputs(machine: &Machine) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let root = machine.workspace().join("bld-out");
    let mut found = BTreeMap::new();
    let mut pending = vec![root.clone()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&root).unwrap().to_owned();
            let metadata = path.symlink_metadata().unwrap();
            if name == Path::new(".bld") {
            } else if metadata.is_dir() {
                pending.push(path);
            } else if metadata.is_symlink() {
                let target = fs::read_link(path).unwrap();
                found.insert(name, (0, target.into_os_string().into_encoded_bytes()));
            } else {
                found.insert(name, (metadata.permissions().mode(), fs::read(path).unwrap()));
            }
        }
    }
    found
}

/// Numbers that look random (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % limit
    }

    fn among<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Does something to the workspace and says what.
fn edit(machine: &Machine, random: &mut Random) -> String {
    let package = *random.among(&["a", "b", "b/c"]);
    let name = *random.among(&["x.txt", "y.txt", "sub/y.txt", "sub/deep/z.txt"]);
    let file = format!("{package}/{name}");
    let at = machine.workspace().join(&file);
    let text = *random.among(&TEXTS);
    match random.below(12) {
        0..=3 => {
            put(&at, text);
            format!("write {file}: {text:?}")
        }
        4 => {
            // The same length, and the time that it had.
            let before = at.metadata().and_then(|it| it.modified()).unwrap_or(SystemTime::now());
            put(&at, text);
            let file_times = FileTimes::new().set_modified(before);
            File::options().write(true).open(&at).unwrap().set_times(file_times).unwrap();
            format!("write {file}: {text:?}, and set its time back")
        }
        5 => {
            if at.is_file() {
                let past = SystemTime::now() - Duration::from_secs(1_000);
                File::options()
                    .write(true)
                    .open(&at)
                    .unwrap()
                    .set_times(FileTimes::new().set_modified(past))
                    .unwrap();
            }
            format!("touch {file}")
        }
        6 => {
            clear(&at);
            format!("remove {file}")
        }
        7 => {
            let to = machine.workspace().join(package).join(random.among(&["w.txt", "sub/w.txt"]));
            clear(&to);
            let _ = fs::create_dir_all(to.parent().unwrap());
            let _ = fs::rename(&at, &to);
            format!("rename {file} to {}", to.display())
        }
        8 => {
            let mode = *random.among(&[0o644, 0o755, 0o600]);
            let _ = fs::set_permissions(&at, Permissions::from_mode(mode));
            format!("chmod {mode:o} {file}")
        }
        9 => {
            let target = *random.among(&["x.txt", "y.txt", "nowhere", "../../outside"]);
            clear(&at);
            let _ = fs::create_dir_all(at.parent().unwrap());
            let _ = symlink(target, &at);
            format!("link {file} to {target}")
        }
        10 => {
            let sub = machine.workspace().join(package).join("sub");
            let moved = machine.workspace().join(package).join("moved");
            if sub.is_symlink() {
                clear(&sub);
                let _ = fs::rename(&moved, &sub);
            } else if fs::rename(&sub, &moved).is_ok() {
                symlink("moved", &sub).unwrap();
            }
            format!("replace {package}/sub by a link, or back")
        }
        _ => {
            // As `git checkout` does it, there and back.
            let folder = machine.workspace().join(package);
            let aside = machine.root().join("aside");
            let _ = fs::remove_dir_all(&aside);
            run("cp", &["-a", path(&folder), path(&aside)]);
            put(&at, text);
            let _ = machine.run(&["build", "//..."]);
            fs::remove_dir_all(&folder).unwrap();
            run("cp", &["-r", path(&aside), path(&folder)]);
            format!("write {file}: {text:?}, build, and check out {package} as it was")
        }
    }
}

/// Changes what is declared, or what surrounds the workspace, and says what.
fn redeclare(machine: &Machine, random: &mut Random) -> String {
    let package = *random.among(&["a", "b", "b/c"]);
    match random.below(8) {
        0 => {
            let target = *random.among(&["filegroup", "filegroups"]);
            let text = PACKAGE.replace("filegroup(", &format!("{target}("));
            machine.write(&format!("{package}/BUILD.bld"), &text);
            format!("declare {target} in {package}")
        }
        1 => {
            let text = format!("{PACKAGE}\nfilegroup(name = \"more\", srcs = [\"x.txt\"])\n");
            machine.write(&format!("{package}/BUILD.bld"), &text);
            format!("declare one more in {package}")
        }
        2 => {
            machine.write(&format!("{package}/BUILD.bld"), PACKAGE);
            format!("declare in {package} what there was at first")
        }
        3 => {
            let name = *random.among(&["joined", "united"]);
            machine.write("names.bzl", &format!("NAME = \"{name}\"\n"));
            format!("call it {name}")
        }
        4 => {
            let deep = format!("{package}/deep/{}", random.among(&["d", "e"]));
            let folder = machine.workspace().join(&deep);
            if folder.exists() {
                fs::remove_dir_all(folder).unwrap();
            } else {
                machine.write(&format!("{deep}/BUILD.bld"), PACKAGE);
                machine.write(&format!("{deep}/x.txt"), random.among::<&str>(&TEXTS));
            }
            format!("add or remove the package {deep}")
        }
        5 => spoil_outputs(machine, random),
        6 => {
            if random.below(2) == 0 {
                machine.run(&["cache", "gc", "--to", "0"]).expect(0);
                return "collect all that is in the store".to_owned();
            }
            run("rm", &["-rf", path(&machine.store().join("actions"))]);
            "lose what actions came to".to_owned()
        }
        _ => {
            let rules = *random.among(&["", "rules = \"own\"\n"]);
            let toml = machine.read("bld.toml");
            let rest: Vec<_> = toml.lines().filter(|line| !line.starts_with("rules")).collect();
            machine.write("bld.toml", &format!("{rules}{}\n", rest.join("\n")));
            own_rules(machine, random.among::<&str>(&["", "# changed\n"]));
            format!("bld.toml: {rules:?}")
        }
    }
}

/// Edits, removes or replaces something under `bld-out`.
fn spoil_outputs(machine: &Machine, random: &mut Random) -> String {
    let outputs: Vec<_> = outputs(machine).into_keys().collect();
    if outputs.is_empty() {
        return "spoil nothing".to_owned();
    }
    let name = random.among(&outputs);
    let at = machine.workspace().join("bld-out").join(name);
    let how = random.below(5);
    match how {
        0 => put(&at, "bad\n"),
        1 => clear(&at),
        2 => put(&at.with_file_name(STRANGER), "bad\n"),
        3 => {
            let _ = fs::set_permissions(&at, Permissions::from_mode(0o600));
        }
        _ => fs::remove_dir_all(machine.workspace().join("bld-out")).unwrap(),
    }
    format!("spoil bld-out/{} ({how})", name.display())
}

/// Copies the rule library into the workspace, with something added that changes nothing.
fn own_rules(machine: &Machine, more: &str) {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules");
    let own = machine.workspace().join("own");
    let _ = fs::remove_dir_all(&own);
    run("cp", &["-r", path(&rules), path(&own)]);
    let files = machine.read("own/files.bzl");
    machine.write("own/files.bzl", &format!("{files}{more}"));
}

/// Puts a file where anything or nothing is.
fn put(at: &Path, text: &str) {
    if !at.is_file() || at.is_symlink() {
        clear(at);
    }
    // Behind a link that leads nowhere nothing can be put.
    let _ = fs::create_dir_all(at.parent().unwrap()).and_then(|()| fs::write(at, text));
}

fn clear(at: &Path) {
    let _ = fs::remove_file(at).or_else(|_| fs::remove_dir_all(at));
}

fn run(program: &str, arguments: &[&str]) {
    assert!(Command::new(program).args(arguments).status().unwrap().success(), "{arguments:?}");
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
