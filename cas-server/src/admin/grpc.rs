//! The service `bld.v1.Cache`.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, Stream};
use store::{CellarStat, Namespace, ValueKey};
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use wire::proto::bld;
use wire::proto::bld::cache_server::{Cache, CacheServer};
use wire::proto::bld::purge_request::{self, What};
use wire::proto::reapi;

use super::{ClientStat, SCRUB_BYTES_PER_SECOND, ScrubState, Stat};
use crate::asked::Asked;
use crate::front::{raw_space, results_space};
use crate::metrics::{Kind, Lookups};
use crate::operation::Operation;
use crate::{Caller, Right, asked, fault};

/// Answers whoever runs the server.
#[derive(Clone)]
pub struct AdminService {
    operation: Operation,
}

impl AdminService {
    /// Returns the service over that server.
    pub fn new(operation: Operation) -> Self {
        Self { operation }
    }

    /// Returns the service as it is served.
    pub fn server(self) -> CacheServer<Self> {
        CacheServer::new(self)
    }
}

#[tonic::async_trait]
impl Cache for AdminService {
    async fn stat(
        &self,
        request: Request<bld::StatRequest>,
    ) -> Result<Response<bld::StatResponse>, Status> {
        let caller = Caller::of(request.extensions());
        if !caller.rights.administer {
            caller.require(Right::Read)?;
        }
        let stat = Stat::of(&self.operation, caller.rights.administer);
        Ok(Response::new(bld::StatResponse {
            version: stat.version,
            uptime: Some(message(stat.uptime)),
            store: Some(store(&stat.store)),
            clients: stat.clients.into_iter().map(client).collect(),
            scrub: Some(scrub(stat.scrub)),
        }))
    }

    async fn purge(
        &self,
        request: Request<bld::PurgeRequest>,
    ) -> Result<Response<bld::PurgeResponse>, Status> {
        let caller = administrator(&request)?;
        let what = request.into_inner().what;
        let what = what.ok_or_else(|| Status::invalid_argument("it is not said what to purge"))?;
        tracing::info!(caller = &*caller.name, what = ?what, "a purge");
        let purged = match what {
            What::Blob(blob) => self.purge_blob(blob).await?,
            What::Action(action) => self.purge_action(action).await?,
            What::Value(value) => {
                let namespace = namespace(&value.namespace)?;
                let key = ValueKey { namespace, space: value.space, key: value.key };
                self.forget(&key).await?
            }
            What::Writer(writer) if writer.is_empty() => {
                return Err(Status::invalid_argument("a writer has a name"));
            }
            What::Writer(writer) => {
                self.operation.cellar().forget_writer(&writer).await.map_err(fault::of_store)?
            }
        };
        Ok(Response::new(bld::PurgeResponse { purged }))
    }

    type ScrubStream = Pin<Box<dyn Stream<Item = Result<bld::ScrubResponse, Status>> + Send>>;

    async fn scrub(
        &self,
        request: Request<bld::ScrubRequest>,
    ) -> Result<Response<Self::ScrubStream>, Status> {
        let caller = administrator(&request)?;
        let speed = match request.into_inner().bytes_per_second {
            0 => SCRUB_BYTES_PER_SECOND,
            speed => speed,
        };
        tracing::info!(caller = &*caller.name, bytes_per_second = speed, "a scrub");
        Ok(Response::new(Box::pin(progress(self.operation.scrubber().begin(speed)))))
    }
}

impl AdminService {
    async fn purge_blob(&self, blob: purge_request::Blob) -> Result<u64, Status> {
        let mut purged = 0;
        for digest in digest(blob.digest_function, blob.digest.as_ref())?.candidates() {
            let forgotten = self.operation.cellar().forget_blob(digest).await;
            purged += u64::from(forgotten.map_err(fault::of_store)?);
        }
        Ok(purged)
    }

