//! Results under `bld-out/`: copies, because a link into the store would let an editor change it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use engine::{Failure, Files as _, Goal, GoalOutcome, GoalStatus, Pattern, Plan, Report};
use model::{Digest, Directory, Hasher, Node, PathSegment, RelativePath, TreeDigest};
use store::LocalStore;

use crate::error::CliError;
use crate::made::Made;
use crate::results::{Results, remove};
use crate::workspace::OpenWorkspace;

/// Returns where an output of a goal is put.
pub(crate) fn place(workspace: &OpenWorkspace, goal: &Goal, path: &RelativePath) -> PathBuf {
    let path = goal.label.package.join(path);
    workspace.output().join(path)
}

/// Puts every goal's outputs, or its failure's log, in its place; what is there already stays, and what the same
/// goals made before and make no more goes, and what cells made that a target has no more. Returns for each goal how
/// many files it made; where two made the same, they are the first one's. Those of which `is_there` says so are in their
/// places, and not counted.
pub(crate) fn write(
    workspace: &OpenWorkspace,
    store: &LocalStore,
    plan: &Plan,
    report: &Report,
    patterns: &[Pattern],
    is_there: &dyn Fn(usize) -> bool,
) -> Result<Vec<u64>, CliError> {
    let taken = places(plan, report)?;
    // Builds in one workspace write one after the other: they may make the same files.
    let _alone = workspace.alone("writing")?;
    let results = Results::new(workspace.output());
    let before = Made::read(workspace);
    let mut made = before.clone();
    let mut gone = made.forget_others(plan, patterns);
    for (goal, outcome) in plan.goals.iter().zip(&report.goals) {
        if !matches!(outcome.status, GoalStatus::Skipped) {
            gone.extend(made.replace(name(goal), made_by(goal, outcome)));
        }
    }
    // What somebody else has made in the same place stays.
    gone.retain(|path| !taken.contains_key(path));
    for path in made.nobodys(gone) {
        results.remove(&path)?;
    }
    if made != before {
        made.write(workspace)?;
    }
    let copier = Copier { store, workspace, results, beside: workspace.notes().join("new") };
    let mut files = vec![0; plan.goals.len()];
    for (path, output) in taken.iter().filter(|(_, output)| !is_there(output.number)) {
        files[output.number] += copier.put(output.node, path)?;
    }
    write_failures(&copier.results, store, plan, report)?;
    Ok(files)
}

/// Something that belongs under `bld-out`.
struct Output<'a> {
    /// The number of the goal that makes it, and the goal.
    number: usize,
    goal: &'a Goal,
    node: &'a Node,
}

/// Returns what a goal is called.
fn name(goal: &Goal) -> String {
    format!("{}{}", goal.label, goal.cell)
}

/// Returns what stands where below `bld-out`.
fn places<'a>(
    plan: &'a Plan,
    report: &'a Report,
) -> Result<BTreeMap<RelativePath, Output<'a>>, CliError> {
    let mut taken: BTreeMap<RelativePath, Output<'a>> = BTreeMap::new();
    for (number, (goal, outcome)) in plan.goals.iter().zip(&report.goals).enumerate() {
        for (path, node) in &outcome.outputs {
            let path = goal.label.package.join(path);
            let output = taken.entry(path.clone()).or_insert(Output { number, goal, node });
            if output.node != node {
                return Err(collision(&path, output.goal, &path, goal));
            }
        }
    }
    for (path, output) in &taken {
        let above = std::iter::successors(path.split_last(), |(above, _)| above.split_last());
        let found = above.into_iter().find_map(|(above, _)| taken.get_key_value(&above));
        if let Some((above, other)) = found {
            return Err(collision(above, other.goal, path, output.goal));
        }
    }
    Ok(taken)
}

fn collision(path: &RelativePath, one: &Goal, other_path: &RelativePath, other: &Goal) -> CliError {
    let (one, other) = (name(one), name(other));
    let out = engine::OUTPUT_FOLDER;
    CliError::Collision(if path == other_path {
        format!("{one} and {other} both make {out}/{path}, and differently")
    } else {
        format!("{one} makes {out}/{path}, and {other} makes {out}/{other_path} inside it")
    })
}

/// Returns the paths below `bld-out` that a goal answers for now.
fn made_by(goal: &Goal, outcome: &GoalOutcome) -> BTreeSet<String> {
    let log = goal.failure_log.as_ref().filter(|_| outcome.status.failure().is_some());
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
    pub(crate) results: Option<(PathSegment, Node)>,
    /// The log: name and text.
    pub(crate) log: (PathSegment, String),
}

