//! Paths as keys. A key is kept as it was sent, and no path of a file is ever made of it.

use model::{Digest, DigestFunction, HASH_BYTES};

/// The longest key, in bytes: several times what any client sends, and short enough for an index.
const KEY_BYTES_MAX: usize = 512;

/// Why a path is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidKey {
    #[error("the path is no key: it is empty or longer than {KEY_BYTES_MAX} bytes")]
    Length,
    #[error("the path is no key: its %-encoding is broken or says something other than UTF-8")]
    Encoding,
    #[error("the path is no key: it has control characters")]
    Control,
    #[error("the path is no key: it has a segment `.` or `..`")]
    Dots,
    #[error("`{0}` is not a hash of 64 lower-case hexadecimal digits")]
    Hash(String),
}

/// Returns the key as it stands in the path, if it is one.
///
/// What proxies on the way might rewrite, and what other servers would take for a path of a file, is refused.
pub(super) fn parse(key: &str) -> Result<&str, InvalidKey> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(InvalidKey::Length);
    }
    let said = percent_decode(key)?;
    if said.chars().any(char::is_control) {
        return Err(InvalidKey::Control);
    }
    if said.split(['/', '\\']).any(|it| it == "." || it == "..") {
        return Err(InvalidKey::Dots);
    }
    Ok(key)
}

/// Returns the hash that a segment of a path says; the function is not said.
pub(super) fn parse_hash(segment: &str) -> Result<[u8; HASH_BYTES], InvalidKey> {
    match Digest::from_hex(DigestFunction::Sha256, segment, 0) {
        Ok(digest) => Ok(*digest.hash()),
        Err(_) => Err(InvalidKey::Hash(segment.chars().take(2 * HASH_BYTES).collect())),
    }
}

/// Returns the project that the segments before `ac` or `cas` name, as gRPC clients write it.
pub(super) fn parse_project(segments: &[&str]) -> Result<String, InvalidKey> {
    let named: Vec<_> = segments.iter().copied().filter(|it| !it.is_empty()).collect();
    if named.is_empty() {
        return Ok(String::new());
    }
    percent_decode(parse(&named.join("/"))?)
}

fn percent_decode(text: &str) -> Result<String, InvalidKey> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2).ok_or(InvalidKey::Encoding)?;
        let digit = |digit: u8| char::from(digit).to_digit(16).ok_or(InvalidKey::Encoding);
        let byte = digit(digits[0])? << 4 | digit(digits[1])?;
        bytes.push(u8::try_from(byte).expect("two digits make a byte"));
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_source| InvalidKey::Encoding)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_key_leads_out_of_where_it_is_kept(path in "([a.%2eEfF/\\\\0-9]|.){0,40}") {
            if let Ok(key) = parse(&path) {
                prop_assert_eq!(key, &path);
                let said = percent_decode(key).unwrap();
                let inside = std::path::Path::new("/kept").join(said.trim_start_matches('/'));
                let is_plain = |it| !matches!(it, std::path::Component::ParentDir);
                prop_assert!(inside.components().all(is_plain));
                prop_assert!(!said.contains('\0'));
            }
        }
    }

    #[test]
    fn a_key_is_kept_as_it_was_sent() {
        let long = "k".repeat(KEY_BYTES_MAX);
        for key in ["a", "ab/cdef", "a/b/c/", "%41", "a%2Fb", "..a", "a..", "grün", "%C3%BC", &long]
        {
            assert_eq!(parse(key), Ok(key));
        }
    }

    #[test]
    fn what_might_be_taken_for_something_else_is_refused() {
        let long = "k".repeat(KEY_BYTES_MAX + 1);
        for (key, why) in [
            ("", InvalidKey::Length),
            (&long, InvalidKey::Length),
            ("..", InvalidKey::Dots),
            ("a/../b", InvalidKey::Dots),
            ("a/%2e%2E/b", InvalidKey::Dots),
            ("%2e%2e%2f%2e%2e", InvalidKey::Dots),
            ("..%5c..", InvalidKey::Dots),
            ("a/./b", InvalidKey::Dots),
            ("a%00b", InvalidKey::Control),
            ("a%0d%0ab", InvalidKey::Control),
            ("%", InvalidKey::Encoding),
            ("%4", InvalidKey::Encoding),
            ("%zz", InvalidKey::Encoding),
            ("%+1", InvalidKey::Encoding),
            ("%ff%fe", InvalidKey::Encoding),
            ("%é", InvalidKey::Encoding),
        ] {
            assert_eq!(parse(key), Err(why), "{key}");
        }
    }

    #[test]
    fn a_project_is_what_a_grpc_client_calls_it() {
        assert_eq!(parse_project(&[]).unwrap(), "");
        assert_eq!(parse_project(&["", ""]).unwrap(), "");
        assert_eq!(parse_project(&["", "a", "", "b%20c"]).unwrap(), "a/b c");
        parse_project(&["a", ".."]).unwrap_err();
    }
}
