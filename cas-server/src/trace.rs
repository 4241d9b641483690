//! Logs and traces: what is written where, in which form, and how much of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig};
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject as _};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{Directive, EnvFilter, ParseError, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use crate::config::{LogFormat, LogLevel, TelemetryConfig};
use crate::observe::{LOG_TARGET, SPAN_TARGET};

/// How long whoever takes traces may take for those of the last moment, when a server ends.
const LAST_TRACES: Duration = Duration::from_secs(5);

/// What is called what in traces.
const SERVICE: &str = "bld-server";

/// What is written into the log. Credentials are nowhere in it: nothing that writes into it is given any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// How lines look.
    pub form: LogFormat,
    /// What is written, in the words of `tracing`: `info`, or `info,bld::request=debug` for every request.
    pub filter: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { form: LogFormat::Text, filter: "info".to_owned() }
    }
}

/// Where traces go.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceSettings {
    /// Who takes them, by OTLP over gRPC: `http://127.0.0.1:4317`, `https://traces.example:4317`.
    pub endpoint: String,
    /// Who issued his certificate, in PEM; without it the system's authorities are believed.
    pub authority: Option<PathBuf>,
    /// Which share of the traces that begin here is kept. Those that a client has begun are as he says.
    pub share: f64,
}

impl From<&TelemetryConfig> for LogSettings {
    /// Every call is logged where that is asked for; those of the libraries below it only where everything is.
    fn from(config: &TelemetryConfig) -> Self {
        let filter = match config.log {
            LogLevel::Error => "error".to_owned(),
            LogLevel::Warn => "warn".to_owned(),
            LogLevel::Info => "info".to_owned(),
            LogLevel::Debug => format!("info,{LOG_TARGET}=debug,cas_server=debug,store=debug"),
            LogLevel::Trace => "trace".to_owned(),
        };
        Self { form: config.format, filter }
    }
}

impl TraceSettings {
    /// Returns where traces go, if they go anywhere: all of them.
    pub fn of(config: &TelemetryConfig) -> Option<Self> {
        let endpoint = config.otlp.clone()?;
        Some(Self { endpoint, authority: config.otlp_authority.clone(), share: 1.0 })
    }
}

/// Why nothing could be logged or traced.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The filter is none.
    #[error("`{filter}` says not what to log")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// The address is none that traces can be sent to.
    #[error(
        "traces cannot be sent to `{endpoint}`: it must be https://<host>:<port> of a collector, or http:// of one beside this server"
    )]
    Endpoint {
        /// What was given.
        endpoint: String,
    },
    /// It is said who issued a certificate that is never shown.
    #[error(
        "`telemetry.otlp_authority` says whose certificate is believed, and `{endpoint}` shows none: is it https://?"
    )]
    Unencrypted {
        /// Where to.
        endpoint: String,
    },
    /// Who is to be believed cannot be read.
    #[error("{} does not hold certificates in PEM", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why it does not.
        source: pem::Error,
    },
    /// The exporter of traces could not be made.
    #[error("traces cannot be sent to `{endpoint}`")]
    Exporter {
        /// Where to.
        endpoint: String,
        /// What is wrong.
        source: ExporterBuildError,
    },
    /// Somebody else logs already.
    #[error("the log is somebody else's already")]
    Taken(#[from] tracing::subscriber::SetGlobalDefaultError),
}

impl TraceError {
    /// Returns whether somebody can mend it in a file.
    pub fn is_mistake(&self) -> bool {
        match self {
            Self::Filter { .. }
            | Self::Endpoint { .. }
            | Self::Unencrypted { .. }
            | Self::Authority { .. } => true,
            Self::Exporter { .. } | Self::Taken(_) => false,
        }
    }
}

/// Traces that are on their way.
#[derive(Debug, Default)]
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Sends what was not sent yet.
    pub async fn end(self) {
        let Some(provider) = self.0 else { return };
        let ended =
            tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_TRACES));
        if let Err(error) = ended.await.expect("ending does not panic") {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}

/// Has the whole process log to standard error, and trace if that is wanted. Must be called where tasks can be spawned.
pub fn install(log: &LogSettings, trace: Option<&TraceSettings>) -> Result<Traces, TraceError> {
    let (subscriber, traces) = subscriber(log, trace, std::io::stderr)?;
    tracing::subscriber::set_global_default(subscriber)?;
    Ok(traces)
}

/// Returns who takes what is logged and traced. Must be called where tasks can be spawned.
pub fn subscriber<W>(
    log: &LogSettings,
    trace: Option<&TraceSettings>,
    writer: W,
) -> Result<(impl Subscriber + Send + Sync + use<W>, Traces), TraceError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let provider = trace.map(provider).transpose()?;
    let traced = provider.as_ref().map(|provider| {
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer(SERVICE));
        let spans = Targets::new().with_target(SPAN_TARGET, LevelFilter::DEBUG);
        layer.with_location(false).with_threads(false).with_target(false).with_filter(spans)
    });
    let logged = lines(log.form, writer).with_filter(filter(&log.filter)?);
    let subscriber = tracing_subscriber::registry().with(logged).with(traced);
    Ok((subscriber, Traces(provider)))
}

fn lines<S, W>(form: LogFormat, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    match form {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    }
}

fn filter(text: &str) -> Result<EnvFilter, TraceError> {
    let filter = EnvFilter::builder().parse(text);
    let filter = filter.map_err(|source| TraceError::Filter { filter: text.to_owned(), source })?;
    // A span says nothing that the line of its request does not say.
    let no_spans = format!("{SPAN_TARGET}=off").parse::<Directive>();
    Ok(filter.add_directive(no_spans.expect("it is one")))
}

fn provider(trace: &TraceSettings) -> Result<SdkTracerProvider, TraceError> {
    let endpoint = trace.endpoint.clone();
    let address = endpoint.parse::<http::Uri>().ok().filter(|it| it.port().is_some());
    let is_encrypted = match address.as_ref().and_then(|it| it.scheme_str()) {
        Some("https") => true,
        Some("http") if trace.authority.is_some() => {
            return Err(TraceError::Unencrypted { endpoint });
        }
        Some("http") => false,
        Some(_) | None => return Err(TraceError::Endpoint { endpoint }),
    };
    let mut builder = SpanExporter::builder().with_tonic().with_endpoint(&endpoint);
    if is_encrypted {
        builder = builder.with_tls_config(believed(trace.authority.as_deref())?);
    }
    let exporter = builder.build();
    let exporter = exporter.map_err(|source| TraceError::Exporter { endpoint, source })?;
    let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_service_name(SERVICE).with_attribute(version).build();
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(trace.share)));
    let builder = SdkTracerProvider::builder().with_resource(resource).with_sampler(sampler);
    Ok(builder.with_batch_exporter(exporter).build())
}

/// Returns whose certificates are believed.
fn believed(authority: Option<&Path>) -> Result<ClientTlsConfig, TraceError> {
    let Some(path) = authority else { return Ok(ClientTlsConfig::new().with_native_roots()) };
    let failed = |source| TraceError::Authority { path: path.to_owned(), source };
    let text = std::fs::read(path).map_err(|error| failed(pem::Error::Io(error)))?;
    // What holds none would be taken for nobody, without a word.
    CertificateDer::from_pem_slice(&text).map_err(failed)?;
    Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(text)))
}
