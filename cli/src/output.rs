//! Results under `bld-out/`: copies, because a link into the store would let an editor change it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use engine::{Failure, Goal, GoalOutcome, GoalStatus, Plan, Report};
use model::{Digest, Hasher, Node, RelativePath, TreeDigest};
use store::LocalStore;

use crate::error::CliError;
use crate::made::Made;
use crate::workspace::OpenWorkspace;

/// Returns where an output of a goal is put.
pub(crate) fn place(workspace: &OpenWorkspace, goal: &Goal, path: &RelativePath) -> PathBuf {
    let path = goal.label.package.join(path);
    workspace.output().join(path)
}

/// Puts every goal's outputs, or its failure's log, in its place; what is there already stays, and what the same
/// goals made before and make no more goes. Returns how many files there are.
pub(crate) fn write(
    workspace: &OpenWorkspace,
    store: &LocalStore,
    plan: &Plan,
    report: &Report,
) -> Result<u64, CliError> {
    let taken = places(plan, report)?;
    // Builds in one workspace write one after the other: they may make the same files.
    let _alone = workspace.alone("writing")?;
    let before = Made::read(workspace);
    let mut made = before.clone();
    for (goal, outcome) in plan.goals.iter().zip(&report.goals) {
        if matches!(outcome.status, GoalStatus::Skipped) {
            continue;
        }
        let owner = format!("{}{}", goal.label, goal.cell);
        for gone in made.replace(owner, made_by(goal, outcome)) {
            if !taken.contains_key(&gone) {
                remove_below(&workspace.output(), &gone)?;
            }
        }
    }
    if made != before {
        made.write(workspace)?;
    }
    let copier = Copier { store, beside: workspace.notes().join("new") };
    let mut files = 0;
    for (path, (_, node)) in &taken {
        files += copier.put(node, &workspace.output().join(path))?;
    }
    write_failures(workspace, store, plan, report)?;
    Ok(files)
}

/// Returns what stands where below `bld-out`, and who made it.
fn places<'a>(
    plan: &'a Plan,
    report: &'a Report,
) -> Result<BTreeMap<RelativePath, (&'a Goal, &'a Node)>, CliError> {
    let mut taken: BTreeMap<RelativePath, (&Goal, &Node)> = BTreeMap::new();
    for (goal, outcome) in plan.goals.iter().zip(&report.goals) {
        for (path, node) in &outcome.outputs {
            let path = goal.label.package.join(path);
            match taken.insert(path.clone(), (goal, node)) {
                Some((other, other_node)) if other_node != node => {
                    return Err(collision(&path, other, &path, goal));
                }
                _ => {}
            }
        }
    }
    for (path, (goal, _)) in &taken {
        let above = std::iter::successors(path.split_last(), |(above, _)| above.split_last());
        let found = above.into_iter().find_map(|(above, _)| taken.get_key_value(&above));
        if let Some((above, (other, _))) = found {
            return Err(collision(above, other, path, goal));
        }
    }
    Ok(taken)
}

fn collision(path: &RelativePath, one: &Goal, other_path: &RelativePath, other: &Goal) -> CliError {
    let (one, other) =
        (format!("{}{}", one.label, one.cell), format!("{}{}", other.label, other.cell));
    let out = engine::OUTPUT_FOLDER;
    CliError::Collision(if path == other_path {
        format!("{one} and {other} both make {out}/{path}, and differently")
    } else {
        format!("{one} makes {out}/{path}, and {other} makes {out}/{other_path} inside it")
    })
}

/// Returns the paths below `bld-out` that a goal answers for now.
fn made_by(goal: &Goal, outcome: &GoalOutcome) -> BTreeSet<String> {
    let log = match (&outcome.status, &goal.failure_log) {
        (GoalStatus::Failed(_), Some(log)) => Some(log),
        _ => None,
    };
    let paths = outcome.outputs.iter().map(|(path, _)| path).chain(log);
    paths.map(|path| goal.label.package.join(path).to_string()).collect()
}

/// What is kept of a test.
pub(crate) struct Kept {
    /// Whose it is.
    pub(crate) owner: String,
    /// The folder below `bld-out` that holds nothing else.
    pub(crate) folder: RelativePath,
    /// What the test left, by name.
    pub(crate) results: Option<(String, Node)>,
    /// The log: name and text.
    pub(crate) log: (String, String),
}

