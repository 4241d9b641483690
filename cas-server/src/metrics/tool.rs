//! The names of tools: known ones, a few others, and no more, because they come from outside.

use std::sync::OnceLock;

/// Tools whose names are never crowded out by others.
const KNOWN: [&str; 17] = [
    "bld",
    "bazel",
    "buck2",
    "moon",
    "pants",
    "recc",
    "reclient",
    "remote-apis-sdk",
    "buildstream",
    "buildbox",
    "ccache",
    "sccache",
    "gradle",
    "turbo",
    "nx",
    "prometheus",
    "curl",
];

/// How many names of other tools are kept: each is a label, and whoever watches pays for labels.
pub const TOOLS_MAX: usize = 24;

/// The longest name of a tool that is kept, in bytes: real ones are shorter than that.
pub const TOOL_NAME_BYTES_MAX: usize = 32;

/// What stands for every tool whose name is not kept.
const OTHER: &str = "other";

/// A tool, by its name's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tool(u8);

/// The names of tools.
#[derive(Debug)]
pub(super) struct Tools {
    others: [OnceLock<Box<str>>; TOOLS_MAX],
}

impl Tool {
    /// All tools whose names are not kept.
    pub(super) const OTHER: Self = Self(0);
}

impl Tools {
    pub(super) fn new() -> Self {
        Self { others: std::array::from_fn(|_| OnceLock::new()) }
    }

    /// Returns the tool with that name: letters, digits and `-_.`, which are the same in either case.
    pub(super) fn named(&self, name: &str) -> Tool {
        let is_plain = |it: u8| it.is_ascii_alphanumeric() || b"-_.".contains(&it);
        if name.is_empty() || name.len() > TOOL_NAME_BYTES_MAX || !name.bytes().all(is_plain) {
            return Tool::OTHER;
        }
        if let Some(at) = KNOWN.iter().position(|it| it.eq_ignore_ascii_case(name)) {
            return Self::at(1 + at);
        }
        let kept = self.others.iter().position(|slot| {
            let kept = slot.get_or_init(|| name.to_ascii_lowercase().into());
            kept.eq_ignore_ascii_case(name)
        });
        kept.map_or(Tool::OTHER, |at| Self::at(1 + KNOWN.len() + at))
    }

    /// Returns the tool with that name, without keeping a name that is new.
    pub(super) fn known(&self, name: &str) -> Tool {
        let same = |it: &str| it.eq_ignore_ascii_case(name);
        let known = KNOWN.iter().position(|it| same(it)).map(|at| 1 + at);
        let kept = || self.others.iter().position(|it| it.get().is_some_and(|it| same(it)));
        let index = known.or_else(|| kept().map(|at| 1 + KNOWN.len() + at));
        index.map_or(Tool::OTHER, Self::at)
    }

    /// Returns the name of a tool.
    pub(super) fn name(&self, tool: Tool) -> &str {
        let Some(index) = usize::from(tool.0).checked_sub(1) else { return OTHER };
        let other = || self.others[index - KNOWN.len()].get().map_or(OTHER, |it| it);
        KNOWN.get(index).copied().unwrap_or_else(other)
    }

    fn at(index: usize) -> Tool {
        Tool(u8::try_from(index).expect("there are few of them"))
    }
}
