//! A connection to a remote: what every call has in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::codegen::http::HeaderMap;
use tonic::metadata::{BinaryMetadataKey, BinaryMetadataValue, MetadataMap};
use tonic::{Code, Request, Status};
use wire::request::{METADATA_HEADER, RequestMetadata};

use super::address::Address;
use super::helper::Headers;
use super::line::Line;
use super::retry::{Pauses, Retry};
use super::secret::Keyring;
use super::{Purpose, RemoteError, RemoteOptions, capabilities};

/// How long an answer may take for which the other side has to look through all that it has: a hundred million records.
/// Whether it is still there is found out meanwhile.
const LONG_ANSWER_TIME_MAX: Duration = Duration::from_secs(60 * 60);

/// How often it is tried to reach a remote at all: each attempt may take as long as connecting may.
const FIRST_ATTEMPTS_MAX: u32 = 2;

/// A connection, and who is at its other end. It is made when the first call begins.
pub struct Connection {
    pub(super) address: Arc<str>,
    pub(super) instance: String,
    pub(super) retry: Retry,
    channels: Vec<Line>,
    next: AtomicUsize,
    keyring: Keyring,
    calls: Arc<Semaphore>,
    /// Who asks.
    asker: RequestMetadata,
}

/// One call that may begin now.
pub struct Call {
    /// Over which it goes.
    pub channel: Line,
    headers: Arc<Headers>,
    metadata: BinaryMetadataValue,
    permit: OwnedSemaphorePermit,
}

impl Call {
    /// Returns the request of this call: the message, and what says and proves who asks.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let headers = request.metadata_mut();
        for (name, value) in self.headers.iter() {
            headers.append(name.clone(), value.clone());
        }
        headers.insert_bin(BinaryMetadataKey::from_static(METADATA_HEADER), self.metadata.clone());
        request
    }

    /// Ends the call, or for a stream its beginning; as long as what is returned lives it counts as one.
    pub(super) fn into_permit(self) -> OwnedSemaphorePermit {
        self.permit
    }
}

impl Connection {
    /// How many calls are under way at once: enough to fill a long way, and few enough for any server.
    pub const CALLS_MAX: usize = 128;

    /// Sets a connection up. It belongs to the runtime that this is called in, which must have several threads: where a
    /// secret is looked for, others would be held up.
    pub fn open(options: RemoteOptions) -> Result<Self, RemoteError> {
        let RemoteOptions { address, instance, secret, tls, retry, invocation, function: _ } =
            options;
        let address = Address::parse(&address)?;
        let keyring = Keyring::new(secret, &address)?;
        let channels = address.channels(&tls)?;
        let asker = RequestMetadata {
            tool: "bld".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            invocation,
            ..RequestMetadata::default()
        };
        Ok(Self {
            address: address.text,
            instance,
            retry,
            channels,
            next: AtomicUsize::new(0),
            keyring,
            calls: Arc::new(Semaphore::new(Self::CALLS_MAX)),
            asker,
        })
    }

    /// Returns where it leads, as it was typed.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns which instance is asked there.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Returns what proves who asks, for whoever makes calls of his own.
    pub async fn credentials(&self) -> Result<HeaderMap, RemoteError> {
        let mut sent = MetadataMap::new();
        for (name, value) in self.keyring.headers().await?.iter() {
            sent.append(name.clone(), value.clone());
        }
        Ok(sent.into_headers())
    }

    /// Waits until a call may begin.
    pub(super) async fn begin(
        &self,
        purpose: Option<&Purpose>,
        patience: &mut Patience,
    ) -> Result<Call, RemoteError> {
        let permit = Arc::clone(&self.calls).acquire_owned().await;
        let headers = self.keyring.headers().await?;
        patience.sent = Some(Arc::clone(&headers));
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.channels.len();
        Ok(Call {
            channel: self.channels[next].clone(),
            headers,
            metadata: BinaryMetadataValue::from_bytes(&self.metadata(purpose).encode()),
            permit: permit.expect("the calls are never closed"),
        })
    }

