//! `bld-server.toml`: what an operator says of a server, with what holds where he says nothing.

mod error;
mod listen;
mod text;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::identity::{IssuerConfig, Rule};
use crate::reload;
use crate::rights::{Grant, Rights};
use text::{count, namespace, period, size};
pub(crate) use text::{path, plain_name};

pub use error::{ConfigError, TomlError};
pub use listen::{Exposed, Listen};
pub use text::{NotAPeriod, Period};

/// The file that says how a server behaves; without one everything is as it is by default.
pub const CONFIG_FILE: &str = "bld-server.toml";

/// The port that a server listens on if nobody says otherwise.
pub const DEFAULT_PORT: u16 = 8980;

/// How many issuers of JWTs there may be: each is a company's or a forge's.
const ISSUERS_MAX: usize = 64;

/// How a server behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder of all that the server keeps, where nothing else is said of it.
    pub root: PathBuf,
    /// Where it listens.
    pub listen: Listen,
    /// How it keeps things.
    pub store: StoreConfig,
    /// Its certificate and whose certificates it takes; without it nothing is encrypted.
    pub tls: Option<TlsConfig>,
    /// How callers are known.
    pub identity: IdentityConfig,
    /// How much of anything it takes.
    pub limits: Limits,
    /// From below which addresses it fetches what its clients ask for, by the Remote Asset API: from nowhere by default.
    pub origins: Vec<String>,
    /// How long what is under way when it is told to end may take to finish.
    pub drain: Duration,
    /// How it tells what it does.
    pub telemetry: TelemetryConfig,
}

/// How a server keeps things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// The folder of its store.
    pub path: PathBuf,
    /// What the store may take on the disk, in bytes.
    pub budget: u64,
    /// What is promised when a write was acknowledged.
    pub acknowledge: Acknowledge,
    /// How long what a build was told exists stays after the last that was heard of that build.
    pub lease: Duration,
}

/// What is promised when a write was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Acknowledge {
    /// It survives the end of the server, however sudden, but not that of the machine until it is committed.
    Written,
    /// It survives the end of the machine.
    Committed,
}

/// A certificate, and whose certificates are taken.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The server's certificate and those between it and a root, in PEM.
    #[serde(deserialize_with = "path")]
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    #[serde(deserialize_with = "path")]
    pub key: PathBuf,
    /// Who issues certificates for clients, in PEM; without it none is asked for.
    #[serde(default, deserialize_with = "text::optional_path")]
    pub client_authority: Option<PathBuf>,
    /// Which of those are revoked, in PEM.
    #[serde(default, deserialize_with = "text::optional_path")]
    pub client_revocations: Option<PathBuf>,
}

/// How callers are known.
#[derive(Clone, Debug)]
pub struct IdentityConfig {
    /// The file of tokens, which need not exist.
    pub tokens: PathBuf,
    /// Whose JWTs are taken.
    pub issuers: Vec<IssuerConfig>,
    /// What holders of certificates may do. If empty, certificates that `bld server ca` issued say so themselves.
    pub certificates: Vec<Rule>,
    /// What is granted to whoever says nothing of himself.
    pub anonymous: Grant,
    /// Whether that is granted to other machines, too.
    pub allow_unauthenticated_beyond_loopback: bool,
}

/// How much of anything a server takes. Every number has a default and bounds; none means "as much as you like".
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The largest message, in bytes.
    #[serde(deserialize_with = "size::<_, { 64 << 10 }, { 64 << 20 }>")]
    pub message: u64,
    /// The largest blob, in bytes.
    #[serde(deserialize_with = "size::<_, { 1 << 20 }, { 1 << 44 }>")]
    pub blob: u64,
    /// How many connections are open at once.
    #[serde(deserialize_with = "count::<_, 1, 1_000_000>")]
    pub connections: u64,
    /// How many calls of one identity are under way at once.
    #[serde(deserialize_with = "count::<_, 1, 1_000_000>")]
    pub streams_per_identity: u64,
    /// How many bytes of one identity are in memory at once.
    #[serde(deserialize_with = "size::<_, { 1 << 20 }, { 1 << 40 }>")]
    pub bytes_in_flight_per_identity: u64,
    /// How many names a directory may have.
    #[serde(deserialize_with = "count::<_, 1, 10_000_000>")]
    pub directory_width: u64,
    /// How deep a tree may be.
    #[serde(deserialize_with = "count::<_, 1, 4096>")]
    pub directory_depth: u64,
    /// How many times as large as what was sent a blob may turn out to be.
    #[serde(deserialize_with = "count::<_, 1, 1_000_000>")]
    pub decompression_ratio: u64,
}

