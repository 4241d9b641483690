//! Asking a remote what it can do.

use model::DigestFunction;
use tonic::metadata::MetadataMap;
use wire::proto::reapi::capabilities_client::CapabilitiesClient;
use wire::proto::reapi::{GetCapabilitiesRequest, ServerCapabilities, compressor, digest_function};
use wire::proto::semver::SemVer;
use wire::request::NAMESPACE_HEADER;

use super::Said;
use crate::remote::RemoteError;
use crate::remote::connection::Connection;

/// Asks a remote what it says of itself.
pub(in crate::remote) async fn ask(connection: &Connection) -> Result<Said, RemoteError> {
    let answered = connection.first_call("ask what can be done at", |call| {
        let instance_name = connection.instance.clone();
        async move {
            let request = call.request(GetCapabilitiesRequest { instance_name });
            CapabilitiesClient::new(call.channel.clone()).get_capabilities(request).await
        }
    });
    let (headers, answer, _) = answered.await?.into_parts();
    Ok(said(&answer, &headers))
}

fn said(answer: &ServerCapabilities, headers: &MetadataMap) -> Said {
    let version = |it: &SemVer| (it.major, it.minor);
    let mut said = Said {
        lowest: answer.low_api_version.as_ref().map(version),
        highest: answer.high_api_version.as_ref().map(version),
        ..Said::default()
    };
    let Some(cache) = &answer.cache_capabilities else { return said };
    let functions = || cache.digest_functions();
    said.is_cache = true;
    said.functions = functions().filter_map(known).collect();
    said.function_names = functions().map(|it| it.as_str_name()).collect();
    let update = cache.action_cache_update_capabilities.as_ref();
    said.update_enabled = update.is_some_and(|it| it.update_enabled);
    said.batch_bytes = cache.max_batch_total_size_bytes;
    let zstd = i32::from(compressor::Value::Zstd);
    said.zstd_streams = cache.supported_compressors.contains(&zstd);
    said.zstd_batches = cache.supported_batch_update_compressors.contains(&zstd);
    let namespace = headers.get_bin(NAMESPACE_HEADER).and_then(|it| it.to_bytes().ok());
    let namespace = namespace.and_then(|it| String::from_utf8(it.to_vec()).ok());
    said.provenance = namespace.and_then(|it| Some(crate::Provenance::Namespace(it.parse().ok()?)));
    said
}

fn known(function: digest_function::Value) -> Option<DigestFunction> {
    function.as_str_name().to_ascii_lowercase().parse().ok()
}
