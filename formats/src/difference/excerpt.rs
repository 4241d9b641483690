//! A few bytes around a place, as people can read them.

/// How much is shown before the place, in bytes.
const BEFORE: usize = 24;

/// How much is shown from the place on.
const AFTER: usize = 40;

/// How many bytes are shown in hexadecimal before the place, and from it on.
const HEX_BEFORE: usize = 4;
const HEX_AFTER: usize = 12;

/// Returns the first place where two sequences of bytes differ; the end of the shorter one if it begins the other.
pub(super) fn first_difference(left: &[u8], right: &[u8]) -> usize {
    let equal = left.iter().zip(right).take_while(|(left, right)| left == right);
    equal.count()
}

/// Returns the bytes around a place: as text where they are text, else in hexadecimal.
pub(super) fn show(bytes: &[u8], offset: usize) -> String {
    if offset >= bytes.len() {
        return format!("ends after {} bytes", bytes.len());
    }
    let around = |before: usize, after: usize| {
        let from = offset.saturating_sub(before);
        (from, &bytes[from..offset.saturating_add(after).min(bytes.len())])
    };
    let (from, text) = around(BEFORE, AFTER);
    let readable = text.iter().filter(|byte| is_readable(**byte)).count();
    // A number in the midst of zeros is no text, however many letters stand near it.
    if readable * 10 < text.len() * 8 || !is_readable(bytes[offset]) {
        let (_, few) = around(HEX_BEFORE, HEX_AFTER);
        let hex: Vec<_> = few.iter().map(|byte| format!("{byte:02x}")).collect();
        return hex.join(" ");
    }
    // From the line on in which it is: what stood before is the same in both.
    let line = bytes[from..offset].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    format!("\"{}\"", words(&text[line..]))
}

/// Returns bytes from outside as a message may hold them: text, with all else escaped.
pub(super) fn words(bytes: &[u8]) -> String {
    /// How much of a name is shown, in characters.
    const MAX: usize = 120;
    let text = String::from_utf8_lossy(bytes);
    let mut short: String = text.chars().take(MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short.escape_debug().to_string().replace("\\'", "'")
}

/// Returns whether a byte is one that text is made of.
pub(super) fn is_readable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\n' | b'\t' | b'\r') || byte >= 0x80
}
