//! `bld server`: serves until it is told to end.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use cas_server::trace::{self, LogSettings, TraceError, TraceSettings, Traces};
use cas_server::{Acknowledge, Config, Drain, Drained, Server};
use serde_json::json;
use store::{Cellar, SegmentStore};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::CliError;
use crate::exit;
use crate::settings::Settings;
use crate::size::ByteSize;
use crate::terminal::{say, say_json};

/// How long what still runs in a thread may take. A download may take half an hour, and is not worth waiting for.
const SHUTDOWN_TIME: Duration = Duration::from_secs(2);

pub(super) fn run(settings: &Settings, config: &Config) -> Result<ExitCode, CliError> {
    let failed = CliError::disk("begin", Path::new("the server"));
    let runtime = Builder::new_multi_thread().enable_all().build().map_err(failed)?;
    // Opening the store has things to say, too.
    let traces = runtime.block_on(async { begin_to_log(config) })?;
    let store = open_store(config)?;
    let cellar = Arc::clone(&store) as Arc<dyn Cellar>;
    let served = runtime.block_on(serve(settings, config, cellar, traces));
    // What nobody waits for any more must not keep the store open.
    runtime.shutdown_timeout(SHUTDOWN_TIME);
    store.close()?;
    served
}

fn begin_to_log(config: &Config) -> Result<Traces, TraceError> {
    let telemetry = &config.telemetry;
    trace::install(&LogSettings::from(telemetry), TraceSettings::of(telemetry).as_ref())
}

fn open_store(config: &Config) -> Result<Arc<SegmentStore>, CliError> {
    let wanted = &config.store;
    let settings = store::Settings {
        acknowledge: match wanted.acknowledge {
            Acknowledge::Written => store::Acknowledge::Written,
            Acknowledge::Committed => store::Acknowledge::Committed,
        },
        lease: wanted.lease,
        ..store::Settings::new(wanted.budget)
    };
    Ok(SegmentStore::open(&wanted.path, settings)?)
}

async fn serve(
    settings: &Settings,
    config: &Config,
    cellar: Arc<dyn Cellar>,
    traces: Traces,
) -> Result<ExitCode, CliError> {
    let drain = Drain::new();
    end_when_told(&drain)?;
    let server = Server::open(config, cellar, drain).await?;
    let store = config.store.path.display();
    let budget = ByteSize(config.store.budget);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), %store, %budget, "the server is open");
    tell(settings, config, &server);
    let drained = server.serve().await;
    if let Drained::Cut(left) = drained {
        tracing::warn!(left, "requests were cut off: they took longer than `drain` allows");
    }
    traces.end().await;
    Ok(exit::SUCCESS)
}

/// Says where the server is to be found: whoever started it with port 0 cannot know.
fn tell(settings: &Settings, config: &Config, server: &Server) {
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let addresses = server.addresses().into_iter().map(|it| format!("{scheme}://{it}"));
    let socket = config.listen.unix.iter().map(|it| format!("unix:{}", it.display()));
    let places: Vec<_> = addresses.chain(socket).collect();
    if settings.json {
        let store = config.store.path.display().to_string();
        say_json(&json!({ "listening": places, "store": store }));
        return;
    }
    for place in places {
        say(&format!("listening on {place}"));
    }
}

/// The first signal begins the end; the second one is the end.
fn end_when_told(drain: &Drain) -> Result<(), CliError> {
    let failed = || CliError::disk("wait for", Path::new("signals"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed())?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed())?;
    let drain = drain.clone();
    tokio::spawn(async move {
        for is_first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if is_first {
                tracing::info!("ending: what is under way is finished, and nothing new is taken");
                drain.begin();
            }
        }
        drain.cut_now();
    });
    Ok(())
}
