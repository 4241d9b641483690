//! The other end of a connection.

use std::net::SocketAddr;
use std::sync::Arc;

use super::certificate::PeerCertificate;

/// The other end of a connection. Every request carries it as an extension.
#[derive(Clone, Debug)]
pub struct Peer {
    address: PeerAddress,
    certificate: Option<Arc<PeerCertificate>>,
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerAddress {
    /// From an address.
    Tcp(SocketAddr),
    /// From this machine, by a socket.
    Unix,
}

impl Peer {
    /// Returns the other end of a connection that is not encrypted, or where no certificate was shown.
    pub fn new(address: PeerAddress) -> Self {
        Self { address, certificate: None }
    }

    /// Returns the same with the certificate that it showed, and whose key it has.
    #[must_use]
    pub fn with_certificate(self, certificate: PeerCertificate) -> Self {
        Self { certificate: Some(Arc::new(certificate)), ..self }
    }

    /// Returns where it is.
    pub fn address(&self) -> PeerAddress {
        self.address
    }

    /// Returns whether it is on this machine.
    pub fn is_local(&self) -> bool {
        match self.address {
            PeerAddress::Tcp(address) => address.ip().to_canonical().is_loopback(),
            PeerAddress::Unix => true,
        }
    }

    /// Returns the certificate that it showed.
    pub fn certificate(&self) -> Option<&Arc<PeerCertificate>> {
        self.certificate.as_ref()
    }
}
