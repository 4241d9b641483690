//! The store of a server, from afar: what it holds, taking things out of it, having it verified.

use std::path::Path;
use std::process::ExitCode;

use cas_server::admin::{Admin, AdminError, Purge, ScrubState};
use model::{Digest, DigestFunction};
use store::{Namespace, RemoteConnection};

use super::server::{self, scrubbed};
use crate::error::CliError;
use crate::exit;
use crate::settings::Settings;
use crate::sharing::AskedArgs;
use crate::size::ByteSize;
use crate::terminal::{say, say_json, tell};

/// The functions that a digest may be of which is given without one, as servers take them.
const FUNCTIONS: [DigestFunction; 2] = [DigestFunction::Sha256, DigestFunction::Blake3];

/// What is to be taken out of a server's store.
#[derive(Debug, clap::Args)]
pub(crate) struct PurgeArgs {
    #[command(flatten)]
    server: AskedArgs,

    #[command(flatten)]
    what: What,

    /// Whose word on the action is forgotten
    #[arg(long, value_name = "NAMESPACE", default_value = "trusted", conflicts_with_all = ["digest", "writer"])]
    namespace: Namespace,

    /// Of which project the action is: its clients call it the instance [default: this workspace's]
    #[arg(long, value_name = "NAME", visible_alias = "remote-instance", conflicts_with_all = ["digest", "writer"])]
    project: Option<String>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// The blob with this digest, `[FUNCTION:]HASH/SIZE`
    #[arg(long, value_name = "DIGEST")]
    digest: Option<AnyDigest>,

    /// The result of the action with this digest
    #[arg(long, value_name = "DIGEST")]
    action: Option<AnyDigest>,

    /// Everything that this identity said: results, and what the plain caches keep
    #[arg(long, value_name = "NAME")]
    writer: Option<String>,
}

/// How a server is to verify its store.
#[derive(Debug, clap::Args)]
pub(crate) struct ScrubArgs {
    #[command(flatten)]
    server: AskedArgs,

    /// How much it may read in a second [default: the server's choice]
    #[arg(long, value_name = "SIZE")]
    speed: Option<ByteSize>,
}

/// A digest whose function may not be known.
#[derive(Clone, Debug)]
struct AnyDigest(Vec<Digest>);

impl std::str::FromStr for AnyDigest {
    type Err = model::ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((function, digest)) = text.split_once(':') {
            return Ok(Self(vec![Digest::parse(function.parse()?, digest)?]));
        }
        let digests = FUNCTIONS.map(|function| Digest::parse(function, text));
        digests.into_iter().collect::<Result<_, _>>().map(Self)
    }
}

pub(crate) fn stat(settings: &Settings, server: &AskedArgs) -> Result<ExitCode, CliError> {
    ask(settings, server, async |connection| {
        let remote = connection.address().to_owned();
        let stat = Admin::new(connection).stat().await?;
        if settings.json {
            say_json(&server::json(&remote, &stat));
        } else {
            for line in server::lines(&remote, &stat) {
                say(&line);
            }
        }
        Ok(())
    })?;
    Ok(exit::SUCCESS)
}

pub(crate) fn purge(settings: &Settings, args: &PurgeArgs) -> Result<ExitCode, CliError> {
    let purged = ask(settings, &args.server, async |connection| {
        let all = args.purges(connection.instance());
        let admin = Admin::new(connection);
        let mut purged = 0;
        for purge in all {
            purged += admin.purge(purge).await?;
        }
        Ok(purged)
    })?;
    if settings.json {
        say_json(&serde_json::json!({ "purged": purged }));
    } else if purged == 0 {
        say("there was nothing of it");
    } else {
        say(&format!("{purged} purged"));
    }
    Ok(exit::SUCCESS)
}

pub(crate) fn scrub(settings: &Settings, args: &ScrubArgs) -> Result<ExitCode, CliError> {
    let speed = args.speed.map(|it| it.0);
    let state = ask(settings, &args.server, async |connection| {
        Admin::new(connection).scrub(speed, |state| show(settings, state)).await
    })?;
    if settings.json {
        say_json(&server::scrub_json(&state));
    } else {
        say(&format!("scrubbed {}", scrubbed(&state)));
    }
    let wrong = state.scrubbed.corrupt > 0 || state.failure.is_some();
    Ok(if wrong { ExitCode::from(exit::INFRASTRUCTURE) } else { exit::SUCCESS })
}

impl PurgeArgs {
    fn purges(&self, instance: &str) -> Vec<Purge> {
        let What { digest, action, writer } = &self.what;
        let blobs = digest.iter().flat_map(|it| &it.0).map(|digest| Purge::Blob(*digest));
        let actions = action.iter().flat_map(|it| &it.0).map(|digest| Purge::Action {
            namespace: self.namespace.clone(),
            project: self.project.as_deref().unwrap_or(instance).to_owned(),
            digest: *digest,
        });
        let writers = writer.iter().map(|it| Purge::Writer(it.clone()));
        blobs.chain(actions).chain(writers).collect()
    }
}

fn show(settings: &Settings, state: &ScrubState) {
    if !settings.json && state.running {
        tell(&format!("scrubbing: {}", scrubbed(state)));
    }
}

/// Asks a server something.
fn ask<T>(
    settings: &Settings,
    server: &AskedArgs,
    asking: impl AsyncFnOnce(RemoteConnection) -> Result<T, AdminError>,
) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(CliError::disk("start", Path::new("the runtime")))?;
    runtime.block_on(async { Ok(asking(server.connection(settings)?).await?) })
}
