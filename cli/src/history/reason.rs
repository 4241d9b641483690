//! Why an action ran, in words.

use engine::{Change, Difference, Explanation, Graph, Message, NodeId, Origin};
use serde::{Deserialize, Serialize};

/// How long the values of a variable may be together to be shown, in bytes: what fits into a line.
const VALUES_SHOWN_BYTES_MAX: usize = 60;

/// Why an action ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reason {
    pub(crate) kind: Kind,
    /// What follows "ran because".
    pub(crate) text: String,
    /// What differs, in words: from the last key, or for what is new from that of the nearest cell.
    pub(crate) differences: Vec<String>,
}

/// Why an action ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Its key is another than the last time.
    Changed,
    /// No earlier key is known here.
    New,
    /// Its key is the same, but its result was gone.
    Evicted,
    /// Its key is the same; it failed the last time.
    Failed,
    /// Its key is the same; its last result was not recorded.
    Unrecorded,
    /// Its key is the same; it is a test.
    Again,
}

impl Reason {
    fn plain(kind: Kind, text: &str) -> Self {
        Self { kind, text: text.to_owned(), differences: Vec::new() }
    }

    pub(super) fn changed(differences: Vec<String>) -> Self {
        let text = shorten(&differences);
        Self { kind: Kind::Changed, text, differences }
    }

    pub(super) fn new(unlike: Option<(String, Vec<String>)>) -> Self {
        let first = "it was never built before";
        match unlike {
            Some((nearest, differences)) if !differences.is_empty() => {
                let text = format!("{first}; unlike {nearest}: {}", shorten(&differences));
                Self { kind: Kind::New, text, differences }
            }
            _ => Self::plain(Kind::New, first),
        }
    }

    pub(super) fn evicted() -> Self {
        Self::plain(Kind::Evicted, "its result was evicted from the store")
    }

    pub(super) fn remade() -> Self {
        let text = "something needs its outputs, which were evicted from the store";
        Self::plain(Kind::Evicted, text)
    }

    pub(super) fn failed(outcome: &str) -> Self {
        let text = format!("it failed the last time ({outcome}) and was asked for again");
        Self::plain(Kind::Failed, &text)
    }

    pub(super) fn again() -> Self {
        let text = "it is a test that was asked for again, or was flaky the last time";
        Self::plain(Kind::Again, text)
    }

    pub(super) fn unrecorded() -> Self {
        Self::plain(Kind::Unrecorded, "its last result was not recorded (--sandbox none)")
    }
}

/// Returns the first difference, and how many there are beside it.
pub(crate) fn shorten(differences: &[String]) -> String {
    match differences {
        [] => "its key differs in nothing that is known".to_owned(),
        [only] => only.clone(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    }
}

/// From when to when a comparison goes, which decides the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Between {
    /// The same action earlier and later.
    Times,
    /// Two cells.
    Cells,
}

/// Returns what differs, in words; what people are likely to have changed themselves comes first. A plan in which the
/// action has a node turns places in the sandbox into names that people know.
pub(crate) fn describe(
    explanation: &Explanation,
    node: Option<(&Graph, NodeId)>,
    between: Between,
) -> Vec<String> {
    let phrase = |difference| phrase(difference, node, between);
    let mut phrases: Vec<_> = explanation.differences.iter().map(phrase).collect();
    phrases.sort_by_key(|(rank, _)| *rank);
    let mut texts = Vec::new();
    for (_, text) in phrases {
        // A whole package is named once, however many of its files differ.
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    if explanation.more {
        texts.push("more, which was not looked at".to_owned());
    }
    texts
}

/// What is likely to be why, first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Machinery,
    Source,
    Command,
    Text,
    Locked,
    Made,
    Unknown,
}

