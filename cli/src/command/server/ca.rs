//! `bld server ca`: an authority of certificates for a server and those who call it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use cas_server::{Authority, Config, IssuedCertificate, IssuedRole, Period, Role};
use serde_json::{Value, json};

use super::grant::{GrantArgs, names, words};
use super::table;
use crate::clock;
use crate::error::CliError;
use crate::exit;
use crate::settings::Settings;
use crate::terminal::{say, say_json, tell};

#[derive(Debug, clap::Args)]
pub(crate) struct CaArgs {
    /// The folder of the authority [default: ca, in the server's own folder]
    #[arg(long, value_name = "DIR", global = true)]
    ca: Option<PathBuf>,

    #[command(subcommand)]
    command: CaCommand,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum CaCommand {
    /// Make an authority: a key, which nobody else may have, and a certificate, which everybody may
    Init {
        /// For how long it lasts
        #[arg(long, value_name = "PERIOD", default_value = "3650d")]
        expires: Period,
    },
    /// Make a key and a certificate: NAME.key and NAME.pem
    Issue(IssueArgs),
    /// List what was issued and has not ended
    List,
    /// Take their rights from all certificates with a name or number; a running server knows within seconds
    Revoke {
        /// The name, or the number that `list` shows
        name: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct IssueArgs {
    /// Whose it is
    name: String,

    /// What it is good for: to call a server, or to be one
    #[arg(long)]
    role: RoleArg,

    #[command(flatten)]
    grant: GrantArgs,

    /// A name by which a server is called; can be repeated
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,

    /// An address by which a server is called; can be repeated
    #[arg(long, value_name = "ADDRESS")]
    ip: Vec<IpAddr>,

    /// For how long it is good [default: 7d for a client, 30d for a server]
    #[arg(long, value_name = "PERIOD")]
    expires: Option<Period>,

    /// Where to put the two files [default: here]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum RoleArg {
    Client,
    Server,
}

pub(super) fn run(
    settings: &Settings,
    config: &Config,
    args: &CaArgs,
) -> Result<ExitCode, CliError> {
    let named = args.ca.as_ref().map(|path| settings.directory.join(path));
    let folder = named.unwrap_or_else(|| config.root.join("ca"));
    config.keep_apart("the folder of the authority", &folder)?;
    let authority = Authority::new(&folder);
    let now = SystemTime::now();
    match &args.command {
        CaCommand::Init { expires: Period(lifetime) } => {
            authority.init(now, *lifetime)?;
            shown_authority(settings, &authority);
        }
        CaCommand::Issue(args) => issue(settings, &authority, args, now)?,
        CaCommand::List => list(settings, &authority)?,
        CaCommand::Revoke { name } => {
            let revoked = authority.revoke(name, now)?;
            if settings.json {
                say_json(&json!({ "revoked": revoked }));
            } else {
                for serial in &revoked {
                    say(&format!("revoked {serial}"));
                }
            }
        }
    }
    Ok(exit::SUCCESS)
}

/// Says what was made, and what to write into the server's configuration.
fn shown_authority(settings: &Settings, authority: &Authority) {
    let (certificate, revocations) = (authority.certificate(), authority.revocations());
    if settings.json {
        say_json(&json!({
            "certificate": certificate,
            "key": authority.key(),
            "revocations": revocations,
        }));
        return;
    }
    say(&format!("{} certifies; its key is {}", certificate.display(), authority.key().display()));
    tell("a server that takes its certificates says so under [tls]:");
    tell(&format!("    client_authority = {:?}", certificate.display().to_string()));
    tell(&format!("    client_revocations = {:?}", revocations.display().to_string()));
}

fn issue(
    settings: &Settings,
    authority: &Authority,
    args: &IssueArgs,
    now: SystemTime,
) -> Result<(), CliError> {
    let role = match args.role {
        RoleArg::Client if args.dns.is_empty() && args.ip.is_empty() => {
            Role::Client(args.grant.grant()?)
        }
        RoleArg::Client => return Err(CliError::ClientAddress),
        RoleArg::Server if args.grant.is_given() => return Err(CliError::ServerRights),
        RoleArg::Server => Role::Server { names: args.dns.clone(), addresses: args.ip.clone() },
    };
    let lifetime = args.expires.map_or(role.lifetime(), |Period(period)| period);
    let here = &settings.directory;
    let out = args.out.as_ref().map_or_else(|| here.clone(), |out| here.join(out));
    let issued = authority.issue(&args.name, &role, now, lifetime, &out)?;
    if settings.json {
        let mut answer = shown(&issued.certificate);
        answer["certificate"] = json!(issued.certificate_file);
        answer["key"] = json!(issued.key_file);
        say_json(&answer);
        return Ok(());
    }
    say(&issued.certificate_file.display().to_string());
    say(&issued.key_file.display().to_string());
    let end = clock::utc(issued.certificate.expires);
    tell(&format!("{}: {}, until {end}", args.name, purpose(&issued.certificate)));
    Ok(())
}

fn list(settings: &Settings, authority: &Authority) -> Result<(), CliError> {
    let all = authority.list()?;
    if settings.json {
        say_json(&json!(all.iter().map(shown).collect::<Vec<_>>()));
        return Ok(());
    }
    let end = |it: &IssuedCertificate| match it.revoked {
        Some(at) => format!("revoked {}", clock::utc(at)),
        None => format!("until {}", clock::utc(it.expires)),
    };
    let rows = all.iter().map(|it| [it.name.clone(), it.serial.clone(), purpose(it), end(it)]);
    table(&rows.collect::<Vec<_>>());
    Ok(())
}

/// Returns what a certificate is good for.
fn purpose(certificate: &IssuedCertificate) -> String {
    match certificate.role {
        IssuedRole::Server => format!("server {}", certificate.addresses.join(" ")),
        IssuedRole::Client => {
            let namespace = certificate.namespace.as_deref().unwrap_or_default();
            format!("client {} in {namespace}", words(certificate.rights.unwrap_or_default()))
        }
    }
}

fn shown(certificate: &IssuedCertificate) -> Value {
    let role = match certificate.role {
        IssuedRole::Client => "client",
        IssuedRole::Server => "server",
    };
    json!({
        "name": certificate.name,
        "serial": certificate.serial,
        "role": role,
        "namespace": certificate.namespace,
        "reads": certificate.reads,
        "rights": certificate.rights.map(names),
        "addresses": certificate.addresses,
        "created": certificate.created,
        "expires": certificate.expires,
        "revoked": certificate.revoked,
    })
}
