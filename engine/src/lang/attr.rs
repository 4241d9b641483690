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
        let wrong = |wanted: &str| Err(format!("it is {wanted}, not {}", value.kind()));
        match (&self.kind, value) {
            (AttrKind::String, Data::String(_))
            | (AttrKind::Int, Data::Int(_))
            | (AttrKind::Bool, Data::Bool(_)) => Ok(()),
            (AttrKind::Choice(allowed), Data::String(text)) => {
                if allowed.contains(text) {
                    return Ok(());
                }
                Err(format!("it is one of {}, not {text:?}", allowed.join(", ")))
            }
            (AttrKind::StringList, Data::List(items)) => {
                if items.iter().all(|item| item.as_str().is_some()) {
                    return Ok(());
                }
                wrong("a list of texts")
            }
            (AttrKind::StringDict, Data::Dict(pairs)) => {
                let text = |(key, value): &(Data, Data)| key.as_str().and(value.as_str()).is_some();
                if pairs.iter().all(text) { Ok(()) } else { wrong("a dict of texts") }
            }
            (AttrKind::Source, Data::String(text)) => check_source(text, here),
            (AttrKind::SourceList, Data::List(items)) => items.iter().try_for_each(|item| {
                let text = item.as_str().ok_or("it is a list of files and labels")?;
                check_source(text, here)
            }),
            (AttrKind::Label(_), Data::String(text)) => check_label(text, here),
            (AttrKind::LabelList(_), Data::List(items)) => items.iter().try_for_each(|item| {
                check_label(item.as_str().ok_or("it is a list of labels")?, here)
            }),
            (AttrKind::LabelDict(_), Data::Dict(pairs)) => {
                pairs.iter().try_for_each(|(key, value)| {
                    let label = key.as_str().and(value.as_str());
                    check_label(label.ok_or("it is a dict from texts to labels")?, here)
                })
            }
            (AttrKind::Choice(_) | AttrKind::String, _) => wrong("text"),
            (AttrKind::Int, _) => wrong("a number"),
            (AttrKind::Bool, _) => wrong("True or False"),
            (AttrKind::StringList, _) => wrong("a list of texts"),
            (AttrKind::StringDict, _) => wrong("a dict of texts"),
            (AttrKind::Source, _) => wrong("a file or label"),
            (AttrKind::SourceList, _) => wrong("a list of files and labels"),
            (AttrKind::Label(_), _) => wrong("a label"),
            (AttrKind::LabelList(_), _) => wrong("a list of labels"),
            (AttrKind::LabelDict(_), _) => wrong("a dict from texts to labels"),
        }
    }
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
