//! Encryption of what is measured: whom it believes, and who it says it is, as any command does.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::{Error, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use store::Tls;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::BenchError;

/// What is spoken.
const PROTOCOL: &[u8] = b"h2";

/// Encrypts connections to one host.
#[derive(Clone)]
pub(super) struct Encryption {
    connector: TlsConnector,
    host: ServerName<'static>,
}

impl Encryption {
    /// Reads the certificates that are named; without any, those that the system believes.
    pub(super) fn new(tls: &Tls, host: &str) -> Result<Self, BenchError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(match &tls.ca_file {
            Some(path) => certificates(path)?,
            None => rustls_native_certs::load_native_certs().certs,
        });
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(BenchError::Encryption)?
            .with_root_certificates(roots);
        let mut config = match &tls.identity {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => config
                .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
                .map_err(BenchError::Encryption)?,
        };
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        let name = ServerName::try_from(host.to_owned());
        let host = name.map_err(|_error| BenchError::Address(host.to_owned()))?;
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), host })
    }

    /// Makes a connection an encrypted one.
    pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> std::io::Result<TlsStream<S>> {
        self.connector.connect(self.host.clone(), stream).await
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, BenchError> {
    let found =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    // Without any, nobody would be believed, and nobody would know why.
    let found = found.and_then(|it| if it.is_empty() { Err(Error::NoItemsFound) } else { Ok(it) });
    found.map_err(|source| BenchError::Pem(path.to_owned(), source))
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, BenchError> {
    PrivateKeyDer::from_pem_file(path).map_err(|source| BenchError::Pem(path.to_owned(), source))
}
