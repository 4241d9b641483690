//! What lies where in the scratch directory of an action.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use store::{LocalStore, Scratch};

use crate::ExecuteError;

/// The directory below the working directory that outputs are kept from.
pub(crate) const OUTPUT_FOLDER: &str = "out";

/// The places in an action's scratch directory.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Layout(PathBuf);

impl Layout {
    /// Returns the places in that directory.
    pub(crate) fn of(scratch: &Path) -> Self {
        Self(scratch.to_owned())
    }

    /// Makes the directories that every command needs.
    pub(crate) fn make(&self) -> Result<(), ExecuteError> {
        // Outputs are mounted on a directory in the working directory, which would be made at the worst moment.
        let place = self.work().join(OUTPUT_FOLDER);
        let folders = [self.root(), self.work(), place, self.outputs()];
        folders.iter().try_for_each(|path| make_folder(path))
    }

    /// An empty directory, which the command's root is mounted on.
    pub(crate) fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    /// What is written into the working directory.
    pub(crate) fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    /// What an overlay needs beside what is written.
    pub(crate) fn overlay(&self) -> PathBuf {
        self.0.join("overlay")
    }

    /// Outputs, on the store's file system, so that keeping them is a rename.
    pub(crate) fn outputs(&self) -> PathBuf {
        self.0.join(OUTPUT_FOLDER)
    }

    /// Trees that are listed the other way round; they lie in memory.
    pub(crate) fn reversed(&self) -> PathBuf {
        self.0.join("reversed")
    }

    /// The log of standard output.
    pub(crate) fn stdout(&self) -> PathBuf {
        self.0.join("stdout")
    }

    /// The log of standard error.
    pub(crate) fn stderr(&self) -> PathBuf {
        self.0.join("stderr")
    }
}

/// Returns a scratch directory that shuts everybody else out: unfinished outputs are nobody's business, and
/// might be set-user-id.
pub(crate) fn private_scratch(store: &LocalStore) -> Result<Scratch, ExecuteError> {
    let scratch = store.scratch()?;
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o700))
        .map_err(ExecuteError::disk("set the mode of", scratch.path()))?;
    Ok(scratch)
}

/// Makes a directory that the command sees: the same whatever umask and folder `bld` happens to have.
pub(crate) fn make_folder(path: &Path) -> Result<(), ExecuteError> {
    fs::create_dir(path).map_err(ExecuteError::disk("create", path))?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
        .map_err(ExecuteError::disk("set the mode of", path))
}
