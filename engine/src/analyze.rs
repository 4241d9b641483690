//! Analysis: from targets and cells to a plain graph of actions.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::rc::Rc;
use std::sync::Arc;

use model::{RelativePath, TreeDigest};
use starlark::environment::Module;
use starlark::eval::Evaluator;
use starlark::values::list::ListRef;
use starlark::values::{Value, ValueLike as _};

use crate::cell::{Cell, CellPattern};
use crate::diagnostic::{Diagnostic, suggest};
use crate::disk::{NOTES_FOLDER, refuse_result};
use crate::graph::{Artifact, Graph, Node, Owner, first_nested};
use crate::label::{Label, Pattern, Targets, split_cell};
use crate::lang::attr::{Attr, AttrKind, is_label};
use crate::lang::context::Context;
use crate::lang::data::{Data, Instance};
use crate::lang::dep::Dep;
use crate::lang::globals::{AXIS_INFO, DEFAULT_INFO, TEST_INFO, UNAVAILABLE_INFO, default_info};
use crate::lang::provider::{InstanceValue, ProviderId};
use crate::lang::rule::{Axis, Target, check_values};
use crate::lang::session::Session;
use crate::load::{Loader, Workspace};
use crate::plan::{Goal, Plan, TestResults};

/// How many cells one target may have: the matrices that people ship have tens of thousands.
const CELLS_MAX: usize = 1_000_000;

/// How long a chain of targets that depend on each other may be: each link takes some of the stack.
const DEPENDENCY_DEPTH_MAX: usize = 1000;

/// The stack that loading and analysis have: several times what the deepest chains take, without optimisation too.
/// Only what is touched is ever in memory.
const STACK_BYTES: usize = 128 << 20;

/// The axes of a target, by name.
type Axes = BTreeMap<String, Values>;

/// The values of an axis, in order, and for looking one up.
#[derive(Debug)]
struct Values {
    ordered: Vec<String>,
    known: BTreeSet<String>,
}

impl From<Vec<String>> for Values {
    fn from(ordered: Vec<String>) -> Self {
        let known = ordered.iter().cloned().collect();
        Self { ordered, known }
    }
}

/// Which of an axis' values are wanted.
enum Wanted<'a> {
    All,
    One(&'a str),
    Matching(&'a CellPattern),
}

/// Returns the cells that have one of the wanted values on each axis, in order.
fn cells_among<'a>(axes: &Axes, wanted: impl Fn(&str) -> Wanted<'a>) -> Vec<Cell> {
    let mut cells = vec![Cell::default()];
    for (axis, values) in axes {
        let chosen: Vec<&String> = match wanted(axis) {
            Wanted::All => values.ordered.iter().collect(),
            Wanted::One(value) => values.known.get(value).into_iter().collect(),
            Wanted::Matching(pattern) => {
                values.ordered.iter().filter(|value| pattern.allows(axis, value)).collect()
            }
        };
        let with = |cell: &Cell, value: &String| {
            let mut cell = cell.clone();
            cell.0.insert(axis.clone(), value.clone());
            cell
        };
        cells =
            cells.iter().flat_map(|cell| chosen.iter().map(|value| with(cell, value))).collect();
    }
    cells
}

/// Something that a target asks to be locked; what it means, only `fetch` knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockRequest {
    /// The target that asks.
    pub label: String,
    /// The kind of request, and what its attributes say.
    pub wants: serde_json::Value,
}

/// Something that the lock pins for a target. To the engine a locked tree is only a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedMember {
    /// What it belongs to: a kernel's release, or `-`.
    pub group: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub arch: String,
    /// The digest of its unpacked tree.
    pub tree: TreeDigest,
}

