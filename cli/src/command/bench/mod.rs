//! `bld bench cache`: how fast a server of the Remote Execution API keeps and answers, beside others and beside what
//! the connection could carry.
//!
//! Any server can be measured. Its answers are looked at, so that one that answers rubbish fast does not win.

mod bare;
mod channel;
mod drive;
mod encryption;
mod error;
mod large;
mod noise;
mod pieces;
mod pool;
mod process;
mod remote;
mod report;
mod row;
mod small;
mod target;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::ValueEnum as _;
use model::DigestFunction;
use store::{RemoteConnection, Secret};
use tokio::task::LocalSet;

use self::bare::Bare;
use self::channel::Channel;
use self::drive::{Bounds, Measured};
use self::remote::Dialect;
use self::report::{Report, Sample};
use self::row::{Case, Fixture, Place, Row};
use self::target::{Address, Target};
use crate::error::CliError;
use crate::exit;
use crate::settings::Settings;
use crate::sharing;
use crate::terminal::tell;

pub(crate) use self::error::BenchError;

/// How many clients may be at it at once: more than a build farm has, fewer than there are ports.
const CLIENTS_MAX: u16 = 1024;

/// How long a row may take: who wants to know what happens after hours wants another tool.
const SECONDS_MAX: f64 = 600.0;

/// How often all rows may be repeated.
const ROUNDS_MAX: u16 = 100;

/// What is not measured at the beginning, as a share of what is.
const WARM_UP_SHARE: f64 = 0.2;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum BenchCommand {
    /// Say how fast a cache server is: any that speaks the Remote Execution API
    Cache(CacheArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct CacheArgs {
    /// The server: `[NAME=]grpc://HOST:PORT[/INSTANCE]`, `grpcs://` or `[NAME=]unix:/PATH`; several are measured in turns,
    /// and compared with the first
    #[arg(long = "remote", value_name = "URL", required_unless_present = "ceiling")]
    pub(crate) remotes: Vec<Target>,

    /// A file with the token that the first server wants [default: what other commands would show it]
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// The process of the server, on this machine: say what it uses; once for each server
    #[arg(long = "server-pid", value_name = "PID")]
    pub(crate) pids: Vec<u32>,

    /// Measure what a bare HTTP/2 connection carries, too
    #[arg(long)]
    pub(crate) ceiling: bool,

    /// What names blobs
    #[arg(long, value_name = "FUNCTION", default_value_t = DigestFunction::Blake3)]
    pub(crate) digest: DigestFunction,

    /// How long each row is measured, after a fifth of that to warm up
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) seconds: Duration,

    /// How often all of it is done; the middle one counts
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(ROUNDS_MAX)))]
    pub(crate) rounds: u16,

    /// What is measured [default: all]
    #[arg(long, value_enum, value_name = "ROW", value_delimiter = ',')]
    pub(crate) rows: Vec<Row>,

    /// How many clients are at it at once, each with one call at a time
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 64], value_parser = clap::value_parser!(u16).range(1..=i64::from(CLIENTS_MAX)))]
    pub(crate) clients: Vec<u16>,

    /// How many connections the clients share
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=i64::from(CLIENTS_MAX)))]
    pub(crate) channels: u16,

    /// Measure a server on another machine, and the network between
    #[arg(long)]
    pub(crate) beyond_loopback: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 =
        text.parse().map_err(|error: std::num::ParseFloatError| error.to_string())?;
    let is_fit = seconds > 0.0 && seconds <= SECONDS_MAX;
    let bounds = || format!("it is more than 0 and at most {SECONDS_MAX}");
    is_fit.then(|| Duration::from_secs_f64(seconds)).ok_or_else(bounds)
}

pub(crate) fn run(settings: &Settings, command: &BenchCommand) -> Result<ExitCode, CliError> {
    let BenchCommand::Cache(args) = command;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(BenchError::Runtime)?;
    let report = runtime.block_on(LocalSet::new().run_until(measure(settings, args)))?;
    report.show(settings);
    Ok(if report.has_failures() { ExitCode::from(exit::INFRASTRUCTURE) } else { exit::SUCCESS })
}

