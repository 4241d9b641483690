//! What a new lock changed.

use std::collections::BTreeMap;

use crate::lock::{Lock, Member};

/// What changed between two locks, and what could not be as it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What was not there before.
    pub added: Vec<Change>,
    /// What is not there any more.
    pub removed: Vec<Change>,
    /// What is there in another version.
    pub upgraded: Vec<Change>,
    /// What no package source offers any more; it stays locked.
    pub kept_vanished: Vec<Change>,
    /// What may surprise.
    pub warnings: Vec<String>,
}

/// One package, archive or commit of one target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The target.
    pub label: String,
    /// The kernel, in lists of kernels; else `-`.
    pub group: String,
    /// The package; see [`Member`].
    pub name: String,
    /// The architecture.
    pub arch: String,
    /// The version before.
    pub from: Option<String>,
    /// The version now.
    pub to: Option<String>,
}

impl Report {
    /// Returns whether nothing was added, removed or upgraded.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.upgraded.is_empty()
    }

    pub(crate) fn between(old: &Lock, new: &Lock) -> Self {
        let (before, after) = (versions(old), versions(new));
        let mut report = Self::default();
        for (place, version) in &after {
            match before.get(place) {
                None => report.added.push(place.change(None, Some(version))),
                Some(earlier) if earlier != version => {
                    report.upgraded.push(place.change(Some(earlier), Some(version)));
                }
                Some(_) => {}
            }
        }
        let gone = before.iter().filter(|(place, _)| !after.contains_key(place));
        report.removed = gone.map(|(place, version)| place.change(Some(version), None)).collect();
        report
    }
}

/// What a version stands at.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    label: String,
    group: String,
    name: String,
    arch: String,
}

impl Place {
    fn change(&self, from: Option<&String>, to: Option<&String>) -> Change {
        Change {
            label: self.label.clone(),
            group: self.group.clone(),
            name: self.name.clone(),
            arch: self.arch.clone(),
            from: from.cloned(),
            to: to.cloned(),
        }
    }
}

fn versions(lock: &Lock) -> BTreeMap<Place, String> {
    let members = lock
        .labels()
        .flat_map(|label| lock.members(label).into_iter().map(move |member| (label, member)));
    members.map(|(label, member)| place(label, member)).collect()
}

fn place(label: &str, member: Member) -> (Place, String) {
    let Member { group, name, version, arch, .. } = member;
    (Place { label: label.to_owned(), group, name, arch }, version)
}
