//! The words that `bld` adds to Starlark.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::RelativePath;
use starlark::environment::{Globals, GlobalsBuilder, LibraryExtension};
use starlark::eval::Evaluator;
use starlark::starlark_module;
use starlark::values::Value;
use starlark::values::dict::UnpackDictEntries;
use starlark::values::list::UnpackList;
use starlark::values::none::NoneOr;

use super::artifact::ArtifactValue;
use super::attr::{Attr, AttrKind, AttrValue};
use super::data::Data;
use super::mistake;
use super::provider::{Field, FieldKind, ProviderId, ProviderValue};
use super::rule::{COMMON, Rule, RuleValue};
use super::select::{Select, SelectValue};
use super::session::Session;
use crate::cell::ValuePattern;
use crate::diagnostic::suggest;
use crate::disk::refuse_result;
use crate::files::Files;
use crate::glob::PathGlob;

/// The provider that every target has.
pub(crate) const DEFAULT_INFO: &str = "DefaultInfo";

/// The provider of targets that give an axis its values.
pub(crate) const AXIS_INFO: &str = "AxisInfo";

/// The provider of targets that cannot be had, for a reason that is nobody's mistake here.
pub(crate) const UNAVAILABLE_INFO: &str = "UnavailableInfo";
/// The provider of tests.
pub(crate) const TEST_INFO: &str = "TestInfo";

/// Returns everything that a file can name without loading it.
pub(crate) fn globals() -> Globals {
    use LibraryExtension as Extension;
    GlobalsBuilder::extended_by(&[
        Extension::StructType,
        Extension::Map,
        Extension::Filter,
        Extension::Typing,
        Extension::Partial,
        Extension::Json,
    ])
    .with(declarations)
    .with(file_functions)
    .with(value_functions)
    .with(|builder| {
        builder.set(DEFAULT_INFO, ProviderValue(default_info()));
        builder.set(AXIS_INFO, ProviderValue(axis_info()));
        builder.set(UNAVAILABLE_INFO, ProviderValue(unavailable_info()));
        builder.set(TEST_INFO, ProviderValue(test_info()));
    })
    .with_namespace("attr", attributes)
    .build()
}

/// `DefaultInfo(outputs = {path: artifact}, failure_log = "path")`.
pub(crate) fn default_info() -> ProviderId {
    let field = |name: &str, kind, default| Field { name: name.to_owned(), kind, default };
    ProviderId::built_in(
        DEFAULT_INFO,
        vec![
            field("outputs", FieldKind::Dict, Some(Data::Dict(Vec::new()))),
            field("failure_log", FieldKind::String, Some(Data::String(String::new()))),
        ],
    )
}

/// `AxisInfo(values = […])`.
fn axis_info() -> ProviderId {
    let values = Field { name: "values".to_owned(), kind: FieldKind::List, default: None };
    ProviderId::built_in(AXIS_INFO, vec![values])
}

/// `UnavailableInfo(reason = "…")`.
fn unavailable_info() -> ProviderId {
    let reason = Field { name: "reason".to_owned(), kind: FieldKind::String, default: None };
    ProviderId::built_in(UNAVAILABLE_INFO, vec![reason])
}

/// `TestInfo(results = artifact, coverage = artifact or None)`.
fn test_info() -> ProviderId {
    let field = |name: &str, kind, default| Field { name: name.to_owned(), kind, default };
    ProviderId::built_in(
        TEST_INFO,
        vec![
            field("results", FieldKind::Artifact, None),
            field("coverage", FieldKind::Artifact, Some(Data::None)),
        ],
    )
}

fn data(value: Value<'_>) -> starlark::Result<Data> {
    Data::from_value(value).map_err(|error| mistake(error.to_string()))
}

/// Parses a path that is meant inside something.
pub(crate) fn inside(what: &str, path: &str) -> starlark::Result<RelativePath> {
    RelativePath::new(path)
        .map_err(|error| mistake(format!("`{path}` is not a path inside {what}: {error}")))
}

/// Says that there is no such file, and which may be meant.
pub(crate) fn no_file(files: &dyn Files, path: &RelativePath) -> starlark::Error {
    let listed = path.split_last().map(|(folder, _)| files.list(&folder));
    let names: Vec<_> = match listed {
        Some(Ok(listed)) => listed.iter().map(|(name, _)| name.to_string()).collect(),
        // Then there is nothing to suggest.
        Some(Err(_)) | None => Vec::new(),
    };
    let name = path.split_last().map(|(_, name)| name.to_string()).unwrap_or_default();
    mistake(format!("there is no file `{path}`{}", suggest(&name, &names)))
}

