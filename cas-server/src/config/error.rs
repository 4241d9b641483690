//! What is wrong with a file of ours, in words that say where and what would be right.

use std::path::{Path, PathBuf};

use model::ByteSize;

use super::{Exposed, OutOfBounds};
use crate::reload::Unreadable;
use crate::rights::Rights;

/// How many letters a known name may differ from an unknown one to be meant by it.
const DISTANCE_MAX: usize = 3;

/// What is wrong with how a server shall behave.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The file is not of this form.
    #[error(transparent)]
    Toml(#[from] TomlError),
    /// Nobody says where it keeps what it keeps.
    #[error(
        "cannot tell where the server keeps what it keeps: neither HOME nor XDG_DATA_HOME is set; say it in \
         bld-server.toml, as in `root = \"/var/lib/bld-server\"` (--store names the folder of the store alone)"
    )]
    NoRoot,
    /// Something of the operator's lies where the store sets aside what is not its own.
    #[error(
        "{what} is {}, in the folder of the store, {}, which sets aside whatever it did not put there: say another \
         place, or give the store a folder for itself, as in `store.path = {:?}` (or --store)",
        path.display(), store.display(), store.join("store")
    )]
    InStore {
        /// What it is.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// The folder of the store.
        store: PathBuf,
    },
    /// The store may not be so small, or so large.
    #[error("the budget of the store cannot be that")]
    Budget(#[source] OutOfBounds<ByteSize>),
    /// It listens nowhere.
    #[error("the server would listen nowhere: `listen.tcp` or `listen.unix` says where")]
    NoListener,
    /// Something is said of certificates that nobody would check.
    #[error(
        "`identity.certificate` and `tls.client_revocations` are about certificates of clients, and none is asked for: \
         `tls.client_authority` names who issues them"
    )]
    NoClientAuthority,
    /// Other machines could do something without saying who they are.
    #[error(
        "other machines can reach {addresses}, and without saying who they are they would have the rights {rights}: \
         listen on 127.0.0.1, set `identity.anonymous.rights = []`, or say in words \
         `identity.allow_unauthenticated_beyond_loopback = true`"
    )]
    Unauthenticated {
        /// Where.
        addresses: Exposed,
        /// What they could do.
        rights: Rights,
    },
    /// It was said in words that others may do something, but not what.
    #[error(
        "`identity.allow_unauthenticated_beyond_loopback` lets other machines in that do not say who they are; \
         `identity.anonymous.rights` has to say what for, as in `[\"read\"]`"
    )]
    NoAnonymousRights,
    /// There are too many issuers.
    #[error("`identity.jwt` names {count} issuers, and {allowed} are allowed")]
    ManyIssuers {
        /// How many.
        count: usize,
        /// How many may be.
        allowed: usize,
    },
    /// Two issuers cannot be told apart.
    #[error("`identity.jwt` has another issuer with the name or the `issuer` of `{name}`")]
    SameIssuer {
        /// The name of one.
        name: String,
    },
}

impl ConfigError {
    /// Returns whether somebody can mend it in a file.
    pub fn is_mistake(&self) -> bool {
        match self {
            Self::Unreadable(error) => error.is_mistake(),
            Self::Toml(_)
            | Self::NoRoot
            | Self::InStore { .. }
            | Self::Budget(_)
            | Self::NoListener
            | Self::NoClientAuthority
            | Self::Unauthenticated { .. }
            | Self::NoAnonymousRights
            | Self::ManyIssuers { .. }
            | Self::SameIssuer { .. } => true,
        }
    }
}

/// A file is not TOML, or not of the form that it should have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {}{problem}{hint}", path.display(), of_key(key.as_deref()))]
pub struct TomlError {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The key whose value is wrong, if it is one.
    pub key: Option<String>,
    /// What is wrong, and what is allowed.
    pub problem: String,
    /// What may have been meant.
    pub hint: String,
}

fn of_key(key: Option<&str>) -> String {
    key.map(|key| format!("`{key}`: ")).unwrap_or_default()
}

impl TomlError {
    /// Says what is wrong with `text`, which stands in `path`. The line itself is not shown: it may hold what nobody should read.
    pub(crate) fn new(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let at = error.span().map_or(0, |span| span.start).min(text.len());
        let line = 1 + text[..at].matches('\n').count();
        Self {
            path: path.to_owned(),
            line,
            key: key_of(error),
            problem: error.message().trim_end().to_owned(),
            hint: hint(error.message()),
        }
    }
}

/// Returns the key that the error is about: `toml` tells it only as the last line of what it shows without the text.
fn key_of(error: &toml::de::Error) -> Option<String> {
    let mut error = error.clone();
    error.set_input(None);
    let shown = error.to_string();
    let last = shown.trim_end().lines().last()?;
    Some(last.strip_prefix("in `")?.strip_suffix('`')?.to_owned())
}

/// Returns which of the names that would be allowed is nearest to the one that is not: serde lists both in backquotes.
fn hint(message: &str) -> String {
    let unknown = ["unknown field ", "unknown variant "].iter().any(|it| message.starts_with(it));
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(typed) = quoted.next().filter(|_| unknown) else { return String::new() };
    let allowed = (typed.chars().count() / 3).clamp(1, DISTANCE_MAX);
    let nearest = quoted
        .map(|name| (strsim::damerau_levenshtein(typed, name), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min();
    nearest.map(|(_, name)| format!("; did you mean `{name}`?")).unwrap_or_default()
}
