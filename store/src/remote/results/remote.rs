//! The calls of `ActionCache`.

use bytes::Bytes;
use model::{ActionDigest, ActionResult, Digest};
use prost::Message as _;
use tonic::Code;
use wire::proto::reapi::action_cache_client::ActionCacheClient;
use wire::proto::reapi::{GetActionResultRequest, UpdateActionResultRequest};

use crate::remote::connection::Connection;
use crate::remote::{Purpose, RemoteError};

/// How large a result may be, in bytes: one of ten thousand outputs has two million.
const RESULT_BYTES_MAX: usize = 8 << 20;

/// The largest list of directories that is read to find its root, in bytes: that of a large source tree.
const LIST_BYTES_MAX: u64 = 64 << 20;

/// Returns what the action made, if somebody recorded it. What makes no sense is as good as nothing.
///
/// Servers that know only older versions of the protocol lose the digests of root directories; what `read` returns of
/// the lists of directories tells them again.
pub(in crate::remote) async fn lookup<F: Future<Output = Option<Bytes>>>(
    connection: &Connection,
    purpose: Option<&Purpose>,
    action: ActionDigest,
    read: impl Fn(Digest) -> F,
) -> Result<Option<ActionResult>, RemoteError> {
    let function = action.0.function();
    let answered = connection.call("look up a result at", purpose, 0, |call| {
        let request = call.request(GetActionResultRequest {
            instance_name: connection.instance.clone(),
            action_digest: Some(wire::encode::digest_message(action.0)),
            digest_function: wire::encode::function_number(function),
            ..GetActionResultRequest::default()
        });
        async move {
            let client = ActionCacheClient::new(call.channel.clone());
            let mut client = client.max_decoding_message_size(RESULT_BYTES_MAX);
            match client.get_action_result(request).await {
                Ok(answer) => Ok(Some(answer.into_inner())),
                Err(status) if status.code() == Code::NotFound => Ok(None),
                Err(status) => Err(status),
            }
        }
    });
    let Some(mut message) = answered.await? else { return Ok(None) };
    for directory in &mut message.output_directories {
        if directory.root_directory_digest.is_none() {
            let tree = directory.tree_digest.as_ref();
            let Ok(tree) = wire::decode::digest(function, tree, "tree_digest") else {
                return Ok(None);
            };
            let list = if tree.size() <= LIST_BYTES_MAX { read(tree).await } else { None };
            let root = list.as_deref().and_then(wire::decode::tree_root);
            let Some(root) = root.map(|root| Digest::of(function, root)) else { return Ok(None) };
            directory.root_directory_digest = Some(wire::encode::digest_message(root));
        }
    }
    Ok(wire::decode::action_result_message(function, message).ok())
}

/// Remembers what the action made.
pub(in crate::remote) async fn record(
    connection: &Connection,
    purpose: Option<&Purpose>,
    action: ActionDigest,
    result: &ActionResult,
) -> Result<(), RemoteError> {
    let message = wire::encode::action_result_message(result);
    let bytes = message.encoded_len() as u64;
    let recorded = connection.call("record a result at", purpose, bytes, |call| {
        let request = call.request(UpdateActionResultRequest {
            instance_name: connection.instance.clone(),
            action_digest: Some(wire::encode::digest_message(action.0)),
            action_result: Some(message.clone()),
            digest_function: wire::encode::function_number(action.0.function()),
            ..UpdateActionResultRequest::default()
        });
        async move {
            let client = ActionCacheClient::new(call.channel.clone());
            let mut client = client.max_decoding_message_size(RESULT_BYTES_MAX);
            client.update_action_result(request).await
        }
    });
    recorded.await.map(|_| ())
}
