//! The grid of a matrix: kernels down, drivers across.

use std::collections::{BTreeMap, BTreeSet};

use engine::{Goal, GoalOutcome, GoalStatus, Report};

use crate::terminal::{Paint, say};

/// The axis that goes down, where a matrix has it; else the one with the most values does.
const ROWS: &str = "kernel";

/// Returns the word for how a goal ended.
pub(crate) fn status_name(status: &GoalStatus) -> &'static str {
    match status {
        GoalStatus::Built => "built",
        GoalStatus::Cached => "cached",
        GoalStatus::Excluded => "excluded",
        GoalStatus::Failed(_) => "failed",
        GoalStatus::Skipped => "skipped",
    }
}

/// Prints the grid of every target that has axes, and counts.
pub(crate) fn print(goals: &[Goal], report: &Report) {
    let mut targets: BTreeMap<String, Vec<(&Goal, &GoalOutcome)>> = BTreeMap::new();
    for (goal, outcome) in goals.iter().zip(&report.goals) {
        targets.entry(goal.label.to_string()).or_default().push((goal, outcome));
    }
    for (label, cells) in &targets {
        if cells.iter().any(|(goal, _)| !goal.cell.0.is_empty()) {
            print_target(label, cells);
        }
    }
}

fn print_target(label: &str, cells: &[(&Goal, &GoalOutcome)]) {
    let rows = row_axis(cells);
    let mut grid: BTreeMap<RowKey, BTreeMap<String, &GoalStatus>> = BTreeMap::new();
    let mut columns = BTreeSet::new();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (goal, outcome) in cells {
        let row = goal.cell.0.get(&rows).cloned().unwrap_or_default();
        let others = goal.cell.0.iter().filter(|(axis, _)| **axis != rows);
        // The version is what people look for first, the kind after it.
        let mut others: Vec<_> =
            others.map(|(axis, value)| (axis == "kind", value.as_str())).collect();
        others.sort_unstable();
        let column = others.iter().map(|(_, value)| *value).collect::<Vec<_>>().join(" ");
        columns.insert(column.clone());
        grid.entry(RowKey::new(row)).or_default().insert(column, &outcome.status);
        *counts.entry(status_name(&outcome.status)).or_default() += 1;
    }
    let paint = Paint::for_stdout();
    let width = grid.keys().map(|row| row.text.len()).max().unwrap_or(0).max(rows.len());
    let widths: Vec<_> = columns.iter().map(|column| column.len().max("excluded".len())).collect();
    let header: Vec<_> =
        columns.iter().zip(&widths).map(|(column, width)| format!("{column:<width$}")).collect();
    say(&format!("\n{label}"));
    say(&format!("  {rows:<width$}  {}", header.join("  ").trim_end()));
    for (row, statuses) in &grid {
        let cells: Vec<_> = columns
            .iter()
            .zip(&widths)
            .map(|(column, width)| coloured(paint, statuses.get(column).copied(), *width))
            .collect();
        say(&format!("  {:<width$}  {}", row.text, cells.join("  ").trim_end()));
    }
    let counts: Vec<_> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    say(&format!("  {}\n", counts.join(", ")));
}

fn coloured(paint: Paint, status: Option<&GoalStatus>, width: usize) -> String {
    let Some(status) = status else { return " ".repeat(width) };
    let text = format!("{:<width$}", status_name(status));
    match status {
        GoalStatus::Built => paint.green(&text),
        GoalStatus::Cached => text,
        GoalStatus::Excluded => paint.dim(&text),
        GoalStatus::Failed(_) => paint.red(&text),
        GoalStatus::Skipped => paint.yellow(&text),
    }
}

fn row_axis(cells: &[(&Goal, &GoalOutcome)]) -> String {
    let mut values: BTreeMap<&String, BTreeSet<&String>> = BTreeMap::new();
    for (goal, _) in cells {
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

/// Sorts numbers inside names as numbers: 6.1.0-9 before 6.1.0-10.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct RowKey {
    parts: Vec<(u64, String)>,
    text: String,
}

impl RowKey {
    fn new(text: String) -> Self {
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (number, after) = rest.split_at(digits);
            let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
            let (word, after) = after.split_at(letters);
            parts.push((number.parse().unwrap_or(0), word.to_owned()));
            rest = after;
        }
        Self { parts, text }
    }
}