fn caller_file(eval: &Evaluator<'_, '_, '_>) -> String {
    eval.call_stack_top_location().map(|span| span.filename().to_owned()).unwrap_or_default()
}

#[starlark_module]
fn declarations(builder: &mut GlobalsBuilder) {
    /// Makes a rule: a function that declares targets.
    fn rule<'v>(
        #[starlark(require = named)] implementation: Value<'v>,
        #[starlark(require = named)] attrs: UnpackDictEntries<String, &'v AttrValue>,
        #[starlark(require = named, default = NoneOr::None)] lock: NoneOr<
            UnpackDictEntries<String, UnpackList<String>>,
        >,
        #[starlark(require = named, default = false)] test: bool,
        #[starlark(require = named, default = "")] doc: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<RuleValue> {
        let _ = doc;
        let Session::Library { file, .. } = Session::of(eval)? else {
            return Err(mistake("rules are made at the top of a .bzl file"));
        };
        if implementation.get_type() != "function" {
            return Err(mistake("`implementation` is a function"));
        }
        // Under a name that no file can write, so that nothing else is ever taken for it.
        let module = eval.module();
        let name = format!("implementation {}", module.names_and_visibilities().count());
        module.set(&name, implementation);
        let schema: BTreeMap<_, _> =
            attrs.entries.into_iter().map(|(name, attr)| (name, attr.0.clone())).collect();
        if let Some(name) = COMMON.into_iter().find(|name| schema.contains_key(*name)) {
            return Err(mistake(format!(
                "every rule has the attribute `{name}`; call this one otherwise"
            )));
        }
        let lock = match lock.into_option() {
            None => None,
            Some(lock) => {
                let mut entries = lock.entries.into_iter();
                let (Some((kind, attrs)), None) = (entries.next(), entries.next()) else {
                    return Err(mistake(
                        "`lock` is a dict of one kind and the attributes that say what",
                    ));
                };
                if let Some(name) = attrs.items.iter().find(|name| !schema.contains_key(*name)) {
                    let suggestion = suggest(name, schema.keys());
                    return Err(mistake(format!(
                        "`lock` names `{name}`, which is not an attribute{suggestion}"
                    )));
                }
                Some((kind, attrs.items))
            }
        };
        Ok(RuleValue(Arc::new(Rule::new(file.clone(), name, schema, lock, test))))
    }

    /// Makes a provider: `provider(fields = {"tree": "artifact"})`.
    fn provider<'v>(
        #[starlark(require = named)] fields: UnpackDictEntries<String, String>,
        #[starlark(require = named, default = "")] doc: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<ProviderValue> {
        let _ = doc;
        let field = |(name, kind): (String, String)| match FieldKind::parse(&kind) {
            Some(kind) => Ok(Field { name, kind, default: None }),
            None => Err(mistake(format!(
                "`{kind}` is not a type of field (they are: any, artifact, string, bool, int, list, dict)"
            ))),
        };
        let fields = fields.entries.into_iter().map(field).collect::<starlark::Result<_>>()?;
        Ok(ProviderValue(ProviderId::new(&caller_file(eval), fields)))
    }

    /// Makes a value that depends on the cell and the settings: `select({"kernel=6.1.*": a, "default": b})`.
    fn select<'v>(
        branches: UnpackDictEntries<Value<'v>, Value<'v>>,
    ) -> starlark::Result<SelectValue> {
        let mut parsed = Vec::new();
        for (condition, value) in branches.entries {
            parsed.push((data(condition)?, data(value)?));
        }
        Select::parse(parsed).map(|select| SelectValue(Arc::new(select))).map_err(mistake)
    }
}

