//! What proves to a remote who asks.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::task::spawn_blocking;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue};

use super::address::Address;
use super::helper::{self, Headers};
use super::{RemoteError, file};

/// Where the secret is that is sent with every call.
#[derive(Clone, Default)]
pub enum Secret {
    /// There is none.
    #[default]
    None,
    /// Here it is.
    Token(String),
    /// In a file, which may be written anew while a build goes on.
    TokenFile(PathBuf),
    /// A program knows it.
    Helper(String),
}

/// Never the secret itself.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Token(_) => f.write_str("Token(…)"),
            Self::TokenFile(path) => f.debug_tuple("TokenFile").field(path).finish(),
            Self::Helper(program) => f.debug_tuple("Helper").field(program).finish(),
        }
    }
}

/// A secret, as it was found last.
pub(super) struct Keyring {
    secret: Secret,
    /// What a helper is told.
    uri: String,
    headers: Mutex<Option<Arc<Headers>>>,
    asking: tokio::sync::Mutex<()>,
}

impl Keyring {
    /// Returns a keyring for that address; refuses one where others could read along.
    pub(super) fn new(secret: Secret, address: &Address) -> Result<Self, RemoteError> {
        if !matches!(secret, Secret::None) && !address.is_private() {
            return Err(RemoteError::Unprotected { address: Arc::clone(&address.text) });
        }
        let (headers, asking) = Default::default();
        Ok(Self { secret, uri: address.for_helper(), headers, asking })
    }

    /// Returns what is sent with every call.
    pub(super) async fn headers(&self) -> Result<Arc<Headers>, RemoteError> {
        if let Some(known) = &*self.headers.lock().expect("no holder panics") {
            return Ok(Arc::clone(known));
        }
        // One asks; whoever else wants to know waits for that.
        let _asking = self.asking.lock().await;
        if let Some(known) = &*self.headers.lock().expect("no holder panics") {
            return Ok(Arc::clone(known));
        }
        let found = Arc::new(self.find().await?);
        *self.headers.lock().expect("no holder panics") = Some(Arc::clone(&found));
        Ok(found)
    }

    /// Forgets what was sent, unless it was replaced since, and returns whether there may be something else by now.
    pub(super) fn forget(&self, sent: &Arc<Headers>) -> bool {
        let mut headers = self.headers.lock().expect("no holder panics");
        if headers.as_ref().is_some_and(|known| Arc::ptr_eq(known, sent)) {
            *headers = None;
        }
        match self.secret {
            Secret::None | Secret::Token(_) => false,
            Secret::TokenFile(_) | Secret::Helper(_) => true,
        }
    }

    async fn find(&self) -> Result<Headers, RemoteError> {
        match &self.secret {
            Secret::None => Ok(Headers::new()),
            Secret::Token(token) => bearer("token", token),
            Secret::TokenFile(path) => {
                let path = path.clone();
                let read = spawn_blocking(move || file::read("token", &path));
                let bytes = read.await.expect("reading does not panic")?;
                bearer("token", &String::from_utf8_lossy(&bytes))
            }
            Secret::Helper(program) => helper::ask(program, &self.uri).await,
        }
    }
}

fn bearer(what: &'static str, token: &str) -> Result<Headers, RemoteError> {
    let value: Result<AsciiMetadataValue, _> = format!("Bearer {}", token.trim()).parse();
    let Ok(mut value) = value else { return Err(RemoteError::Secret { what }) };
    value.set_sensitive(true);
    Ok(vec![(AsciiMetadataKey::from_static("authorization"), value)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(secret: Secret, address: &str) -> Result<Keyring, RemoteError> {
        Keyring::new(secret, &Address::parse(address).unwrap())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_token_file_is_read_again_once_its_token_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |token: &str| std::fs::write(file.path(), token).unwrap();
        write("one\n");
        let secret = Secret::TokenFile(file.path().to_owned());
        let keyring = keyring(secret, "grpcs://cache").unwrap();
        let sent = || async { keyring.headers().await.unwrap() };
        let text = |headers: &Headers| headers[0].1.to_str().unwrap().to_owned();
        let first = sent().await;
        assert_eq!(text(&first), "Bearer one");
        write("two");
        assert_eq!(text(&*sent().await), "Bearer one");
        assert!(keyring.forget(&first));
        let second = sent().await;
        assert_eq!(text(&second), "Bearer two");
        // Whoever hears only now that the first is refused need not look again.
        assert!(keyring.forget(&first));
        assert!(Arc::ptr_eq(&sent().await, &second));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_secret_is_neither_shown_nor_sent_in_the_clear() {
        let token = || Secret::Token("s3cret".to_owned());
        assert!(!format!("{:?}", token()).contains("s3cret"));
        assert!(matches!(
            keyring(token(), "grpc://cache.example").err(),
            Some(RemoteError::Unprotected { .. })
        ));
        for address in ["grpcs://cache.example", "grpc://127.0.0.1:1", "unix:/run/x"] {
            let keyring = keyring(token(), address).unwrap();
            let sent = keyring.headers().await.unwrap();
            assert!(sent[0].1.is_sensitive());
            assert!(!keyring.forget(&sent), "it would be the same again");
        }
        let keyring = keyring(Secret::Token("a\nb".to_owned()), "grpcs://cache").unwrap();
        let error = keyring.headers().await.unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
    }
}
