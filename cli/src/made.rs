//! What earlier builds put under `bld-out`: what the same cells make no more is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use engine::{Label, Pattern, Plan};
use model::RelativePath;
use serde::{Deserialize, Serialize};

use crate::error::CliError;
use crate::replace::replace;
use crate::workspace::OpenWorkspace;

/// What the name of a target's test has behind that of the target: what a test leaves is not what its target makes.
const TEST: &str = " as a test";

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

    /// Returns under which name it is noted what is kept of a target's test.
    pub(crate) fn test(goal: &str) -> String {
        format!("{goal}{TEST}")
    }

    /// Returns those of the paths that nobody answers for.
    pub(crate) fn nobodys(&self, mut paths: Vec<RelativePath>) -> Vec<RelativePath> {
        if !paths.is_empty() {
            let all: BTreeSet<&str> = self.0.values().flatten().map(String::as_str).collect();
            paths.retain(|path| !all.contains(path.as_str()));
        }
        paths
    }

    /// Returns who else answers for a path, or for something above or below it.
    pub(crate) fn other_at(&self, owner: &str, path: &RelativePath) -> Option<&str> {
        let meets = |text: &String| {
            RelativePath::new(text).is_ok_and(|other| {
                other.strip_prefix(path).is_some() || path.strip_prefix(&other).is_some()
            })
        };
        let mut others = self.0.iter().filter(|(other, _)| *other != owner);
        others.find(|(_, paths)| paths.iter().any(meets)).map(|(other, _)| other.as_str())
    }

    /// Forgets the targets and cells that the patterns stand for and that there are no more, and returns what they made.
    pub(crate) fn forget_others(&mut self, plan: &Plan, patterns: &[Pattern]) -> Vec<RelativePath> {
        let here: BTreeSet<String> =
            plan.goals.iter().map(|goal| format!("{}{}", goal.label, goal.cell)).collect();
        let is_gone = |owner: &&String| {
            let name = owner.strip_suffix(TEST).unwrap_or(owner);
            let label = name.split_once('{').map_or(name, |(label, _)| label);
            let label = Label::parse(label, &RelativePath::root());
            !here.contains(name)
                && label.is_ok_and(|label| {
                    // One that no pattern for many stands for is there as long as it is declared.
                    let is_asked = patterns.iter().any(|pattern| pattern.is_whole(&label));
                    is_asked && !plan.manual.contains(&label)
                })
        };
        let gone: Vec<String> = self.0.keys().filter(is_gone).cloned().collect();
        let paths = gone.iter().filter_map(|owner| self.0.remove(owner)).flatten();
        paths.filter_map(|path| RelativePath::new(path).ok()).collect()
    }

    /// Writes the list, whole or not at all.
    pub(crate) fn write(&self, workspace: &OpenWorkspace) -> Result<(), CliError> {
        let path = path(workspace);
        replace(&path, serde_json::to_string(self).expect("a list of texts"))
    }
}

fn path(workspace: &OpenWorkspace) -> PathBuf {
    workspace.notes().join("made")
}
