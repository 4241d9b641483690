//! Bytes from outside to model values: parsed, not trusted.

use std::time::Duration;

use model::{
    Action, ActionResult, Command, Digest, DigestFunction, Directory, DuplicateName,
    ExecutionMetadata, InvalidPath, InvalidTarget, Node, OutputDirectory, OutputFile,
    OutputSymlink, ParseDigestError, PathSegment, Platform, RelativePath, SymlinkTarget,
    TreeDigest,
};
use prost::Message;

use crate::encode::USAGE_URL;
use crate::proto::{bld, reapi};

/// Why bytes are not the message they are said to be.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not protobuf of that type.
    #[error("the bytes are not such a message")]
    Protobuf(#[from] prost::DecodeError),
    /// A digest is missing or malformed.
    #[error("a digest is malformed")]
    Digest(#[from] ParseDigestError),
    /// A message lacks a field that it cannot do without.
    #[error("the field {0} is missing")]
    Missing(&'static str),
    /// A name or path is not allowed in a tree.
    #[error("a path is not allowed")]
    Path(#[from] InvalidPath),
    /// A link has no possible target.
    #[error("a link is not allowed")]
    Target(#[from] InvalidTarget),
    /// Two children have the same name.
    #[error("a directory is ambiguous")]
    Duplicate(#[from] DuplicateName),
    /// A field ends behind the end of its message.
    #[error("a field is longer than its message")]
    Length,
    /// A size is negative.
    #[error("the field {0} is negative")]
    Negative(&'static str),
    /// A duration is one that no clock can measure.
    #[error("the field {field} is not a possible duration")]
    Duration {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        source: prost_types::DurationError,
    },
    /// A time is one that no clock can tell.
    #[error("the field {field} is not a possible time")]
    Time {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        source: prost_types::TimestampError,
    },
    /// A text is not UTF-8.
    #[error("the field {field} is not UTF-8")]
    Text {
        /// Which field.
        field: &'static str,
        /// Where it is not.
        source: std::str::Utf8Error,
    },
    /// A node has properties, which trees cannot say.
    #[error("`{0}` has node properties (a time, mode or attribute), which a tree cannot hold")]
    Properties(String),
}

/// Parses a `Directory` message whose digests are of `function`.
pub fn directory(function: DigestFunction, bytes: &[u8]) -> Result<Directory, DecodeError> {
    directory_message(function, reapi::Directory::decode(bytes)?)
}

fn directory_message(
    function: DigestFunction,
    message: reapi::Directory,
) -> Result<Directory, DecodeError> {
    let mut directory = Directory::new();
    if message.node_properties.is_some() {
        return Err(DecodeError::Properties(".".to_owned()));
    }
    for file in message.files {
        if file.node_properties.is_some() {
            return Err(DecodeError::Properties(file.name));
        }
        let digest = digest(function, file.digest.as_ref(), "FileNode.digest")?;
        let node = Node::File { digest, executable: file.is_executable };
        directory.add(PathSegment::new(file.name)?, node)?;
    }
    for child in message.directories {
        let digest = digest(function, child.digest.as_ref(), "DirectoryNode.digest")?;
        directory.add(PathSegment::new(child.name)?, Node::Directory(TreeDigest(digest)))?;
    }
    for link in message.symlinks {
        if link.node_properties.is_some() {
            return Err(DecodeError::Properties(link.name));
        }
        let target = SymlinkTarget::new(link.target)?;
        directory.add(PathSegment::new(link.name)?, Node::Symlink(target))?;
    }
    Ok(directory)
}

/// Parses a `Command` message.
pub fn command(bytes: &[u8]) -> Result<Command, DecodeError> {
    let message = reapi::Command::decode(bytes)?;
    let paths = message.output_paths.into_iter().map(RelativePath::new);
    Ok(Command {
        arguments: message.arguments,
        environment: message
            .environment_variables
            .into_iter()
            .map(|variable| (variable.name, variable.value))
            .collect(),
        output_paths: paths.collect::<Result<_, _>>()?,
        working_directory: RelativePath::new(message.working_directory)?,
    })
}

/// Parses an `Action` message whose digests are of `function`.
pub fn action(function: DigestFunction, bytes: &[u8]) -> Result<Action, DecodeError> {
    let message = reapi::Action::decode(bytes)?;
    let properties = message.platform.unwrap_or_default().properties;
    Ok(Action {
        command: digest(function, message.command_digest.as_ref(), "Action.command_digest")?,
        input_root: TreeDigest(digest(
            function,
            message.input_root_digest.as_ref(),
            "Action.input_root_digest",
        )?),
        timeout: message.timeout.map(|it| duration(it, "Action.timeout")).transpose()?,
        salt: text(&message.salt, "Action.salt")?.to_owned(),
        platform: Platform(properties.into_iter().map(|it| (it.name, it.value)).collect()),
    })
}

/// Parses an `ActionResult` message whose digests are of `function`.
pub fn action_result(function: DigestFunction, bytes: &[u8]) -> Result<ActionResult, DecodeError> {
    action_result_message(function, reapi::ActionResult::decode(bytes)?)
}

/// Converts an `ActionResult` message whose digests are of `function`.
pub fn action_result_message(
    function: DigestFunction,
    message: reapi::ActionResult,
) -> Result<ActionResult, DecodeError> {
    let optional = |it: Option<&reapi::Digest>, field| {
        it.map(|it| digest(function, Some(it), field)).transpose()
    };
    let mut result = ActionResult {
        exit_code: message.exit_code,
        stdout: optional(message.stdout_digest.as_ref(), "ActionResult.stdout_digest")?,
        stderr: optional(message.stderr_digest.as_ref(), "ActionResult.stderr_digest")?,
        metadata: metadata(message.execution_metadata.unwrap_or_default())?,
        ..Default::default()
    };
    for file in message.output_files {
        result.files.push(OutputFile {
            path: RelativePath::new(file.path)?,
            digest: digest(function, file.digest.as_ref(), "OutputFile.digest")?,
            executable: file.is_executable,
        });
    }
    for tree in message.output_directories {
        let root = digest(
            function,
            tree.root_directory_digest.as_ref(),
            "OutputDirectory.root_directory_digest",
        )?;
        result.directories.push(OutputDirectory {
            path: RelativePath::new(tree.path)?,
            tree: digest(function, tree.tree_digest.as_ref(), "OutputDirectory.tree_digest")?,
            root: TreeDigest(root),
        });
    }
    for link in message.output_symlinks {
        result.symlinks.push(OutputSymlink {
            path: RelativePath::new(link.path)?,
            target: SymlinkTarget::new(link.target)?,
        });
    }
    Ok(result)
}

/// Returns the bytes of the root directory in an encoded `Tree`, which is its first record.
pub fn tree_root(tree: &[u8]) -> Option<&[u8]> {
    const ROOT: u8 = 0x0a;
    let mut rest = tree.strip_prefix(&[ROOT])?;
    let length = prost::encoding::decode_varint(&mut rest).ok()?;
    rest.get(..usize::try_from(length).ok()?)
}

fn metadata(message: reapi::ExecutedActionMetadata) -> Result<ExecutionMetadata, DecodeError> {
    Ok(ExecutionMetadata {
        cpu: cpu(&message)?,
        worker: message.worker,
        wall: duration(
            message.virtual_execution_duration.unwrap_or_default(),
            "ExecutedActionMetadata.virtual_execution_duration",
        )?,
    })
}

/// Returns the processor time of an action, where its executor says so in the way that `bld` does; else none.
pub fn cpu(message: &reapi::ExecutedActionMetadata) -> Result<Duration, DecodeError> {
    let usage = message.auxiliary_metadata.iter().find(|any| any.type_url == USAGE_URL);
    let usage = match usage {
        Some(any) => bld::ResourceUsage::decode(any.value.as_slice())?,
        None => bld::ResourceUsage::default(),
    };
    duration(usage.cpu.unwrap_or_default(), "ResourceUsage.cpu")
}

/// Parses a digest of `function`; `field` says where it stands.
pub fn digest(
    function: DigestFunction,
    message: Option<&reapi::Digest>,
    field: &'static str,
) -> Result<Digest, DecodeError> {
    let message = message.ok_or(DecodeError::Missing(field))?;
    let Ok(size) = u64::try_from(message.size_bytes) else {
        return Err(DecodeError::Negative(field));
    };
    let digest = Digest::from_hex(function, &message.hash, size)?;
    if size == 0 && digest != Digest::of(function, b"") {
        return Err(ParseDigestError::Hash(message.hash.clone()).into());
    }
    Ok(digest)
}

fn duration(message: prost_types::Duration, field: &'static str) -> Result<Duration, DecodeError> {
    Duration::try_from(message).map_err(|source| DecodeError::Duration { field, source })
}

/// Parses a text; `field` says where it stands.
pub(crate) fn text<'a>(bytes: &'a [u8], field: &'static str) -> Result<&'a str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|source| DecodeError::Text { field, source })
}
