//! Sizes in bytes, as people write and read them.

use std::fmt;
use std::str::FromStr;

/// A number of bytes: `512`, `20 GiB`, `1.5G`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

/// A text is not a size.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a size: write a number and maybe K, M, G or T (with or without iB)")]
pub struct NotASize(String);

const UNITS: [(&str, u64); 4] = [("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40)];

impl FromStr for ByteSize {
    type Err = NotASize;

    fn from_str(text: &str) -> Result<Self, NotASize> {
        let refuse = || NotASize(text.to_owned());
        let compact = text.trim().to_ascii_uppercase();
        let digits =
            compact.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(compact.len());
        let (number, unit) = compact.split_at(digits);
        let unit = unit.trim().trim_end_matches('B').trim_end_matches('I');
        let factor = match unit {
            "" => 1,
            unit => UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refuse)?.1,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let whole: u64 = whole.parse().map_err(|_source: std::num::ParseIntError| refuse())?;
        if fraction.len() > 6 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refuse());
        }
        let scale = 10_u64.pow(u32::try_from(fraction.len()).unwrap_or(0));
        let part: u64 = fraction.parse().unwrap_or(0);
        let bytes = whole
            .checked_mul(factor)
            .and_then(|bytes| bytes.checked_add(part.checked_mul(factor)? / scale));
        bytes.map(Self).ok_or_else(refuse)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((unit, factor)) = UNITS.iter().rev().find(|(_, factor)| self.0 >= *factor) else {
            return write!(f, "{} B", self.0);
        };
        let tenths = (u128::from(self.0) * 10 + u128::from(*factor) / 2) / u128::from(*factor);
        write!(f, "{}.{} {unit}iB", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("20 GiB", 20 << 30),
            ("1.5G", 3 << 29),
            ("3mb", 3 << 20),
            ("2K", 2048),
        ] {
            assert_eq!(text.parse::<ByteSize>().unwrap().0, bytes, "{text}");
        }
        for text in ["", "G", "-1", "1 parsec", "99999999999999T", "1.x"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        assert_eq!(ByteSize(1536).to_string(), "1.5 KiB");
        assert_eq!(ByteSize(7).to_string(), "7 B");
    }
}
