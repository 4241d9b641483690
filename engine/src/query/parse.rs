//! The language of questions: words, functions, set operations and parentheses.

use regex::Regex;

use super::expression::{Atom, Expression, Operation};
use super::token::{Span, Spanned, Token, mistake, tokens};
use crate::diagnostic::{Diagnostic, suggest};

/// How long a question may be: lists of labels that programs put together, not data.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// How deep functions and parentheses may nest.
const DEPTH_MAX: usize = 100;

/// What functions there are, and what they take.
const FUNCTIONS: [(&str, &str); 8] = [
    ("deps", "deps(x) or deps(x, depth)"),
    ("rdeps", "rdeps(universe, x) or rdeps(universe, x, depth)"),
    ("somepath", "somepath(from, to)"),
    ("allpaths", "allpaths(from, to)"),
    ("kind", "kind(regex, x)"),
    ("attr", "attr(name, regex, x)"),
    ("filter", "filter(regex, x)"),
    ("set", "set(label label …)"),
];

/// Parses a question.
pub(super) fn parse(text: &str) -> Result<Expression, Diagnostic> {
    if text.len() > TEXT_BYTES_MAX {
        let why = format!("this question has more than {TEXT_BYTES_MAX} bytes");
        return Err(Diagnostic::new(why));
    }
    let tokens = tokens(text)?;
    let mut parser = Parser { text, tokens, next: 0, depth: 0 };
    let expression = parser.expression()?;
    match parser.peek() {
        None => Ok(expression),
        Some(token) => {
            let (span, shown) = (token.span, token.shown());
            let why = format!(
                "`{shown}` is too much here: between two sets stands +, - or ^, with spaces around it"
            );
            Err(mistake(text, span, why))
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Spanned>,
    next: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Spanned> {
        self.tokens.get(self.next)
    }

    fn here(&self) -> Span {
        self.peek().map_or((self.text.len(), self.text.len()), |token| token.span)
    }

    fn wrong(&self, span: Span, why: impl Into<String>) -> Diagnostic {
        mistake(self.text, span, why)
    }

    fn take(&mut self, token: &Token, wanted: &str) -> Result<(), Diagnostic> {
        if self.peek().is_some_and(|it| it.token == *token) {
            self.next += 1;
            return Ok(());
        }
        let found = self.peek().map_or("the end".to_owned(), |it| format!("`{}`", it.shown()));
        Err(self.wrong(self.here(), format!("{wanted} is wanted here, not {found}")))
    }

    fn expression(&mut self) -> Result<Expression, Diagnostic> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let why = format!("this nests more than {DEPTH_MAX} deep");
            return Err(self.wrong(self.here(), why));
        }
        let first = self.term()?;
        let mut rest = Vec::new();
        while let Some(Spanned { token: Token::Word(word), .. }) = self.peek()
            && let Some(operation) = Operation::of(word)
        {
            self.next += 1;
            rest.push((operation, self.term()?));
        }
        self.depth -= 1;
        if rest.is_empty() {
            return Ok(first);
        }
        Ok(Expression::Chain { first: Box::new(first), rest })
    }

    fn term(&mut self) -> Result<Expression, Diagnostic> {
        let span = self.here();
        let Some(token) = self.peek().map(|it| it.token.clone()) else {
            return Err(self.wrong(span, "a label, a pattern, a path or a function is wanted here"));
        };
        match token {
            Token::Open => {
                self.next += 1;
                let inside = self.expression()?;
                self.take(&Token::Close, "`)`")?;
                Ok(inside)
            }
            Token::Word(word) if Operation::of(&word).is_some() => {
                let why = format!("`{word}` stands between two sets, and before it is none");
                Err(self.wrong(span, why))
            }
            Token::Word(word) => {
                self.next += 1;
                if self.peek().is_some_and(|it| it.token == Token::Open) {
                    return self.function(&word, span);
                }
                Ok(Expression::Atom(Atom { text: word, span }))
            }
            Token::Quoted(text) => {
                self.next += 1;
                Ok(Expression::Atom(Atom { text, span }))
            }
            Token::Close | Token::Comma => {
                Err(self.wrong(span, "a label, a pattern, a path or a function is wanted here"))
            }
        }
    }

    fn function(&mut self, name: &str, span: Span) -> Result<Expression, Diagnostic> {
        let usage = FUNCTIONS.iter().find(|(known, _)| *known == name);
        let Some((_, usage)) = usage else {
            let known = FUNCTIONS.iter();
            let known: Vec<String> = known.map(|(known, _)| (*known).to_owned()).collect();
            let why = match suggest(name, &known) {
                none if none.is_empty() => {
                    format!("there is no function `{name}` (there are: {})", known.join(", "))
                }
                suggestion => format!("there is no function `{name}`{suggestion}"),
            };
            return Err(self.wrong(span, why));
        };
        self.take(&Token::Open, "`(`")?;
        let expression = self.arguments(name).map_err(|mut error| {
            error.notes.push(format!("written as {usage}"));
            error
        })?;
        Ok(expression)
    }

    fn arguments(&mut self, name: &str) -> Result<Expression, Diagnostic> {
        if name == "set" {
            return self.set();
        }
        let made = match name {
            "deps" => {
                let of = self.boxed()?;
                Expression::Deps { of, depth: self.depth()? }
            }
            "rdeps" => {
                let universe = self.boxed()?;
                self.comma()?;
                let of = self.boxed()?;
                Expression::ReverseDeps { universe, of, depth: self.depth()? }
            }
            "somepath" | "allpaths" => {
                let from = self.boxed()?;
                self.comma()?;
                let to = self.boxed()?;
                if name == "somepath" {
                    Expression::SomePath { from, to }
                } else {
                    Expression::AllPaths { from, to }
                }
            }
            "attr" => {
                let (name, span) = self.word("the name of an attribute")?;
                self.comma()?;
                let regex = self.regex()?;
                self.comma()?;
                Expression::Attr { name, span, regex, of: self.boxed()? }
            }
            _ => {
                let regex = self.regex()?;
                self.comma()?;
                let of = self.boxed()?;
                if name == "kind" {
                    Expression::Kind { regex, of }
                } else {
                    Expression::Filter { regex, of }
                }
            }
        };
        self.take(&Token::Close, "`)`")?;
        Ok(made)
    }

    fn set(&mut self) -> Result<Expression, Diagnostic> {
        let mut atoms = Vec::new();
        while let Some(token) = self.peek()
            && let Token::Word(text) | Token::Quoted(text) = &token.token
        {
            atoms.push(Atom { text: text.clone(), span: token.span });
            self.next += 1;
        }
        self.take(&Token::Close, "a label or `)`")?;
        Ok(Expression::Set(atoms))
    }

    fn boxed(&mut self) -> Result<Box<Expression>, Diagnostic> {
        self.expression().map(Box::new)
    }

    fn comma(&mut self) -> Result<(), Diagnostic> {
        self.take(&Token::Comma, "`,`")
    }

    fn word(&mut self, wanted: &str) -> Result<(String, Span), Diagnostic> {
        let span = self.here();
        match self.peek().map(|it| &it.token) {
            Some(Token::Word(word) | Token::Quoted(word)) => {
                let word = word.clone();
                self.next += 1;
                Ok((word, span))
            }
            _ => Err(self.wrong(span, format!("{wanted} is wanted here"))),
        }
    }

    fn regex(&mut self) -> Result<Regex, Diagnostic> {
        let (text, span) = self.word("a regular expression (in quotes, if it has one of ( ) ,)")?;
        Regex::new(&text).map_err(|error| {
            // Above its last line it draws the text, which is shown with the place already.
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
            self.wrong(span, format!("this is no regular expression: {why}"))
        })
    }

    /// Returns how far to go, if that is said.
    fn depth(&mut self) -> Result<Option<usize>, Diagnostic> {
        if self.peek().is_none_or(|it| it.token != Token::Comma) {
            return Ok(None);
        }
        self.next += 1;
        let (text, span) = self.word("a number")?;
        text.parse().map(Some).map_err(|_error| self.wrong(span, "a number is wanted here"))
    }
}
