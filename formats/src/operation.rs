//! The operations of `compose`, as its key spells them.

use std::borrow::Cow;

use model::{RelativePath, SymlinkTarget};
use serde::{Deserialize, Serialize};

use crate::Glob;

/// The most names in a path of an operation: what an archive may have, hung as deep again.
pub(crate) const OPERATION_DEPTH_MAX: usize = 2 * crate::limits::DEPTH_MAX;

/// One change to the tree that is being composed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Operation {
    /// Unites (a part of) an input tree with what is there.
    Merge {
        /// Which of the input trees, counted from 0.
        tree: usize,
        /// What part of it; the root for all.
        #[serde(default, with = "text")]
        from: RelativePath,
        /// Where it goes; the root by default.
        #[serde(default, with = "text")]
        to: RelativePath,
        /// Who wins where the two differ.
        #[serde(default)]
        on_conflict: OnConflict,
        /// Whether top-level directories such as `bin` of the incoming tree go to `usr/bin`.
        #[serde(default)]
        usr_merged: bool,
    },
    /// Moves the directories `bin`, `sbin`, `lib`… into `usr` and leaves links in their places.
    UsrMerge {},
    /// Takes away whatever fits one of the patterns.
    Remove {
        /// The patterns.
        paths: Vec<Glob>,
    },
    /// Puts a symbolic link, in the place of a file or link if there is one.
    Link {
        /// Where it is.
        #[serde(with = "text")]
        path: RelativePath,
        /// Where it leads.
        #[serde(with = "text")]
        target: SymlinkTarget,
    },
    /// Puts a file, in the place of a file or link if there is one.
    File {
        /// Where it is.
        #[serde(with = "text")]
        path: RelativePath,
        /// What it holds.
        text: String,
        /// Whether it may be executed.
        #[serde(default)]
        executable: bool,
    },
    /// Makes a directory, unless it is there.
    Directory {
        /// Where it is.
        #[serde(with = "text")]
        path: RelativePath,
    },
}

/// Who wins where two trees say different things of a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// Nobody: the difference is an error.
    #[default]
    Refuse,
    /// What was there before.
    First,
    /// What is being merged.
    Last,
}

/// A value of `model` that is written as text.
trait Text: Sized {
    type Error: std::error::Error;
    fn parse(text: String) -> Result<Self, Self::Error>;
    fn text(&self) -> &str;
}

/// Why a path is none for an operation.
#[derive(Debug, thiserror::Error)]
enum InvalidOperationPath {
    #[error(transparent)]
    Path(#[from] model::InvalidPath),
    #[error("a path has more than {OPERATION_DEPTH_MAX} names")]
    Deep,
}

impl Text for RelativePath {
    type Error = InvalidOperationPath;

    fn parse(text: String) -> Result<Self, Self::Error> {
        let path = Self::new(text)?;
        if path.segments().count() > OPERATION_DEPTH_MAX {
            return Err(InvalidOperationPath::Deep);
        }
        Ok(path)
    }

    fn text(&self) -> &str {
        self.as_str()
    }
}

impl Text for SymlinkTarget {
    type Error = model::InvalidTarget;

    fn parse(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }

    fn text(&self) -> &str {
        self.as_str()
    }
}

mod text {
    use super::{Cow, Deserialize, Text};
    use serde::de::Error as _;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<T: Text, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(value.text())
    }

    pub(super) fn deserialize<'de, T: Text, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        T::parse(text.into_owned()).map_err(D::Error::custom)
    }
}
