//! From an input root to mounts: each of its directories is a tree of the store.

use std::path::{Path, PathBuf};

use model::{Command, Directory, Node, PathSegment, RelativePath, TreeDigest};
use store::{Draft, LocalStore, TreeSource};

use crate::ExecuteError;
use crate::layout::{Layout, OUTPUT_FOLDER, make_folder};
use crate::sandbox::{Mount, MountKind, Surroundings};

/// The names that the sandbox itself fills.
const OWN: [&str; 3] = ["dev", "proc", "tmp"];

/// Returns what `/etc` shows on top of the build root's: who the command is.
fn etc(shown: &Surroundings) -> [(&'static str, String); 4] {
    let Surroundings { host_name: host, user_name: user, id, .. } = shown;
    [
        ("passwd", format!("root:x:0:0:root:/:/bin/sh\n{user}:x:{id}:{id}:{user}:/work:/bin/sh\n")),
        ("group", format!("root:x:0:\n{user}:x:{id}:\n")),
        ("hosts", format!("127.0.0.1 localhost\n::1 localhost\n127.0.0.1 {host}\n")),
        ("hostname", format!("{host}\n")),
    ]
}

/// Returns what the command sees, in mounting order. Trees are made present; `scratch` takes the writes.
pub(crate) async fn mounts(
    store: &LocalStore,
    root: TreeDigest,
    command: &Command,
    layout: &Layout,
    trees: &dyn TreeSource,
    etc: &Path,
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
    show_etc(etc, &mut mounts)?;
    show_working_directory(store, &directory, command, layout, &mut mounts)?;
    Ok(mounts)
}

/// A file at the root lies in no tree of its own, so it gets one.
async fn single_file(
    store: &LocalStore,
    trees: &dyn TreeSource,
    name: &PathSegment,
    digest: model::Digest,
    executable: bool,
) -> Result<Option<PathBuf>, ExecuteError> {
    let mut draft = Draft::new();
    let node = Node::File { digest, executable };
    draft.add(store, &RelativePath::from(name.clone()), node)?;
    let tree = draft.finish(store)?;
    Ok(trees.ensure(tree).await?.map(|path| path.join(name)))
}

/// Returns the tree that `/etc` shows on top of the build root's, made present.
pub(crate) async fn own_etc(
    store: &LocalStore,
    trees: &dyn TreeSource,
    shown: &Surroundings,
) -> Result<PathBuf, ExecuteError> {
    let mut draft = Draft::new();
    for (name, text) in etc(shown) {
        let digest = store.ingest_bytes(text.as_bytes(), false)?;
        let path = RelativePath::new(name).expect("the names are constants");
        draft.add(store, &path, Node::File { digest, executable: false })?;
    }
    let tree = draft.finish(store)?;
    let path = RelativePath::new("etc").expect("a constant");
    let missing = || ExecuteError::MissingInput { digest: tree.0, path };
    trees.ensure(tree).await?.ok_or_else(missing)
}

fn show_etc(own: &Path, mounts: &mut Vec<Mount>) -> Result<(), ExecuteError> {
    let own = own.to_owned();
    match mounts.iter_mut().find(|mount| mount.at == "etc") {
        Some(mount) => {
            let layers = vec![own, tree_below(mount)?];
            mount.kind = MountKind::Layers(layers);
        }
        None => mounts.push(Mount { at: "etc".to_owned(), kind: MountKind::Tree(own) }),
    }
    Ok(())
}

/// Returns the tree that is mounted there. A link would lead out of the root, and what is mounted on it too.
fn tree_below(mount: &Mount) -> Result<PathBuf, ExecuteError> {
    match &mount.kind {
        MountKind::Tree(path) => Ok(path.clone()),
        MountKind::Layers(_)
        | MountKind::File(_)
        | MountKind::Folder
        | MountKind::Link(_)
        | MountKind::Writable(_)
        | MountKind::Overlay { .. } => {
            let path = RelativePath::new(mount.at.as_str()).expect("it is a name");
            Err(ExecuteError::InputRoot { path, why: "is not a directory" })
        }
    }
}

/// The working directory takes writes, above whatever the input root has there.
fn show_working_directory(
    store: &LocalStore,
    root: &Directory,
    command: &Command,
    layout: &Layout,
    mounts: &mut Vec<Mount>,
) -> Result<(), ExecuteError> {
    let at = working_directory(command)?;
    let writes = layout.work();
    let below = match root.get(&at) {
        Some(Node::Directory(tree)) => store.directory(*tree)?,
        _ => None,
    };
    if let Some(Node::File { .. } | Node::Symlink(_)) =
        below.as_ref().and_then(|it| it.get(OUTPUT_FOLDER))
    {
        let path = command.working_directory.join(&output_folder());
        return Err(ExecuteError::InputRoot {
            path,
            why: "is not a directory, but outputs go there",
        });
    }
    match mounts.iter_mut().find(|mount| mount.at == at) {
        Some(mount) => {
            let (lower, work) = (tree_below(mount)?, layout.overlay());
            make_folder(&work)?;
            mount.kind = MountKind::Overlay { lower, upper: writes, work };
        }
        None => mounts.push(Mount { at: at.clone(), kind: MountKind::Writable(writes) }),
    }
    let out = layout.outputs();
    for path in &command.output_paths {
        let below = path.strip_prefix(&output_folder());
        let below = below.ok_or_else(|| ExecuteError::OutputPlace(path.clone()))?;
        make_parents(&out, &below)?;
    }
    mounts.push(Mount { at: format!("{at}/{OUTPUT_FOLDER}"), kind: MountKind::Writable(out) });
    Ok(())
}

/// Returns the working directory's name: one at the root, and none that the sandbox fills.
fn working_directory(command: &Command) -> Result<String, ExecuteError> {
    let path = &command.working_directory;
    let own = OWN.contains(&path.as_str()) || path.as_str() == "etc";
    match path.split_last() {
        Some((parent, name)) if parent.is_root() && !own => Ok(name.to_string()),
        _ => Err(ExecuteError::WorkingDirectory(path.clone())),
    }
}

/// Returns the folder of outputs, from the working directory.
pub(crate) fn output_folder() -> RelativePath {
    RelativePath::new(OUTPUT_FOLDER).expect("a constant")
}

/// Makes the directories that the output at `path` lies in, as REAPI asks.
fn make_parents(out: &Path, path: &RelativePath) -> Result<(), ExecuteError> {
    let mut folder = out.to_owned();
    let parents = path.split_last().map(|(parent, _)| parent).unwrap_or_default();
    for name in parents.segments() {
        folder.push(name);
        if !folder.is_dir() {
            make_folder(&folder)?;
        }
    }
    Ok(())
}