impl Workspace<'_> {
    /// Returns what the targets of the whole workspace ask to be locked.
    pub fn lock_requests(&self) -> Result<Vec<LockRequest>, Diagnostic> {
        with_stack(|| lock_requests(&Loader::new(*self)))
    }

    /// Returns the plan for what the patterns stand for. `locked` says what the lock pins for each label.
    pub fn plan(
        &self,
        patterns: &[Pattern],
        settings: &BTreeMap<String, String>,
        locked: &BTreeMap<String, Vec<LockedMember>>,
    ) -> Result<Plan, Diagnostic> {
        with_stack(|| plan(&Loader::new(*self), patterns, settings, locked))
    }

    /// Like [`Workspace::plan`], but loads the workspace only once: `lock` is told what its targets ask to be locked,
    /// and returns what is.
    pub fn plan_locking<E: From<Diagnostic> + Send>(
        &self,
        patterns: &[Pattern],
        settings: &BTreeMap<String, String>,
        lock: impl FnOnce(Vec<LockRequest>) -> Result<BTreeMap<String, Vec<LockedMember>>, E> + Send,
    ) -> Result<Plan, E> {
        with_stack(|| {
            let loader = Loader::new(*self);
            let locked = lock(lock_requests(&loader)?)?;
            let plan = plan(&loader, patterns, settings, &locked)?;
            let manual = loader.everything()?.into_iter().filter(|target| target.is_manual());
            Ok(Plan { manual: manual.map(|target| target.label.clone()).collect(), ..plan })
        })
    }
}

fn lock_requests(loader: &Loader<'_>) -> Result<Vec<LockRequest>, Diagnostic> {
    let targets = loader.everything()?;
    targets.iter().filter_map(|target| lock_request(target).transpose()).collect()
}

fn plan(
    loader: &Loader<'_>,
    patterns: &[Pattern],
    settings: &BTreeMap<String, String>,
    locked: &BTreeMap<String, Vec<LockedMember>>,
) -> Result<Plan, Diagnostic> {
    let analyzer = Analyzer::new(loader, settings, locked);
    let mut goals = BTreeMap::new();
    for pattern in patterns {
        analyzer.add_goals(pattern, &mut goals)?;
    }
    let goals = goals.into_values().flat_map(BTreeMap::into_values).collect();
    Ok(Plan { graph: Arc::new(analyzer.graph.into_inner()), goals, ..Plan::default() })
}

