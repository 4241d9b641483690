//! What messages of any client refer to. Unlike [`decode`](crate::decode), this takes what `bld` itself would not write:
//! a server has to keep what others believe in.

use model::{Digest, DigestFunction, PathSegment};
use prost::Message;

use crate::decode::{DecodeError, digest};
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

/// Returns the files of an encoded `Tree`. Its directories are inside it.
pub fn of_tree(function: DigestFunction, bytes: &[u8]) -> Result<Vec<Digest>, DecodeError> {
    let tree = reapi::Tree::decode(bytes)?;
    let mut files = Vec::new();
    for directory in tree.root.iter().chain(&tree.children) {
        files.extend(files_of(function, directory)?);
    }
    Ok(files)
}

/// Returns what an encoded `Directory` refers to.
pub fn of_directory(
    function: DigestFunction,
    bytes: &[u8],
) -> Result<DirectoryReferences, DecodeError> {
    let directory = reapi::Directory::decode(bytes)?;
    let children = directory.directories.iter();
    let children = children.map(|it| digest(function, it.digest.as_ref(), "DirectoryNode.digest"));
    Ok(DirectoryReferences {
        files: files_of(function, &directory)?,
        directories: children.collect::<Result<_, _>>()?,
    })
}

/// Returns the files of a directory, none of whose names leads out of it.
fn files_of(
    function: DigestFunction,
    directory: &reapi::Directory,
) -> Result<Vec<Digest>, DecodeError> {
    let children = directory.directories.iter().map(|it| &it.name);
    let links = directory.symlinks.iter().map(|it| &it.name);
    for name in directory.files.iter().map(|it| &it.name).chain(children).chain(links) {
        PathSegment::check(name)?;
    }
    let files = directory.files.iter();
    files.map(|it| digest(function, it.digest.as_ref(), "FileNode.digest")).collect()
}
