//! The parts of a question: words, quoted words, parentheses and commas; and mistakes, shown in their place.

use crate::diagnostic::{Diagnostic, Place};

/// Where in the text something stands: bytes from, to.
pub(super) type Span = (usize, usize);

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

/// A part of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Open,
    Close,
    Comma,
    Word(String),
    /// A word in quotes: never a function or an operation.
    Quoted(String),
}

/// A part of a question, and where it stands.
pub(super) struct Spanned {
    pub(super) token: Token,
    pub(super) span: Span,
}

impl Spanned {
    /// Returns it as it was written.
    pub(super) fn shown(&self) -> &str {
        match &self.token {
            Token::Open => "(",
            Token::Close => ")",
            Token::Comma => ",",
            Token::Word(word) | Token::Quoted(word) => word,
        }
    }
}

/// Takes a question apart.
pub(super) fn tokens(text: &str) -> Result<Vec<Spanned>, Diagnostic> {
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
