//! What an authority issued, and what of that it revoked.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::AuthorityError;
use crate::config::TomlError;
use crate::rights::Rights;

/// The file.
pub(super) const INDEX: &str = "issued.toml";

/// What stands at the top of it.
const HEADER: &str = "# Written by `bld server ca`: what was issued and has not ended. Times are seconds since 1970.\n\n";

/// The file as it is written.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Index {
    /// How many lists of what is revoked there were: each has a number above that of the one before.
    pub(super) lists: u64,
    #[serde(default)]
    pub(super) certificate: Vec<IssuedCertificate>,
}

/// A certificate that was issued. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuedCertificate {
    /// Its number, in hexadecimal digits.
    #[serde(deserialize_with = "serial")]
    pub serial: String,
    /// Whose it is.
    pub name: String,
    /// What it says of its holder.
    pub role: IssuedRole,
    /// When it was issued.
    pub created: u64,
    /// When it ends.
    pub expires: u64,
    /// When it was revoked, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<u64>,
    /// The namespace that it grants rights in, if it is a client's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The namespaces that it may read besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<String>,
    /// The rights that it grants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rights: Option<Rights>,
    /// The names and addresses that it is for, if it is a server's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}

/// What a certificate says of its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IssuedRole {
    /// He calls.
    Client,
    /// He is called.
    Server,
}

/// How many bytes a number has.
const SERIAL_BYTES: usize = 16;

fn serial<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if bytes(&text).is_some() {
        return Ok(text);
    }
    Err(serde::de::Error::custom(format_args!(
        "the `serial` of a certificate is {} hexadecimal digits",
        SERIAL_BYTES * 2
    )))
}

/// Returns the bytes of a number.
fn bytes(serial: &str) -> Option<Vec<u8>> {
    if serial.len() != SERIAL_BYTES * 2 || !serial.is_ascii() {
        return None;
    }
    let digits = |at| u8::from_str_radix(&serial[at..at + 2], 16).ok();
    (0..serial.len()).step_by(2).map(digits).collect()
}

impl Index {
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, AuthorityError> {
        Ok(toml::from_str(text).map_err(|error| TomlError::new(path, text, &error))?)
    }

    pub(super) fn to_toml(&self) -> Result<String, AuthorityError> {
        Ok(format!("{HEADER}{}", toml::to_string(self)?))
    }

    /// Forgets what has ended: nobody takes it any more, revoked or not.
    pub(super) fn forget_ended(&mut self, now: u64) {
        self.certificate.retain(|it| it.expires > now);
    }

    /// Revokes all with that name or number. Returns their numbers.
    pub(super) fn revoke(&mut self, name: &str, now: u64) -> Vec<String> {
        let meant = |it: &&mut IssuedCertificate| {
            (it.name == name || it.serial == name) && it.revoked.is_none() && it.expires > now
        };
        let revoke = |it: &mut IssuedCertificate| {
            it.revoked = Some(now);
            it.serial.clone()
        };
        self.certificate.iter_mut().filter(meant).map(revoke).collect()
    }

    /// Returns the numbers of what is revoked, and when it was.
    pub(super) fn revoked(&self) -> impl Iterator<Item = (Vec<u8>, u64)> {
        let number = |it: &IssuedCertificate| {
            Some((bytes(&it.serial).expect("it was checked when it was read"), it.revoked?))
        };
        self.certificate.iter().filter_map(number)
    }
}
