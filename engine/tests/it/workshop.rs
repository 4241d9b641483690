//! A workspace on disk, a store of its own, and an executor that only pretends.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use engine::{
    Build, BuildError, BuildOptions, Config, DiskFiles, Events, GoalStatus, Owner, Pattern, Plan,
    Ran, Report, Survey, Workspace,
};
use executor::{ExecuteError, Execution, Executor, Fate, Job, Limits, Rung};
use model::{
    ActionResult, Digest, DigestFunction, Node, OutputDirectory, OutputFile, RelativePath,
    TreeDigest,
};
use store::{Draft, Durability, LocalStore, Remote, StoreError, TreeSource};
use tempfile::TempDir;

/// The rules of these tests: a command is a verb that [`Pretender`] knows, and words.
const RULES: &str = r#"
FileInfo = provider(fields = {"file": "artifact"})

def _do(ctx):
    inputs = {"/src/" + path: artifact for path, artifact in ctx.attr.srcs.items()}
    for place, dep in ctx.attr.deps.items():
        inputs["/deps/" + place] = dep[FileInfo].file
    if ctx.attr.root:
        inputs["/"] = ctx.attr.root[FileInfo].file
    [made] = ctx.actions.run(
        arguments = [ctx.attr.verb] + ctx.attr.words + sorted(ctx.cell.values()),
        inputs = inputs,
        outputs = ["made"],
        role = ctx.attr.verb,
    )
    return [DefaultInfo(outputs = {ctx.name + "".join(sorted(ctx.cell.values())): made}), FileInfo(file = made)]

do = rule(
    implementation = _do,
    attrs = {
        "verb": attr.string(default = "join"),
        "words": attr.string_list(),
        "srcs": attr.source_list(),
        "deps": attr.label_dict(providers = [FileInfo]),
        "root": attr.label(providers = [FileInfo]),
    },
)

def _gather(ctx):
    tree = ctx.actions.tree({dep.name: dep[FileInfo].file for dep in ctx.attr.deps})
    return [DefaultInfo(outputs = {ctx.name: tree}), FileInfo(file = tree)]

def _check(ctx):
    inputs = {"/deps/" + dep.name: dep[FileInfo].file for dep in ctx.attr.deps}
    [made] = ctx.actions.run(
        arguments = [ctx.attr.verb] + ctx.attr.words,
        inputs = inputs,
        outputs = ["made"],
        role = "test",
        test = True,
    )
    return [TestInfo(results = made), FileInfo(file = made), DefaultInfo(outputs = {ctx.name: ctx.actions.write(ctx.name)})]

check = rule(
    implementation = _check,
    attrs = {
        "verb": attr.string(default = "join"),
        "words": attr.string_list(),
        "deps": attr.label_list(providers = [FileInfo]),
    },
    test = True,
)

gather = rule(implementation = _gather, attrs = {"deps": attr.label_list(providers = [FileInfo])})
"#;

/// Runs nothing: makes outputs by a function of the verb and what the inputs hold, as the store shows them.
///
/// `join` puts all input files into one, `strip` leaves lines out that begin with `#`, `tree` makes a folder of two
/// files, `copies` makes a folder that holds all inputs; `exit 3`, `kill 9`, `timeout`, `oom`, `nothing` and `device`
/// go wrong, `flaky 2` does until the second time that it is run since [`Workshop::ran`] was asked; `hang` never ends.
pub(crate) struct Pretender {
    store: Arc<LocalStore>,
    log: Arc<Mutex<Vec<String>>>,
    /// Called when a command begins, with its words.
    pub(crate) begins: Box<dyn Fn(&str) + Send + Sync>,
    /// Called when a command that hangs is ended.
    pub(crate) ended: Arc<dyn Fn() + Send + Sync>,
    /// How often a command yields before it makes anything; decides which finishes first.
    pub(crate) delay: Box<dyn Fn(&str) -> u32 + Send + Sync>,
    pub(crate) rung: Rung,
    /// Whether each run makes something else.
    pub(crate) changes: bool,
}

