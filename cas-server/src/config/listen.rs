//! Where a server listens, and that nobody gets in from there who should not.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;

use super::{Config, ConfigError, DEFAULT_PORT, text};

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

impl Default for Listen {
    fn default() -> Self {
        Self { tcp: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT))], unix: None }
    }
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
    /// Returns the addresses that other machines may reach.
    pub fn exposed(&self) -> Option<Exposed> {
        let addresses: Vec<_> = self.listen.beyond_loopback().collect();
        (!addresses.is_empty()).then_some(Exposed(addresses))
    }

    /// Returns whether callers can be known by certificates.
    pub(crate) fn knows_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.client_authority.is_some())
    }

    /// Fails if what it says contradicts itself, if the store would set aside something else of it, or if other machines could do something without saying who they are and nobody
    /// said in words that they may.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.listen.tcp.is_empty() && self.listen.unix.is_none() {
            return Err(ConfigError::NoListener);
        }
        let revokes = self.tls.as_ref().is_some_and(|tls| tls.client_revocations.is_some());
        if (revokes || !self.identity.certificates.is_empty()) && !self.knows_certificates() {
            return Err(ConfigError::NoClientAuthority);
        }
        self.check_apart()?;
        let Some(addresses) = self.exposed() else { return Ok(()) };
        let rights = self.identity.anonymous.rights;
        match (self.identity.allow_unauthenticated_beyond_loopback, rights.is_empty()) {
            (false, false) => Err(ConfigError::Unauthenticated { addresses, rights }),
            (true, true) => Err(ConfigError::NoAnonymousRights),
            (true, false) | (false, true) => Ok(()),
        }
    }
}