    fn metadata(&self, purpose: Option<&Purpose>) -> RequestMetadata {
        let asker = self.asker.clone();
        match purpose {
            None => asker,
            Some(Purpose { action, target, mnemonic }) => RequestMetadata {
                action: action.0.hex(),
                target: target.clone(),
                mnemonic: mnemonic.clone(),
                ..asker
            },
        }
    }

    /// Makes a call whose answer is one message, again if need be. `verb` says what it is for; about `bytes` go and come.
    pub(super) async fn call<T, F: Future<Output = Result<T, Status>>>(
        &self,
        verb: &'static str,
        purpose: Option<&Purpose>,
        bytes: u64,
        attempt: impl Fn(Call) -> F,
    ) -> Result<T, RemoteError> {
        self.call_within(self.retry.answer_time(bytes), self.retry, verb, purpose, attempt).await
    }

    /// Makes a call that is on behalf of no action and whose answer may take long, again if need be. `verb` says what it is
    /// for. Whoever does not answer anything is not waited for as long.
    pub async fn long_call<T, F: Future<Output = Result<T, Status>>>(
        &self,
        verb: &'static str,
        attempt: impl Fn(Call) -> F,
    ) -> Result<T, RemoteError> {
        match capabilities::ask(self).await {
            // Whoever refuses that is there.
            Err(error) if error.is_transient() => return Err(error),
            Ok(_) | Err(_) => {}
        }
        self.call_within(LONG_ANSWER_TIME_MAX, self.retry, verb, None, attempt).await
    }

    async fn call_within<T, F: Future<Output = Result<T, Status>>>(
        &self,
        time_max: Duration,
        retry: Retry,
        verb: &'static str,
        purpose: Option<&Purpose>,
        attempt: impl Fn(Call) -> F,
    ) -> Result<T, RemoteError> {
        let mut patience = Patience::new(retry);
        loop {
            let call = self.begin(purpose, &mut patience).await?;
            let status = match tokio::time::timeout(time_max, attempt(call)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(status)) => status,
                Err(_elapsed) => Status::deadline_exceeded(""),
            };
            self.pause(verb, &mut patience, status).await?;
        }
    }

    /// Like [`Connection::call`], for the first call of all: whoever is not there is not waited for long.
    pub(super) async fn first_call<T, F: Future<Output = Result<T, Status>>>(
        &self,
        verb: &'static str,
        attempt: impl Fn(Call) -> F,
    ) -> Result<T, RemoteError> {
        let attempts = self.retry.attempts.min(FIRST_ATTEMPTS_MAX);
        let retry = Retry { attempts, ..self.retry };
        self.call_within(retry.answer_time(0), retry, verb, None, attempt).await
    }

    /// Waits until it is time to try again, if that may help.
    pub(super) async fn pause(
        &self,
        verb: &'static str,
        patience: &mut Patience,
        status: Status,
    ) -> Result<(), RemoteError> {
        // Secrets expire, and those who know them know newer ones.
        if status.code() == Code::Unauthenticated
            && !patience.asked_again
            && patience.sent.as_ref().is_some_and(|sent| self.keyring.forget(sent))
        {
            patience.asked_again = true;
            return Ok(());
        }
        let Some(pause) = patience.pauses.after(&status) else {
            return Err(self.failed(verb, status));
        };
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Returns the failure of a call, or of a stream that it began.
    pub fn failed(&self, verb: &'static str, status: Status) -> RemoteError {
        RemoteError::Call { verb, address: Arc::clone(&self.address), status: Box::new(status) }
    }

    /// Returns that an answer makes no sense.
    pub(super) fn senseless(&self, why: &'static str) -> RemoteError {
        RemoteError::Answer { address: Arc::clone(&self.address), why }
    }
}

/// What is left of the attempts of one call.
pub(super) struct Patience {
    pub(super) pauses: Pauses,
    /// What proved who asks at the last attempt.
    sent: Option<Arc<Headers>>,
    /// Whether the secret was looked for again.
    asked_again: bool,
}

impl Patience {
    pub(super) fn new(retry: Retry) -> Self {
        Self { pauses: retry.begin(), sent: None, asked_again: false }
    }
}
