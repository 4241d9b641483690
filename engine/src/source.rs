//! Workspace files on disk: listed for loading, and copied into the store while they are hashed.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use model::{Node, PathSegment, RelativePath, SymlinkTarget};
use store::{Draft, LocalStore, StoreError};

use crate::files::{FileKind, Files, FilesError};

/// The folder at the root of a workspace that results appear under.
pub const OUTPUT_FOLDER: &str = "bld-out";

/// How large a file may be that loading reads: BUILD files, rules, lists; not data.
const TEXT_BYTES_MAX: u64 = 64 << 20;

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

    /// Returns the real path of a file, if following links leads to one inside the workspace.
    fn inside(&self, path: &RelativePath) -> io::Result<PathBuf> {
        let real = self.absolute(path).canonicalize()?;
        if real.starts_with(self.root.canonicalize()?) {
            return Ok(real);
        }
        Err(io::Error::other("it is, or lies behind, a link that leads out of the workspace"))
    }

    /// Opens a file for its text.
    fn open(&self, path: &RelativePath) -> io::Result<fs::File> {
        let real = self.inside(path)?;
        // Looked at before it is opened: opening a pipe waits for somebody to write into it.
        let metadata = real.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        if metadata.len() > TEXT_BYTES_MAX {
            return Err(io::Error::other(format!("it has more than {TEXT_BYTES_MAX} bytes")));
        }
        fs::File::open(real)
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
        let mut text = String::new();
        let read = self.open(path).and_then(|file| {
            // A file that grows meanwhile is not read for ever.
            file.take(TEXT_BYTES_MAX).read_to_string(&mut text)
        });
        match read {
            Ok(_) => Ok(Some(text)),
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
    /// A path leads through a link.
    #[error("{path} lies behind the link {link}: name what it leads to instead")]
    Behind {
        /// The path.
        path: RelativePath,
        /// The link on the way.
        link: RelativePath,
    },
    /// It is neither a file, a folder nor a link.
    #[error("{0} is a device, socket or pipe")]
    Special(RelativePath),
    /// A name is not UTF-8.
    #[error("{0} has a name in it that is not UTF-8")]
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
    let mut folder = path.split_last().map(|(folder, _)| folder).unwrap_or_default();
    while let Some((outer, _)) = folder.split_last() {
        if files.absolute(&folder).is_symlink() {
            return Err(SourceError::Behind { path: path.clone(), link: folder });
        }
        folder = outer;
    }
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
        let Some(text) = target.to_str().map(str::to_owned) else {
            return Err(SourceError::Name(path.clone()));
        };
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
