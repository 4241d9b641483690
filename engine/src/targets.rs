//! Targets as loading sees them: plain values, no cell chosen, nothing analysed.

use std::collections::{BTreeMap, BTreeSet};

use model::RelativePath;
use serde_json::Value as Json;

use crate::analyze::with_stack;
use crate::diagnostic::Diagnostic;
use crate::label::{Label, split_cell};
use crate::lang::attr::{AttrKind, is_label};
use crate::lang::data::Data;
use crate::lang::rule::{Axis, Target};
use crate::load::{Loader, Workspace};

/// A target as its package declares it.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetInfo {
    /// Its name.
    pub label: Label,
    /// Its rule.
    pub kind: String,
    /// What it was given, `tags` and `matrix` too. A select is `{"select": {condition: value}}`.
    pub attrs: BTreeMap<String, Json>,
    /// The targets that it names, in any branch of a select.
    pub deps: BTreeSet<Label>,
    /// The files and folders that it names, in any branch of a select.
    pub sources: BTreeSet<RelativePath>,
    /// Whether no pattern for many stands for it.
    pub manual: bool,
}

impl Workspace<'_> {
    /// Returns every target of the workspace, in the order of their labels.
    pub fn targets(&self) -> Result<Vec<TargetInfo>, Diagnostic> {
        with_stack(|| {
            let targets = Loader::new(*self).everything()?;
            Ok(targets.iter().map(|target| info(target)).collect())
        })
    }
}

fn info(target: &Target) -> TargetInfo {
    let mut info = TargetInfo {
        label: target.label.clone(),
        kind: target.rule.name().to_owned(),
        attrs: BTreeMap::new(),
        deps: BTreeSet::new(),
        sources: BTreeSet::new(),
        manual: target.is_manual(),
    };
    let mut named = Named { here: &target.label.package, info: &mut info };
    for (name, attr) in &target.rule.schema {
        let value = &target.attrs[name];
        named.add(&attr.kind, value);
        named.info.attrs.insert(name.clone(), json(value));
    }
    for axis in target.matrix.values() {
        if let Axis::Target(label) = axis {
            named.info.deps.insert(label.clone());
        }
    }
    let axis = |(name, axis): (&String, &Axis)| {
        let values = match axis {
            Axis::Values(values) => Json::from(values.clone()),
            Axis::Target(label) => Json::from(label.to_string()),
        };
        (name.clone(), values)
    };
    let matrix: serde_json::Map<_, _> = target.matrix.iter().map(axis).collect();
    info.attrs.insert("matrix".to_owned(), matrix.into());
    info.attrs.insert("tags".to_owned(), Json::from(target.tags.clone()));
    info.attrs.insert("name".to_owned(), Json::from(target.label.name.clone()));
    info
}

/// Collects what attributes name.
struct Named<'a> {
    here: &'a RelativePath,
    info: &'a mut TargetInfo,
}

impl Named<'_> {
    fn add(&mut self, kind: &AttrKind, value: &Data) {
        match (kind, value) {
            // A select is a whole value, so this goes no deeper than once.
            (_, Data::Select(select)) => select.values().for_each(|value| self.add(kind, value)),
            (AttrKind::Source, Data::String(text)) => self.source(text),
            (AttrKind::SourceList, Data::List(items)) => {
                items.iter().filter_map(Data::as_str).for_each(|text| self.source(text));
            }
            (AttrKind::Label(_), Data::String(text)) => self.label(text),
            (AttrKind::LabelList(_), Data::List(items)) => {
                items.iter().filter_map(Data::as_str).for_each(|text| self.label(text));
            }
            (AttrKind::LabelDict(_), Data::Dict(pairs)) => {
                pairs.iter().filter_map(|(_, it)| it.as_str()).for_each(|text| self.label(text));
            }
            _ => {}
        }
    }

    fn source(&mut self, text: &str) {
        if is_label(text) {
            self.label(text);
        } else if let Ok(path) = RelativePath::new(text) {
            self.info.sources.insert(self.here.join(&path));
        }
    }

    /// Attributes were checked when the target was declared; the text of a default may be empty.
    fn label(&mut self, text: &str) {
        let label = split_cell(text).and_then(|(label, _)| Label::parse(label, self.here));
        self.info.deps.extend(label);
    }
}

fn json(value: &Data) -> Json {
    if let Data::Select(select) = value {
        let branches: serde_json::Map<_, _> =
            select.branches().map(|(condition, it)| (condition.to_owned(), json(it))).collect();
        return serde_json::Map::from_iter([("select".to_owned(), branches.into())]).into();
    }
    // What has no form in JSON (providers, artifacts) is in no attribute.
    value.to_json().unwrap_or_default()
}
