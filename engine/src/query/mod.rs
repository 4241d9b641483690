//! Questions about what depends on what: a small language over a graph of names.
//!
//! The graph is that of targets, as loading sees them, or that of a plan's actions. Answers come in the order of names.

mod atoms;
mod eval;
mod expression;
mod graph;
mod parse;
mod token;

use std::collections::BTreeSet;

pub use atoms::Atoms;
pub use graph::{QueryGraph, QueryNode};

use crate::diagnostic::Diagnostic;
use expression::Expression;

/// A question, parsed.
#[derive(Debug)]
pub struct Query {
    text: String,
    expression: Expression,
}

impl Query {
    /// Parses a question.
    pub fn parse(text: &str) -> Result<Self, Diagnostic> {
        let expression = parse::parse(text)?;
        Ok(Self { text: text.to_owned(), expression })
    }

    /// Returns the labels, patterns and paths in it, in order.
    pub fn atoms(&self) -> Vec<&str> {
        let mut found = Vec::new();
        self.expression.atoms(&mut found);
        found
    }

    /// Answers it: numbers of nodes, by name; those of a path from its begin to its end.
    pub fn answer(
        &self,
        graph: &QueryGraph,
        resolve: &dyn Fn(&str) -> Result<BTreeSet<usize>, String>,
    ) -> Result<Vec<usize>, Diagnostic> {
        eval::Evaluator { text: &self.text, graph, resolve }.answer(&self.expression)
    }
}
