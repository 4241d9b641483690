//! `bld affected`: which targets and cells differ between a git revision and the workspace as it is now.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;

use engine::{
    Affected, CONFIG_FILE, Cell, ChangeKind, Impact, Label, Pattern, Plan, Side, Targets,
};
use serde::Serialize;

use crate::error::CliError;
use crate::git::{Repository, Revision};
use crate::planned::{Planned, SelectArgs, chosen_settings, locked_members};
use crate::settings::Settings;
use crate::terminal::{chain, count, say, say_serialized, tell};
use crate::workspace::OpenWorkspace;
use crate::{exit, lockfile};

/// How many removed cells are named; `--json` names them all.
const REMOVED_SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
pub(crate) struct AffectedArgs {
    /// The commit to compare with: a name, a branch, a tag
    #[arg(long, value_name = "REV")]
    pub(crate) base: String,

    /// Among which targets [default: //...]
    #[arg(value_name = "PATTERN")]
    pub(crate) patterns: Vec<String>,

    #[command(flatten)]
    pub(crate) select: SelectArgs,
}

pub(crate) fn run(settings: &Settings, args: &AffectedArgs) -> Result<ExitCode, CliError> {
    let everything = ["//...".to_owned()];
    let texts = if args.patterns.is_empty() { &everything[..] } else { &args.patterns };
    let workspace = OpenWorkspace::find(settings)?;
    // Before anything else is looked at: without a base there is no question.
    let repository = Repository::of(&workspace.root)?;
    let commit = repository.commit(&args.base)?;
    let planned = Planned::new(settings, texts, &args.select)?.with_tests();
    let patterns = planned.workspace.patterns(texts)?;
    let scratch = planned.store.scratch()?;
    let revision = repository.files(&commit, scratch.path())?;
    let head = Side::new(Arc::clone(&planned.plan), &planned.survey(false)?);
    let impact = match base(args, &planned, &patterns, &revision) {
        Ok(base) => Impact::between(base.as_ref(), &head, &patterns),
        Err(reason) => Impact::unknown(&head, reason),
    };
    answer(settings, &revision, &planned.plan, &patterns, &impact);
    drop(scratch);
    planned.close(settings)?;
    Ok(exit::SUCCESS)
}

/// Plans the base. `None` if there was no workspace; an error says why it cannot be planned.
fn base(
    args: &AffectedArgs,
    head: &Planned,
    patterns: &[Pattern],
    revision: &Revision,
) -> Result<Option<Side>, String> {
    if !revision.workspace.join(CONFIG_FILE).is_file() {
        return Ok(None);
    }
    let said = |error: CliError| {
        let submodules = &revision.submodules;
        let hint = if submodules.is_empty() {
            String::new()
        } else {
            format!(" (the files of submodules are not looked at: {})", submodules.join(", "))
        };
        format!("{}{hint}", chain(&error).join(": "))
    };
    let workspace = OpenWorkspace::around(&revision.workspace).map_err(said)?;
    if workspace.config.function != head.workspace.config.function {
        return Err("bld.toml had another digest function".to_owned());
    }
    let requests = workspace.requests().map_err(said)?;
    // A lock that is not kept in git is the same on both sides.
    let lock = match lockfile::read(&workspace).map_err(said)? {
        None => lockfile::read(&head.workspace).map_err(said)?,
        lock => lock,
    };
    let lock = lock.unwrap_or_else(|| fetch::Lock::new(workspace.config.function));
    lock.is_current(&requests, workspace.config.function)
        .map_err(|stale| format!("its bld.lock does not meet what it asks for: {stale}"))?;
    let chosen = chosen_settings(&workspace, &args.select).map_err(said)?;
    // Only what was there: a pattern may name what is new.
    let targets = workspace.engine().targets().map_err(|error| said(error.into()))?;
    let wanted = targets.iter().filter(|target| {
        patterns.iter().any(|pattern| {
            let one = matches!(pattern.targets, Targets::One(_));
            pattern.targets.covers(&target.label) && (one || !target.manual)
        })
    });
    let pattern = |target: &engine::TargetInfo| Pattern {
        targets: Targets::One(target.label.clone()),
        cells: engine::CellPattern::default(),
    };
    let wanted: Vec<_> = wanted.map(pattern).collect();
    let plan = workspace.engine().plan(&wanted, &chosen, &locked_members(&lock));
    let plan = plan.map_err(|error| said(error.into()))?.with_tests();
    let survey = engine::survey(&head.store, &workspace.files, &plan, false);
    let survey = survey.map_err(|error| said(CliError::Build(error)))?;
    Ok(Some(Side::new(Arc::new(plan), &survey)))
}