fn phrase(
    difference: &Difference,
    node: Option<(&Graph, NodeId)>,
    between: Between,
) -> (Rank, String) {
    let was = if between == Between::Times { "changed" } else { "differs" };
    match difference {
        Difference::Function { old, new } => {
            (Rank::Machinery, format!("the workspace's digests are {new} and not {old}"))
        }
        Difference::Salt { old, new } => {
            let what = if new.starts_with("bld-sandbox-") {
                "the sandbox of bld"
            } else {
                "what bld's built-in does"
            };
            (Rank::Machinery, format!("{what} {was} ({old}, now {new})"))
        }
        Difference::Platform { name, old, new } => {
            let values = values(old.as_deref(), new.as_deref());
            (Rank::Machinery, format!("the platform property {name} differs{values}"))
        }
        Difference::Timeout { old, new } => {
            let text =
                |it: &Option<std::time::Duration>| it.map(|it| format!("{} s", it.as_secs()));
            let values = values(text(old).as_deref(), text(new).as_deref());
            (Rank::Command, format!("its time-out differs{values}"))
        }
        Difference::Argument { index, old, new } => {
            let values = values(old.as_deref(), new.as_deref());
            (Rank::Command, format!("argument {index} of its command differs{values}"))
        }
        Difference::Environment { name, old, new } => {
            let values = values(old.as_deref(), new.as_deref());
            (Rank::Command, format!("environment {name} differs{values}"))
        }
        Difference::Output { path, declared } => {
            let became = if *declared { "declared now" } else { "not declared any more" };
            (Rank::Command, format!("the output {path} is {became}"))
        }
        Difference::WorkingDirectory { old, new } => {
            (Rank::Command, format!("it starts in /{new} and not in /{old}"))
        }
        Difference::Input { path, change } => {
            let origin = node.and_then(|(graph, node)| Origin::of(graph, node, path, *change));
            input(path.as_str(), *change, origin, between)
        }
        Difference::Evicted(message) => (Rank::Unknown, evicted(message)),
    }
}

fn values(old: Option<&str>, new: Option<&str>) -> String {
    let text = |value: Option<&str>| value.map_or("not set".to_owned(), |it| format!("`{it}`"));
    let (old, new) = (text(old), text(new));
    if old.len() + new.len() > VALUES_SHOWN_BYTES_MAX || old.contains('\n') || new.contains('\n') {
        return String::new();
    }
    format!(" ({old}, now {new})")
}

fn input(place: &str, change: Change, origin: Option<Origin>, between: Between) -> (Rank, String) {
    let became = became(change, between);
    match origin {
        Some(Origin::Source(path)) => (Rank::Source, format!("{path} {became}")),
        Some(Origin::Written) => (Rank::Text, format!("what its rule writes to /{place} {became}")),
        Some(Origin::Locked { name: Some(name), .. }) => {
            // What differs in it is another version; which files do says nothing.
            let became = self::became(Change::Content, between);
            (Rank::Locked, format!("the locked {name} {became}"))
        }
        Some(Origin::Locked { name: None, path }) => {
            (Rank::Locked, format!("{path} of a locked tree {became}"))
        }
        Some(Origin::Made { owner, path }) if path.is_root() => {
            (Rank::Made, format!("the output of {owner} {became}"))
        }
        Some(Origin::Made { owner, path }) => (Rank::Made, format!("{path} of {owner} {became}")),
        None => (Rank::Unknown, format!("its input /{place} {became}")),
    }
}

fn became(change: Change, between: Between) -> &'static str {
    match (change, between) {
        (Change::Added, Between::Times) => "was added",
        (Change::Removed, Between::Times) => "was removed",
        (Change::Content, Between::Times) => "changed",
        (Change::Mode, Between::Times) => "changed: whether it may be executed",
        (Change::Kind, Between::Times) => "changed from one kind of thing to another",
        (Change::Added, Between::Cells) => "is only here",
        (Change::Removed, Between::Cells) => "is only there",
        (Change::Content | Change::Mode | Change::Kind, Between::Cells) => "differs",
    }
}

fn evicted(message: &Message) -> String {
    match message {
        Message::Action => {
            "its key is another; what the earlier one was made of was evicted from the store"
                .to_owned()
        }
        Message::Command => {
            "its command is another; the earlier one was evicted from the store".to_owned()
        }
        Message::Directory(path) => format!(
            "something below /{path} is another; the earlier listing was evicted from the store"
        ),
    }
}

