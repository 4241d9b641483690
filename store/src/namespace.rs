//! Namespaces: whose word a value is, and who may believe it.

use std::fmt;
use std::str::FromStr;

/// The longest name of a branch or pull request, in bytes: git's references are files, whose names have at most 255.
const NAME_BYTES_MAX: usize = 255;

/// How far what is written there can be trusted. Reads go up the order, writes stay in one's own:
/// `trusted` ← `branch/<name>` ← `pr/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Namespace {
    /// Written by those whom everybody believes.
    Trusted,
    /// Written by builds of a branch.
    Branch(String),
    /// Written by builds of a pull request, perhaps a stranger's.
    PullRequest(String),
}

impl Namespace {
    /// Returns the namespaces that it reads, its own first, then those above it.
    ///
    /// A pull request reads no branch but those in `trusted`: nobody says which one it will be merged into.
    pub fn reads(&self) -> Vec<Self> {
        match self {
            Self::Trusted => vec![Self::Trusted],
            Self::Branch(_) | Self::PullRequest(_) => vec![self.clone(), Self::Trusted],
        }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trusted => f.write_str("trusted"),
            Self::Branch(name) => write!(f, "branch/{name}"),
            Self::PullRequest(name) => write!(f, "pr/{name}"),
        }
    }
}

/// The text is no namespace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no namespace; there are `trusted`, `branch/<name>` and `pr/<name>`")]
pub struct InvalidNamespace(String);

impl FromStr for Namespace {
    type Err = InvalidNamespace;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidNamespace(text.to_owned());
        if text == "trusted" {
            return Ok(Self::Trusted);
        }
        let (kind, name) = text.split_once('/').ok_or_else(invalid)?;
        let is_plain = |name: &str| !name.chars().any(char::is_control);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !is_plain(name) {
            return Err(invalid());
        }
        match kind {
            "branch" => Ok(Self::Branch(name.to_owned())),
            "pr" => Ok(Self::PullRequest(name.to_owned())),
            _ => Err(invalid()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_read_back_and_anything_else_is_refused() {
        for text in ["trusted", "branch/main", "branch/feature/x", "pr/17"] {
            assert_eq!(text.parse::<Namespace>().map(|it| it.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "branch", "branch/", "pr/", "Trusted", "tag/1", "pr/a\nb"] {
            text.parse::<Namespace>().unwrap_err();
        }
    }

    #[test]
    fn only_what_is_trusted_is_read_from_outside_ones_own() {
        let branch = Namespace::Branch("main".to_owned());
        let pull_request = Namespace::PullRequest("17".to_owned());
        assert_eq!(Namespace::Trusted.reads(), [Namespace::Trusted]);
        assert_eq!(branch.reads(), [branch.clone(), Namespace::Trusted]);
        assert_eq!(pull_request.reads(), [pull_request.clone(), Namespace::Trusted]);
    }
}
