//! From a plan and what came of it to the grid.

use std::collections::{BTreeMap, BTreeSet};

use engine::{Failure, Goal, GoalOutcome, GoalStatus, Graph, Node, NodeId, Owner, Plan, Report};

use super::number::Numbered;
use super::{Cell, CellFailure, Grid, Log, Status, Target};
use crate::plain::plain;

/// The axis that goes down, where a matrix has it; else the one with the most values does.
const ROWS: &str = "kernel";

/// How much of one log a grid carries: what is wrong stands at its beginning, and the whole log lies in its file.
const LOG_BYTES_MAX: usize = 32 << 10;

/// How much of all logs together: a page that is larger by more than this is slow to open.
const LOGS_BYTES_MAX: usize = 4 << 20;

impl Grid {
    /// Returns the grid of a build. `log` returns what a failed action wrote.
    pub(crate) fn new(plan: &Plan, report: &Report, log: &dyn Fn(&Failure) -> String) -> Self {
        let mut maker = Maker::new(plan, report, log);
        let mut targets: BTreeMap<String, Vec<(&Goal, &GoalOutcome)>> = BTreeMap::new();
        for (goal, outcome) in plan.goals.iter().zip(&report.goals) {
            targets.entry(goal.label.to_string()).or_default().push((goal, outcome));
        }
        let targets = targets.into_iter().map(|(label, goals)| maker.target(label, &goals));
        let targets = targets.collect();
        Self { targets, logs: maker.logs }
    }
}

/// What making a grid needs.
struct Maker<'a> {
    graph: &'a Graph,
    /// How long each node's command took.
    seconds: BTreeMap<NodeId, f64>,
    /// The same, by who wanted it.
    owners: BTreeMap<&'a Owner, f64>,
    log: &'a dyn Fn(&Failure) -> String,
    logs: Vec<Log>,
    known: BTreeMap<String, usize>,
    room: usize,
}

impl<'a> Maker<'a> {
    fn new(plan: &'a Plan, report: &'a Report, log: &'a dyn Fn(&Failure) -> String) -> Self {
        let seconds = report.ran.iter().map(|ran| (ran.node, ran.wall.as_secs_f64()));
        let owners = report.ran.iter().map(|ran| (&ran.owner, ran.wall.as_secs_f64()));
        Self {
            graph: &plan.graph,
            seconds: seconds.collect(),
            owners: owners.collect(),
            log,
            logs: Vec::new(),
            known: BTreeMap::new(),
            room: LOGS_BYTES_MAX,
        }
    }

    fn target(&mut self, label: String, goals: &[(&Goal, &GoalOutcome)]) -> Target {
        let row_axis = row_axis(goals);
        let columns_of = |goal: &Goal| -> Vec<(bool, String, String)> {
            let others = goal.cell.0.iter().filter(|(axis, _)| **axis != row_axis);
            // The version is what people look for first, the kind after it.
            let mut others: Vec<_> =
                others.map(|(axis, value)| (axis == "kind", axis.clone(), value.clone())).collect();
            others.sort();
            others
        };
        let row_of = |goal: &Goal| goal.cell.0.get(&row_axis).cloned().unwrap_or_default();
        let values_of = |goal: &Goal| -> Vec<Numbered> {
            columns_of(goal).into_iter().map(|(_, _, value)| Numbered::new(value)).collect()
        };
        let rows: BTreeSet<Numbered> =
            goals.iter().map(|(goal, _)| Numbered::new(row_of(goal))).collect();
        let columns: BTreeSet<Vec<Numbered>> =
            goals.iter().map(|(goal, _)| values_of(goal)).collect();
        let place_of_row: BTreeMap<_, _> = rows.iter().zip(0..).collect();
        let place_of_column: BTreeMap<_, _> = columns.iter().zip(0..).collect();
        let mut cells: Vec<Cell> = goals
            .iter()
            .map(|(goal, outcome)| {
                let row = place_of_row[&Numbered::new(row_of(goal))];
                let column = place_of_column[&values_of(goal)];
                self.cell(row, column, goal, outcome)
            })
            .collect();
        cells.sort_by_key(|cell| (cell.row, cell.column));
        let first = goals.first().map(|(goal, _)| columns_of(goal)).unwrap_or_default();
        Target {
            label,
            column_axes: first.into_iter().map(|(_, axis, _)| axis).collect(),
            rows: rows.into_iter().map(Numbered::into_text).collect(),
            columns: columns
                .into_iter()
                .map(|values| values.into_iter().map(Numbered::into_text).collect())
                .collect(),
            cells,
            row_axis,
        }
    }

