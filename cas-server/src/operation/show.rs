//! Numbers as people read them.

use std::time::Duration;

/// Returns a size: `1.5 GiB`.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(super) fn bytes(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if size < 1023.5 {
            let digits = usize::from(size < 9.95 && unit != "B");
            return format!("{size:.digits$} {unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.0} PiB")
}

/// Returns a count with its thousands apart: `12 345`.
pub(super) fn count(count: u64) -> String {
    let digits = count.to_string();
    let (first, rest) = digits.split_at(digits.len() % 3);
    let groups = rest.as_bytes().chunks(3).map(|it| str::from_utf8(it).expect("they are digits"));
    let groups: Vec<_> = [first].into_iter().filter(|it| !it.is_empty()).chain(groups).collect();
    groups.join("\u{202f}")
}

/// Returns a count of something: `1 blob`, `12 345 blobs`.
pub(super) fn several(how_many: u64, what: &str) -> String {
    let ending = if how_many == 1 { "" } else { "s" };
    format!("{} {what}{ending}", count(how_many))
}

/// Returns how long something is, in its two largest units: `3 d 4 h`.
pub(super) fn duration(it: Duration) -> String {
    let seconds = it.as_secs();
    let two = |large: u64, one: &str, small: u64, other: &str| {
        if small == 0 { format!("{large} {one}") } else { format!("{large} {one} {small} {other}") }
    };
    match seconds {
        0 if it.is_zero() => "0 s".to_owned(),
        0 if it < Duration::from_millis(1) => format!("{} µs", it.as_micros()),
        0 => format!("{} ms", it.as_millis()),
        1..60 => format!("{:.1} s", it.as_secs_f64()),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// Returns how many times: `4.3×`; of what is less than once, enough to see that it is not nothing.
pub(super) fn times(ratio: f64) -> String {
    if ratio < 1.0 { format!("{ratio:.2}×") } else { format!("{ratio:.1}×") }
}

/// Returns a share: `97 %`. What is not all is never shown as all, and what is not nothing never as nothing.
pub(super) fn share(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        it if it > 0.0 && it < 1.0 => "<1 %".to_owned(),
        it if it > 99.0 && it < 100.0 => ">99 %".to_owned(),
        it => format!("{it:.0} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_two_or_three_digits_and_a_unit() {
        let shown = [0, 1, 1023, 1024, 10_239, 1 << 20, 1023 << 20, 5 << 30, u64::MAX].map(bytes);
        let wanted =
            ["0 B", "1 B", "1023 B", "1.0 KiB", "10 KiB", "1.0 MiB", "1023 MiB", "5.0 GiB"];
        assert_eq!(shown[..8], wanted);
        assert_eq!(shown[8], "16384 PiB");
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        let shown = [0, 12, 999, 1_000, 12_345, 1_234_567].map(count);
        let wanted = ["0", "12", "999", "1\u{202f}000", "12\u{202f}345", "1\u{202f}234\u{202f}567"];
        assert_eq!(shown, wanted);
    }

    #[test]
    fn durations_have_at_most_two_units() {
        assert_eq!(duration(Duration::ZERO), "0 s");
        let shown = [90, 250_000, 1_500_000, 61_000_000, 3_600_000_000, 100_000_000_000];
        let shown = shown.map(|micros| duration(Duration::from_micros(micros)));
        assert_eq!(shown, ["90 µs", "250 ms", "1.5 s", "1 min 1 s", "1 h", "1 d 3 h"]);
    }

    #[test]
    fn only_all_is_all_and_only_nothing_is_nothing() {
        let shown = [0.0, 0.001, 0.5, 0.999, 1.0].map(share);
        assert_eq!(shown, ["0 %", "<1 %", "50 %", ">99 %", "100 %"]);
    }
}
