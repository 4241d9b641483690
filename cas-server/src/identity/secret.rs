//! Texts that nobody may read: they are never shown, and compared so that the time it takes tells nothing.

use std::fmt::{self, Write as _};

use subtle::ConstantTimeEq as _;

/// How many bytes of a secret are random: nobody guesses 256 bits.
const SECRET_BYTES: usize = 32;

/// How many bytes of a token's public part are random: enough that no two of a server's tokens are the same.
const ID_BYTES: usize = 8;

/// What hashes of tokens are made for: a hash of ours is no hash of anybody else's.
const HASH_CONTEXT: &str = "bld server 2026-11 tokens: hash of a bearer token";

/// What every token begins with, so that those who look for leaked secrets find it.
const PREFIX: &str = "bld_";

/// What somebody showed to say who he is. Two cannot be compared: that would take the longer the more they have in common.
#[derive(Clone)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// Takes a text as a secret.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Shows it: to whom it was made for, once, and to what checks it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// The public part of a token, by which it is found.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId(String);

/// A text is not the public part of a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the `id` of a token is {} hexadecimal digits", ID_BYTES * 2)]
pub struct NotATokenId;

impl TryFrom<String> for TokenId {
    type Error = NotATokenId;

    fn try_from(text: String) -> Result<Self, NotATokenId> {
        if is_hex(&text, ID_BYTES) { Ok(Self(text)) } else { Err(NotATokenId) }
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is kept of a token.
///
/// A hash made to be slow would protect what people think up. Nobody guesses 256 random bits, however fast he can try, so a fast
/// one protects as well, and a call costs nothing. No salt is needed either: no two secrets are the same.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct TokenHash([u8; 32]);

/// A text is not the hash of a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the `hash` of a token is 64 hexadecimal digits")]
pub(crate) struct NotATokenHash;

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

impl TokenHash {
    /// Returns the hash of a whole token: it fits no other public part.
    pub(crate) fn of(token: &Secret) -> Self {
        Self(blake3::derive_key(HASH_CONTEXT, token.0.as_bytes()))
    }

    /// Returns whether it is the same, in a time that does not depend on where it differs.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl TryFrom<String> for TokenHash {
    type Error = NotATokenHash;

    fn try_from(text: String) -> Result<Self, NotATokenHash> {
        if !is_hex(&text, 32) {
            return Err(NotATokenHash);
        }
        let hash = blake3::Hash::from_hex(&text).expect("these are 64 hexadecimal digits");
        Ok(Self(*hash.as_bytes()))
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        blake3::Hash::from_bytes(hash.0).to_hex().to_string()
    }
}

/// The system has no randomness to give.
#[derive(Debug, thiserror::Error)]
#[error("cannot get random bytes from the system")]
pub struct NoRandomness(#[from] getrandom::Error);

/// Returns a new token, and its public part.
pub(crate) fn new_token() -> Result<(TokenId, Secret), NoRandomness> {
    let id = TokenId(random_hex::<ID_BYTES>()?);
    let secret = Secret(format!("{PREFIX}{id}_{}", random_hex::<SECRET_BYTES>()?));
    Ok((id, secret))
}

/// Returns the public part of what may be a token of ours, or `None` if it cannot be one.
pub(crate) fn token_id(shown: &Secret) -> Option<TokenId> {
    let (id, secret) = shown.0.strip_prefix(PREFIX)?.split_once('_')?;
    let fits = is_hex(id, ID_BYTES) && is_hex(secret, SECRET_BYTES);
    fits.then(|| TokenId(id.to_owned()))
}

/// Returns that many random bytes, as hexadecimal digits.
pub(crate) fn random_hex<const BYTES: usize>() -> Result<String, NoRandomness> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)?;
    let mut text = String::with_capacity(BYTES * 2);
    for byte in bytes {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

fn is_hex(text: &str, bytes: usize) -> bool {
    text.len() == bytes * 2 && text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
}
