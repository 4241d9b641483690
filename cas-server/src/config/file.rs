//! The file as it is written, and what comes of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::text::{self, namespace, period, size};
use super::{
    Acknowledge, Config, ConfigError, IdentityConfig, Limits, Listen, StoreConfig, TelemetryConfig,
    TlsConfig,
};
use crate::identity::{IssuerConfig, Rule};
use crate::rights::{Grant, Rights};

/// How many issuers of JWTs there may be: each is a company's or a forge's.
const ISSUERS_MAX: usize = 64;

/// The file, word by word. What is said here once is what holds by default.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    #[serde(deserialize_with = "text::optional_path")]
    root: Option<PathBuf>,
    #[serde(deserialize_with = "period::<_, 0, 86_400>")]
    drain: Duration,
    listen: Listen,
    store: StoreFile,
    tls: Option<TlsConfig>,
    identity: IdentityFile,
    limits: Limits,
    assets: AssetsFile,
    telemetry: TelemetryConfig,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AssetsFile {
    #[serde(deserialize_with = "text::origins")]
    fetch: Vec<String>,
}

impl Default for File {
    fn default() -> Self {
        Self {
            root: None,
            // What Kubernetes and systemd give a process before they kill it.
            drain: Duration::from_secs(30),
            listen: Listen::default(),
            store: StoreFile::default(),
            tls: None,
            identity: IdentityFile::default(),
            limits: Limits::default(),
            assets: AssetsFile::default(),
            telemetry: TelemetryConfig::default(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StoreFile {
    #[serde(deserialize_with = "text::optional_path")]
    path: Option<PathBuf>,
    #[serde(
        deserialize_with = "size::<_, { StoreConfig::BUDGET_MIN }, { StoreConfig::BUDGET_MAX }>"
    )]
    budget: u64,
    acknowledge: Acknowledge,
    #[serde(deserialize_with = "period::<_, 60, 604_800>")]
    lease: Duration,
}

impl Default for StoreFile {
    fn default() -> Self {
        Self {
            path: None,
            budget: 100 << 30,
            acknowledge: Acknowledge::Written,
            lease: store::LEASE_TIME,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct IdentityFile {
    #[serde(deserialize_with = "text::optional_path")]
    tokens: Option<PathBuf>,
    jwt: Vec<IssuerConfig>,
    certificate: Vec<Rule>,
    anonymous: Option<AnonymousFile>,
    allow_unauthenticated_beyond_loopback: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnonymousFile {
    rights: Rights,
    #[serde(default = "text::trusted", deserialize_with = "namespace")]
    namespace: store::Namespace,
}

impl Config {
    pub(super) fn of_file(
        file: File,
        path: Option<&Path>,
        root: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let folder = path.and_then(Path::parent).unwrap_or(Path::new(""));
        let from_here = |path: PathBuf| folder.join(path);
        let root = file.root.map(from_here).or_else(|| root.map(Path::to_owned));
        let root = root.ok_or(ConfigError::NoRoot)?;
        let mut tls = file.tls;
        for path in tls.iter_mut().flat_map(TlsConfig::paths) {
            *path = folder.join(&*path);
        }
        let mut issuers = file.identity.jwt;
        for issuer in &mut issuers {
            issuer.keys = folder.join(&issuer.keys);
        }
        check_issuers(&issuers)?;
        let mut listen = file.listen;
        listen.unix = listen.unix.map(from_here);
        let anonymous = anonymous(file.identity.anonymous, &listen);
        let mut telemetry = file.telemetry;
        telemetry.otlp_authority = telemetry.otlp_authority.map(from_here);
        let config = Self {
            file: path.map(Path::to_owned),
            store: StoreConfig {
                path: file.store.path.map_or_else(|| root.join("store"), from_here),
                budget: file.store.budget,
                acknowledge: file.store.acknowledge,
                lease: file.store.lease,
            },
            tls,
            identity: IdentityConfig {
                tokens: file.identity.tokens.map_or_else(|| root.join("tokens.toml"), from_here),
                issuers,
                certificates: file.identity.certificate,
                anonymous,
                allow_unauthenticated_beyond_loopback: file
                    .identity
                    .allow_unauthenticated_beyond_loopback,
            },
            limits: file.limits,
            origins: file.assets.fetch,
            drain: file.drain,
            telemetry,
            root,
            listen,
        };
        config.check()?;
        Ok(config)
    }
}

impl TlsConfig {
    fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let always = [&mut self.certificate, &mut self.key];
        always.into_iter().chain(&mut self.client_authority).chain(&mut self.client_revocations)
    }
}

/// Returns what is granted to whoever says nothing of himself.
///
/// Where only this machine can call, it is a developer's, and everything. Where others can, somebody has to say it: behind a
/// proxy, or on a machine where builds of strangers run, callers from loopback are no better than any.
fn anonymous(said: Option<AnonymousFile>, listen: &Listen) -> Grant {
    let (rights, namespace) = match said {
        Some(said) => (said.rights, said.namespace),
        None if listen.beyond_loopback().next().is_none() => (Rights::ALL, text::trusted()),
        None => (Rights::default(), text::trusted()),
    };
    Grant::new(rights, namespace, &[]).expect("nothing is read besides")
}

fn check_issuers(issuers: &[IssuerConfig]) -> Result<(), ConfigError> {
    if issuers.len() > ISSUERS_MAX {
        return Err(ConfigError::ManyIssuers { count: issuers.len(), allowed: ISSUERS_MAX });
    }
    for (at, issuer) in issuers.iter().enumerate() {
        let same =
            |other: &&IssuerConfig| other.name == issuer.name || other.issuer == issuer.issuer;
        if issuers[..at].iter().find(same).is_some() {
            return Err(ConfigError::SameIssuer { name: issuer.name.clone() });
        }
    }
    Ok(())
}
