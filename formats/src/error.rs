//! Why an archive is refused: which one, which entry of it, and what is wrong.

use std::fmt;
use std::io;
use std::str::Utf8Error;

use model::{InvalidPath, InvalidTarget, RelativePath};
use store::{DraftError, StoreError};

/// How much of a hostile name a message repeats, in characters.
const SHOWN_CHARACTERS_MAX: usize = 200;

/// An archive did not become a tree.
#[derive(Debug)]
pub struct UnpackError {
    /// The name of the archive, as the caller gave it.
    pub archive: String,
    /// The entry that was being read, if there was one; what is not UTF-8 in it is replaced.
    pub entry: Option<String>,
    /// What is wrong.
    pub fault: Box<Fault>,
}

impl UnpackError {
    /// Returns whether the same call may succeed later without anybody mending anything.
    pub fn is_transient(&self) -> bool {
        match &*self.fault {
            Fault::Store(source) => source.is_transient(),
            Fault::Read { source } => source.kind() == io::ErrorKind::Interrupted,
            Fault::Codec { .. }
            | Fault::Truncated
            | Fault::Trailing
            | Fault::Limit { .. }
            | Fault::Malformed { .. }
            | Fault::Checksum
            | Fault::Encoding(_)
            | Fault::Absolute
            | Fault::Name(_)
            | Fault::Target(_)
            | Fault::Duplicate
            | Fault::Through(_)
            | Fault::TargetEncoding(_)
            | Fault::TargetAbsolute { .. }
            | Fault::TargetOutside { .. }
            | Fault::HardLink { .. }
            | Fault::Special { .. }
            | Fault::TypeFlag(_)
            | Fault::Sparse
            | Fault::Encrypted
            | Fault::Method(_)
            | Fault::Disagreement { .. }
            | Fault::Overlap
            | Fault::Unclaimed
            | Fault::PrefixAbsent(_)
            | Fault::PrefixNotDirectory(_) => false,
        }
    }
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot unpack `{}`: ", shown(&self.archive))?;
        if let Some(entry) = &self.entry {
            write!(f, "`{}`: ", shown(entry))?;
        }
        self.fault.fmt(f)
    }
}

impl std::error::Error for UnpackError {
    // The fault is part of this message already; what comes next is its source.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&*self.fault)
    }
}

/// What is wrong with an archive, or with reading it.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The file could not be read.
    #[error("cannot read it")]
    Read {
        /// What the system said.
        source: io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
    /// The compressed data cannot be decompressed.
    #[error("its {codec} data is damaged, or something else follows it")]
    Codec {
        /// How it is compressed.
        codec: &'static str,
        /// What the decompressor said.
        source: io::Error,
    },
    /// The archive ends before its end.
    #[error("the archive is truncated")]
    Truncated,
    /// Something follows the end of the archive.
    #[error("something follows the end of the archive")]
    Trailing,
    /// The archive costs more than it may.
    #[error("more than {max} {limit}, which is the limit")]
    Limit {
        /// What there is too much of.
        limit: &'static str,
        /// How much there may be.
        max: u64,
    },
    /// The archive breaks the rules of its format.
    #[error("malformed: {what}")]
    Malformed {
        /// Which rule.
        what: &'static str,
    },
    /// Bytes do not have the checksum that is given for them.
    #[error("the checksum does not match")]
    Checksum,
    /// A name is not text.
    #[error("the name is not UTF-8")]
    Encoding(#[source] Utf8Error),
    /// A name starts at the root of the machine.
    #[error("the name is absolute")]
    Absolute,
    /// A name is not one that a tree can hold.
    #[error(transparent)]
    Name(#[from] InvalidPath),
    /// A link's target is not one that a tree can hold.
    #[error(transparent)]
    Target(#[from] InvalidTarget),
    /// A name comes a second time.
    #[error("the name appears twice")]
    Duplicate,
    /// A path leads through a link or a file of the same archive.
    #[error("the path leads through `{}`, which is not a directory", shown(.0.as_str()))]
    Through(RelativePath),
    /// A link's target is not text.
    #[error("the target of the link is not UTF-8")]
    TargetEncoding(#[source] Utf8Error),
    /// A link leads to an absolute path, in an archive that is no root.
    #[error("the link leads to the absolute path `{}`", shown(.target))]
    TargetAbsolute {
        /// Where it leads.
        target: String,
    },
    /// A link leads out of the archive.
    #[error("the link to `{}` leads out of the archive", shown(.target))]
    TargetOutside {
        /// Where it leads.
        target: String,
    },
    /// A hard link is to something that is not a file before it in the archive.
    #[error("a hard link to `{}`, which is not a file that came before it", shown(.target))]
    HardLink {
        /// What it is to.
        target: String,
    },
    /// An entry is of a kind that trees do not have.
    #[error("it is {kind}, which a tree cannot hold")]
    Special {
        /// What it is, with its article.
        kind: &'static str,
    },
    /// A tar header is of a type that is not known.
    #[error("its type flag {:?} is not known", char::from(*.0))]
    TypeFlag(u8),
    /// A file with holes that are left out.
    #[error("it is a sparse file")]
    Sparse,
    /// An entry is encrypted.
    #[error("it is encrypted")]
    Encrypted,
    /// An entry is compressed in a way that is not known.
    #[error("its compression method {0} is not known (known: stored, deflate)")]
    Method(u16),
    /// The two places where a zip archive describes an entry differ.
    #[error("the central directory and the local header disagree about its {field}")]
    Disagreement {
        /// What they disagree about.
        field: &'static str,
    },
    /// Two entries of a zip archive share bytes.
    #[error("it overlaps another entry")]
    Overlap,
    /// Bytes of a zip archive belong to no entry: something stands before, between or after them.
    #[error("bytes of the archive belong to no entry")]
    Unclaimed,
    /// Nothing lies below the prefix that was to be stripped.
    #[error("nothing lies below `{0}`, which was to be stripped")]
    PrefixAbsent(RelativePath),
    /// The prefix that was to be stripped is or lies below a file or link.
    #[error("`{0}` was to be stripped and is not a directory")]
    PrefixNotDirectory(RelativePath),
}

impl Fault {
    pub(crate) fn limit(limit: &'static str, max: impl TryInto<u64>) -> Self {
        Self::Limit { limit, max: max.try_into().unwrap_or(u64::MAX) }
    }

    pub(crate) fn malformed(what: &'static str) -> Self {
        Self::Malformed { what }
    }
}

/// Readers can only say `io::Error`; a fault travels inside one and comes out again here.
impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(fault) => fault,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Self::Truncated,
            Err(source) => Self::Read { source },
        }
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        Self::other(fault)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        let StoreError::Input { source } = error else {
            return Self::Store(error);
        };
        source.into()
    }
}

impl From<DraftError> for Fault {
    fn from(error: DraftError) -> Self {
        match error {
            DraftError::Duplicate(_) => Self::Duplicate,
            DraftError::NotADirectory(path) => Self::Through(path),
            DraftError::Store(source) => source.into(),
        }
    }
}

/// Returns text from outside as a message may hold it: short, and without control characters.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN_CHARACTERS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short.escape_debug().to_string()
}
