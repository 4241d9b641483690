//! Dependencies as rules see them: a target that was analysed, asked for its providers.

use std::sync::Arc;

use allocative::Allocative;
use starlark::values::{
    Heap, NoSerialize, ProvidesStaticType, StarlarkPagablePanic, StarlarkValue, Value,
    ValueLike as _, starlark_value,
};

use super::data::{Data, Instance};
use super::provider::{ProviderId, ProviderValue};
use super::{mistake, plain_value};
use crate::cell::Cell;
use crate::label::Label;

/// A target that was analysed, in one of its cells.
#[derive(Debug, PartialEq)]
pub(crate) struct Dep {
    pub(crate) label: Label,
    pub(crate) cell: Arc<Cell>,
    pub(crate) instances: Vec<Arc<Instance>>,
}

impl Dep {
    pub(crate) fn provider(&self, provider: &ProviderId) -> Option<&Arc<Instance>> {
        self.instances.iter().find(|instance| instance.provider == *provider)
    }

    pub(crate) fn provider_named(&self, name: &str) -> Option<&Arc<Instance>> {
        self.instances.iter().find(|instance| instance.provider.name() == name)
    }

    /// Returns why it cannot be had, if it cannot.
    pub(crate) fn unavailable(&self) -> Option<&str> {
        let info = self.provider_named(super::globals::UNAVAILABLE_INFO)?;
        info.field("reason").and_then(Data::as_str)
    }
}

#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative, StarlarkPagablePanic)]
pub(crate) struct DepValue(#[allocative(skip)] pub(crate) Arc<Dep>);

plain_value!(DepValue, "dependency", |self, f| write!(f, "<{}{}>", self.0.label, self.0.cell));

#[starlark_value(type = "dependency")]
impl<'v> StarlarkValue<'v> for DepValue {
    fn at(&self, index: Value<'v>, heap: Heap<'v>) -> starlark::Result<Value<'v>> {
        let Some(provider) = index.downcast_ref::<ProviderValue>() else {
            return Err(mistake("a dependency is asked for a provider: dep[SomeInfo]"));
        };
        let Some(instance) = self.0.provider(&provider.0) else {
            let (label, name) = (&self.0.label, provider.0.name());
            return Err(mistake(format!("{label} does not provide {name}")));
        };
        Ok(Data::Instance(Arc::clone(instance)).to_value(heap))
    }

    fn is_in(&self, other: Value<'v>) -> starlark::Result<bool> {
        let provider = other.downcast_ref::<ProviderValue>();
        Ok(provider.is_some_and(|provider| self.0.provider(&provider.0).is_some()))
    }

    fn get_attr(&self, name: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        match name {
            "label" => Some(heap.alloc(self.0.label.to_string())),
            "name" => Some(heap.alloc(self.0.label.name.clone())),
            "cell" => Some(super::context::cell_value(&self.0.cell, heap)),
            // Every target has this provider: what `bld build` would put under bld-out.
            "outputs" => {
                let info = self.0.provider_named(super::globals::DEFAULT_INFO)?;
                Some(info.field("outputs")?.to_value(heap))
            }
            _ => None,
        }
    }

    fn dir_attr(&self) -> Vec<String> {
        ["label", "name", "cell", "outputs"].map(str::to_owned).to_vec()
    }
}
