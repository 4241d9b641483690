//! Where a result comes from, and so who may believe it.

use std::fmt;
use std::str::FromStr;

use crate::{InvalidNamespace, Namespace};

/// Who said what an action made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// This machine, which ran it.
    Local,
    /// A remote that has no order of trust: it is believed by whoever named it.
    Remote,
    /// A remote, to somebody who writes in this namespace there.
    Namespace(Namespace),
}

impl Provenance {
    /// Returns whether a build believes it whose remote gives results of `own` provenance.
    ///
    /// What builds of a branch or pull request were told counts for no others: a stranger may have said so.
    pub fn is_believed(&self, own: &Self) -> bool {
        match self {
            Self::Local | Self::Remote | Self::Namespace(Namespace::Trusted) => true,
            Self::Namespace(Namespace::Branch(_) | Namespace::PullRequest(_)) => self == own,
        }
    }

    /// Returns whether every build believes it.
    pub fn is_believed_by_all(&self) -> bool {
        self.is_believed(&Self::Local)
    }
}

/// `local`, `remote`, or the namespace.
impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Remote => f.write_str("remote"),
            Self::Namespace(namespace) => namespace.fmt(f),
        }
    }
}

impl FromStr for Provenance {
    type Err = InvalidNamespace;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "local" => Ok(Self::Local),
            "remote" => Ok(Self::Remote),
            other => other.parse().map(Self::Namespace),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pull_request_was_told_counts_only_for_it() {
        let parse = |text: &str| text.parse::<Provenance>().unwrap();
        for everybodys in ["local", "remote", "trusted"] {
            assert_eq!(parse(everybodys).to_string(), everybodys);
            for own in ["local", "remote", "trusted", "branch/x", "pr/17"] {
                assert!(parse(everybodys).is_believed(&parse(own)), "{everybodys} by {own}");
            }
        }
        for own in ["local", "remote", "trusted", "branch/x", "pr/18"] {
            assert!(!parse("pr/17").is_believed(&parse(own)), "{own}");
        }
        assert!(parse("pr/17").is_believed(&parse("pr/17")));
        assert!(!parse("branch/a b").is_believed_by_all());
    }
}