/// Puts what is kept of tests in its place; what lay there before goes.
pub(crate) fn write_kept(
    workspace: &OpenWorkspace,
    store: &LocalStore,
    all: &[Kept],
) -> Result<(), CliError> {
    let _alone = workspace.alone("writing")?;
    let mut made = Made::read(workspace);
    let copier = Copier { store, beside: workspace.notes().join("new") };
    for kept in all {
        let folder = workspace.output().join(&kept.folder);
        // A build that makes the same target must not take this for something that it made.
        made.replace(
            format!("{} as a test", kept.owner),
            BTreeSet::from([kept.folder.to_string()]),
        );
        remove(&folder)?;
        fs::create_dir_all(&folder).map_err(CliError::disk("create", &folder))?;
        if let Some((name, node)) = &kept.results {
            copier.put(node, &folder.join(name))?;
        }
        let log = folder.join(&kept.log.0);
        fs::write(&log, &kept.log.1).map_err(CliError::disk("write", &log))?;
    }
    made.write(workspace)
}

fn write_failures(
    workspace: &OpenWorkspace,
    store: &LocalStore,
    plan: &Plan,
    report: &Report,
) -> Result<(), CliError> {
    for (goal, outcome) in plan.goals.iter().zip(&report.goals) {
        let (GoalStatus::Failed(failure), Some(log)) = (&outcome.status, &goal.failure_log) else {
            continue;
        };
        let to = place(workspace, goal, log);
        make_parent(&to)?;
        let text = failure_text(store, failure);
        let text = format!("{}: {}\n{text}", failure.owner, failure.kind);
        fs::write(&to, text).map_err(CliError::disk("write", &to))?;
    }
    Ok(())
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

/// Copies out of the store.
struct Copier<'a> {
    store: &'a LocalStore,
    /// Where a file is until it is whole.
    beside: PathBuf,
}

impl Copier<'_> {
    /// Puts a file, link or tree at `to`; returns how many files that are.
    fn put(&self, node: &Node, to: &Path) -> Result<u64, CliError> {
        match node {
            Node::File { digest, executable } => {
                self.put_file(*digest, *executable, to).map(|()| 1)
            }
            Node::Symlink(target) => {
                if fs::read_link(to).is_ok_and(|found| found.as_os_str() == target.as_str()) {
                    return Ok(1);
                }
                remove(to)?;
                make_parent(to)?;
                symlink(target.as_str(), to).map_err(CliError::disk("write", to))?;
                Ok(1)
            }
            Node::Directory(tree) => self.put_tree(*tree, to),
        }
    }

    fn put_tree(&self, tree: TreeDigest, to: &Path) -> Result<u64, CliError> {
        let missing = store::StoreError::Missing { digest: tree.0 };
        let directory = self.store.directory(tree)?.ok_or(missing)?;
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
            files += self.put(node, &to.join(name))?;
        }
        Ok(files)
    }

    fn put_file(&self, digest: Digest, executable: bool, to: &Path) -> Result<(), CliError> {
        let mode = if executable { 0o755 } else { 0o644 };
        if is_there(digest, mode, to) {
            return Ok(());
        }
        let missing = || store::StoreError::Missing { digest };
        let mut from = self.store.open_blob(digest)?.ok_or_else(missing)?;
        if to.is_dir() {
            remove(to)?;
        }
        make_parent(to)?;
        let beside = &self.beside;
        let mut file = fs::File::create(beside).map_err(CliError::disk("create", beside))?;
        let mut hasher = Hasher::new(digest.function());
        let copied = copy(&mut from, &mut file, &mut hasher);
        copied.map_err(CliError::disk("write", beside))?;
        drop(file);
        let found = hasher.finish();
        if found != digest {
            let source = store::StoreError::Mismatch { expected: digest, found };
            return Err(CliError::Damaged { path: to.to_owned(), source });
        }
        fs::set_permissions(beside, fs::Permissions::from_mode(mode))
            .map_err(CliError::disk("write", beside))?;
        fs::rename(beside, to).map_err(CliError::disk("write", to))
    }
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

/// Removes what lies at `path` below `root`, and the folders above it that this leaves empty.
fn remove_below(root: &Path, path: &RelativePath) -> Result<(), CliError> {
    remove(&root.join(path))?;
    let above = std::iter::successors(path.split_last(), |(above, _)| above.split_last());
    for (folder, _) in above {
        if folder.is_root() || fs::remove_dir(root.join(&folder)).is_err() {
            break;
        }
    }
    Ok(())
}
