//! How a lock is read: strictly, because what it says is believed.

use std::collections::{BTreeMap, BTreeSet};

use model::{Digest, DigestFunction, ParseDigestError, PathSegment, RelativePath, TreeDigest};

use super::word::{decode, decode_options};
use super::{Item, LOCK_VERSION, Lock, Pin};
use crate::Sha256;
use crate::parcel::{Commit, InvalidCommit, Key, Wrapping};

/// A lock cannot be used as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bld.lock line {line}: {fault}")]
pub struct LockError {
    /// The number of the line.
    pub line: usize,
    /// What is wrong with it.
    pub fault: LockFault,
}

/// What is wrong with a line of a lock.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockFault {
    /// The first line that is no comment is not a lock's.
    #[error("a lock begins with `bld-lock {LOCK_VERSION} unpack <version> <function>`")]
    Header,
    /// The lock was made by a later version.
    #[error("this lock needs a newer bld ({what} version {version})")]
    Newer {
        /// What has that version.
        what: &'static str,
        /// The version.
        version: u32,
    },
    /// Two branches were not reconciled.
    #[error("a merge conflict was left here; take either side and run `bld lock`")]
    MergeConflict,
    /// The first word is none that is known.
    #[error("`{0}` is not a kind of line")]
    Kind(String),
    /// There are too few words, too many, or they are not separated by one space.
    #[error("a `{kind}` line has {expected} words with one space between them")]
    Words {
        /// The kind of line.
        kind: &'static str,
        /// How many words there should be.
        expected: usize,
    },
    /// A word does not mean anything.
    #[error("`{0}` is malformed")]
    Word(String),
    /// A digest is malformed.
    #[error(transparent)]
    Digest(#[from] ParseDigestError),
    /// A commit is malformed.
    #[error(transparent)]
    Commit(#[from] InvalidCommit),
    /// The same thing was said before, alike or differently.
    #[error("line {first} already says this or contradicts it")]
    Repeated {
        /// The earlier line.
        first: usize,
    },
    /// A pin names something that has no line.
    #[error("{0} is pinned, but has no line of its own")]
    Dangling(String),
}

pub(super) fn parse(text: &str) -> Result<Lock, LockError> {
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    let mut last = 0;
    let header = lines.by_ref().find(|(number, line)| {
        last = *number;
        !line.starts_with('#')
    });
    let (number, header) =
        header.ok_or(LockError { line: last.max(1), fault: LockFault::Header })?;
    let (function, unpack_rules) =
        parse_header(header).map_err(|fault| LockError { line: number, fault })?;
    let mut reader = Reader::new(function);
    for (line, text) in lines {
        reader.take(line, text).map_err(|fault| LockError { line, fault })?;
    }
    reader.finish(unpack_rules)
}

fn parse_header(line: &str) -> Result<(DigestFunction, u32), LockFault> {
    refuse_conflict(line)?;
    let words: Vec<&str> = line.split(' ').collect();
    let ["bld-lock", version, "unpack", rules, function] = words.as_slice() else {
        return Err(LockFault::Header);
    };
    let number = |word: &str| word.parse::<u32>().or(Err(LockFault::Header));
    let (version, rules) = (number(version)?, number(rules)?);
    if version != LOCK_VERSION {
        return Err(LockFault::Newer { what: "lock format", version });
    }
    if rules > formats::UNPACK_RULES_VERSION {
        return Err(LockFault::Newer { what: "unpack rules", version: rules });
    }
    Ok((function.parse()?, rules))
}

fn refuse_conflict(line: &str) -> Result<(), LockFault> {
    let is_marker =
        ["<<<<<<<", "=======", ">>>>>>>", "|||||||"].iter().any(|marker| line.starts_with(marker));
    if is_marker { Err(LockFault::MergeConflict) } else { Ok(()) }
}

/// What was read so far, and on which line.
struct Reader {
    function: DigestFunction,
    items: BTreeMap<Key, (usize, Item)>,
    pins: BTreeMap<Pin, usize>,
    requests: BTreeMap<String, (usize, Sha256)>,
}

impl Reader {
    fn new(function: DigestFunction) -> Self {
        Self { function, items: BTreeMap::new(), pins: BTreeMap::new(), requests: BTreeMap::new() }
    }

    fn take(&mut self, line: usize, text: &str) -> Result<(), LockFault> {
        refuse_conflict(text)?;
        let words: Vec<&str> = text.split(' ').collect();
        match words[0] {
            "deb" => {
                let [_, _, _, _, path, size, sha256, tree] = exactly("deb", &words)?;
                let archive = Sha256::parse(sha256)?.sized(parse_size(size)?);
                let path = word(path)?;
                if RelativePath::new(path.as_str()).is_err() {
                    return Err(LockFault::Word(path));
                }
                self.add(line, parse_key(&words[..4])?, Wrapping::Pool { path, archive }, tree)
            }
            "archive" => {
                let [_, sha256, _, size, tree] = exactly("archive", &words)?;
                let archive = Sha256::parse(sha256)?.sized(parse_size(size)?);
                self.add(line, parse_key(&words[..3])?, Wrapping::Plain { archive }, tree)
            }
            "file" => {
                let [_, sha256, _, _, size, tree] = exactly("file", &words)?;
                let archive = Sha256::parse(sha256)?.sized(parse_size(size)?);
                self.add(line, parse_key(&words[..4])?, Wrapping::Plain { archive }, tree)
            }
            "git" => {
                let [_, _, tree] = exactly("git", &words)?;
                self.add(line, parse_key(&words[..2])?, Wrapping::Repository, tree)
            }
            "pin" => {
                let [label, group] = [words.get(1), words.get(2)].map(|found| {
                    found.copied().ok_or(LockFault::Words { kind: "pin", expected: 7 })
                });
                let key = parse_key(words.get(3..).unwrap_or_default())?;
                let pin = Pin { label: word(label?)?, group: word(group?)?, key };
                once(self.pins.insert(pin, line))
            }
            "request" => {
                let [_, label, digest] = exactly("request", &words)?;
                let earlier = self.requests.insert(word(label)?, (line, Sha256::parse(digest)?));
                once(earlier.map(|(line, _)| line))
            }
            other => Err(LockFault::Kind(other.to_owned())),
        }
    }

    fn add(
        &mut self,
        line: usize,
        key: Key,
        wrapping: Wrapping,
        tree: &str,
    ) -> Result<(), LockFault> {
        let tree = TreeDigest(Digest::parse(self.function, tree)?);
        let earlier = self.items.insert(key, (line, Item { wrapping, tree }));
        once(earlier.map(|(line, _)| line))
    }

    fn finish(self, unpack_rules: u32) -> Result<Lock, LockError> {
        for (pin, line) in &self.pins {
            if !self.items.contains_key(&pin.key) {
                let fault = LockFault::Dangling(pin.key.to_string());
                return Err(LockError { line: *line, fault });
            }
        }
        Ok(Lock {
            function: self.function,
            unpack_rules,
            items: self.items.into_iter().map(|(key, (_, item))| (key, item)).collect(),
            pins: self.pins.into_keys().collect::<BTreeSet<_>>(),
            requests: self
                .requests
                .into_iter()
                .map(|(label, (_, digest))| (label, digest))
                .collect(),
        })
    }
}

fn once(earlier: Option<usize>) -> Result<(), LockFault> {
    match earlier {
        Some(first) => Err(LockFault::Repeated { first }),
        None => Ok(()),
    }
}

fn parse_key(words: &[&str]) -> Result<Key, LockFault> {
    Ok(match words.first().copied().unwrap_or_default() {
        "deb" => {
            let [_, name, version, arch] = exactly("deb", words)?;
            Key::Deb { name: word(name)?, version: word(version)?, arch: word(arch)? }
        }
        "archive" => {
            let [_, sha256, options] = exactly("archive", words)?;
            let malformed = || LockFault::Word(options.to_owned());
            let options = decode_options(options).ok_or_else(malformed)?;
            Key::Archive { sha256: Sha256::parse(sha256)?, options }
        }
        "file" => {
            let [_, sha256, name, flag] = exactly("file", words)?;
            let name = PathSegment::new(word(name)?)
                .map_err(|error| LockFault::Word(error.to_string()))?;
            let executable = match flag {
                "x" => true,
                "-" => false,
                other => return Err(LockFault::Word(other.to_owned())),
            };
            Key::File { sha256: Sha256::parse(sha256)?, name, executable }
        }
        "git" => {
            let [_, commit] = exactly("git", words)?;
            Key::Git { commit: Commit::new(commit)? }
        }
        other => return Err(LockFault::Kind(other.to_owned())),
    })
}

fn exactly<'a, const N: usize>(
    kind: &'static str,
    words: &[&'a str],
) -> Result<[&'a str; N], LockFault> {
    <[&str; N]>::try_from(words).or(Err(LockFault::Words { kind, expected: N }))
}

fn word(word: &str) -> Result<String, LockFault> {
    decode(word).ok_or_else(|| LockFault::Word(word.to_owned()))
}

fn parse_size(text: &str) -> Result<u64, LockFault> {
    let malformed = || LockFault::Word(text.to_owned());
    let size: u64 = text.parse().or(Err(malformed()))?;
    if size.to_string() == text { Ok(size) } else { Err(malformed()) }
}
