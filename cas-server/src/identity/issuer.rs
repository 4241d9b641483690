//! An issuer of JWTs: its keys, what it says of somebody, and what is granted for that.

use std::path::PathBuf;
use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::jwks::{Keys, KeysError};
use super::jwt::JwtError;
use super::rule::{Claims, Rule};
use crate::caller::Caller;
use crate::config::path;
use crate::reload::{Reloaded, Unreadable};

/// The longest name that somebody has by a JWT, in bytes: GitHub's and GitLab's subjects are half as long.
const SUBJECT_BYTES_MAX: usize = 512;

/// An issuer of JWTs, and what is granted to whom.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// What it is called here: callers are named `jwt:<name>:<subject>`.
    #[serde(deserialize_with = "crate::config::plain_name")]
    pub name: String,
    /// The file of its public keys, a JSON Web Key Set.
    #[serde(deserialize_with = "path")]
    pub keys: PathBuf,
    /// What `iss` has to be.
    pub issuer: String,
    /// What `aud` has to be, or to have among it.
    pub audience: String,
    /// The claim that names whom it is about.
    #[serde(default = "subject")]
    pub subject: String,
    /// What is granted to whom. The first that fits counts.
    pub rule: Vec<Rule>,
}

fn subject() -> String {
    "sub".to_owned()
}

/// What is wrong with an issuer.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// Its keys cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// There are no keys.
    #[error("the keys of the issuer `{name}` should be in {}, which is not there", path.display())]
    Missing {
        /// The issuer.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// Its keys make no sense.
    #[error("{} has no keys of the issuer `{name}`", path.display())]
    Keys {
        /// The issuer.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: KeysError,
    },
}

impl IssuerError {
    /// Returns whether somebody can mend it in a file.
    pub fn is_mistake(&self) -> bool {
        match self {
            Self::Unreadable(error) => error.is_mistake(),
            Self::Missing { .. } | Self::Keys { .. } => true,
        }
    }
}

/// An issuer, with its keys as they are now.
pub(super) struct Issuer {
    pub(super) config: IssuerConfig,
    pub(super) keys: Arc<Reloaded<Keys, IssuerError>>,
}

impl Issuer {
    /// Reads its keys, again whenever they change.
    pub(super) fn open(config: &IssuerConfig) -> Result<Self, IssuerError> {
        let (name, path) = (config.name.clone(), config.keys.clone());
        let keys = Reloaded::open("keys of an issuer", vec![path.clone()], move |contents| {
            let (name, path) = (name.clone(), path.clone());
            match &contents[0] {
                None => Err(IssuerError::Missing { name, path }),
                Some(bytes) => {
                    Keys::parse(bytes).map_err(|source| IssuerError::Keys { name, path, source })
                }
            }
        })?;
        Ok(Self { config: config.clone(), keys: Arc::new(keys) })
    }

    /// Returns what a JWT says, if that is signed by this issuer and for this audience. Its time is not looked at.
    pub(super) fn verify(&self, jwt: &str, keys: &Keys) -> Result<Map<String, Value>, JwtError> {
        let header = decode_header(jwt).ok().ok_or(JwtError::Malformed)?;
        if header.crit.is_some() {
            return Err(JwtError::Critical);
        }
        let key = keys.find(header.kid.as_deref(), header.alg).ok_or(JwtError::Key)?;
        let mut validation = Validation::new(header.alg);
        validation.set_required_spec_claims(&["iss", "aud"]);
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_audience(&[&self.config.audience]);
        // Time is looked at whenever it is shown, and not only when it is checked; and whether it says one, by who does so:
        // what numbers the library takes depends on how the rest of the program has JSON read.
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        Ok(decode(jwt, key, &validation).map_err(|error| refused(&error))?.claims)
    }

    /// Returns who it is of whom that is said.
    pub(super) fn caller(&self, said: &Claims) -> Result<Arc<Caller>, JwtError> {
        let claim = &self.config.subject;
        let is_name = |name: &&String| {
            (1..=SUBJECT_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
        };
        let subject = said.get(claim).and_then(|values| values.first()).filter(is_name);
        let subject = subject.ok_or_else(|| JwtError::Claim(claim.clone()))?;
        let mut grants = self.config.rule.iter().filter_map(|rule| rule.apply(said));
        let grant = grants.next().ok_or(JwtError::NoRule)??;
        Ok(Arc::new(Caller::new(&format!("jwt:{}:{subject}", self.config.name), &grant)))
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else is wrong, nothing is proven")]
fn refused(error: &jsonwebtoken::errors::Error) -> JwtError {
    match error.kind() {
        ErrorKind::InvalidIssuer => JwtError::Issuer,
        ErrorKind::InvalidAudience => JwtError::Audience,
        ErrorKind::MissingRequiredClaim(name) => JwtError::Claim(name.clone()),
        ErrorKind::Base64(_) | ErrorKind::Json(_) | ErrorKind::Utf8(_) => JwtError::Malformed,
        _ => JwtError::Signature,
    }
}

/// Returns the claims that rules can be about: texts, numbers, truths, and lists of these.
pub(super) fn said_of(claims: &Map<String, Value>) -> Claims {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    let texts = |value: &Value| match value {
        Value::Array(all) => all.iter().filter_map(text).collect(),
        one @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Object(_)) => text(one).into_iter().collect(),
    };
    claims.iter().map(|(name, value)| (name.clone(), texts(value))).collect()
}
