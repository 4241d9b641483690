//! The client of the service `bld.v1.Cache`.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body::Body as HttpBody;
use model::Digest;
use store::{CellarStat, Scrubbed};
use tonic::Code;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::transport::{Channel, Endpoint};
use wire::proto::bld::cache_client::CacheClient;
use wire::proto::bld::purge_request::{self, What};
use wire::proto::{bld, reapi};

use super::{ClientStat, Purge, ScrubState, Stat};
use crate::asked;
use crate::metrics::{Kind, Lookups, Tallied};

/// What the server is told of who asks.
const USER_AGENT: &str = concat!("bld/", env!("CARGO_PKG_VERSION"));

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The address is none.
    #[error("`{0}` is no address of a server: write grpc://HOST:PORT or http://HOST:PORT")]
    Address(String),
    /// Nobody is there.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where to.
        address: String,
        /// What the network said.
        source: tonic::transport::Error,
    },
    /// The server said no, or went away.
    #[error("the server says: {}", .0.message())]
    Refused(#[from] tonic::Status),
    /// The server's answer makes no sense.
    #[error("the server's answer makes no sense")]
    Answer(#[from] InvalidAnswer),
}

impl RemoteError {
    /// Returns whether what was asked for makes no sense, or is not for whoever asked.
    pub fn is_mistake(&self) -> bool {
        match self {
            Self::Address(_) => true,
            Self::Refused(status) => matches!(
                status.code(),
                Code::InvalidArgument
                    | Code::PermissionDenied
                    | Code::Unauthenticated
                    | Code::Unimplemented
            ),
            Self::Connect { .. } | Self::Answer(_) => false,
        }
    }
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is missing or not what it should be")]
pub struct InvalidAnswer(&'static str);

/// Asks a server what only `bld server` answers.
#[derive(Clone, Debug)]
pub struct Admin<C>(CacheClient<C>);

impl Admin<Channel> {
    /// Connects to the server at that address.
    pub async fn connect(address: &str) -> Result<Self, RemoteError> {
        let refused = || RemoteError::Address(address.to_owned());
        let (scheme, rest) = address.split_once("://").ok_or_else(refused)?;
        if !matches!(scheme, "grpc" | "http") {
            return Err(refused());
        }
        let endpoint = Endpoint::from_shared(format!("http://{rest}"));
        let endpoint = endpoint.and_then(|it| it.user_agent(USER_AGENT));
        let endpoint = endpoint.map_err(|_invalid| refused())?;
        let connect = |source| RemoteError::Connect { address: address.to_owned(), source };
        Ok(Self::new(endpoint.connect().await.map_err(connect)?))
    }
}

impl<C> Admin<C>
where
    C: GrpcService<Body>,
    C::Error: Into<BoxError>,
    C::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <C::ResponseBody as HttpBody>::Error: Into<BoxError> + Send,
{
    /// Returns who asks over that channel.
    pub fn new(channel: C) -> Self {
        Self(CacheClient::new(channel))
    }

    /// Returns what the server holds and has done.
    pub async fn stat(&mut self) -> Result<Stat, RemoteError> {
        let answer = self.0.stat(bld::StatRequest {}).await?.into_inner();
        Ok(stat(answer)?)
    }

    /// Takes something out of the store. Returns how many things are not there any more.
    pub async fn purge(&mut self, purge: Purge) -> Result<u64, RemoteError> {
        let request = bld::PurgeRequest { what: Some(what(purge)) };
        Ok(self.0.purge(request).await?.into_inner().purged)
    }

    /// Has the store verified at most at that speed, or at the server's choice. Tells how it goes, and returns how it went.
    pub async fn scrub(
        &mut self,
        bytes_per_second: Option<u64>,
        mut heard: impl FnMut(&ScrubState),
    ) -> Result<ScrubState, RemoteError> {
        let request = bld::ScrubRequest { bytes_per_second: bytes_per_second.unwrap_or(0) };
        let mut states = self.0.scrub(request).await?.into_inner();
        let mut last = ScrubState::default();
        while let Some(state) = states.message().await? {
            last = scrub(state)?;
            heard(&last);
        }
        Ok(last)
    }
}

fn what(purge: Purge) -> What {
    match purge {
        Purge::Blob(digest) => What::Blob(purge_request::Blob {
            digest: Some(message(digest)),
            digest_function: asked::number(digest.function()),
        }),
        Purge::Action { namespace, project, digest } => What::Action(purge_request::Action {
            namespace: namespace.to_string(),
            instance_name: project,
            digest: Some(message(digest)),
            digest_function: asked::number(digest.function()),
        }),
        Purge::Value(key) => What::Value(purge_request::Value {
            namespace: key.namespace.to_string(),
            space: key.space,
            key: key.key,
        }),
        Purge::Writer(writer) => What::Writer(writer),
    }
}

fn message(digest: Digest) -> reapi::Digest {
    reapi::Digest { hash: digest.hex(), size_bytes: digest.size().cast_signed() }
}

fn stat(answer: bld::StatResponse) -> Result<Stat, InvalidAnswer> {
    let scrub = scrub(answer.scrub.unwrap_or_default())?;
    let store = answer.store.ok_or(InvalidAnswer("StatResponse.store"))?;
    Ok(Stat {
        version: answer.version,
        uptime: duration(answer.uptime, "StatResponse.uptime")?,
        store: CellarStat {
            blobs: store.blobs,
            values: store.values,
            logical_bytes: store.logical_bytes,
            physical_bytes: store.physical_bytes,
            chunked_bytes: store.chunked_bytes,
            chunk_bytes: store.chunk_bytes,
            budget_bytes: store.budget_bytes,
            leases: store.leases,
            pinned_bytes: store.pinned_bytes,
            retention_seconds: match store.retention {
                Some(it) => Some(duration(Some(it), "StoreStat.retention")?.as_secs()),
                None => None,
            },
            evicted_bytes: store.evicted_bytes,
            corrupt: store.corrupt,
            scrubbed: scrub.scrubbed,
        },
        clients: answer.clients.into_iter().map(client).collect::<Result<_, _>>()?,
        scrub,
    })
}

fn client(client: bld::ClientStat) -> Result<ClientStat, InvalidAnswer> {
    let mut tallied = Tallied {
        requests: client.requests,
        failures: client.failures,
        received_bytes: client.received_bytes,
        sent_bytes: client.sent_bytes,
        saved_cpu: duration(client.saved_cpu, "ClientStat.saved_cpu")?,
        saved_wall: duration(client.saved_wall, "ClientStat.saved_wall")?,
        ..Tallied::default()
    };
    for it in client.kinds {
        // A newer server may know more kinds.
        if let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.as_str() == it.kind) {
            let lookups = Lookups { hits: it.hits, misses: it.misses, incomplete: it.incomplete };
            tallied.lookups[kind as usize] = lookups;
        }
    }
    let last_seen = time(client.last_seen, "ClientStat.last_seen")?;
    let last_seen = last_seen.ok_or(InvalidAnswer("ClientStat.last_seen"))?;
    Ok(ClientStat { tool: client.tool, identity: client.identity, tallied, last_seen })
}

fn scrub(scrub: bld::ScrubResponse) -> Result<ScrubState, InvalidAnswer> {
    let bld::ScrubResponse { records, bytes, corrupt, .. } = scrub;
    Ok(ScrubState {
        running: scrub.running,
        began: time(scrub.began, "ScrubResponse.began")?,
        took: duration(scrub.took, "ScrubResponse.took")?,
        scrubbed: Scrubbed { records, bytes, corrupt },
        failure: Some(scrub.failure).filter(|it| !it.is_empty()),
    })
}

fn duration(
    it: Option<prost_types::Duration>,
    field: &'static str,
) -> Result<Duration, InvalidAnswer> {
    Duration::try_from(it.unwrap_or_default()).map_err(|_negative| InvalidAnswer(field))
}

fn time(
    it: Option<prost_types::Timestamp>,
    field: &'static str,
) -> Result<Option<SystemTime>, InvalidAnswer> {
    let Some(it) = it else { return Ok(None) };
    SystemTime::try_from(it).map(Some).map_err(|_impossible| InvalidAnswer(field))
}