#[starlark_module]
fn file_functions(builder: &mut GlobalsBuilder) {
    /// Returns the files of the package that match, sorted. Folders that are packages of their own are left out.
    fn glob<'v>(
        include: UnpackList<String>,
        #[starlark(require = named, default = UnpackList::default())] exclude: UnpackList<String>,
        #[starlark(require = named, default = false)] allow_empty: bool,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Vec<String>> {
        let session = Session::of(eval)?;
        let include_glob = PathGlob::new(&include.items).map_err(mistake)?;
        let exclude = PathGlob::new(&exclude.items).map_err(mistake)?;
        let found = session.files_of_package()?;
        let chosen: Vec<String> = found
            .iter()
            .filter(|path| include_glob.matches(path) && !exclude.matches(path))
            .map(ToString::to_string)
            .collect();
        if chosen.is_empty() && !allow_empty {
            return Err(mistake(format!(
                "no file matches {} (say allow_empty = True if that is meant)",
                include.items.join(", ")
            )));
        }
        Ok(chosen)
    }

    /// Returns the text of a file of the package.
    fn read_file<'v>(path: &str, eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<String> {
        let (package, files) = Session::of(eval)?.package_files()?;
        let path = package.join(&inside("this package", path)?);
        refuse_result(&path).map_err(mistake)?;
        let text = files.read(&path);
        let text = text.map_err(|error| mistake(format!("{error}: {}", error.source)))?;
        text.ok_or_else(|| no_file(files, &path))
    }

    /// Returns the text of a file that belongs to a `.bzl` file: a script that its rules run, for example.
    fn read_text<'v>(path: &str, eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<String> {
        match Session::of(eval)? {
            Session::Library { texts, .. } => texts.text(path),
            Session::Package { .. } | Session::Analysis { .. } => Err(mistake(
                "read_text is for .bzl files, while they are loaded; a BUILD.bld has read_file",
            )),
        }
    }

    /// Returns the folder of the package that is being loaded.
    fn package_name<'v>(eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<String> {
        let (package, _) = Session::of(eval)?.package_files()?;
        Ok(package.to_string())
    }
}

#[starlark_module]
fn value_functions(builder: &mut GlobalsBuilder) {
    /// Returns whether the whole value matches a glob, or a regular expression after `~`.
    fn matches(pattern: &str, value: &str) -> starlark::Result<bool> {
        let pattern = ValuePattern::parse(pattern);
        Ok(pattern.map_err(|error| mistake(error.to_string()))?.matches(value))
    }

    /// Returns what lies below a path in a tree, as an artifact of its own.
    fn subtree<'v>(tree: &'v ArtifactValue, path: &str) -> starlark::Result<ArtifactValue> {
        let path = inside("this tree", path)?;
        let mut artifact = tree.0.clone();
        artifact.below = artifact.below.join(&path);
        Ok(ArtifactValue(artifact))
    }

    /// Returns the file name that an artifact would naturally have.
    fn basename<'v>(
        artifact: &'v ArtifactValue,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<String> {
        let (graph, _) = Session::of(eval)?.analysis()?;
        Ok(graph.borrow().basename(&artifact.0))
    }
}

fn attribute(
    kind: AttrKind,
    default: Value<'_>,
    mandatory: bool,
    empty: Data,
) -> starlark::Result<AttrValue> {
    let given = data(default)?;
    if mandatory && given != Data::None {
        return Err(mistake("an attribute that is mandatory has no default"));
    }
    if let (AttrKind::Choice(allowed), Data::None, false) = (&kind, &given, mandatory) {
        return Err(mistake(format!(
            "say which of {} is the default, or mandatory = True",
            allowed.join(", ")
        )));
    }
    if given != Data::None {
        let checked = kind.check(&given, &RelativePath::root());
        checked.map_err(|why| mistake(format!("the default: {why}")))?;
    }
    let default = if given == Data::None { empty } else { given };
    let default = (!mandatory).then_some(default);
    Ok(AttrValue(Attr { kind, default }))
}

fn provider_ids(providers: &UnpackList<&ProviderValue>) -> Vec<ProviderId> {
    providers.items.iter().map(|provider| provider.0.clone()).collect()
}

fn none<'v>() -> Value<'v> {
    Value::new_none()
}

