//! The grid as `JUnit` cases: a suite for each target, a case for each cell.

use super::{Cell, Grid, Status, Target};
use crate::junit::{Case, CaseOutcome, Suite};

/// Returns the suites.
pub(super) fn suites(grid: &Grid) -> Vec<Suite> {
    let suite = |target: &Target| Suite {
        name: target.label.clone(),
        cases: target.cells.iter().map(|cell| case(grid, target, cell)).collect(),
    };
    grid.targets.iter().map(suite).collect()
}

fn case(grid: &Grid, target: &Target, cell: &Cell) -> Case {
    Case {
        name: target.name(cell),
        class: target.label.clone(),
        seconds: cell.seconds,
        outcome: outcome(grid, cell),
        stdout: String::new(),
        stderr: String::new(),
    }
}

fn outcome(grid: &Grid, cell: &Cell) -> CaseOutcome {
    let reason = cell.reason.clone().unwrap_or_default();
    let status = cell.status.name();
    match (cell.status, &cell.failure) {
        (Status::Built | Status::Cached, _) => CaseOutcome::Passed,
        (Status::Failed, Some(failure)) => {
            let message = format!("{}: {reason}", failure.action);
            let text = text(grid, failure.log);
            if failure.by_machine {
                CaseOutcome::Error { message, text }
            } else {
                CaseOutcome::Failed { message, text }
            }
        }
        (Status::UnexpectedPass | Status::Failed, _) => {
            CaseOutcome::Failed { message: format!("{status}: {reason}"), text: String::new() }
        }
        // A failure that must be is no result that anybody has to look at.
        (Status::Excluded | Status::Skipped | Status::Unavailable | Status::ExpectedFailure, _) => {
            CaseOutcome::Skipped { message: format!("{status}: {reason}") }
        }
    }
}

fn text(grid: &Grid, log: usize) -> String {
    let log = &grid.logs[log];
    if log.cut == 0 {
        return log.text.clone();
    }
    format!("{}\n… and {} bytes more", log.text, log.cut)
}
