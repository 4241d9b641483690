//! The calls of `Ledger`.

use prost::Message as _;
use tonic::{Code, Response, Status};
use wire::proto::bld::ledger_client::LedgerClient;
use wire::proto::bld::{LatestRequest, LedgerEntry, RecordRequest};

use crate::remote::RemoteError;
use crate::remote::connection::Connection;

/// Returns owners and the keys that their actions had last; `None` from a remote that remembers no keys.
pub(super) async fn latest(
    connection: &Connection,
    owners: Vec<String>,
) -> Result<Option<Vec<(String, String)>>, RemoteError> {
    let bytes = owners.iter().map(|it| it.len() as u64).sum();
    let answered = connection.call("ask for earlier keys at", None, bytes, |call| {
        let project = connection.instance.clone();
        let request = call.request(LatestRequest { project, owners: owners.clone() });
        async move { or_nothing(LedgerClient::new(call.channel.clone()).latest(request).await) }
    });
    let entries = answered.await?.map(|answer| answer.entries.into_iter());
    Ok(entries.map(|entries| entries.map(|entry| (entry.owner, entry.action)).collect()))
}

/// Not every remote remembers keys.
fn or_nothing<T>(answered: Result<Response<T>, Status>) -> Result<Option<T>, Status> {
    match answered {
        Ok(answer) => Ok(Some(answer.into_inner())),
        Err(status) if status.code() == Code::Unimplemented => Ok(None),
        Err(status) => Err(status),
    }
}

/// Remembers the keys of owners' actions.
pub(super) async fn record(
    connection: &Connection,
    entries: Vec<(String, String)>,
) -> Result<(), RemoteError> {
    let entry = |(owner, action)| LedgerEntry { owner, action };
    let entries: Vec<_> = entries.into_iter().map(entry).collect();
    let bytes = entries.iter().map(|it| it.encoded_len() as u64).sum();
    let recorded = connection.call("record keys at", None, bytes, |call| {
        let project = connection.instance.clone();
        let request = call.request(RecordRequest { project, entries: entries.clone() });
        async move { or_nothing(LedgerClient::new(call.channel.clone()).record(request).await) }
    });
    recorded.await.map(|_| ())
}
