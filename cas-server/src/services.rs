//! All services, behind one router.

use axum::{Router, middleware};
use tonic::service::Routes;
use tonic_health::ServingStatus;

use crate::assets::{FetchService, Origins, PushService};
use crate::blobs::BlobsService;
use crate::capabilities::CapabilitiesService;
use crate::front::Front;
use crate::limits::Limits;
use crate::load::{self, Load};
use crate::metadata;
use crate::results::ResultsService;
use crate::stream::StreamService;

/// Returns everything that is served over that front. Whoever calls must be known before: a [`Caller`](crate::Caller)
/// must be among each request's extensions.
pub async fn router(front: Front, origins: Origins, limits: Limits) -> Router {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("", ServingStatus::Serving).await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the generated descriptors fit together");
    let routes = Routes::new(CapabilitiesService.server())
        .add_service(BlobsService::new(front.clone()).server())
        .add_service(ResultsService::new(front.clone()).server())
        .add_service(StreamService::new(front.clone()).server())
        .add_service(FetchService::new(front.clone(), origins).server())
        .add_service(PushService::new(front).server())
        .add_service(health)
        .add_service(reflection);
    routes
        .into_axum_router()
        .layer(middleware::from_fn(metadata::read))
        .layer(middleware::from_fn_with_state(Load::new(limits), load::limit))
}
