//! Providers: what targets tell those that depend on them, with typed fields.

use std::sync::{Arc, OnceLock};

use allocative::Allocative;
use starlark::eval::{Arguments, Evaluator};
use starlark::values::{
    Heap, NoSerialize, ProvidesStaticType, StarlarkPagablePanic, StarlarkValue, Value,
    starlark_value,
};

use super::data::{Data, Instance};
use super::{mistake, plain_value};
use crate::diagnostic::suggest;

/// A type of provider; two are the same if they come from the same `provider()` call.
#[derive(Clone, Debug)]
pub(crate) struct ProviderId(Arc<ProviderType>);

#[derive(Debug)]
struct ProviderType {
    file: String,
    name: OnceLock<String>,
    fields: Vec<Field>,
}

#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: FieldKind,
    pub(crate) default: Option<Data>,
}

/// What a field may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldKind {
    Any,
    Artifact,
    String,
    Bool,
    Int,
    List,
    Dict,
}

impl FieldKind {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "any" => Self::Any,
            "artifact" => Self::Artifact,
            "string" => Self::String,
            "bool" => Self::Bool,
            "int" => Self::Int,
            "list" => Self::List,
            "dict" => Self::Dict,
            _ => return None,
        })
    }

    /// Returns what a value of this type is called in messages.
    fn words(self) -> &'static str {
        match self {
            Self::Any => "anything",
            Self::Artifact => "an artifact",
            Self::String => "text",
            Self::Bool => "True or False",
            Self::Int => "a number",
            Self::List => "a list",
            Self::Dict => "a dict",
        }
    }

    fn allows(self, data: &Data) -> bool {
        matches!(
            (self, data),
            (Self::Any, _)
                | (Self::Artifact, Data::Artifact(_))
                | (Self::String, Data::String(_))
                | (Self::Bool, Data::Bool(_))
                | (Self::Int, Data::Int(_))
                | (Self::List, Data::List(_))
                | (Self::Dict, Data::Dict(_))
        )
    }
}

impl PartialEq for ProviderId {
    fn eq(&self, other: &Self) -> bool {
        // Those that the engine knows are made anew for each use; they have no file.
        let built_in = |it: &Self| it.0.file.is_empty();
        let same_name = || self.name() == other.name();
        Arc::ptr_eq(&self.0, &other.0) || (built_in(self) && built_in(other) && same_name())
    }
}

impl ProviderId {
    /// Returns a provider declared in `file`; it gets its name when it is assigned.
    pub(crate) fn new(file: &str, fields: Vec<Field>) -> Self {
        Self(Arc::new(ProviderType { file: file.to_owned(), name: OnceLock::new(), fields }))
    }

    /// Returns a provider that the engine itself knows.
    pub(crate) fn built_in(name: &str, fields: Vec<Field>) -> Self {
        let provider = Self::new("", fields);
        let _ = provider.0.name.set(name.to_owned());
        provider
    }

    pub(crate) fn name(&self) -> &str {
        self.0.name.get().map_or("(unnamed provider)", String::as_str)
    }

    fn instance(&self, given: &[(String, Data)]) -> Result<Instance, String> {
        let known: Vec<_> = self.0.fields.iter().map(|field| field.name.clone()).collect();
        for (name, _) in given {
            if !known.contains(name) {
                let suggestion = suggest(name, &known);
                return Err(format!("{} has no field `{name}`{suggestion}", self.name()));
            }
        }
        let mut fields = Vec::new();
        for field in &self.0.fields {
            let value =
                given.iter().find(|(name, _)| *name == field.name).map(|(_, it)| it.clone());
            let Some(value) = value.or_else(|| field.default.clone()) else {
                return Err(format!("{} needs the field `{}`", self.name(), field.name));
            };
            if !field.kind.allows(&value) && field.default.as_ref() != Some(&value) {
                return Err(format!(
                    "the field `{}` of {} holds {}, not {}",
                    field.name,
                    self.name(),
                    field.kind.words(),
                    value.kind()
                ));
            }
            fields.push((field.name.clone(), value));
        }
        Ok(Instance::new(self.clone(), fields))
    }
}

#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative, StarlarkPagablePanic)]
pub(crate) struct ProviderValue(#[allocative(skip)] pub(crate) ProviderId);

plain_value!(ProviderValue, "provider", |self, f| f.write_str(self.0.name()));

#[starlark_value(type = "provider")]
impl<'v> StarlarkValue<'v> for ProviderValue {
    fn export_as(&self, name: &str, _: &mut Evaluator<'v, '_, '_>) -> starlark::Result<()> {
        // The first name is the one that messages use; later ones are aliases.
        let _ = self.0.0.name.set(name.to_owned());
        Ok(())
    }

    fn invoke(
        &self,
        _me: Value<'v>,
        arguments: &Arguments<'v, '_>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        if arguments.positions(eval.heap())?.next().is_some() {
            let name = self.0.name();
            return Err(mistake(format!("{name}() takes named arguments only: its fields")));
        }
        let mut given = Vec::new();
        for (name, value) in arguments.names_map()? {
            let value = Data::from_value(value).map_err(|error| mistake(error.to_string()))?;
            given.push((name.as_str().to_owned(), value));
        }
        let instance = self.0.instance(&given).map_err(mistake)?;
        Ok(eval.heap().alloc(InstanceValue(Arc::new(instance))))
    }
}

#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative, StarlarkPagablePanic)]
pub(crate) struct InstanceValue(#[allocative(skip)] pub(crate) Arc<Instance>);

plain_value!(InstanceValue, "provider_instance", |self, f| write!(
    f,
    "<{}>",
    self.0.provider.name()
));

#[starlark_value(type = "provider_instance")]
impl<'v> StarlarkValue<'v> for InstanceValue {
    fn get_attr(&self, name: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        self.0.show(name, heap)
    }

    fn has_attr(&self, name: &str, _: Heap<'v>) -> bool {
        self.0.field(name).is_some()
    }

    fn dir_attr(&self) -> Vec<String> {
        self.0.fields.iter().map(|(name, _)| name.clone()).collect()
    }
}
