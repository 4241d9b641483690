//! `bld-server.toml`: what an operator says of a server, with what holds where he says nothing.

mod apart;
mod error;
mod file;
mod limits;
mod listen;
mod telemetry;
mod text;

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::ByteSize;
use serde::Deserialize;

use crate::identity::{IssuerConfig, Rule};
use crate::reload;
use crate::rights::Grant;
use file::File;
use text::within;
pub(crate) use text::{path, plain_name};

pub use error::{ConfigError, TomlError};
pub use limits::Limits;
pub use listen::{Exposed, Listen};
pub use telemetry::{LogFormat, LogLevel, TelemetryConfig};
pub use text::{NotAPeriod, OutOfBounds, Period};

/// The file that says how a server behaves; without one everything is as it is by default.
pub const CONFIG_FILE: &str = "bld-server.toml";

/// The port that a server listens on if nobody says otherwise.
pub const DEFAULT_PORT: u16 = 8980;

/// How a server behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that says so, if one does.
    pub file: Option<PathBuf>,
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

impl StoreConfig {
    /// The least that a store may take: less holds no segment worth the name.
    pub(crate) const BUDGET_MIN: u64 = 64 << 20;

    /// The most that a store may take: what an index on one machine is good for, with much room.
    pub(crate) const BUDGET_MAX: u64 = 1 << 50;
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
        Self::of_file(file, None, Some(root)).expect("the defaults fit together")
    }

    /// Reads a file. What it does not say is as in [`Config::zero`]; its relative paths begin where it lies.
    pub fn read(file: &Path, root: Option<&Path>) -> Result<Self, ConfigError> {
        Self::parse(&reload::read_text(file)?, file, root)
    }

    /// Reads the text of a file.
    pub fn parse(text: &str, file: &Path, root: Option<&Path>) -> Result<Self, ConfigError> {
        let parsed = toml::from_str(text).map_err(|error| TomlError::new(file, text, &error))?;
        Self::of_file(parsed, Some(file), root)
    }

    /// Returns the same for a store that is somewhere else, or may take something else.
    pub fn with_store(
        mut self,
        path: Option<&Path>,
        budget: Option<ByteSize>,
    ) -> Result<Self, ConfigError> {
        if let Some(path) = path {
            path.clone_into(&mut self.store.path);
        }
        if let Some(ByteSize(budget)) = budget {
            let (min, max) = (StoreConfig::BUDGET_MIN, StoreConfig::BUDGET_MAX);
            self.store.budget = within(budget, min, max, ByteSize).map_err(ConfigError::Budget)?;
        }
        self.check()?;
        Ok(self)
    }
}
