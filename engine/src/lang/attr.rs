//! Attributes: what a rule may be given, checked where it is given.

use std::collections::BTreeMap;

use allocative::Allocative;
use model::RelativePath;
use starlark::values::{
    NoSerialize, ProvidesStaticType, StarlarkPagablePanic, StarlarkValue, starlark_value,
};

use super::data::Data;
use super::plain_value;
use super::provider::ProviderId;
use crate::diagnostic::suggest;
use crate::label::{Label, split_cell};

/// What an attribute may be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AttrKind {
    String,
    /// One of a few texts.
    Choice(Vec<String>),
    Int,
    Bool,
    StringList,
    /// Text to text.
    StringDict,
    /// A file or folder of the package, or a target that makes one.
    Source,
    SourceList,
    /// A target with certain providers.
    Label(Vec<ProviderId>),
    LabelList(Vec<ProviderId>),
    /// Text to targets.
    LabelDict(Vec<ProviderId>),
}

/// An attribute of a rule.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attr {
    pub(crate) kind: AttrKind,
    /// What it is if nothing is given; it must be given if this is `None`.
    pub(crate) default: Option<Data>,
}

/// The attributes of a rule.
pub(crate) type Schema = BTreeMap<String, Attr>;

impl Attr {
    /// Checks a value that was given in the package `here`; a `select` in each of its branches.
    pub(crate) fn check(&self, value: &Data, here: &RelativePath) -> Result<(), String> {
        if let Data::Select(select) = value {
            return select.values().try_for_each(|value| self.check(value, here));
        }
        if self.default.as_ref() == Some(value) {
            return Ok(());
        }
        self.kind.check(value, here)
    }
}

impl AttrKind {
    /// Checks a value that is no select.
    pub(crate) fn check(&self, value: &Data, here: &RelativePath) -> Result<(), String> {
        let text = |value: &Data| value.as_str().map(|_| ()).ok_or_else(|| wrong("text", value));
        let source = |value: &Data| match value.as_str() {
            Some(text) => check_source(text, here),
            None => Err(wrong("a file or label", value)),
        };
        let label = |value: &Data| match value.as_str() {
            Some(text) => check_label(text, here),
            None => Err(wrong("a label", value)),
        };
        match (self, value) {
            (Self::String, Data::String(_))
            | (Self::Int, Data::Int(_))
            | (Self::Bool, Data::Bool(_)) => Ok(()),
            (Self::Choice(allowed), Data::String(text)) => {
                if allowed.contains(text) {
                    return Ok(());
                }
                let suggestion = suggest(text, allowed);
                Err(format!("`{text}` is none of {}{suggestion}", allowed.join(", ")))
            }
            (Self::StringList, Data::List(items)) => each(items, text),
            (Self::SourceList, Data::List(items)) => each(items, source),
            (Self::LabelList(_), Data::List(items)) => each(items, label),
            (Self::StringDict, Data::Dict(pairs)) => each_value(pairs, text),
            (Self::LabelDict(_), Data::Dict(pairs)) => each_value(pairs, label),
            (Self::Source, Data::String(_)) => source(value),
            (Self::Label(_), Data::String(_)) => label(value),
            _ => Err(wrong(self.words(), value)),
        }
    }

    /// Returns what a value of this kind is called in messages.
    fn words(&self) -> &'static str {
        match self {
            Self::Choice(_) | Self::String => "text",
            Self::Int => "a number",
            Self::Bool => "True or False",
            Self::StringList => "a list of texts",
            Self::StringDict => "a dict of texts",
            Self::Source => "a file or label",
            Self::SourceList => "a list of files and labels",
            Self::Label(_) => "a label",
            Self::LabelList(_) => "a list of labels",
            Self::LabelDict(_) => "a dict from texts to labels",
        }
    }
}

fn wrong(wanted: &str, value: &Data) -> String {
    if matches!(value, Data::Select(_)) {
        return "a select is a whole value, not a part of one".to_owned();
    }
    format!("{wanted} is wanted, not {}", value.kind())
}

fn each(items: &[Data], check: impl Fn(&Data) -> Result<(), String>) -> Result<(), String> {
    let mut numbered = (1..).zip(items);
    numbered.try_for_each(|(number, item)| {
        check(item).map_err(|why| format!("value {number} of the list: {why}"))
    })
}

fn each_value(
    pairs: &[(Data, Data)],
    check: impl Fn(&Data) -> Result<(), String>,
) -> Result<(), String> {
    pairs.iter().try_for_each(|(key, value)| {
        let name = key.as_str().ok_or_else(|| wrong("a dict with texts as keys", key))?;
        check(value).map_err(|why| format!("the value of `{name}`: {why}"))
    })
}

/// Returns whether a source is a label rather than a file.
pub(crate) fn is_label(text: &str) -> bool {
    text.starts_with(':') || text.starts_with("//")
}

fn check_source(text: &str, here: &RelativePath) -> Result<(), String> {
    if is_label(text) {
        return check_label(text, here);
    }
    RelativePath::new(text)
        .map(|_| ())
        .map_err(|error| format!("`{text}` is not a path inside the package: {error}"))
}

fn check_label(text: &str, here: &RelativePath) -> Result<(), String> {
    let (label, _) = split_cell(text).map_err(|error| error.to_string())?;
    Label::parse(label, here).map(|_| ()).map_err(|error| error.to_string())
}

#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative, StarlarkPagablePanic)]
pub(crate) struct AttrValue(#[allocative(skip)] pub(crate) Attr);

plain_value!(AttrValue, "attribute", |self, f| f.write_str("<attribute>"));

#[starlark_value(type = "attribute")]
impl<'v> StarlarkValue<'v> for AttrValue {}
