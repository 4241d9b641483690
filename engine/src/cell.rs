//! Cells: one target stands for many, one for each choice of values on its axes.

use std::collections::BTreeMap;
use std::fmt;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::diagnostic::suggest;

/// One choice of values: axis to value. A target without axes has the one empty cell.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cell(pub BTreeMap<String, String>);

/// `{axis=value,…}`, or nothing for the empty cell: the suffix of a label.
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let parts: Vec<_> = self.0.iter().map(|(axis, value)| format!("{axis}={value}")).collect();
        write!(f, "{{{}}}", parts.join(","))
    }
}

/// A choice among cells: for some axes, which values.
#[derive(Clone, Debug, Default)]
pub struct CellPattern(BTreeMap<String, ValuePattern>);

impl CellPattern {
    /// Parses `axis=pattern,axis=pattern`.
    pub fn parse(text: &str) -> Result<Self, ChoiceError> {
        let mut chosen = BTreeMap::new();
        for choice in text.split(',') {
            let (axis, pattern) = choice.split_once('=').ok_or(ChoiceError::Form)?;
            let axis = axis.trim();
            if axis.is_empty() {
                return Err(ChoiceError::Form);
            }
            let pattern = ValuePattern::parse(pattern.trim())?;
            if chosen.insert(axis.to_owned(), pattern).is_some() {
                return Err(ChoiceError::Twice(axis.to_owned()));
            }
        }
        Ok(Self(chosen))
    }

    /// Returns the pattern made of these axes and texts.
    pub fn from_axes(
        axes: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, PatternError> {
        axes.into_iter()
            .map(|(axis, text)| ValuePattern::parse(&text).map(|pattern| (axis, pattern)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Returns whether the cell is among those chosen. An axis that it lacks matches nothing.
    pub fn matches(&self, cell: &Cell) -> bool {
        self.0
            .iter()
            .all(|(axis, pattern)| cell.0.get(axis).is_some_and(|value| pattern.matches(value)))
    }

    /// Returns whether the cell is among those chosen, as far as it has the axes.
    pub fn matches_known(&self, cell: &Cell) -> bool {
        self.0
            .iter()
            .all(|(axis, pattern)| cell.0.get(axis).is_none_or(|value| pattern.matches(value)))
    }

    /// Returns whether cells with this value on that axis may be among those chosen.
    pub(crate) fn allows(&self, axis: &str, value: &str) -> bool {
        self.0.get(axis).is_none_or(|pattern| pattern.matches(value))
    }

    /// Returns whether this says something about the axis.
    pub(crate) fn names(&self, axis: &str) -> bool {
        self.0.contains_key(axis)
    }

    /// Returns this choice with one value on an axis, whatever it said about that axis.
    #[must_use]
    pub fn with(&self, axis: &str, value: &str) -> Self {
        let mut chosen = self.0.clone();
        let only = ValuePattern { text: value.to_owned(), regex: None };
        chosen.insert(axis.to_owned(), only);
        Self(chosen)
    }

    /// Returns the axes that this says something about.
    pub fn axes(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// Says what may be meant where no cell is chosen, given all values of each axis: `, did you mean …?` with the one
    /// that is near to a choice that none of them meets, or nothing.
    pub fn suggest(&self, axes: &BTreeMap<String, Vec<String>>) -> String {
        let unmet = self.0.iter().filter_map(|(axis, pattern)| {
            let values = axes.get(axis)?;
            let is_met = values.iter().any(|value| pattern.matches(value));
            (!is_met).then(|| suggest(&pattern.text, values))
        });
        unmet.max_by_key(|suggestion| !suggestion.is_empty()).unwrap_or_default()
    }

    /// Returns whether every cell is chosen.
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for CellPattern {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for CellPattern {}

impl fmt::Display for CellPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let parts: Vec<_> =
            self.0.iter().map(|(axis, pattern)| format!("{axis}={}", pattern.text)).collect();
        write!(f, "{{{}}}", parts.join(","))
    }
}

/// Which values: a glob (`*` any characters, `?` one), or `~` and a regular expression for the whole value.
#[derive(Clone, Debug)]
pub struct ValuePattern {
    text: String,
    /// `None` where the text stands for itself, as most do.
    regex: Option<Regex>,
}

/// Why a text is no choice among cells.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// It is not `axis=value`, several with commas between them.
    #[error("the braces hold axis=value, with commas between them")]
    Form,
    /// An axis is named twice.
    #[error(
        "the axis `{0}` is named twice; a glob or ~regular expression can stand for many values"
    )]
    Twice(String),
    /// A value is not a pattern.
    #[error(transparent)]
    Value(#[from] PatternError),
}

/// A text that is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a pattern: {why}")]
pub struct PatternError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

fn compile(text: &str, source: &str) -> Result<Regex, PatternError> {
    Regex::new(source).map_err(|error| {
        // Above its last line it draws the text, which is shown with the place already.
        let why = error.to_string();
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
        PatternError { text: text.to_owned(), why: why.to_owned() }
    })
}

impl ValuePattern {
    /// Parses a pattern.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let regex = match text.strip_prefix('~') {
            Some(regex) => {
                // By itself first: `a)|(b` is only one with the brackets that follow.
                compile(text, regex)?;
                Some(compile(text, &format!("^(?:{regex})$"))?)
            }
            None if text.contains(['*', '?']) => Some(compile(text, &glob_regex(text))?),
            None => None,
        };
        Ok(Self { text: text.to_owned(), regex })
    }

    /// Returns whether the whole value matches.
    pub fn matches(&self, value: &str) -> bool {
        match &self.regex {
            Some(regex) => regex.is_match(value),
            None => self.text == value,
        }
    }
}

fn glob_regex(glob: &str) -> String {
    let mut regex = String::from("(?s)^");
    for character in glob.chars() {
        match character {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            other => regex.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    regex.push('$');
    regex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_and_regular_expressions_match_whole_values() {
        for (pattern, value, expected) in [
            ("6.1.*", "6.1.0-56-amd64", true),
            ("6.1.*", "16.1.0", false),
            ("6.1.0", "6x1x0", false),
            ("*-rt-amd64", "6.1.0-47-rt-amd64", true),
            ("~6\\.(1|12)\\..*", "6.12.3", true),
            ("~6", "6.1", false),
            ("", "", true),
        ] {
            let found = ValuePattern::parse(pattern).unwrap().matches(value);
            assert_eq!(found, expected, "{pattern} {value}");
        }
        ValuePattern::parse("~(").unwrap_err();
        ValuePattern::parse("~a)|(b").unwrap_err();
    }
}
