//! `bld affected`: which targets and cells differ between a git revision and the workspace as it is now.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;

use engine::{CONFIG_FILE, Cell, Goal, Label, Pattern, Plan, Survey, Targets, signature};
use model::{Digest, DigestFunction, Node, RelativePath};
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
    let planned = Planned::new(settings, texts, &args.select)?;
    let patterns = planned.workspace.patterns(texts)?;
    let scratch = planned.store.scratch()?;
    let revision = repository.files(&commit, scratch.path())?;
    let head = Side::new(Arc::clone(&planned.plan), &planned.survey(false)?);
    let change = match base(settings, args, &planned, &patterns, &revision) {
        Ok(base) => Change::between(base.as_ref(), &head, &patterns),
        Err(reason) => Change::unknown(&head, reason),
    };
    answer(settings, &revision, &planned.plan, &patterns, &change);
    drop(scratch);
    planned.close(settings)?;
    Ok(exit::SUCCESS)
}

/// One of the two states that are compared.
struct Side {
    plan: Arc<Plan>,
    signatures: Vec<Digest>,
    identities: Vec<Option<Digest>>,
}

impl Side {
    fn new(plan: Arc<Plan>, survey: &Survey) -> Self {
        let source = |path: &RelativePath| content(survey.sources.get(path));
        let signatures = signature::signatures(&plan, source);
        let key = |node| survey.action(node)?.key;
        let identities = signature::identities(&plan, key, source);
        Self { plan, signatures, identities }
    }

    fn goals(&self) -> BTreeMap<(&Label, &Cell), &Goal> {
        let built = self.plan.goals.iter().filter(|goal| !goal.excluded);
        built.map(|goal| ((&goal.label, &goal.cell), goal)).collect()
    }

    fn signature(&self, goal: &Goal) -> Option<Digest> {
        signature::of_goal(goal, |node| Some(self.signatures[node]))
    }

    fn identity(&self, goal: &Goal) -> Option<Digest> {
        signature::of_goal(goal, |node| self.identities[node])
    }
}

/// Returns a digest of what a source holds; one that no goal needs holds nothing.
fn content(node: Option<&Node>) -> Digest {
    let text = match node {
        Some(Node::File { digest, executable }) => format!("file {digest} {executable}"),
        Some(Node::Directory(tree)) => format!("folder {}", tree.0),
        Some(Node::Symlink(target)) => format!("link {target}"),
        None => String::new(),
    };
    Digest::of(DigestFunction::Blake3, text.as_bytes())
}

