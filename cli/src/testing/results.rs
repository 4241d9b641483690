//! Where tests' results and logs are put: `bld-out/<package>/<name>.test/[<cell>/]`.

use std::path::PathBuf;

use engine::{Goal, Tested};
use model::{Digest, DigestFunction, Node, PathSegment, RelativePath};
use store::LocalStore;

use super::logs;
use super::verdicts::Judged;
use crate::error::CliError;
use crate::output;
use crate::workspace::OpenWorkspace;

/// What the log is called.
const LOG: &str = "test.log";

/// The longest name of a folder that says all that it stands for; file systems take 255 bytes.
const NAME_BYTES_MAX: usize = 200;

/// Returns the folder of a test, below `bld-out`.
fn folder(goal: &Goal) -> RelativePath {
    let (above, name) = goal.label.name.rsplit_once('/').unwrap_or(("", &goal.label.name));
    let above = RelativePath::new(above).expect("a target's name is a path");
    let mut path = above.child(&folder_name(&format!("{name}.test")));
    if !goal.cell.0.is_empty() {
        let axes = goal.cell.0.iter().map(|(axis, value)| format!("{axis}={value}"));
        path = path.child(&folder_name(&axes.collect::<Vec<_>>().join(",")));
    }
    goal.label.package.join(&path)
}

/// Returns the name of the one folder that stands for a text: the text, or what is left of it and its digest.
fn folder_name(text: &str) -> PathSegment {
    let is_whole = text.len() <= NAME_BYTES_MAX && !text.contains('/');
    let name = if is_whole {
        text.to_owned()
    } else {
        let mut end = text.len().min(NAME_BYTES_MAX / 2);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let digest = Digest::of(DigestFunction::Blake3, text.as_bytes());
        format!("{}-{}", text[..end].replace('/', "_"), digest.short())
    };
    PathSegment::new(name).expect("neither long nor dots, and without slashes")
}

fn log_name() -> PathSegment {
    PathSegment::new(LOG).expect("a constant")
}

/// Returns where the log of a test is, if it was run.
pub(crate) fn log_place(workspace: &OpenWorkspace, judged: &Judged<'_>) -> Option<PathBuf> {
    judged.tested?;
    Some(workspace.output().join(folder(judged.goal)).join(LOG))
}

/// Returns where the results of a test are, if it left any.
pub(crate) fn place(workspace: &OpenWorkspace, judged: &Judged<'_>) -> Option<PathBuf> {
    let name = node(judged.goal, judged.tested?)?.0;
    Some(workspace.output().join(folder(judged.goal)).join(name.as_str()))
}

/// Returns the name of a test's results, and what they are.
fn node<'a>(goal: &Goal, tested: &'a Tested) -> Option<(PathSegment, &'a Node)> {
    let output = &goal.results.as_ref()?.results.output;
    let name = output.split_last()?.1;
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
        let log = (log_name(), logs::whole(store, tested));
        if results.as_ref().is_some_and(|(name, _)| *name == log.0) {
            let why = format!("the results of {} are called {LOG}, as its log is", judged.name());
            return Err(CliError::Collision(why));
        }
        kept.push(output::Kept { owner: judged.name(), folder: folder(judged.goal), results, log });
    }
    output::write_kept(workspace, store, &kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_has_a_folder_of_its_own() {
        assert_eq!(
            folder_name("kernel=6.1.0-56-amd64,kind=mod").as_str(),
            "kernel=6.1.0-56-amd64,kind=mod"
        );
        let long = format!("value={}", "ä".repeat(300));
        let names = ["path=a/b", "path=a_b", "path=a/c", &long, &long[..long.len() - 2]];
        let folders = names.map(|name| folder_name(name).to_string());
        assert!(folders.iter().all(|name| name.len() <= NAME_BYTES_MAX), "{folders:?}");
        let different: std::collections::BTreeSet<_> = folders.iter().collect();
        assert_eq!(different.len(), names.len(), "{folders:?}");
    }
}
