//! JWTs: what an issuer says of somebody, signed, for a while.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::jwks::{Keys, KeysError};
use super::rule::{Claims, Rule, RuleError};
use super::secret::Secret;
use super::token::seconds;
use crate::caller::Caller;
use crate::config::path;
use crate::reload::{Refresh, Reloaded, Unreadable};

/// How far the clocks of issuer and server may be apart, in seconds.
const LEEWAY_SECONDS: u64 = 60;

/// How many JWTs are remembered as checked: those of a day's jobs. Checking one takes as long as answering several calls.
const CHECKED_MAX: usize = 4096;

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

/// Why a JWT is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// It is none.
    #[error("it is none, or signed in a way that is not taken here")]
    Malformed,
    /// It has something that whoever checks it has to understand, and which is not understood.
    #[error("it has critical headers")]
    Critical,
    /// Nobody here trusts its issuer.
    #[error("its issuer is not known here")]
    Issuer,
    /// No key of its issuer can have made the signature.
    #[error("its issuer has no such key, or not for this algorithm")]
    Key,
    /// The signature is not by its issuer.
    #[error("its signature is wrong")]
    Signature,
    /// It is made for another.
    #[error("it is for another audience")]
    Audience,
    /// A claim is not there, or not of its form.
    #[error("`{0}` is missing or not of its form")]
    Claim(String),
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its time has not come.
    #[error("it is not valid yet")]
    Early,
    /// It is genuine, and grants nothing.
    #[error("no rule of this server is about what it says")]
    NoRule,
    /// A rule makes no sense of its claims.
    #[error("a rule of this server makes no sense of it: {0}")]
    Rule(#[from] RuleError),
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

struct Issuer {
    config: IssuerConfig,
    keys: Arc<Reloaded<Keys, IssuerError>>,
}

/// A JWT that was checked.
struct Checked {
    /// The keys that were its issuer's then: with others it has to be checked again.
    keys: Arc<Keys>,
    issuer: usize,
    caller: Arc<Caller>,
    not_before: u64,
    expires: u64,
}

/// Everybody whose JWTs a server takes.
pub(crate) struct Jwts {
    issuers: Vec<Issuer>,
    /// What was checked lately, by hash. The JWTs themselves are not kept, and nobody can make two with the same hash.
    checked: Mutex<HashMap<blake3::Hash, Checked>>,
}

#[derive(Deserialize)]
struct Unverified {
    iss: String,
}

impl Jwts {
    pub(crate) fn open(configs: &[IssuerConfig]) -> Result<Self, IssuerError> {
        let issuers = configs.iter().map(Issuer::open).collect::<Result<_, _>>()?;
        Ok(Self { issuers, checked: Mutex::default() })
    }

    /// Returns the files that have to be looked at again and again.
    pub(crate) fn refreshers(&self) -> impl Iterator<Item = Arc<dyn Refresh>> {
        self.issuers.iter().map(|it| Arc::clone(&it.keys) as Arc<dyn Refresh>)
    }

    /// Returns who shows a JWT.
    pub(crate) fn caller(&self, shown: &Secret, now: SystemTime) -> Result<Arc<Caller>, JwtError> {
        let (hash, now) = (blake3::hash(shown.reveal().as_bytes()), seconds(now));
        if let Some(known) = self.checked().get(&hash).filter(|it| self.still_holds(it)) {
            return known.at(now);
        }
        let checked = self.check(shown.reveal())?;
        let caller = checked.at(now)?;
        let mut all = self.checked();
        if all.len() >= CHECKED_MAX {
            all.retain(|_, it| it.at(now).is_ok() && self.still_holds(it));
        }
        if all.len() >= CHECKED_MAX {
            // Only what was signed gets in here, so nobody can empty it at will.
            all.clear();
        }
        all.insert(hash, checked);
        Ok(caller)
    }

    fn checked(&self) -> MutexGuard<'_, HashMap<blake3::Hash, Checked>> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn still_holds(&self, checked: &Checked) -> bool {
        Arc::ptr_eq(&checked.keys, &self.issuers[checked.issuer].keys.get())
    }

    fn check(&self, jwt: &str) -> Result<Checked, JwtError> {
        // What it says of its issuer is only used to choose whose keys it is checked with.
        let said: Unverified = insecure_decode_claims(jwt).ok().ok_or(JwtError::Malformed)?;
        let named = |(_, issuer): &(usize, &Issuer)| issuer.config.issuer == said.iss;
        let (at, issuer) = self.issuers.iter().enumerate().find(named).ok_or(JwtError::Issuer)?;
        let keys = issuer.keys.get();
        let claims = issuer.verify(jwt, &keys)?;
        let moment = |name| match claims.get(name).map(Value::as_f64) {
            None => Ok(None),
            Some(Some(seconds)) if seconds.is_sign_positive() => Ok(Some(whole(seconds))),
            Some(_) => Err(JwtError::Claim(String::from(name))),
        };
        Ok(Checked {
            keys,
            issuer: at,
            not_before: moment("nbf")?.unwrap_or(0),
            expires: moment("exp")?.ok_or_else(|| JwtError::Claim("exp".to_owned()))?,
            caller: issuer.caller(&said_of(&claims))?,
        })
    }
}

impl Checked {
    fn at(&self, now: u64) -> Result<Arc<Caller>, JwtError> {
        if now >= self.expires.saturating_add(LEEWAY_SECONDS) {
            Err(JwtError::Expired)
        } else if now.saturating_add(LEEWAY_SECONDS) < self.not_before {
            Err(JwtError::Early)
        } else {
            Ok(Arc::clone(&self.caller))
        }
    }
}

impl Issuer {
    fn open(config: &IssuerConfig) -> Result<Self, IssuerError> {
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
    fn verify(&self, jwt: &str, keys: &Keys) -> Result<Map<String, Value>, JwtError> {
        let header = decode_header(jwt).ok().ok_or(JwtError::Malformed)?;
        if header.crit.is_some() {
            return Err(JwtError::Critical);
        }
        let key = keys.find(header.kid.as_deref(), header.alg).ok_or(JwtError::Key)?;
        let mut validation = Validation::new(header.alg);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_audience(&[&self.config.audience]);
        // Time is looked at whenever it is shown, and not only when it is checked.
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        Ok(decode(jwt, key, &validation).map_err(|error| refused(&error))?.claims)
    }

    fn caller(&self, said: &Claims) -> Result<Arc<Caller>, JwtError> {
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
fn said_of(claims: &Map<String, Value>) -> Claims {
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

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a moment beyond the end of all times is that end, and none is before 1970"
)]
fn whole(seconds: f64) -> u64 {
    seconds as u64
}
