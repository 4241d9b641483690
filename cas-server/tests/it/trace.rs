//! What is logged and traced, and what never is.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::middleware::{self, Next};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cas_server::trace::{LogSettings, TraceError, TraceSettings, subscriber};
use cas_server::{Authority, LogFormat, Role};
use http::{Request, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::Value as Json;
use testkit::{Mutator, Seed, cases};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::{Identity, ServerTlsConfig};
use tonic::{Response, Status};
use tracing_subscriber::fmt::MakeWriter;
use wire::request::{METADATA_HEADER, RequestMetadata};

use crate::mangled::mangle;
use crate::serving::{ALL, ask, caller, operation};

/// What was written.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Paper {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// A server of plain HTTP that answers with the status that its path names.
fn answering() -> Router {
    let answer = async |axum::extract::Path(code): axum::extract::Path<u16>| {
        (StatusCode::from_u16(code).unwrap(), "told")
    };
    Router::new().route("/{code}", get(answer))
}

fn request(path: &str, metadata: &RequestMetadata) -> Request<Body> {
    let request = Request::get(path).header(METADATA_HEADER, STANDARD.encode(metadata.encode()));
    request.header("authorization", "Bearer s3cret").body(Body::empty()).unwrap()
}

/// Asks for each of the paths while everything is logged by those settings. Returns the lines.
async fn logged(
    form: LogFormat,
    filter: &str,
    paths: &[&str],
    metadata: &RequestMetadata,
) -> Vec<String> {
    let (paper, filter) = (Paper::default(), filter.to_owned());
    let (subscriber, _traces) =
        subscriber(&LogSettings { form, filter }, None, paper.clone()).unwrap();
    let _logging = tracing::subscriber::set_default(subscriber);
    let operation = operation();
    for path in paths {
        ask(&operation, answering(), Some(caller("ci", ALL)), request(path, metadata)).await;
    }
    paper.lines()
}

fn metadata() -> RequestMetadata {
    RequestMetadata {
        tool: "bazel".to_owned(),
        version: "8.0.0".to_owned(),
        invocation: "build-1".to_owned(),
        ..RequestMetadata::default()
    }
}

#[tokio::test]
async fn a_failure_is_a_line_that_says_all_that_is_known_of_it() {
    let lines = logged(LogFormat::Json, "info", &["/200", "/404", "/500"], &metadata()).await;
    assert_eq!(lines.len(), 1, "what went well, or is not there, is nobody's business: {lines:?}");
    let line: Json = serde_json::from_str(&lines[0]).unwrap();
    for (field, value) in [
        ("level", "WARN"),
        ("target", "bld::request"),
        ("method", "http/GET"),
        ("path", "/500"),
        ("outcome", "internal"),
        ("caller", "ci"),
        ("tool", "bazel"),
        ("tool_version", "8.0.0"),
        ("invocation", "build-1"),
    ] {
        assert_eq!(line[field], value, "{field}: {line}");
    }
    assert_eq!(line["sent_bytes"], 4);
    assert!(line["seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(line["id"].as_str().unwrap().len(), 16);
    assert!(line.get("action").is_none(), "what is not known is left out: {line}");
}

#[tokio::test]
async fn every_request_is_logged_where_that_is_wanted() {
    let lines = logged(LogFormat::Json, "bld::request=debug", &["/200", "/404"], &metadata()).await;
    let outcomes =
        lines.iter().map(|line| serde_json::from_str::<Json>(line).unwrap()["outcome"].clone());
    assert_eq!(outcomes.collect::<Vec<_>>(), ["ok", "not_found"]);
}

#[tokio::test]
async fn no_credential_is_ever_logged() {
    let paths = ["/200?token=s3cret", "/401?token=s3cret", "/500?token=s3cret"];
    let lines = logged(LogFormat::Text, "trace", &paths, &metadata()).await;
    assert!(lines.len() >= 3, "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("s3cret")), "{lines:#?}");
}

#[tokio::test]
async fn nobody_outside_can_write_a_line_of_his_own() {
    let tool = "x\n2026-01-01T00:00:00Z INFO forged\u{1b}[31m\r".to_owned();
    let metadata = RequestMetadata { tool, ..RequestMetadata::default() };
    for form in [LogFormat::Text, LogFormat::Json] {
        let lines = logged(form, "info", &["/500"], &metadata).await;
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(!lines[0].contains(['\u{1b}', '\r']), "{lines:?}");
    }
}

#[tokio::test]
async fn settings_that_mean_nothing_are_refused() {
    let log = LogSettings { filter: "info,=,loud".to_owned(), ..LogSettings::default() };
    let refused = subscriber(&log, None, io::sink).err();
    assert!(matches!(refused, Some(TraceError::Filter { .. })), "{refused:?}");
    let refused = |trace: TraceSettings| {
        subscriber(&LogSettings::default(), Some(&trace), io::sink).err().unwrap()
    };
    for endpoint in ["", "collector", "ftp://127.0.0.1:4317", "http://no-port", "https://no-port"] {
        let refused = refused(traced(endpoint));
        assert!(matches!(refused, TraceError::Endpoint { .. }), "{endpoint}: {refused:?}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "no certificate").unwrap();
    for path in [file.path(), Path::new("/no/such/file")] {
        let believing =
            |endpoint| TraceSettings { authority: Some(path.to_owned()), ..traced(endpoint) };
        let plain = refused(believing("http://127.0.0.1:4317"));
        assert!(matches!(plain, TraceError::Unencrypted { .. }), "{plain:?}");
        let nothing = refused(believing("https://127.0.0.1:4317"));
        assert!(matches!(nothing, TraceError::Authority { .. }), "{nothing:?}");
    }
}

/// Returns how all traces are sent to that address.
fn traced(endpoint: &str) -> TraceSettings {
    TraceSettings { endpoint: endpoint.to_owned(), authority: None, share: 1.0 }
}

/// How many answers of a collector are tried, if `BLD_FUZZ_CASES` does not say.
const EXPORTS: u64 = 50;

/// Takes what is sent by OTLP.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start(&self) -> TraceSettings {
        let server = tonic::transport::Server::builder();
        traced(&format!("http://{}", self.listen(server).await))
    }

    /// Starts it with a certificate that an authority in that folder issued, and believes the authority.
    async fn start_encrypted(&self, folder: &Path) -> TraceSettings {
        let (authority, now) = (Authority::new(&folder.join("ca")), SystemTime::now());
        let day = Duration::from_secs(24 * 60 * 60);
        authority.init(now, day).unwrap();
        let addresses = vec![Ipv4Addr::LOCALHOST.into()];
        let server = Role::Server { names: Vec::new(), addresses };
        authority.issue("collector", &server, now, day, folder).unwrap();
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        let identity = Identity::from_pem(read("collector.pem"), read("collector.key"));
        let tls = ServerTlsConfig::new().identity(identity);
        let server = tonic::transport::Server::builder().tls_config(tls).unwrap();
        let endpoint = format!("https://{}", self.listen(server).await);
        TraceSettings { authority: Some(authority.certificate()), ..traced(&endpoint) }
    }

    async fn listen(&self, mut server: tonic::transport::Server) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = server.add_service(TraceServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }

    fn spans(&self) -> Vec<Span> {
        let exports = self.0.lock().unwrap().clone();
        let resources = exports.into_iter().flat_map(|it| it.resource_spans);
        resources.flat_map(|it| it.scope_spans).flat_map(|it| it.spans).collect()
    }
}

fn attribute(span: &Span, name: &str) -> Option<String> {
    let value = span.attributes.iter().find(|it| it.key == name)?.value.clone()?.value?;
    let number = if let Value::IntValue(number) = &value { Some(number.to_string()) } else { None };
    number.or(if let Value::StringValue(text) = value { Some(text) } else { None })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_a_span_of_the_trace_that_its_client_has_begun() {
    let collector = Collector::default();
    let trace = collector.start().await;
    let paper = Paper::default();
    let (subscriber, traces) =
        subscriber(&LogSettings::default(), Some(&trace), paper.clone()).unwrap();
    {
        let _logging = tracing::subscriber::set_default(subscriber);
        let operation = operation();
        for (path, parent) in [
            ("/200", Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
            ("/500", None),
            ("/204", Some("00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-00")),
        ] {
            let mut request = request(path, &metadata());
            if let Some(parent) = parent {
                request.headers_mut().insert("traceparent", parent.parse().unwrap());
            }
            ask(&operation, answering(), Some(caller("ci", ALL)), request).await;
        }
    }
    traces.end().await;

    let spans = collector.spans();
    assert_eq!(spans.len(), 2, "what its client does not want traced is not: {spans:#?}");
    let of = |outcome: &str| {
        let is_it = |span: &&Span| attribute(span, "outcome").as_deref() == Some(outcome);
        spans.iter().find(is_it).unwrap()
    };
    let (good, bad) = (of("ok"), of("internal"));
    assert_eq!(good.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
    assert_eq!(good.parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    assert_eq!(good.name, "http/GET");
    assert_eq!(good.kind, 2, "a server's");
    for (name, value) in
        [("caller", "ci"), ("tool", "bazel"), ("invocation", "build-1"), ("sent_bytes", "4")]
    {
        assert_eq!(attribute(good, name).as_deref(), Some(value), "{name}");
    }
    assert!(bad.parent_span_id.is_empty(), "nobody has begun that trace");
    assert_eq!(bad.status.as_ref().unwrap().code, 2, "an error");
    let all = format!("{spans:?}");
    assert!(!all.contains("s3cret"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_of_a_collector_makes_the_server_stumble() {
    let seed = Seed::new();
    let fuzz = Arc::new(Mutex::new(seed.mutator()));
    let collector = Collector::default();
    let mangling = middleware::from_fn(move |request: Request<Body>, next: Next| {
        let fuzz = Mutator::new(fuzz.lock().unwrap().number());
        async move { mangle(next.run(request).await, fuzz).await }
    });
    let service = TraceServiceServer::new(collector.clone());
    let router = Routes::new(service).into_axum_router().layer(mangling);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let trace = traced(&format!("http://{}", listener.local_addr().unwrap()));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let asked = cases(EXPORTS);
    for _ in 0..asked {
        // It is told of what could not be sent, and waits for nobody.
        ask_traced(&trace).await;
    }
    assert!(collector.spans().len() as u64 >= asked, "all of them were sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_are_encrypted_for_whom_is_believed_and_sent_to_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::default();
    let believed = collector.start_encrypted(folder.path()).await;
    // The system knows no such authority.
    let unknown = TraceSettings { authority: None, ..believed.clone() };
    for (trace, spans) in [(unknown, 0), (believed, 1)] {
        ask_traced(&trace).await;
        assert_eq!(collector.spans().len(), spans);
    }
}

/// Makes one request of a server that sends its traces so, and ends it.
async fn ask_traced(trace: &TraceSettings) {
    let (subscriber, traces) =
        subscriber(&LogSettings::default(), Some(trace), Paper::default()).unwrap();
    {
        let _logging = tracing::subscriber::set_default(subscriber);
        let request = request("/200", &metadata());
        ask(&operation(), answering(), Some(caller("ci", ALL)), request).await;
    }
    traces.end().await;
}
