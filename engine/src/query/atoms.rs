//! The words of a question: labels, patterns, cells and paths, and which nodes they stand for.

use std::collections::{BTreeMap, BTreeSet};

use model::RelativePath;

use super::Query;
use super::graph::QueryGraph;
use crate::diagnostic::suggest;
use crate::label::{Label, Pattern, Targets};
use crate::plan::Plan;
use crate::targets::TargetInfo;

/// What words may stand for: the targets of a workspace, seen from one of its folders.
pub struct Atoms<'a> {
    targets: BTreeMap<&'a Label, &'a TargetInfo>,
    sources: BTreeSet<&'a RelativePath>,
    here: &'a RelativePath,
}

impl<'a> Atoms<'a> {
    /// Returns what words may stand for in the folder `here` of a workspace with these targets.
    pub fn new(targets: &'a [TargetInfo], here: &'a RelativePath) -> Self {
        Self {
            targets: targets.iter().map(|target| (&target.label, target)).collect(),
            sources: targets.iter().flat_map(|target| &target.sources).collect(),
            here,
        }
    }

    /// Returns the patterns in a question: what has to be planned to answer it of actions.
    pub fn patterns(&self, query: &Query) -> Result<Vec<Pattern>, String> {
        let atoms = query.atoms();
        let patterns = atoms.into_iter().filter(|text| self.source(text).is_none());
        patterns.map(|text| self.pattern(text)).collect()
    }

    /// Returns which targets or files a word stands for. A cell stands for its target.
    pub fn targets(&self, graph: &QueryGraph, text: &str) -> Result<BTreeSet<usize>, String> {
        if let Some(source) = self.source(text) {
            return Ok(graph.find(source.as_str()).into_iter().collect());
        }
        let pattern = self.pattern(text)?;
        let matched = self.matched(&pattern)?;
        Ok(matched.iter().filter_map(|target| graph.find(&target.label.to_string())).collect())
    }

    /// Returns which actions or files a word stands for: the actions that make what a plan's goals come to.
    pub fn actions(
        &self,
        graph: &QueryGraph,
        plan: &Plan,
        text: &str,
    ) -> Result<BTreeSet<usize>, String> {
        if let Some(source) = self.source(text) {
            return Ok(graph.find(source.as_str()).into_iter().collect());
        }
        let pattern = self.pattern(text)?;
        let matched = self.matched(&pattern)?;
        let labels: BTreeSet<_> = matched.into_iter().map(|target| &target.label).collect();
        let goals = plan
            .goals
            .iter()
            .filter(|goal| labels.contains(&goal.label) && pattern.cells.matches(&goal.cell));
        let outputs = goals.flat_map(|goal| goal.outputs.iter().map(|(_, artifact)| artifact));
        let makers = plan.graph.makers(outputs);
        Ok(makers.iter().filter_map(|maker| graph.of_plan.get(maker).copied()).collect())
    }

    /// Returns the source that a path stands for: itself, or the folder above it that is a source as a whole.
    fn source(&self, text: &str) -> Option<RelativePath> {
        if text.starts_with(':') || text.starts_with("//") || text.contains('{') {
            return None;
        }
        let mut path = self.here.join(&RelativePath::new(text).ok()?);
        loop {
            if self.sources.contains(&path) {
                return Some(path);
            }
            path = path.split_last()?.0;
        }
    }

    fn pattern(&self, text: &str) -> Result<Pattern, String> {
        let pattern = Pattern::parse(text, self.here);
        pattern.map_err(|error| {
            let spaced = text.contains(['+', '-']) && text.matches("//").count() > 1;
            let hint = if spaced { " (operations have spaces around them)" } else { "" };
            format!("{error}{hint}")
        })
    }

    /// Returns the targets that a pattern stands for, by the rules of a build.
    fn matched(&self, pattern: &Pattern) -> Result<Vec<&'a TargetInfo>, String> {
        let covered: Vec<&TargetInfo> = match &pattern.targets {
            Targets::One(label) => self.targets.get(label).copied().into_iter().collect(),
            many @ (Targets::Package(_) | Targets::Below(_)) => {
                let all = self.targets.values().copied();
                all.filter(|it| many.covers(&it.label) && !it.manual).collect()
            }
        };
        if covered.is_empty() {
            let known: Vec<_> = self.targets.keys().map(ToString::to_string).collect();
            return Err(match &pattern.targets {
                Targets::One(label) => {
                    let suggestion = suggest(&label.to_string(), &known);
                    format!("there is no target `{label}`{suggestion}")
                }
                many @ (Targets::Package(_) | Targets::Below(_)) => {
                    format!("there is no target among {many}")
                }
            });
        }
        let has_axes = |target: &TargetInfo| {
            let matrix = target.attrs.get("matrix").and_then(|matrix| matrix.as_object());
            pattern.cells.axes().all(|axis| matrix.is_some_and(|it| it.contains_key(axis)))
        };
        let found: Vec<_> = covered.into_iter().filter(|target| has_axes(target)).collect();
        if found.is_empty() {
            return Err(format!(
                "no target among {} has the axes of {}",
                pattern.targets, pattern.cells
            ));
        }
        Ok(found)
    }
}