struct OnDrop(Arc<dyn Fn() + Send + Sync>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl Pretender {
    fn new(store: Arc<LocalStore>, log: Arc<Mutex<Vec<String>>>) -> Self {
        Self {
            store,
            log,
            begins: Box::new(|_| {}),
            ended: Arc::new(|| {}),
            delay: Box::new(|_| 0),
            rung: Rung::UserNamespace,
            changes: false,
        }
    }

    /// Returns all files below the input root, by path; trees are had as a real executor has them.
    async fn inputs(
        &self,
        root: TreeDigest,
        trees: &dyn TreeSource,
    ) -> Result<BTreeMap<String, String>, ExecuteError> {
        let mut found = BTreeMap::new();
        for (name, node) in self.store.directory(root)?.unwrap().children() {
            match node {
                Node::Directory(tree) => {
                    let path = RelativePath::from(name.clone());
                    let missing = ExecuteError::MissingInput { digest: tree.0, path };
                    let folder = trees.ensure(*tree).await?.ok_or(missing)?;
                    read_below(&folder, name.as_str(), &mut found);
                }
                Node::File { digest, .. } => {
                    let bytes = self.store.read_bytes(*digest)?.unwrap();
                    found.insert(name.to_string(), String::from_utf8(bytes.to_vec()).unwrap());
                }
                Node::Symlink(target) => {
                    found.insert(name.to_string(), format!("→ {target}\n"));
                }
            }
        }
        Ok(found)
    }

    fn file(&self, text: &str) -> Result<Node, ExecuteError> {
        let digest = self.store.ingest_bytes(text.as_bytes(), false)?;
        Ok(Node::File { digest, executable: false })
    }

    fn tree(&self, files: &BTreeMap<String, String>) -> Result<Node, ExecuteError> {
        let mut draft = Draft::new();
        for (path, text) in files {
            draft.add(&self.store, &RelativePath::new(path.as_str()).unwrap(), self.file(text)?)?;
        }
        Ok(Node::Directory(draft.finish(&self.store)?))
    }

    fn make(
        &self,
        words: &[String],
        inputs: &BTreeMap<String, String>,
    ) -> Result<Option<Node>, ExecuteError> {
        let mut joined: String = inputs.values().cloned().collect();
        if self.changes {
            joined += "something else";
        }
        let stripped = |text: &str| -> String {
            text.split_inclusive('\n').filter(|line| !line.starts_with('#')).collect()
        };
        Ok(match words[0].as_str() {
            "join" => Some(self.file(&format!("{}{joined}", words[1..].join(" ")))?),
            "flaky" => Some(self.file(&words.join(" "))?),
            "strip" => Some(self.file(&stripped(&joined))?),
            "tree" => Some(self.tree(&BTreeMap::from([
                ("one".to_owned(), stripped(&joined)),
                ("sub/two".to_owned(), words[1..].join(" ")),
            ]))?),
            "copies" => {
                let copy =
                    |(path, text): (&String, &String)| (format!("copy/{path}"), text.clone());
                Some(self.tree(&inputs.iter().map(copy).collect())?)
            }
            "device" => {
                let path = "out/made".to_owned();
                return Err(ExecuteError::Output { path, why: "is a device" });
            }
            _ => None,
        })
    }
}

fn read_below(folder: &Path, name: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{name}/{}", entry.file_name().to_str().unwrap());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            read_below(&entry.path(), &name, found);
        } else if kind.is_symlink() {
            let target = fs::read_link(entry.path()).unwrap();
            found.insert(name, format!("→ {}\n", target.display()));
        } else {
            found.insert(name, fs::read_to_string(entry.path()).unwrap());
        }
    }
}

#[async_trait]
impl Executor for Pretender {
    async fn execute(
        &self,
        job: Job<'_>,
        trees: &dyn TreeSource,
    ) -> Result<Execution, ExecuteError> {
        let words = &job.command.arguments;
        let said = words.join(" ");
        self.log.lock().unwrap().push(said.clone());
        (self.begins)(&said);
        if words[0] == "hang" {
            let _guard = OnDrop(Arc::clone(&self.ended));
            std::future::pending::<()>().await;
        }
        for _ in 0..(self.delay)(&said) {
            tokio::task::yield_now().await;
        }
        let inputs = self.inputs(job.action.input_root, trees).await?;
        let number = || words[1].parse::<i32>().unwrap();
        let log = Arc::clone(&self.log);
        let times = || log.lock().unwrap().iter().filter(|it| **it == said).count();
        let (exit_code, fate) = match words[0].as_str() {
            "exit" => (number(), Fate::Exited),
            "kill" => (128 + number(), Fate::Signalled(number())),
            "timeout" => (137, Fate::TimedOut),
            "oom" => (137, Fate::OutOfMemory),
            "flaky" => (i32::from(times() < words[1].parse().unwrap()), Fate::Exited),
            _ => (0, Fate::Exited),
        };
        let mut result = ActionResult { exit_code, ..ActionResult::default() };
        result.stderr =
            Some(self.store.ingest_bytes(format!("log of {said}\n").as_bytes(), false)?);
        let path = job.command.output_paths[0].clone();
        match self.make(words, &inputs)? {
            Some(Node::File { digest, executable }) => {
                result.files.push(OutputFile { path, digest, executable });
            }
            Some(Node::Directory(root)) => {
                result.directories.push(OutputDirectory { path, tree: root.0, root });
            }
            Some(Node::Symlink(_)) | None => {}
        }
        Ok(Execution { result, fate, rung: self.rung })
    }
}

