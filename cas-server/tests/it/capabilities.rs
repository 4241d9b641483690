//! What the server says it can do.

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use store::{Namespace, SegmentStore, Settings};
use tonic::Code;

use crate::support::{CapabilitiesClient, TestServer, caller, digest, trusted};

async fn capabilities(server: &TestServer) -> reapi::ServerCapabilities {
    let request = reapi::GetCapabilitiesRequest { instance_name: "any/project".to_owned() };
    let mut client = CapabilitiesClient::new(server.channel.clone());
    client.get_capabilities(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn every_client_finds_what_it_asks_for() {
    let server = TestServer::start().await;
    let answer = capabilities(&server).await;
    let (low, high) = (answer.low_api_version.unwrap(), answer.high_api_version.unwrap());
    assert_eq!((low.major, low.minor, high.major, high.minor), (2, 0, 2, 12));

    let cache = answer.cache_capabilities.unwrap();
    assert_eq!(cache.digest_functions, [1, 9], "SHA256 and BLAKE3");
    assert_eq!(cache.supported_compressors, [1], "ZSTD");
    assert_eq!(cache.supported_batch_update_compressors, [1], "ZSTD");
    assert_eq!(cache.max_batch_total_size_bytes, 3_000_000);
    assert!(cache.split_blob_support && cache.splice_blob_support);
    assert_eq!(cache.fast_cdc_2020_params.unwrap().avg_chunk_size_bytes, 512 << 10);
    assert_eq!(cache.symlink_absolute_path_strategy, 2, "ALLOWED");
    let ranges = cache.cache_priority_capabilities.unwrap().priorities;
    assert_eq!((ranges[0].min_priority, ranges[0].max_priority), (i32::MIN, i32::MAX));
    assert!(answer.execution_capabilities.is_none(), "nothing is executed here");
}

#[tokio::test]
async fn a_blob_that_the_store_can_never_hold_is_its_clients_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let budget = 64 << 20;
    let store = SegmentStore::open(folder.path(), Settings::new(budget)).unwrap();
    let server = TestServer::start_over(store).await;
    let cache = capabilities(&server).await.cache_capabilities.unwrap();
    assert_eq!(u64::try_from(cache.max_cas_blob_size_bytes).unwrap(), budget);

    let name = format!("uploads/one/blobs/{}/{}", digest(b"image").hash, budget + 1);
    let refused = server.write(&name, 0, &[b"i"], false).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "there will never be room for it");
}

#[tokio::test]
async fn the_answer_mirrors_what_the_caller_may_do() {
    let mut rights = trusted().rights;
    for may_write in [true, false] {
        rights.write_values = may_write;
        let server = TestServer::start_for(caller("ci", rights, Namespace::Trusted)).await;
        let cache = capabilities(&server).await.cache_capabilities.unwrap();
        let update = cache.action_cache_update_capabilities.unwrap();
        assert_eq!(update.update_enabled, may_write);
    }
}
