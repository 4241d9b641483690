//! `bld.toml`: what a workspace says of itself.

use std::collections::BTreeMap;

use model::DigestFunction;
use serde::Deserialize;

use crate::diagnostic::suggest;

/// The file at the root of every workspace.
pub const CONFIG_FILE: &str = "bld.toml";

/// What `bld.toml` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The function that names everything in this workspace.
    pub function: DigestFunction,
    /// The values that `select` may ask for: name to allowed values, the first being the default.
    pub settings: BTreeMap<String, Vec<String>>,
    /// Debian mirrors to use in place of the machine's own sources.
    pub mirrors: Vec<Mirror>,
    /// A folder of the workspace that stands in for the embedded `@rules`.
    pub rules: Option<model::RelativePath>,
    /// Where results are shared.
    pub remote: Option<RemoteConfig>,
}

/// Where results are shared. Paths are meant from the workspace's root; no secret stands here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteConfig {
    /// Where it is: `grpc://host:port`, `grpcs://…`, `unix:/path`.
    pub url: String,
    /// Which of its instances; for `bld server`, the project.
    #[serde(default)]
    pub instance: String,
    /// Whether what is made is uploaded, by who may.
    #[serde(default = "yes")]
    pub upload: bool,
    /// The file that holds the token.
    pub token_file: Option<String>,
    /// The program that knows the token: a name or an absolute path, so that no workspace brings its own.
    pub credential_helper: Option<String>,
    /// The certificates of who is believed; the system's if absent.
    pub ca_file: Option<String>,
    /// This machine's certificate.
    pub certificate: Option<String>,
    /// The key of that.
    pub key: Option<String>,
    /// Never: everybody reads this file.
    token: Option<Forbidden>,
}

/// Something that is there to be refused with words of its own, and without a look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Forbidden;

impl<'de> Deserialize<'de> for Forbidden {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// A Debian mirror.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// Where it is: `http:`, `https:` or `file:`.
    pub url: String,
    /// Its suites.
    pub suites: Vec<String>,
    /// Its components.
    #[serde(default = "main_component")]
    pub components: Vec<String>,
    /// The keyring that signs it; the machine's trusted keys if absent.
    pub signed_by: Option<String>,
}

/// What is wrong with a `bld.toml`.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is not TOML, or not of this form.
    #[error("bld.toml cannot be read")]
    Toml(#[from] toml::de::Error),
    /// It names a digest function that `bld` does not speak.
    #[error("bld.toml names a digest function that cannot be used")]
    Function(#[from] model::ParseDigestError),
    /// A setting has no values.
    #[error("the setting `{0}` in bld.toml has no values: list what it may be, the default first")]
    NoValues(String),
    /// A path leads out of the workspace.
    #[error("`rules` in bld.toml is not a folder of the workspace")]
    Rules(#[from] model::InvalidPath),
    /// Everybody could read a secret.
    #[error(
        "`token` under [remote] in bld.toml: everybody reads that file, so name a `token_file` or a `credential_helper` \
         there, or set BLD_REMOTE_TOKEN"
    )]
    Token,
    /// A credential helper would come from the workspace.
    #[error(
        "`credential_helper` in bld.toml is `{0}`: it must be the name of a program of the machine, or an absolute path"
    )]
    Helper(String),
    /// A setting on the command line is not declared.
    #[error("there is no setting `{name}`{suggestion}; bld.toml declares them under [settings]")]
    UnknownSetting {
        /// The name.
        name: String,
        /// Another name that may be meant.
        suggestion: String,
    },
    /// A setting on the command line has a value that is not declared.
    #[error("`{value}` is not a value of the setting `{name}` (they are: {})", allowed.join(", "))]
    UnknownValue {
        /// The setting.
        name: String,
        /// The value.
        value: String,
        /// What it may be.
        allowed: Vec<String>,
    },
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    digest: Option<String>,
    rules: Option<String>,
    settings: BTreeMap<String, Vec<String>>,
    debian: Debian,
    remote: Option<RemoteConfig>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Debian {
    mirrors: Vec<Mirror>,
}

fn yes() -> bool {
    true
}

fn main_component() -> Vec<String> {
    vec!["main".to_owned()]
}

impl Config {
    /// Parses the text of a `bld.toml`.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text)?;
        if let Some((name, _)) = file.settings.iter().find(|(_, values)| values.is_empty()) {
            return Err(ConfigError::NoValues(name.clone()));
        }
        if let Some(RemoteConfig { token: Some(Forbidden), .. }) = &file.remote {
            return Err(ConfigError::Token);
        }
        if let Some(RemoteConfig { credential_helper: Some(helper), .. }) = &file.remote
            && helper.contains('/')
            && !helper.starts_with('/')
        {
            return Err(ConfigError::Helper(helper.clone()));
        }
        Ok(Self {
            remote: file.remote,
            function: file.digest.as_deref().unwrap_or("blake3").parse()?,
            settings: file.settings,
            mirrors: file.debian.mirrors,
            rules: file.rules.map(model::RelativePath::new).transpose()?,
        })
    }

    /// Returns the value of every setting: its default, or what `chosen` says.
    pub fn choose(
        &self,
        chosen: &[(String, String)],
    ) -> Result<BTreeMap<String, String>, ConfigError> {
        let mut values: BTreeMap<_, _> =
            self.settings.iter().map(|(name, values)| (name.clone(), values[0].clone())).collect();
        for (name, value) in chosen {
            let Some(allowed) = self.settings.get(name) else {
                let suggestion = suggest(name, self.settings.keys());
                return Err(ConfigError::UnknownSetting { name: name.clone(), suggestion });
            };
            if !allowed.contains(value) {
                let (name, value, allowed) = (name.clone(), value.clone(), allowed.clone());
                return Err(ConfigError::UnknownValue { name, value, allowed });
            }
            values.insert(name.clone(), value.clone());
        }
        Ok(values)
    }
}
