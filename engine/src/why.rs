//! Why an action has another key than before: both keys' messages, compared down to what differs.
//!
//! Knows nothing of plans and labels: what it names are places in a sandbox. [`crate::Origin`] says what stands there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use model::{
    Action, ActionDigest, Command, Digest, DigestFunction, Directory, Node, PathSegment,
    RelativePath, TreeDigest,
};
use wire::decode;

/// How many differences are listed: who reads them wants the first, and a hint of how many there are.
pub const DIFFERENCES_MAX: usize = 16;

/// How many directories are read to find them, of each tree: header trees have four thousand, and nobody waits
/// longer than for these.
const DIRECTORIES_READ_MAX: usize = 4096;

/// Something in which two keys differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The function that names everything.
    Function {
        /// Before.
        old: DigestFunction,
        /// Now.
        new: DigestFunction,
    },
    /// What a sandbox shows, or what a built-in does: `bld` itself.
    Salt {
        /// Before.
        old: String,
        /// Now.
        new: String,
    },
    /// What the machine must be.
    Platform {
        /// The property.
        name: String,
        /// Before.
        old: Option<String>,
        /// Now.
        new: Option<String>,
    },
    /// The time-out that the rule declares.
    Timeout {
        /// Before.
        old: Option<Duration>,
        /// Now.
        new: Option<Duration>,
    },
    /// A word of the command line.
    Argument {
        /// Which, from 0 for the program.
        index: usize,
        /// Before.
        old: Option<String>,
        /// Now.
        new: Option<String>,
    },
    /// A variable of the environment.
    Environment {
        /// Its name.
        name: String,
        /// Before.
        old: Option<String>,
        /// Now.
        new: Option<String>,
    },
    /// A declared output.
    Output {
        /// Its path.
        path: RelativePath,
        /// Whether it is declared now; else it was before.
        declared: bool,
    },
    /// Where the command starts.
    WorkingDirectory {
        /// Before.
        old: RelativePath,
        /// Now.
        new: RelativePath,
    },
    /// Something that the command reads.
    Input {
        /// Where it stands in the input root.
        path: RelativePath,
        /// What became of it.
        change: Change,
    },
    /// A message is not in the store any more, so more cannot be said.
    Evicted(Message),
}

/// What became of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It is new; of a directory, with all below it.
    Added,
    /// It is gone; of a directory, with all below it.
    Removed,
    /// Its bytes are others; of a link, its target.
    Content,
    /// It may be executed now, or not any more; its bytes are as they were.
    Mode,
    /// It was a file, a link or a directory, and is something else now.
    Kind,
}

/// Which message cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The action itself.
    Action,
    /// Its command.
    Command,
    /// The listing of one of its directories.
    Directory(RelativePath),
}

/// In what two keys differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// What was found: first what is not an input, then inputs by path.
    pub differences: Vec<Difference>,
    /// Whether there may be more.
    pub more: bool,
}

/// Returns in what two keys differ. `read` returns messages by their digests, as far as they are still there.
pub fn explain(
    old: ActionDigest,
    new: ActionDigest,
    read: &dyn Fn(Digest) -> Option<Bytes>,
) -> Explanation {
    let mut comparison = Comparison { read, found: Explanation::default(), directories_read: 0 };
    comparison.keys(old, new);
    comparison.found
}

struct Comparison<'a> {
    read: &'a dyn Fn(Digest) -> Option<Bytes>,
    found: Explanation,
    directories_read: usize,
}

