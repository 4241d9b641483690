//! Where a remote is, and how to get there.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tonic::codegen::http::Uri;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::line::Line;
use super::{RemoteError, file};

/// How many connections there are: one carries what one core can encrypt, and one that breaks does not stop all.
const CHANNELS: usize = 4;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How much one stream may be ahead of whoever reads it, in bytes: a long way with much in flight is kept busy.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// How much all streams of a connection may be ahead, in bytes.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// How often somebody who says nothing is asked whether he is still there. What is to come sooner has limits of its own.
const PING_INTERVAL: Duration = Duration::from_secs(6 * 60);

/// How long the answer to that may take.
const PING_TIME_MAX: Duration = Duration::from_secs(30);

/// What servers in Go, Java and C++ permit unless they are told otherwise: they end connections of whoever asks more often.
const PING_INTERVAL_PERMITTED: Duration = Duration::from_secs(5 * 60);

const _: () = assert!(PING_INTERVAL.as_secs() > PING_INTERVAL_PERMITTED.as_secs());

/// How a certificate begins in PEM.
const PEM_CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// How a remote proves who it is, and this machine to it.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// The certificates of who is believed; those of the system, if none is named.
    pub ca_file: Option<PathBuf>,
    /// The certificate of this machine, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Where a remote is.
#[derive(Clone, Debug)]
pub(super) struct Address {
    /// As it was typed.
    pub(super) text: Arc<str>,
    uri: String,
    is_encrypted: bool,
    is_local: bool,
}

impl Address {
    /// Parses `grpc://host:port`, `grpcs://…`, `http://…`, `https://…` or `unix:/path`.
    pub(super) fn parse(text: &str) -> Result<Self, RemoteError> {
        let wrong = |why| RemoteError::Address { address: without_secrets(text), why };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if !Path::new(path).is_absolute() {
                return Err(wrong("the path of a socket is absolute"));
            }
            let (uri, text) = (format!("unix:{path}"), text.into());
            return Ok(Self { text, uri, is_encrypted: false, is_local: true });
        }
        let schemes = [("grpc://", "http"), ("grpcs://", "https"), ("http://", "http")];
        let mut schemes = schemes.into_iter().chain([("https://", "https")]);
        let found = schemes.find_map(|(scheme, over)| Some((text.strip_prefix(scheme)?, over)));
        let unknown = "it begins with grpc://, grpcs://, http://, https:// or unix:";
        let (rest, over) = found.ok_or_else(|| wrong(unknown))?;
        let rest = rest.trim_end_matches('/');
        if rest.contains('@') {
            return Err(wrong(
                "secrets do not belong there, but into a file or a credential helper",
            ));
        }
        if rest.contains('/') {
            return Err(wrong("nothing follows host and port; the instance is named by itself"));
        }
        let uri = format!("{over}://{rest}");
        let parsed: Result<Uri, _> = uri.parse();
        let authority = parsed.ok().and_then(|it| it.authority().cloned());
        let authority = authority.filter(|it| !it.host().is_empty());
        let authority = authority.ok_or_else(|| wrong("it has no host"))?;
        let host = authority.host().to_owned();
        if host.len() < authority.as_str().len() && authority.port_u16().is_none() {
            return Err(wrong("its port is no number up to 65535"));
        }
        let (is_encrypted, is_local) = (over == "https", is_local(&host));
        Ok(Self { text: text.into(), uri, is_encrypted, is_local })
    }

    /// Returns whether nobody between can read what is sent.
    pub(super) fn is_private(&self) -> bool {
        self.is_encrypted || self.is_local
    }

    /// Returns what a credential helper is told of where a secret goes.
    pub(super) fn for_helper(&self) -> String {
        match self.uri.split_once("://") {
            Some((_, host)) => format!("https://{host}/"),
            None => self.uri.clone(),
        }
    }

    /// Returns ways there, none of which has been gone yet.
    pub(super) fn channels(&self, tls: &Tls) -> Result<Vec<Line>, RemoteError> {
        let setup = |source| RemoteError::Setup { address: Arc::clone(&self.text), source };
        let agent = concat!("bld/", env!("CARGO_PKG_VERSION"));
        let mut endpoint = Endpoint::from_shared(self.uri.clone())
            .and_then(|endpoint| endpoint.user_agent(agent))
            .map_err(setup)?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIME_MAX);
        if self.is_encrypted {
            endpoint = endpoint.tls_config(certificates(tls)?).map_err(setup)?;
        }
        Ok((0..CHANNELS).map(|_| Line::new(endpoint.connect_lazy())).collect())
    }
}

