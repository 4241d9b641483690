//! The calls of `ActionCache`.

use model::{ActionDigest, ActionResult};
use tonic::Code;
use wire::proto::reapi::action_cache_client::ActionCacheClient;
use wire::proto::reapi::{GetActionResultRequest, UpdateActionResultRequest};

use crate::remote::connection::Connection;
use crate::remote::{Purpose, RemoteError};

/// How large a result may be, in bytes: one of ten thousand outputs has two million.
const RESULT_BYTES_MAX: usize = 8 << 20;

/// Returns what the action made, if somebody recorded it. What makes no sense is as good as nothing.
pub(in crate::remote) async fn lookup(
    connection: &Connection,
    purpose: Option<&Purpose>,
    action: ActionDigest,
) -> Result<Option<ActionResult>, RemoteError> {
    let function = action.0.function();
    let answered = connection.call("look up a result at", purpose, |call| {
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
    let message = answered.await?;
    Ok(message.and_then(|it| wire::decode::action_result_message(function, it).ok()))
}

/// Remembers what the action made.
pub(in crate::remote) async fn record(
    connection: &Connection,
    purpose: Option<&Purpose>,
    action: ActionDigest,
    result: &ActionResult,
) -> Result<(), RemoteError> {
    let message = wire::encode::action_result_message(result);
    let recorded = connection.call("record a result at", purpose, |call| {
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
