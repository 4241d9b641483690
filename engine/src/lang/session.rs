//! What an evaluation is for: loading a file, or analysing a target.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use model::RelativePath;
use starlark::eval::Evaluator;
use starlark::values::ProvidesStaticType;

use super::mistake;
use super::rule::Target;
use crate::disk::OUTPUT_FOLDER;
use crate::files::{FileKind, Files};
use crate::graph::{Graph, NodeId, Owner};
use crate::label::is_build_file;

/// How many files a glob may look at: more is a folder that does not belong into a workspace.
const GLOB_FILES_MAX: usize = 200_000;

/// The texts that lie in the same library as a `.bzl` file.
pub(crate) trait Texts {
    /// Returns the text of a file, by its path from the library's root (or the file's package).
    fn text(&self, path: &str) -> starlark::Result<String>;
}

/// What an evaluation may use and what it fills; reached through the evaluator's `extra`.
#[derive(ProvidesStaticType)]
pub(crate) enum Session<'a> {
    /// A `.bzl` file: defines, but declares nothing. Texts beside it can be read.
    Library { texts: &'a dyn Texts, file: String },
    /// A `BUILD.bld`: declares targets.
    Package {
        files: &'a dyn Files,
        package: RelativePath,
        targets: RefCell<BTreeMap<String, Rc<Target>>>,
        /// The files of the package, once a glob asked for them.
        listed: RefCell<Option<Rc<Vec<RelativePath>>>>,
    },
    /// A rule's implementation: adds nodes to the graph.
    Analysis {
        graph: RefCell<Graph>,
        owner: Owner,
        /// The first node that the implementation adds.
        first: NodeId,
    },
}

impl<'e> Session<'e> {
    /// Returns the session of an evaluation.
    pub(crate) fn of<'a>(eval: &Evaluator<'_, 'a, 'e>) -> starlark::Result<&'a Self> {
        let session = eval.extra.and_then(|extra| extra.downcast_ref::<Self>());
        session.ok_or_else(|| mistake("this cannot be called here"))
    }

    /// Returns the package that is being loaded, if one is.
    pub(crate) fn package(&self) -> Option<RelativePath> {
        match self {
            Self::Package { package, .. } => Some(package.clone()),
            Self::Library { .. } | Self::Analysis { .. } => None,
        }
    }

    /// Returns the package that is being loaded and the workspace's files.
    pub(crate) fn package_files(&self) -> starlark::Result<(&RelativePath, &dyn Files)> {
        match self {
            Self::Package { package, files, .. } => Ok((package, *files)),
            Self::Library { .. } | Self::Analysis { .. } => Err(mistake(
                "files can only be looked at from a BUILD.bld (or a function that it calls)",
            )),
        }
    }

    pub(crate) fn declare(&self, target: Target) -> Result<(), String> {
        let Self::Package { targets, .. } = self else {
            return Err("targets are declared in a BUILD.bld".to_owned());
        };
        let mut targets = targets.borrow_mut();
        if let Some(first) = targets.get(&target.label.name) {
            let place = &first.place;
            return Err(format!(
                "there are two targets `{}`; the first is at {}:{}",
                target.label.name, place.file, place.line
            ));
        }
        targets.insert(target.label.name.clone(), Rc::new(target));
        Ok(())
    }

    /// Returns the files of the package, sorted; never through a link, never into another package.
    /// What a glob must not find is left out: the BUILD file (renaming a target changes no source),
    /// what `bld` and git keep in the workspace.
    pub(crate) fn files_of_package(&self) -> starlark::Result<Rc<Vec<RelativePath>>> {
        let (package, files) = self.package_files()?;
        if let Self::Package { listed, .. } = self
            && let Some(known) = &*listed.borrow()
        {
            return Ok(Rc::clone(known));
        }
        let mut found = Vec::new();
        let mut pending = vec![RelativePath::root()];
        while let Some(folder) = pending.pop() {
            let children = files.list(&package.join(&folder));
            let children =
                children.map_err(|error| mistake(format!("{error}: {}", error.source)))?;
            if !folder.is_root() && children.iter().any(|(name, _)| is_build_file(name)) {
                continue;
            }
            for (name, kind) in children {
                let own = package.is_root() && folder.is_root() && name.as_str() == OUTPUT_FOLDER;
                if own || name.as_str() == ".git" || is_build_file(&name) {
                    continue;
                }
                match kind {
                    FileKind::Directory => pending.push(folder.child(&name)),
                    FileKind::File | FileKind::Symlink => found.push(folder.child(&name)),
                    FileKind::Other => {}
                }
            }
            if found.len() + pending.len() > GLOB_FILES_MAX {
                return Err(mistake(format!("this package has more than {GLOB_FILES_MAX} files")));
            }
        }
        found.sort();
        let found = Rc::new(found);
        if let Self::Package { listed, .. } = self {
            *listed.borrow_mut() = Some(Rc::clone(&found));
        }
        Ok(found)
    }

    /// Returns the graph that is being filled, and for whom.
    pub(crate) fn analysis(&self) -> starlark::Result<(&RefCell<Graph>, &Owner)> {
        match self {
            Self::Analysis { graph, owner, .. } => Ok((graph, owner)),
            Self::Library { .. } | Self::Package { .. } => Err(not_analysis()),
        }
    }

    /// Returns the owner of the next action with this role; of several with the same, the second's has `#2` behind it.
    pub(crate) fn owner_of_action(&self, role: &str) -> starlark::Result<Owner> {
        let Self::Analysis { graph, owner, first } = self else { return Err(not_analysis()) };
        let graph = graph.borrow();
        let before: Vec<&Owner> =
            (*first..graph.len()).filter_map(|id| graph.node(id).action_owner()).collect();
        let named = |number: usize| {
            let role = if number == 1 { role.to_owned() } else { format!("{role}#{number}") };
            Owner { role, ..owner.clone() }
        };
        let free = (1..=before.len() + 1).map(named).find(|owner| !before.contains(&owner));
        Ok(free.expect("there is a number more than there are actions"))
    }
}

fn not_analysis() -> starlark::Error {
    mistake("this can only be called by the implementation of a rule")
}
