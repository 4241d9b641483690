//! In what two keys differ, told from their messages alone.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use engine::{Change, DIFFERENCES_MAX, Difference, Explanation, Message, explain};
use model::{
    Action, ActionDigest, Command, Digest, DigestFunction, Directory, Node, PathSegment, Platform,
    RelativePath, SymlinkTarget, TreeDigest,
};
use proptest::prelude::*;
use wire::encode;

const FUNCTION: DigestFunction = DigestFunction::Blake3;

/// Messages by their digests, as a store has them.
#[derive(Default)]
struct Messages(RefCell<BTreeMap<Digest, Bytes>>);

impl Messages {
    fn put(&self, bytes: Bytes) -> Digest {
        let digest = Digest::of(FUNCTION, &bytes);
        self.0.borrow_mut().insert(digest, bytes);
        digest
    }

    fn lose(&self, digest: Digest) {
        self.0.borrow_mut().remove(&digest).unwrap();
    }

    fn explain(&self, old: ActionDigest, new: ActionDigest) -> Explanation {
        explain(old, new, &|digest| self.0.borrow().get(&digest).cloned())
    }

    fn tree(&self, files: &Files) -> TreeDigest {
        let mut directory = Directory::new();
        let mut below: BTreeMap<&str, Files> = BTreeMap::new();
        for (path, file) in files {
            if let Some((first, rest)) = path.split_once('/') {
                below.entry(first).or_default().insert(rest.to_owned(), file.clone());
            } else {
                let name = PathSegment::new(path.as_str()).unwrap();
                directory.add(name, file.node()).unwrap();
            }
        }
        for (name, files) in below {
            let node = Node::Directory(self.tree(&files));
            directory.add(PathSegment::new(name).unwrap(), node).unwrap();
        }
        TreeDigest(self.put(encode::directory(&directory)))
    }

    fn key(&self, key: &Key) -> ActionDigest {
        let command = self.put(encode::command(&key.command));
        let action = Action {
            command,
            input_root: self.tree(&key.files),
            timeout: key.timeout,
            salt: key.salt.clone(),
            platform: key.platform.clone(),
        };
        ActionDigest(self.put(encode::action(&action)))
    }
}

/// What stands at a path that is no directory.
#[derive(Clone, Debug, PartialEq, Eq)]
enum File {
    Text(String, bool),
    Link(String),
}

impl File {
    fn node(&self) -> Node {
        match self {
            Self::Text(text, executable) => {
                let digest = Digest::of(FUNCTION, text.as_bytes());
                Node::File { digest, executable: *executable }
            }
            Self::Link(target) => Node::Symlink(SymlinkTarget::new(target.as_str()).unwrap()),
        }
    }
}

type Files = BTreeMap<String, File>;

/// All that goes into a key.
#[derive(Clone)]
struct Key {
    command: Command,
    files: Files,
    timeout: Option<Duration>,
    salt: String,
    platform: Platform,
}

fn path(text: &str) -> RelativePath {
    RelativePath::new(text).unwrap()
}

fn text(text: &str) -> File {
    File::Text(text.to_owned(), false)
}

fn key() -> Key {
    let command = Command {
        arguments: vec!["/bin/sh".to_owned(), "build.sh".to_owned()],
        environment: BTreeMap::from([("CC".to_owned(), "gcc".to_owned())]),
        output_paths: vec![path("out/made")],
        working_directory: path("work"),
    };
    let files = [
        ("k/include/sched.h", text("struct task;")),
        ("src/main.c", text("int main;")),
        ("src/run", text("#!/bin/sh")),
        ("src/link", File::Link("main.c".to_owned())),
        ("usr/lib/libc", text("libc")),
    ];
    let files = files.map(|(path, file)| (path.to_owned(), file)).into();
    let platform = Platform(BTreeMap::from([("ISA".to_owned(), "x86-64".to_owned())]));
    Key { command, files, timeout: None, salt: "bld-sandbox-1".to_owned(), platform }
}

/// Returns what differs after a change, which must be all.
#[track_caller]
fn after(change: impl FnOnce(&mut Key)) -> Vec<Difference> {
    let messages = Messages::default();
    let (old, mut new) = (key(), key());
    change(&mut new);
    let explanation = messages.explain(messages.key(&old), messages.key(&new));
    assert!(!explanation.more);
    explanation.differences
}

fn input(place: &str, change: Change) -> Difference {
    Difference::Input { path: path(place), change }
}

#[test]
fn equal_keys_differ_in_nothing() {
    assert_eq!(after(|_| {}), []);
}