    async fn purge_action(&self, action: purge_request::Action) -> Result<u64, Status> {
        let namespace = namespace(&action.namespace)?;
        let project = &action.instance_name;
        let mut keys = BTreeSet::new();
        for digest in digest(action.digest_function, action.digest.as_ref())?.candidates() {
            keys.insert((results_space(digest.function(), project), digest.hex()));
            // What else is under that name may be all that its writer means by a result.
            keys.insert((raw_space(project), digest.hex()));
        }
        let mut purged = 0;
        for (space, key) in keys {
            let namespace = namespace.clone();
            purged += self.forget(&ValueKey { namespace, space, key }).await?;
        }
        Ok(purged)
    }

    async fn forget(&self, key: &ValueKey) -> Result<u64, Status> {
        let forgotten = self.operation.cellar().forget(key).await;
        forgotten.map(u64::from).map_err(fault::of_store)
    }
}

/// Returns how a scrub goes, until it has ended.
fn progress(
    states: watch::Receiver<ScrubState>,
) -> impl Stream<Item = Result<bld::ScrubResponse, Status>> {
    stream::unfold(Some(states), async |states| {
        let mut states = states?;
        states.changed().await.ok()?;
        let state = states.borrow_and_update().clone();
        let next = state.running.then_some(states);
        Some((Ok(scrub(state)), next))
    })
}

/// Returns whoever asks, if he may administer.
fn administrator<T>(request: &Request<T>) -> Result<Arc<Caller>, Status> {
    let caller = Caller::of(request.extensions());
    caller.require(Right::Administer)?;
    Ok(Arc::clone(caller))
}

fn digest(function: i32, digest: Option<&reapi::Digest>) -> Result<Asked, Status> {
    let digest = digest.ok_or_else(|| Status::invalid_argument("the digest is missing"))?;
    Asked::new(asked::functions(function)?, &digest.hash, digest.size_bytes)
}

fn namespace(text: &str) -> Result<Namespace, Status> {
    if text.is_empty() {
        return Ok(Namespace::Trusted);
    }
    text.parse()
        .map_err(|error: store::InvalidNamespace| Status::invalid_argument(error.to_string()))
}

fn store(stat: &CellarStat) -> bld::StoreStat {
    bld::StoreStat {
        blobs: stat.blobs,
        values: stat.values,
        logical_bytes: stat.logical_bytes,
        physical_bytes: stat.physical_bytes,
        chunked_bytes: stat.chunked_bytes,
        chunk_bytes: stat.chunk_bytes,
        budget_bytes: stat.budget_bytes,
        leases: stat.leases,
        pinned_bytes: stat.pinned_bytes,
        retention: stat.retention_seconds.map(|it| message(Duration::from_secs(it))),
        evicted_bytes: stat.evicted_bytes,
        corrupt: stat.corrupt,
    }
}

fn client(client: ClientStat) -> bld::ClientStat {
    let it = client.tallied;
    let used = Kind::ALL.into_iter().filter(|kind| it.lookups(*kind).rate().is_some());
    let kind = |kind: Kind| {
        let Lookups { hits, misses, incomplete } = it.lookups(kind);
        bld::KindStat { kind: kind.as_str().to_owned(), hits, misses, incomplete }
    };
    bld::ClientStat {
        tool: client.tool,
        identity: client.identity,
        requests: it.requests,
        failures: it.failures,
        received_bytes: it.received_bytes,
        sent_bytes: it.sent_bytes,
        kinds: used.map(kind).collect(),
        saved_cpu: Some(message(it.saved_cpu)),
        saved_wall: Some(message(it.saved_wall)),
        last_seen: Some(client.last_seen.into()),
    }
}

fn scrub(state: ScrubState) -> bld::ScrubResponse {
    bld::ScrubResponse {
        running: state.running,
        began: state.began.map(Into::into),
        took: Some(message(state.took)),
        records: state.scrubbed.records,
        bytes: state.scrubbed.bytes,
        corrupt: state.scrubbed.corrupt,
        failure: state.failure.unwrap_or_default(),
    }
}

fn message(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).unwrap_or_default()
}
