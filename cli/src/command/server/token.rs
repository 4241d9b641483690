//! `bld server token`: who is known by a token.

use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use cas_server::{Config, NotAPeriod, Period, Token, TokenFile};
use serde_json::{Value, json};

use super::grant::{GrantArgs, names, words};
use super::table;
use crate::clock;
use crate::error::CliError;
use crate::exit;
use crate::settings::Settings;
use crate::terminal::{say, say_json, tell};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it; it cannot be shown again
    Create {
        /// Whose it is, or what for
        name: String,

        #[command(flatten)]
        grant: GrantArgs,

        /// For how long it is good: 12h, 30d, never
        #[arg(long, value_name = "PERIOD", default_value = "90d")]
        expires: Expiry,
    },
    /// List the tokens; what they are nobody can tell
    List,
    /// Take a token away from whoever holds it; a running server knows within seconds
    Revoke {
        /// The name that it was made with
        name: String,
    },
}

/// For how long a token is good.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expiry(Option<Duration>);

impl FromStr for Expiry {
    type Err = NotAPeriod;

    fn from_str(text: &str) -> Result<Self, NotAPeriod> {
        if text == "never" {
            return Ok(Self(None));
        }
        text.parse().map(|Period(period)| Self(Some(period)))
    }
}

pub(super) fn run(
    settings: &Settings,
    config: &Config,
    command: &TokenCommand,
) -> Result<ExitCode, CliError> {
    let file = TokenFile::new(&config.identity.tokens);
    match command {
        TokenCommand::Create { name, grant, expires } => {
            create(settings, &file, name, grant, *expires)?;
        }
        TokenCommand::List => list(settings, &file)?,
        TokenCommand::Revoke { name } => {
            file.revoke(name)?;
            if settings.json {
                say_json(&json!({ "revoked": name }));
            } else {
                say(&format!("revoked {name}"));
            }
        }
    }
    Ok(exit::SUCCESS)
}

fn create(
    settings: &Settings,
    file: &TokenFile,
    name: &str,
    grant: &GrantArgs,
    Expiry(lifetime): Expiry,
) -> Result<(), CliError> {
    let (token, secret) = file.create(name, grant.grant()?, SystemTime::now(), lifetime)?;
    if settings.json {
        let mut answer = shown(&token);
        answer["token"] = json!(secret.reveal());
        answer["file"] = json!(file.path());
        say_json(&answer);
        return Ok(());
    }
    tell(&format!(
        "{name} may {} in {}, {}; its token is shown only now (a hash of it is in {})",
        words(token.grant().rights),
        token.grant().namespace,
        end_of(&token),
        file.path().display()
    ));
    say(secret.reveal());
    Ok(())
}

fn list(settings: &Settings, file: &TokenFile) -> Result<(), CliError> {
    let all = file.list()?;
    if settings.json {
        say_json(&json!(all.iter().map(shown).collect::<Vec<_>>()));
        return Ok(());
    }
    let row = |token: &Token| {
        let grant = token.grant();
        let (name, namespace) = (token.name().to_owned(), grant.namespace.to_string());
        [name, token.id().to_string(), namespace, words(grant.rights), end_of(token)]
    };
    table(&all.iter().map(row).collect::<Vec<_>>());
    if all.is_empty() {
        tell(&format!("there are no tokens in {}", file.path().display()));
    }
    Ok(())
}

fn end_of(token: &Token) -> String {
    match token.expires() {
        None => "for ever".to_owned(),
        Some(end) if token.is_expired(SystemTime::now()) => {
            format!("expired {}", clock::utc(end))
        }
        Some(end) => format!("until {}", clock::utc(end)),
    }
}

fn shown(token: &Token) -> Value {
    let grant = token.grant();
    json!({
        "name": token.name(),
        "id": token.id().to_string(),
        "namespace": grant.namespace.to_string(),
        "reads": grant.above().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "rights": names(grant.rights),
        "created": token.created(),
        "expires": token.expires(),
    })
}