#[test]
fn what_is_not_an_input_is_told_by_its_name_and_both_values() {
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        after(|key| "bld-sandbox-2".clone_into(&mut key.salt)),
        [Difference::Salt { old: "bld-sandbox-1".to_owned(), new: "bld-sandbox-2".to_owned() }]
    );
    assert_eq!(
        after(|key| _ = key.platform.0.insert("ISA".to_owned(), "arm64".to_owned())),
        [Difference::Platform { name: "ISA".to_owned(), old: some("x86-64"), new: some("arm64") }]
    );
    let timeout = Some(Duration::from_secs(5));
    assert_eq!(
        after(|key| key.timeout = timeout),
        [Difference::Timeout { old: None, new: timeout }]
    );
    assert_eq!(
        after(|key| {
            key.command.environment = BTreeMap::from([
                ("CC".to_owned(), "clang".to_owned()),
                ("LD".to_owned(), String::new()),
            ]);
        }),
        [
            Difference::Environment { name: "CC".to_owned(), old: some("gcc"), new: some("clang") },
            Difference::Environment { name: "LD".to_owned(), old: None, new: some("") },
        ]
    );
    assert_eq!(
        after(|key| _ = key.command.arguments.pop()),
        [Difference::Argument { index: 1, old: some("build.sh"), new: None }]
    );
    assert_eq!(
        after(|key| key.command.output_paths = vec![path("out/other")]),
        [
            Difference::Output { path: path("out/made"), declared: false },
            Difference::Output { path: path("out/other"), declared: true },
        ]
    );
    assert_eq!(
        after(|key| key.command.working_directory = path("src")),
        [Difference::WorkingDirectory { old: path("work"), new: path("src") }]
    );
}

#[test]
fn inputs_are_told_by_their_paths_and_what_became_of_them() {
    let with = |place: &'static str, file: File| {
        after(move |key| _ = key.files.insert(place.to_owned(), file))
    };
    assert_eq!(with("src/main.c", text("int other;")), [input("src/main.c", Change::Content)]);
    assert_eq!(
        with("src/run", File::Text("#!/bin/sh".to_owned(), true)),
        [input("src/run", Change::Mode)]
    );
    assert_eq!(
        with("src/link", File::Link("run".to_owned())),
        [input("src/link", Change::Content)]
    );
    assert_eq!(with("src/link", text("no link")), [input("src/link", Change::Kind)]);
    assert_eq!(with("src/new.c", text("")), [input("src/new.c", Change::Added)]);
    assert_eq!(with("new/a/b", text("")), [input("new", Change::Added)]);
    let without = after(|key| key.files.retain(|path, _| !path.starts_with("k/")));
    assert_eq!(without, [input("k", Change::Removed)]);
    let several = after(|key| {
        key.files.remove("src/main.c");
        key.files.insert("src/more.c".to_owned(), text(""));
        key.files.insert("k/include/sched.h".to_owned(), text("struct task_struct;"));
    });
    let expected = [
        input("k/include/sched.h", Change::Content),
        input("src/main.c", Change::Removed),
        input("src/more.c", Change::Added),
    ];
    assert_eq!(several, expected, "in the order of their paths");
}

#[test]
fn another_digest_function_says_all_there_is_to_say() {
    let messages = Messages::default();
    let old = messages.key(&key());
    let new = ActionDigest(Digest::of(DigestFunction::Sha256, b"whatever"));
    let functions = Difference::Function { old: FUNCTION, new: DigestFunction::Sha256 };
    assert_eq!(messages.explain(old, new).differences, [functions]);
}

#[test]
fn there_is_a_bound_to_what_is_listed() {
    let many = |count: usize| -> Explanation {
        let messages = Messages::default();
        let mut new = key();
        for number in 0..count {
            new.files.insert(format!("src/{number:03}"), text(""));
        }
        messages.explain(messages.key(&key()), messages.key(&new))
    };
    let exactly = many(DIFFERENCES_MAX);
    assert_eq!((exactly.differences.len(), exactly.more), (DIFFERENCES_MAX, false));
    let beyond = many(DIFFERENCES_MAX + 1);
    assert_eq!((beyond.differences.len(), beyond.more), (DIFFERENCES_MAX, true));
    assert_eq!(beyond.differences[0], input("src/000", Change::Added));
}

