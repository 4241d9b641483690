//! The header `Range`: single ranges of bytes.

use std::ops::Range;

/// What of a body is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    Whole,
    /// These bytes: at least one, all of them there.
    Part(Range<u64>),
    /// Bytes that are not there.
    Outside,
}

impl Wanted {
    /// Returns what a header asks for of a body with `size` bytes.
    ///
    /// What is malformed, has another unit or several ranges is answered with the whole, as the protocol allows.
    pub(super) fn parse(header: &str, size: u64) -> Self {
        let range = header.strip_prefix("bytes=").and_then(|it| it.trim().split_once('-'));
        let Some((first, last)) = range else { return Self::Whole };
        match (position(first), position(last)) {
            (Some(first), None) if last.is_empty() => Self::part(first, size, size),
            (None, Some(count)) if first.is_empty() => {
                Self::part(size.saturating_sub(count), size, size)
            }
            (Some(first), Some(last)) if first <= last => {
                Self::part(first, last.saturating_add(1), size)
            }
            _ => Self::Whole,
        }
    }

    fn part(first: u64, end: u64, size: u64) -> Self {
        if first < size { Self::Part(first..end.min(size)) } else { Self::Outside }
    }
}

/// Returns the number that the digits say; what no body is long enough for is its end.
fn position(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_asked_for_only_what_is_there_is_wanted(
            header in "(bytes=)?[-0-9 ,]{0,24}|.{0,24}",
            size in 0_u64..100,
        ) {
            if let Wanted::Part(part) = Wanted::parse(&header, size) {
                prop_assert!(part.start < part.end && part.end <= size);
            }
        }
    }

    #[test]
    fn a_range_is_what_it_says_as_far_as_there_are_bytes() {
        for (header, wanted) in [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=0-", Wanted::Part(0..10)),
            ("bytes=3-5", Wanted::Part(3..6)),
            ("bytes=9-100", Wanted::Part(9..10)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-100", Wanted::Part(0..10)),
            ("bytes=0-99999999999999999999999", Wanted::Part(0..10)),
            ("bytes=10-", Wanted::Outside),
            ("bytes=10-20", Wanted::Outside),
            ("bytes=99999999999999999999999-", Wanted::Outside),
            ("bytes=-0", Wanted::Outside),
            ("bytes=5-3", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=1", Wanted::Whole),
            ("lines=0-1", Wanted::Whole),
            ("", Wanted::Whole),
        ] {
            assert_eq!(Wanted::parse(header, 10), wanted, "{header}");
        }
        assert_eq!(Wanted::parse("bytes=0-", 0), Wanted::Outside);
        assert_eq!(Wanted::parse("bytes=-5", 0), Wanted::Outside);
    }
}
