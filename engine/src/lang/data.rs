//! Values that have left Starlark: plain, ordered, shared between targets without any heap.

use std::fmt;
use std::sync::{Arc, OnceLock};

use allocative::Allocative;
use starlark::environment::Module;
use starlark::values::dict::{AllocDict, DictRef};
use starlark::values::list::{AllocList, ListRef};
use starlark::values::structs::{AllocStruct, StructRef};
use starlark::values::tuple::TupleRef;
use starlark::values::{Heap, OwnedFrozenValue, Value, ValueLike as _};

use super::artifact::{Artifact, ArtifactValue};
use super::dep::DepValue;
use super::provider::{InstanceValue, ProviderId};
use super::select::{Select, SelectValue};

/// How deep a value may nest; a list that holds itself nests without end.
const DEPTH_MAX: usize = 64;

/// How many values one may consist of: a list that holds another many times is spelled out.
const VALUES_MAX: usize = 1_000_000;

/// A value of the build language.
#[derive(Clone, Debug, PartialEq, Allocative)]
pub(crate) enum Data {
    None,
    Bool(bool),
    Int(i32),
    String(String),
    List(Vec<Data>),
    Dict(Vec<(Data, Data)>),
    Struct(Vec<(String, Data)>),
    Artifact(#[allocative(skip)] Artifact),
    Instance(Arc<Instance>),
    Select(#[allocative(skip)] Arc<Select>),
    Dep(#[allocative(skip)] Arc<super::dep::Dep>),
}

/// An instance of a provider.
#[derive(Debug, Allocative)]
pub(crate) struct Instance {
    #[allocative(skip)]
    pub(crate) provider: ProviderId,
    pub(crate) fields: Vec<(String, Data)>,
    /// Fields that hold others, as Starlark sees them: made once, however many targets look at them.
    #[allocative(skip)]
    shown: Vec<OnceLock<OwnedFrozenValue>>,
}

impl PartialEq for Instance {
    fn eq(&self, other: &Self) -> bool {
        self.provider == other.provider && self.fields == other.fields
    }
}

impl Instance {
    pub(crate) fn new(provider: ProviderId, fields: Vec<(String, Data)>) -> Self {
        let shown = fields.iter().map(|_| OnceLock::new()).collect();
        Self { provider, fields, shown }
    }

    /// Returns a field as Starlark sees it; nobody can change it.
    pub(crate) fn show<'v>(&self, name: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        let index = self.fields.iter().position(|(field, _)| field == name)?;
        let data = &self.fields[index].1;
        if !matches!(data, Data::List(_) | Data::Dict(_) | Data::Struct(_)) {
            return Some(data.to_value(heap));
        }
        Some(heap.access_owned_frozen_value(self.shown[index].get_or_init(|| freeze(data))))
    }

    pub(crate) fn field(&self, name: &str) -> Option<&Data> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)
    }
}

/// Why a value cannot leave Starlark.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotData {
    #[error(
        "a value of type {0} cannot be used here: attributes and providers hold text, numbers, lists, dicts, structs, artifacts and providers"
    )]
    Type(String),
    #[error("this number cannot be used here: numbers have at most 32 bits")]
    Number,
    #[error("this value nests more than {DEPTH_MAX} deep (does it hold itself?)")]
    Depth,
    #[error("this value consists of more than {VALUES_MAX} values")]
    Size,
}

impl Data {
    pub(crate) fn from_value(value: Value<'_>) -> Result<Self, NotData> {
        Copying { left: VALUES_MAX }.copy(value, 0)
    }

