//! Encryption: our certificate, whose certificates are taken, and both read again when their files change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::{self, PemObject};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::TlsConfig;
use crate::identity::{CertificateError, Peer, PeerAddress, PeerCertificate};
use crate::reload::{Refresh, Reloaded, Unreadable};

/// How long a handshake may take: a few round trips around the world, and a slow machine.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// What is spoken: gRPC, and the plain caches that know it, over HTTP/2; all others over HTTP/1.1.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What is wrong with certificates and keys.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// A file is not there.
    #[error("{} is not there", .0.display())]
    Missing(PathBuf),
    /// A file is not what it should be.
    #[error("{} does not hold {what} in PEM", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// Why it does not.
        source: pem::Error,
    },
    /// The key is not that of the certificate, or of a kind that is not known.
    #[error("{} cannot be used with {}", key.display(), certificate.display())]
    Key {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        certificate: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// A certificate cannot issue others.
    #[error("{} holds a certificate that cannot issue others", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// Certificates of clients cannot be checked.
    #[error("certificates of clients cannot be checked")]
    Verifier(#[from] VerifierBuilderError),
    /// The versions of TLS are not there.
    #[error("TLS cannot be spoken")]
    Protocol(#[source] rustls::Error),
}

impl TlsError {
    /// Returns whether somebody can mend it in a file.
    pub fn is_mistake(&self) -> bool {
        match self {
            Self::Unreadable(error) => error.is_mistake(),
            Self::Missing(_)
            | Self::Pem { .. }
            | Self::Key { .. }
            | Self::Authority { .. }
            | Self::Verifier(_) => true,
            Self::Protocol(_) => false,
        }
    }
}

/// Why a connection comes to nothing.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The other end takes too long.
    #[error("the handshake took longer than {HANDSHAKE_PATIENCE:?}")]
    Slow,
    /// It speaks otherwise, or its certificate is not taken.
    #[error("the handshake failed")]
    Failed(#[source] std::io::Error),
    /// Its certificate cannot be read.
    #[error("a certificate was shown that is refused: {0}")]
    Certificate(#[from] CertificateError),
}

/// Encrypts connections.
pub struct Tls {
    config: Arc<Reloaded<ServerConfig, TlsError>>,
}

impl Tls {
    /// Reads certificates and keys.
    pub fn open(files: &TlsConfig) -> Result<Self, TlsError> {
        let named = files.clone();
        let others = [&files.client_authority, &files.client_revocations];
        let others = others.map(|path| path.clone().into_iter());
        let paths = [files.certificate.clone(), files.key.clone()].into_iter();
        let paths = paths.chain(others.into_iter().flatten()).collect();
        let config = Reloaded::open("certificates", paths, move |contents| load(&named, contents))?;
        Ok(Self { config: Arc::new(config) })
    }

    /// Returns the files that have to be looked at again and again, for [`keep_fresh`](crate::keep_fresh).
    pub fn refresher(&self) -> Arc<dyn Refresh> {
        Arc::clone(&self.config) as Arc<dyn Refresh>
    }

    /// Makes a connection an encrypted one, with the certificates that are in the files now. What it yields of the other end
    /// belongs into every request of the connection, as an extension.
    ///
    /// It waits for the other end, so nobody else should have to wait for it.
    pub async fn accept<I: AsyncRead + AsyncWrite + Unpin>(
        &self,
        connection: I,
        from: PeerAddress,
    ) -> Result<(TlsStream<I>, Peer), HandshakeError> {
        let accepted = TlsAcceptor::from(self.config.get()).accept(connection);
        let stream = match tokio::time::timeout(HANDSHAKE_PATIENCE, accepted).await {
            Ok(stream) => stream.map_err(HandshakeError::Failed)?,
            Err(_elapsed) => return Err(HandshakeError::Slow),
        };
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let mut peer = Peer::new(from);
        if let Some(certificate) = shown {
            peer = peer.with_certificate(PeerCertificate::parse(certificate)?);
        }
        Ok((stream, peer))
    }
}

/// A file that holds something in PEM.
struct PemFile<'a> {
    path: &'a Path,
    bytes: &'a [u8],
}

impl PemFile<'_> {
    /// Returns all of that kind that it holds, at least one.
    fn all<T: PemObject>(&self, what: &'static str) -> Result<Vec<T>, TlsError> {
        let all: Result<Vec<_>, _> = T::pem_slice_iter(self.bytes).collect();
        match all {
            Ok(all) if all.is_empty() => Err(self.error(what, pem::Error::NoItemsFound)),
            Ok(all) => Ok(all),
            Err(source) => Err(self.error(what, source)),
        }
    }

    fn error(&self, what: &'static str, source: pem::Error) -> TlsError {
        TlsError::Pem { path: self.path.to_owned(), what, source }
    }
}

fn load(files: &TlsConfig, contents: &[Option<Vec<u8>>]) -> Result<ServerConfig, TlsError> {
    let mut contents = contents.iter();
    let mut file = |path| {
        let bytes = contents.next().and_then(Option::as_deref);
        bytes.map(|bytes| PemFile { path, bytes }).ok_or_else(|| TlsError::Missing(path.to_owned()))
    };
    let chain = file(&files.certificate)?.all("certificates")?;
    let key = file(&files.key)?;
    let key = PrivateKeyDer::from_pem_slice(key.bytes)
        .map_err(|source| key.error("a private key", source))?;
    let authority = files.client_authority.as_deref().map(&mut file).transpose()?;
    let revoked = files.client_revocations.as_deref().map(&mut file).transpose()?;
    let verifier = match &authority {
        Some(authority) => verifier(authority, revoked.as_ref())?,
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Protocol)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|source| {
            let (key, certificate) = (files.key.clone(), files.certificate.clone());
            TlsError::Key { key, certificate, source }
        })?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

/// Returns what takes certificates of that authority, and connections without any: whether those may do something is decided for
/// each call.
fn verifier(
    authority: &PemFile<'_>,
    revoked: Option<&PemFile<'_>>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in authority.all("certificates")? {
        roots
            .add(certificate)
            .map_err(|source| TlsError::Authority { path: authority.path.to_owned(), source })?;
    }
    let provider = Arc::new(ring::default_provider());
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated()
        .only_check_end_entity_revocation();
    if let Some(revoked) = revoked {
        builder = builder.with_crls(revoked.all("a certificate revocation list")?);
    }
    Ok(builder.build()?)
}