/// Something that is measured.
struct Server {
    target: Target,
    address: Address,
    pid: Option<u32>,
    /// It is this process that answers, without keeping anything.
    is_ceiling: bool,
}

async fn measure(settings: &Settings, args: &CacheArgs) -> Result<Report, CliError> {
    let bare = args.ceiling.then(Bare::start).transpose().map_err(BenchError::Runtime)?;
    let servers = servers(settings, args, bare.as_ref()).await?;
    let bounds = Bounds { warm_up: args.seconds.mul_f64(WARM_UP_SHARE), measured: args.seconds };
    let fixture = Fixture::new(args.digest, seed(), bounds);
    let rows = if args.rows.is_empty() { Row::value_variants() } else { &args.rows };
    let mut samples = Vec::new();
    for round in 0..args.rounds {
        for row in rows {
            for clients in &args.clients {
                let case = fixture.case(*row, usize::from(*clients), round.into());
                for (number, server) in servers.iter().enumerate() {
                    let Some(measured) = server.measure(&case, args).await? else { continue };
                    let sample = Sample { row: *row, clients: *clients, server: number, measured };
                    if !settings.json {
                        tell(&format!("{}: {}", round + 1, sample.line(&server.target.name)));
                    }
                    samples.push(sample);
                }
            }
        }
    }
    let names = servers.into_iter().map(|server| server.target.name).collect();
    Ok(Report { servers: names, function: args.digest, samples })
}

async fn servers(
    settings: &Settings,
    args: &CacheArgs,
    bare: Option<&Bare>,
) -> Result<Vec<Server>, CliError> {
    let (pids, remotes) = (args.pids.len(), args.remotes.len());
    if pids != 0 && pids != remotes {
        return Err(BenchError::Pids { pids, remotes }.into());
    }
    let mut servers = Vec::new();
    for (number, target) in args.remotes.iter().enumerate() {
        let mut options = sharing::asked(settings, Some(&target.url))?;
        if let Some(path) = &args.token_file {
            options.secret = Secret::TokenFile(path.clone());
        }
        // Who asks is for one of them to know; the others are there to be compared with it.
        if number > 0 {
            (options.secret, options.tls.identity) = (Secret::None, None);
            options.instance.clear();
        }
        let mut target = target.clone();
        let address = target.address(args.beyond_loopback, &options.tls).await?;
        if target.instance.is_empty() {
            target.instance.clone_from(&options.instance);
        }
        let connection = RemoteConnection::open(options).map_err(CliError::Remote)?;
        target.credentials = connection.credentials().await.map_err(CliError::Remote)?;
        let pid = args.pids.get(number).copied();
        if let Some(pid) = pid {
            process::usage(pid).map_err(|source| BenchError::Process(pid, source))?;
        }
        servers.push(Server { target, address, pid, is_ceiling: false });
    }
    if let Some(bare) = bare {
        let target = Target::own("ceiling", bare.address);
        let address = Address::Tcp(bare.address, None);
        servers.push(Server { target, address, pid: None, is_ceiling: true });
    }
    Ok(servers)
}

impl Server {
    async fn measure(
        &self,
        case: &Case<'_>,
        args: &CacheArgs,
    ) -> Result<Option<Measured>, BenchError> {
        let mut connections = Vec::new();
        for _ in 0..case.clients.min(args.channels.into()) {
            connections.push(Channel::connect(&self.target, &self.address).await?);
        }
        let channels: Vec<_> = connections.iter().cycle().take(case.clients).cloned().collect();
        let dialect = Dialect { instance: self.target.instance.clone(), function: args.digest };
        let place = Place { dialect, channels: &channels, pid: self.pid };
        let measured = if self.is_ceiling {
            case.ceiling(&channels).await
        } else {
            case.measure(&place).await.map(Some)
        };
        let process = self.pid.unwrap_or_else(std::process::id);
        measured.map_err(|source| BenchError::Process(process, source))
    }
}

/// Returns a number that no earlier run began with: what it writes must be new to the server.
fn seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    noise::mix(now.as_secs() << 32 | u64::from(now.subsec_nanos()) ^ u64::from(std::process::id()))
}
