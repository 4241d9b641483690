//! `bld config`: what is chosen, and who chose it.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use crate::choices::{Choices, KEYS, Key, Said, unknown, user_file};
use crate::error::CliError;
use crate::exit;
use crate::settings::Settings;
use crate::terminal::{say, say_json};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// List what can be chosen, with the values that count
    List,
    /// Say what a value is, who says so, and what that overrides
    Explain {
        /// Its name
        #[arg(value_name = "KEY")]
        key: String,
    },
}

pub(crate) fn run(settings: &Settings, command: &ConfigCommand) -> Result<ExitCode, CliError> {
    let choices = &settings.choices;
    match command {
        ConfigCommand::List if settings.json => {
            say_json(&KEYS.iter().map(|key| answer(choices, key)).collect());
        }
        ConfigCommand::List => list(choices),
        ConfigCommand::Explain { key: name } => {
            let key = KEYS.iter().find(|key| key.name == name);
            let key = key.ok_or_else(|| unknown(None, name))?;
            if settings.json {
                say_json(&answer(choices, key));
            } else {
                explain(choices, key);
            }
        }
    }
    Ok(exit::SUCCESS)
}

fn list(choices: &Choices) {
    for key in &KEYS {
        say(&match choices.all(key.name).first() {
            Some(Said { value, origin }) => format!("{} = {value}  ({origin})", key.name),
            None => format!("{} is not set", key.name),
        });
    }
}

fn explain(choices: &Choices, key: &Key) {
    let mut said = choices.all(key.name).iter();
    match said.next() {
        Some(Said { value, origin }) => {
            say(&format!("{} = {value}", key.name));
            say(&format!("  because of {origin}"));
        }
        None => say(&format!("{} is not set", key.name)),
    }
    for Said { value, origin } in said {
        say(&format!("  in place of {value} ({origin})"));
    }
    say(&format!("  {}", key.meaning));
    if let Some(file) = user_file() {
        say(&format!("  your own file: {}", file.display()));
    }
}

fn answer(choices: &Choices, key: &Key) -> Value {
    let one = |said: &Said| json!({ "value": said.value, "origin": said.origin.to_string() });
    let (first, others) = match choices.all(key.name) {
        [first, others @ ..] => (one(first), others.iter().map(one).collect()),
        [] => (Value::Null, Vec::new()),
    };
    json!({
        "key": key.name,
        "value": first["value"],
        "origin": first["origin"],
        "overridden": others,
        "meaning": key.meaning,
    })
}
