//! What an evaluation is for: loading a file, or analysing a target.

use std::cell::RefCell;
use std::collections::BTreeMap;

use model::RelativePath;
use starlark::eval::Evaluator;
use starlark::values::ProvidesStaticType;

use super::mistake;
use super::rule::Target;
use crate::files::Files;
use crate::graph::{Graph, Owner};

/// The texts that lie in the same library as a `.bzl` file.
pub(crate) trait Texts {
    /// Returns the text of a file, by its path from the library's root (or the file's package).
    fn text(&self, path: &str) -> starlark::Result<String>;
}

/// What an evaluation may use and what it fills; reached through the evaluator's `extra`.
#[derive(ProvidesStaticType)]
pub(crate) enum Session<'a> {
    /// A `.bzl` file: defines, but declares nothing. Texts beside it can be read.
    Library { texts: &'a dyn Texts },
    /// A `BUILD.bld`: declares targets.
    Package {
        files: &'a dyn Files,
        package: RelativePath,
        targets: RefCell<BTreeMap<String, Target>>,
    },
    /// A rule's implementation: adds nodes to the graph.
    Analysis { graph: RefCell<Graph>, owner: Owner },
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
        targets.insert(target.label.name.clone(), target);
        Ok(())
    }

    /// Returns the graph that is being filled, and for whom.
    pub(crate) fn analysis(&self) -> starlark::Result<(&RefCell<Graph>, &Owner)> {
        match self {
            Self::Analysis { graph, owner } => Ok((graph, owner)),
            Self::Library { .. } | Self::Package { .. } => {
                Err(mistake("this can only be called by the implementation of a rule"))
            }
        }
    }
}
