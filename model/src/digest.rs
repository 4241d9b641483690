//! Digests: the one place that hashes.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// The length of every hash that `bld` uses, in bytes: both functions yield 256 bits.
pub const HASH_BYTES: usize = 32;

/// The functions that name blobs (REAPI `DigestFunction.Value`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DigestFunction {
    /// SHA-256, what Bazel uses by default and what package indexes publish.
    Sha256,
    /// BLAKE3 with 256 bits of output, the default of a workspace.
    Blake3,
}

impl DigestFunction {
    /// Returns the name used in resource names, lock files and `bld.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Blake3 => "blake3",
        }
    }
}

impl fmt::Display for DigestFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DigestFunction {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "sha256" => Ok(Self::Sha256),
            "blake3" => Ok(Self::Blake3),
            other => Err(ParseDigestError::UnknownFunction(other.to_owned())),
        }
    }
}

/// The name of a blob: what its bytes hash to, by which function, and how many they are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digest {
    function: DigestFunction,
    hash: [u8; HASH_BYTES],
    size: u64,
}

impl Ord for Digest {
    /// Orders by function, hash and size. The beginning of a hash nearly always decides: to look at nothing else makes sorting
    /// and searching digests twice as quick.
    fn cmp(&self, other: &Self) -> Ordering {
        let functions = self.function.cmp(&other.function);
        let begins = || self.hash_begin().cmp(&other.hash_begin());
        let rest = || (&self.hash, self.size).cmp(&(&other.hash, other.size));
        functions.then_with(begins).then_with(rest)
    }
}

impl PartialOrd for Digest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Digest {
    /// Returns the digest of `bytes`.
    pub fn of(function: DigestFunction, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(function);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Returns the digest with these parts, as found in a message or file.
    pub fn from_parts(function: DigestFunction, hash: [u8; HASH_BYTES], size: u64) -> Self {
        Self { function, hash, size }
    }

    /// Returns the digest for a hash in lower-case hexadecimal and a size in bytes.
    pub fn from_hex(
        function: DigestFunction,
        hex: &str,
        size: u64,
    ) -> Result<Self, ParseDigestError> {
        let mut hash = [0; HASH_BYTES];
        let digits = hex.as_bytes();
        if digits.len() != 2 * HASH_BYTES {
            return Err(ParseDigestError::Hash(hex.to_owned()));
        }
        let mut seen = 0;
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let (high, low) = (NIBBLES[usize::from(pair[0])], NIBBLES[usize::from(pair[1])]);
            *byte = high << 4 | low & 0xf;
            seen |= high | low;
        }
        if seen & NO_NIBBLE == NO_NIBBLE {
            return Err(ParseDigestError::Hash(hex.to_owned()));
        }
        Ok(Self { function, hash, size })
    }

    /// Returns the function this digest was made with.
    pub fn function(&self) -> DigestFunction {
        self.function
    }

    /// Returns the hash's bytes.
    pub fn hash(&self) -> &[u8; HASH_BYTES] {
        &self.hash
    }

    fn hash_begin(&self) -> u64 {
        u64::from_be_bytes(*self.hash.first_chunk().expect("a hash has more than eight bytes"))
    }

    /// Returns the hash in lower-case hexadecimal.
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let pair =
            |byte: &u8| [byte >> 4, byte & 0xf].map(|digit| char::from(DIGITS[usize::from(digit)]));
        self.hash.iter().flat_map(pair).collect()
    }

    /// Returns the first twelve hexadecimal digits: enough for a person, too few for a key.
    pub fn short(&self) -> String {
        let mut hex = self.hex();
        hex.truncate(12);
        hex
    }

    /// Returns the number of bytes of the blob.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns whether this is the digest of the empty blob.
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }
}

/// `hex/size`: the form of resource names and lock files, where the function is known.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.hex(), self.size)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.function, self.short(), self.size)
    }
}

