//! The certificate that the other end of a connection shows, and which are revoked.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};

use super::granted::{self, GrantedError};
use super::rule::{Claims, Rule, RuleError};
use super::token::seconds;
use crate::caller::Caller;
use crate::reload::{Reloaded, Unreadable};

/// The longest name that somebody has by a certificate, in bytes.
const NAME_BYTES_MAX: usize = 512;

/// What tells a certificate from all others: who issued it, and its number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Number {
    issuer: Vec<u8>,
    serial: Vec<u8>,
}

/// What the certificate says that the other end of a connection showed. Its signatures were checked when the connection was made.
#[derive(Clone, Debug)]
pub struct PeerCertificate {
    number: Number,
    not_before: u64,
    not_after: u64,
    claims: Claims,
}

/// Why a certificate is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Malformed,
    /// It was revoked.
    #[error("it was revoked")]
    Revoked,
    /// Its time is over, or has not come.
    #[error("it has expired, or is not valid yet")]
    Expired,
    /// It has no name.
    #[error("it names nobody: it has no common name")]
    Nameless,
    /// It is genuine, and grants nothing.
    #[error("no rule of this server is about what it says")]
    NoRule,
    /// A rule makes no sense of what it says.
    #[error("a rule of this server makes no sense of it: {0}")]
    Rule(#[from] RuleError),
    /// It does not say what it grants.
    #[error(transparent)]
    Granted(#[from] GrantedError),
}

impl PeerCertificate {
    /// Reads a certificate whose signatures were checked.
    pub fn parse(der: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let (rest, read) =
            X509Certificate::from_der(der).ok().ok_or(CertificateError::Malformed)?;
        if !rest.is_empty() {
            return Err(CertificateError::Malformed);
        }
        let validity = read.validity();
        let second = |moment: i64| u64::try_from(moment).unwrap_or(0);
        Ok(Self {
            number: Number {
                issuer: read.issuer().as_raw().to_vec(),
                serial: read.raw_serial().to_vec(),
            },
            not_before: second(validity.not_before.timestamp()),
            not_after: second(validity.not_after.timestamp()),
            claims: claims(&read)?,
        })
    }
}

/// Returns what a certificate says of its holder: `common_name`, `organization`, `organizational_unit`, `dns`, `uri`, `email`.
fn claims(read: &X509Certificate<'_>) -> Result<Claims, CertificateError> {
    let mut claims = Claims::new();
    let mut say = |claim: &str, value: &str| {
        claims.entry(claim.to_owned()).or_default().push(value.to_owned());
    };
    let subject = read.subject();
    for (claim, attributes) in [
        ("common_name", subject.iter_common_name().collect::<Vec<_>>()),
        ("organization", subject.iter_organization().collect()),
        ("organizational_unit", subject.iter_organizational_unit().collect()),
    ] {
        attributes.iter().filter_map(|it| it.as_str().ok()).for_each(|value| say(claim, value));
    }
    let names = read.subject_alternative_name().ok().ok_or(CertificateError::Malformed)?;
    for name in names.iter().flat_map(|it| &it.value.general_names) {
        match name {
            GeneralName::DNSName(value) => say("dns", value),
            GeneralName::URI(value) => say("uri", value),
            GeneralName::RFC822Name(value) => say("email", value),
            GeneralName::OtherName(..)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::IPAddress(_)
            | GeneralName::RegisteredID(_)
            | GeneralName::Invalid(..) => {}
        }
    }
    Ok(claims)
}

/// What is wrong with a list of revoked certificates.
#[derive(Debug, thiserror::Error)]
pub enum RevocationsError {
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// It is not there.
    #[error("{} is not there: it should list revoked certificates", .0.display())]
    Missing(PathBuf),
    /// It is not PEM.
    #[error("{} is not a certificate revocation list in PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// It is not such a list.
    #[error("{} is not a certificate revocation list", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: x509_parser::error::X509Error,
    },
}

