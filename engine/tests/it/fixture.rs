//! Workspaces in memory, written as one text, and plans as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use engine::{
    Artifact, Config, FileKind, Files, FilesError, LockedMember, Node, Pattern, Plan, Workspace,
};
use expect_test::Expect;
use model::{Digest, DigestFunction, PathSegment, RelativePath, TreeDigest};

/// Rules that most fixtures can do with.
const LIBRARY: &str = r#"
FileInfo = provider(fields = {"file": "artifact"})

def _join(ctx):
    inputs = {"/src/" + path: artifact for path, artifact in ctx.attr.srcs.items()}
    for dep in ctx.attr.deps:
        inputs["/deps/" + dep.name + "".join(dep.cell.values())] = dep[FileInfo].file
    [made] = ctx.actions.run(
        arguments = ["join", ctx.attr.text],
        inputs = inputs,
        outputs = [ctx.attr.out],
        env = ctx.cell if ctx.attr.show_cell else {},
    )
    return [DefaultInfo(outputs = {ctx.name + "".join(ctx.cell.values()): made}), FileInfo(file = made)]

join = rule(
    implementation = _join,
    attrs = {
        "srcs": attr.source_list(),
        "deps": attr.label_list(providers = [FileInfo]),
        "text": attr.string(),
        "out": attr.string(default = "joined"),
        "show_cell": attr.bool(),
    },
)
"#;

/// The files of a workspace in memory.
#[derive(Clone, Default)]
pub(crate) struct MemoryFiles {
    files: BTreeMap<RelativePath, String>,
    /// Whether folders are listed in the wrong order.
    backwards: bool,
}

impl MemoryFiles {
    fn children(&self, folder: &RelativePath) -> BTreeSet<(PathSegment, FileKind)> {
        let child = |path: &RelativePath| {
            let below = path.strip_prefix(folder)?;
            let first = below.segments().next()?;
            let is_file = below.segments().count() == 1;
            Some((first, if is_file { FileKind::File } else { FileKind::Directory }))
        };
        self.files.keys().filter_map(child).collect()
    }
}

impl Files for MemoryFiles {
    fn read(&self, path: &RelativePath) -> Result<Option<String>, FilesError> {
        Ok(self.files.get(path).cloned())
    }

    fn list(&self, path: &RelativePath) -> Result<Vec<(PathSegment, FileKind)>, FilesError> {
        let mut listed: Vec<_> = self.children(path).into_iter().collect();
        if self.backwards {
            listed.reverse();
        }
        Ok(listed)
    }

    fn kind(&self, path: &RelativePath) -> Result<Option<FileKind>, FilesError> {
        if self.files.contains_key(path) {
            return Ok(Some(FileKind::File));
        }
        Ok((!self.children(path).is_empty()).then_some(FileKind::Directory))
    }
}

/// A workspace, and what there is besides its files.
#[derive(Clone, Default)]
pub(crate) struct Fixture {
    pub(crate) files: MemoryFiles,
    rules: BTreeMap<String, String>,
    config: String,
    chosen: Vec<(String, String)>,
    pub(crate) locked: BTreeMap<String, Vec<LockedMember>>,
}

impl Fixture {
    /// Parses `//- /path` lines, each with the text of that file below it; `@rules/…` is a file of the rule library.
    /// `/lib.bzl` is there unless the text has one of its own.
    pub(crate) fn new(text: &str) -> Self {
        let mut fixture = Self::default();
        fixture.add("/lib.bzl", LIBRARY);
        let parts = format!("\n{text}");
        for part in parts.split("\n//- ").skip(1) {
            let (path, text) = part.split_once('\n').unwrap_or((part, ""));
            fixture.add(path.trim(), text);
        }
        fixture
    }

    fn add(&mut self, path: &str, text: &str) {
        let text = format!("{}\n", text.trim_end_matches('\n'));
        if path == "/bld.toml" {
            self.config.clone_from(&text);
        }
        if let Some(path) = path.strip_prefix("@rules/") {
            self.rules.insert(path.to_owned(), text);
            return;
        }
        let path = RelativePath::new(path.trim_start_matches('/')).unwrap();
        self.files.files.insert(path, text);
    }

    /// The same, with folders listed in the wrong order.
    pub(crate) fn backwards(mut self) -> Self {
        self.files.backwards = true;
        self
    }

    /// The same, with the rule library of this project.
    pub(crate) fn with_rules(mut self) -> Self {
        for file in ["debian", "fetch", "files", "kernel", "sandbox"] {
            let text = std::fs::read_to_string(format!("../rules/{file}.bzl")).unwrap();
            self.rules.insert(format!("{file}.bzl"), text);
        }
        for script in ["kernel_module", "ebpf_probe"] {
            let text = format!("build a {script}\n");
            self.rules.insert(format!("scripts/{script}.sh"), text);
        }
        self
    }

    /// The same, with a setting chosen on the command line.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.chosen.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same, with something locked for a label: group, name, version.
    pub(crate) fn locking(mut self, label: &str, members: &[(&str, &str, &str)]) -> Self {
        let member = |(group, name, version): &(&str, &str, &str)| LockedMember {
            group: (*group).to_owned(),
            name: (*name).to_owned(),
            version: (*version).to_owned(),
            arch: "amd64".to_owned(),
            tree: TreeDigest(Digest::of(
                DigestFunction::Blake3,
                format!("{group} {name}").as_bytes(),
            )),
        };
        self.locked.insert(label.to_owned(), members.iter().map(member).collect());
        self
    }

