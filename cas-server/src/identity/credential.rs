//! What a request shows to say who calls: the `authorization` header, of HTTP and of gRPC alike.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::secret::Secret;

/// The longest header that is looked at, in bytes: JWTs with many claims have some thousand.
const HEADER_BYTES_MAX: usize = 16 << 10;

/// A request shows something that is not understood. Nothing of it is repeated: it may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// There is more than one.
    #[error("there is more than one `authorization`")]
    Several,
    /// It is too long.
    #[error("the `authorization` is longer than {HEADER_BYTES_MAX} bytes")]
    Long,
    /// It is of another kind.
    #[error("the `authorization` is neither `Bearer <token>` nor `Basic <user:token>`")]
    Scheme,
    /// It is of one of these kinds, and not of its form.
    #[error("the `authorization` is not of the form of its kind")]
    Form,
}

/// Returns what a request shows, or `None` if it shows nothing.
///
/// Bazel, ccache, sccache and Gradle take `user:password` from their URLs: the password is the token then, or, where there is
/// only one word, that.
pub(crate) fn credential(headers: &HeaderMap) -> Result<Option<Secret>, CredentialError> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let Some(header) = all.next() else { return Ok(None) };
    if all.next().is_some() {
        return Err(CredentialError::Several);
    }
    if header.len() > HEADER_BYTES_MAX {
        return Err(CredentialError::Long);
    }
    // The source would repeat what is not text.
    let text = header.to_str().ok().ok_or(CredentialError::Form)?;
    let (scheme, rest) = text.split_once(' ').ok_or(CredentialError::Scheme)?;
    let rest = rest.trim();
    let shown = if scheme.eq_ignore_ascii_case("bearer") {
        Some(rest.to_owned())
    } else if scheme.eq_ignore_ascii_case("basic") {
        password(rest)
    } else {
        return Err(CredentialError::Scheme);
    };
    let shown = shown.filter(|shown| !shown.is_empty()).ok_or(CredentialError::Form)?;
    Ok(Some(Secret::new(shown)))
}

fn password(encoded: &str) -> Option<String> {
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some(if password.is_empty() { user } else { password }.to_owned())
}
