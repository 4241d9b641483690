//! Issuing: a key and a certificate for somebody.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::DnsName;

use super::index::{INDEX, IssuedCertificate, IssuedRole};
use super::{Authority, AuthorityError, BACKDATED, Signer, end_of, moment, new_serial};
use crate::identity::{check_name, granted_uri, seconds};
use crate::replace::{Exclusive, PUBLIC_MODE, SECRET_MODE, replace};
use crate::rights::Grant;

/// How long a certificate lasts at most: what browsers and companies take from others.
const LIFETIME_MAX: Duration = Duration::from_secs(398 * 24 * 60 * 60);

/// What somebody is to be certified as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// One who calls, with what is granted to him.
    Client(Grant),
    /// One who is called, by these names and addresses.
    Server {
        /// The names.
        names: Vec<String>,
        /// The addresses.
        addresses: Vec<IpAddr>,
    },
}

impl Role {
    /// Returns how long its certificates last unless somebody says otherwise: a week for those that many hold and lose.
    pub fn lifetime(&self) -> Duration {
        let days = match self {
            Self::Client(_) => 7,
            Self::Server { .. } => 30,
        };
        Duration::from_secs(days * 24 * 60 * 60)
    }
}

/// What was issued, and where it lies.
#[derive(Clone, Debug)]
pub struct Issued {
    /// What the authority remembers of it.
    pub certificate: IssuedCertificate,
    /// The file of the certificate.
    pub certificate_file: PathBuf,
    /// The file of its key.
    pub key_file: PathBuf,
}

impl Authority {
    /// Makes a key and a certificate for `name`, and puts both into `folder`, in place of those that were there.
    pub fn issue(
        &self,
        name: &str,
        role: &Role,
        now: SystemTime,
        lifetime: Duration,
        folder: &Path,
    ) -> Result<Issued, AuthorityError> {
        check_name(name)?;
        if name == "ca" {
            return Err(AuthorityError::Reserved);
        }
        let _exclusive = Exclusive::wait(&self.folder.join(INDEX))?;
        let mut index = self.index()?;
        let Signer { issuer, not_after } = self.signer()?;
        let end = end_of(now, lifetime, LIFETIME_MAX)?;
        if end > not_after {
            let remaining = Duration::from_secs(not_after.saturating_sub(seconds(now)));
            return Err(AuthorityError::Outlives { remaining });
        }
        let params = params(name, role, now, end)?;
        let key = KeyPair::generate()?;
        let signed = params.signed_by(&key, &issuer)?;

        // Remembered first: what was issued and is not remembered could not be revoked.
        let certificate = remembered(name, role, &params, now, end);
        index.certificate.push(certificate.clone());
        self.publish(&mut index, now)?;
        let (certificate_name, key_name) = (format!("{name}.pem"), format!("{name}.key"));
        let (certificate_file, key_file) = (folder.join(certificate_name), folder.join(key_name));
        replace(&key_file, key.serialize_pem().as_bytes(), SECRET_MODE)?;
        replace(&certificate_file, signed.pem().as_bytes(), PUBLIC_MODE)?;
        Ok(Issued { certificate, certificate_file, key_file })
    }
}

fn params(
    name: &str,
    role: &Role,
    now: SystemTime,
    end: u64,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(new_serial()?);
    params.not_before = moment(seconds(now - BACKDATED));
    params.not_after = moment(end);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    match role {
        Role::Client(grant) => {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.subject_alt_names = vec![SanType::URI(granted_uri(grant).try_into()?)];
        }
        Role::Server { names, addresses } => {
            if names.is_empty() && addresses.is_empty() {
                return Err(AuthorityError::Addressless);
            }
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            for name in names {
                params.subject_alt_names.push(server_name(name)?);
            }
            params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
        }
    }
    Ok(params)
}

/// Returns a name that clients look for; one that none could ever ask for is a mistake.
fn server_name(name: &str) -> Result<SanType, AuthorityError> {
    let host = name.strip_prefix("*.").unwrap_or(name);
    if DnsName::try_from(host).is_err() || host.parse::<IpAddr>().is_ok() {
        return Err(AuthorityError::ServerName { name: name.to_owned() });
    }
    Ok(SanType::DnsName(name.try_into()?))
}

fn remembered(
    name: &str,
    role: &Role,
    params: &CertificateParams,
    now: SystemTime,
    end: u64,
) -> IssuedCertificate {
    let serial = params.serial_number.as_ref().expect("every certificate has a number");
    let mut certificate = IssuedCertificate {
        serial: serial.to_string().replace(':', ""),
        name: name.to_owned(),
        role: IssuedRole::Server,
        created: seconds(now),
        expires: end,
        revoked: None,
        namespace: None,
        reads: Vec::new(),
        rights: None,
        addresses: Vec::new(),
    };
    match role {
        Role::Client(grant) => {
            certificate.role = IssuedRole::Client;
            certificate.namespace = Some(grant.namespace.to_string());
            certificate.reads = grant.above().iter().map(ToString::to_string).collect();
            certificate.rights = Some(grant.rights);
        }
        Role::Server { names, addresses } => {
            let addresses = addresses.iter().map(ToString::to_string);
            certificate.addresses = names.iter().cloned().chain(addresses).collect();
        }
    }
    certificate
}
