//! Digests as clients write them: with their function, or without.

use model::{Digest, DigestFunction};
use tonic::Status;
use wire::encode::function_number;

/// The functions in the order in which they are tried where a client names none: the API says SHA-256 then, and Buck2
/// names none even when it uses BLAKE3.
const UNNAMED: [DigestFunction; 2] = [DigestFunction::Sha256, DigestFunction::Blake3];

/// Returns the functions that a request's `digest_function` may stand for.
pub(crate) fn functions(number: i32) -> Result<&'static [DigestFunction], Status> {
    if number == 0 {
        return Ok(&UNNAMED);
    }
    let named = UNNAMED.chunks(1).find(|it| function_number(it[0]) == number);
    named.ok_or_else(|| {
        let [sha256, blake3] = UNNAMED.map(function_number);
        Status::invalid_argument(format!(
            "digest function {number} is not served here; SHA256 ({sha256}) and BLAKE3 ({blake3}) are"
        ))
    })
}

/// A digest that was asked for: of one function, or of the first that has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    functions: &'static [DigestFunction],
    digest: Digest,
}

impl Asked {
    /// Returns the digest with that hash and size, of one of `functions`.
    pub(crate) fn new(
        functions: &'static [DigestFunction],
        hash: &str,
        size: i64,
    ) -> Result<Self, Status> {
        let wrong = |why: &str| Status::invalid_argument(format!("`{hash}/{size}`: {why}"));
        let bytes = u64::try_from(size).map_err(|_negative| wrong("a size cannot be negative"))?;
        let digest = Digest::from_hex(functions[0], hash, bytes)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let asked = Self { functions, digest };
        if bytes > 0 {
            return Ok(asked);
        }
        let empty = asked.candidates().find(|it| *it == Digest::of(it.function(), b""));
        let digest = empty.ok_or_else(|| wrong("this is not the hash of nothing"))?;
        Ok(Self { functions, digest })
    }

    /// Returns the digests that it may stand for, likeliest first.
    pub(crate) fn candidates(self) -> impl Iterator<Item = Digest> {
        let digest = self.digest;
        let rename =
            move |it: &DigestFunction| Digest::from_parts(*it, *digest.hash(), digest.size());
        self.functions.iter().map(rename)
    }

    /// Returns the size in bytes.
    pub(crate) fn size(self) -> u64 {
        self.digest.size()
    }

    /// Returns the one of its digests that `bytes` have, or its first.
    pub(crate) fn of(self, bytes: &[u8]) -> Digest {
        let first = self.digest;
        let mut others = self.candidates().skip(1);
        if self.functions.len() == 1 || Digest::of(first.function(), bytes) == first {
            return first;
        }
        others.find(|it| Digest::of(it.function(), bytes) == *it).unwrap_or(first)
    }
}