#[starlark_module]
fn attributes(builder: &mut GlobalsBuilder) {
    /// Text.
    fn string<'v>(
        #[starlark(require = named)] default: Option<Value<'v>>,
        #[starlark(require = named, default = false)] mandatory: bool,
        #[starlark(require = named, default = UnpackList::default())] values: UnpackList<String>,
        #[starlark(require = named, default = "")] doc: &str,
    ) -> starlark::Result<AttrValue> {
        let _ = doc;
        let kind =
            if values.items.is_empty() { AttrKind::String } else { AttrKind::Choice(values.items) };
        attribute(kind, default.unwrap_or_else(none), mandatory, Data::String(String::new()))
    }

    /// A number.
    fn int<'v>(
        #[starlark(require = named)] default: Option<Value<'v>>,
        #[starlark(require = named, default = false)] mandatory: bool,
        #[starlark(require = named, default = "")] doc: &str,
    ) -> starlark::Result<AttrValue> {
        let _ = doc;
        attribute(AttrKind::Int, default.unwrap_or_else(none), mandatory, Data::Int(0))
    }

    /// True or False.
    fn bool<'v>(
        #[starlark(require = named)] default: Option<Value<'v>>,
        #[starlark(require = named, default = false)] mandatory: bool,
        #[starlark(require = named, default = "")] doc: &str,
    ) -> starlark::Result<AttrValue> {
        let _ = doc;
        attribute(AttrKind::Bool, default.unwrap_or_else(none), mandatory, Data::Bool(false))
    }

    /// A list of texts.
    fn string_list<'v>(
        #[starlark(require = named)] default: Option<Value<'v>>,
        #[starlark(require = named, default = false)] mandatory: bool,
        #[starlark(require = named, default = "")] doc: &str,
    ) -> starlark::Result<AttrValue> {
        let _ = doc;
        let empty = Data::List(Vec::new());
        attribute(AttrKind::StringList, default.unwrap_or_else(none), mandatory, empty)
    }

    /// A dict from texts to texts.
    fn string_dict<'v>(
        #[starlark(require = named)] default: Option<Value<'v>>,
        #[starlark(require = named, default = false)] mandatory: bool,
        #[starlark(require = named, default = "")] doc: &str,
    ) -> starlark::Result<AttrValue> {
        let _ = doc;
        let empty = Data::Dict(Vec::new());
        attribute(AttrKind::StringDict, default.unwrap_or_else(none), mandatory, empty)
    }

    /// A file or folder of the package, or the label of a target that makes one.
    fn source<'v>(
        #[starlark(require = named)] default: Option<Value<'v>>,
        #[starlark(require = named, default = false)] mandatory: bool,
        #[starlark(require = named, default = "")] doc: &str,
    ) -> starlark::Result<AttrValue> {
        let _ = doc;
        attribute(AttrKind::Source, default.unwrap_or_else(none), mandatory, Data::None)
    }

    /// A list of files, folders and labels.
    fn source_list<'v>(
        #[starlark(require = named)] default: Option<Value<'v>>,
        #[starlark(require = named, default = false)] mandatory: bool,
        #[starlark(require = named, default = "")] doc: &str,
    ) -> starlark::Result<AttrValue> {
        let _ = doc;
        let empty = Data::List(Vec::new());
        attribute(AttrKind::SourceList, default.unwrap_or_else(none), mandatory, empty)
    }

    /// The label of a target that has the providers.
    fn label<'v>(
        #[starlark(require = named)] default: Option<Value<'v>>,
        #[starlark(require = named, default = false)] mandatory: bool,
        #[starlark(require = named, default = UnpackList::default())] providers: UnpackList<
            &'v ProviderValue,
        >,
        #[starlark(require = named, default = "")] doc: &str,
    ) -> starlark::Result<AttrValue> {
        let _ = doc;
        let kind = AttrKind::Label(provider_ids(&providers));
        attribute(kind, default.unwrap_or_else(none), mandatory, Data::None)
    }

    /// A list of labels of targets that have the providers.
    fn label_list<'v>(
        #[starlark(require = named)] default: Option<Value<'v>>,
        #[starlark(require = named, default = false)] mandatory: bool,
        #[starlark(require = named, default = UnpackList::default())] providers: UnpackList<
            &'v ProviderValue,
        >,
        #[starlark(require = named, default = "")] doc: &str,
    ) -> starlark::Result<AttrValue> {
        let _ = doc;
        let kind = AttrKind::LabelList(provider_ids(&providers));
        attribute(kind, default.unwrap_or_else(none), mandatory, Data::List(Vec::new()))
    }

    /// A dict from texts to labels of targets that have the providers.
    fn label_dict<'v>(
        #[starlark(require = named)] default: Option<Value<'v>>,
        #[starlark(require = named, default = false)] mandatory: bool,
        #[starlark(require = named, default = UnpackList::default())] providers: UnpackList<
            &'v ProviderValue,
        >,
        #[starlark(require = named, default = "")] doc: &str,
    ) -> starlark::Result<AttrValue> {
        let _ = doc;
        let kind = AttrKind::LabelDict(provider_ids(&providers));
        attribute(kind, default.unwrap_or_else(none), mandatory, Data::Dict(Vec::new()))
    }
}
