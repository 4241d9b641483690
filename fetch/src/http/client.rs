//! Asks servers, proxies and this machine's files for bytes, and goes where they send us.

use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::time::Duration;

use super::error::DownloadError;
use super::forward;
use super::proxies::Proxies;
use super::reply::Reply;
use super::url::{Scheme, Url, UrlError};

/// How many times a server may send us on to another address: what browsers and curl call too many is 20 to 50.
const REDIRECTS_MAX: u32 = 10;
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a server may be silent.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Whether anything beyond this machine may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// It may.
    Online,
    /// It may not; files of this machine still can be had.
    Offline,
}

/// What asks: one agent for servers, one for the proxy before them.
pub(super) struct Client {
    pub(super) network: Network,
    proxies: Proxies,
    name: String,
    direct: ureq::Agent,
    tunnelled: Option<ureq::Agent>,
}

impl Client {
    pub(super) fn new(network: Network, proxies: Proxies) -> Self {
        let tunnel = proxies.https.as_deref().and_then(|proxy| ureq::Proxy::new(proxy).ok());
        let name = format!("bld/{}", env!("CARGO_PKG_VERSION"));
        Self {
            network,
            direct: make_agent(None, &name),
            tunnelled: tunnel.map(|proxy| make_agent(Some(proxy), &name)),
            proxies,
            name,
        }
    }

    /// Asks for `url` from byte `from` on, and goes where the server sends us.
    pub(super) fn ask(&self, url: &Url, from: u64) -> Result<Reply, DownloadError> {
        if url.scheme == Scheme::File {
            return open_file(url, from);
        }
        let mut here = url.clone();
        for _ in 0..=REDIRECTS_MAX {
            if self.network == Network::Offline {
                return Err(DownloadError::Offline { url: url.clone() });
            }
            let reply = self.ask_once(&here, from)?;
            if !reply.is_redirect() {
                return Ok(reply);
            }
            let next = reply.location.as_deref().map(|location| here.join(location));
            let Some(Ok(next)) = next else { break };
            here = next;
        }
        Err(DownloadError::Redirect { url: url.clone() })
    }

    fn ask_once(&self, url: &Url, from: u64) -> Result<Reply, DownloadError> {
        let proxy = self.proxies.choose(url);
        if let (Scheme::Http, Some(proxy)) = (url.scheme, proxy) {
            let named =
                if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
            let proxy = Url::parse(&named)
                .map_err(|source| DownloadError::Proxy { url: url.clone(), source })?;
            return forward::get(&proxy, url, from, &self.name, CONNECT_TIMEOUT, READ_TIMEOUT)
                .map_err(|source| DownloadError::Connect {
                    url: url.clone(),
                    source: source.into(),
                });
        }
        let agent = match (proxy, &self.tunnelled) {
            (None, _) => &self.direct,
            (Some(_), Some(agent)) => agent,
            (Some(_), None) => {
                let source = UrlError::Form("proxy");
                return Err(DownloadError::Proxy { url: url.clone(), source });
            }
        };
        let mut request = agent.get(url.plain());
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
        }
        if let Some(value) = url.authorization() {
            request = request.header("Authorization", value);
        }
        let response = request
            .call()
            .map_err(|source| DownloadError::Connect { url: url.clone(), source: source.into() })?;
        let (parts, body) = response.into_parts();
        let header = |name: &str| Some(parts.headers.get(name)?.to_str().ok()?.to_owned());
        Ok(Reply::new(parts.status.as_u16(), header, Box::new(body.into_reader())))
    }
}

fn make_agent(proxy: Option<ureq::Proxy>, name: &str) -> ureq::Agent {
    let tls =
        ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::PlatformVerifier).build();
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        // Redirects are followed here, so that each hop gets its own proxy and no login travels along.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(READ_TIMEOUT))
        .timeout_per_read(Some(READ_TIMEOUT))
        .user_agent(name)
        .proxy(proxy)
        .tls_config(tls)
        .build()
        .new_agent()
}

fn open_file(url: &Url, from: u64) -> Result<Reply, DownloadError> {
    let path = url.file_path();
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(DownloadError::NoFile { url: url.clone() });
        }
        Err(source) => return Err(DownloadError::disk("open", &path)(source)),
    };
    file.seek(SeekFrom::Start(from)).map_err(DownloadError::disk("read", &path))?;
    let status = if from > 0 { 206 } else { 200 };
    Ok(Reply {
        status,
        length: None,
        range_start: Some(from),
        location: None,
        body: Box::new(file),
    })
}
