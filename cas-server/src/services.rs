//! All services, behind one router.

use std::convert::Infallible;

use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::Route;
use axum::{Router, middleware};
use tonic::service::Routes;
use tower::{Layer, Service};

use crate::admin::AdminService;
use crate::assets::{FetchService, Origins, PushService};
use crate::blobs::BlobsService;
use crate::capabilities::CapabilitiesService;
use crate::front::Front;
use crate::ledger::LedgerService;
use crate::load::{self, Load};
use crate::observe::Observe;
use crate::results::ResultsService;
use crate::stream::StreamService;
use crate::{Operation, http};

/// Returns everything that is served over that front, to those whom `identify` knows: a layer that puts an
/// `Arc<`[`Caller`](crate::Caller)`>` among each request's extensions, or turns it away. Only whether the server lives is told
/// to everybody, whatever else is under way.
pub async fn router<L>(front: Front, origins: Origins, operation: Operation, identify: L) -> Router
where
    L: Layer<Route> + Clone + Send + Sync + 'static,
    L::Service: Service<Request, Error = Infallible> + Clone + Send + Sync + 'static,
    <L::Service as Service<Request>>::Response: IntoResponse + 'static,
    <L::Service as Service<Request>>::Future: Send + 'static,
{
    let load = Load::new(front.limits());
    let observer = operation.observer().clone();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the generated descriptors fit together");
    let routes = Routes::new(CapabilitiesService::new(front.clone()).server())
        .add_service(BlobsService::new(front.clone()).server())
        .add_service(ResultsService::new(front.clone()).server())
        .add_service(StreamService::new(front.clone()).server())
        .add_service(LedgerService::new(front.clone()).server())
        .add_service(FetchService::new(front.clone(), origins).server())
        .add_service(PushService::new(front.clone()).server())
        .add_service(AdminService::new(operation.clone()).server())
        .add_service(reflection);
    routes
        .into_axum_router()
        .merge(operation.router())
        .merge(http::router(front))
        .layer(middleware::from_fn_with_state(load, load::limit))
        .layer(identify)
        .merge(operation.open_router())
        .layer(middleware::from_fn(http::drain_refused))
        .layer(Observe::new(observer))
}