#[derive(Serialize)]
struct Answer<'a> {
    base: &'a str,
    superset: bool,
    affected: Vec<AffectedJson<'a>>,
    removed: Vec<CellJson<'a>>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct AffectedJson<'a> {
    label: String,
    cell: &'a BTreeMap<String, String>,
    change: &'static str,
    superset: bool,
}

#[derive(Serialize)]
struct CellJson<'a> {
    label: String,
    cell: &'a BTreeMap<String, String>,
}

fn answer(
    settings: &Settings,
    revision: &Revision,
    plan: &Plan,
    patterns: &[Pattern],
    impact: &Impact,
) {
    let warning = impact.unknown.as_ref().map(|reason| {
        format!("everything counts as affected, because the base cannot be planned: {reason}")
    });
    if settings.json {
        let affected = |it: &'_ Affected| -> (String, &'static str, bool) {
            let change = if it.kind == ChangeKind::Added { "added" } else { "changed" };
            (it.label.to_string(), change, it.kind == ChangeKind::Perhaps)
        };
        say_serialized(&Answer {
            base: &revision.commit,
            superset: impact.count(ChangeKind::Perhaps) > 0,
            affected: impact
                .affected
                .iter()
                .map(|it| {
                    let (label, change, superset) = affected(it);
                    AffectedJson { label, cell: &it.cell.0, change, superset }
                })
                .collect(),
            removed: impact
                .removed
                .iter()
                .map(|(label, cell)| CellJson { label: label.to_string(), cell: &cell.0 })
                .collect(),
            warnings: warning.into_iter().collect(),
        });
        return;
    }
    if let Some(warning) = warning {
        tell(&format!("warning: {warning}"));
    }
    say_patterns(plan, patterns, impact);
    for (label, cell) in impact.removed.iter().take(REMOVED_SHOWN) {
        tell(&format!("removed: {label}{cell}"));
    }
    if impact.removed.len() > REMOVED_SHOWN {
        tell(&format!("and {} more removed", impact.removed.len() - REMOVED_SHOWN));
    }
    let (added, changed) = (impact.count(ChangeKind::Added), impact.count(ChangeKind::Changed));
    let perhaps = impact.count(ChangeKind::Perhaps);
    tell(&format!(
        "{} affected: {added} added, {changed} changed, {perhaps} perhaps; {} removed",
        count(impact.affected.len() as u64, "cell"),
        impact.removed.len()
    ));
}

/// Prints what is affected, each as `bld build` takes it: a target by its label if all of it is.
fn say_patterns(plan: &Plan, patterns: &[Pattern], impact: &Impact) {
    let mut cells: BTreeMap<&Label, BTreeSet<&Cell>> = BTreeMap::new();
    for goal in plan.goals.iter().filter(|goal| goal.is_wanted()) {
        cells.entry(&goal.label).or_default().insert(&goal.cell);
    }
    let mut affected: BTreeMap<&Label, BTreeSet<&Cell>> = BTreeMap::new();
    for it in &impact.affected {
        affected.entry(&it.label).or_default().insert(&it.cell);
    }
    for (label, its) in affected {
        let whole = patterns.iter().any(|it| it.targets.covers(label) && it.cells.is_all());
        if whole && cells.get(label) == Some(&its) {
            say(&label.to_string());
        } else {
            for cell in its {
                say(&format!("{label}{cell}"));
            }
        }
    }
}
