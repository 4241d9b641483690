//! Model values to canonical bytes: fields in order of their tags, lists sorted, defaults left out.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use model::{
    Action, ActionResult, Command, Digest, DigestFunction, Directory, Node, OutputDirectory,
    Platform, TreeDigest,
};
use prost::Message;

use crate::proto::{bld, reapi};

/// The type URL of the resource usage in an action result.
pub(crate) const USAGE_URL: &str = "type.googleapis.com/bld.v1.ResourceUsage";

/// Returns the bytes of a `Directory` message.
pub fn directory(directory: &Directory) -> Bytes {
    let mut message = reapi::Directory::default();
    for (name, node) in directory.children() {
        let name = name.to_string();
        match node {
            Node::File { digest, executable } => message.files.push(reapi::FileNode {
                name,
                digest: Some(digest_message(*digest)),
                is_executable: *executable,
                node_properties: None,
            }),
            Node::Directory(TreeDigest(digest)) => message
                .directories
                .push(reapi::DirectoryNode { name, digest: Some(digest_message(*digest)) }),
            Node::Symlink(target) => message.symlinks.push(reapi::SymlinkNode {
                name,
                target: target.to_string(),
                node_properties: None,
            }),
        }
    }
    message.encode_to_vec().into()
}

/// Returns the bytes of a topologically sorted `Tree` message made of encoded directories.
///
/// Built from the bytes themselves, so that every directory in it keeps its digest.
pub fn tree(root: &[u8], descendants: &[Bytes]) -> Bytes {
    const ROOT: u8 = 0x0a;
    const CHILD: u8 = 0x12;
    let mut message = Vec::new();
    let mut record = |tag: u8, bytes: &[u8]| {
        message.push(tag);
        prost::encoding::encode_varint(bytes.len() as u64, &mut message);
        message.extend_from_slice(bytes);
    };
    record(ROOT, root);
    let mut seen = BTreeSet::new();
    for bytes in descendants {
        if seen.insert(bytes) {
            record(CHILD, bytes);
        }
    }
    message.into()
}

/// Returns the bytes of a `Command` message.
pub fn command(command: &Command) -> Bytes {
    let variable = |(name, value): (&String, &String)| reapi::command::EnvironmentVariable {
        name: name.clone(),
        value: value.clone(),
    };
    let mut output_paths: Vec<String> =
        command.output_paths.iter().map(ToString::to_string).collect();
    output_paths.sort();
    let message = reapi::Command {
        arguments: command.arguments.clone(),
        environment_variables: command.environment.iter().map(variable).collect(),
        working_directory: command.working_directory.to_string(),
        output_paths,
        output_directory_format: reapi::command::OutputDirectoryFormat::TreeAndDirectory.into(),
        ..Default::default()
    };
    message.encode_to_vec().into()
}

/// Returns the bytes of an `Action` message: what its digest is taken of.
pub fn action(action: &Action) -> Bytes {
    let message = reapi::Action {
        command_digest: Some(digest_message(action.command)),
        input_root_digest: Some(digest_message(action.input_root.0)),
        timeout: action.timeout.map(duration),
        do_not_cache: false,
        salt: action.salt.clone().into_bytes().into(),
        platform: platform(&action.platform),
    };
    message.encode_to_vec().into()
}

/// Returns the bytes of an `ActionResult` message.
pub fn action_result(result: &ActionResult) -> Bytes {
    action_result_message(result).encode_to_vec().into()
}

/// Returns an `ActionResult` message.
pub fn action_result_message(result: &ActionResult) -> reapi::ActionResult {
    reapi::ActionResult {
        exit_code: result.exit_code,
        output_files: result
            .files
            .iter()
            .map(|file| reapi::OutputFile {
                path: file.path.to_string(),
                digest: Some(digest_message(file.digest)),
                is_executable: file.executable,
                ..Default::default()
            })
            .collect(),
        output_directories: result.directories.iter().map(output_directory).collect(),
        output_symlinks: result
            .symlinks
            .iter()
            .map(|link| reapi::OutputSymlink {
                path: link.path.to_string(),
                target: link.target.to_string(),
                node_properties: None,
            })
            .collect(),
        stdout_digest: result.stdout.map(digest_message),
        stderr_digest: result.stderr.map(digest_message),
        execution_metadata: Some(metadata(&result.metadata)),
        ..Default::default()
    }
}

fn output_directory(directory: &OutputDirectory) -> reapi::OutputDirectory {
    reapi::OutputDirectory {
        path: directory.path.to_string(),
        tree_digest: Some(digest_message(directory.tree)),
        is_topologically_sorted: true,
        root_directory_digest: Some(digest_message(directory.root.0)),
    }
}

fn metadata(metadata: &model::ExecutionMetadata) -> reapi::ExecutedActionMetadata {
    let usage = bld::ResourceUsage { cpu: Some(duration(metadata.cpu)) };
    reapi::ExecutedActionMetadata {
        worker: metadata.worker.clone(),
        virtual_execution_duration: Some(duration(metadata.wall)),
        auxiliary_metadata: vec![prost_types::Any {
            type_url: USAGE_URL.to_owned(),
            value: usage.encode_to_vec(),
        }],
        ..Default::default()
    }
}

fn platform(platform: &Platform) -> Option<reapi::Platform> {
    if platform.0.is_empty() {
        return None;
    }
    let property = |(name, value): (&String, &String)| reapi::platform::Property {
        name: name.clone(),
        value: value.clone(),
    };
    Some(reapi::Platform { properties: platform.0.iter().map(property).collect() })
}

/// Returns the number of a function in messages.
pub fn function_number(function: DigestFunction) -> i32 {
    use reapi::digest_function::Value;
    match function {
        DigestFunction::Sha256 => Value::Sha256.into(),
        DigestFunction::Blake3 => Value::Blake3.into(),
    }
}

/// Returns a digest as a message; its function is said beside it.
pub fn digest_message(digest: Digest) -> reapi::Digest {
    let size_bytes = i64::try_from(digest.size()).expect("no blob has 2^63 bytes");
    reapi::Digest { hash: digest.hex(), size_bytes }
}

fn duration(duration: Duration) -> prost_types::Duration {
    // Longer than 2^63 seconds is not a duration that anything measured or declared.
    prost_types::Duration::try_from(duration).unwrap_or_default()
}