struct Silent;

impl Events for Silent {
    fn started(&self, _: &Owner) {}
    fn finished(&self, _: &Ran) {}
    fn hit(&self, _: &Ran) {}
}

/// A workspace on disk, and a store.
pub(crate) struct Workshop {
    folder: TempDir,
    pub(crate) store: Arc<LocalStore>,
    pub(crate) log: Arc<Mutex<Vec<String>>>,
    pub(crate) options: BuildOptions,
    /// What others made is had from there.
    pub(crate) remote: Option<Arc<dyn Remote>>,
}

impl Workshop {
    /// Returns a workspace of these files, in the form of [`crate::fixture::Fixture`].
    pub(crate) fn new(text: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let store = open_store(&folder.path().join("store"));
        let options = BuildOptions {
            jobs: 4,
            fail_fast: false,
            retry_failed: false,
            limits: Limits::default(),
            tests: engine::TestOptions::default(),
        };
        let workshop = Self { folder, store, log: Arc::default(), options, remote: None };
        workshop.write("rules.bzl", RULES);
        for part in format!("\n{text}").split("\n//- /").skip(1) {
            let (path, text) = part.split_once('\n').unwrap_or((part, ""));
            workshop.write(path.trim(), &format!("{}\n", text.trim_end_matches('\n')));
        }
        workshop
    }

    /// Returns where a file of the workspace is.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("workspace").join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn link(&self, path: &str, target: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    }

    /// The same workspace and store, as another process has them.
    pub(crate) fn neighbour(&self) -> Arc<LocalStore> {
        open_store(&self.folder.path().join("store"))
    }

    pub(crate) fn plan(&self, patterns: &[&str]) -> Result<Plan, String> {
        let files = DiskFiles::new(self.path(""));
        let rules = BTreeMap::new();
        let workspace = Workspace { files: &files, rules: &rules, rules_folder: None };
        let parse = |text: &&str| Pattern::parse(text, &RelativePath::root()).unwrap();
        let patterns: Vec<_> = patterns.iter().map(parse).collect();
        let settings = Config::parse("").unwrap().choose(&[]).unwrap();
        let plan = workspace.plan(&patterns, &settings, &BTreeMap::new());
        plan.map_err(|error| error.to_string())
    }

    /// Says what a build of everything would do: with a store of its own, as another process.
    pub(crate) fn survey(&self) -> (Plan, Survey) {
        let plan = self.plan(&["//..."]).unwrap();
        let files = DiskFiles::new(self.path(""));
        let survey =
            engine::survey(&self.neighbour(), &files, &plan, self.options.retry_failed).unwrap();
        (plan, survey)
    }

    pub(crate) fn pretender(&self, store: &Arc<LocalStore>) -> Pretender {
        Pretender::new(Arc::clone(store), Arc::clone(&self.log))
    }

    /// Returns a build of everything.
    pub(crate) fn prepare(&self, store: &Arc<LocalStore>, pretender: Pretender) -> Arc<Build> {
        self.prepare_plan(store, pretender, self.plan(&["//..."]).unwrap())
    }

    /// Returns a build of everything by a machine that asks no remote.
    pub(crate) fn prepare_alone(&self, store: &Arc<LocalStore>) -> Arc<Build> {
        let pretender = self.pretender(store);
        self.prepare_parts(store, pretender, self.plan(&["//..."]).unwrap(), None)
    }

    /// Runs every test, and builds nothing but what they need.
    pub(crate) async fn test(&self) -> Report {
        let plan = self.plan(&["//..."]).unwrap().tests();
        let pretender = self.pretender(&self.store);
        self.prepare_plan(&self.store, pretender, plan).run().await.unwrap()
    }

    fn prepare_plan(
        &self,
        store: &Arc<LocalStore>,
        pretender: Pretender,
        plan: Plan,
    ) -> Arc<Build> {
        self.prepare_parts(store, pretender, plan, self.remote.clone())
    }

