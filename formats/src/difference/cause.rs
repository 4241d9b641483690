//! Guessing what made two runs differ, from the bytes around the first difference.
//!
//! A guess is a help and no proof: [`Hint`]s say what the runs were given, and perturbing one thing alone proves it.

use super::excerpt::is_readable;

/// What has probably made two files differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// When it was made.
    Time,
    /// Where it was made.
    Path,
    /// The name of the machine.
    Host,
    /// Who made it.
    User,
    /// The modes that new files get.
    Umask,
    /// The language of the environment.
    Locale,
    /// How many processors there are.
    Cpus,
    /// The order in which something is listed: a directory, a hash table, a sort by locale, things done at once.
    Order,
    /// What the file system called a file.
    Inode,
    /// Something that is new each time: random, or the number of a process.
    Random,
    /// Debug information.
    DebugInformation,
    /// The sum of all else in a program.
    BuildId,
    /// The same content, compressed otherwise.
    Compression,
}

impl Cause {
    /// Returns whether it only follows from another difference.
    pub fn is_consequence(self) -> bool {
        matches!(self, Self::BuildId)
    }

    /// Returns the word for it in answers that programs read.
    pub fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Path => "path",
            Self::Host => "host",
            Self::User => "user",
            Self::Umask => "umask",
            Self::Locale => "locale",
            Self::Cpus => "cpus",
            Self::Order => "order",
            Self::Inode => "inode",
            Self::Random => "random",
            Self::DebugInformation => "debug-information",
            Self::BuildId => "build-id",
            Self::Compression => "compression",
        }
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Time => "a time stamp",
            Self::Path => "the path where it was built",
            Self::Host => "the host name",
            Self::User => "the user",
            Self::Umask => "the umask",
            Self::Locale => "the locale",
            Self::Cpus => "the number of processors",
            Self::Order => "an order (of a directory, of a sort by locale, of a hash table, of things done at once)",
            Self::Inode => "an inode or device number of the file system",
            Self::Random => "something new each time (random, or the number of a process)",
            Self::DebugInformation => "debug information (most often paths)",
            Self::BuildId => "the build id, which sums up all else",
            Self::Compression => "the compressor: the content is the same",
        })
    }
}

/// Words that tell the two runs apart: what the one was given, and what the other.
#[derive(Clone, Debug)]
pub struct Hint {
    /// What it means if they turn up.
    pub cause: Cause,
    /// What the left run was given.
    pub left: String,
    /// What the right run was given.
    pub right: String,
}

/// How far around the first difference words are looked for, in bytes.
const NEAR: usize = 64;

/// The largest text whose lines are sorted to see whether only their order differs, in bytes.
const SORTED_BYTES_MAX: usize = 16 << 20;

/// How many letters and digits are taken for something random: in bytes that are no text, fewer are chance.
const RANDOM_LETTERS_MIN: usize = 3;

/// Seconds since 1970 that a clock of our days may show: from 2001 to 2065.
const SECONDS: std::ops::Range<u64> = 1_000_000_000..3_000_000_000;

/// How far two runs lie apart at most for a number in binary to be taken for their times, in seconds: a month.
const APART_SECONDS_MAX: u64 = 31 * 86_400;

/// Returns what has probably made two files differ whose first difference is at `offset`.
pub(super) fn guess(left: &[u8], right: &[u8], offset: usize, hints: &[Hint]) -> Option<Cause> {
    let (near_left, near_right) = (near(left, offset), near(right, offset));
    let hinted = hints.iter().find(|hint| {
        let has = |bytes: &[u8], word: &str| has_word(bytes, word.as_bytes());
        has(near_right, &hint.right) && !has(near_left, &hint.right)
            || has(near_left, &hint.left) && !has(near_right, &hint.left)
    });
    if let Some(hint) = hinted {
        return Some(hint.cause);
    }
    if is_reordered(left, right) {
        return Some(Cause::Order);
    }
    let (left_token, right_token) = (token(left, offset), token(right, offset));
    if is_time(left_token) && is_time(right_token) || is_binary_time(left, right, offset) {
        return Some(Cause::Time);
    }
    if left_token.starts_with(b"/") && right_token.starts_with(b"/") {
        return Some(Cause::Path);
    }
    let is_random = |token: &[u8]| {
        token.len() >= RANDOM_LETTERS_MIN
            && token.iter().all(|it| it.is_ascii_hexdigit() || *it == b'-')
    };
    (is_random(left_token) && is_random(right_token)).then_some(Cause::Random)
}

