//! Rules, and the targets that calling them declares.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use allocative::Allocative;
use starlark::eval::{Arguments, Evaluator};
use starlark::values::{
    NoSerialize, ProvidesStaticType, StarlarkPagablePanic, StarlarkValue, Value, starlark_value,
};

use super::attr::Schema;
use super::data::Data;
use super::session::Session;
use super::{mistake, plain_value};
use crate::cell::CellPattern;
use crate::diagnostic::{Diagnostic, Place, suggest};
use crate::label::{Label, is_target_name};

/// A rule; its implementation stays in the file that makes it, under a name that no file can write.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) file: String,
    pub(crate) implementation: String,
    pub(crate) schema: Schema,
    /// What its targets ask to be locked: a kind, and the attributes that say what.
    pub(crate) lock: Option<(String, Vec<String>)>,
    /// Whether its targets are tests.
    pub(crate) test: bool,
    name: OnceLock<String>,
}

impl Rule {
    pub(crate) fn new(
        file: String,
        implementation: String,
        schema: Schema,
        lock: Option<(String, Vec<String>)>,
        test: bool,
    ) -> Self {
        Self { file, implementation, schema, lock, test, name: OnceLock::new() }
    }

    pub(crate) fn name(&self) -> &str {
        self.name.get().map_or("(unnamed rule)", String::as_str)
    }
}

/// Where the values of an axis come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Axis {
    Values(Vec<String>),
    /// A target that provides `AxisInfo`.
    Target(Label),
}

/// A target as its package declares it; nothing in it depends on other packages.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) label: Label,
    pub(crate) rule: Arc<Rule>,
    pub(crate) attrs: BTreeMap<String, Data>,
    pub(crate) matrix: BTreeMap<String, Axis>,
    pub(crate) exclude: Vec<CellPattern>,
    /// The cells that must fail.
    pub(crate) xfail: Vec<CellPattern>,
    pub(crate) tags: Vec<String>,
    pub(crate) place: Place,
}

/// The tag of targets that no pattern for many stands for.
const MANUAL: &str = "manual";

impl Target {
    pub(crate) fn is_manual(&self) -> bool {
        self.tags.iter().any(|tag| tag == MANUAL)
    }
}

/// The attributes that every rule has.
pub(crate) const COMMON: [&str; 5] = ["name", "matrix", "exclude", "xfail", "tags"];

