//! From what a command left behind to blobs and trees.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, lchown};
use std::path::{Path, PathBuf};

use model::{
    ActionResult, Command, Node, OutputDirectory, OutputFile, OutputSymlink, PathSegment,
    RelativePath, SymlinkTarget, TreeDigest,
};
use rustix::process::{getegid, geteuid};
use store::{Draft, LocalStore};
use wire::encode;

use crate::ExecuteError;
use crate::inputs::output_folder;
use crate::layout::Layout;

/// The most files, links and directories that an action may leave: as many as an archive may hold.
const ENTRIES_MAX: u64 = 1_000_000;

/// The most names in an output's path: as many as in an archive's. Walking a tree recurses once per level.
const DEPTH_MAX: usize = 64;

/// The longest path of an output, in bytes: half of what Linux takes (`PATH_MAX`), for there is a store around it.
const PATH_BYTES_MAX: usize = 2048;

/// Moves what the command made at its declared outputs into the store and names it in `result`.
/// What is not there is not in the result; whoever needs it says so.
pub(crate) fn collect(
    store: &LocalStore,
    command: &Command,
    layout: &Layout,
    limit: u64,
    result: &mut ActionResult,
) -> Result<(), ExecuteError> {
    let mut collector = Collector { store, left: limit, limit, entries: 0 };
    let folder = output_folder();
    for path in &command.output_paths {
        let below = path.strip_prefix(&folder).expect("checked before the command ran");
        let Some(file) = reach(&layout.outputs(), &below, path)? else { continue };
        let Some(node) = collector.node(&file, path)? else { continue };
        let path = path.clone();
        match node {
            Node::File { digest, executable } => {
                result.files.push(OutputFile { path, digest, executable });
            }
            Node::Symlink(target) => result.symlinks.push(OutputSymlink { path, target }),
            Node::Directory(root) => result.directories.push(directory_output(store, path, root)?),
        }
    }
    Ok(())
}

/// Returns the output for a directory whose tree is in the store: its `Tree` message is made and kept too.
pub(crate) fn directory_output(
    store: &LocalStore,
    path: RelativePath,
    root: TreeDigest,
) -> Result<OutputDirectory, ExecuteError> {
    let mut encoded = Vec::new();
    let mut pending = vec![root];
    while let Some(tree) = pending.pop() {
        let missing = || ExecuteError::MissingInput { digest: tree.0, path: path.clone() };
        let directory = store.directory(tree)?.ok_or_else(missing)?;
        let mut children: Vec<_> = directory.directories().map(|(_, child)| child).collect();
        children.reverse();
        pending.extend(children);
        encoded.push(encode::directory(&directory));
    }
    let tree = store.ingest_bytes(&encode::tree(&encoded[0], &encoded[1..]), false)?;
    Ok(OutputDirectory { path, tree, root })
}

/// Opens the way to an output and returns where it is; `None` if the way ends before.
///
/// What lies above it must be directories: a link would lead to the machine's own files.
fn reach(
    out: &Path,
    below: &RelativePath,
    path: &RelativePath,
) -> Result<Option<PathBuf>, ExecuteError> {
    let mut file = out.to_owned();
    for name in below.segments() {
        match file.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => open_folder(&file, &metadata)?,
            Ok(_) => {
                let why = "lies behind something that is not a directory";
                return Err(ExecuteError::Output { path: path.to_string(), why });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ExecuteError::disk("look at", &file)(error)),
        }
        file.push(name);
    }
    Ok(Some(file))
}

/// Takes back the rights over a directory: a command may have taken them away, and they are not part of a tree.
fn open_folder(folder: &Path, metadata: &fs::Metadata) -> Result<(), ExecuteError> {
    if metadata.permissions().mode() & 0o7777 == 0o755 {
        return Ok(());
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
        .map_err(ExecuteError::disk("open", folder))
}

struct Collector<'a> {
    store: &'a LocalStore,
    left: u64,
    limit: u64,
    entries: u64,
}

