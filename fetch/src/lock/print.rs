//! How a lock is written: sorted lines, so that the same pins give the same bytes and merges are easy.

use std::fmt;

use super::word::{encode, encode_options};
use super::{Item, LOCK_VERSION, Lock};
use crate::parcel::{Key, Wrapping};

/// What stands above everything, for people.
pub(super) const COMMENT: &str =
    "# Made by `bld lock`; do not edit, but do commit (or not: the first build makes it).";

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{COMMENT}")?;
        writeln!(f, "bld-lock {LOCK_VERSION} unpack {} {}", self.unpack_rules, self.function)?;
        let items = self.items.iter().map(|(key, item)| item_line(key, item));
        let pins = self.pins.iter().map(|pin| {
            format!("pin {} {} {}", encode(&pin.label), encode(&pin.group), key_words(&pin.key))
        });
        let requests = self
            .requests
            .iter()
            .map(|(label, digest)| format!("request {} {digest}", encode(label)));
        let mut lines: Vec<String> = items.chain(pins).chain(requests).collect();
        lines.sort();
        lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

fn item_line(key: &Key, item: &Item) -> String {
    let words = key_words(key);
    let tree = item.tree;
    match &item.wrapping {
        Wrapping::Pool { path, archive } => {
            format!("{words} {} {} {} {tree}", encode(path), archive.size(), archive.hex())
        }
        Wrapping::Plain { archive } => format!("{words} {} {tree}", archive.size()),
        Wrapping::Repository => format!("{words} {tree}"),
    }
}

fn key_words(key: &Key) -> String {
    match key {
        Key::Deb { name, version, arch } => {
            format!("deb {} {} {}", encode(name), encode(version), encode(arch))
        }
        Key::Archive { sha256, options } => format!("archive {sha256} {}", encode_options(options)),
        Key::File { sha256, name, executable } => {
            format!(
                "file {sha256} {} {}",
                encode(name.as_str()),
                if *executable { "x" } else { "-" }
            )
        }
        Key::Git { commit } => format!("git {commit}"),
    }
}
