//! What there is to be named: packages, targets, axes; each found without loading more than the name asks for.

use std::collections::BTreeMap;

use model::RelativePath;

use crate::analyze::{Analyzer, LockedMember, with_stack};
use crate::diagnostic::Diagnostic;
use crate::files::FileKind;
use crate::label::{Label, is_build_file};
use crate::load::{Loader, Workspace, is_searched, unreadable};

/// How many folders are looked into for a package below one: a completion must not wait for a walk through all.
/// Where there are more, it is taken for granted that there is a package.
const FOLDERS_SEEN_MAX: usize = 1000;

/// A folder that can be part of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFolder {
    /// Its path.
    pub path: RelativePath,
    /// Whether it is a package.
    pub is_package: bool,
    /// Whether there are packages below it.
    pub has_packages: bool,
}

/// A target, as far as its own package says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedTarget {
    /// Its name.
    pub name: String,
    /// The name of its rule.
    pub rule: String,
    /// Its axes.
    pub axes: Vec<String>,
}

impl Workspace<'_> {
    /// Returns a folder as a part of a label.
    pub fn folder(&self, path: &RelativePath) -> Result<NamedFolder, Diagnostic> {
        let mut seen = 0;
        let mut pending = vec![path.clone()];
        let mut found = NamedFolder { path: path.clone(), is_package: false, has_packages: false };
        while let Some(folder) = pending.pop() {
            let listed = self.files.list(&folder).map_err(|error| unreadable(&error))?;
            for (name, kind) in listed {
                if kind != FileKind::Directory && is_build_file(&name) {
                    found.is_package |= folder == *path;
                    found.has_packages |= folder != *path;
                } else if kind == FileKind::Directory && is_searched(&name) {
                    pending.push(folder.child(&name));
                }
            }
            seen += 1;
            found.has_packages |= seen == FOLDERS_SEEN_MAX;
            if found.has_packages {
                break;
            }
        }
        Ok(found)
    }

    /// Returns the folders in a folder that begin with `prefix` and can be part of a label.
    pub fn folders(
        &self,
        parent: &RelativePath,
        prefix: &str,
    ) -> Result<Vec<NamedFolder>, Diagnostic> {
        let listed = self.files.list(parent).map_err(|error| unreadable(&error))?;
        let wanted = listed.into_iter().filter(|(name, kind)| {
            *kind == FileKind::Directory && is_searched(name) && name.as_str().starts_with(prefix)
        });
        let folders: Result<Vec<_>, _> =
            wanted.map(|(name, _)| self.folder(&parent.child(&name))).collect();
        Ok(folders?.into_iter().filter(|it| it.is_package || it.has_packages).collect())
    }

    /// Returns the targets of a package, by name. No other package is loaded.
    pub fn targets_of(&self, package: &RelativePath) -> Result<Vec<NamedTarget>, Diagnostic> {
        with_stack(|| {
            let package = Loader::new(*self).package(package)?;
            let named = package.values().map(|target| NamedTarget {
                name: target.label.name.clone(),
                rule: target.rule.name().to_owned(),
                axes: target.matrix.keys().cloned().collect(),
            });
            Ok(named.collect())
        })
    }

    /// Returns the axes of a target with all their values. `locked` says what the lock pins for each label.
    pub fn axes(
        &self,
        label: &Label,
        settings: &BTreeMap<String, String>,
        locked: &BTreeMap<String, Vec<LockedMember>>,
    ) -> Result<BTreeMap<String, Vec<String>>, Diagnostic> {
        with_stack(|| {
            let loader = Loader::new(*self);
            let target = loader.target(label)?;
            Analyzer::new(&loader, settings, locked).axes_by_name(&target)
        })
    }
}
