//! Grids for tests.

use std::collections::BTreeMap;

use model::RelativePath;

use super::{Cell, CellFailure, Grid, Log, Status, Target};

/// What wants to be more than text.
pub(crate) const HOSTILE: &str = "</pre></script><script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\"> & done";

fn cell(row: usize, column: usize, status: Status) -> Cell {
    let values = BTreeMap::from([
        ("kernel".to_owned(), format!("6.1.0-{row}-amd64")),
        ("kind".to_owned(), format!("kind{column}")),
    ]);
    Cell {
        row,
        column,
        values,
        status,
        seconds: 0.0,
        outputs: Vec::new(),
        reason: None,
        failure: None,
    }
}

fn target(rows: usize, columns: usize, cells: Vec<Cell>) -> Target {
    Target {
        label: "//drivers:echo".to_owned(),
        row_axis: "kernel".to_owned(),
        column_axes: vec!["kind".to_owned()],
        rows: (0..rows).map(|row| format!("6.1.0-{row}-amd64")).collect(),
        columns: (0..columns).map(|column| vec![format!("kind{column}")]).collect(),
        cells,
    }
}

/// Returns a grid with a cell of every status; one that failed, and one that must, have this log.
pub(crate) fn failing(log: &str) -> Grid {
    let cells = Status::ALL.iter().enumerate().map(|(column, status)| {
        let mut cell = cell(0, column, *status);
        cell.seconds = 1.5;
        if matches!(status, Status::Failed | Status::ExpectedFailure) {
            cell.failure = Some(CellFailure {
                action: "//drivers:echo-mod".to_owned(),
                remembered: true,
                by_machine: false,
                log: 0,
                file: Some(RelativePath::new("drivers/FAILURES/mod.log").expect("a path")),
            });
        }
        if !matches!(status, Status::Built | Status::Cached) {
            cell.reason = Some(format!("because: {log}"));
        }
        cell
    });
    let log = Log { action: log.to_owned(), text: log.to_owned(), cut: 7 };
    Grid { targets: vec![target(1, Status::ALL.len(), cells.collect())], logs: vec![log] }
}

/// Returns a grid with many cells, of which some failed in one action.
pub(crate) fn large(rows: usize, columns: usize) -> Grid {
    let mut grid = failing("log");
    let failed = grid.targets[0].cells[3].clone();
    let cells = (0..rows * columns).map(|number| {
        let (row, column) = (number / columns, number % columns);
        if number % 100 == 0 {
            Cell { row, column, ..failed.clone() }
        } else {
            cell(row, column, Status::ALL[number % 3])
        }
    });
    grid.targets = vec![target(rows, columns, cells.collect())];
    grid
}
