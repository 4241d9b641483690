//! Debian versions and how they compare (Debian Policy 5.6.12): `epoch:upstream-revision`.

use std::cmp::Ordering;
use std::fmt;

/// A version of a package. Versions that Debian calls equal are equal here (`1.0` and `1.00`).
#[derive(Clone, Debug)]
pub struct Version(String);

impl Version {
    /// Parses a version: not empty, of the characters that versions have, its epoch a number.
    ///
    /// The underscore is none of them, but some vendors' packages have it.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidVersion> {
        let text = text.into();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".+-:~_".contains(&byte);
        let epoch_is_number = match text.split_once(':') {
            Some((epoch, _)) => {
                !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_digit())
            }
            None => true,
        };
        if text.is_empty() || !text.bytes().all(plain) || !epoch_is_number {
            return Err(InvalidVersion(text));
        }
        Ok(Self(text))
    }

    /// Returns the version as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> (&str, &str, &str) {
        let (epoch, rest) = self.0.split_once(':').unwrap_or(("0", &self.0));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
        (epoch, upstream, revision)
    }
}

/// A text is not a version of a Debian package.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a Debian version")]
pub struct InvalidVersion(pub String);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let (our_epoch, our_upstream, our_revision) = self.parts();
        let (their_epoch, their_upstream, their_revision) = other.parts();
        compare_numbers(our_epoch, their_epoch)
            .then_with(|| compare_parts(our_upstream, their_upstream))
            .then_with(|| compare_parts(our_revision, their_revision))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

/// Compares by turns: a run without digits by [`rank`], then a run of digits by value.
fn compare_parts(mut ours: &str, mut theirs: &str) -> Ordering {
    while !ours.is_empty() || !theirs.is_empty() {
        let (our_word, our_rest) = split_run(ours, |byte| !byte.is_ascii_digit());
        let (their_word, their_rest) = split_run(theirs, |byte| !byte.is_ascii_digit());
        let (our_number, our_rest) = split_run(our_rest, |byte| byte.is_ascii_digit());
        let (their_number, their_rest) = split_run(their_rest, |byte| byte.is_ascii_digit());
        let order = compare_words(our_word, their_word)
            .then_with(|| compare_numbers(our_number, their_number));
        if order.is_ne() {
            return order;
        }
        (ours, theirs) = (our_rest, their_rest);
    }
    Ordering::Equal
}

fn split_run(text: &str, belongs: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text.bytes().position(|byte| !belongs(byte)).unwrap_or(text.len());
    text.split_at(end)
}

fn compare_words(ours: &str, theirs: &str) -> Ordering {
    let length = ours.len().max(theirs.len());
    let at = |word: &str, index: usize| rank(word.as_bytes().get(index).copied());
    (0..length)
        .map(|index| at(ours, index).cmp(&at(theirs, index)))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// `~` sorts before the end of the word, letters after it, everything else after the letters.
fn rank(byte: Option<u8>) -> i32 {
    match byte {
        Some(b'~') => -1,
        None => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(letter),
        Some(other) => i32::from(other) + 256,
    }
}

/// Compares digits of any length by value, so that no date-like version overflows.
fn compare_numbers(ours: &str, theirs: &str) -> Ordering {
    let (ours, theirs) = (ours.trim_start_matches('0'), theirs.trim_start_matches('0'));
    ours.len().cmp(&theirs.len()).then_with(|| ours.cmp(theirs))
}