/// Puts what is kept of tests in its place; what lay there before goes.
pub(crate) fn write_kept(
    workspace: &OpenWorkspace,
    store: &LocalStore,
    all: &[Kept],
) -> Result<(), CliError> {
    let _alone = workspace.alone("writing")?;
    let mut made = Made::read(workspace);
    let results = Results::new(workspace.output());
    let copier = Copier { store, workspace, results, beside: workspace.notes().join("new") };
    for kept in all {
        // A build that makes the same target must not take this for something that it made.
        let owner = Made::test(&kept.owner);
        made.replace(owner.clone(), BTreeSet::from([kept.folder.to_string()]));
        if let Some(other) = made.other_at(&owner, &kept.folder) {
            let (out, folder) = (engine::OUTPUT_FOLDER, &kept.folder);
            let why = format!(
                "what is kept of {owner} belongs in {out}/{folder}, where {other} puts what it makes"
            );
            return Err(CliError::Collision(why));
        }
        copier.results.remove(&kept.folder)?;
        if let Some((name, node)) = &kept.results {
            copier.put(node, &kept.folder.child(name))?;
        }
        copier.results.write(&kept.folder.child(&kept.log.0), &kept.log.1)?;
    }
    made.write(workspace)
}

fn write_failures(
    results: &Results,
    store: &LocalStore,
    plan: &Plan,
    report: &Report,
) -> Result<(), CliError> {
    for (goal, outcome) in plan.goals.iter().zip(&report.goals) {
        let (Some(failure), Some(log)) = (outcome.status.failure(), &goal.failure_log) else {
            continue;
        };
        let text = failure_text(store, failure);
        let text = format!("{}: {}\n{text}", failure.owner, failure.kind);
        results.write(&goal.label.package.join(log), &text)?;
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
    workspace: &'a OpenWorkspace,
    results: Results,
    /// Where a file is until it is whole.
    beside: PathBuf,
}

impl Copier<'_> {
    /// Puts a file, link or tree at a path below `bld-out`; returns how many files that are.
    fn put(&self, node: &Node, path: &RelativePath) -> Result<u64, CliError> {
        match node {
            Node::File { digest, executable } => {
                self.put_file(*digest, *executable, path).map(|()| 1)
            }
            Node::Symlink(target) => self.put_link(target.as_str(), path).map(|()| 1),
            Node::Directory(tree) => self.put_tree(*tree, path),
        }
    }

    fn directory(&self, tree: TreeDigest) -> Result<Directory, CliError> {
        let missing = store::StoreError::Missing { digest: tree.0 };
        Ok(self.store.directory(tree)?.ok_or(missing)?)
    }

    /// Returns where something is, from the root of the workspace.
    fn seen_as(path: &RelativePath) -> RelativePath {
        RelativePath::new(engine::OUTPUT_FOLDER).expect("a constant").join(path)
    }

    fn put_link(&self, target: &str, path: &RelativePath) -> Result<(), CliError> {
        let at = self.workspace.output().join(path);
        let seen = || {
            let link = self.workspace.files.link(&Self::seen_as(path));
            link.map_err(CliError::disk("read", &at))
        };
        if seen()?.is_some_and(|found| found == target) {
            return Ok(());
        }
        let to = self.results.make_way(path)?;
        remove(&to)?;
        symlink(target, &to).map_err(CliError::disk("write", &to))?;
        seen().map(|_| ())
    }

    fn put_tree(&self, tree: TreeDigest, path: &RelativePath) -> Result<u64, CliError> {
        let directory = self.directory(tree)?;
        let to = &self.results.make_folder(path)?;
        for entry in fs::read_dir(to).map_err(CliError::disk("list", to))? {
            let entry = entry.map_err(CliError::disk("list", to))?;
            if directory.get(&entry.file_name().to_string_lossy()).is_none() {
                remove(&entry.path())?;
            }
        }
        let mut files = 0;
        for (name, node) in directory.children() {
            files += self.put(node, &path.child(name))?;
        }
        // Whatever else appears in it is to be noticed.
        self.workspace.files.list(&Self::seen_as(path))?;
        Ok(files)
    }

    fn put_file(
        &self,
        digest: Digest,
        executable: bool,
        path: &RelativePath,
    ) -> Result<(), CliError> {
        let mode = if executable { 0o755 } else { 0o644 };
        // What cannot be read is written anew.
        if self.workspace.files.file(&Self::seen_as(path)).ok().flatten() == Some((digest, mode)) {
            return Ok(());
        }
        let missing = || store::StoreError::Missing { digest };
        let mut from = self.store.open_blob(digest)?.ok_or_else(missing)?;
        let to = &self.results.make_way(path)?;
        if to.is_dir() {
            remove(to)?;
        }
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
        fs::rename(beside, to).map_err(CliError::disk("write", to))?;
        let noted = self.workspace.files.note_file(&Self::seen_as(path), digest, mode);
        noted.map_err(CliError::disk("read", to))
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
