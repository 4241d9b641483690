//! `bld why`: why a target's actions last ran, or in what they differ from an earlier build.

use std::process::ExitCode;

use model::ActionDigest;
use serde_json::{Value, json};
use store::LocalStore;

use crate::elsewhere::Elsewhere;
use crate::error::CliError;
use crate::exit;
use crate::history::{Entry, History, Key, Names, last_runs, shorten};
use crate::nearly;
use crate::settings::Settings;
use crate::terminal::{say, say_json};
use crate::workspace::OpenWorkspace;

#[derive(Debug, clap::Args)]
pub(crate) struct WhyArgs {
    /// A target, maybe with {axis=value}
    #[arg(value_name = "LABEL")]
    pub(crate) pattern: String,

    /// Say in what the last keys differ from those of this build: its number, last, last-1
    #[arg(long, value_name = "BUILD")]
    pub(crate) vs: Option<String>,
}

pub(crate) fn run(settings: &Settings, args: &WhyArgs) -> Result<ExitCode, CliError> {
    let workspace = OpenWorkspace::find(settings)?;
    let store = settings.open_store(workspace.config.function)?;
    let history = History::open(&workspace, &store)?;
    let patterns = workspace.patterns(std::slice::from_ref(&args.pattern))?;
    let known = history.known(&patterns[0]);
    if known.is_empty() {
        let hint = nearly::known(&last_runs(&workspace, &store)?, &patterns[0]);
        return Err(CliError::NoHistory { pattern: args.pattern.clone(), hint });
    }
    let chosen = history.heads()?.pop().map(|head| head.settings).unwrap_or_default();
    let names = Names::now(&workspace, &patterns, &chosen);
    let answers: Vec<_> = match &args.vs {
        None => known.iter().map(|(key, entry)| last_time(&names, key, entry)).collect(),
        Some(text) => {
            let build = history.find(text)?;
            let keys = history.keys(build)?;
            let elsewhere = Elsewhere::of(settings, &workspace)?;
            let since = |(key, entry): &(Key, Entry)| {
                let old = keys.get(key).copied();
                since((&store, &elsewhere), &names, (key, entry), (build, old))
            };
            known.iter().map(since).collect()
        }
    };
    if settings.json {
        say_json(&json!(answers.into_iter().map(|it| it.json).collect::<Vec<_>>()));
    } else {
        answers.iter().flat_map(|answer| &answer.lines).for_each(|line| say(line));
    }
    Ok(exit::SUCCESS)
}

/// What is said of one action.
struct Answer {
    lines: Vec<String>,
    json: Value,
}

fn last_time(names: &Names, key: &Key, entry: &Entry) -> Answer {
    let name = names.name(key);
    let mut json = json(key, entry);
    json["ran"] = json!(entry.ran);
    let Some(last) = &entry.ran else {
        let line = format!("{name} never ran here: its result was found in the store");
        return Answer { lines: vec![line], json };
    };
    let mut lines =
        vec![format!("{name} ran in build {} because {}", last.build, last.reason.text)];
    if last.reason.differences.len() > 1 {
        lines.extend(last.reason.differences.iter().map(|it| format!("    {it}")));
    }
    if entry.build > last.build {
        lines.push(format!(
            "    since then its result was found in the store (build {})",
            entry.build
        ));
    }
    Answer { lines, json }
}

fn since(
    (store, elsewhere): (&LocalStore, &Elsewhere),
    names: &Names,
    (key, entry): (&Key, &Entry),
    (build, old): (u64, Option<ActionDigest>),
) -> Answer {
    let name = names.name(key);
    let mut json = json(key, entry);
    json["vs"] = json!({ "build": build, "action": old.map(|it| it.to_string()) });
    let (Some(old), Some(new)) = (old, entry.digest()) else {
        let line = format!("{name} was not known as of build {build}");
        return Answer { lines: vec![line], json };
    };
    if old == new {
        json["vs"]["differences"] = json!([]);
        let line = format!("{name} has the key that it had in build {build}");
        return Answer { lines: vec![line], json };
    }
    let differences = names.differences(store, elsewhere, key, (old, new));
    json["vs"]["differences"] = json!(differences);
    let first = shorten(&differences);
    let mut lines = vec![format!("{name} has another key than in build {build}: {first}")];
    if differences.len() > 1 {
        lines.extend(differences.iter().map(|it| format!("    {it}")));
    }
    Answer { lines, json }
}

fn json(key: &Key, entry: &Entry) -> Value {
    let who = key.who();
    json!({
        "name": key.to_string(),
        "label": who.as_ref().map(|who| &who.label),
        "cell": who.as_ref().map(|who| &who.cell.0),
        "role": who.as_ref().map(|who| &who.role),
        "action": entry.action,
        "outcome": entry.outcome,
        "build": entry.build,
    })
}
