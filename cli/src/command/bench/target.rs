//! Where the server is that is measured.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use http::HeaderValue;

use super::error::BenchError;

/// A server, as it was typed: `[NAME=]grpc://HOST:PORT[/INSTANCE]` or `[NAME=]unix:/PATH`.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    /// What it is called in the answer.
    pub(super) name: String,
    /// What calls name as their authority.
    pub(super) authority: String,
    /// The instance of the server that calls name; often empty.
    pub(super) instance: String,
    /// What each call says of who makes it.
    pub(super) token: Option<HeaderValue>,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Host(String),
    Socket(PathBuf),
}

/// Where a server listens.
#[derive(Clone, Debug)]
pub(super) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Without one, gRPC's servers of caches listen here.
const PORT_DEFAULT: u16 = 8980;

impl FromStr for Remote {
    type Err = BenchError;

    fn from_str(text: &str) -> Result<Self, BenchError> {
        let refuse = || BenchError::Address(text.to_owned());
        let named = text.split_once('=').filter(|(name, _)| !name.contains([':', '/']));
        let (name, url) = named.unwrap_or((text, text));
        if let Some(path) = url.strip_prefix("unix:") {
            let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
            let place = path.is_absolute().then_some(Place::Socket(path)).ok_or_else(refuse)?;
            let (authority, instance) = ("localhost".to_owned(), String::new());
            return Ok(Self { name: name.to_owned(), authority, instance, token: None, place });
        }
        let (scheme, rest) = url.split_once("://").unwrap_or(("grpc", url));
        let (host, instance) = rest.split_once('/').unwrap_or((rest, ""));
        if !["grpc", "http"].contains(&scheme) || host.is_empty() || host.contains('@') {
            return Err(refuse());
        }
        // A colon inside the brackets of an IPv6 address begins no port.
        let has_port = host.rfind(':') > host.rfind(']');
        let authority = if has_port { host.to_owned() } else { format!("{host}:{PORT_DEFAULT}") };
        let place = Place::Host(authority.clone());
        let instance = instance.trim_matches('/').to_owned();
        Ok(Self { name: name.to_owned(), authority, instance, token: None, place })
    }
}

impl Remote {
    /// Returns a server of this process.
    pub(super) fn own(name: &str, address: SocketAddr) -> Self {
        Self {
            name: name.to_owned(),
            authority: address.to_string(),
            instance: String::new(),
            token: None,
            place: Place::Host(address.to_string()),
        }
    }

    /// Returns where it listens; somewhere else than on this machine only if that is meant.
    pub(super) async fn address(&self, beyond_loopback: bool) -> Result<Address, BenchError> {
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
        Ok(Address::Tcp(address))
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
            let remote: Remote = text.parse().unwrap();
            assert_eq!(
                (remote.name.as_str(), remote.authority.as_str(), remote.instance.as_str()),
                (name, authority, instance),
                "{text}"
            );
        }
        for text in ["", "grpcs://127.0.0.1:1", "grpc://", "unix:relative", "grpc://a@b"] {
            text.parse::<Remote>().unwrap_err();
        }
    }

    #[tokio::test]
    async fn a_server_beyond_the_loopback_has_to_be_meant() {
        // An address for documentation: nobody is there, and nothing is sent to it.
        let remote: Remote = "grpc://192.0.2.1:1".parse().unwrap();
        remote.address(false).await.unwrap_err();
        assert!(matches!(remote.address(true).await, Ok(Address::Tcp(_))));
    }
}
