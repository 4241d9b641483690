//! `select`: a value that depends on the cell and on the workspace's settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use allocative::Allocative;
use starlark::values::{
    NoSerialize, ProvidesStaticType, StarlarkPagablePanic, StarlarkValue, starlark_value,
};

use super::data::Data;
use super::plain_value;
use crate::cell::{Cell, CellPattern, ChoiceError};

/// The condition that always holds.
const DEFAULT: &str = "default";

/// Conditions and values; the first condition that holds decides.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Select(Vec<(String, CellPattern, Data)>);

impl Select {
    pub(crate) fn parse(branches: Vec<(Data, Data)>) -> Result<Self, String> {
        let branch = |(condition, value): (Data, Data)| {
            let text = condition.as_str().ok_or("the conditions of a select are text")?.to_owned();
            let pattern = if text == DEFAULT {
                CellPattern::default()
            } else {
                CellPattern::parse(&text).map_err(|error| {
                    let why = match &error {
                        ChoiceError::Form => format!("write \"axis=pattern\", several with commas between them, or \"{DEFAULT}\""),
                        ChoiceError::Twice(_) | ChoiceError::Value(_) => error.to_string(),
                    };
                    format!("`{text}` is not a condition: {why}")
                })?
            };
            Ok((text, pattern, value))
        };
        branches.into_iter().map(branch).collect::<Result<_, String>>().map(Self)
    }

    /// Returns the values of all branches.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Data> {
        self.0.iter().map(|(_, _, value)| value)
    }

    /// Returns the conditions and their values.
    pub(crate) fn branches(&self) -> impl Iterator<Item = (&str, &Data)> {
        self.0.iter().map(|(text, _, value)| (text.as_str(), value))
    }

    /// Returns the value for a cell, given the settings.
    pub(crate) fn choose(
        &self,
        cell: &Cell,
        settings: &BTreeMap<String, String>,
    ) -> Result<&Data, String> {
        let mut known = settings.clone();
        known.extend(cell.0.clone());
        let known = Cell(known);
        for (text, pattern, value) in &self.0 {
            if let Some(axis) = pattern.axes().find(|axis| !known.0.contains_key(*axis)) {
                return Err(format!(
                    "the condition `{text}` asks for `{axis}`, which is neither an axis of this target nor a setting"
                ));
            }
            if pattern.matches(&known) {
                return Ok(value);
            }
        }
        let conditions: Vec<_> = self.0.iter().map(|(text, ..)| text.as_str()).collect();
        Err(format!("no condition holds (there are: {}); add \"{DEFAULT}\"", conditions.join(", ")))
    }
}

#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative, StarlarkPagablePanic)]
pub(crate) struct SelectValue(#[allocative(skip)] pub(crate) Arc<Select>);

plain_value!(SelectValue, "select", |self, f| f.write_str("<select>"));

#[starlark_value(type = "select")]
impl<'v> StarlarkValue<'v> for SelectValue {}