fn near(bytes: &[u8], offset: usize) -> &[u8] {
    let to = offset.saturating_add(NEAR).min(bytes.len());
    &bytes[offset.saturating_sub(NEAR).min(to)..to]
}

/// Returns whether a word stands there by itself, not inside a longer one.
fn has_word(bytes: &[u8], word: &[u8]) -> bool {
    let is_letter = |at: Option<&u8>| at.is_some_and(u8::is_ascii_alphanumeric);
    !word.is_empty()
        && bytes.windows(word.len()).enumerate().any(|(at, window)| {
            window == word
                && !is_letter(at.checked_sub(1).and_then(|at| bytes.get(at)))
                && !is_letter(bytes.get(at + word.len()))
        })
}

/// Returns whether both are text of the same words in another order.
fn is_reordered(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() || left.len() > SORTED_BYTES_MAX {
        return false;
    }
    if !left.iter().chain(right).all(|byte| is_readable(*byte) || *byte == 0) {
        return false;
    }
    let sorted = |bytes: &[u8], separators: fn(&u8) -> bool| {
        let mut words: Vec<_> = bytes.split(separators).map(<[u8]>::to_owned).collect();
        words.sort();
        words
    };
    let breaks = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\t' | 0 | b',' | b':');
    sorted(left, breaks) == sorted(right, breaks)
}

/// Returns the word in which a place lies: what is printed and has no space, quote or bracket in it.
fn token(bytes: &[u8], offset: usize) -> &[u8] {
    let is_part = |byte: &u8| byte.is_ascii_graphic() && !b"\"'`()[]{}<>=,;".contains(byte);
    let offset = offset.min(bytes.len());
    let before = bytes[..offset].iter().rev().take(NEAR).take_while(|it| is_part(it)).count();
    let after = bytes[offset..].iter().take(NEAR).take_while(|it| is_part(it)).count();
    &bytes[offset - before..offset + after]
}

/// Returns whether a word is a time of day, a date, or a count of seconds (or parts of them) since 1970.
fn is_time(token: &[u8]) -> bool {
    let shape: Vec<u8> =
        token.iter().map(|it| if it.is_ascii_digit() { b'0' } else { *it }).collect();
    let has = |wanted: &[u8]| shape.windows(wanted.len()).any(|window| window == wanted);
    if has(b"00:00") || has(b"0000-00-00") || has(b"00000000T000000") || has(b"0000/00/00") {
        return true;
    }
    let digits = token.iter().take_while(|it| it.is_ascii_digit()).count();
    let seconds = token.get(..10).and_then(|it| str::from_utf8(it).ok()?.parse().ok());
    // Seconds, or milli-, micro- and nanoseconds.
    matches!(digits, 10 | 13 | 16 | 19) && seconds.is_some_and(|it| SECONDS.contains(&it))
}

/// Returns whether a number of four bytes around the place is a time in both, and they are not far apart.
///
/// Only with the low byte first, as our machines have it: there what follows the first difference must fit, too.
fn is_binary_time(left: &[u8], right: &[u8], offset: usize) -> bool {
    let number = |bytes: &[u8], from: usize| {
        let four: [u8; 4] = bytes.get(from..from + 4)?.try_into().ok()?;
        // Four letters are a number of that size, too.
        let is_text = four.iter().all(|byte| is_readable(*byte) && byte.is_ascii());
        (!is_text).then(|| u64::from(u32::from_le_bytes(four)))
    };
    (offset.saturating_sub(3)..=offset).any(|from| {
        let (Some(left), Some(right)) = (number(left, from), number(right, from)) else {
            return false;
        };
        SECONDS.contains(&left)
            && SECONDS.contains(&right)
            && left.abs_diff(right) <= APART_SECONDS_MAX
    })
}
