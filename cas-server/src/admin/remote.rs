//! The client of the service `bld.v1.Cache`.

use std::time::{Duration, SystemTime};

use store::{CellarStat, RemoteConnection, RemoteError, Scrubbed};
use tonic::Code;
use wire::encode::{digest_message, function_number};
use wire::proto::bld;
use wire::proto::bld::cache_client::CacheClient;
use wire::proto::bld::purge_request::{self, What};

use super::{ClientStat, Purge, ScrubState, Stat};
use crate::metrics::{Kind, Lookups, Tallied};

/// What is tried, as it is said where it fails.
const STAT: &str = "ask what is stored at";
const PURGE: &str = "purge at";
const SCRUB: &str = "scrub";

/// Why a server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// It is another's server, or a much older one.
    #[error(
        "{address} is no `bld server`, or one that is too old: it does not have the service `bld.v1.Cache`, by which a \
         server says what it stores, purges and scrubs"
    )]
    Foreign {
        /// Where it is.
        address: String,
    },
    /// It does not know who asks.
    #[error(
        "{0}; BLD_REMOTE_TOKEN_FILE names the file of a token, or `token_file` under [remote] in the bld.toml that has \
         this `url`"
    )]
    Stranger(#[source] RemoteError),
    /// Who asks may not do that.
    #[error(
        "{0}; whoever runs the server gives that right: `bld server token create NAME --rights read,administer`"
    )]
    Denied(#[source] RemoteError),
    /// It makes no sense to the server.
    #[error(transparent)]
    Senseless(RemoteError),
    /// It cannot be reached, or fails.
    #[error(transparent)]
    Remote(RemoteError),
    /// The server's answer makes no sense.
    #[error("the server's answer makes no sense")]
    Answer(#[from] InvalidAnswer),
}

impl AdminError {
    /// Returns whether what was asked for makes no sense, or is not for whoever asked.
    pub fn is_mistake(&self) -> bool {
        match self {
            Self::Foreign { .. } | Self::Stranger(_) | Self::Denied(_) | Self::Senseless(_) => true,
            Self::Remote(error) => error.is_mistake(),
            Self::Answer(_) => false,
        }
    }
}

impl From<RemoteError> for AdminError {
    fn from(error: RemoteError) -> Self {
        let RemoteError::Call { address, status, .. } = &error else { return Self::Remote(error) };
        let code = status.code();
        if code == Code::Unimplemented {
            Self::Foreign { address: address.to_string() }
        } else if code == Code::Unauthenticated {
            Self::Stranger(error)
        } else if code == Code::PermissionDenied {
            Self::Denied(error)
        } else if code == Code::InvalidArgument {
            Self::Senseless(error)
        } else {
            Self::Remote(error)
        }
    }
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is missing or not what it should be")]
pub struct InvalidAnswer(&'static str);

/// Asks a server what only `bld server` answers.
pub struct Admin(RemoteConnection);

impl Admin {
    /// Returns who asks over that connection.
    pub fn new(connection: RemoteConnection) -> Self {
        Self(connection)
    }

    /// Returns what the server holds and has done.
    pub async fn stat(&self) -> Result<Stat, AdminError> {
        let answered = self.0.long_call(STAT, async |call| {
            let mut client = CacheClient::new(call.channel.clone());
            client.stat(call.request(bld::StatRequest {})).await
        });
        Ok(stat(answered.await?.into_inner())?)
    }

    /// Takes something out of the store. Returns how many things are not there any more.
    pub async fn purge(&self, purge: Purge) -> Result<u64, AdminError> {
        let what = what(purge);
        let answered = self.0.long_call(PURGE, async |call| {
            let mut client = CacheClient::new(call.channel.clone());
            client.purge(call.request(bld::PurgeRequest { what: Some(what.clone()) })).await
        });
        Ok(answered.await?.into_inner().purged)
    }

    /// Has the store verified at most at that speed, or at the server's choice. Tells how it goes, and returns how it went.
    pub async fn scrub(
        &self,
        bytes_per_second: Option<u64>,
        mut heard: impl FnMut(&ScrubState),
    ) -> Result<ScrubState, AdminError> {
        let bytes_per_second = bytes_per_second.unwrap_or(0);
        let begun = self.0.long_call(SCRUB, async |call| {
            let mut client = CacheClient::new(call.channel.clone());
            client.scrub(call.request(bld::ScrubRequest { bytes_per_second })).await
        });
        let mut states = begun.await?.into_inner();
        let mut last = ScrubState::default();
        while let Some(state) = states.message().await.map_err(|it| self.0.failed(SCRUB, it))? {
            last = scrub(state)?;
            heard(&last);
        }
        Ok(last)
    }
}

fn what(purge: Purge) -> What {
    match purge {
        Purge::Blob(digest) => What::Blob(purge_request::Blob {
            digest: Some(digest_message(digest)),
            digest_function: function_number(digest.function()),
        }),
        Purge::Action { namespace, project, digest } => What::Action(purge_request::Action {
            namespace: namespace.to_string(),
            instance_name: project,
            digest: Some(digest_message(digest)),
            digest_function: function_number(digest.function()),
        }),
        Purge::Value(key) => What::Value(purge_request::Value {
            namespace: key.namespace.to_string(),
            space: key.space,
            key: key.key,
        }),
        Purge::Writer(writer) => What::Writer(writer),
    }
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
