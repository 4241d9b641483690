//! What messages of any client refer to. Unlike [`decode`](crate::decode), this takes what `bld` itself would not write:
//! a server has to keep what others believe in.

use std::collections::BTreeSet;
use std::io::{self, Read};

use model::{Digest, DigestFunction, PathSegment};
use prost::Message;

use crate::decode::{DecodeError, digest, text};
use crate::fields::{Fields, next_message};
use crate::proto::reapi;

/// What an `ActionResult` needs besides itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResultReferences {
    /// Files and logs.
    pub blobs: Vec<Digest>,
    /// Encoded `Tree` messages.
    pub trees: Vec<Digest>,
    /// Root directories.
    pub directories: Vec<Digest>,
}

/// What a directory needs besides itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectoryReferences {
    /// Its files.
    pub files: Vec<Digest>,
    /// Its directories.
    pub directories: Vec<Digest>,
}

/// Returns whether bytes can be nothing but an `ActionResult`: they are one, and say something that this version knows.
/// Any bytes may happen to be a message of fields that nobody knows.
pub fn is_result(bytes: &[u8]) -> bool {
    let Ok(result) = reapi::ActionResult::decode(bytes) else { return false };
    let is_known = bytes.is_empty() || result != reapi::ActionResult::default();
    is_known && of_result_message(DigestFunction::Sha256, &result).is_ok()
}

/// Returns what an encoded `ActionResult` refers to.
pub fn of_result(function: DigestFunction, bytes: &[u8]) -> Result<ResultReferences, DecodeError> {
    of_result_message(function, &reapi::ActionResult::decode(bytes)?)
}

/// Returns what an `ActionResult` refers to.
pub fn of_result_message(
    function: DigestFunction,
    result: &reapi::ActionResult,
) -> Result<ResultReferences, DecodeError> {
    let mut references = ResultReferences::default();
    for file in &result.output_files {
        references.blobs.push(digest(function, file.digest.as_ref(), "OutputFile.digest")?);
    }
    for log in [&result.stdout_digest, &result.stderr_digest].into_iter().flatten() {
        references.blobs.push(digest(function, Some(log), "ActionResult.stdout_digest")?);
    }
    for directory in &result.output_directories {
        // Either is enough to know the directory by; one of them must be there.
        let root = directory.root_directory_digest.as_ref();
        if let Some(root) = root {
            references.directories.push(digest(function, Some(root), "root_directory_digest")?);
        }
        if directory.tree_digest.is_some() || root.is_none() {
            let tree = directory.tree_digest.as_ref();
            references.trees.push(digest(function, tree, "OutputDirectory.tree_digest")?);
        }
    }
    Ok(references)
}

/// The largest `Directory` message of a `Tree`, in bytes: one that an answer of the usual size can still carry.
const DIRECTORY_BYTES_MAX: u64 = 3 << 20;

/// Adds the files of an encoded `Tree` to `files`, as the reader has it. Its directories are inside it.
///
/// What the reader fails with is passed on; what is no tree is an error of kind `InvalidData`.
pub fn add_files_of_tree(
    function: DigestFunction,
    reader: &mut impl Read,
    files: &mut BTreeSet<Digest>,
) -> io::Result<()> {
    let invalid = |error: DecodeError| io::Error::new(io::ErrorKind::InvalidData, error);
    while let Some((number, directory)) = next_message(reader, DIRECTORY_BYTES_MAX)? {
        // The root and the children; whatever else there may be one day is not a directory.
        if number == 1 || number == 2 {
            files.extend(of_directory(function, &directory).map_err(invalid)?.files);
        }
    }
    Ok(())
}

/// Returns what an encoded `Directory` refers to, if none of its names leads out of it.
pub fn of_directory(
    function: DigestFunction,
    bytes: &[u8],
) -> Result<DirectoryReferences, DecodeError> {
    let mut references = DirectoryReferences::default();
    for field in Fields::of(bytes) {
        match field? {
            (1, node) => references.files.push(of_node(function, node, "FileNode.digest")?),
            (2, node) => {
                references.directories.push(of_node(function, node, "DirectoryNode.digest")?);
            }
            (3, link) => check_name(link)?,
            _ => {}
        }
    }
    Ok(references)
}

/// Returns how many names an encoded `Directory` has, as far as it is one.
pub fn names(directory: &[u8]) -> u64 {
    let names = Fields::of(directory).flatten().filter(|(number, _)| (1..=3).contains(number));
    names.count() as u64
}

/// Returns the digest of an encoded `FileNode` or `DirectoryNode`: its second field.
fn of_node(
    function: DigestFunction,
    node: &[u8],
    field: &'static str,
) -> Result<Digest, DecodeError> {
    check_name(node)?;
    let mut found = None;
    for part in Fields::of(node) {
        if let (2, part) = part? {
            // What comes twice is one message, as protobuf has it.
            found.get_or_insert_with(reapi::Digest::default).merge(part)?;
        }
    }
    digest(function, found.as_ref(), field)
}

/// Checks the name of an encoded node of a directory: its first field.
fn check_name(node: &[u8]) -> Result<(), DecodeError> {
    let mut name: &[u8] = b"";
    for part in Fields::of(node) {
        if let (1, part) = part? {
            name = part;
        }
    }
    Ok(PathSegment::check(text(name, "name")?)?)
}
