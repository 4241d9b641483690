//! `ctx`: what a rule's implementation is given, and the actions that it may declare.

use std::collections::BTreeMap;
use std::time::Duration;

use allocative::Allocative;
use model::RelativePath;
use starlark::environment::{Methods, MethodsBuilder};
use starlark::eval::Evaluator;
use starlark::starlark_module;
use starlark::values::dict::{AllocDict, UnpackDictEntries};
use starlark::values::list::UnpackList;
use starlark::values::none::NoneOr;
use starlark::values::{
    Heap, NoSerialize, ProvidesStaticType, StarlarkPagablePanic, StarlarkValue, Value,
    starlark_value,
};

use super::artifact::{Artifact, ArtifactValue};
use super::data::Data;
use super::session::Session;
use super::{mistake, plain_value};
use crate::cell::Cell;
use crate::graph::{BuiltinNode, Node, Owner, RunNode};
use crate::label::Label;

/// The folder below the working directory that outputs are kept from.
const OUTPUT_FOLDER: &str = "out";

/// What a rule's implementation knows of its target.
#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative, StarlarkPagablePanic)]
pub(crate) struct ContextValue {
    #[allocative(skip)]
    pub(crate) label: Label,
    #[allocative(skip)]
    pub(crate) cell: Cell,
    pub(crate) attrs: Vec<(String, Data)>,
    pub(crate) locked: Vec<Data>,
    pub(crate) settings: BTreeMap<String, String>,
}

plain_value!(ContextValue, "context", |self, f| write!(f, "<ctx of {}>", self.label));

#[starlark_value(type = "context")]
impl<'v> StarlarkValue<'v> for ContextValue {
    fn get_attr(&self, name: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        Some(match name {
            "label" => heap.alloc(self.label.to_string()),
            "name" => heap.alloc(self.label.name.clone()),
            "package" => heap.alloc(self.label.package.to_string()),
            "cell" => cell_value(&self.cell, heap),
            "attr" => Data::Struct(self.attrs.clone()).to_value(heap),
            "locked" => Data::List(self.locked.clone()).to_value(heap),
            "settings" => heap.alloc(AllocDict(self.settings.iter())),
            "actions" => heap.alloc(ActionsValue),
            _ => return None,
        })
    }

    fn dir_attr(&self) -> Vec<String> {
        ["label", "name", "package", "cell", "attr", "locked", "settings", "actions"]
            .map(str::to_owned)
            .to_vec()
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
            let path = path.map_err(|error| mistake(format!("`{place}`: {error}")))?;
            Ok((path, artifact.0.clone()))
        })
        .collect::<starlark::Result<Vec<_>>>()?;
    // Outer places first, so that what belongs inside finds them.
    placed.sort();
    Ok(placed)
}

fn role_of(owner: &Owner, role: &str) -> Owner {
    Owner { role: role.to_owned(), ..owner.clone() }
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
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Vec<ArtifactValue>> {
        let (graph, owner) = Session::of(eval)?.analysis()?;
        if arguments.items.is_empty() {
            return Err(mistake("`arguments` holds at least the program"));
        }
        let mut paths = Vec::new();
        for output in &outputs.items {
            let path = RelativePath::new(format!("{OUTPUT_FOLDER}/{output}"));
            paths.push(path.map_err(|error| mistake(format!("the output `{output}`: {error}")))?);
        }
        let timeout = match timeout_seconds.into_option() {
            None => None,
            Some(seconds) => {
                let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0);
                Some(seconds.ok_or_else(|| mistake("`timeout_seconds` is a positive number"))?)
            }
        };
        let mut sorted = paths.clone();
        sorted.sort();
        sorted.dedup();
        if sorted.len() != paths.len() || paths.is_empty() {
            return Err(mistake("`outputs` holds at least one path, and none twice"));
        }
        let node = Node::Run(RunNode {
            owner: role_of(owner, role),
            arguments: arguments.items,
            environment: env.entries.into_iter().collect(),
            inputs: placed(inputs)?,
            outputs: sorted,
            timeout: timeout.map(Duration::from_secs),
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
        let node = Node::Write { content: content.to_owned(), executable };
        Ok(ArtifactValue(graph.borrow_mut().add(node)))
    }

    /// Puts artifacts together into one tree, each at its place.
    fn tree<'v>(
        #[starlark(this)] _this: Value<'v>,
        entries: Placed<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<ArtifactValue> {
        let (graph, _) = Session::of(eval)?.analysis()?;
        let node = Node::Tree(placed(entries)?);
        Ok(ArtifactValue(graph.borrow_mut().add(node)))
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
        let (graph, owner) = Session::of(eval)?.analysis()?;
        let options = Data::from_value(options).map_err(|error| mistake(error.to_string()))?;
        let options = options
            .to_json()
            .ok_or_else(|| mistake("`options` holds texts, numbers, lists and dicts"))?;
        let node = Node::Builtin(BuiltinNode {
            owner: role_of(owner, role),
            name: name.to_owned(),
            inputs: inputs.items.iter().map(|artifact| artifact.0.clone()).collect(),
            options: options.to_string(),
        });
        Ok(ArtifactValue(graph.borrow_mut().add(node)))
    }
}
