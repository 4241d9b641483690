//! What somebody may do, and where what he says is written and read.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use store::Namespace;

/// Something that a caller may do, or may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Read blobs and values.
    Read,
    /// Write blobs.
    WriteBlobs,
    /// Write values: results of actions and whatever else is believed because somebody said so.
    WriteValues,
    /// Have actions executed.
    Execute,
    /// See what others do, purge, scrub.
    Administer,
}

impl Right {
    /// All there are.
    pub const ALL: [Self; 5] =
        [Self::Read, Self::WriteBlobs, Self::WriteValues, Self::Execute, Self::Administer];

    /// Returns its name, as people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::WriteBlobs => "write-blobs",
            Self::WriteValues => "write-values",
            Self::Execute => "execute",
            Self::Administer => "administer",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text is no right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no right; there are `read`, `write-blobs`, `write-values`, `execute` and `administer`"
)]
pub struct UnknownRight(String);

impl FromStr for Right {
    type Err = UnknownRight;

    fn from_str(text: &str) -> Result<Self, UnknownRight> {
        let known = Self::ALL.into_iter().find(|right| right.name() == text);
        known.ok_or_else(|| UnknownRight(text.to_owned()))
    }
}

/// What an identity may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each right is granted by itself")]
pub struct Rights {
    /// Read blobs and values.
    pub read: bool,
    /// Write blobs.
    pub write_blobs: bool,
    /// Write values: results of actions and whatever else is believed because somebody said so.
    pub write_values: bool,
    /// Have actions executed.
    pub execute: bool,
    /// See what others do, purge, scrub.
    pub administer: bool,
}

impl Rights {
    /// Every right there is.
    pub const ALL: Self =
        Self { read: true, write_blobs: true, write_values: true, execute: true, administer: true };

    /// Returns whether `right` is among them.
    pub fn allow(self, right: Right) -> bool {
        match right {
            Right::Read => self.read,
            Right::WriteBlobs => self.write_blobs,
            Right::WriteValues => self.write_values,
            Right::Execute => self.execute,
            Right::Administer => self.administer,
        }
    }

    /// Returns whether there are none.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Returns them one by one.
    pub fn iter(self) -> impl Iterator<Item = Right> {
        Right::ALL.into_iter().filter(move |right| self.allow(*right))
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(all: I) -> Self {
        let mut rights = Self::default();
        for right in all {
            match right {
                Right::Read => rights.read = true,
                Right::WriteBlobs => rights.write_blobs = true,
                Right::WriteValues => rights.write_values = true,
                Right::Execute => rights.execute = true,
                Right::Administer => rights.administer = true,
            }
        }
        rights
    }
}

impl FromStr for Rights {
    type Err = UnknownRight;

    /// Parses rights with commas between them; an empty text is none.
    fn from_str(text: &str) -> Result<Self, UnknownRight> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        text.split(',').map(|name| name.trim().parse::<Right>()).collect()
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, right) in self.iter().enumerate() {
            write!(f, "{}{right}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl Serialize for Rights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Right::name))
    }
}

impl<'de> Deserialize<'de> for Rights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        names
            .iter()
            .map(|name| name.parse::<Right>())
            .collect::<Result<_, _>>()
            .map_err(serde::de::Error::custom)
    }
}

/// What is granted to somebody: rights, and the namespaces where they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What he may do.
    pub rights: Rights,
    /// Where what he says is written.
    pub namespace: Namespace,
    /// Whose word he takes, best first: his own, then up the order of trust.
    pub reads: Arc<[Namespace]>,
}

/// A namespace that is not above another cannot be read from there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{namespace}` cannot read `{other}`: reads go up, from `pr/<name>` to `branch/<name>`, from both to `trusted`"
)]
pub struct NotAbove {
    /// Where it would be read.
    pub namespace: Namespace,
    /// What is not above it.
    pub other: Namespace,
}

impl Grant {
    /// Returns what is granted in `namespace`, which reads those of `above`, too: a pull request its base branch, say.
    pub fn new(
        rights: Rights,
        namespace: Namespace,
        above: &[Namespace],
    ) -> Result<Self, NotAbove> {
        let mut reads = vec![namespace.clone()];
        for other in above {
            let goes_up =
                matches!((&namespace, other), (Namespace::PullRequest(_), Namespace::Branch(_)));
            // Its own and what is trusted it reads anyway.
            if !goes_up && !namespace.reads().contains(other) {
                return Err(NotAbove { namespace, other: other.clone() });
            }
            if goes_up && !reads.contains(other) {
                reads.push(other.clone());
            }
        }
        let always = namespace.reads().into_iter().filter(|it| *it != namespace);
        reads.extend(always);
        Ok(Self { rights, namespace, reads: reads.into() })
    }

    /// Returns what it reads besides what everybody in its namespace reads.
    pub fn above(&self) -> Vec<Namespace> {
        let always = self.namespace.reads();
        self.reads.iter().filter(|it| !always.contains(it)).cloned().collect()
    }
}
