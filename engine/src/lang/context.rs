//! `ctx`: what a rule's implementation is given, and the actions that it may declare.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use allocative::Allocative;
use model::RelativePath;
use starlark::environment::{Methods, MethodsBuilder};
use starlark::eval::Evaluator;
use starlark::starlark_module;
use starlark::values::dict::{AllocDict, UnpackDictEntries};
use starlark::values::list::{AllocList, UnpackList};
use starlark::values::none::NoneOr;
use starlark::values::structs::AllocStruct;
use starlark::values::{
    Heap, NoSerialize, ProvidesStaticType, StarlarkPagablePanic, StarlarkValue, Value,
    starlark_value,
};

use super::artifact::{Artifact, ArtifactValue};
use super::data::Data;
use super::session::Session;
use super::{mistake, plain_value};
use crate::cell::Cell;
use crate::graph::{BuiltinNode, Node, RunNode, first_nested};
use crate::label::Label;

/// The folder below the working directory that outputs are kept from.
const OUTPUT_FOLDER: &str = "out";

/// What a rule's implementation knows of its target.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) label: Label,
    pub(crate) cell: Arc<Cell>,
    pub(crate) attrs: Vec<(String, Data)>,
    pub(crate) locked: Vec<Data>,
    pub(crate) settings: BTreeMap<String, String>,
}

impl Context {
    /// Returns the struct that implementations call `ctx`; made once, so that looking at a part costs nothing.
    pub(crate) fn to_value<'v>(&self, heap: Heap<'v>) -> Value<'v> {
        let attrs = self.attrs.iter().map(|(name, value)| (name.as_str(), value.to_value(heap)));
        let locked = self.locked.iter().map(|member| member.to_value(heap));
        let fields: [(&str, Value<'v>); 8] = [
            ("label", heap.alloc(self.label.to_string())),
            ("name", heap.alloc(self.label.name.clone())),
            ("package", heap.alloc(self.label.package.to_string())),
            ("cell", cell_value(&self.cell, heap)),
            ("attr", heap.alloc(AllocStruct(attrs))),
            ("locked", heap.alloc(AllocList(locked))),
            ("settings", heap.alloc(AllocDict(self.settings.iter()))),
            ("actions", heap.alloc(ActionsValue)),
        ];
        heap.alloc(AllocStruct(fields))
    }
}

/// Returns a cell as a dict.
pub(crate) fn cell_value<'v>(cell: &Cell, heap: Heap<'v>) -> Value<'v> {
    heap.alloc(AllocDict(cell.0.iter()))
}

/// `ctx.actions`.
#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative, StarlarkPagablePanic)]
pub(crate) struct ActionsValue;

plain_value!(ActionsValue, "actions", |self, f| f.write_str("<ctx.actions>"));

#[starlark_value(type = "actions")]
impl<'v> StarlarkValue<'v> for ActionsValue {
    fn get_methods() -> Option<&'static Methods> {
        Some(ACTION_METHODS.methods())
    }
}

starlark::methods_static!(ACTION_METHODS = action_methods);

type Placed<'v> = UnpackDictEntries<String, &'v ArtifactValue>;

fn placed(entries: Placed<'_>) -> starlark::Result<Vec<(RelativePath, Artifact)>> {
    let mut placed = entries
        .entries
        .into_iter()
        .map(|(place, artifact)| {
            let path = RelativePath::new(place.trim_start_matches('/').to_owned());
            let path = path
                .map_err(|error| mistake(format!("nothing can be placed at `{place}`: {error}")))?;
            Ok((path, artifact.0.clone()))
        })
        .collect::<starlark::Result<Vec<_>>>()?;
    // Outer places first, so that what belongs inside finds them.
    placed.sort();
    if let Some(twice) = placed.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(mistake(format!("two artifacts are placed at `/{}`", twice[0].0)));
    }
    Ok(placed)
}

/// Refuses what no process can be given.
fn check_words(what: &str, words: &[String]) -> starlark::Result<()> {
    match words.iter().find(|word| word.contains('\0')) {
        Some(word) => Err(mistake(format!("{what} has a NUL in it: {word:?}"))),
        None => Ok(()),
    }
}

fn check_environment(entries: &[(String, String)]) -> starlark::Result<()> {
    for (name, value) in entries {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(mistake(format!("`{name}` cannot be the name of a variable in `env`")));
        }
        check_words("`env`", std::slice::from_ref(value))?;
    }
    Ok(())
}

