//! What a question says, once it is parsed.

use regex::Regex;

use super::token::Span;

/// A label, pattern or path.
#[derive(Debug)]
pub(super) struct Atom {
    pub(super) text: String,
    pub(super) span: Span,
}

/// What is asked.
#[derive(Debug)]
pub(super) enum Expression {
    Atom(Atom),
    Set(Vec<Atom>),
    Deps {
        of: Box<Expression>,
        depth: Option<usize>,
    },
    ReverseDeps {
        universe: Box<Expression>,
        of: Box<Expression>,
        depth: Option<usize>,
    },
    SomePath {
        from: Box<Expression>,
        to: Box<Expression>,
    },
    AllPaths {
        from: Box<Expression>,
        to: Box<Expression>,
    },
    Kind {
        regex: Regex,
        of: Box<Expression>,
    },
    Attr {
        name: String,
        span: Span,
        regex: Regex,
        of: Box<Expression>,
    },
    Filter {
        regex: Regex,
        of: Box<Expression>,
    },
    /// Operations from left to right: none binds tighter.
    Chain {
        first: Box<Expression>,
        rest: Vec<(Operation, Expression)>,
    },
}

/// What is done with two sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Union,
    Intersect,
    Except,
}

impl Operation {
    pub(super) fn of(word: &str) -> Option<Self> {
        match word {
            "union" | "+" => Some(Self::Union),
            "intersect" | "^" => Some(Self::Intersect),
            "except" | "-" => Some(Self::Except),
            _ => None,
        }
    }
}

impl Expression {
    pub(super) fn atoms<'a>(&'a self, found: &mut Vec<&'a str>) {
        match self {
            Self::Atom(atom) => found.push(&atom.text),
            Self::Set(atoms) => found.extend(atoms.iter().map(|atom| atom.text.as_str())),
            Self::Deps { of, .. }
            | Self::Kind { of, .. }
            | Self::Attr { of, .. }
            | Self::Filter { of, .. } => of.atoms(found),
            Self::ReverseDeps { universe: left, of: right, .. }
            | Self::SomePath { from: left, to: right }
            | Self::AllPaths { from: left, to: right } => {
                left.atoms(found);
                right.atoms(found);
            }
            Self::Chain { first, rest } => {
                first.atoms(found);
                for (_, expression) in rest {
                    expression.atoms(found);
                }
            }
        }
    }
}