impl Collector<'_> {
    fn node(&mut self, file: &Path, path: &RelativePath) -> Result<Option<Node>, ExecuteError> {
        let refuse = |why| ExecuteError::Output { path: path.to_string(), why };
        if path.as_str().len() > PATH_BYTES_MAX || path.segments().count() > DEPTH_MAX {
            return Err(refuse("lies too deep"));
        }
        let metadata = match file.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ExecuteError::disk("look at", file)(error)),
        };
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            return Err(ExecuteError::OutputEntries { limit: ENTRIES_MAX });
        }
        let kind = metadata.file_type();
        if kind.is_symlink() {
            let target = fs::read_link(file).map_err(ExecuteError::disk("read", file))?;
            let target = target.to_str().ok_or_else(|| refuse("has a target that is not UTF-8"))?;
            let target = SymlinkTarget::new(target);
            let target = target.map_err(|_source| refuse("has a target that no link can have"))?;
            return Ok(Some(Node::Symlink(target)));
        }
        if kind.is_fifo() || kind.is_socket() || kind.is_block_device() || kind.is_char_device() {
            return Err(refuse("is a device, socket or pipe, which a tree cannot hold"));
        }
        let mode = metadata.permissions().mode();
        let special = if kind.is_dir() { 0o6000 } else { 0o7000 };
        if mode & special != 0 {
            return Err(refuse(
                "has a set-user-id, set-group-id or sticky bit, which a tree cannot hold",
            ));
        }
        if has_attributes(file) {
            return Err(refuse("has extended attributes, which a tree cannot hold"));
        }
        if kind.is_dir() {
            return self.directory(file, path, &metadata).map(Some);
        }
        self.left = self
            .left
            .checked_sub(metadata.len())
            .ok_or(ExecuteError::OutputSize { limit: self.limit })?;
        take_over(file, &metadata)?;
        let executable = mode & 0o100 != 0;
        let digest = self.store.adopt(file, executable)?;
        Ok(Some(Node::File { digest, executable }))
    }

    fn directory(
        &mut self,
        folder: &Path,
        path: &RelativePath,
        metadata: &fs::Metadata,
    ) -> Result<Node, ExecuteError> {
        let mut draft = Draft::new();
        open_folder(folder, metadata)?;
        let entries = fs::read_dir(folder).map_err(ExecuteError::disk("list", folder))?;
        for entry in entries {
            let entry = entry.map_err(ExecuteError::disk("list", folder))?;
            let name = entry.file_name();
            let refuse =
                |why| ExecuteError::Output { path: format!("{path}/{}", name.display()), why };
            let name = name.to_str().ok_or_else(|| refuse("has a name that is not UTF-8"))?;
            let name = PathSegment::new(name)
                .map_err(|_source| refuse("has a name that a tree cannot hold"))?;
            let below = path.child(&name);
            if let Some(node) = self.node(&entry.path(), &below)? {
                draft.add(self.store, &RelativePath::from(name), node)?;
            }
        }
        Ok(Node::Directory(draft.finish(self.store)?))
    }
}

/// Makes a file one that the store can keep: owned by whoever owns the store, and readable.
fn take_over(file: &Path, metadata: &fs::Metadata) -> Result<(), ExecuteError> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    // On the rung of root the command is somebody else, who could change the store's file later.
    if metadata.uid() != uid {
        lchown(file, Some(uid), Some(gid)).map_err(ExecuteError::disk("take over", file))?;
    }
    if metadata.permissions().mode() & 0o400 == 0 {
        let readable = fs::Permissions::from_mode(0o600);
        fs::set_permissions(file, readable).map_err(ExecuteError::disk("open", file))?;
    }
    Ok(())
}

/// Returns whether a file has attributes of its own; labels that a security module gives to everything do not count.
fn has_attributes(file: &Path) -> bool {
    let mut names = vec![0; 4096];
    match rustix::fs::llistxattr(file, &mut names) {
        Ok(length) => names[..length]
            .split(|byte| *byte == 0)
            .any(|name| !name.is_empty() && name != b"security.selinux"),
        // More names than fit are attributes all the more; a file system without any has none.
        Err(error) => error == rustix::io::Errno::RANGE,
    }
}
