//! An authority of certificates for one server and those who use it: a folder with its key, its certificate, what it issued and
//! what of that it revoked.
//!
//! The server needs the certificate and the list of what is revoked. The key can be kept elsewhere, and is needed only to issue
//! and to revoke.

mod error;
mod index;
mod issue;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData as _, RevokedCertParams, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::identity::{random_hex, seconds};
use crate::reload;
use crate::replace::{Exclusive, PUBLIC_MODE, SECRET_MODE, replace};
use index::{INDEX, Index};

pub use error::AuthorityError;
pub use index::{IssuedCertificate, IssuedRole};
pub use issue::{Issued, Role};

/// The files of an authority.
const CERTIFICATE: &str = "ca.pem";
const KEY: &str = "ca.key";
const REVOCATIONS: &str = "ca.crl";

/// How far back certificates begin: clocks differ.
const BACKDATED: Duration = Duration::from_secs(5 * 60);

/// How long an authority lasts at most: after a century nobody remembers where its key is.
const LIFETIME_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// An authority of certificates.
pub struct Authority {
    folder: PathBuf,
}

impl Authority {
    /// Returns the authority in that folder, which need not be there yet.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Returns the file of its certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join(CERTIFICATE)
    }

    /// Returns the file of its key.
    pub fn key(&self) -> PathBuf {
        self.folder.join(KEY)
    }

    /// Returns the file that lists what is revoked.
    pub fn revocations(&self) -> PathBuf {
        self.folder.join(REVOCATIONS)
    }

    /// Makes the authority, with a new key. One that is there already is not overwritten.
    pub fn init(&self, now: SystemTime, lifetime: Duration) -> Result<(), AuthorityError> {
        let _exclusive = Exclusive::wait(&self.folder.join(INDEX))?;
        for path in [self.certificate(), self.key()] {
            if fs::symlink_metadata(&path).is_ok() {
                return Err(AuthorityError::Taken(path));
            }
        }
        let end = end_of(now, lifetime, LIFETIME_MAX)?;
        let key = KeyPair::generate()?;
        let certificate = own_certificate(now, end)?.self_signed(&key)?;
        replace(&self.key(), key.serialize_pem().as_bytes(), SECRET_MODE)?;
        replace(&self.certificate(), certificate.pem().as_bytes(), PUBLIC_MODE)?;
        self.publish(&mut Index::default(), now)
    }

    /// Takes their rights from all certificates with that name or number that have not ended. A running server knows within a
    /// second or two. Returns their numbers.
    pub fn revoke(&self, name: &str, now: SystemTime) -> Result<Vec<String>, AuthorityError> {
        let _exclusive = Exclusive::wait(&self.folder.join(INDEX))?;
        let mut index = self.index()?;
        let revoked = index.revoke(name, seconds(now));
        if revoked.is_empty() {
            return Err(AuthorityError::NoSuchCertificate(name.to_owned()));
        }
        self.publish(&mut index, now)?;
        Ok(revoked)
    }

    /// Returns what it issued and has not ended, by name.
    pub fn list(&self) -> Result<Vec<IssuedCertificate>, AuthorityError> {
        let mut all = self.index()?.certificate;
        all.sort_by(|one, other| one.name.cmp(&other.name).then(one.created.cmp(&other.created)));
        Ok(all)
    }

    fn index(&self) -> Result<Index, AuthorityError> {
        let path = self.folder.join(INDEX);
        match reload::read_text(&path) {
            Ok(text) => Index::parse(&path, &text),
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => {
                Err(AuthorityError::Missing(self.folder.clone()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Writes what was issued, and the list of what is revoked. What has ended is forgotten.
    fn publish(&self, index: &mut Index, now: SystemTime) -> Result<(), AuthorityError> {
        index.forget_ended(seconds(now));
        index.lists += 1;
        let Signer { issuer, not_after } = self.signer()?;
        let list = CertificateRevocationListParams {
            this_update: moment(seconds(now)),
            // There is a new list whenever something is revoked, and no other time: each holds as long as the authority.
            next_update: moment(not_after.max(seconds(now) + 1)),
            crl_number: SerialNumber::from_slice(&index.lists.to_be_bytes()),
            issuing_distribution_point: None,
            revoked_certs: index.revoked().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&issuer)?.pem()?;
        // What was issued is known before the list that may name it is there.
        replace(&self.folder.join(INDEX), index.to_toml()?.as_bytes(), SECRET_MODE)?;
        Ok(replace(&self.revocations(), list.as_bytes(), PUBLIC_MODE)?)
    }

    /// Returns what signs.
    fn signer(&self) -> Result<Signer, AuthorityError> {
        let key = KeyPair::from_pem(&reload::read_text(&self.key())?)
            .map_err(|source| AuthorityError::Key { path: self.key(), source })?;
        let path = self.certificate();
        let pem = reload::read(&path)?;
        let der = CertificateDer::from_pem_slice(&pem)
            .map_err(|source| AuthorityError::Pem { path: path.clone(), source })?;
        let (_, read) = X509Certificate::from_der(&der)
            .map_err(|source| AuthorityError::Certificate { path, source })?;
        if read.public_key().raw != key.subject_public_key_info() {
            let (key, certificate) = (self.key(), self.certificate());
            return Err(AuthorityError::OtherKey { key, certificate });
        }
        let not_after = read.validity().not_after.timestamp();
        Ok(Signer {
            not_after: u64::try_from(not_after).unwrap_or(0),
            issuer: Issuer::from_ca_cert_der(&der, key)?,
        })
    }
}

struct Signer {
    issuer: Issuer<'static, KeyPair>,
    not_after: u64,
}

/// Returns what the authority says of itself. Its name is one that nothing it issues can have: where both have the same,
/// programs take what it issued for signed by itself.
fn own_certificate(now: SystemTime, end: u64) -> Result<CertificateParams, AuthorityError> {
    let mut certificate = CertificateParams::default();
    let name = format!("bld authority {}", random_hex::<4>()?);
    certificate.distinguished_name = rcgen::DistinguishedName::new();
    certificate.distinguished_name.push(DnType::CommonName, name);
    certificate.serial_number = Some(new_serial()?);
    certificate.not_before = moment(seconds(now - BACKDATED));
    certificate.not_after = moment(end);
    certificate.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    certificate.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(certificate)
}

fn revoked((serial, at): (Vec<u8>, u64)) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: SerialNumber::from_slice(&serial),
        revocation_time: moment(at),
        reason_code: None,
        invalidity_date: None,
    }
}

/// Returns a number that no other certificate has: 126 random bits, positive and without leading zeros, so that there is one way
/// to write it.
fn new_serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(crate::identity::NoRandomness::from)?;
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn end_of(now: SystemTime, lifetime: Duration, max: Duration) -> Result<u64, AuthorityError> {
    if lifetime.is_zero() || lifetime > max {
        return Err(AuthorityError::Lifetime { lifetime, max });
    }
    Ok(seconds(now + lifetime))
}

/// Returns a moment, in seconds since 1970, as `rcgen` has it.
fn moment(seconds: u64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::from_secs(seconds)
}
