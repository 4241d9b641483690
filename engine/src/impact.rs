//! Changes: what differs between two plans of a workspace, as far as that can be known without building.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Digest, DigestFunction, Node, RelativePath};

use crate::build::Survey;
use crate::cell::Cell;
use crate::label::{Label, Pattern};
use crate::plan::{Goal, Plan};
use crate::signature;

/// One of the two states that are compared.
pub struct Side {
    plan: Arc<Plan>,
    signatures: Vec<Digest>,
    identities: Vec<Option<Digest>>,
}

impl Side {
    /// Returns a state: what is to be built, and what a survey found.
    pub fn new(plan: Arc<Plan>, survey: &Survey) -> Self {
        let source = |path: &RelativePath| content(survey.sources.get(path));
        let signatures = signature::signatures(&plan, source);
        let key = |node| survey.action(node)?.key;
        let identities = signature::identities(&plan, key, source);
        Self { plan, signatures, identities }
    }

    fn goals(&self) -> BTreeMap<(&Label, &Cell), &Goal> {
        let built = self.plan.goals.iter().filter(|goal| goal.is_wanted());
        built.map(|goal| ((&goal.label, &*goal.cell), goal)).collect()
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

/// What differs.
pub struct Impact {
    /// What is added, changed or perhaps changed.
    pub affected: Vec<Affected>,
    /// What only the base has.
    pub removed: Vec<(Label, Cell)>,
    /// Why the base cannot be planned, if so: then everything counts as affected.
    pub unknown: Option<String>,
}

/// Something that differs.
pub struct Affected {
    /// The target.
    pub label: Label,
    /// The cell.
    pub cell: Cell,
    /// How.
    pub kind: ChangeKind,
}

/// How something differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was not there, or was excluded.
    Added,
    /// The keys of the actions that make it differ.
    Changed,
    /// Something that it is made from differs; whether that changes what it reads is not known before that is built.
    Perhaps,
}

impl Impact {
    /// Returns that everything may differ, because the base cannot be planned.
    pub fn unknown(head: &Side, reason: String) -> Self {
        let all = head.goals().into_keys().map(|(label, cell)| Affected {
            label: label.clone(),
            cell: cell.clone(),
            kind: ChangeKind::Perhaps,
        });
        Self { affected: all.collect(), removed: Vec::new(), unknown: Some(reason) }
    }

    /// Returns what differs from the base; all is new if there was none. Of what was removed, only what the patterns
    /// stand for counts.
    pub fn between(base: Option<&Side>, head: &Side, patterns: &[Pattern]) -> Self {
        let before = base.map(Side::goals).unwrap_or_default();
        let after = head.goals();
        let mut affected = Vec::new();
        for (name @ (label, cell), goal) in &after {
            let kind = match (base, before.get(name)) {
                (Some(base), Some(old)) => compare(base, old, head, goal),
                _ => Some(ChangeKind::Added),
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

    /// Returns how many there are of a kind.
    pub fn count(&self, kind: ChangeKind) -> u64 {
        self.affected.iter().filter(|it| it.kind == kind).count() as u64
    }
}

fn compare(base: &Side, old: &Goal, head: &Side, new: &Goal) -> Option<ChangeKind> {
    if base.signature(old) == head.signature(new) {
        return None;
    }
    match (base.identity(old), head.identity(new)) {
        (Some(old), Some(new)) => (old != new).then_some(ChangeKind::Changed),
        _ => Some(ChangeKind::Perhaps),
    }
}
