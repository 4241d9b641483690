//! Where a server listens, and that nobody gets in from there who should not.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::{Config, ConfigError, text};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// Addresses and ports; port 0 is one that is free.
    #[serde(deserialize_with = "text::addresses")]
    pub tcp: Vec<SocketAddr>,
    /// A socket on this machine.
    #[serde(deserialize_with = "text::optional_path")]
    pub unix: Option<PathBuf>,
}

impl Listen {
    /// Returns the addresses that other machines may reach.
    pub fn beyond_loopback(&self) -> impl Iterator<Item = SocketAddr> {
        self.tcp.iter().copied().filter(|address| !address.ip().to_canonical().is_loopback())
    }
}

/// Addresses that other machines may reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed(Vec<SocketAddr>);

impl fmt::Display for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, address) in self.0.iter().enumerate() {
            write!(f, "{}{address}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl Config {
    /// Returns the addresses where secrets would travel unencrypted between machines.
    pub fn unencrypted_beyond_loopback(&self) -> Option<Exposed> {
        let exposed: Vec<_> = self.listen.beyond_loopback().collect();
        (self.tls.is_none() && !exposed.is_empty()).then_some(Exposed(exposed))
    }

    /// Fails if other machines could do something without saying who they are and nobody said in words that they may, or if
    /// nobody could say who he is. `knows_tokens` says whether there is a token that somebody could show.
    pub(crate) fn check_exposure(&self, knows_tokens: bool) -> Result<(), ConfigError> {
        let addresses: Vec<_> = self.listen.beyond_loopback().collect();
        if addresses.is_empty() {
            return Ok(());
        }
        let (addresses, identity) = (Exposed(addresses), &self.identity);
        let rights = identity.anonymous.rights;
        match (identity.allow_unauthenticated_beyond_loopback, rights.is_empty()) {
            (false, false) => Err(ConfigError::Unauthenticated { addresses, rights }),
            (true, true) => Err(ConfigError::NoAnonymousRights),
            (true, false) => Ok(()),
            (false, true) => {
                if knows_tokens || self.knows_certificates() || !identity.issuers.is_empty() {
                    return Ok(());
                }
                Err(ConfigError::Nobody { addresses, tokens: identity.tokens.clone() })
            }
        }
    }

    fn knows_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.client_authority.is_some())
    }

    /// Fails if what it says contradicts itself.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.listen.tcp.is_empty() && self.listen.unix.is_none() {
            return Err(ConfigError::NoListener);
        }
        let revokes = self.tls.as_ref().is_some_and(|tls| tls.client_revocations.is_some());
        if (revokes || !self.identity.certificates.is_empty()) && !self.knows_certificates() {
            return Err(ConfigError::NoClientAuthority);
        }
        Ok(())
    }
}
