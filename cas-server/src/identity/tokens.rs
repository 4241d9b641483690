//! The file of tokens. It holds hashes, never the tokens themselves.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::refusal::Unauthenticated;
use super::secret::{NoRandomness, Secret, TokenId, new_token, token_id};
use super::token::{InvalidToken, Token};
use crate::caller::Caller;
use crate::config::{Period, TomlError};
use crate::reload::{self, Reloaded, Unreadable};
use crate::replace::{Exclusive, ReplaceError, SECRET_MODE, replace};
use crate::rights::Grant;

/// How many tokens a server has at most: those of a large company's machines and people, with room.
const TOKENS_MAX: usize = 20_000;

/// How long a token lasts at most, if it ends at all: after a century nobody remembers who has it.
const LIFETIME_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// What stands at the top of the file.
const HEADER: &str = "\
# Written by `bld server token`, which makes, lists and revokes these. Times are seconds since 1970.
# The tokens themselves are not here, only hashes of them. A running server reads this file again when it changes.

";

/// What is wrong with tokens.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The file cannot be written.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
    /// The file is no text.
    #[error("{} is not a text in UTF-8", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Where it is none.
        source: std::str::Utf8Error,
    },
    /// The file is not of this form.
    #[error(transparent)]
    Toml(#[from] TomlError),
    /// What should be written cannot be.
    #[error("the tokens cannot be written as TOML")]
    Unwritable(#[from] toml::ser::Error),
    /// There are too many.
    #[error("there are {0} tokens, and {TOKENS_MAX} are allowed: revoke those that nobody needs")]
    Many(usize),
    /// Two have the same public part.
    #[error("{} has two tokens with the id {id}", path.display())]
    SameId {
        /// The file.
        path: PathBuf,
        /// The public part.
        id: TokenId,
    },
    /// There is one of that name.
    #[error("there is a token named `{0}` already: revoke it, or choose another name")]
    Taken(String),
    /// There is none of that name.
    #[error("there is no token named `{name}` in {}", path.display())]
    NoSuchToken {
        /// The name.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// It would last too long, or not at all.
    #[error("{} is no time for a token to last: it can be up to {}, or never end", Period(*lifetime), Period(LIFETIME_MAX))]
    Lifetime {
        /// How long it would.
        lifetime: Duration,
    },
    /// One cannot be made so.
    #[error(transparent)]
    Invalid(#[from] InvalidToken),
    /// None can be made.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl TokenError {
    /// Returns whether somebody can mend it by asking otherwise, or in a file.
    pub fn is_mistake(&self) -> bool {
        match self {
            Self::Unreadable(error) => error.is_mistake(),
            Self::Replace(_) | Self::Unwritable(_) | Self::NoRandomness(_) => false,
            Self::NotText { .. }
            | Self::Toml(_)
            | Self::Many(_)
            | Self::SameId { .. }
            | Self::Lifetime { .. }
            | Self::Taken(_)
            | Self::NoSuchToken { .. }
            | Self::Invalid(_) => true,
        }
    }
}

/// The file as it is written.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<Token>,
}

fn parse(path: &Path, bytes: Option<&[u8]>) -> Result<Vec<Token>, TokenError> {
    let text = std::str::from_utf8(bytes.unwrap_or_default())
        .map_err(|source| TokenError::NotText { path: path.to_owned(), source })?;
    let file: File = toml::from_str(text).map_err(|error| TomlError::new(path, text, &error))?;
    if file.token.len() > TOKENS_MAX {
        return Err(TokenError::Many(file.token.len()));
    }
    let mut seen = HashSet::new();
    match file.token.iter().find(|token| !seen.insert(token.id())) {
        Some(twice) => Err(TokenError::SameId { path: path.to_owned(), id: twice.id().clone() }),
        None => Ok(file.token),
    }
}

/// The tokens that a server takes.
pub(crate) struct Tokens(HashMap<TokenId, Token>);

impl Tokens {
    /// Reads a file, again whenever it changes. One that is not there holds none, and whoever removes it revokes all.
    pub(crate) fn watch(path: &Path) -> Result<Reloaded<Self, TokenError>, TokenError> {
        let named = path.to_owned();
        Reloaded::open("tokens", vec![path.to_owned()], move |contents| {
            let all = parse(&named, contents[0].as_deref())?;
            Ok(Self(all.into_iter().map(|token| (token.id().clone(), token)).collect()))
        })
    }

    /// Returns whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether a text has the form of a token of ours.
    pub(crate) fn could_be_one(shown: &Secret) -> bool {
        token_id(shown).is_some()
    }

    /// Returns who shows a token.
    pub(crate) fn caller(
        &self,
        shown: &Secret,
        now: SystemTime,
    ) -> Result<Arc<Caller>, Unauthenticated> {
        let token = token_id(shown).and_then(|id| self.0.get(&id));
        let known = token.and_then(|token| Some((token, token.caller(shown)?)));
        // Whether there is a token with this public part, nobody learns who does not know the rest.
        let (token, caller) = known.ok_or(Unauthenticated::UnknownToken)?;
        if token.is_expired(now) {
            return Err(Unauthenticated::Expired);
        }
        Ok(Arc::clone(caller))
    }
}

/// The file of tokens, for commands that change it.
pub struct TokenFile {
    path: PathBuf,
}

impl TokenFile {
    /// Returns the file at `path`, which need not exist.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns all tokens, by name.
    pub fn list(&self) -> Result<Vec<Token>, TokenError> {
        let bytes = match reload::read(&self.path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let mut all = parse(&self.path, bytes.as_deref())?;
        all.sort_by(|one, other| one.name().cmp(other.name()));
        Ok(all)
    }

    /// Makes a token, and forgets those that have expired. Returns what is kept of it, and the token: it cannot be had again.
    pub fn create(
        &self,
        name: &str,
        grant: Grant,
        now: SystemTime,
        lifetime: Option<Duration>,
    ) -> Result<(Token, Secret), TokenError> {
        if let Some(lifetime) = lifetime.filter(|it| it.is_zero() || *it > LIFETIME_MAX) {
            return Err(TokenError::Lifetime { lifetime });
        }
        let _exclusive = Exclusive::wait(&self.path)?;
        let mut all = self.list()?;
        all.retain(|token| !token.is_expired(now));
        if all.iter().any(|token| token.name() == name) {
            return Err(TokenError::Taken(name.to_owned()));
        }
        if all.len() == TOKENS_MAX {
            return Err(TokenError::Many(TOKENS_MAX + 1));
        }
        let (id, secret) = new_token()?;
        let token = Token::new(name, grant, now, lifetime, (id, &secret))?;
        all.push(token.clone());
        self.write(all)?;
        Ok((token, secret))
    }

    /// Takes a token away from whoever holds it. A running server knows within a second or two.
    pub fn revoke(&self, name: &str) -> Result<(), TokenError> {
        let _exclusive = Exclusive::wait(&self.path)?;
        let mut all = self.list()?;
        let before = all.len();
        all.retain(|token| token.name() != name);
        if all.len() == before {
            let (name, path) = (name.to_owned(), self.path.clone());
            return Err(TokenError::NoSuchToken { name, path });
        }
        self.write(all)
    }

    fn write(&self, token: Vec<Token>) -> Result<(), TokenError> {
        let text = format!("{HEADER}{}", toml::to_string(&File { token })?);
        Ok(replace(&self.path, text.as_bytes(), SECRET_MODE)?)
    }
}