    fn cell(&mut self, row: usize, column: usize, goal: &Goal, outcome: &GoalOutcome) -> Cell {
        let failed = outcome.status.failure();
        let made = || goal.outputs.iter().map(|(_, it)| self.seconds_of(it.node)).sum();
        // Where nothing is told of actions, there need not be a graph of them either.
        let made = if self.seconds.is_empty() { 0.0 } else { made() };
        let seconds =
            failed.map_or(made, |it| self.owners.get(&it.owner).copied().unwrap_or_default());
        Cell {
            row,
            column,
            values: goal.cell.0.clone(),
            status: Status::of(&outcome.status),
            seconds,
            outputs: outcome
                .outputs
                .iter()
                .map(|(path, _)| goal.label.package.join(path))
                .collect(),
            reason: reason(&outcome.status),
            failure: failed.map(|failure| CellFailure {
                action: failure.owner.to_string(),
                remembered: failure.remembered,
                by_machine: !failure.kind.is_repeatable(),
                log: self.log_of(failure),
                file: goal.failure_log.as_ref().map(|log| goal.label.package.join(log)),
            }),
        }
    }

    /// Returns how long the command of a node took; of a tree, those of what it is made of.
    fn seconds_of(&self, id: NodeId) -> f64 {
        match self.graph.node(id) {
            Node::Tree(tree) => tree.entries.iter().map(|(_, it)| self.seconds_of(it.node)).sum(),
            Node::Run(_) | Node::Builtin(_) => self.seconds.get(&id).copied().unwrap_or_default(),
            Node::Source(_) | Node::Locked(_) | Node::Write { .. } => 0.0,
        }
    }

    /// Returns the number of the failed action's log; it is taken in once, however many cells it made fail.
    fn log_of(&mut self, failure: &Failure) -> usize {
        let action = failure.owner.to_string();
        if let Some(known) = self.known.get(&action) {
            return *known;
        }
        let mut text = plain((self.log)(failure).trim_end());
        let whole = text.len();
        let room = self.room.min(LOG_BYTES_MAX);
        if whole > room {
            let end = (0..=room).rev().find(|end| text.is_char_boundary(*end));
            text.truncate(end.unwrap_or_default());
        }
        self.room -= text.len();
        let cut = whole - text.len();
        self.known.insert(action.clone(), self.logs.len());
        self.logs.push(Log { action, text, cut });
        self.logs.len() - 1
    }
}

fn reason(status: &GoalStatus) -> Option<String> {
    match status {
        GoalStatus::Built | GoalStatus::Cached => None,
        GoalStatus::Excluded => Some("its target's `exclude` names it".to_owned()),
        GoalStatus::Skipped => Some("another failure stopped the build first".to_owned()),
        GoalStatus::UnexpectedPass => {
            Some("its target's `xfail` says that it must fail".to_owned())
        }
        GoalStatus::Unavailable(reason) => Some(reason.to_string()),
        GoalStatus::Failed(failure) | GoalStatus::ExpectedFailure(failure) => {
            Some(failure.kind.to_string())
        }
    }
}

fn row_axis(goals: &[(&Goal, &GoalOutcome)]) -> String {
    let mut values: BTreeMap<&String, BTreeSet<&String>> = BTreeMap::new();
    for (goal, _) in goals {
        for (axis, value) in &goal.cell.0 {
            values.entry(axis).or_default().insert(value);
        }
    }
    if values.keys().any(|axis| *axis == ROWS) {
        return ROWS.to_owned();
    }
    let most = values.iter().max_by_key(|(_, values)| values.len());
    most.map(|(axis, _)| (*axis).clone()).unwrap_or_default()
}
