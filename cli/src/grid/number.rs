//! Names with numbers in them, in the order that people expect.

/// Sorts numbers inside names as numbers: 6.1.0-9 before 6.1.0-10.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Numbered {
    parts: Vec<(u64, String)>,
    text: String,
}

impl Numbered {
    pub(super) fn new(text: String) -> Self {
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (number, after) = rest.split_at(digits);
            let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
            let (word, after) = after.split_at(letters);
            parts.push((number.parse().unwrap_or(0), word.to_owned()));
            rest = after;
        }
        Self { parts, text }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}
