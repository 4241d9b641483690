//! The service `Capabilities`.

use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};
use wire::proto::reapi::capabilities_server::{Capabilities, CapabilitiesServer};
use wire::proto::reapi::{
    ActionCacheUpdateCapabilities, CacheCapabilities, FastCdc2020Params, GetCapabilitiesRequest,
    PriorityCapabilities, ServerCapabilities, compressor, digest_function, priority_capabilities,
    symlink_absolute_path_strategy,
};
use wire::proto::semver::SemVer;
use wire::request::NAMESPACE_HEADER;

use crate::front::Front;
use crate::limits::BATCH_BYTES_MAX;
use crate::{Caller, Rights};

/// Answers `GetCapabilities`, with the caller's rights in it.
#[derive(Clone)]
pub(crate) struct CapabilitiesService {
    front: Front,
}

impl CapabilitiesService {
    /// Returns the service over that front.
    pub(crate) fn new(front: Front) -> Self {
        Self { front }
    }

    /// Returns the service as it is served.
    pub(crate) fn server(self) -> CapabilitiesServer<Self> {
        let message_bytes = self.front.limits().message_bytes();
        CapabilitiesServer::new(self).max_decoding_message_size(message_bytes)
    }
}

#[tonic::async_trait]
impl Capabilities for CapabilitiesService {
    async fn get_capabilities(
        &self,
        request: Request<GetCapabilitiesRequest>,
    ) -> Result<Response<ServerCapabilities>, Status> {
        let caller = Caller::of(request.extensions());
        let rights = caller.rights;
        let version = |minor| Some(SemVer { major: 2, minor, ..SemVer::default() });
        let mut response = Response::new(ServerCapabilities {
            cache_capabilities: Some(cache_capabilities(rights, self.front.limits().blob)),
            execution_capabilities: None,
            deprecated_api_version: None,
            low_api_version: version(0),
            high_api_version: version(12),
        });
        // What is found here counts only for builds that may be told the same.
        let namespace = MetadataValue::from_bytes(caller.namespace.to_string().as_bytes());
        response.metadata_mut().insert_bin(NAMESPACE_HEADER, namespace);
        Ok(response)
    }
}

fn cache_capabilities(rights: Rights, blob_bytes_max: u64) -> CacheCapabilities {
    let any =
        priority_capabilities::PriorityRange { min_priority: i32::MIN, max_priority: i32::MAX };
    let functions = [digest_function::Value::Sha256, digest_function::Value::Blake3];
    let zstd = vec![compressor::Value::Zstd.into()];
    CacheCapabilities {
        digest_functions: functions.map(Into::into).to_vec(),
        action_cache_update_capabilities: Some(ActionCacheUpdateCapabilities {
            update_enabled: rights.write_values && rights.write_blobs,
        }),
        cache_priority_capabilities: Some(PriorityCapabilities { priorities: vec![any] }),
        max_batch_total_size_bytes: BATCH_BYTES_MAX.cast_signed(),
        symlink_absolute_path_strategy: symlink_absolute_path_strategy::Value::Allowed.into(),
        supported_compressors: zstd.clone(),
        supported_batch_update_compressors: zstd,
        max_cas_blob_size_bytes: blob_bytes_max.cast_signed(),
        split_blob_support: true,
        splice_blob_support: true,
        fast_cdc_2020_params: Some(FastCdc2020Params {
            avg_chunk_size_bytes: CHUNK_BYTES_AVERAGE,
            seed: 0,
        }),
        rep_max_cdc_params: None,
    }
}

/// How large chunks are on average, in bytes: what the API recommends.
const CHUNK_BYTES_AVERAGE: u64 = 512 << 10;