/// Parses the outputs of a command: at least one, none twice, none inside another.
fn output_paths(outputs: &[String]) -> starlark::Result<Vec<RelativePath>> {
    let mut paths = Vec::new();
    for output in outputs {
        let path = RelativePath::new(format!("{OUTPUT_FOLDER}/{output}"));
        paths.push(path.map_err(|error| mistake(format!("the output `{output}`: {error}")))?);
    }
    let mut sorted: Vec<_> = paths.iter().collect();
    sorted.sort();
    if sorted.is_empty() || sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(mistake("`outputs` holds at least one path, and none twice"));
    }
    match first_nested(&paths) {
        Some((inner, outer)) => {
            let bare = |path: &RelativePath| {
                path.segments().skip(1).fold(RelativePath::root(), |it, name| it.child(&name))
            };
            let (inner, outer) = (bare(inner), bare(outer));
            Err(mistake(format!("the output `{inner}` lies inside the output `{outer}`")))
        }
        None => Ok(paths),
    }
}

#[starlark_module]
fn action_methods(builder: &mut MethodsBuilder) {
    /// Runs a command in a sandbox and returns its outputs, in the order of their names.
    ///
    /// `inputs` says what stands where: "/" is the build root. `outputs` are paths below `out/` in the working
    /// directory, `/work`.
    fn run<'v>(
        #[starlark(this)] _this: Value<'v>,
        #[starlark(require = named)] arguments: UnpackList<String>,
        #[starlark(require = named)] inputs: Placed<'v>,
        #[starlark(require = named)] outputs: UnpackList<String>,
        #[starlark(require = named, default = UnpackDictEntries::default())] env: UnpackDictEntries<
            String,
            String,
        >,
        #[starlark(require = named, default = NoneOr::None)] timeout_seconds: NoneOr<i32>,
        #[starlark(require = named, default = "")] role: &str,
        #[starlark(require = named, default = false)] test: bool,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Vec<ArtifactValue>> {
        let session = Session::of(eval)?;
        let (graph, _) = session.analysis()?;
        if arguments.items.is_empty() {
            return Err(mistake("`arguments` holds at least the program"));
        }
        check_words("`arguments`", &arguments.items)?;
        check_environment(&env.entries)?;
        let paths = output_paths(&outputs.items)?;
        let timeout = match timeout_seconds.into_option() {
            None => None,
            Some(seconds) => {
                let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0);
                Some(seconds.ok_or_else(|| mistake("`timeout_seconds` is a positive number"))?)
            }
        };
        let mut sorted = paths.clone();
        sorted.sort();
        let node = Node::Run(RunNode {
            owner: session.owner_of_action(role)?,
            arguments: arguments.items,
            environment: graph.borrow_mut().environment(env.entries.into_iter().collect()),
            inputs: placed(inputs)?,
            outputs: sorted,
            timeout: timeout.map(Duration::from_secs),
            test,
        });
        let whole = graph.borrow_mut().add(node);
        let output = |output| ArtifactValue(Artifact { output, ..whole.clone() });
        Ok(paths.into_iter().map(output).collect())
    }

    /// Writes a file whose text the rule knows.
    fn write<'v>(
        #[starlark(this)] _this: Value<'v>,
        content: &str,
        #[starlark(require = named, default = false)] executable: bool,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<ArtifactValue> {
        let (graph, _) = Session::of(eval)?.analysis()?;
        Ok(ArtifactValue(graph.borrow_mut().write(content, executable)))
    }

    /// Puts artifacts together into one tree, each at its place.
    fn tree<'v>(
        #[starlark(this)] _this: Value<'v>,
        entries: Placed<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<ArtifactValue> {
        let (graph, owner) = Session::of(eval)?.analysis()?;
        Ok(ArtifactValue(graph.borrow_mut().tree(owner, placed(entries)?)))
    }

    /// Has `bld` itself make a tree of trees: `builtin("compose", inputs = […], options = […])`.
    fn builtin<'v>(
        #[starlark(this)] _this: Value<'v>,
        name: &str,
        #[starlark(require = named)] inputs: UnpackList<&'v ArtifactValue>,
        #[starlark(require = named)] options: Value<'v>,
        #[starlark(require = named, default = "")] role: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<ArtifactValue> {
        let session = Session::of(eval)?;
        let (graph, _) = session.analysis()?;
        if executor::builtin_salt(name).is_none() {
            return Err(mistake(format!("this bld has no built-in `{name}`")));
        }
        let options = Data::from_value(options).map_err(|error| mistake(error.to_string()))?;
        let options = options
            .to_json()
            .ok_or_else(|| mistake("`options` holds texts, numbers, lists and dicts"))?;
        let node = Node::Builtin(BuiltinNode {
            owner: session.owner_of_action(role)?,
            name: name.to_owned(),
            inputs: inputs.items.iter().map(|artifact| artifact.0.clone()).collect(),
            options: options.to_string(),
        });
        Ok(ArtifactValue(graph.borrow_mut().add(node)))
    }
}
