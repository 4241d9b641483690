//! The grid of a matrix: what came of every cell, as plain values that the writers beside this file show.

mod html;
mod json;
mod junit;
mod make;
mod number;
mod text;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use engine::GoalStatus;
use model::RelativePath;

pub(crate) use text::print;

/// How a cell ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    Built,
    Cached,
    Excluded,
    Failed,
    Skipped,
    Unavailable,
    ExpectedFailure,
    UnexpectedPass,
}

impl Status {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 8] = [
        Self::Built,
        Self::Cached,
        Self::Excluded,
        Self::Failed,
        Self::Skipped,
        Self::Unavailable,
        Self::ExpectedFailure,
        Self::UnexpectedPass,
    ];

    pub(crate) fn of(status: &GoalStatus) -> Self {
        match status {
            GoalStatus::Built => Self::Built,
            GoalStatus::Cached => Self::Cached,
            GoalStatus::Excluded => Self::Excluded,
            GoalStatus::Failed(_) => Self::Failed,
            GoalStatus::Skipped => Self::Skipped,
            GoalStatus::Unavailable(_) => Self::Unavailable,
            GoalStatus::ExpectedFailure(_) => Self::ExpectedFailure,
            GoalStatus::UnexpectedPass => Self::UnexpectedPass,
        }
    }

    /// Returns its word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Built => "built",
            Self::Cached => "cached",
            Self::Excluded => "excluded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Unavailable => "unavailable",
            Self::ExpectedFailure => "xfail",
            Self::UnexpectedPass => "xpass",
        }
    }
}

/// How many cells ended how.
pub(crate) type Counts = BTreeMap<&'static str, u64>;

/// What came of everything that was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grid {
    pub(crate) targets: Vec<Target>,
    pub(crate) logs: Vec<Log>,
}

/// A target with its cells.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) label: String,
    /// The axis that goes down; empty where there is none.
    pub(crate) row_axis: String,
    /// Those that go across, in the order in which columns name their values.
    pub(crate) column_axes: Vec<String>,
    pub(crate) rows: Vec<String>,
    /// Each column's values.
    pub(crate) columns: Vec<Vec<String>>,
    /// Sorted by row and column; not every place has one.
    pub(crate) cells: Vec<Cell>,
}

/// What came of one cell.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) row: usize,
    pub(crate) column: usize,
    pub(crate) values: BTreeMap<String, String>,
    pub(crate) status: Status,
    /// How long the commands took that made its outputs, or that failed, now or when their results were made.
    pub(crate) seconds: f64,
    /// Where its outputs are below `bld-out`.
    pub(crate) outputs: Vec<RelativePath>,
    /// Why it was not made.
    pub(crate) reason: Option<String>,
    /// Which action failed, if one did.
    pub(crate) failure: Option<CellFailure>,
}

/// A failure, as a cell sees it: several cells may have the same.
#[derive(Clone, Debug)]
pub(crate) struct CellFailure {
    pub(crate) action: String,
    pub(crate) remembered: bool,
    /// Whether the machine may be to blame.
    pub(crate) by_machine: bool,
    /// Which of the grid's logs is its.
    pub(crate) log: usize,
    /// Where the whole log is below `bld-out`, if it has a file.
    pub(crate) file: Option<RelativePath>,
}

/// The beginning of what an action wrote.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub(crate) action: String,
    pub(crate) text: String,
    /// How many bytes it had that are not in `text`.
    pub(crate) cut: usize,
}

/// A kind of file that a grid can be written to.
#[derive(Clone, Debug)]
pub(crate) struct GridFile {
    path: PathBuf,
    form: Form,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Html,
    Json,
    Junit,
}

impl std::str::FromStr for GridFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        let form = match path.extension().and_then(|it| it.to_str()) {
            Some("html") => Form::Html,
            Some("json") => Form::Json,
            Some("xml") => Form::Junit,
            _ => {
                return Err(
                    "it is written as its name ends: .html, .json or .xml (JUnit)".to_owned()
                );
            }
        };
        Ok(Self { path, form })
    }
}

impl GridFile {
    /// Returns where it lies, for a command that works in `directory`.
    pub(crate) fn path(&self, directory: &Path) -> PathBuf {
        directory.join(&self.path)
    }

    /// Returns what is to stand in it. `output` is `bld-out`, which it refers to.
    pub(crate) fn text(&self, grid: &Grid, directory: &Path, output: &Path) -> String {
        match self.form {
            Form::Html => html::write(grid, &html::way(&self.path(directory), output)),
            Form::Json => json::write(grid),
            Form::Junit => crate::junit::write(&junit::suites(grid)),
        }
    }
}

impl Grid {
    /// Returns how many cells ended how.
    pub(crate) fn counts(&self) -> Counts {
        count(self.targets.iter().flat_map(|target| &target.cells))
    }
}

impl Target {
    /// Returns how many of its cells ended how.
    pub(crate) fn counts(&self) -> Counts {
        count(&self.cells)
    }

    /// Returns how a cell is named everywhere.
    pub(crate) fn name(&self, cell: &Cell) -> String {
        format!("{}{}", self.label, engine::Cell(cell.values.clone()))
    }
}

fn count<'a>(cells: impl IntoIterator<Item = &'a Cell>) -> Counts {
    let mut counts = Counts::new();
    for cell in cells {
        *counts.entry(cell.status.name()).or_default() += 1;
    }
    counts
}

#[cfg(test)]
pub(crate) mod samples;
