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
    /// How one gets there: the calls, and the target that they were for.
    pub notes: Vec<String>,
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
        Self { message: message.into(), place: None, notes: Vec::new() }
    }

    /// Returns this mistake as one somewhere in a file.
    pub(crate) fn in_file(mut self, file: &str) -> Self {
        self.message = format!("{}\n --> {file}", self.message);
        self
    }

    /// Returns a mistake at a place.
    pub(crate) fn at(place: &Place, message: impl Into<String>) -> Self {
        Self { message: message.into(), place: Some(place.clone()), notes: Vec::new() }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let number = self.place.as_ref().map_or(0, |place| place.line).to_string();
        let margin = " ".repeat(number.len());
        if let Some(place) = &self.place {
            // A tab stays one, so that the caret stands below what it means.
            let indent: String = place
                .text
                .chars()
                .take(place.column - 1)
                .map(|it| if it == '\t' { '\t' } else { ' ' })
                .collect();
            let carets = "^".repeat(place.width);
            write!(f, "\n{margin}--> {}:{}:{}", place.file, place.line, place.column)?;
            write!(f, "\n{margin} |\n{number} | {}\n{margin} | {indent}{carets}", place.text)?;
        }
        self.notes.iter().try_for_each(|note| write!(f, "\n{margin} = {note}"))
    }
}

impl std::error::Error for Diagnostic {}

impl From<starlark::Error> for Diagnostic {
    fn from(error: starlark::Error) -> Self {
        use starlark::ErrorKind;
        // A diagnostic of ours that travelled through Starlark keeps its own place.
        if let ErrorKind::Native(inner) | ErrorKind::Other(inner) = error.kind()
            && let Some(own) = inner.downcast_ref::<Self>()
            && own.place.is_some()
        {
            return own.clone();
        }
        let innermost = || error.call_stack().frames.last()?.location.as_ref();
        let place = error.span().or_else(innermost).map(Place::of);
        let message = if let ErrorKind::Fail(message) = error.kind() {
            message.to_string()
        } else {
            error.without_diagnostic().to_string()
        };
        let notes = error
            .call_stack()
            .frames
            .iter()
            .filter_map(|frame| {
                let at = Place::of(frame.location.as_ref()?);
                // The innermost call is the place itself.
                let is_place =
                    place.as_ref().is_some_and(|it| (&it.file, it.line) == (&at.file, at.line));
                (!is_place).then(|| format!("called at {}:{}", at.file, at.line))
            })
            .collect();
        Self { message: in_our_words(message.trim()), place, notes }
    }
}

/// Says in words what the bounds of an evaluation mean to whoever ran into one.
fn in_our_words(message: &str) -> String {
    if message.contains("ticks has been exceeded") {
        return "this computes for too long: is there a loop that does not end?".to_owned();
    }
    if message.contains("Starlark call stack overflow") {
        return "calls nest too deeply: does a function call itself?".to_owned();
    }
    if message.contains("Heap memory limit") {
        return "this takes too much memory".to_owned();
    }
    message.to_owned()
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
