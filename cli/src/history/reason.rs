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
