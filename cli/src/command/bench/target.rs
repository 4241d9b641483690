//! Where the server is that is measured.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use http::HeaderMap;
use store::Tls;

use super::encryption::Encryption;
use super::error::BenchError;

/// A server, as it was typed: `[NAME=]grpc://HOST:PORT[/INSTANCE]`, the same with `grpcs`, or `[NAME=]unix:/PATH`.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// What it is called in the answer.
    pub(super) name: String,
    /// Where it is, as other commands are told.
    pub(super) url: String,
    /// What calls name as their authority.
    pub(super) authority: String,
    /// The instance of the server that calls name; often empty.
    pub(super) instance: String,
    /// What proves in each call who makes it.
    pub(super) credentials: HeaderMap,
    pub(super) is_encrypted: bool,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Host(String),
    Socket(PathBuf),
}

/// Where a server listens.
#[derive(Clone)]
pub(super) enum Address {
    Tcp(SocketAddr, Option<Encryption>),
    Unix(PathBuf),
}

/// Without one, gRPC's servers of caches listen here.
const PORT_DEFAULT: u16 = 8980;

/// Without one, those that encrypt are where everything is that does.
const ENCRYPTED_PORT_DEFAULT: u16 = 443;

impl FromStr for Target {
    type Err = BenchError;

    fn from_str(text: &str) -> Result<Self, BenchError> {
        let refuse = || BenchError::Address(text.to_owned());
        let named = text.split_once('=').filter(|(name, _)| !name.contains([':', '/']));
        let (name, url) = named.unwrap_or((text, text));
        if let Some(path) = url.strip_prefix("unix:") {
            let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
            let place = path.is_absolute().then_some(Place::Socket(path)).ok_or_else(refuse)?;
            return Ok(Self::new(name, url.to_owned(), "localhost".to_owned(), place));
        }
        let (scheme, rest) = url.split_once("://").unwrap_or(("grpc", url));
        let (host, instance) = rest.split_once('/').unwrap_or((rest, ""));
        let (is_encrypted, port) = match scheme {
            "grpc" | "http" => (false, PORT_DEFAULT),
            "grpcs" | "https" => (true, ENCRYPTED_PORT_DEFAULT),
            _ => return Err(refuse()),
        };
        if host.is_empty() || host.contains('@') {
            return Err(refuse());
        }
        // A colon inside the brackets of an IPv6 address begins no port.
        let has_port = host.rfind(':') > host.rfind(']');
        let authority = if has_port { host.to_owned() } else { format!("{host}:{port}") };
        let place = Place::Host(authority.clone());
        let instance = instance.trim_matches('/').to_owned();
        let target = Self::new(name, format!("{scheme}://{host}"), authority, place);
        Ok(Self { instance, is_encrypted, ..target })
    }
}

impl Target {
    /// Returns a server of this process.
    pub(super) fn own(name: &str, address: SocketAddr) -> Self {
        let authority = address.to_string();
        let place = Place::Host(authority.clone());
        Self::new(name, format!("grpc://{authority}"), authority, place)
    }

    fn new(name: &str, url: String, authority: String, place: Place) -> Self {
        let (name, instance, credentials) = (name.to_owned(), String::new(), HeaderMap::new());
        Self { name, url, authority, instance, credentials, is_encrypted: false, place }
    }

    /// Returns the host by which it says who it is.
    pub(super) fn host(&self) -> &str {
        let host = self.authority.rsplit_once(':').map_or(&*self.authority, |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Returns where it listens; somewhere else than on this machine only if that is meant.
    ///
    /// If it encrypts, `tls` says how.
    pub(super) async fn address(
        &self,
        beyond_loopback: bool,
        tls: &Tls,
    ) -> Result<Address, BenchError> {
        let host = match &self.place {
            Place::Socket(path) => return Ok(Address::Unix(path.clone())),
            Place::Host(host) => host,
        };
        let connect =
            |source| BenchError::Connect { name: self.name.clone(), address: host.clone(), source };
        let mut found = tokio::net::lookup_host(host).await.map_err(connect)?;
        let address =
            found.next().ok_or_else(|| connect(std::io::ErrorKind::AddrNotAvailable.into()))?;
        if !address.ip().is_loopback() && !beyond_loopback {
            return Err(BenchError::BeyondLoopback { name: self.name.clone(), address });
        }
        let encryption =
            self.is_encrypted.then(|| Encryption::new(tls, self.host())).transpose()?;
        Ok(Address::Tcp(address, encryption))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, name, authority, instance) in [
            ("grpc://127.0.0.1:80/a/b", "grpc://127.0.0.1:80/a/b", "127.0.0.1:80", "a/b"),
            ("ours=[::1]", "ours", "[::1]:8980", ""),
            ("ours=http://[::1]:7/", "ours", "[::1]:7", ""),
            ("unix:/run/bld.sock", "unix:/run/bld.sock", "localhost", ""),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!(
                (target.name.as_str(), target.authority.as_str(), target.instance.as_str()),
                (name, authority, instance),
                "{text}"
            );
        }
        let encrypted: Target = "grpcs://[::1]/a".parse().unwrap();
        assert_eq!((encrypted.authority.as_str(), encrypted.host()), ("[::1]:443", "::1"));
        assert_eq!((encrypted.url.as_str(), encrypted.is_encrypted), ("grpcs://[::1]", true));
        for text in ["", "ftp://127.0.0.1:1", "grpc://", "unix:relative", "grpc://a@b"] {
            text.parse::<Target>().unwrap_err();
        }
    }

    #[tokio::test]
    async fn a_server_beyond_the_loopback_has_to_be_meant() {
        // An address for documentation: nobody is there, and nothing is sent to it.
        let target: Target = "grpc://192.0.2.1:1".parse().unwrap();
        let tls = Tls::default();
        assert!(matches!(
            target.address(false, &tls).await,
            Err(BenchError::BeyondLoopback { .. })
        ));
        assert!(matches!(target.address(true, &tls).await, Ok(Address::Tcp(..))));
    }
}
