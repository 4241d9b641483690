//! Workspace files on disk: listed for loading, and copied into the store while they are hashed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use model::{Node, PathSegment, RelativePath, SymlinkTarget};
use store::{Draft, LocalStore, StoreError};

use crate::files::{FileKind, Files, FilesError};

/// The folder at the root of a workspace that results appear under.
pub const OUTPUT_FOLDER: &str = "bld-out";

/// How deep folders may nest.
const DEPTH_MAX: usize = 64;

/// The files of a workspace on disk.
#[derive(Clone, Debug)]
pub struct DiskFiles {
    root: PathBuf,
}

impl DiskFiles {
    /// Returns the files below `root`.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Returns where they are.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn absolute(&self, path: &RelativePath) -> PathBuf {
        if path.is_root() { self.root.clone() } else { self.root.join(path) }
    }
}

fn absent<T: Default>(path: &RelativePath, error: io::Error) -> Result<T, FilesError> {
    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
        return Ok(T::default());
    }
    Err(FilesError { path: path.clone(), source: error })
}

impl Files for DiskFiles {
    fn read(&self, path: &RelativePath) -> Result<Option<String>, FilesError> {
        match fs::read_to_string(self.absolute(path)) {
            Ok(text) => Ok(Some(text)),
            Err(error) => absent(path, error),
        }
    }

    fn list(&self, path: &RelativePath) -> Result<Vec<(PathSegment, FileKind)>, FilesError> {
        let failed = |source| FilesError { path: path.clone(), source };
        let entries = match fs::read_dir(self.absolute(path)) {
            Ok(entries) => entries,
            Err(error) => return absent(path, error),
        };
        let mut listed = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let kind = kind_of(entry.file_type().map_err(failed)?);
            // A name that is not UTF-8 cannot be named in a BUILD file either.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let Ok(name) = PathSegment::new(name) else { continue };
            listed.push((name, kind));
        }
        listed.sort();
        Ok(listed)
    }

    fn kind(&self, path: &RelativePath) -> Result<Option<FileKind>, FilesError> {
        match self.absolute(path).symlink_metadata() {
            Ok(metadata) => Ok(Some(kind_of(metadata.file_type()))),
            Err(error) => absent(path, error),
        }
    }
}

fn kind_of(kind: fs::FileType) -> FileKind {
    if kind.is_symlink() {
        FileKind::Symlink
    } else if kind.is_dir() {
        FileKind::Directory
    } else if kind.is_file() {
        FileKind::File
    } else {
        FileKind::Other
    }
}

/// Why a source cannot be an input.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: RelativePath,
        /// What the system said.
        source: io::Error,
    },
    /// A link leads out of the workspace.
    #[error(
        "the link {path} leads to `{target}`: links in a workspace are relative and stay inside"
    )]
    Link {
        /// The link.
        path: RelativePath,
        /// Its target.
        target: String,
    },
    /// A link's target is not among the inputs.
    #[error("the link {path} leads to `{target}`, which is not an input beside it")]
    Dangling {
        /// The link.
        path: RelativePath,
        /// Its target.
        target: String,
    },
    /// It is neither a file, a folder nor a link.
    #[error("{0} is a device, socket or pipe")]
    Special(RelativePath),
    /// A name is not UTF-8.
    #[error("{0} has a file whose name is not UTF-8")]
    Name(RelativePath),
    /// Folders nest too deeply.
    #[error("{0} has folders more than {DEPTH_MAX} deep")]
    Depth(RelativePath),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tree could not be put together.
    #[error(transparent)]
    Draft(#[from] store::DraftError),
}

/// Copies a source into the store and returns what it is there.
pub(crate) fn ingest(
    store: &LocalStore,
    files: &DiskFiles,
    path: &RelativePath,
) -> Result<Node, SourceError> {
    Ingest { store, files, top: path }.node(path, 0)
}

struct Ingest<'a> {
    store: &'a LocalStore,
    files: &'a DiskFiles,
    top: &'a RelativePath,
}

impl Ingest<'_> {
    fn node(&self, path: &RelativePath, depth: usize) -> Result<Node, SourceError> {
        use std::os::unix::fs::PermissionsExt as _;
        let failed = |source| SourceError::Read { path: path.clone(), source };
        let file = self.files.absolute(path);
        let metadata = file.symlink_metadata().map_err(failed)?;
        match kind_of(metadata.file_type()) {
            FileKind::File => {
                let executable = metadata.permissions().mode() & 0o100 != 0;
                let mut reader = fs::File::open(&file).map_err(failed)?;
                let digest = self.store.ingest(&mut reader, executable)?;
                Ok(Node::File { digest, executable })
            }
            FileKind::Directory => self.folder(path, depth),
            FileKind::Symlink => self.link(path, &file),
            FileKind::Other => Err(SourceError::Special(path.clone())),
        }
    }

    fn folder(&self, path: &RelativePath, depth: usize) -> Result<Node, SourceError> {
        if depth > DEPTH_MAX {
            return Err(SourceError::Depth(self.top.clone()));
        }
        let failed = |source| SourceError::Read { path: path.clone(), source };
        let mut draft = Draft::new();
        for entry in fs::read_dir(self.files.absolute(path)).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().into_string();
            let name = name.map_err(|_name| SourceError::Name(path.clone()))?;
            let name = PathSegment::new(name).map_err(|_source| SourceError::Name(path.clone()))?;
            let node = self.node(&path.child(&name), depth + 1)?;
            draft.add(self.store, &RelativePath::from(name), node)?;
        }
        Ok(Node::Directory(draft.finish(self.store)?))
    }

    fn link(&self, path: &RelativePath, file: &Path) -> Result<Node, SourceError> {
        let failed = |source| SourceError::Read { path: path.clone(), source };
        let target = fs::read_link(file).map_err(failed)?;
        let text = target.to_string_lossy().into_owned();
        let refuse = || SourceError::Link { path: path.clone(), target: text.clone() };
        let (folder, _) = path.split_last().ok_or_else(refuse)?;
        let resolved = resolve(&folder, &text).ok_or_else(refuse)?;
        // Inside a folder that is an input as a whole, the target must be part of it.
        let inside = path == self.top || resolved.strip_prefix(self.top).is_some();
        if !inside || !self.files.absolute(&resolved).exists() {
            return Err(SourceError::Dangling { path: path.clone(), target: text });
        }
        SymlinkTarget::new(&text).map(Node::Symlink).map_err(|_source| refuse())
    }
}

/// Returns where a relative link in `folder` leads, if it stays inside the root.
pub(crate) fn resolve(folder: &RelativePath, target: &str) -> Option<RelativePath> {
    let mut segments: Vec<String> = folder.segments().map(|it| it.to_string()).collect();
    if target.starts_with('/') {
        return None;
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                segments.pop()?;
            }
            name => segments.push(name.to_owned()),
        }
    }
    RelativePath::new(segments.join("/")).ok()
}
