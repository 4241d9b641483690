//! Addresses: `http`, `https` and `file`. What is shown of one never has the password in it.

use std::fmt;
use std::path::PathBuf;

/// An address that bytes can be had from.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    pub(super) scheme: Scheme,
    /// `user:password`, percent-encoded as it was written.
    pub(super) login: Option<String>,
    /// Host and port; empty for files.
    pub(super) authority: String,
    /// From the first slash on, the query included.
    pub(super) path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    File,
    Http,
    Https,
}

impl Scheme {
    fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// A text is not an address that `bld` can use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Its scheme is not known.
    #[error("only http, https and file addresses are understood, not `{0}…`")]
    Scheme(String),
    /// It has no host, or characters that do not belong there.
    #[error("the {0} address is malformed")]
    Form(&'static str),
}

impl Url {
    /// Parses an address.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "file" => Scheme::File,
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            // Whatever came before the colon: short, and before any password.
            other => return Err(UrlError::Scheme(other.chars().take(12).collect())),
        };
        let malformed = UrlError::Form(scheme.as_str());
        if text.bytes().any(|byte| byte <= b' ' || byte >= 0x7f) && scheme != Scheme::File {
            return Err(malformed);
        }
        if scheme == Scheme::File {
            let path = rest.strip_prefix("//localhost").or(rest.strip_prefix("//")).unwrap_or(rest);
            if !path.starts_with('/') {
                return Err(malformed);
            }
            return Ok(Self {
                scheme,
                login: None,
                authority: String::new(),
                path: path.to_owned(),
            });
        }
        let rest = rest.strip_prefix("//").ok_or(malformed.clone())?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (login, host) = match authority.rsplit_once('@') {
            Some((login, host)) => (Some(login.to_owned()), host),
            None => (None, authority),
        };
        if host.is_empty() || host.starts_with(':') {
            return Err(malformed);
        }
        let path = path.split('#').next().unwrap_or_default();
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self { scheme, login, authority: host.to_owned(), path: format!("{slash}{path}") })
    }

    /// Returns the address of what lies at `path` below this one.
    #[must_use]
    pub fn below(&self, path: &str) -> Self {
        let base = self.path.trim_end_matches('/');
        Self { path: format!("{base}/{}", encode(path)), ..self.clone() }
    }

    /// Returns the address that a server sends us on to.
    pub(super) fn join(&self, location: &str) -> Result<Self, UrlError> {
        let has_scheme = location.split_once("://").is_some_and(|(scheme, _)| {
            !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
        let next = if has_scheme {
            Self::parse(location)?
        } else if location.starts_with("//") {
            Self::parse(&format!("{}:{location}", self.scheme.as_str()))?
        } else {
            let plain = self.path.split('?').next().unwrap_or_default();
            let folder = plain.rsplit_once('/').map_or("", |(folder, _)| folder);
            let path = if location.starts_with('/') {
                location.to_owned()
            } else {
                format!("{folder}/{location}")
            };
            Self::parse(&format!("{}://{}{path}", self.scheme.as_str(), self.authority))?
        };
        // A server must not make us read our own files.
        if next.scheme == Scheme::File {
            Err(UrlError::Scheme("file".to_owned()))
        } else {
            Ok(next)
        }
    }

    /// Returns whether it is a file of this machine.
    pub fn is_file(&self) -> bool {
        self.scheme == Scheme::File
    }

    pub(super) fn file_path(&self) -> PathBuf {
        use std::os::unix::ffi::OsStringExt as _;
        std::ffi::OsString::from_vec(decode(&self.path)).into()
    }

    /// Returns the host without its port.
    pub(super) fn host(&self) -> &str {
        match self.authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, _)) => host,
            None => self.authority.split(':').next().unwrap_or_default(),
        }
    }

    /// Returns the value of an `Authorization` header, if the address has a login.
    pub(super) fn authorization(&self) -> Option<String> {
        self.login.as_deref().map(basic)
    }

    /// Returns the address as a client writes it, without its login.
    pub(super) fn plain(&self) -> String {
        format!("{}://{}{}", self.scheme.as_str(), self.authority, self.path)
    }
}

/// Returns the value of an authorization header for `user:password`, percent-encoded.
pub(super) fn basic(login: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(decode(login)))
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A query may hold a signature or a token.
        let shown = self.path.split('?').next().unwrap_or_default();
        let query = if self.path.contains('?') { "?…" } else { "" };
        let login = if self.login.is_some() { "…@" } else { "" };
        write!(f, "{}://{login}{}{shown}{query}", self.scheme.as_str(), self.authority)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Percent-encodes a path; `+` too, because object stores take it for a space.
fn encode(path: &str) -> String {
    use fmt::Write as _;
    path.bytes().fold(String::with_capacity(path.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"/-._~:".contains(&byte) {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").expect("writing to a string cannot fail");
        }
        text
    })
}

fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let digits = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match digits.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => bytes.push(*first),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let url = Url::parse("https://me:s%40cret@example.org:8080/a?token=1").unwrap();
        assert_eq!(
            format!("{url} {url:?}"),
            "https://…@example.org:8080/a?… https://…@example.org:8080/a?…"
        );
        assert_eq!(url.plain(), "https://example.org:8080/a?token=1");
        assert_eq!(url.authorization().as_deref(), Some("Basic bWU6c0BjcmV0"));
        let Err(error) = Url::parse("ftp://me:secret@example.org") else { unreachable!() };
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn addresses_are_joined_as_servers_mean_it() {
        let url = Url::parse("http://u:p@a.example/x/y").unwrap();
        for (location, expected) in [
            ("z", "http://a.example/x/z"),
            ("/z?r", "http://a.example/z?r"),
            ("//b.example/z", "http://b.example/z"),
            ("https://b.example/z", "https://b.example/z"),
        ] {
            assert_eq!(url.join(location).unwrap().plain(), expected);
        }
        url.join("file:///etc/passwd").unwrap_err();
        let deb = url.below("pool/g++_1%2b~_all.deb");
        assert_eq!(deb.path, "/x/y/pool/g%2B%2B_1%252b~_all.deb");
    }

    #[test]
    fn a_file_below_a_file_address_is_found_whatever_its_name() {
        let url = Url::parse("file:/srv/mi%20rror").unwrap().below("g++ é%.deb");
        assert_eq!(url.file_path().to_str(), Some("/srv/mi rror/g++ é%.deb"));
    }
}
