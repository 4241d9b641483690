//! The files of a workspace, as loading sees them.

use model::{PathSegment, RelativePath};
use serde::{Deserialize, Serialize};

/// What stands at a path of a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FileKind {
    /// A file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, socket or pipe.
    Other,
}

/// Why a file of a workspace cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}")]
pub struct FilesError {
    /// The path, from the root of the workspace.
    pub path: RelativePath,
    /// What the system said.
    pub source: std::io::Error,
}

/// The files of a workspace. Loading reads them through this and nothing else.
pub trait Files: Send + Sync {
    /// Returns the text of a file, or `None` if there is none.
    fn read(&self, path: &RelativePath) -> Result<Option<String>, FilesError>;
    /// Returns what stands in a folder, sorted by name; nothing if there is no such folder. Nothing is followed.
    fn list(&self, path: &RelativePath) -> Result<Vec<(PathSegment, FileKind)>, FilesError>;
    /// Returns what stands at a path, or `None` if nothing does. Nothing is followed.
    fn kind(&self, path: &RelativePath) -> Result<Option<FileKind>, FilesError>;
}