#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative, StarlarkPagablePanic)]
pub(crate) struct RuleValue(#[allocative(skip)] pub(crate) Arc<Rule>);

plain_value!(RuleValue, "rule", |self, f| f.write_str(self.0.name()));

#[starlark_value(type = "rule")]
impl<'v> StarlarkValue<'v> for RuleValue {
    fn export_as(&self, name: &str, _: &mut Evaluator<'v, '_, '_>) -> starlark::Result<()> {
        let _ = self.0.name.set(name.to_owned());
        Ok(())
    }

    fn invoke(
        &self,
        _me: Value<'v>,
        arguments: &Arguments<'v, '_>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let session = Session::of(eval)?;
        let rule = self.0.name();
        if arguments.positions(eval.heap())?.next().is_some() {
            return Err(mistake(format!("{rule}() takes named arguments only: name = \"…\"")));
        }
        let Some(package) = session.package() else {
            return Err(mistake(format!(
                "{rule}() declares a target, which only a BUILD.bld can do"
            )));
        };
        let mut given = BTreeMap::new();
        for (name, value) in arguments.names_map()? {
            let data = Data::from_value(value);
            let data = data.map_err(|error| mistake(format!("`{}`: {error}", name.as_str())))?;
            given.insert(name.as_str().to_owned(), data);
        }
        // The outermost call, in the BUILD file itself, is the place that a reader can change.
        let place = eval.call_stack_nth_location(0).or_else(|| eval.call_stack_top_location());
        let place = outermost(eval, place);
        let place = place.ok_or_else(|| mistake("this call has no place"))?;
        let target = declare(&self.0, &package, given, place.clone());
        let declared = target.and_then(|target| session.declare(target));
        // A function that declares targets for others is not where the mistake is.
        declared.map_err(|why| starlark::Error::new_native(Diagnostic::at(&place, why)))?;
        Ok(Value::new_none())
    }
}

fn outermost(
    eval: &Evaluator<'_, '_, '_>,
    nearest: Option<starlark::codemap::FileSpan>,
) -> Option<Place> {
    let frames = eval.call_stack().frames;
    let first = frames.into_iter().find_map(|frame| frame.location);
    first.or(nearest).as_ref().map(Place::of)
}

fn declare(
    rule: &Arc<Rule>,
    package: &model::RelativePath,
    mut given: BTreeMap<String, Data>,
    place: Place,
) -> Result<Target, String> {
    let name = match given.remove("name") {
        Some(Data::String(name)) => name,
        None => return Err(format!("{}() needs a name: name = \"…\"", rule.name())),
        Some(other) => return Err(format!("`name` is text, not {}", other.kind())),
    };
    if !is_target_name(&name) {
        return Err(format!(
            "`{name}` cannot be the name of a target: names are made of letters, digits and -_.+=,@~/, and are not `all` or `...`"
        ));
    }
    let label = Label { package: package.clone(), name };
    let matrix = parse_matrix(given.remove("matrix"), package)?;
    let exclude = parse_cells("exclude", given.remove("exclude"), &matrix)?;
    let xfail = parse_cells("xfail", given.remove("xfail"), &matrix)?;
    let tags = match given.remove("tags") {
        None => Vec::new(),
        Some(tags) => string_list(&tags).ok_or("`tags` is a list of texts")?,
    };
    let unknown = given.keys().find(|name| !rule.schema.contains_key(*name));
    if let Some(name) = unknown {
        let known: Vec<String> =
            rule.schema.keys().cloned().chain(COMMON.map(str::to_owned)).collect();
        let suggestion = suggest(name, &known);
        return Err(format!("{}() has no attribute `{name}`{suggestion}", rule.name()));
    }
    let mut attrs = BTreeMap::new();
    for (name, attr) in &rule.schema {
        let value = match given.remove(name).filter(|value| *value != Data::None) {
            Some(value) => value,
            None => attr.default.clone().ok_or_else(|| {
                format!("{}() needs `{name}`, which {label} does not give", rule.name())
            })?,
        };
        attr.check(&value, package).map_err(|why| format!("`{name}` of {label}: {why}"))?;
        attrs.insert(name.clone(), value);
    }
    Ok(Target { label, rule: Arc::clone(rule), attrs, matrix, exclude, xfail, tags, place })
}

fn parse_matrix(
    matrix: Option<Data>,
    package: &model::RelativePath,
) -> Result<BTreeMap<String, Axis>, String> {
    let pairs = match matrix {
        None | Some(Data::None) => return Ok(BTreeMap::new()),
        Some(Data::Dict(pairs)) => pairs,
        Some(other) => {
            return Err(format!("`matrix` is a dict from axes to values, not {}", other.kind()));
        }
    };
    let axis = |(name, values): (Data, Data)| {
        let name = name.as_str().ok_or("the axes of a matrix are texts")?.to_owned();
        if name.is_empty()
            || !name.chars().all(|it| it.is_ascii_alphanumeric() || "-_".contains(it))
        {
            return Err(format!(
                "`{name}` cannot be an axis: axes are named with letters, digits, - and _"
            ));
        }
        if let Data::String(text) = &values {
            let label = Label::parse(text, package).map_err(|error| error.to_string())?;
            return Ok((name, Axis::Target(label)));
        }
        let values = string_list(&values).ok_or_else(|| {
            format!("the axis `{name}` is a list of texts, or the label of a target that provides AxisInfo")
        })?;
        check_values(&values).map_err(|why| format!("the axis `{name}`: {why}"))?;
        Ok((name, Axis::Values(values)))
    };
    pairs.into_iter().map(axis).collect()
}

/// Checks the values of an axis: each once, and such that `{axis=value}` can say them.
pub(crate) fn check_values(values: &[String]) -> Result<(), String> {
    let mut seen = std::collections::BTreeSet::new();
    for value in values {
        if value.is_empty() || value.starts_with('~') || value.contains(UNSPEAKABLE) {
            return Err(format!(
                "`{value}` cannot be a value: values are not empty, do not begin with ~, and have no space and none of , {{ }} * ?"
            ));
        }
        if !seen.insert(value) {
            return Err(format!("the value `{value}` is there twice"));
        }
    }
    Ok(())
}

/// What would mean something else in `{axis=value}`.
const UNSPEAKABLE: [char; 9] = [',', '{', '}', '*', '?', ' ', '\t', '\n', '\r'];

/// Parses an attribute that names cells: a list of dicts from axes to patterns.
fn parse_cells(
    attribute: &str,
    given: Option<Data>,
    matrix: &BTreeMap<String, Axis>,
) -> Result<Vec<CellPattern>, String> {
    let items = match given {
        None | Some(Data::None) => return Ok(Vec::new()),
        Some(Data::List(items)) => items,
        Some(other) => {
            return Err(format!("`{attribute}` is a list of dicts, not {}", other.kind()));
        }
    };
    let pattern = |item: Data| {
        let Data::Dict(pairs) = item else {
            return Err(format!("`{attribute}` is a list of dicts from axes to patterns"));
        };
        let mut axes = Vec::new();
        for (axis, pattern) in pairs {
            let (Some(name), Some(text)) = (axis.as_str(), pattern.as_str()) else {
                return Err(format!("`{attribute}` is a list of dicts from axes to patterns"));
            };
            if !matrix.contains_key(name) {
                let suggestion = suggest(name, matrix.keys());
                return Err(format!(
                    "`{attribute}` names `{name}`, which is not an axis{suggestion}"
                ));
            }
            axes.push((name.to_owned(), text.to_owned()));
        }
        CellPattern::from_axes(axes).map_err(|error| format!("`{attribute}`: {error}"))
    };
    items.into_iter().map(pattern).collect()
}

fn string_list(data: &Data) -> Option<Vec<String>> {
    let Data::List(items) = data else { return None };
    items.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}