    /// Returns the plan for the patterns, or what is wrong.
    pub(crate) fn plan(&self, patterns: &[&str]) -> Result<Plan, String> {
        let config = Config::parse(&self.config).map_err(|error| in_full(&error))?;
        let settings = config.choose(&self.chosen).map_err(|error| in_full(&error))?;
        let parse = |text: &&str| Pattern::parse(text, &RelativePath::root());
        let patterns: Result<Vec<_>, _> = patterns.iter().map(parse).collect();
        let patterns = patterns.map_err(|error| error.to_string())?;
        let plan = self.workspace(&config).plan(&patterns, &settings, &self.locked);
        plan.map_err(|error| error.to_string())
    }

    fn workspace<'a>(&'a self, config: &'a Config) -> Workspace<'a> {
        Workspace { files: &self.files, rules: &self.rules, rules_folder: config.rules.as_ref() }
    }

    /// Returns the targets as loading sees them.
    pub(crate) fn targets(&self) -> Vec<engine::TargetInfo> {
        self.workspace(&Config::parse(&self.config).unwrap()).targets().unwrap()
    }

    /// Returns what the workspace asks to be locked, or what is wrong.
    pub(crate) fn lock_requests(&self) -> String {
        let config = Config::parse(&self.config).unwrap();
        match self.workspace(&config).lock_requests() {
            Ok(requests) => requests
                .iter()
                .map(|it| format!("{} wants {}\n", it.label, it.wants))
                .collect::<Vec<_>>()
                .concat(),
            Err(error) => format!("{error}\n"),
        }
    }

    /// Returns the plan as text, or what is wrong.
    pub(crate) fn render(&self, patterns: &[&str]) -> String {
        match self.plan(patterns) {
            Ok(plan) => render(&plan),
            Err(error) => format!("{error}\n"),
        }
    }

    /// Returns only which goals a plan has.
    pub(crate) fn goals(&self, patterns: &[&str]) -> String {
        match self.plan(patterns) {
            Ok(plan) => plan
                .goals
                .iter()
                .map(|it| format!("{}{}\n", it.label, it.cell))
                .collect::<Vec<_>>()
                .concat(),
            Err(error) => format!("{error}\n"),
        }
    }
}

/// Checks the plan for a whole workspace, or what is wrong with it.
pub(crate) fn check(text: &str, expected: &Expect) {
    expected.assert_eq(&Fixture::new(text).render(&["//..."]));
}

/// Returns each case, and below it what is said of it.
pub(crate) fn each(cases: &[&str], said: impl Fn(&str) -> String) -> String {
    cases.iter().map(|case| format!("{case}\n    {}\n", said(case))).collect::<Vec<_>>().concat()
}

/// Returns an error with all its sources.
pub(crate) fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

fn render(plan: &Plan) -> String {
    let mut text = String::new();
    for id in 0..plan.graph.len() {
        writeln!(text, "{id} {}", node(plan.graph.node(id))).unwrap();
    }
    for goal in &plan.goals {
        write!(text, "{}{}", goal.label, goal.cell).unwrap();
        if goal.excluded {
            text.push_str(" excluded");
        }
        if goal.xfail {
            text.push_str(" xfail");
        }
        if let Some(reason) = &goal.unavailable {
            write!(text, " unavailable: {reason}").unwrap();
        }
        for (path, artifact) in &goal.outputs {
            write!(text, " {path}={}", name(artifact)).unwrap();
        }
        if let Some(log) = &goal.failure_log {
            write!(text, " log={log}").unwrap();
        }
        text.push('\n');
    }
    text
}

fn node(node: &Node) -> String {
    let placed = |entries: &[(RelativePath, Artifact)]| {
        entries.iter().map(|(at, it)| format!(" /{at}={}", name(it))).collect::<Vec<_>>().concat()
    };
    match node {
        Node::Source(path) => format!("source {path}"),
        Node::Locked(tree) => format!("locked {}", &tree.0.hex()[..8]),
        Node::Write { content, executable } => {
            format!("write {content:?}{}", if *executable { " executable" } else { "" })
        }
        Node::Tree(tree) => format!("tree{}", placed(&tree.entries)),
        Node::Run(run) => {
            let mut text = format!("run {} {:?}{}", run.owner, run.arguments, placed(&run.inputs));
            for output in &run.outputs {
                write!(text, " > {output}").unwrap();
            }
            for (name, value) in run.environment.iter() {
                write!(text, " {name}={value}").unwrap();
            }
            if let Some(timeout) = run.timeout {
                write!(text, " within {timeout:?}").unwrap();
            }
            text
        }
        Node::Builtin(it) => {
            let inputs: Vec<_> = it.inputs.iter().map(name).collect();
            format!("builtin {} {} [{}] {}", it.owner, it.name, inputs.join(" "), it.options)
        }
    }
}

fn name(artifact: &Artifact) -> String {
    let mut text = format!("#{}", artifact.node);
    for part in [&artifact.output, &artifact.below] {
        if !part.is_root() {
            write!(text, ":{part}").unwrap();
        }
    }
    text
}
