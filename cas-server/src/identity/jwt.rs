//! JWTs: what an issuer says of somebody, signed, for a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use jsonwebtoken::dangerous::insecure_decode_claims;
use serde::Deserialize;
use serde_json::Value;

use super::issuer::{Issuer, IssuerConfig, IssuerError, said_of};
use super::jwks::Keys;
use super::rule::RuleError;
use super::secret::Secret;
use super::token::seconds;
use crate::caller::Caller;
use crate::reload::Refresh;

/// How far the clocks of issuer and server may be apart, in seconds.
const LEEWAY_SECONDS: u64 = 60;

/// How many JWTs are remembered as checked: those of a day's jobs. Checking one takes as long as answering several calls.
const CHECKED_MAX: usize = 4096;

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

    /// Returns whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.issuers.is_empty()
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

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a moment beyond the end of all times is that end, and none is before 1970"
)]
fn whole(seconds: f64) -> u64 {
    seconds as u64
}
