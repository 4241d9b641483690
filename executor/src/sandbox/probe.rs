//! Which sandbox this machine can make: tried for real, not guessed.

use std::collections::BTreeMap;
use std::path::Path;

use super::first::{FirstProcess, Lifeline};
use super::spec::{Beginning, Mount, MountKind, Rung, Spec};
use crate::ExecuteError;
use crate::layout::Layout;

/// What came of trying one rung.
#[derive(Debug)]
pub struct Probe {
    /// The rung.
    pub rung: Rung,
    /// Nothing, or why it does not work here.
    pub result: Result<(), ExecuteError>,
}

/// Tries each rung in a scratch directory, the best first, and returns what came of them.
///
/// What is tried is what actions need: all namespaces, a read-only bind, and an overlay that takes writes.
pub fn probe(scratch: &Path) -> Vec<Probe> {
    rungs().map(|rung| Probe { rung, result: try_rung(scratch, rung) }).collect()
}

/// Returns the best rung that works here, trying no further than the first that does.
pub(crate) fn first_working(scratch: &Path) -> Option<Rung> {
    rungs().find(|rung| try_rung(scratch, *rung).is_ok())
}

fn rungs() -> impl Iterator<Item = Rung> {
    let root = rustix::process::geteuid().is_root().then_some(Rung::Root);
    [Rung::UserNamespace].into_iter().chain(root)
}

fn try_rung(scratch: &Path, rung: Rung) -> Result<(), ExecuteError> {
    let folder = scratch.join(format!("{rung:?}"));
    let layout = Layout::of(&folder);
    let path = |name: &str| {
        let path = folder.join(name);
        std::fs::create_dir_all(&path).map_err(ExecuteError::disk("create", &path)).map(|()| path)
    };
    let mount = |at: &str, kind| Mount { at: at.to_owned(), kind };
    let lower = path("lower")?;
    layout.make()?;
    let (upper, work) = (layout.work(), path("overlay")?);
    let overlay = MountKind::Overlay { lower: lower.clone(), upper, work };
    let beginning = Beginning { layout: layout.clone(), ..Beginning::of(rung) };
    let spec = Spec {
        mounts: vec![mount("tree", MountKind::Tree(lower)), mount("overlay", overlay)],
        // There is no program in there; that it is not found is what tells that everything else worked.
        arguments: vec!["/none".to_owned()],
        environment: BTreeMap::new(),
        working_directory: "overlay".to_owned(),
        time_ms: 10_000,
        file_bytes: 1 << 20,
        reversed: false,
        session: None,
    };
    let lifeline = Lifeline::default();
    let mut first = FirstProcess::start(&beginning)?;
    first.tell(&spec, &lifeline);
    first.hear().map(|_| ())
}
