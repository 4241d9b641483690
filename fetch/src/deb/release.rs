//! Release files: what a signature vouches for. Only text that a signature covers gets here.

use std::collections::BTreeMap;

use model::{Digest, DigestFunction};

/// What a suite says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// Whether indexes can be had under their hashes.
    pub by_hash: bool,
    /// Whether packages are used only where nothing else will do (`NotAutomatic`, as in backports).
    pub reluctant: bool,
    /// Whether packages for all architectures stand in an index of their own.
    pub separate_all: bool,
    /// Until when it is meant to be used, in seconds since 1970.
    pub valid_until: Option<i64>,
    /// The indexes, by path below the suite.
    pub indexes: BTreeMap<String, Digest>,
}

/// A line of a Release file makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the Release file is malformed: `{text}`")]
pub struct ReleaseError {
    /// Its number.
    pub line: usize,
    /// The line.
    pub text: String,
}

impl Release {
    /// Parses the text of a Release file, without any signature.
    pub fn parse(text: &str) -> Result<Self, ReleaseError> {
        let mut release = Self::default();
        let mut in_hashes = false;
        let mut all_listed = false;
        let mut all_elsewhere = false;
        for (index, line) in text.lines().enumerate() {
            let malformed = || ReleaseError { line: index + 1, text: line.to_owned() };
            if line.starts_with([' ', '\t']) {
                if in_hashes {
                    let (path, digest) = parse_index(line).ok_or_else(malformed)?;
                    release.indexes.insert(path, digest);
                }
                continue;
            }
            in_hashes = false;
            let Some((key, value)) = line.split_once(':') else {
                if line.trim().is_empty() {
                    continue;
                }
                return Err(malformed());
            };
            let value = value.trim();
            match key.to_ascii_lowercase().as_str() {
                "sha256" => in_hashes = true,
                "acquire-by-hash" => release.by_hash = value.eq_ignore_ascii_case("yes"),
                "notautomatic" => release.reluctant = value.eq_ignore_ascii_case("yes"),
                "architectures" => all_listed = value.split_whitespace().any(|arch| arch == "all"),
                "no-support-for-architecture-all" => all_elsewhere = value.contains("Packages"),
                "valid-until" => release.valid_until = parse_date(value),
                _ => {}
            }
        }
        release.separate_all = all_listed && !all_elsewhere;
        Ok(release)
    }
}

fn parse_index(line: &str) -> Option<(String, Digest)> {
    let mut words = line.split_whitespace();
    let (hash, size, path) = (words.next()?, words.next()?, words.next()?);
    let digest = Digest::from_hex(DigestFunction::Sha256, hash, size.parse().ok()?).ok()?;
    words.next().is_none().then(|| (path.to_owned(), digest))
}

/// Parses `Sat, 11 Jul 2026 10:16:37 UTC`; what is not such a date is none.
fn parse_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(',')?.1.split_whitespace();
    let day: i64 = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month = i64::try_from(MONTHS.iter().position(|month| *month == name)?).ok()? + 1;
    let year: i64 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(str::parse::<i64>);
    let (hours, minutes, seconds) = (clock.next()?.ok()?, clock.next()?.ok()?, clock.next()?.ok()?);
    Some(days_since_1970(year, month, day) * 86_400 + hours * 3600 + minutes * 60 + seconds)
}

/// Counts days in the proleptic Gregorian calendar, the year beginning in March.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_seconds_since_1970() {
        assert_eq!(parse_date("Thu, 01 Jan 1970 00:00:00 UTC"), Some(0));
        assert_eq!(parse_date("Sat, 11 Jul 2026 10:16:37 UTC"), Some(1_783_764_997));
        assert_eq!(parse_date("tomorrow"), None);
    }
}