impl RevocationsError {
    /// Returns whether somebody can mend it in a file.
    pub fn is_mistake(&self) -> bool {
        match self {
            Self::Unreadable(error) => error.is_mistake(),
            Self::Missing(_) | Self::Pem { .. } | Self::Malformed { .. } => true,
        }
    }
}

/// Certificates that are revoked.
///
/// Whoever makes a connection with one is turned away there. Connections last, so each call is checked as well.
pub(crate) struct Revocations(HashSet<Number>);

impl Revocations {
    /// Reads a file, again whenever it changes.
    pub(crate) fn watch(path: &Path) -> Result<Reloaded<Self, RevocationsError>, RevocationsError> {
        let named = path.to_owned();
        Reloaded::open("revoked certificates", vec![path.to_owned()], move |contents| {
            let bytes = contents[0].as_deref();
            let bytes = bytes.ok_or_else(|| RevocationsError::Missing(named.clone()))?;
            Self::parse(&named, bytes)
        })
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, RevocationsError> {
        let mut all = HashSet::new();
        for list in CertificateRevocationListDer::pem_slice_iter(bytes) {
            let list =
                list.map_err(|source| RevocationsError::Pem { path: path.to_owned(), source })?;
            let (_, list) = CertificateRevocationList::from_der(&list).map_err(|source| {
                let source = match source {
                    x509_parser::nom::Err::Error(it) | x509_parser::nom::Err::Failure(it) => it,
                    x509_parser::nom::Err::Incomplete(_) => x509_parser::error::X509Error::Generic,
                };
                RevocationsError::Malformed { path: path.to_owned(), source }
            })?;
            let issuer = list.issuer().as_raw();
            all.extend(
                list.iter_revoked_certificates()
                    .map(|it| Number { issuer: issuer.to_vec(), serial: it.raw_serial().to_vec() }),
            );
        }
        Ok(Self(all))
    }
}

/// What holders of certificates may do.
pub(crate) struct Certificates {
    rules: Vec<Rule>,
    revocations: Option<Arc<Reloaded<Revocations, RevocationsError>>>,
}

impl Certificates {
    pub(crate) fn open(rules: &[Rule], revoked: Option<&Path>) -> Result<Self, RevocationsError> {
        let revocations = revoked.map(Revocations::watch).transpose()?.map(Arc::new);
        Ok(Self { rules: rules.to_vec(), revocations })
    }

    /// Returns the list of revoked ones, which has to be looked at again and again.
    pub(crate) fn refresher(&self) -> Option<Arc<dyn crate::reload::Refresh>> {
        self.revocations.clone().map(|it| it as Arc<dyn crate::reload::Refresh>)
    }

    /// Returns whose a certificate is.
    pub(crate) fn caller(
        &self,
        shown: &PeerCertificate,
        now: SystemTime,
    ) -> Result<Arc<Caller>, CertificateError> {
        let now = seconds(now);
        if now < shown.not_before || now > shown.not_after {
            return Err(CertificateError::Expired);
        }
        if self.revocations.as_ref().is_some_and(|it| it.get().0.contains(&shown.number)) {
            return Err(CertificateError::Revoked);
        }
        let is_name = |name: &&String| {
            (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
        };
        let names = shown.claims.get("common_name");
        let name = names.and_then(|it| it.first()).filter(is_name);
        let name = name.ok_or(CertificateError::Nameless)?;
        let grant = if self.rules.is_empty() {
            // Whoever writes rules has an authority that knows nothing of our rights, and may sign any name that is asked for.
            granted::of(shown.claims.get("uri").map(Vec::as_slice).unwrap_or_default())?
        } else {
            let mut grants = self.rules.iter().filter_map(|rule| rule.apply(&shown.claims));
            grants.next().ok_or(CertificateError::NoRule)??
        };
        Ok(Arc::new(Caller::new(&format!("certificate:{name}"), &grant)))
    }
}
