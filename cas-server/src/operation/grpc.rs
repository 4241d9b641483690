//! The service `Health`.

use std::pin::Pin;

use futures::Stream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::{Drain, Phase};

/// The largest question, in bytes: everybody may ask it, and it is but the name of a service.
const MESSAGE_BYTES_MAX: usize = 1 << 10;

/// Says whether the server serves.
#[derive(Clone)]
pub(crate) struct HealthService {
    drain: Drain,
}

impl HealthService {
    /// Returns the service over the end of that server.
    pub(crate) fn new(drain: Drain) -> Self {
        Self { drain }
    }

    /// Returns the service as it is served.
    pub(crate) fn server(self) -> HealthServer<Self> {
        HealthServer::new(self).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }
}

#[tonic::async_trait]
impl Health for HealthService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !request.get_ref().service.is_empty() {
            return Err(Status::not_found("services are not told apart: ask for the empty name"));
        }
        let status = match self.drain.phase() {
            Phase::Serving => ServingStatus::Serving,
            Phase::Starting | Phase::Draining => ServingStatus::NotServing,
        };
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }

    /// Whoever needs no name could have any number of streams open without end; clients that are told so take the server for
    /// healthy.
    async fn watch(
        &self,
        _request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("ask with `Check`"))
    }
}