/// Calls `work` where the stack is large enough, whoever asks for it.
pub(crate) fn with_stack<T: Send, E: From<Diagnostic> + Send>(
    work: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        let thread = thread.map_err(|error| Diagnostic::new(format!("cannot begin: {error}")))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn lock_request(target: &Target) -> Result<Option<LockRequest>, Diagnostic> {
    let Some((kind, attrs)) = &target.rule.lock else { return Ok(None) };
    let mut fields = serde_json::Map::new();
    for name in attrs {
        let value = target.attrs[name].to_json().ok_or_else(|| {
            let why = format!(
                "`{name}` of {} says what is locked, so it cannot be a select",
                target.label
            );
            Diagnostic::at(&target.place, why)
        })?;
        fields.insert(name.clone(), value);
    }
    let wants = serde_json::Map::from_iter([(kind.clone(), fields.into())]);
    Ok(Some(LockRequest { label: target.label.to_string(), wants: wants.into() }))
}

pub(crate) struct Analyzer<'l, 'a> {
    loader: &'l Loader<'a>,
    settings: &'l BTreeMap<String, String>,
    locked: &'l BTreeMap<String, Vec<LockedMember>>,
    graph: RefCell<Graph>,
    /// What is analysed, by label and cell as text: one comparison each, where there are a hundred thousand.
    done: RefCell<BTreeMap<String, Arc<Dep>>>,
    axes: RefCell<BTreeMap<Label, Rc<Axes>>>,
    chain: RefCell<Vec<String>>,
}

impl<'l, 'a> Analyzer<'l, 'a> {
    pub(crate) fn new(
        loader: &'l Loader<'a>,
        settings: &'l BTreeMap<String, String>,
        locked: &'l BTreeMap<String, Vec<LockedMember>>,
    ) -> Self {
        Self {
            loader,
            settings,
            locked,
            graph: RefCell::default(),
            done: RefCell::default(),
            axes: RefCell::default(),
            chain: RefCell::default(),
        }
    }

    /// Returns the axes of a target with all their values, in order.
    pub(crate) fn axes_by_name(
        &self,
        target: &Target,
    ) -> Result<BTreeMap<String, Vec<String>>, Diagnostic> {
        let axes = self.axes_of(target)?;
        Ok(axes.iter().map(|(axis, values)| (axis.clone(), values.ordered.clone())).collect())
    }
}

impl Analyzer<'_, '_> {
    fn add_goals(
        &self,
        pattern: &Pattern,
        goals: &mut BTreeMap<Label, BTreeMap<Arc<Cell>, Goal>>,
    ) -> Result<(), Diagnostic> {
        let mut targets = self.loader.targets(&pattern.targets)?;
        let chosen_axes: Vec<&String> = pattern.cells.axes().collect();
        // Of many targets, those are meant that have the axes.
        let lacking = |target: &Target| {
            chosen_axes.iter().copied().find(|axis| !target.matrix.contains_key(*axis))
        };
        if let (Targets::One(label), [target]) = (&pattern.targets, targets.as_slice())
            && let Some(axis) = lacking(target)
        {
            return Err(Diagnostic::new(no_axis(label, axis, target)));
        }
        targets.retain(|target| lacking(target).is_none());
        let mut matched = pattern.cells.is_all();
        for target in &targets {
            let axes = self.axes_of(target)?;
            let goals = goals.entry(target.label.clone()).or_default();
            for cell in cells_among(&axes, |_| Wanted::Matching(&pattern.cells)) {
                matched = true;
                if let Entry::Vacant(vacant) = goals.entry(Arc::new(cell)) {
                    let goal = self.goal(target, vacant.key())?;
                    vacant.insert(goal);
                }
            }
        }
        if matched {
            return Ok(());
        }
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for target in &targets {
            for (axis, found) in self.axes_by_name(target)? {
                values.entry(axis).or_default().extend(found);
            }
        }
        let (targets, cells) = (&pattern.targets, &pattern.cells);
        let suggestion = cells.suggest(&values);
        Err(Diagnostic::new(format!("no cell of {targets} matches {cells}{suggestion}")))
    }

    fn goal(&self, target: &Target, cell: &Arc<Cell>) -> Result<Goal, Diagnostic> {
        let excluded = is_excluded(target, cell);
        let mut goal = Goal {
            label: target.label.clone(),
            cell: Arc::clone(cell),
            excluded,
            xfail: target.xfail.iter().any(|pattern| pattern.matches(cell)),
            unavailable: None,
            outputs: Vec::new(),
            failure_log: None,
            is_test: target.rule.test,
            results: None,
        };
        if excluded {
            return Ok(goal);
        }
        let dep = self.analyze(target, cell)?;
        goal.unavailable = dep.unavailable().map(Arc::from);
        goal.outputs = outputs_of(&dep).map_err(|why| Diagnostic::at(&target.place, why))?;
        if target.rule.test {
            goal.results = Some(self.results_of(target, &dep)?);
        }
        let info = dep.provider_named(DEFAULT_INFO);
        let log = info.and_then(|info| info.field("failure_log")?.as_str()).unwrap_or_default();
        if !log.is_empty() {
            let log = failure_log(log, &target.label.package, &goal.outputs);
            goal.failure_log = Some(log.map_err(|error| {
                let why = format!("the `failure_log` of {}: {error}", target.label);
                Diagnostic::at(&target.place, why)
            })?);
        }
        Ok(goal)
    }

    /// Returns what a test leaves; its rule must have declared the action that is the test.
    fn results_of(&self, target: &Target, dep: &Dep) -> Result<TestResults, Diagnostic> {
        let refuse =
            |why: &str| Diagnostic::at(&target.place, format!("the test {} {why}", target.label));
        let info = dep.provider_named(TEST_INFO);
        let info = info.ok_or_else(|| refuse("does not provide TestInfo"))?;
        let artifact = |name: &str| match info.field(name) {
            Some(Data::Artifact(artifact)) => Some(artifact.clone()),
            _ => None,
        };
        let results = artifact("results").ok_or_else(|| refuse("has no results"))?;
        let is_test = match self.graph.borrow().node(results.node) {
            Node::Run(run) => run.test,
            Node::Source(_)
            | Node::Locked(_)
            | Node::Write { .. }
            | Node::Tree(_)
            | Node::Builtin(_) => false,
        };
        if !is_test {
            return Err(refuse(
                "has results that no test makes: ctx.actions.run(…, test = True) does",
            ));
        }
        Ok(TestResults { results, coverage: artifact("coverage") })
    }

    /// Returns the axes of a target with all their values.
    fn axes_of(&self, target: &Target) -> Result<Rc<Axes>, Diagnostic> {
        if let Some(known) = self.axes.borrow().get(&target.label) {
            return Ok(Rc::clone(known));
        }
        let mut axes = Axes::new();
        let mut cells = 1_usize;
        for (axis, source) in &target.matrix {
            let values = match source {
                Axis::Values(values) => values.clone(),
                Axis::Target(label) => self.axis_values(target, axis, label)?,
            };
            cells = cells.saturating_mul(values.len());
            axes.insert(axis.clone(), values.into());
        }
        if cells > CELLS_MAX {
            let why = format!("{} has more than {CELLS_MAX} cells", target.label);
            return Err(Diagnostic::at(&target.place, why));
        }
        let axes = Rc::new(axes);
        self.axes.borrow_mut().insert(target.label.clone(), Rc::clone(&axes));
        Ok(axes)
    }

    fn axis_values(
        &self,
        target: &Target,
        axis: &str,
        label: &Label,
    ) -> Result<Vec<String>, Diagnostic> {
        let refuse = |why: String| {
            Diagnostic::at(&target.place, format!("the axis `{axis}` of {}: {why}", target.label))
        };
        // A mistake in the package of the other target is shown there.
        let source = self.loader.target(label);
        let source = source
            .map_err(|error| if error.place.is_some() { error } else { refuse(error.message) })?;
        if !source.matrix.is_empty() {
            return Err(refuse(format!("{label} has a matrix itself")));
        }
        let dep = self.analyze(&source, &Arc::default())?;
        if let Some(reason) = dep.unavailable() {
            return Err(refuse(format!("{label} is unavailable: {reason}")));
        }
        let info = dep.provider_named(AXIS_INFO);
        let info = info.ok_or_else(|| refuse(format!("{label} does not provide {AXIS_INFO}")))?;
        let Some(Data::List(values)) = info.field("values") else {
            return Err(refuse(format!("the values of {label} are not a list")));
        };
        let values: Option<Vec<String>> =
            values.iter().map(|value| value.as_str().map(str::to_owned)).collect();
        let values =
            values.ok_or_else(|| refuse(format!("the values of {label} are not texts")))?;
        check_values(&values).map_err(|why| refuse(format!("{label}: {why}")))?;
        Ok(values)
    }

    /// Returns a target analysed in a cell; each pair only once.
    fn analyze(&self, target: &Target, cell: &Arc<Cell>) -> Result<Arc<Dep>, Diagnostic> {
        let key = format!("{}{cell}", target.label);
        if let Some(known) = self.done.borrow().get(&key) {
            return Ok(Arc::clone(known));
        }
        self.check_chain(target, &key)?;
        self.chain.borrow_mut().push(key.clone());
        let dep = self.analyze_new(target, cell);
        self.chain.borrow_mut().pop();
        let dep = Arc::new(dep?);
        self.done.borrow_mut().insert(key, Arc::clone(&dep));
        Ok(dep)
    }

    fn check_chain(&self, target: &Target, key: &str) -> Result<(), Diagnostic> {
        let chain = self.chain.borrow();
        if let Some(from) = chain.iter().position(|link| link == key) {
            let cycle = chain[from..].join(" → ");
            let why = format!("targets depend on each other: {cycle} → {key}");
            return Err(Diagnostic::at(&target.place, why));
        }
        if chain.len() >= DEPENDENCY_DEPTH_MAX {
            let why = format!(
                "{key} is more than {DEPENDENCY_DEPTH_MAX} dependencies away from {}",
                chain[0]
            );
            return Err(Diagnostic::at(&target.place, why));
        }
        Ok(())
    }

    fn analyze_new(&self, target: &Target, cell: &Arc<Cell>) -> Result<Dep, Diagnostic> {
        let mut attrs = Vec::new();
        for (name, attr) in &target.rule.schema {
            let value = self
                .resolve(target, cell, attr, &target.attrs[name])
                .map_err(|error| in_attribute(target, name, error))?;
            if let Some(lacking) = unavailable_in(&value) {
                return Ok(unavailable_like(lacking, target, cell));
            }
            attrs.push((name.clone(), value));
        }
        let context = Context {
            label: target.label.clone(),
            cell: Arc::clone(cell),
            attrs,
            locked: self.locked_members(target)?,
            settings: self.settings.clone(),
        };
        let owner =
            Owner { label: target.label.clone(), cell: Arc::clone(cell), role: String::new() };
        let instances = self.call(target, &context, owner)?;
        let dep = Dep { label: target.label.clone(), cell: Arc::clone(cell), instances };
        outputs_of(&dep).map_err(|why| {
            Diagnostic::at(&target.place, format!("what {} makes: {why}", target.label))
        })?;
        Ok(dep)
    }

    fn locked_members(&self, target: &Target) -> Result<Vec<Data>, Diagnostic> {
        if target.rule.lock.is_none() {
            return Ok(Vec::new());
        }
        let label = target.label.to_string();
        let members = self.locked.get(&label).ok_or_else(|| {
            Diagnostic::at(
                &target.place,
                format!("bld.lock pins nothing for {label}: run `bld lock`"),
            )
        })?;
        let member = |member: &LockedMember| {
            let mut graph = self.graph.borrow_mut();
            let artifact = graph.locked(member.tree, &member.name, &member.version);
            let text = |text: &str| Data::String(text.to_owned());
            Data::Struct(vec![
                ("group".to_owned(), text(&member.group)),
                ("name".to_owned(), text(&member.name)),
                ("version".to_owned(), text(&member.version)),
                ("arch".to_owned(), text(&member.arch)),
                ("tree".to_owned(), Data::Artifact(artifact)),
            ])
        };
        Ok(members.iter().map(member).collect())
    }

    /// Calls the rule's implementation in a heap of its own, of which only plain values leave.
    fn call(
        &self,
        target: &Target,
        context: &Context,
        owner: Owner,
    ) -> Result<Vec<Arc<Instance>>, Diagnostic> {
        let rule = &target.rule;
        let module = self.loader.module(&rule.file);
        let module = module.expect("a rule's file is loaded before its targets are declared");
        let (function, _) = module
            .get_any_visibility(&rule.implementation)
            .expect("a rule put its implementation there");
        let graph = RefCell::new(self.graph.take());
        graph.borrow_mut().note_rule(&target.label, rule.name());
        let first = graph.borrow().len();
        let session = Session::Analysis { graph, owner, first };
        let returned = Module::with_temp_heap(|module| {
            let mut eval = Evaluator::new(&module);
            self.loader.set_bounds(&mut eval)?;
            eval.extra = Some(&session);
            let context = context.to_value(module.heap());
            let function = module.heap().access_owned_frozen_value(&function);
            let returned = eval.eval_function(function, &[context], &[])?;
            instances(returned).map_err(|why| {
                Diagnostic::new(format!("the implementation of {} {why}", rule.name()))
            })
        });
        let Session::Analysis { graph, .. } = session else {
            unreachable!("the session was made as one of analysis");
        };
        self.graph.replace(graph.into_inner());
        returned.map_err(|error| in_target(target, error))
    }

    /// Returns the value that an attribute has in a cell: selects chosen, labels analysed, files found.
    fn resolve(
        &self,
        target: &Target,
        cell: &Cell,
        attr: &Attr,
        value: &Data,
    ) -> Result<Data, Diagnostic> {
        if let Data::Select(select) = value {
            let chosen = select.choose(cell, self.settings).map_err(Diagnostic::new)?;
            return self.resolve(target, cell, attr, chosen);
        }
        let here = &target.label.package;
        match (&attr.kind, value) {
            (AttrKind::Source, Data::String(text)) => {
                let found = match self.sources(here, cell, text)? {
                    Sources::Found(found) => found,
                    Sources::Unavailable(dep) => return Ok(Data::Dep(dep)),
                };
                let [(_, artifact)] = found.as_slice() else {
                    let why = format!("`{text}` makes {} files, but one is wanted", found.len());
                    return Err(Diagnostic::new(why));
                };
                Ok(Data::Artifact(artifact.clone()))
            }
            (AttrKind::SourceList, Data::List(items)) => self.source_list(here, cell, items),
            (AttrKind::Label(providers), Data::String(text)) => {
                self.one_dep(here, cell, text, providers).map(Data::Dep)
            }
            (AttrKind::LabelList(providers), Data::List(items)) => {
                let mut all = Vec::new();
                for text in items.iter().filter_map(Data::as_str) {
                    all.extend(self.deps(here, cell, text, providers)?);
                }
                Ok(Data::List(all.into_iter().map(Data::Dep).collect()))
            }
            (AttrKind::LabelDict(providers), Data::Dict(pairs)) => {
                let mut all = Vec::new();
                for (key, label) in pairs {
                    let label = label.as_str().unwrap_or_default();
                    let dep = self.one_dep(here, cell, label, providers)?;
                    all.push((key.clone(), Data::Dep(dep)));
                }
                Ok(Data::Dict(all))
            }
            _ => Ok(value.clone()),
        }
    }

    fn source_list(
        &self,
        here: &RelativePath,
        cell: &Cell,
        items: &[Data],
    ) -> Result<Data, Diagnostic> {
        let mut all: BTreeMap<String, Artifact> = BTreeMap::new();
        let mut order = Vec::new();
        for text in items.iter().filter_map(Data::as_str) {
            let found = match self.sources(here, cell, text)? {
                Sources::Found(found) => found,
                Sources::Unavailable(dep) => return Ok(Data::Dep(dep)),
            };
            for (path, artifact) in found {
                if all.insert(path.clone(), artifact).is_some() {
                    return Err(Diagnostic::new(format!("`{path}` is there twice")));
                }
                order.push(path);
            }
        }
        let pair = |path: String| {
            let artifact = Data::Artifact(all[&path].clone());
            (Data::String(path), artifact)
        };
        Ok(Data::Dict(order.into_iter().map(pair).collect()))
    }

    /// Returns the one target that a label stands for.
    fn one_dep(
        &self,
        here: &RelativePath,
        cell: &Cell,
        text: &str,
        providers: &[ProviderId],
    ) -> Result<Arc<Dep>, Diagnostic> {
        let mut deps = self.deps(here, cell, text, providers)?;
        match (deps.pop(), deps.len()) {
            (Some(dep), 0) => Ok(dep),
            (None, _) => Err(Diagnostic::new(format!("`{text}` has no cell that is not excluded"))),
            (Some(dep), others) => {
                let own = |axis: &&String| !cell.0.contains_key(*axis);
                let axis = dep.cell.0.keys().find(own).cloned().unwrap_or_default();
                Err(Diagnostic::new(format!(
                    "`{text}` stands for {} cells, but one is wanted: choose one with {{{axis}=…}}, or give this target the axis `{axis}`",
                    others + 1
                )))
            }
        }
    }

    /// Returns what a source stands for: itself, or what a target makes.
    fn sources(&self, here: &RelativePath, cell: &Cell, text: &str) -> Result<Sources, Diagnostic> {
        if is_label(text) {
            let mut all = Vec::new();
            for dep in self.deps(here, cell, text, &[])? {
                if dep.unavailable().is_some() {
                    return Ok(Sources::Unavailable(dep));
                }
                let outputs = outputs_of(&dep).map_err(Diagnostic::new)?;
                all.extend(
                    outputs.into_iter().map(|(path, artifact)| (path.to_string(), artifact)),
                );
            }
            return Ok(Sources::Found(all));
        }
        let path = RelativePath::new(text).map_err(|error| Diagnostic::new(error.to_string()))?;
        let path = here.join(&path);
        if path.is_root() {
            return Err(Diagnostic::new("the whole workspace cannot be an input"));
        }
        refuse_result(&path).map_err(Diagnostic::new)?;
        let kind = self.loader.files().kind(&path);
        let kind = kind.map_err(|error| Diagnostic::new(format!("{error}: {}", error.source)))?;
        if kind.is_none() {
            return Err(Diagnostic::new(format!(
                "there is no file `{path}`{}",
                self.similar(&path)?
            )));
        }
        Ok(Sources::Found(vec![(text.to_owned(), self.graph.borrow_mut().source(&path))]))
    }

    fn similar(&self, path: &RelativePath) -> Result<String, Diagnostic> {
        let Some((folder, name)) = path.split_last() else { return Ok(String::new()) };
        let listed = self.loader.files().list(&folder);
        let listed =
            listed.map_err(|error| Diagnostic::new(format!("{error}: {}", error.source)))?;
        let names: Vec<_> = listed.iter().map(|(name, _)| name.to_string()).collect();
        Ok(suggest(name.as_str(), &names))
    }

    /// Returns the targets that a label in an attribute stands for: one, in this cell's part of its axes;
    /// or, where this target lacks an axis of it, one for each of its cells that is not excluded or unavailable.
    fn deps(
        &self,
        here: &RelativePath,
        cell: &Cell,
        text: &str,
        providers: &[ProviderId],
    ) -> Result<Vec<Arc<Dep>>, Diagnostic> {
        let mistake = |error: crate::label::LabelError| Diagnostic::new(error.to_string());
        let (label, pattern) = split_cell(text).map_err(mistake)?;
        let label = Label::parse(label, here).map_err(mistake)?;
        let target = self.loader.target(&label)?;
        if let Some(axis) = pattern.axes().find(|axis| !target.matrix.contains_key(*axis)) {
            return Err(Diagnostic::new(no_axis(&label, axis, &target)));
        }
        let axes = self.axes_of(&target)?;
        let wanted = |axis: &str| match cell.0.get(axis) {
            _ if pattern.names(axis) => Wanted::Matching(&pattern),
            Some(own) => Wanted::One(own),
            None => Wanted::All,
        };
        let mut cells = cells_among(&axes, wanted);
        let is_one = pattern.is_all() && axes.keys().all(|axis| cell.0.contains_key(axis));
        let has_cells = axes.values().all(|values| !values.ordered.is_empty());
        if cells.is_empty() && has_cells {
            let shared = cell.0.iter().filter(|(axis, _)| axes.contains_key(*axis));
            let shared = Cell(shared.map(|(axis, own)| (axis.clone(), own.clone())).collect());
            let wanted = if pattern.is_all() { shared.to_string() } else { pattern.to_string() };
            let suggestion = pattern.suggest(&self.axes_by_name(&target)?);
            return Err(Diagnostic::new(format!("{label} has no cell {wanted}{suggestion}")));
        }
        // What is asked for by its cell is had, even if nobody would build it for itself.
        if !is_one {
            cells.retain(|cell| !is_excluded(&target, cell));
        }
        let mut deps = Vec::new();
        let mut lacking = Vec::new();
        for cell in cells {
            let dep = self.analyze(&target, &Arc::new(cell))?;
            if dep.unavailable().is_some() {
                lacking.push(dep);
                continue;
            }
            if let Some(lacking) =
                providers.iter().find(|provider| dep.provider(provider).is_none())
            {
                let has: Vec<_> = dep.instances.iter().map(|it| it.provider.name()).collect();
                return Err(Diagnostic::new(format!(
                    "{label} does not provide {} (it provides {})",
                    lacking.name(),
                    has.join(", ")
                )));
            }
            deps.push(dep);
        }
        // Of many, the others serve; where there is no other, one says for all that they cannot be had.
        if deps.is_empty() {
            deps.extend(lacking.into_iter().next());
        }
        Ok(deps)
    }
}

fn no_axis(label: &Label, axis: &str, target: &Target) -> String {
    let suggestion = suggest(axis, target.matrix.keys());
    let known: Vec<_> = target.matrix.keys().map(|known| format!("`{known}`")).collect();
    match (suggestion.is_empty(), known.is_empty()) {
        (false, _) => format!("{label} has no axis `{axis}`{suggestion}"),
        (true, false) => {
            format!("{label} has no axis `{axis}` (its axes are: {})", known.join(", "))
        }
        (true, true) => format!("{label} has no axis `{axis}`, and no other: it has no matrix"),
    }
}

/// What a source stands for.
enum Sources {
    /// Files, by path.
    Found(Vec<(String, Artifact)>),
    /// What a target would make that cannot be had.
    Unavailable(Arc<Dep>),
}

/// Returns the first dependency in an attribute's value that cannot be had.
fn unavailable_in(value: &Data) -> Option<&Arc<Dep>> {
    match value {
        Data::Dep(dep) => dep.unavailable().map(|_| dep),
        Data::List(items) => items.iter().find_map(unavailable_in),
        Data::Dict(pairs) => pairs.iter().find_map(|(_, value)| unavailable_in(value)),
        Data::None
        | Data::Bool(_)
        | Data::Int(_)
        | Data::String(_)
        | Data::Struct(_)
        | Data::Artifact(_)
        | Data::Instance(_)
        | Data::Select(_) => None,
    }
}

/// Returns a target that cannot be had because one that it needs cannot.
fn unavailable_like(lacking: &Dep, target: &Target, cell: &Arc<Cell>) -> Dep {
    Dep {
        label: target.label.clone(),
        cell: Arc::clone(cell),
        instances: lacking.instances.clone(),
    }
}

fn is_excluded(target: &Target, cell: &Cell) -> bool {
    target.exclude.iter().any(|pattern| pattern.matches(cell))
}

fn in_attribute(target: &Target, name: &str, error: Diagnostic) -> Diagnostic {
    // A mistake in another target or in a rule file is shown there.
    if error.place.is_some() {
        return error;
    }
    Diagnostic::at(&target.place, format!("`{name}` of {}: {}", target.label, error.message))
}

fn in_target(target: &Target, mut error: Diagnostic) -> Diagnostic {
    let place = &target.place;
    if error.place.is_none() {
        return Diagnostic::at(place, error.message);
    }
    error.notes.push(format!("for {} at {}:{}", target.label, place.file, place.line));
    error
}

fn instances(returned: Value<'_>) -> Result<Vec<Arc<Instance>>, String> {
    let list = ListRef::from_value(returned)
        .ok_or_else(|| format!("returns {returned}, not a list of providers"))?;
    let mut instances: Vec<Arc<Instance>> = Vec::new();
    for value in list.iter() {
        let instance = value.downcast_ref::<InstanceValue>();
        let instance = instance.ok_or_else(|| format!("returns {value} among the providers"))?;
        if instances.iter().any(|known| known.provider == instance.0.provider) {
            return Err(format!("returns {} twice", instance.0.provider.name()));
        }
        instances.push(Arc::clone(&instance.0));
    }
    let unavailable = instances.iter().any(|it| it.provider.name() == UNAVAILABLE_INFO);
    if unavailable && instances.len() > 1 {
        return Err(format!("returns {UNAVAILABLE_INFO} beside other providers: it stands alone"));
    }
    let provider = default_info();
    if !instances.iter().any(|instance| instance.provider == provider) {
        let fields = vec![
            ("outputs".to_owned(), Data::Dict(Vec::new())),
            ("failure_log".to_owned(), Data::String(String::new())),
        ];
        instances.push(Arc::new(Instance::new(provider, fields)));
    }
    Ok(instances)
}

/// Parses the place of a failure's log, which no output takes.
fn failure_log(
    log: &str,
    package: &RelativePath,
    outputs: &[(RelativePath, Artifact)],
) -> Result<RelativePath, String> {
    let log = RelativePath::new(log).map_err(|error| error.to_string())?;
    let first = package.join(&log).segments().next();
    if first.is_none_or(|first| first.as_str() == NOTES_FOLDER) {
        return Err("bld keeps its own notes there".to_owned());
    }
    let meets = |(path, _): &&(RelativePath, Artifact)| {
        path.strip_prefix(&log).is_some() || log.strip_prefix(path).is_some()
    };
    match outputs.iter().find(meets) {
        Some((path, _)) => Err(format!("the output `{path}` is in its place")),
        None => Ok(log),
    }
}

/// Returns what a target makes, sorted by path.
fn outputs_of(dep: &Dep) -> Result<Vec<(RelativePath, Artifact)>, String> {
    let info = dep.provider_named(DEFAULT_INFO).ok_or("it has no DefaultInfo")?;
    let Some(Data::Dict(pairs)) = info.field("outputs") else {
        return Err("the outputs of DefaultInfo are a dict from paths to artifacts".to_owned());
    };
    let mut outputs = Vec::new();
    for (path, artifact) in pairs {
        let (Some(path), Data::Artifact(artifact)) = (path.as_str(), artifact) else {
            return Err("the outputs of DefaultInfo are a dict from paths to artifacts".to_owned());
        };
        let malformed = |why: &dyn std::fmt::Display| format!("the output `{path}`: {why}");
        let path = RelativePath::new(path).map_err(|error| malformed(&error))?;
        if path.is_root() {
            return Err(malformed(&"it has no name"));
        }
        let at = dep.label.package.join(&path);
        if at.segments().next().is_some_and(|first| first.as_str() == NOTES_FOLDER) {
            return Err(malformed(&"bld keeps its own notes there"));
        }
        outputs.push((path, artifact.clone()));
    }
    outputs.sort();
    if let Some((inner, outer)) = first_nested(outputs.iter().map(|(path, _)| path)) {
        return Err(format!("the output `{inner}` lies inside the output `{outer}`"));
    }
    Ok(outputs)
}