#[cfg(test)]
mod tests {
    use engine::Explanation;
    use expect_test::{Expect, expect};
    use model::{DigestFunction, RelativePath};

    use super::*;

    /// Compares what is said of differences in an action that no plan has.
    #[track_caller]
    fn check(differences: Vec<Difference>, between: Between, expected: &Expect) {
        let explanation = Explanation { differences, more: false };
        expected.assert_eq(&describe(&explanation, None, between).join("\n"));
    }

    fn path(text: &str) -> RelativePath {
        RelativePath::new(text).unwrap()
    }

    #[test]
    fn bld_itself_comes_first_and_what_is_not_known_last() {
        let some = |text: &str| Some(text.to_owned());
        check(
            vec![
                Difference::Evicted(Message::Command),
                Difference::Evicted(Message::Directory(path("k/build"))),
                Difference::Timeout { old: None, new: Some(std::time::Duration::from_secs(5)) },
                Difference::Output { path: path("out/new"), declared: true },
                Difference::Output { path: path("out/old"), declared: false },
                Difference::WorkingDirectory { old: path("work"), new: path("src") },
                Difference::Environment {
                    name: "CC".to_owned(),
                    old: some("gcc"),
                    new: some("clang"),
                },
                Difference::Environment {
                    name: "LONG".to_owned(),
                    old: some(&"x".repeat(99)),
                    new: None,
                },
                Difference::Argument { index: 2, old: some("two\nlines"), new: some("one") },
                Difference::Platform {
                    name: "ISA".to_owned(),
                    old: some("x86-64"),
                    new: some("arm64"),
                },
                Difference::Salt {
                    old: "bld-sandbox-1".to_owned(),
                    new: "bld-sandbox-2".to_owned(),
                },
                Difference::Salt {
                    old: "bld-builtin-compose-1".to_owned(),
                    new: "bld-builtin-compose-2".to_owned(),
                },
                Difference::Function { old: DigestFunction::Sha256, new: DigestFunction::Blake3 },
            ],
            Between::Times,
            &expect![[r"
                the platform property ISA differs (`x86-64`, now `arm64`)
                the sandbox of bld changed (bld-sandbox-1, now bld-sandbox-2)
                what bld's built-in does changed (bld-builtin-compose-1, now bld-builtin-compose-2)
                the workspace's digests are blake3 and not sha256
                its time-out differs (not set, now `5 s`)
                the output out/new is declared now
                the output out/old is not declared any more
                it starts in /src and not in /work
                environment CC differs (`gcc`, now `clang`)
                environment LONG differs
                argument 2 of its command differs
                its command is another; the earlier one was evicted from the store
                something below /k/build is another; the earlier listing was evicted from the store"]],
        );
    }

    #[test]
    fn inputs_are_told_otherwise_between_times_than_between_cells() {
        let all = [Change::Added, Change::Removed, Change::Content, Change::Mode, Change::Kind];
        let inputs = || {
            let input = |change| Difference::Input { path: path(&format!("{change:?}")), change };
            all.map(input).to_vec()
        };
        check(
            inputs(),
            Between::Times,
            &expect![[r"
            its input /Added was added
            its input /Removed was removed
            its input /Content changed
            its input /Mode changed: whether it may be executed
            its input /Kind changed from one kind of thing to another"]],
        );
        check(
            inputs(),
            Between::Cells,
            &expect![[r"
            its input /Added is only here
            its input /Removed is only there
            its input /Content differs
            its input /Mode differs
            its input /Kind differs"]],
        );
    }

    #[test]
    fn what_is_said_already_is_not_said_again() {
        let name = Some("gcc-12 12.2.0-14".to_owned());
        let origin = |path_text| Some(Origin::Locked { name: name.clone(), path: path(path_text) });
        let texts = ["a", "b"].map(|it| input(it, Change::Added, origin(it), Between::Times).1);
        assert_eq!(texts, ["the locked gcc-12 12.2.0-14 changed"; 2]);
        let twice = Difference::Evicted(Message::Action);
        check(
            vec![twice.clone(), twice],
            Between::Times,
            &expect![
                "its key is another; what the earlier one was made of was evicted from the store"
            ],
        );
    }
}
