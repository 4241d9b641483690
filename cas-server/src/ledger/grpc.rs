//! The service `Ledger`.

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use model::Digest;
use tonic::{Request, Response, Status};
use wire::proto::bld::ledger_server::{Ledger, LedgerServer};
use wire::proto::bld::{LatestRequest, LatestResponse, LedgerEntry, RecordRequest, RecordResponse};

use super::{OWNER_BYTES_MAX, OWNERS_MAX, space};
use crate::Right;
use crate::fault;
use crate::front::{Front, View};

/// How many owners of one request are looked up or recorded at once.
const AT_ONCE: usize = 32;

/// Remembers what actions were called.
#[derive(Clone)]
pub(crate) struct LedgerService {
    front: Front,
}

impl LedgerService {
    /// Returns the service over that front.
    pub(crate) fn new(front: Front) -> Self {
        Self { front }
    }

    /// Returns the service as it is served.
    pub(crate) fn server(self) -> LedgerServer<Self> {
        let message_bytes = self.front.limits().message_bytes();
        LedgerServer::new(self).max_decoding_message_size(message_bytes)
    }
}

#[tonic::async_trait]
impl Ledger for LedgerService {
    async fn record(
        &self,
        request: Request<RecordRequest>,
    ) -> Result<Response<RecordResponse>, Status> {
        let view = self.front.view(request.extensions()).with(Right::WriteValues)?;
        let RecordRequest { project, entries } = request.into_inner();
        check(entries.iter().map(|entry| entry.owner.as_str()))?;
        if let Some(entry) = entries.iter().find(|entry| !is_action(&entry.action)) {
            return Err(Status::invalid_argument(format!("`{}` names no action", entry.action)));
        }
        let (view, space) = (&view, &space(&project));
        let recorded = stream::iter(entries).map(|LedgerEntry { owner, action }| async move {
            view.record(space, &owner, action.into()).await
        });
        recorded.buffer_unordered(AT_ONCE).try_collect::<()>().await.map_err(fault::of_store)?;
        Ok(Response::new(RecordResponse {}))
    }

    async fn latest(
        &self,
        request: Request<LatestRequest>,
    ) -> Result<Response<LatestResponse>, Status> {
        let view = self.front.view(request.extensions()).with(Right::Read)?;
        let LatestRequest { project, owners } = request.into_inner();
        check(owners.iter().map(String::as_str))?;
        let (view, space) = (&view, &space(&project));
        let found = stream::iter(owners).map(|owner| latest(view, space, owner));
        let found: Vec<_> = found.buffered(AT_ONCE).try_collect().await?;
        Ok(Response::new(LatestResponse { entries: found.into_iter().flatten().collect() }))
    }
}

async fn latest(view: &View, space: &str, owner: String) -> Result<Option<LedgerEntry>, Status> {
    let found = view.lookup(space, &owner).await.map_err(fault::of_store)?;
    let action = found.and_then(|value| String::from_utf8(value.bytes.to_vec()).ok());
    Ok(action.map(|action| LedgerEntry { owner, action }))
}

fn check<'a>(mut owners: impl ExactSizeIterator<Item = &'a str>) -> Result<(), Status> {
    if owners.len() > OWNERS_MAX {
        return Err(Status::invalid_argument(format!("at most {OWNERS_MAX} owners at once")));
    }
    if owners.any(|owner| owner.is_empty() || owner.len() > OWNER_BYTES_MAX) {
        let why = format!("an owner has 1 to {OWNER_BYTES_MAX} bytes");
        return Err(Status::invalid_argument(why));
    }
    Ok(())
}

fn is_action(text: &str) -> bool {
    let parsed =
        |(function, digest): (&str, &str)| Digest::parse(function.parse().ok()?, digest).ok();
    text.split_once(':').and_then(parsed).is_some()
}
