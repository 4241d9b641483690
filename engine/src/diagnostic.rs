//! Mistakes in a workspace, shown where they were made.

use std::fmt;

use starlark::codemap::FileSpan;

/// How different a name may be from what was typed to be suggested: a third of its letters, at most three.
const DISTANCE_MAX: usize = 3;

/// A mistake in the files of a workspace.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// What is wrong.
    pub message: String,
    /// Where, if it is in a file.
    pub place: Option<Place>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, from the root of the workspace.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// The text of the line.
    pub text: String,
    /// How many columns are meant.
    pub width: usize,
}

impl Place {
    /// Returns the place of a span; of one over many lines, the part on the first.
    pub(crate) fn of(span: &FileSpan) -> Self {
        let resolved = span.resolve_span();
        let text = span.file.source_line(resolved.begin.line).to_owned();
        let end = if resolved.end.line == resolved.begin.line {
            resolved.end.column
        } else {
            text.chars().count()
        };
        Self {
            file: span.filename().to_owned(),
            line: resolved.begin.line + 1,
            column: resolved.begin.column + 1,
            width: end.saturating_sub(resolved.begin.column).max(1),
            text,
        }
    }
}

impl Diagnostic {
    /// Returns a mistake that is in no file.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None }
    }

    /// Returns a mistake at a place.
    pub(crate) fn at(place: &Place, message: impl Into<String>) -> Self {
        Self { message: message.into(), place: Some(place.clone()) }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let Some(place) = &self.place else { return Ok(()) };
        let number = place.line.to_string();
        let margin = " ".repeat(number.len());
        let indent = " ".repeat(place.column - 1);
        let carets = "^".repeat(place.width);
        write!(f, "\n{margin}--> {}:{}:{}", place.file, place.line, place.column)?;
        write!(f, "\n{margin} |\n{number} | {}\n{margin} | {indent}{carets}", place.text)
    }
}

impl std::error::Error for Diagnostic {}

impl From<starlark::Error> for Diagnostic {
    fn from(error: starlark::Error) -> Self {
        // A diagnostic of ours that travelled through Starlark keeps its own place.
        if let starlark::ErrorKind::Native(inner) | starlark::ErrorKind::Other(inner) = error.kind()
            && let Some(own) = inner.downcast_ref::<Self>()
            && own.place.is_some()
        {
            return own.clone();
        }
        let place = error.span().map(Place::of);
        let message = error.without_diagnostic().to_string();
        let mut message = message.trim_end().to_owned();
        let calls: Vec<_> = error
            .call_stack()
            .frames
            .iter()
            .filter_map(|frame| {
                let place = Place::of(frame.location.as_ref()?);
                Some(format!("\n  in {} at {}:{}", frame.name, place.file, place.line))
            })
            .collect();
        message.extend(calls);
        Self { message, place }
    }
}

/// Returns `, did you mean …?` if a known name is near the one that was typed, else nothing.
pub fn suggest<'a>(typed: &str, known: impl IntoIterator<Item = &'a String>) -> String {
    let allowed = (typed.chars().count() / 3).clamp(1, DISTANCE_MAX);
    let nearest = known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(typed, name), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min();
    nearest.map(|(_, name)| format!(", did you mean `{name}`?")).unwrap_or_default()
}