impl Digest {
    /// Parses the `hex/size` form.
    pub fn parse(function: DigestFunction, text: &str) -> Result<Self, ParseDigestError> {
        let malformed = || ParseDigestError::Form(text.to_owned());
        let (hex, size) = text.split_once('/').ok_or_else(malformed)?;
        let plain = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_digit());
        if !plain || (size.len() > 1 && size.starts_with('0')) {
            return Err(malformed());
        }
        let size = size.parse().map_err(|_source: std::num::ParseIntError| malformed())?;
        Self::from_hex(function, hex, size)
    }
}

/// What stands for a byte that is no digit.
const NO_NIBBLE: u8 = 0xf0;

/// What each byte is worth as a hexadecimal digit. Servers parse a thousand hashes for one question, so no digit is worth a
/// branch.
const NIBBLES: [u8; 256] = {
    let mut nibbles = [NO_NIBBLE; 256];
    let mut digit: u8 = 0;
    while digit < 16 {
        nibbles[b"0123456789abcdef"[digit as usize] as usize] = digit;
        digit += 1;
    }
    nibbles
};

/// Why a text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseDigestError {
    /// The function is not one that `bld` speaks.
    #[error("unknown digest function `{0}` (known: blake3, sha256)")]
    UnknownFunction(String),
    /// The hash is not 64 lower-case hexadecimal digits.
    #[error("`{0}` is not a hash of 64 lower-case hexadecimal digits")]
    Hash(String),
    /// The text is not a hash and a size with a slash between them.
    #[error("`{0}` is not of the form <hash>/<size>")]
    Form(String),
}

/// Hashes a blob piece by piece.
#[derive(Clone)]
pub struct Hasher {
    state: State,
    size: u64,
}

#[derive(Clone)]
enum State {
    Sha256(sha2::Sha256),
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    /// Returns a hasher that has seen nothing yet.
    pub fn new(function: DigestFunction) -> Self {
        let state = match function {
            DigestFunction::Sha256 => State::Sha256(sha2::Sha256::new()),
            DigestFunction::Blake3 => State::Blake3(Box::new(blake3::Hasher::new())),
        };
        Self { state, size: 0 }
    }

    /// Takes the next piece of the blob.
    pub fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        match &mut self.state {
            State::Sha256(hasher) => hasher.update(bytes),
            State::Blake3(hasher) => {
                hasher.update(bytes);
            }
        }
    }

    /// Returns the digest of all pieces.
    pub fn finish(self) -> Digest {
        let (function, hash) = match self.state {
            State::Sha256(hasher) => (DigestFunction::Sha256, hasher.finalize().into()),
            State::Blake3(hasher) => (DigestFunction::Blake3, *hasher.finalize().as_bytes()),
        };
        Digest { function, hash, size: self.size }
    }
}

impl std::io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The digest of an encoded [`Directory`](crate::Directory): it names a whole tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TreeDigest(pub Digest);

/// The digest of an encoded [`Action`](crate::Action): the key of the action cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ActionDigest(pub Digest);

impl fmt::Display for TreeDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ActionDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The vectors of the empty input and of "abc" are those of FIPS 180-4 and of the BLAKE3 paper's reference.
    #[test]
    fn known_bytes_have_known_digests() {
        let cases = [
            (
                DigestFunction::Sha256,
                "",
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
            (
                DigestFunction::Sha256,
                "abc",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                DigestFunction::Blake3,
                "",
                "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
            ),
            (
                DigestFunction::Blake3,
                "abc",
                "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
            ),
        ];
        for (function, text, hex) in cases {
            let digest = Digest::of(function, text.as_bytes());
            assert_eq!(digest.hex(), hex);
            assert_eq!(digest.size(), text.len() as u64);
            assert_eq!(Digest::parse(function, &digest.to_string()), Ok(digest));
        }
    }

    #[test]
    fn what_is_not_a_digest_is_refused() {
        let hex = "a".repeat(64);
        for text in [
            String::new(),
            hex.clone(),
            format!("{hex}/"),
            format!("{hex}/-1"),
            format!("{hex}/+1"),
            format!("{hex}/01"),
            format!("{hex}/99999999999999999999"),
            format!("{}/1", "A".repeat(64)),
            format!("{}/1", "a".repeat(63)),
            format!("{}/1", "é".repeat(32)),
        ] {
            Digest::parse(DigestFunction::Blake3, &text).unwrap_err();
        }
    }
}