fn certificates(tls: &Tls) -> Result<ClientTlsConfig, RemoteError> {
    let mut config = ClientTlsConfig::new();
    config = match &tls.ca_file {
        Some(path) => config.ca_certificate(Certificate::from_pem(authorities(path)?)),
        None => config.with_native_roots(),
    };
    if let Some((certificate, key)) = &tls.identity {
        let certificate = file::read("certificate", certificate)?;
        config = config.identity(Identity::from_pem(certificate, file::read("key", key)?));
    }
    Ok(config)
}

/// Reads the certificates of who is believed. Without any, nobody would be, and nobody would know why.
fn authorities(path: &Path) -> Result<Vec<u8>, RemoteError> {
    let what = "certificates";
    let pem = file::read(what, path)?;
    if !pem.windows(PEM_CERTIFICATE.len()).any(|it| it == PEM_CERTIFICATE) {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidData, "it has none in PEM");
        return Err(RemoteError::File { what, path: path.to_owned(), source });
    }
    Ok(pem)
}

fn is_local(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Returns an address as it may be shown.
fn without_secrets(text: &str) -> String {
    match (text.find("://"), text.rfind('@')) {
        (Some(begin), Some(end)) if begin < end => {
            format!("{}…{}", &text[..begin + 3], &text[end..])
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_say_where_and_how() {
        let uri = |text: &str| Address::parse(text).map(|it| (it.uri.clone(), it.is_private()));
        for (text, expected, private) in [
            ("grpc://cache:8980", "http://cache:8980", false),
            ("grpc://127.0.0.1:8980", "http://127.0.0.1:8980", true),
            ("grpc://[::1]:8980/", "http://[::1]:8980", true),
            ("http://localhost", "http://localhost", true),
            ("grpcs://cache.example", "https://cache.example", true),
            ("https://cache.example:443", "https://cache.example:443", true),
            ("unix:/run/bld.sock", "unix:/run/bld.sock", true),
            ("unix:///run/bld.sock", "unix:/run/bld.sock", true),
        ] {
            assert_eq!(uri(text).unwrap(), (expected.to_owned(), private), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_no_secret_is_repeated() {
        for text in ["", "cache:8980", "ftp://x", "grpc://", "grpc:///x", "grpc://x/y", "unix:x"] {
            Address::parse(text).unwrap_err();
        }
        for text in ["grpc://x:99999", "grpc://x:", "grpcs://[::1]:65536", "http://x:-1"] {
            Address::parse(text).unwrap_err();
        }
        let error = Address::parse("grpcs://me:hunter2@cache").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_file_without_certificates_is_refused_before_anybody_is_asked() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let tls = Tls { ca_file: Some(file.path().to_owned()), identity: None };
        let error = certificates(&tls).unwrap_err();
        assert!(matches!(error, RemoteError::File { what: "certificates", .. }), "{error}");
    }

    #[test]
    fn a_credential_helper_is_told_the_host_as_bazel_tells_it() {
        let told = |text: &str| Address::parse(text).unwrap().for_helper();
        assert_eq!(told("grpcs://cache.example:443"), "https://cache.example:443/");
        assert_eq!(told("unix:/run/bld.sock"), "unix:/run/bld.sock");
    }
}
