//! Values as they stand in a file: sizes, periods, counts, paths, each within its bounds.

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use model::ByteSize;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use store::Namespace;

const UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 60 * 60), ("d", 24 * 60 * 60)];

/// A time that something takes: `30s`, `10m`, `3h`, `90d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period(pub Duration);

/// A text is no period.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no period: write a whole number and s, m, h or d, as in `90s`, `3h` or `30d`")]
pub struct NotAPeriod(String);

impl FromStr for Period {
    type Err = NotAPeriod;

    fn from_str(text: &str) -> Result<Self, NotAPeriod> {
        let refuse = || NotAPeriod(text.to_owned());
        let compact = text.trim();
        let digits = compact.find(|c: char| !c.is_ascii_digit()).ok_or_else(refuse)?;
        let (number, unit) = compact.split_at(digits);
        let (_, seconds) =
            UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(refuse)?;
        let number: u64 = number.parse().map_err(|_source: std::num::ParseIntError| refuse())?;
        let seconds = number.checked_mul(*seconds).ok_or_else(refuse)?;
        Ok(Self(Duration::from_secs(seconds)))
    }
}

impl Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let whole = |(_, unit): &&(&str, u64)| seconds.is_multiple_of(*unit) && seconds >= *unit;
        let (name, unit) = UNITS.iter().rev().find(whole).unwrap_or(&UNITS[0]);
        write!(f, "{}{name}", seconds / unit)
    }
}

/// Reads a text as what it stands for. What it should be is said where something stands there that is no text.
struct Parsed<T> {
    expected: &'static str,
    parsed: PhantomData<T>,
}

impl<T: FromStr<Err: Display>> Visitor<'_> for Parsed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

fn parsed<'de, D, T>(deserializer: D, expected: &'static str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    deserializer.deserialize_str(Parsed { expected, parsed: PhantomData })
}

/// Reads a namespace.
pub(crate) fn namespace<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Namespace, D::Error> {
    parsed(deserializer, "a namespace, as in \"branch/main\"")
}

/// Returns the namespace that everybody believes.
pub(crate) fn trusted() -> Namespace {
    Namespace::Trusted
}

/// Reads a size in bytes, from `MIN` to `MAX`.
pub(super) fn size<'de, D: Deserializer<'de>, const MIN: u64, const MAX: u64>(
    deserializer: D,
) -> Result<u64, D::Error> {
    let ByteSize(bytes) = parsed(deserializer, "a size, as in \"4 MiB\"")?;
    within(bytes, MIN, MAX, ByteSize).map_err(D::Error::custom)
}

/// Reads a period of `MIN` to `MAX` seconds.
pub(super) fn period<'de, D: Deserializer<'de>, const MIN: u64, const MAX: u64>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    let Period(period) = parsed(deserializer, "a period, as in \"30s\" or \"10m\"")?;
    let shown = |seconds| Period(Duration::from_secs(seconds));
    let seconds = within(period.as_secs(), MIN, MAX, shown).map_err(D::Error::custom)?;
    Ok(Duration::from_secs(seconds))
}

/// Reads a number from `MIN` to `MAX`.
pub(super) fn count<'de, D: Deserializer<'de>, const MIN: u64, const MAX: u64>(
    deserializer: D,
) -> Result<u64, D::Error> {
    within(u64::deserialize(deserializer)?, MIN, MAX, |count| count).map_err(D::Error::custom)
}

/// Reads addresses with ports.
pub(super) fn addresses<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<SocketAddr>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let address = |text: &String| {
        text.parse().map_err(|_source: std::net::AddrParseError| {
            D::Error::custom(format_args!(
                "`{text}` is no address: write its numbers and a port, as in `127.0.0.1:8980` or `[::]:8980`"
            ))
        })
    };
    texts.iter().map(address).collect()
}

/// Reads a path, which is not empty: that would be the folder of the file.
pub(crate) fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if path.as_os_str().is_empty() {
        return Err(D::Error::custom("an empty path leads nowhere"));
    }
    Ok(path)
}

/// Reads a path that need not be there.
pub(super) fn optional_path<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<PathBuf>, D::Error> {
    path(deserializer).map(Some)
}

/// The longest name of something that a file names, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Reads a name: lower-case letters, digits and `-`.
pub(crate) fn plain_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    let plain = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(name);
    }
    Err(D::Error::custom(format_args!(
        "`{name}` is no name: it is 1 to {NAME_BYTES_MAX} lower-case letters, digits and `-`"
    )))
}

/// A number is too small or too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value} is out of bounds: from {min} to {max} is allowed")]
pub struct OutOfBounds<T: Display> {
    value: T,
    min: T,
    max: T,
}

/// Returns the value, which is from `min` to `max`.
pub(super) fn within<T: Display>(
    value: u64,
    min: u64,
    max: u64,
    shown: impl Fn(u64) -> T,
) -> Result<u64, OutOfBounds<T>> {
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    Err(OutOfBounds { value: shown(value), min: shown(min), max: shown(max) })
}

/// Reads addresses below which something may be fetched: each with a scheme, a host, and a path that ends with a slash,
/// so that `https://example.org/` is not the beginning of `https://example.org.example.net/`.
pub(super) fn origins<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<String>, D::Error> {
    let origins = Vec::<String>::deserialize(source)?;
    for origin in &origins {
        let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        let host = rest.and_then(|it| it.split('/').next()).unwrap_or_default();
        if host.is_empty() || host.contains('@') || !origin.ends_with('/') {
            let expected =
                "is no origin: write `https://<host>/`, or with a path that ends with `/`";
            return Err(D::Error::custom(format!("`{origin}` {expected}")));
        }
    }
    Ok(origins)
}
