//! What whoever runs a server asks of it: is it alive, is it ready, what does it hold, who uses it, what went wrong.

mod grpc;
mod page;
mod show;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use http::{HeaderValue, StatusCode, header};
use store::Cellar;
use tonic::service::Routes;

use self::grpc::HealthService;
use crate::admin::Scrubber;
use crate::metrics::{CONTENT_TYPE, Exposition};
use crate::observe::Observer;
use crate::{Caller, Drain, Phase, Rights};

/// What the page may do in a browser: nothing but look as it does.
const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// How the page looks.
const STYLE: &str = include_str!("../../templates/status.css");

/// A server as whoever runs it sees it. Clones are the same one.
#[derive(Clone)]
pub struct Operation(Arc<Parts>);

struct Parts {
    cellar: Arc<dyn Cellar>,
    observer: Observer,
    drain: Drain,
    scrubber: Scrubber,
    exposition: Exposition,
}

impl Operation {
    /// Returns the view of a server with that store, observer and end.
    pub fn new(cellar: Arc<dyn Cellar>, observer: Observer, drain: Drain) -> Self {
        let metrics = Arc::clone(observer.metrics());
        let exposition = Exposition::new(metrics, Arc::clone(&cellar), drain.clone());
        let scrubber = Scrubber::new(Arc::clone(&cellar), drain.clone());
        Self(Arc::new(Parts { cellar, observer, drain, scrubber, exposition }))
    }

    /// Returns the store.
    pub fn cellar(&self) -> &Arc<dyn Cellar> {
        &self.0.cellar
    }

    /// Returns who hears of requests.
    pub fn observer(&self) -> &Observer {
        &self.0.observer
    }

    /// Returns the end of the server.
    pub fn drain(&self) -> &Drain {
        &self.0.drain
    }

    /// Returns who scrubs the store.
    pub fn scrubber(&self) -> &Scrubber {
        &self.0.scrubber
    }

    /// Returns what is served to browsers and to Prometheus.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/", get(page))
            .route("/status", get(page))
            .route("/status.css", get(style))
            .route("/metrics", get(metrics))
            .with_state(self.clone())
    }

    /// Returns what everybody may ask, without saying who he is: whether the server lives, and serves.
    pub fn open_router(&self) -> Router {
        let health = HealthService::new(self.drain().clone()).server();
        Router::new()
            .route("/healthz", get(alive))
            .route("/readyz", get(ready))
            .with_state(self.clone())
            .merge(Routes::new(health).into_axum_router().reset_fallback())
    }
}

/// Returns what whoever asks may do; nothing, where nobody has found out who he is.
fn rights(caller: Option<Extension<Arc<Caller>>>) -> Rights {
    caller.map_or_else(Rights::default, |Extension(caller)| caller.rights)
}

async fn page(
    State(operation): State<Operation>,
    caller: Option<Extension<Arc<Caller>>>,
) -> Response {
    let page = page::page(&operation, rights(caller));
    let fixed = HeaderValue::from_static;
    let headers = [
        (header::CONTENT_SECURITY_POLICY, fixed(POLICY)),
        (header::CACHE_CONTROL, fixed("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
        (header::REFERRER_POLICY, fixed("no-referrer")),
    ];
    (headers, Html(page)).into_response()
}

async fn style() -> Response {
    let kind = HeaderValue::from_static("text/css; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], STYLE).into_response()
}

async fn metrics(
    State(operation): State<Operation>,
    caller: Option<Extension<Arc<Caller>>>,
) -> Response {
    let rights = rights(caller);
    if !rights.read && !rights.administer {
        return (StatusCode::FORBIDDEN, "you may not read here\n").into_response();
    }
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE))];
    (headers, operation.0.exposition.text()).into_response()
}

/// Whoever is answered knows that the server lives.
async fn alive() -> &'static str {
    "alive\n"
}

async fn ready(State(operation): State<Operation>) -> (StatusCode, &'static str) {
    match operation.drain().phase() {
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Phase::Serving => (StatusCode::OK, "ready\n"),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}
