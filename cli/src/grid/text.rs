//! The grid in a terminal: kernels down, drivers across.

use super::{Grid, Status, Target};
use crate::terminal::{Paint, say};

/// Prints the grid of every target that has axes, and counts.
pub(crate) fn print(grid: &Grid) {
    for target in grid.targets.iter().filter(|target| !target.row_axis.is_empty()) {
        print_target(target);
    }
}

fn print_target(target: &Target) {
    let paint = Paint::for_stdout();
    let axis = &target.row_axis;
    let width = target.rows.iter().map(String::len).max().unwrap_or(0).max(axis.len());
    let names: Vec<String> = target.columns.iter().map(|values| values.join(" ")).collect();
    let widths = widths(target, &names);
    let header: Vec<_> =
        names.iter().zip(&widths).map(|(name, width)| format!("{name:<width$}")).collect();
    say(&format!("\n{}", target.label));
    say(&format!("  {axis:<width$}  {}", header.join("  ").trim_end()));
    let mut cells = target.cells.iter().peekable();
    for (row, name) in target.rows.iter().enumerate() {
        let statuses = widths.iter().enumerate().map(|(column, width)| {
            let cell = cells.next_if(|cell| (cell.row, cell.column) == (row, column));
            cell.map_or_else(|| " ".repeat(*width), |cell| coloured(paint, cell.status, *width))
        });
        let statuses = statuses.collect::<Vec<_>>().join("  ");
        say(&format!("  {name:<width$}  {}", statuses.trim_end()));
    }
    let counts = target.counts();
    let counts: Vec<_> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    say(&format!("  {}\n", counts.join(", ")));
}

/// Returns how wide each column is; "excluded" fits always, so that grids of one target look alike.
fn widths(target: &Target, names: &[String]) -> Vec<usize> {
    let least = Status::Excluded.name().len();
    let mut widths: Vec<_> = names.iter().map(|name| name.len().max(least)).collect();
    for cell in &target.cells {
        widths[cell.column] = widths[cell.column].max(cell.status.name().len());
    }
    widths
}

fn coloured(paint: Paint, status: Status, width: usize) -> String {
    let text = format!("{:<width$}", status.name());
    match status {
        Status::Built => paint.green(&text),
        Status::Cached => text,
        Status::Excluded | Status::Unavailable => paint.dim(&text),
        Status::Failed | Status::UnexpectedPass => paint.red(&text),
        Status::Skipped | Status::ExpectedFailure => paint.yellow(&text),
    }
}
