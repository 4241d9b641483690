//! Answering a question: sets of nodes, and walks along edges with a list of what is still to do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use regex::Regex;
use serde_json::Value as Json;

use super::expression::{Atom, Expression, Operation};
use super::graph::QueryGraph;
use super::token::mistake;
use crate::diagnostic::{Diagnostic, suggest};

type Set = BTreeSet<usize>;

/// A question, and what it is asked of. The parser bounds how deep it nests.
pub(super) struct Evaluator<'a> {
    pub(super) text: &'a str,
    pub(super) graph: &'a QueryGraph,
    pub(super) resolve: &'a dyn Fn(&str) -> Result<Set, String>,
}

impl Evaluator<'_> {
    pub(super) fn answer(&self, expression: &Expression) -> Result<Vec<usize>, Diagnostic> {
        if let Expression::SomePath { from, to } = expression {
            return Ok(self.path(&self.set(from)?, &self.set(to)?));
        }
        Ok(self.set(expression)?.into_iter().collect())
    }

    fn set(&self, expression: &Expression) -> Result<Set, Diagnostic> {
        match expression {
            Expression::Atom(atom) => self.atom(atom),
            Expression::Set(atoms) => {
                let mut all = Set::new();
                for atom in atoms {
                    all.extend(self.atom(atom)?);
                }
                Ok(all)
            }
            Expression::Deps { of, depth } => {
                Ok(walk(self.set(of)?, *depth, |node| self.graph.deps(node)))
            }
            Expression::ReverseDeps { universe, of, depth } => {
                let universe = walk(self.set(universe)?, None, |node| self.graph.deps(node));
                let from = self.set(of)?.intersection(&universe).copied().collect();
                let users = |node| self.graph.users(node).filter(|it| universe.contains(it));
                Ok(walk(from, *depth, users))
            }
            Expression::SomePath { from, to } => {
                Ok(self.path(&self.set(from)?, &self.set(to)?).into_iter().collect())
            }
            Expression::AllPaths { from, to } => {
                let below = walk(self.set(from)?, None, |node| self.graph.deps(node));
                let to: Set = self.set(to)?.intersection(&below).copied().collect();
                Ok(walk(to, None, |node| self.graph.users(node).filter(|it| below.contains(it))))
            }
            Expression::Kind { regex, of } => {
                let mut set = self.set(of)?;
                set.retain(|node| regex.is_match(&self.graph.node(*node).kind));
                Ok(set)
            }
            Expression::Filter { regex, of } => {
                let mut set = self.set(of)?;
                set.retain(|node| regex.is_match(&self.graph.node(*node).name));
                Ok(set)
            }
            Expression::Attr { name, span, regex, of } => {
                let mut set = self.set(of)?;
                let has = |node: &usize| self.graph.node(*node).attrs.contains_key(name);
                if !(0..self.graph.len()).any(|node| has(&node)) {
                    let suggestion = suggest(name, &self.graph.attr_names());
                    let why = format!("nothing here has an attribute `{name}`{suggestion}");
                    return Err(mistake(self.text, *span, why));
                }
                set.retain(|node| {
                    let value = self.graph.node(*node).attrs.get(name);
                    value.is_some_and(|value| matches(value, regex))
                });
                Ok(set)
            }
            Expression::Chain { first, rest } => {
                let mut set = self.set(first)?;
                for (operation, right) in rest {
                    let right = self.set(right)?;
                    match operation {
                        Operation::Union => set.extend(right),
                        Operation::Intersect => set.retain(|node| right.contains(node)),
                        Operation::Except => set.retain(|node| !right.contains(node)),
                    }
                }
                Ok(set)
            }
        }
    }

    fn atom(&self, atom: &Atom) -> Result<Set, Diagnostic> {
        (self.resolve)(&atom.text).map_err(|why| mistake(self.text, atom.span, why))
    }

    /// Returns a shortest path from one of these to one of those; nothing if there is none.
    fn path(&self, from: &Set, to: &Set) -> Vec<usize> {
        let mut before: BTreeMap<usize, Option<usize>> =
            from.iter().map(|it| (*it, None)).collect();
        let mut pending: VecDeque<usize> = from.iter().copied().collect();
        while let Some(node) = pending.pop_front() {
            if to.contains(&node) {
                let mut path: Vec<_> = std::iter::successors(Some(node), |it| before[it]).collect();
                path.reverse();
                return path;
            }
            for next in self.graph.deps(node) {
                before.entry(next).or_insert_with(|| {
                    pending.push_back(next);
                    Some(node)
                });
            }
        }
        Vec::new()
    }
}

/// Returns these nodes and those that `next` leads to, in so many steps.
fn walk<I: Iterator<Item = usize>>(
    from: Set,
    depth: Option<usize>,
    next: impl Fn(usize) -> I,
) -> Set {
    let mut found = from.clone();
    let mut edge: Vec<usize> = from.into_iter().collect();
    let mut steps = 0;
    while !edge.is_empty() && depth.is_none_or(|depth| steps < depth) {
        let reached = edge.into_iter().flat_map(&next);
        edge = reached.filter(|node| found.insert(*node)).collect();
        steps += 1;
    }
    found
}

/// Returns whether a value matches: a list or dict if one of its values does, a select if one of its branches does.
fn matches(value: &Json, regex: &Regex) -> bool {
    let mut pending = vec![value];
    while let Some(value) = pending.pop() {
        let found = match value {
            Json::Null => false,
            Json::Bool(true) => regex.is_match("True"),
            Json::Bool(false) => regex.is_match("False"),
            Json::Number(number) => regex.is_match(&number.to_string()),
            Json::String(text) => regex.is_match(text),
            Json::Array(values) => {
                pending.extend(values);
                false
            }
            Json::Object(fields) => {
                pending.extend(fields.values());
                false
            }
        };
        if found {
            return true;
        }
    }
    false
}