impl Comparison<'_> {
    fn keys(&mut self, old: ActionDigest, new: ActionDigest) {
        if old == new {
            return;
        }
        let functions = (old.0.function(), new.0.function());
        if functions.0 != functions.1 {
            // Everything has another name then, whether or not it is the same.
            return self.note(Difference::Function { old: functions.0, new: functions.1 });
        }
        let (Some(old), Some(new)) = (self.action(old), self.action(new)) else {
            return self.note(Difference::Evicted(Message::Action));
        };
        if old.salt != new.salt {
            self.note(Difference::Salt { old: old.salt.clone(), new: new.salt.clone() });
        }
        for (name, old, new) in differing(&old.platform.0, &new.platform.0) {
            self.note(Difference::Platform { name, old, new });
        }
        if old.timeout != new.timeout {
            self.note(Difference::Timeout { old: old.timeout, new: new.timeout });
        }
        if old.command != new.command {
            match (self.command(old.command), self.command(new.command)) {
                (Some(old), Some(new)) => self.commands(&old, &new),
                _ => self.note(Difference::Evicted(Message::Command)),
            }
        }
        self.trees(old.input_root, new.input_root);
    }

    fn commands(&mut self, old: &Command, new: &Command) {
        for (name, old, new) in differing(&old.environment, &new.environment) {
            self.note(Difference::Environment { name, old, new });
        }
        for index in 0..old.arguments.len().max(new.arguments.len()) {
            let (old, new) = (old.arguments.get(index), new.arguments.get(index));
            if old != new {
                self.note(Difference::Argument { index, old: old.cloned(), new: new.cloned() });
            }
        }
        if old.working_directory != new.working_directory {
            let (old, new) = (old.working_directory.clone(), new.working_directory.clone());
            self.note(Difference::WorkingDirectory { old, new });
        }
        let (old, new): (BTreeSet<_>, BTreeSet<_>) =
            (old.output_paths.iter().collect(), new.output_paths.iter().collect());
        for path in old.symmetric_difference(&new) {
            let (path, declared) = ((*path).clone(), new.contains(path));
            self.note(Difference::Output { path, declared });
        }
    }

    /// Walks down both trees where they differ, in the order of paths.
    fn trees(&mut self, old: TreeDigest, new: TreeDigest) {
        let mut pending = vec![(RelativePath::root(), old, new)];
        while let Some((path, old, new)) = pending.pop() {
            if old == new {
                continue;
            }
            if self.is_full() || self.directories_read >= DIRECTORIES_READ_MAX {
                self.found.more = true;
                return;
            }
            self.directories_read += 1;
            let (Some(old), Some(new)) = (self.directory(old), self.directory(new)) else {
                self.note(Difference::Evicted(Message::Directory(path)));
                continue;
            };
            let mut below = self.directories(&path, &old, &new);
            below.reverse();
            pending.append(&mut below);
        }
    }

    /// Notes what differs in a directory and returns the directories below it that do.
    fn directories(
        &mut self,
        path: &RelativePath,
        old: &Directory,
        new: &Directory,
    ) -> Vec<(RelativePath, TreeDigest, TreeDigest)> {
        let names: BTreeSet<&PathSegment> =
            old.children().chain(new.children()).map(|(name, _)| name).collect();
        let mut below = Vec::new();
        for name in names {
            let here = path.child(name);
            let (old, new) = (old.get(name.as_str()), new.get(name.as_str()));
            match (old, new) {
                (Some(Node::Directory(old)), Some(Node::Directory(new))) => {
                    if old != new {
                        below.push((here, *old, *new));
                    }
                }
                (old, new) => {
                    if let Some(change) = change_of(old, new) {
                        self.note(Difference::Input { path: here, change });
                    }
                }
            }
        }
        below
    }

    fn is_full(&self) -> bool {
        self.found.differences.len() >= DIFFERENCES_MAX
    }

    fn note(&mut self, difference: Difference) {
        if self.is_full() {
            self.found.more = true;
        } else {
            self.found.differences.push(difference);
        }
    }

    fn action(&self, digest: ActionDigest) -> Option<Action> {
        decode::action(digest.0.function(), &(self.read)(digest.0)?).ok()
    }

    fn command(&self, digest: Digest) -> Option<Command> {
        decode::command(&(self.read)(digest)?).ok()
    }

    fn directory(&self, tree: TreeDigest) -> Option<Directory> {
        decode::directory(tree.0.function(), &(self.read)(tree.0)?).ok()
    }
}

/// Returns the names whose values differ, with both values.
fn differing(
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
) -> Vec<(String, Option<String>, Option<String>)> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let pair = |name: &String| (name.clone(), old.get(name).cloned(), new.get(name).cloned());
    names.into_iter().map(pair).filter(|(_, old, new)| old != new).collect()
}

fn change_of(old: Option<&Node>, new: Option<&Node>) -> Option<Change> {
    match (old, new) {
        (None, _) => Some(Change::Added),
        (_, None) => Some(Change::Removed),
        (Some(old), Some(new)) if old == new => None,
        (Some(Node::File { digest: old, .. }), Some(Node::File { digest: new, .. })) => {
            Some(if old == new { Change::Mode } else { Change::Content })
        }
        (Some(Node::Symlink(_)), Some(Node::Symlink(_)))
        | (Some(Node::Directory(_)), Some(Node::Directory(_))) => Some(Change::Content),
        (Some(_), Some(_)) => Some(Change::Kind),
    }
}