    fn prepare_parts(
        &self,
        store: &Arc<LocalStore>,
        pretender: Pretender,
        plan: Plan,
        remote: Option<Arc<dyn Remote>>,
    ) -> Arc<Build> {
        Build::new(
            Arc::clone(store),
            Arc::new(pretender),
            remote,
            Arc::new(Nowhere),
            DiskFiles::new(self.path("")),
            Arc::new(plan),
            self.options,
            Arc::new(Silent),
        )
    }

    /// Builds everything.
    pub(crate) async fn build(&self) -> Report {
        self.try_build().await.unwrap()
    }

    pub(crate) async fn try_build(&self) -> Result<Report, Arc<BuildError>> {
        self.build_with(self.pretender(&self.store)).await
    }

    pub(crate) async fn build_with(&self, pretender: Pretender) -> Result<Report, Arc<BuildError>> {
        self.prepare(&self.store, pretender).run().await
    }

    /// Returns which commands ran since this was last asked, sorted.
    pub(crate) fn ran(&self) -> Vec<String> {
        let mut ran = std::mem::take(&mut *self.log.lock().unwrap());
        ran.sort();
        ran
    }

    /// Returns the text of the only output of the goal of that name.
    pub(crate) fn output(&self, report: &Report, name: &str) -> String {
        let all = report.goals.iter().flat_map(|goal| &goal.outputs);
        let (_, node) = all.clone().find(|(path, _)| path.as_str() == name).unwrap();
        let digest = match node {
            Node::File { digest, .. } => Some(*digest),
            Node::Directory(_) | Node::Symlink(_) => None,
        };
        let bytes = self.store.read_bytes(digest.unwrap()).unwrap().unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    /// Takes blobs out of the store whose bytes `chosen` says, and every tree that has been made, as if they had
    /// been collected; returns how many blobs went.
    pub(crate) fn lose(&self, chosen: impl Fn(&[u8]) -> bool) -> usize {
        let mut lost = 0;
        for path in files_below(&self.store.root().join("blobs")) {
            if chosen(&fs::read(&path).unwrap()) {
                fs::remove_file(&path).unwrap();
                lost += 1;
            }
        }
        let trees = self.store.root().join("trees");
        let aside =
            self.folder.path().join(format!("lost-{}", files_below(self.folder.path()).len()));
        fs::rename(&trees, aside).unwrap();
        fs::create_dir(trees).unwrap();
        lost
    }
}

fn open_store(root: &Path) -> Arc<LocalStore> {
    Arc::new(LocalStore::open_with(root, DigestFunction::Blake3, Durability::Lazy).unwrap())
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_below(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

/// An outside world that has nothing.
struct Nowhere;

#[async_trait]
impl TreeSource for Nowhere {
    async fn ensure(&self, _: TreeDigest) -> Result<Option<PathBuf>, StoreError> {
        Ok(None)
    }
}

/// Returns how each goal ended, a line for each.
pub(crate) fn endings(workshop: &Workshop, report: &Report) -> String {
    let plan = workshop.plan(&["//..."]).unwrap();
    let line = |(goal, outcome): (&engine::Goal, &engine::GoalOutcome)| {
        let ending = match &outcome.status {
            GoalStatus::Built => "built".to_owned(),
            GoalStatus::Cached => "cached".to_owned(),
            GoalStatus::Excluded => "excluded".to_owned(),
            GoalStatus::Skipped => "skipped".to_owned(),
            GoalStatus::UnexpectedPass => "xpass".to_owned(),
            GoalStatus::Unavailable(reason) => format!("unavailable: {reason}"),
            GoalStatus::Failed(failure) | GoalStatus::ExpectedFailure(failure) => {
                let again = if failure.remembered { ", remembered" } else { "" };
                let expected = matches!(outcome.status, GoalStatus::ExpectedFailure(_));
                let name = if expected { "xfail" } else { "failed" };
                format!("{name}: {} {}{again}", failure.owner, failure.kind)
            }
        };
        format!("{}{} {ending}\n", goal.label, goal.cell)
    };
    plan.goals.iter().zip(&report.goals).map(line).collect()
}

/// Returns the digests of all actions, by who wanted them.
pub(crate) fn digests(report: &Report) -> BTreeMap<String, Digest> {
    report.ran.iter().map(|ran| (ran.owner.to_string(), ran.action.0)).collect()
}