    pub(crate) fn to_value<'v>(&self, heap: Heap<'v>) -> Value<'v> {
        match self {
            Self::None => Value::new_none(),
            Self::Bool(value) => Value::new_bool(*value),
            Self::Int(value) => heap.alloc(*value),
            Self::String(value) => heap.alloc(value.as_str()),
            Self::List(values) => {
                heap.alloc(AllocList(values.iter().map(|value| value.to_value(heap))))
            }
            Self::Dict(pairs) => heap.alloc(AllocDict(
                pairs.iter().map(|(key, value)| (key.to_value(heap), value.to_value(heap))),
            )),
            Self::Struct(fields) => heap.alloc(AllocStruct(
                fields.iter().map(|(name, value)| (name.as_str(), value.to_value(heap))),
            )),
            Self::Artifact(artifact) => heap.alloc(ArtifactValue(artifact.clone())),
            Self::Instance(instance) => heap.alloc(InstanceValue(Arc::clone(instance))),
            Self::Select(select) => heap.alloc(SelectValue(Arc::clone(select))),
            Self::Dep(dep) => heap.alloc(DepValue(Arc::clone(dep))),
        }
    }

    /// Returns what the value is called in messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "True or False",
            Self::Int(_) => "a number",
            Self::String(_) => "text",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dict",
            Self::Struct(_) => "a struct",
            Self::Artifact(_) => "an artifact",
            Self::Instance(_) => "a provider",
            Self::Select(_) => "a select",
            Self::Dep(_) => "a dependency",
        }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// Returns the value as JSON: for what leaves the engine (lock requests, options of built-ins).
    pub(crate) fn to_json(&self) -> Option<serde_json::Value> {
        use serde_json::Value as Json;
        match self {
            Self::None => Some(Json::Null),
            Self::Bool(value) => Some(Json::Bool(*value)),
            Self::Int(value) => Some(Json::from(*value)),
            Self::String(value) => Some(Json::String(value.clone())),
            Self::List(values) => {
                values.iter().map(Self::to_json).collect::<Option<_>>().map(Json::Array)
            }
            Self::Dict(pairs) => pairs
                .iter()
                .map(|(key, value)| Some((key.as_str()?.to_owned(), value.to_json()?)))
                .collect::<Option<_>>()
                .map(Json::Object),
            Self::Struct(fields) => fields
                .iter()
                .map(|(name, value)| Some((name.clone(), value.to_json()?)))
                .collect::<Option<_>>()
                .map(Json::Object),
            Self::Artifact(_) | Self::Instance(_) | Self::Select(_) | Self::Dep(_) => None,
        }
    }
}

fn freeze(data: &Data) -> OwnedFrozenValue {
    const NAME: &str = "value";
    let frozen = Module::with_temp_heap(|module| {
        module.set(NAME, data.to_value(module.heap()));
        module.freeze()
    });
    let frozen = frozen.expect("plain values can be frozen");
    frozen.get(NAME).expect("it was put there")
}

/// A value on its way out of a heap, and how many more there may be.
struct Copying {
    left: usize,
}

impl Copying {
    fn copy(&mut self, value: Value<'_>, depth: usize) -> Result<Data, NotData> {
        if depth > DEPTH_MAX {
            return Err(NotData::Depth);
        }
        self.left = self.left.checked_sub(1).ok_or(NotData::Size)?;
        let mut all = |values: &[Value<'_>]| {
            values.iter().map(|value| self.copy(*value, depth + 1)).collect::<Result<_, _>>()
        };
        if let Some(list) = ListRef::from_value(value) {
            return all(list.content()).map(Data::List);
        }
        if let Some(tuple) = TupleRef::from_value(value) {
            return all(tuple.content()).map(Data::List);
        }
        if let Some(dict) = DictRef::from_value(value) {
            let pair =
                |(key, value)| Ok((self.copy(key, depth + 1)?, self.copy(value, depth + 1)?));
            return dict.iter().map(pair).collect::<Result<_, _>>().map(Data::Dict);
        }
        if let Some(fields) = StructRef::from_value(value) {
            let field = |(name, value): (starlark::values::StringValue<'_>, Value<'_>)| {
                Ok((name.as_str().to_owned(), self.copy(value, depth + 1)?))
            };
            return fields.iter().map(field).collect::<Result<_, _>>().map(Data::Struct);
        }
        scalar(value)
    }
}

fn scalar(value: Value<'_>) -> Result<Data, NotData> {
    if value.is_none() {
        return Ok(Data::None);
    }
    if let Some(value) = value.unpack_bool() {
        return Ok(Data::Bool(value));
    }
    if let Some(value) = value.unpack_i32() {
        return Ok(Data::Int(value));
    }
    if let Some(value) = value.unpack_str() {
        return Ok(Data::String(value.to_owned()));
    }
    if let Some(artifact) = value.downcast_ref::<ArtifactValue>() {
        return Ok(Data::Artifact(artifact.0.clone()));
    }
    if let Some(instance) = value.downcast_ref::<InstanceValue>() {
        return Ok(Data::Instance(Arc::clone(&instance.0)));
    }
    if let Some(select) = value.downcast_ref::<SelectValue>() {
        return Ok(Data::Select(Arc::clone(&select.0)));
    }
    if let Some(dep) = value.downcast_ref::<DepValue>() {
        return Ok(Data::Dep(Arc::clone(&dep.0)));
    }
    if value.get_type() == "int" {
        return Err(NotData::Number);
    }
    Err(NotData::Type(value.get_type().to_owned()))
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::String(text) = self { write!(f, "{text:?}") } else { f.write_str(self.kind()) }
    }
}