#[test]
fn messages_that_are_gone_are_said_to_be_and_the_others_are_compared_all_the_same() {
    let changed = || {
        let mut new = key();
        new.command.environment.clear();
        new.files.insert("src/main.c".to_owned(), text("int other;"));
        new.files.insert("usr/lib/libc".to_owned(), text("musl"));
        new
    };
    let lost = |lose: &dyn Fn(&Messages, ActionDigest)| {
        let messages = Messages::default();
        let (old, new) = (messages.key(&key()), messages.key(&changed()));
        lose(&messages, old);
        messages.explain(old, new).differences
    };
    let environment =
        Difference::Environment { name: "CC".to_owned(), old: Some("gcc".to_owned()), new: None };
    let source = input("src/main.c", Change::Content);
    let library = input("usr/lib/libc", Change::Content);
    assert_eq!(lost(&|_, _| {}), [environment.clone(), source.clone(), library.clone()]);

    assert_eq!(lost(&|messages, old| messages.lose(old.0)), [Difference::Evicted(Message::Action)]);
    assert_eq!(
        lost(&|messages, _| messages.lose(Digest::of(FUNCTION, &encode::command(&key().command)))),
        [Difference::Evicted(Message::Command), source, library.clone()]
    );
    let sources = |files: &Files| -> Files {
        let below =
            files.iter().filter_map(|(path, file)| Some((path.strip_prefix("src/")?, file)));
        below.map(|(path, file)| (path.to_owned(), file.clone())).collect()
    };
    assert_eq!(
        lost(&|messages, _| messages.lose(messages.tree(&sources(&key().files)).0)),
        [environment, Difference::Evicted(Message::Directory(path("src"))), library]
    );
}

fn files() -> impl Strategy<Value = Files> {
    let file = prop_oneof![
        4 => ("[ab]{0,1}", any::<bool>()).prop_map(|(text, executable)| File::Text(text, executable)),
        1 => "[xy]".prop_map(File::Link),
    ];
    // A name is that of a file or of a directory, but not of both.
    let path = prop::collection::vec("[ab]", 0..4).prop_flat_map(|folders| {
        let folders: Vec<_> = folders.iter().map(|name| format!("d{name}/")).collect();
        let folders = folders.concat();
        "[a-c]".prop_map(move |name| format!("{folders}{name}"))
    });
    prop::collection::btree_map(path, file, 0..14)
}

/// What stands at a path.
#[derive(Debug, PartialEq)]
enum Found<'a> {
    Nothing,
    Folder,
    File(&'a File),
}

fn at<'a>(files: &'a Files, place: &str) -> Found<'a> {
    let folder = format!("{place}/");
    match files.get(place) {
        Some(file) => Found::File(file),
        None if files.keys().any(|path| path.starts_with(&folder)) => Found::Folder,
        None => Found::Nothing,
    }
}

fn holds(place: &RelativePath, path: &str) -> bool {
    place.is_root() || path == place.as_str() || path.starts_with(&format!("{place}/"))
}

proptest! {
    #[test]
    fn what_is_named_really_differs_and_what_differs_is_named(
        old in files(),
        new in files(),
        lost in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
    ) {
        let messages = Messages::default();
        let (old_tree, new_tree) = (messages.tree(&old), messages.tree(&new));
        let trees: Vec<Digest> = messages.0.borrow().keys().copied().collect();
        let lost: BTreeSet<Digest> = lost.iter().map(|index| trees[index.index(trees.len())]).collect();
        let with = |files: &Files| messages.key(&Key { files: files.clone(), ..key() });
        let keys = (with(&old), with(&new));
        for digest in &lost {
            messages.lose(*digest);
        }
        let found = messages.explain(keys.0, keys.1);

        prop_assert_eq!(found.differences.is_empty(), old_tree == new_tree);
        let mut named = Vec::new();
        for difference in &found.differences {
            if let Difference::Input { path, change } = difference {
                let (before, after) = (at(&old, path.as_str()), at(&new, path.as_str()));
                prop_assert_ne!(&before, &after, "{} is the same", path);
                prop_assert_eq!(before == Found::Nothing, *change == Change::Added);
                prop_assert_eq!(after == Found::Nothing, *change == Change::Removed);
                named.push(path.clone());
            } else if let Difference::Evicted(Message::Directory(path)) = difference {
                prop_assert!(!lost.is_empty());
                named.push(path.clone());
            } else {
                prop_assert!(false, "only inputs differ, not {:?}", difference);
            }
        }
        if !found.more {
            for path in old.keys().chain(new.keys()).filter(|it| old.get(*it) != new.get(*it)) {
                prop_assert!(named.iter().any(|place| holds(place, path)), "{} is not named", path);
            }
        }
    }
}
