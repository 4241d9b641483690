//! `bld builds`: which builds there were, and what one of them did.

use std::process::ExitCode;

use serde_json::json;

use crate::clock::utc;
use crate::error::CliError;
use crate::exit;
use crate::history::{Head, History, Record, trace};
use crate::settings::Settings;
use crate::terminal::{say, say_json};
use crate::workspace::OpenWorkspace;

#[derive(Debug, clap::Args)]
pub(crate) struct BuildsArgs {
    /// Say what this build did: its number, last, last-1
    #[arg(value_name = "BUILD")]
    pub(crate) build: Option<String>,

    /// Print when its actions ran, for a trace viewer
    #[arg(long, requires = "build")]
    pub(crate) trace: bool,
}

pub(crate) fn run(settings: &Settings, args: &BuildsArgs) -> Result<ExitCode, CliError> {
    let workspace = OpenWorkspace::find(settings)?;
    let store = settings.open_store(workspace.config.function)?;
    let history = History::open(&workspace, &store)?;
    let Some(build) = &args.build else {
        list(settings, &history.heads()?);
        return Ok(exit::SUCCESS);
    };
    let record = history.record(history.find(build)?)?;
    if args.trace {
        say(&trace(&record).to_string());
    } else {
        show(settings, &record);
    }
    Ok(exit::SUCCESS)
}

fn list(settings: &Settings, heads: &[Head]) {
    if settings.json {
        say_json(&json!(heads));
    } else {
        for head in heads {
            say(&line(head));
        }
    }
}

fn line(head: &Head) -> String {
    let counts = &head.counts;
    let asked: Vec<_> = head.patterns.iter().chain(&head.settings).map(String::as_str).collect();
    format!(
        "{:>5}  {}  {:>7.1} s  {:>5} ran, {}, {} failed  {}",
        head.build,
        utc(counts.ended),
        head.seconds,
        counts.misses,
        match counts.remote_hits {
            0 => format!("{} cached", counts.hits),
            remote => format!("{} cached ({remote} remote)", counts.hits),
        },
        counts.failures,
        asked.join(" "),
    )
}

fn show(settings: &Settings, record: &Record) {
    if settings.json {
        let actions = record.lines.iter().map(|(key, line)| {
            let mut line = json!(line);
            line["name"] = json!(key.to_string());
            line
        });
        let actions: Vec<_> = actions.collect();
        say_json(&json!({ "build": record.head, "actions": actions }));
        return;
    }
    say(&line(&record.head));
    for (key, line) in &record.lines {
        say(&match &line.ran {
            Some(run) => {
                let seconds = run.ended - run.began;
                let (outcome, why) = (&line.outcome, &run.reason.text);
                format!("       {key} ran for {seconds:.1} s ({outcome}) because {why}")
            }
            None => format!("       {key} was found with another key ({})", line.outcome),
        });
    }
}
