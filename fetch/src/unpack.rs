//! Unpacking, behind one trait: archives come from outside, and their bytes are best parsed elsewhere.

use std::fs::File;
use std::io::{Read as _, Seek as _};

use formats::{Kind, Limits, LinkPolicy, Unpack};
use model::{Node, PathSegment, RelativePath, TreeDigest};
use serde::{Deserialize, Serialize};
use store::{Draft, Entry, LocalStore};

use crate::FetchError;

/// How many bytes tell what an archive is: a tar's mark ends at the 262nd.
const HEAD_BYTES: usize = 262;

/// What an archive is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchiveKind {
    /// A Debian package.
    Deb,
    /// A tar archive, compressed or not.
    Tar,
    /// A zip archive.
    Zip,
    /// No archive: a file that is kept as it is.
    #[default]
    File,
}

impl ArchiveKind {
    /// Returns what an archive is that starts with `head`. What is neither deb nor zip can only be a tar.
    pub fn sniff(head: &[u8]) -> Self {
        if head.starts_with(b"!<arch>\n") {
            Self::Deb
        } else if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
            Self::Zip
        } else {
            Self::Tar
        }
    }

    pub(crate) fn of(file: &mut File) -> std::io::Result<Self> {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        file.rewind()?;
        file.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head)?;
        file.rewind()?;
        Ok(Self::sniff(&head))
    }
}

/// How an archive becomes a tree; small enough to be sent to another process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnpackRequest {
    /// What messages call the archive.
    pub name: String,
    /// What it is.
    pub kind: ArchiveKind,
    /// Whether it is (part of) a whole system, whose links may lead anywhere.
    pub root: bool,
    /// The directory inside it that becomes the root; empty for none.
    pub strip_prefix: String,
    /// What a plain file is called in its tree.
    pub file_name: String,
    /// Whether a plain file may be executed.
    pub executable: bool,
}

/// Something that unpacks archives into a store.
pub trait Unpacker: Send + Sync {
    /// Unpacks an archive that is open for reading and returns the digest of its tree.
    ///
    /// A file and not a path: it may become the standard input of another process, and is for certain
    /// what was verified before.
    fn unpack(&self, request: &UnpackRequest, archive: File) -> Result<TreeDigest, FetchError>;
}

/// Unpacks in this process, with the limits of `formats` and no others.
#[derive(Clone, Copy, Debug)]
pub struct InProcess<'a>(pub &'a LocalStore);

impl Unpacker for InProcess<'_> {
    fn unpack(&self, request: &UnpackRequest, archive: File) -> Result<TreeDigest, FetchError> {
        let kind = match request.kind {
            ArchiveKind::Deb => Kind::Deb,
            ArchiveKind::Tar => Kind::Tar,
            ArchiveKind::Zip => Kind::Zip,
            ArchiveKind::File => return keep(self.0, request, archive),
        };
        let named = |source| FetchError::Request { name: request.name.clone(), source };
        let unpack = Unpack {
            archive: &request.name,
            limits: Limits::default(),
            links: if request.root { LinkPolicy::Verbatim } else { LinkPolicy::Inside },
            strip_prefix: Some(RelativePath::new(request.strip_prefix.as_str()).map_err(named)?),
        };
        Ok(unpack.unpack(kind, archive, self.0)?)
    }
}

/// Makes a tree of one file.
fn keep(
    store: &LocalStore,
    request: &UnpackRequest,
    mut file: File,
) -> Result<TreeDigest, FetchError> {
    let named = |source| FetchError::Request { name: request.name.clone(), source };
    let name = PathSegment::new(request.file_name.as_str()).map_err(named)?;
    file.rewind().map_err(|source| FetchError::Read { name: request.name.clone(), source })?;
    let digest = store.ingest(&mut file, request.executable)?;
    let node = Node::File { digest, executable: request.executable };
    let mut draft = Draft::new();
    draft.replace(name, Entry::Node(node));
    Ok(draft.finish(store)?)
}
