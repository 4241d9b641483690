//! Results under `bld-out/`: copies, because a link into the store would let an editor change it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use engine::{Failure, Goal, GoalStatus, Plan, Report};
use model::{Digest, Hasher, Node, RelativePath, TreeDigest};
use store::LocalStore;

use crate::error::CliError;
use crate::workspace::OpenWorkspace;

/// What was put under `bld-out`.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// How many files are there now.
    pub(crate) files: u64,
    paths: BTreeMap<(String, String), Vec<PathBuf>>,
}

impl Written {
    /// Returns where a goal's outputs are.
    pub(crate) fn paths_of(&self, goal: &Goal) -> &[PathBuf] {
        self.paths.get(&key(goal)).map_or(&[], Vec::as_slice)
    }
}

fn key(goal: &Goal) -> (String, String) {
    (goal.label.to_string(), goal.cell.to_string())
}

/// Returns where an output of a goal is put.
pub(crate) fn place(workspace: &OpenWorkspace, goal: &Goal, path: &RelativePath) -> PathBuf {
    let path = goal.label.package.join(path);
    workspace.output().join(path)
}

/// Puts every goal's outputs, or its failure's log, in its place; what is there already stays.
pub(crate) fn write(
    workspace: &OpenWorkspace,
    store: &LocalStore,
    plan: &Plan,
    report: &Report,
) -> Result<Written, CliError> {
    let mut written = Written::default();
    let mut taken: BTreeMap<PathBuf, (&Goal, &Node)> = BTreeMap::new();
    for (goal, outcome) in plan.goals.iter().zip(&report.goals) {
        for (path, node) in &outcome.outputs {
            let to = place(workspace, goal, path);
            if let Some((other, other_node)) = taken.get(&to) {
                if *other_node != node {
                    return Err(collision(&to, other, goal));
                }
                continue;
            }
            taken.insert(to.clone(), (goal, node));
            written.files += put(store, node, &to)?;
            written.paths.entry(key(goal)).or_default().push(to);
        }
        let Some(log) = &goal.failure_log else { continue };
        let to = place(workspace, goal, log);
        match &outcome.status {
            GoalStatus::Failed(failure) => {
                make_parent(&to)?;
                let text = format!(
                    "{}: {}\n{}",
                    failure.owner,
                    failure.kind,
                    failure_text(store, failure)
                );
                fs::write(&to, text).map_err(CliError::disk("write", &to))?;
                // What an earlier build made is not what this one would.
                for (path, _) in &goal.outputs {
                    remove(&place(workspace, goal, path))?;
                }
            }
            GoalStatus::Built | GoalStatus::Cached | GoalStatus::Excluded | GoalStatus::Skipped => {
                remove(&to)?;
            }
        }
    }
    Ok(written)
}

fn collision(to: &Path, one: &Goal, other: &Goal) -> CliError {
    CliError::Collision(format!(
        "{}{} and {}{} both make {}, and differently",
        one.label,
        one.cell,
        other.label,
        other.cell,
        to.display()
    ))
}

/// Returns what a failed action wrote, as text.
pub(crate) fn failure_text(store: &LocalStore, failure: &Failure) -> String {
    let read = |digest: Option<Digest>| {
        let bytes = digest.and_then(|digest| store.read_bytes(digest).ok().flatten());
        bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    };
    // What went wrong is on standard error; what went before is not what a person looks for first.
    read(failure.stderr) + &read(failure.stdout)
}

/// Puts a file, link or tree at `to`; returns how many files that are.
fn put(store: &LocalStore, node: &Node, to: &Path) -> Result<u64, CliError> {
    match node {
        Node::File { digest, executable } => put_file(store, *digest, *executable, to).map(|()| 1),
        Node::Symlink(target) => {
            if fs::read_link(to).is_ok_and(|found| found.as_os_str() == target.as_str()) {
                return Ok(1);
            }
            remove(to)?;
            make_parent(to)?;
            symlink(target.as_str(), to).map_err(CliError::disk("write", to))?;
            Ok(1)
        }
        Node::Directory(tree) => put_tree(store, *tree, to),
    }
}

fn put_tree(store: &LocalStore, tree: TreeDigest, to: &Path) -> Result<u64, CliError> {
    let missing = store::StoreError::Missing { digest: tree.0 };
    let directory = store.directory(tree)?.ok_or(missing)?;
    if to.symlink_metadata().is_ok_and(|metadata| !metadata.is_dir()) {
        remove(to)?;
    }
    fs::create_dir_all(to).map_err(CliError::disk("create", to))?;
    for entry in fs::read_dir(to).map_err(CliError::disk("list", to))? {
        let entry = entry.map_err(CliError::disk("list", to))?;
        if directory.get(&entry.file_name().to_string_lossy()).is_none() {
            remove(&entry.path())?;
        }
    }
    let mut files = 0;
    for (name, node) in directory.children() {
        files += put(store, node, &to.join(name))?;
    }
    Ok(files)
}

fn put_file(
    store: &LocalStore,
    digest: Digest,
    executable: bool,
    to: &Path,
) -> Result<(), CliError> {
    let mode = if executable { 0o755 } else { 0o644 };
    if is_there(digest, mode, to) {
        return Ok(());
    }
    let missing = || store::StoreError::Missing { digest };
    let mut from = store.open_blob(digest)?.ok_or_else(missing)?;
    if to.is_dir() {
        remove(to)?;
    }
    make_parent(to)?;
    let mut beside = to.as_os_str().to_owned();
    beside.push(format!(".bld-{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let mut file = fs::File::create(&beside).map_err(CliError::disk("create", &beside))?;
    let mut hasher = Hasher::new(digest.function());
    let copied = copy(&mut from, &mut file, &mut hasher);
    copied.map_err(CliError::disk("write", &beside))?;
    drop(file);
    let found = hasher.finish();
    if found != digest {
        remove(&beside)?;
        return Err(store::StoreError::Mismatch { expected: digest, found }.into());
    }
    fs::set_permissions(&beside, fs::Permissions::from_mode(mode))
        .map_err(CliError::disk("write", &beside))?;
    fs::rename(&beside, to).map_err(CliError::disk("write", to))
}

fn copy(from: &mut fs::File, to: &mut fs::File, hasher: &mut Hasher) -> io::Result<()> {
    use io::Read as _;
    let mut buffer = vec![0; 1 << 17];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
    }
}

/// Returns whether `to` holds these bytes already; it is read to know that.
fn is_there(digest: Digest, mode: u32, to: &Path) -> bool {
    let Ok(metadata) = to.symlink_metadata() else { return false };
    if !metadata.is_file()
        || metadata.len() != digest.size()
        || metadata.permissions().mode() & 0o777 != mode
    {
        return false;
    }
    let Ok(mut file) = fs::File::open(to) else { return false };
    let mut hasher = Hasher::new(digest.function());
    io::copy(&mut file, &mut hasher).is_ok() && hasher.finish() == digest
}

fn make_parent(path: &Path) -> Result<(), CliError> {
    let parent = path.parent().expect("outputs lie below bld-out");
    fs::create_dir_all(parent).map_err(CliError::disk("create", parent))
}

fn remove(path: &Path) -> Result<(), CliError> {
    let removed = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(CliError::disk("remove", path)(error))
        }
        _ => Ok(()),
    }
}
