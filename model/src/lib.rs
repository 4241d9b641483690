//! The foundation: digests, paths, trees and actions, as pure values.
//!
//! Nothing in here does I/O or reads a clock, the environment or the working directory.

mod action;
mod digest;
mod path;
mod size;
mod tree;

pub use action::{
    Action, ActionResult, Command, ExecutionMetadata, OutputDirectory, OutputFile, OutputSymlink,
    Platform,
};
pub use digest::{
    ActionDigest, Digest, DigestFunction, HASH_BYTES, Hasher, ParseDigestError, TreeDigest,
};
pub use path::{InvalidPath, NAME_BYTES_MAX, PathSegment, RelativePath};
pub use size::{ByteSize, NotASize};
pub use tree::{Directory, DuplicateName, InvalidTarget, Node, SymlinkTarget, TARGET_BYTES_MAX};
