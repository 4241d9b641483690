//! Whether a request was made on this machine, by somebody who may use it.

use std::net::IpAddr;

use http::header::{FORWARDED, HOST};
use http::uri::Authority;
use http::{HeaderName, Request};

use super::peer::{Peer, PeerAddress};
use super::refusal::Elsewhere;

/// What proxies add. They connect from this machine, and pass on what anybody sends.
const FROM_PROXIES: [HeaderName; 3] =
    [FORWARDED, HeaderName::from_static("x-forwarded-for"), HeaderName::from_static("x-real-ip")];

/// Fails if a request may be another's than one who uses this machine.
///
/// A page in a browser on this machine is such another: its owner can let its name lead to 127.0.0.1, and then it may ask us
/// whatever it likes. But it cannot ask by another name than its own.
pub(super) fn check<B>(request: &Request<B>, peer: Option<&Peer>) -> Result<(), Elsewhere> {
    let Some(peer) = peer.filter(|peer| peer.is_local()) else {
        return Err(Elsewhere::Address);
    };
    if FROM_PROXIES.iter().any(|name| request.headers().contains_key(name)) {
        return Err(Elsewhere::Proxy);
    }
    match peer.address() {
        PeerAddress::Unix => Ok(()),
        PeerAddress::Tcp(_) if is_to_this_machine(request) => Ok(()),
        PeerAddress::Tcp(_) => Err(Elsewhere::Name),
    }
}

fn is_to_this_machine<B>(request: &Request<B>) -> bool {
    let header = || request.headers().get(HOST)?.to_str().ok();
    let Some(authority) = request.uri().authority().map(Authority::as_str).or_else(header) else {
        // HTTP/1.0, which no browser speaks.
        return true;
    };
    let host = authority.rsplit_once('@').map_or(authority, |(_, it)| it);
    let host = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let host = host.to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost") || host.parse::<IpAddr>().is_ok()
}
