//! Where tests' results and logs are put: `bld-out/<package>/<name>.test/[<cell>/]`.

use std::path::PathBuf;

use engine::{Goal, Tested};
use model::{Node, RelativePath};
use store::LocalStore;

use super::logs;
use super::verdicts::Judged;
use crate::error::CliError;
use crate::output;
use crate::workspace::OpenWorkspace;

/// What the log is called.
const LOG: &str = "test.log";

/// Returns the folder of a test, below `bld-out`.
fn folder(goal: &Goal) -> RelativePath {
    let mut path = format!("{}.test", goal.label.name);
    if !goal.cell.0.is_empty() {
        let axes: Vec<_> =
            goal.cell.0.iter().map(|(axis, value)| format!("{axis}={value}")).collect();
        // A value may have a slash in it; a cell is one folder.
        path = format!("{path}/{}", axes.join(",").replace('/', "_"));
    }
    goal.label.package.join(&RelativePath::new(path).expect("names and values are names of files"))
}

/// Returns where the log of a test is, if it was run.
pub(crate) fn log_place(workspace: &OpenWorkspace, judged: &Judged<'_>) -> Option<PathBuf> {
    judged.tested?;
    Some(workspace.output().join(folder(judged.goal)).join(LOG))
}

/// Returns where the results of a test are, if it left any.
pub(crate) fn place(workspace: &OpenWorkspace, judged: &Judged<'_>) -> Option<PathBuf> {
    let name = node(judged.goal, judged.tested?)?.0;
    Some(workspace.output().join(folder(judged.goal)).join(name))
}

/// Returns the name of a test's results, and what they are.
fn node<'a>(goal: &Goal, tested: &'a Tested) -> Option<(String, &'a Node)> {
    let output = &goal.results.as_ref()?.results.output;
    let name = output.split_last()?.1.to_string();
    Some((name, tested.outputs.get(output)?))
}

/// Puts the results and the log of every test that was run in their place.
pub(crate) fn write(
    workspace: &OpenWorkspace,
    store: &LocalStore,
    all: &[Judged<'_>],
) -> Result<(), CliError> {
    let mut kept = Vec::new();
    for judged in all {
        let Some(tested) = judged.tested else { continue };
        let results = node(judged.goal, tested).map(|(name, node)| (name, node.clone()));
        let log = (LOG.to_owned(), logs::whole(store, tested));
        kept.push(output::Kept { owner: judged.name(), folder: folder(judged.goal), results, log });
    }
    output::write_kept(workspace, store, &kept)
}
