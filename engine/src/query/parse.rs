//! The language of questions: words, functions, set operations and parentheses.

use regex::Regex;

use crate::diagnostic::{Diagnostic, Place, suggest};

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

/// Where in the text something stands: bytes from, to.
pub(super) type Span = (usize, usize);

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
    fn of(word: &str) -> Option<Self> {
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

/// Returns a mistake at a place in a question.
pub(super) fn mistake(text: &str, span: Span, why: impl Into<String>) -> Diagnostic {
    let (from, to) = (span.0.min(text.len()), span.1.min(text.len()));
    let begin = text[..from].rfind('\n').map_or(0, |at| at + 1);
    let end = text[from..].find('\n').map_or(text.len(), |at| from + at);
    let place = Place {
        file: "query".to_owned(),
        line: text[..from].matches('\n').count() + 1,
        column: text[begin..from].chars().count() + 1,
        text: text[begin..end].to_owned(),
        width: text[from..to.min(end).max(from)].chars().count().max(1),
    };
    Diagnostic::at(&place, why)
}

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

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Comma,
    Word(String),
    /// A word in quotes: never a function or an operation.
    Quoted(String),
}

struct Spanned {
    token: Token,
    span: Span,
}

impl Spanned {
    fn shown(&self) -> &str {
        match &self.token {
            Token::Open => "(",
            Token::Close => ")",
            Token::Comma => ",",
            Token::Word(word) | Token::Quoted(word) => word,
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Spanned>, Diagnostic> {
    let mut tokens = Vec::new();
    let mut rest = text.char_indices().peekable();
    while let Some((from, character)) = rest.next() {
        let token = match character {
            ' ' | '\t' | '\n' | '\r' => continue,
            '(' => Token::Open,
            ')' => Token::Close,
            ',' => Token::Comma,
            '"' | '\'' => {
                let end = text[from + 1..].find(character);
                let Some(end) = end.map(|end| from + 1 + end) else {
                    return Err(mistake(text, (from, from + 1), "this quotation has no end"));
                };
                while rest.next_if(|(at, _)| *at <= end).is_some() {}
                Token::Quoted(text[from + 1..end].to_owned())
            }
            _ => {
                // Between braces, anything up to their end is part of the word: `{axis=a,axis=~(b|c)}`.
                let mut braces = character == '{';
                let mut end = from + character.len_utf8();
                while let Some((at, character)) = rest.next_if(|(_, it)| braces || !ends_word(*it))
                {
                    braces = if braces { character != '}' } else { character == '{' };
                    end = at + character.len_utf8();
                }
                Token::Word(text[from..end].to_owned())
            }
        };
        let to = rest.peek().map_or(text.len(), |(at, _)| *at);
        tokens.push(Spanned { token, span: (from, to) });
    }
    Ok(tokens)
}

fn ends_word(character: char) -> bool {
    character.is_whitespace() || "(),\"'".contains(character)
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
