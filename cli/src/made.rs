//! What earlier builds put under `bld-out`: what the same cells make no more is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use engine::Label;
use model::RelativePath;
use serde::{Deserialize, Serialize};

use crate::error::CliError;
use crate::workspace::OpenWorkspace;

/// Paths below `bld-out`, by who made them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Made(BTreeMap<String, BTreeSet<String>>);

impl Made {
    /// Reads what is known; a list that cannot be read is as good as none.
    pub(crate) fn read(workspace: &OpenWorkspace) -> Self {
        let text = fs::read_to_string(path(workspace)).ok();
        text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    /// Notes what `owner` makes now and returns what it made before and makes no more.
    pub(crate) fn replace(&mut self, owner: String, now: BTreeSet<String>) -> Vec<RelativePath> {
        let gone = |before: BTreeSet<String>| -> Vec<RelativePath> {
            let gone = before.difference(&now);
            gone.filter_map(|path| RelativePath::new(path).ok()).collect()
        };
        let gone = self.0.remove(&owner).map(gone).unwrap_or_default();
        if !now.is_empty() {
            self.0.insert(owner, now);
        }
        gone
    }

    /// Returns whether somebody answers for a path.
    pub(crate) fn has(&self, path: &RelativePath) -> bool {
        let path = path.to_string();
        self.0.values().any(|paths| paths.contains(&path))
    }

    /// Forgets the cells of a target that are not among these any more, and returns what they made.
    pub(crate) fn forget_others(
        &mut self,
        label: &Label,
        cells: &BTreeSet<String>,
    ) -> Vec<RelativePath> {
        let label = label.to_string();
        // What is kept of a test has an owner of its own, with words behind the cell.
        let is_cell = |rest: &str| rest.is_empty() || rest.starts_with('{') && rest.ends_with('}');
        let of_label = |key: &String| key.strip_prefix(&label).is_some_and(is_cell);
        let alike = self.0.range(label.clone()..).map(|(key, _)| key);
        let alike = alike.take_while(|key| key.starts_with(&label));
        let gone: Vec<String> =
            alike.filter(|key| of_label(key) && !cells.contains(*key)).cloned().collect();
        let paths = gone.iter().filter_map(|key| self.0.remove(key)).flatten();
        paths.filter_map(|path| RelativePath::new(path).ok()).collect()
    }

    /// Writes the list, whole or not at all.
    pub(crate) fn write(&self, workspace: &OpenWorkspace) -> Result<(), CliError> {
        let path = path(workspace);
        let beside = path.with_extension("new");
        let text = serde_json::to_string(self).expect("a list of texts");
        fs::write(&beside, text).map_err(CliError::disk("write", &beside))?;
        fs::rename(&beside, &path).map_err(CliError::disk("write", &path))
    }
}

fn path(workspace: &OpenWorkspace) -> PathBuf {
    workspace.notes().join("made")
}