impl Limits {
    /// Returns the largest message that fits into this machine's memory at all.
    pub(crate) fn message_bytes(&self) -> usize {
        usize::try_from(self.message).unwrap_or(usize::MAX)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Clients send up to 4 MiB by default; a batch has that many bytes of blobs, and names besides.
            message: 16 << 20,
            // The largest images of machines, with room.
            blob: 1 << 40,
            connections: 10_000,
            // 64 clients that share a token, each with as many calls as they make at once by default.
            streams_per_identity: 8192,
            bytes_in_flight_per_identity: 1 << 30,
            // The largest folders of packages have some 30,000 names.
            directory_width: 100_000,
            // No path is longer than that on Linux (`PATH_MAX`, a name of one byte each).
            directory_depth: 2_048,
            // zstd makes 128 KiB of zeros four bytes, and images of disks are full of those. A blob says how large it is,
            // and is no larger than `blob`: this one only ends early what claims to be huge and is nothing.
            decompression_ratio: 50_000,
        }
    }
}

/// How a server tells what it does.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// Where traces are sent, by OTLP over gRPC; nowhere if absent.
    pub otlp: Option<String>,
    /// What is logged.
    pub log: LogLevel,
    /// How.
    pub format: LogFormat,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { otlp: None, log: LogLevel::Info, format: LogFormat::Text }
    }
}

/// What is logged: this and what is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What somebody has to look after.
    Error,
    /// What somebody may have to look after.
    Warn,
    /// What happens to the server.
    Info,
    /// What happens to each call.
    Debug,
    /// Everything.
    Trace,
}

/// How lines of the log look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: a line of JSON each.
    Json,
}

/// The file, word by word. What is said here once is what holds by default.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
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
    #[serde(deserialize_with = "size::<_, { 64 << 20 }, { 1 << 50 }>")]
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
            // What Bazel believes of a result that it was told of.
            lease: Duration::from_secs(3 * 60 * 60),
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

/// Returns the folder of all that a server keeps, if nobody says otherwise: in that of the user's data, which, unlike a cache,
/// nobody clears away.
pub fn default_root(data_home: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let data = data_home.or_else(|| Some(home?.join(".local/share")))?;
    Some(data.join("bld-server"))
}

impl Config {
    /// Returns how a server behaves of which nobody says anything: it keeps everything below `root`.
    pub fn zero(root: &Path) -> Self {
        let file = File::default();
        Self::of_file(file, Path::new(""), Some(root)).expect("the defaults fit together")
    }

    /// Reads a file. What it does not say is as in [`Config::zero`]; its relative paths begin where it lies.
    pub fn read(file: &Path, root: Option<&Path>) -> Result<Self, ConfigError> {
        Self::parse(&reload::read_text(file)?, file, root)
    }

    /// Reads the text of a file.
    pub fn parse(text: &str, file: &Path, root: Option<&Path>) -> Result<Self, ConfigError> {
        let parsed = toml::from_str(text).map_err(|error| TomlError::new(file, text, &error))?;
        let folder = file.parent().unwrap_or(Path::new(""));
        Self::of_file(parsed, folder, root)
    }

    fn of_file(file: File, folder: &Path, root: Option<&Path>) -> Result<Self, ConfigError> {
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
        let config = Self {
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
            telemetry: file.telemetry,
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

impl Default for Listen {
    fn default() -> Self {
        Self { tcp: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT))], unix: None }
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
