//! From an input root to mounts: each of its directories is a tree of the store.

use std::path::Path;

use model::{Command, Directory, Node, PathSegment, RelativePath, TreeDigest};
use store::{Draft, LocalStore, TreeSource};

use crate::ExecuteError;
use crate::sandbox::{Mount, MountKind};

/// The directory below the working directory that outputs are kept from.
pub(crate) const OUTPUT_FOLDER: &str = "out";

/// The names that the sandbox itself fills.
const OWN: [&str; 3] = ["dev", "proc", "tmp"];

/// What `/etc` shows on top of the build root's: who the command is.
const ETC: [(&str, &str); 4] = [
    ("passwd", "root:x:0:0:root:/:/bin/sh\nbld:x:1000:1000:bld:/work:/bin/sh\n"),
    ("group", "root:x:0:\nbld:x:1000:\n"),
    ("hosts", "127.0.0.1 localhost\n::1 localhost\n127.0.0.1 bld\n"),
    ("hostname", "bld\n"),
];

/// Returns what the command sees, in mounting order. Trees are made present; `scratch` takes the writes.
pub(crate) async fn mounts(
    store: &LocalStore,
    root: TreeDigest,
    command: &Command,
    scratch: &Path,
    trees: &dyn TreeSource,
) -> Result<Vec<Mount>, ExecuteError> {
    let missing = |digest, path| ExecuteError::MissingInput { digest, path };
    let directory = store.directory(root)?;
    let directory = directory.ok_or_else(|| missing(root.0, RelativePath::root()))?;
    let mut mounts = Vec::new();
    for (name, node) in directory.children() {
        if OWN.contains(&name.as_str()) {
            continue;
        }
        let at = name.to_string();
        let path = || RelativePath::from(name.clone());
        let kind = match node {
            Node::Symlink(target) => MountKind::Link(target.to_string()),
            Node::File { digest, executable } => {
                let file = single_file(store, trees, name, *digest, *executable).await?;
                MountKind::File(file.ok_or_else(|| missing(*digest, path()))?)
            }
            Node::Directory(tree) => {
                let lower = trees.ensure(*tree).await?.ok_or_else(|| missing(tree.0, path()))?;
                MountKind::Tree(lower)
            }
        };
        mounts.push(Mount { at, kind });
    }
    show_etc(store, trees, &mut mounts).await?;
    show_working_directory(&directory, command, scratch, &mut mounts)?;
    Ok(mounts)
}

/// A file at the root lies in no tree of its own, so it gets one.
async fn single_file(
    store: &LocalStore,
    trees: &dyn TreeSource,
    name: &PathSegment,
    digest: model::Digest,
    executable: bool,
) -> Result<Option<std::path::PathBuf>, ExecuteError> {
    let mut draft = Draft::new();
    let node = Node::File { digest, executable };
    draft.add(store, &RelativePath::from(name.clone()), node)?;
    let tree = draft.finish(store)?;
    Ok(trees.ensure(tree).await?.map(|path| path.join(name)))
}

async fn show_etc(
    store: &LocalStore,
    trees: &dyn TreeSource,
    mounts: &mut Vec<Mount>,
) -> Result<(), ExecuteError> {
    let mut draft = Draft::new();
    for (name, text) in ETC {
        let digest = store.ingest_bytes(text.as_bytes(), false)?;
        let path = RelativePath::new(name).expect("the names are constants");
        draft.add(store, &path, Node::File { digest, executable: false })?;
    }
    let tree = draft.finish(store)?;
    let path = RelativePath::new("etc").expect("a constant");
    let missing = || ExecuteError::MissingInput { digest: tree.0, path };
    let own = trees.ensure(tree).await?.ok_or_else(missing)?;
    match mounts.iter_mut().find(|mount| mount.at == "etc") {
        Some(mount) => {
            if let MountKind::Tree(lower) = &mount.kind {
                mount.kind = MountKind::Layers(vec![own, lower.clone()]);
            }
        }
        None => mounts.push(Mount { at: "etc".to_owned(), kind: MountKind::Tree(own) }),
    }
    Ok(())
}

/// The working directory takes writes, above whatever the input root has there; outputs have a folder
/// of their own on the store's file system, so that keeping them is a rename.
fn show_working_directory(
    root: &Directory,
    command: &Command,
    scratch: &Path,
    mounts: &mut Vec<Mount>,
) -> Result<(), ExecuteError> {
    let make = |name: &str| {
        let path = scratch.join(name);
        std::fs::create_dir(&path).map_err(ExecuteError::disk("create", &path)).map(|()| path)
    };
    let at = command.working_directory.to_string();
    let inside = root.get(&at).is_some();
    let writes = make("work")?;
    match mounts.iter_mut().find(|mount| mount.at == at) {
        Some(mount) if inside => {
            if let MountKind::Tree(lower) = &mount.kind {
                let lower = lower.clone();
                mount.kind = MountKind::Overlay { lower, upper: writes, work: make("overlay")? };
            }
        }
        _ => mounts.push(Mount { at: at.clone(), kind: MountKind::Writable(writes) }),
    }
    let out = make(OUTPUT_FOLDER)?;
    for path in &command.output_paths {
        let below = path.strip_prefix(&RelativePath::new(OUTPUT_FOLDER).expect("a constant"));
        let below = below.ok_or_else(|| ExecuteError::OutputPlace(path.clone()))?;
        if let Some((parent, _)) = below.split_last() {
            let parent = out.join(&parent);
            std::fs::create_dir_all(&parent).map_err(ExecuteError::disk("create", &parent))?;
        }
    }
    mounts.push(Mount { at: format!("{at}/{OUTPUT_FOLDER}"), kind: MountKind::Writable(out) });
    Ok(())
}
