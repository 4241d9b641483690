//! The grid as JSON: docs/FORMAT.md says what stands where.

use serde::Serialize;

use super::{Cell, Counts, Grid, Target};

/// The version of the form.
const GRID_VERSION: u32 = 1;

#[derive(Serialize)]
struct GridJson<'a> {
    version: u32,
    counts: Counts,
    targets: Vec<TargetJson<'a>>,
    logs: Vec<LogJson<'a>>,
}

#[derive(Serialize)]
struct TargetJson<'a> {
    label: &'a str,
    row_axis: Option<&'a str>,
    column_axes: &'a [String],
    rows: &'a [String],
    columns: &'a [Vec<String>],
    counts: Counts,
    cells: Vec<CellJson<'a>>,
}

#[derive(Serialize)]
struct CellJson<'a> {
    name: String,
    cell: &'a std::collections::BTreeMap<String, String>,
    status: &'static str,
    seconds: f64,
    outputs: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureJson<'a>>,
}

#[derive(Serialize)]
struct FailureJson<'a> {
    action: &'a str,
    remembered: bool,
    log: usize,
    file: Option<String>,
}

#[derive(Serialize)]
struct LogJson<'a> {
    action: &'a str,
    text: &'a str,
    cut: usize,
}

/// Returns the document.
pub(super) fn write(grid: &Grid) -> String {
    let logs =
        grid.logs.iter().map(|log| LogJson { action: &log.action, text: &log.text, cut: log.cut });
    let document = GridJson {
        version: GRID_VERSION,
        counts: grid.counts(),
        targets: grid.targets.iter().map(target_json).collect(),
        logs: logs.collect(),
    };
    serde_json::to_string(&document).expect("texts and numbers") + "\n"
}

fn target_json(target: &Target) -> TargetJson<'_> {
    TargetJson {
        label: &target.label,
        row_axis: Some(target.row_axis.as_str()).filter(|axis| !axis.is_empty()),
        column_axes: &target.column_axes,
        rows: &target.rows,
        columns: &target.columns,
        counts: target.counts(),
        cells: target.cells.iter().map(|cell| cell_json(target, cell)).collect(),
    }
}

fn cell_json<'a>(target: &Target, cell: &'a Cell) -> CellJson<'a> {
    CellJson {
        name: target.name(cell),
        cell: &cell.values,
        status: cell.status.name(),
        seconds: cell.seconds,
        outputs: cell.outputs.iter().map(ToString::to_string).collect(),
        reason: cell.reason.as_deref(),
        failure: cell.failure.as_ref().map(|failure| FailureJson {
            action: &failure.action,
            remembered: failure.remembered,
            log: failure.log,
            file: failure.file.as_ref().map(ToString::to_string),
        }),
    }
}
