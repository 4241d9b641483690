//! `bld diff`: in what the keys of two builds differ.

use std::collections::BTreeSet;
use std::process::ExitCode;

use engine::{CellPattern, Pattern, Targets};
use model::RelativePath;
use serde_json::json;

use crate::elsewhere::Elsewhere;
use crate::error::CliError;
use crate::exit;
use crate::history::{History, Key, Names, shorten};
use crate::settings::Settings;
use crate::terminal::{count, say, say_json};
use crate::workspace::OpenWorkspace;

/// How many actions are named; JSON has them all.
const SHOWN: usize = 50;

#[derive(Debug, clap::Args)]
pub(crate) struct DiffArgs {
    /// The earlier build: its number, last, last-1
    #[arg(value_name = "A")]
    pub(crate) old: String,

    /// The later build
    #[arg(value_name = "B")]
    pub(crate) new: String,
}

/// One action whose key is not the same.
struct Row {
    name: String,
    key: Key,
    old: Option<model::ActionDigest>,
    new: Option<model::ActionDigest>,
    differences: Vec<String>,
}

pub(crate) fn run(settings: &Settings, args: &DiffArgs) -> Result<ExitCode, CliError> {
    let workspace = OpenWorkspace::find(settings)?;
    let store = settings.open_store(workspace.config.function)?;
    let history = History::open(&workspace, &store)?;
    let (old, new) = (history.find(&args.old)?, history.find(&args.new)?);
    let (before, after) = (history.keys(old)?, history.keys(new)?);
    let all =
        Pattern { targets: Targets::Below(RelativePath::root()), cells: CellPattern::default() };
    let names = Names::now(&workspace, &[all], &history.record(new)?.head.settings);
    let elsewhere = Elsewhere::of(settings, &workspace)?;
    let row = |key: &Key| {
        let (old, new) = (before.get(key).copied(), after.get(key).copied());
        if old == new {
            return None;
        }
        let both = old.zip(new);
        let differences = both.map(|keys| names.differences(&store, &elsewhere, key, keys));
        let differences = differences.unwrap_or_default();
        Some(Row { name: names.name(key), key: key.clone(), old, new, differences })
    };
    let keys: BTreeSet<&Key> = before.keys().chain(after.keys()).collect();
    let rows: Vec<Row> = keys.into_iter().filter_map(row).collect();
    if settings.json {
        let actions: Vec<_> = rows.iter().map(Row::json).collect();
        say_json(&json!({ "old": old, "new": new, "actions": actions }));
        return Ok(exit::SUCCESS);
    }
    rows.iter().take(SHOWN).for_each(|row| say(&row.line(old, new)));
    if rows.len() > SHOWN {
        say(&format!("and {} more; --json has them all", rows.len() - SHOWN));
    }
    let differ = if rows.len() == 1 { "differs" } else { "differ" };
    let keys = count(rows.len() as u64, "key");
    say(&format!("{keys} {differ} between builds {old} and {new}"));
    Ok(exit::SUCCESS)
}

impl Row {
    fn line(&self, old: u64, new: u64) -> String {
        let what = match (self.old, self.new) {
            (None, _) => format!("was not known as of build {old}"),
            (_, None) => format!("was not known as of build {new}"),
            _ => shorten(&self.differences),
        };
        format!("{}: {what}", self.name)
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "name": self.key.to_string(),
            "old": self.old.map(|it| it.to_string()),
            "new": self.new.map(|it| it.to_string()),
            "differences": self.differences,
        })
    }
}