/// Plans the base. `None` if there was no workspace; an error says why it cannot be planned.
fn base(
    settings: &Settings,
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
    let settings = Settings { directory: revision.workspace.clone(), ..settings.clone() };
    let workspace = OpenWorkspace::find(&settings).map_err(said)?;
    if workspace.config.function != head.workspace.config.function {
        return Err("bld.toml had another digest function".to_owned());
    }
    let requests = workspace.requests().map_err(said)?;
    // A lock that is not kept in git is the same on both sides.
    let lock = match lockfile::read(&workspace.lock_path()).map_err(said)? {
        None => lockfile::read(&head.workspace.lock_path()).map_err(said)?,
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
    let plan = plan.map_err(|error| said(error.into()))?;
    let survey = engine::survey(&head.store, &workspace.files, &plan, false);
    let survey = survey.map_err(|error| said(CliError::Build(error)))?;
    Ok(Some(Side::new(Arc::new(plan), &survey)))
}

/// What differs.
struct Change {
    affected: Vec<Affected>,
    removed: Vec<(Label, Cell)>,
    /// Why the base cannot be planned, if so: then everything counts as affected.
    unknown: Option<String>,
}

/// Something that differs.
struct Affected {
    label: Label,
    cell: Cell,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Added,
    Changed,
    /// Something that it is made from differs; whether that changes what it reads is not known before that is built.
    Perhaps,
}

impl Change {
    /// Everything, because nothing is known.
    fn unknown(head: &Side, reason: String) -> Self {
        let all = head.goals().into_keys().map(|(label, cell)| Affected {
            label: label.clone(),
            cell: cell.clone(),
            kind: Kind::Perhaps,
        });
        Self { affected: all.collect(), removed: Vec::new(), unknown: Some(reason) }
    }

    fn between(base: Option<&Side>, head: &Side, patterns: &[Pattern]) -> Self {
        let before = base.map(Side::goals).unwrap_or_default();
        let after = head.goals();
        let mut affected = Vec::new();
        for (name @ (label, cell), goal) in &after {
            let kind = match (base, before.get(name)) {
                (Some(base), Some(old)) => compare(base, old, head, goal),
                _ => Some(Kind::Added),
            };
            if let Some(kind) = kind {
                affected.push(Affected { label: (*label).clone(), cell: (*cell).clone(), kind });
            }
        }
        let asked = |(label, cell): &(&Label, &Cell)| {
            patterns.iter().any(|it| it.targets.covers(label) && it.cells.matches(cell))
        };
        let removed = before.keys().filter(|name| !after.contains_key(*name) && asked(name));
        let removed = removed.map(|(label, cell)| ((*label).clone(), (*cell).clone()));
        Self { affected, removed: removed.collect(), unknown: None }
    }

    fn count(&self, kind: Kind) -> u64 {
        self.affected.iter().filter(|it| it.kind == kind).count() as u64
    }
}

fn compare(base: &Side, old: &Goal, head: &Side, new: &Goal) -> Option<Kind> {
    if base.signature(old) == head.signature(new) {
        return None;
    }
    match (base.identity(old), head.identity(new)) {
        (Some(old), Some(new)) => (old != new).then_some(Kind::Changed),
        _ => Some(Kind::Perhaps),
    }
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
    change: &Change,
) {
    let warning = change.unknown.as_ref().map(|reason| {
        format!("everything counts as affected, because the base cannot be planned: {reason}")
    });
    if settings.json {
        let affected = |it: &'_ Affected| -> (String, &'static str, bool) {
            let change = if it.kind == Kind::Added { "added" } else { "changed" };
            (it.label.to_string(), change, it.kind == Kind::Perhaps)
        };
        say_serialized(&Answer {
            base: &revision.commit,
            superset: change.count(Kind::Perhaps) > 0,
            affected: change
                .affected
                .iter()
                .map(|it| {
                    let (label, change, superset) = affected(it);
                    AffectedJson { label, cell: &it.cell.0, change, superset }
                })
                .collect(),
            removed: change
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
    say_patterns(plan, patterns, change);
    for (label, cell) in change.removed.iter().take(REMOVED_SHOWN) {
        tell(&format!("removed: {label}{cell}"));
    }
    if change.removed.len() > REMOVED_SHOWN {
        tell(&format!("and {} more removed", change.removed.len() - REMOVED_SHOWN));
    }
    let (added, changed) = (change.count(Kind::Added), change.count(Kind::Changed));
    let perhaps = change.count(Kind::Perhaps);
    tell(&format!(
        "{} affected: {added} added, {changed} changed, {perhaps} perhaps; {} removed",
        count(change.affected.len() as u64, "cell"),
        change.removed.len()
    ));
}

/// Prints what is affected, each as `bld build` takes it: a target by its label if all of it is.
fn say_patterns(plan: &Plan, patterns: &[Pattern], change: &Change) {
    let mut cells: BTreeMap<&Label, BTreeSet<&Cell>> = BTreeMap::new();
    for goal in plan.goals.iter().filter(|goal| !goal.excluded) {
        cells.entry(&goal.label).or_default().insert(&goal.cell);
    }
    let mut affected: BTreeMap<&Label, BTreeSet<&Cell>> = BTreeMap::new();
    for it in &change.affected {
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
