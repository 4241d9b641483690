//! A token: who holds it, what it grants, until when; and what is kept of it, which is not the token itself.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use store::{InvalidNamespace, Namespace};

use super::name::{self, InvalidName};
use super::secret::{Secret, TokenHash, TokenId};
use crate::caller::Caller;
use crate::rights::{Grant, NotAbove, Rights};

/// What is kept of a token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Line", into = "Line")]
pub struct Token {
    id: TokenId,
    name: String,
    grant: Grant,
    caller: Arc<Caller>,
    created: u64,
    expires: Option<u64>,
    hash: TokenHash,
}

/// A token as its file has it. Times are seconds since 1970.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: TokenId,
    name: String,
    hash: TokenHash,
    namespace: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    reads: Vec<String>,
    rights: Rights,
    created: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
}

/// What is wrong with a token.
#[derive(Debug, thiserror::Error)]
pub enum InvalidToken {
    /// A name cannot be one.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A namespace is none.
    #[error(transparent)]
    Namespace(#[from] InvalidNamespace),
    /// Its namespaces do not fit together.
    #[error(transparent)]
    NotAbove(#[from] NotAbove),
}

impl Token {
    /// Returns what is kept of a token that is made for `name` now.
    pub(crate) fn new(
        name: &str,
        grant: Grant,
        now: SystemTime,
        lifetime: Option<Duration>,
        (id, secret): (TokenId, &Secret),
    ) -> Result<Self, InvalidToken> {
        name::check(name)?;
        let created = seconds(now);
        Ok(Self {
            caller: caller(name, &grant),
            id,
            name: name.to_owned(),
            grant,
            created,
            expires: lifetime.map(|it| created.saturating_add(it.as_secs())),
            hash: TokenHash::of(secret),
        })
    }

    /// Returns its public part.
    pub fn id(&self) -> &TokenId {
        &self.id
    }

    /// Returns whose it is, or what for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what it grants.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Returns when it was made, in seconds since 1970.
    pub fn created(&self) -> u64 {
        self.created
    }

    /// Returns when it ends, in seconds since 1970, if it does.
    pub fn expires(&self) -> Option<u64> {
        self.expires
    }

    /// Returns whether it has ended.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|end| seconds(now) >= end)
    }

    /// Returns who shows it, if that is it.
    pub(crate) fn caller(&self, shown: &Secret) -> Option<&Arc<Caller>> {
        self.hash.matches(&TokenHash::of(shown)).then_some(&self.caller)
    }
}

impl TryFrom<Line> for Token {
    type Error = InvalidToken;

    fn try_from(line: Line) -> Result<Self, InvalidToken> {
        name::check(&line.name)?;
        let parse = |text: &String| text.parse::<Namespace>();
        let above = line.reads.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let grant = Grant::new(line.rights, parse(&line.namespace)?, &above)?;
        Ok(Self {
            caller: caller(&line.name, &grant),
            id: line.id,
            name: line.name,
            grant,
            created: line.created,
            expires: line.expires,
            hash: line.hash,
        })
    }
}

impl From<Token> for Line {
    fn from(token: Token) -> Self {
        Self {
            id: token.id,
            name: token.name,
            hash: token.hash,
            namespace: token.grant.namespace.to_string(),
            reads: token.grant.above().iter().map(ToString::to_string).collect(),
            rights: token.grant.rights,
            created: token.created,
            expires: token.expires,
        }
    }
}

fn caller(name: &str, grant: &Grant) -> Arc<Caller> {
    Arc::new(Caller::new(&format!("token:{name}"), grant))
}

/// Returns a moment in seconds since 1970.
pub(crate) fn seconds(moment: SystemTime) -> u64 {
    moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
