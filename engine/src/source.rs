//! Sources: workspace files, copied into the store while they are hashed.

use std::io;

use model::{Node, RelativePath, SymlinkTarget};
use store::{Draft, LocalStore, StoreError};

use crate::disk::DiskFiles;
use crate::files::{FileKind, Files as _};
use crate::snapshot::{Answer, Question};

/// How deep folders may nest.
const DEPTH_MAX: usize = 64;

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
        if files.kind(&folder).map_err(unreadable)? == Some(FileKind::Symlink) {
            return Err(SourceError::Behind { path: path.clone(), link: folder });
        }
        folder = outer;
    }
    Ingest { store, files, top: path }.node(path, 0)
}

fn unreadable(error: crate::files::FilesError) -> SourceError {
    SourceError::Read { path: error.path, source: error.source }
}

struct Ingest<'a> {
    store: &'a LocalStore,
    files: &'a DiskFiles,
    top: &'a RelativePath,
}

impl Ingest<'_> {
    fn node(&self, path: &RelativePath, depth: usize) -> Result<Node, SourceError> {
        // What is known of it counts only while its bytes are in the store.
        if let Some(Answer::File { digest, mode }) = self.files.known(path, Question::Source)
            && self.store.contains(digest)?
        {
            return Ok(Node::File { digest, executable: is_executable(mode) });
        }
        match self.files.kind(path).map_err(unreadable)? {
            Some(FileKind::File) => self.file(path),
            Some(FileKind::Directory) => self.folder(path, depth),
            Some(FileKind::Symlink) => self.link(path),
            Some(FileKind::Other) => Err(SourceError::Special(path.clone())),
            None => Err(vanished(path)),
        }
    }

    fn file(&self, path: &RelativePath) -> Result<Node, SourceError> {
        let failed = |source| SourceError::Read { path: path.clone(), source };
        let keep = |reader: &mut dyn io::Read, mode| self.store.ingest(reader, is_executable(mode));
        let answer = self.files.read_source(path, keep).map_err(failed)??;
        let Answer::File { digest, mode } = answer else { return Err(vanished(path)) };
        Ok(Node::File { digest, executable: is_executable(mode) })
    }

    fn folder(&self, path: &RelativePath, depth: usize) -> Result<Node, SourceError> {
        if depth > DEPTH_MAX {
            return Err(SourceError::Depth(self.top.clone()));
        }
        let listing = self.files.listing(path).map_err(unreadable)?;
        let listing = listing.ok_or_else(|| vanished(path))?;
        if listing.has_unnamable {
            return Err(SourceError::Name(path.clone()));
        }
        let mut draft = Draft::new();
        for (name, _) in listing.children {
            let node = self.node(&path.child(&name), depth + 1)?;
            draft.add(self.store, &RelativePath::from(name), node)?;
        }
        Ok(Node::Directory(draft.finish(self.store)?))
    }

    fn link(&self, path: &RelativePath) -> Result<Node, SourceError> {
        let failed = |source| SourceError::Read { path: path.clone(), source };
        let Answer::Link(text) = self.files.ask(path, Question::Source).map_err(failed)? else {
            return Err(vanished(path));
        };
        let refuse = || SourceError::Link { path: path.clone(), target: text.clone() };
        let (folder, _) = path.split_last().ok_or_else(refuse)?;
        let resolved = resolve(&folder, &text).ok_or_else(refuse)?;
        // Inside a folder that is an input as a whole, the target must be part of it.
        let inside = path == self.top || resolved.strip_prefix(self.top).is_some();
        if !inside || self.files.kind(&resolved).map_err(unreadable)?.is_none() {
            return Err(SourceError::Dangling { path: path.clone(), target: text });
        }
        SymlinkTarget::new(&text).map(Node::Symlink).map_err(|_source| refuse())
    }
}

fn vanished(path: &RelativePath) -> SourceError {
    SourceError::Read { path: path.clone(), source: io::ErrorKind::NotFound.into() }
}

/// Returns whether whoever owns a file may execute it.
fn is_executable(mode: u32) -> bool {
    mode & 0o100 != 0
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
