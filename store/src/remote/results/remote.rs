//! The calls of `ActionCache`.

use std::sync::Arc;

use bytes::Bytes;
use model::{ActionDigest, ActionResult, Digest, DigestFunction};
use prost::Message as _;
use tonic::Code;
use wire::proto::reapi::action_cache_client::ActionCacheClient;
use wire::proto::reapi::{GetActionResultRequest, OutputDirectory, UpdateActionResultRequest};

use crate::StoreError;
use crate::remote::connection::Connection;
use crate::remote::{Purpose, RemoteError};

/// How large a result may be, in bytes: one of ten thousand outputs has two million.
const RESULT_BYTES_MAX: usize = 8 << 20;

/// How large the lists of directories of a result are that are read to find their roots, in bytes and together: one of a
/// large source tree.
const LISTS_BYTES_MAX: u64 = 64 << 20;

/// Returns what the action made, if somebody recorded it. What makes no sense is as good as nothing.
///
/// Servers that know only older versions of the protocol lose the digests of root directories; what `read` returns of
/// the lists of directories tells them again.
pub(in crate::remote) async fn lookup<F: Future<Output = Result<Option<Bytes>, StoreError>>>(
    connection: &Connection,
    purpose: Option<&Purpose>,
    action: ActionDigest,
    read: impl Fn(Digest) -> F,
) -> Result<Option<ActionResult>, StoreError> {
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
    let Some(mut message) = answered.await.map_err(Arc::new)? else { return Ok(None) };
    if !find_roots(function, &mut message.output_directories, read).await? {
        return Ok(None);
    }
    Ok(wire::decode::action_result_message(function, message).ok())
}

/// Returns whether the roots of all directories are known, after reading the lists of those of which nothing is said.
async fn find_roots<F: Future<Output = Result<Option<Bytes>, StoreError>>>(
    function: DigestFunction,
    directories: &mut [OutputDirectory],
    read: impl Fn(Digest) -> F,
) -> Result<bool, StoreError> {
    let mut bytes_left = LISTS_BYTES_MAX;
    for directory in directories.iter_mut().filter(|it| it.root_directory_digest.is_none()) {
        let list = wire::decode::digest(function, directory.tree_digest.as_ref(), "tree_digest");
        let Ok(list) = list else { return Ok(false) };
        let Some(rest) = bytes_left.checked_sub(list.size()) else { return Ok(false) };
        bytes_left = rest;
        let list = read(list).await?;
        let root = list.as_deref().and_then(wire::decode::tree_root);
        let Some(root) = root.map(|root| Digest::of(function, root)) else { return Ok(false) };
        directory.root_directory_digest = Some(wire::encode::digest_message(root));
    }
    Ok(true)
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::FutureExt as _;

    use super::*;

    const BLAKE3: DigestFunction = DigestFunction::Blake3;

    /// Returns directories of which only the digests of their lists are known.
    fn directories(sizes: &[u64]) -> Vec<OutputDirectory> {
        let list = |size: &u64| Digest::from_parts(BLAKE3, *Digest::of(BLAKE3, b"").hash(), *size);
        let directory = |size| OutputDirectory {
            tree_digest: Some(wire::encode::digest_message(list(size))),
            ..OutputDirectory::default()
        };
        sizes.iter().map(directory).collect()
    }

    #[test]
    fn what_is_read_to_find_roots_is_bounded_together() {
        let tree = wire::encode::tree(b"", &[]);
        let most = LISTS_BYTES_MAX;
        for (sizes, is_found, lists) in [
            (vec![most], true, 1),
            (vec![most + 1], false, 0),
            (vec![most / 2, most / 2], true, 2),
            (vec![most / 2; 10], false, 2),
        ] {
            let count = Cell::new(0);
            let read = |_| {
                count.set(count.get() + 1);
                std::future::ready(Ok(Some(tree.clone())))
            };
            let mut directories = directories(&sizes);
            let found = find_roots(BLAKE3, &mut directories, read).now_or_never().unwrap();
            assert_eq!((found.unwrap(), count.get()), (is_found, lists), "{sizes:?}");
        }
    }

    #[test]
    fn a_list_that_cannot_be_read_is_a_failure_and_one_that_is_gone_is_none() {
        let fail = |_| std::future::ready(Err(StoreError::ValueTooLarge));
        let mut directories = directories(&[100]);
        assert!(find_roots(BLAKE3, &mut directories, fail).now_or_never().unwrap().is_err());
        let gone = |_| std::future::ready(Ok(None));
        let found = find_roots(BLAKE3, &mut directories, gone).now_or_never().unwrap();
        assert!(!found.unwrap());
    }
}
