//! Names that operators give to tokens and to holders of certificates.

/// The longest such name, in bytes.
const BYTES_MAX: usize = 128;

/// A text cannot be such a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` cannot be a name: names are 1 to {BYTES_MAX} letters, digits, `-`, `_`, `.`, `@` or `+`, and begin with a letter or digit"
)]
pub struct InvalidName(String);

/// Fails unless a text can be such a name. One that can be is also the name of a file, and needs no quotes anywhere.
pub(crate) fn check(name: &str) -> Result<(), InvalidName> {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"-_.@+".contains(&it);
    let begins = name.bytes().next().is_some_and(|it| it.is_ascii_alphanumeric());
    if begins && name.len() <= BYTES_MAX && name.bytes().all(plain) {
        Ok(())
    } else {
        Err(InvalidName(name.to_owned()))
    }
}
