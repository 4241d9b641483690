//! Why an authority cannot do what it should.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Period, TomlError};
use crate::identity::{InvalidName, NoRandomness};
use crate::reload::Unreadable;
use crate::replace::ReplaceError;

/// What stops an authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// A file cannot be written.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
    /// There is one already.
    #[error("{} is there already: an authority is not overwritten, because all that it issued would be void", .0.display())]
    Taken(PathBuf),
    /// There is none.
    #[error("there is no authority in {}: `bld server ca init` makes one", .0.display())]
    Missing(PathBuf),
    /// What it says of what it issued is not of its form.
    #[error(transparent)]
    Toml(#[from] TomlError),
    /// What it issued cannot be written.
    #[error("what was issued cannot be written as TOML")]
    Unwritable(#[from] toml::ser::Error),
    /// A file is not PEM.
    #[error("{} is not a certificate in PEM", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// A file is no key.
    #[error("{} is not a private key in PEM", path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rcgen::Error,
    },
    /// What would be signed with the key would be nobody's.
    #[error("{} is not the key of {}", key.display(), certificate.display())]
    OtherKey {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        certificate: PathBuf,
    },
    /// A file is no certificate.
    #[error("{} is not a certificate", path.display())]
    Certificate {
        /// Which.
        path: PathBuf,
        /// Why.
        source: x509_parser::nom::Err<x509_parser::error::X509Error>,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    /// There is no randomness for one.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// A name cannot be one.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A name is the authority's.
    #[error("`ca` is the name of the authority's own files: choose another")]
    Reserved,
    /// A server's certificate would be for no address.
    #[error(
        "a server's certificate is for the names or addresses by which it is called: name at least one (`--dns`, `--ip`)"
    )]
    Addressless,
    /// Nobody could call a server so.
    #[error(
        "no server is called `{name}`: a name has letters, digits, `-` and `.`, and may begin with `*.`; an address is \
         told by --ip"
    )]
    ServerName {
        /// The name.
        name: String,
    },
    /// It would last too long, or not at all.
    #[error("{} is no time for a certificate to last: it can be up to {}", Period(*lifetime), Period(*max))]
    Lifetime {
        /// How long it would.
        lifetime: Duration,
        /// How long it may.
        max: Duration,
    },
    /// It would last longer than the authority.
    #[error("the certificate would last longer than the authority that issues it: {} remain", Period(*remaining))]
    Outlives {
        /// How long the authority lasts.
        remaining: Duration,
    },
    /// There is none with that name or number.
    #[error(
        "no certificate with the name or number `{0}` is in use: `bld server ca list` shows them"
    )]
    NoSuchCertificate(String),
}

impl AuthorityError {
    /// Returns whether somebody can mend it by asking otherwise, or in a file.
    pub fn is_mistake(&self) -> bool {
        match self {
            Self::Unreadable(error) => error.is_mistake(),
            Self::Replace(_) | Self::Unwritable(_) | Self::NoRandomness(_) => false,
            Self::Taken(_)
            | Self::Missing(_)
            | Self::Toml(_)
            | Self::Pem { .. }
            | Self::Key { .. }
            | Self::OtherKey { .. }
            | Self::Certificate { .. }
            | Self::Make(_)
            | Self::Name(_)
            | Self::Reserved
            | Self::Addressless
            | Self::ServerName { .. }
            | Self::Lifetime { .. }
            | Self::Outlives { .. }
            | Self::NoSuchCertificate(_) => true,
        }
    }
}
