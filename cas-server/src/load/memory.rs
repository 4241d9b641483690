//! How much of the memory that its sender may use a request holds.

use std::sync::{Arc, Mutex};

use http::Extensions;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use wire::elements::{ELEMENT_BYTES, Malformed, Shape};

use crate::fault;
use crate::metrics::Limit;
use crate::observe::Observed;

/// The sender would have more in memory than he may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too much of what you send and ask for is held in memory")]
pub(crate) struct TooMuch;

impl From<TooMuch> for Status {
    fn from(error: TooMuch) -> Self {
        fault::full(&error.to_string())
    }
}

/// What a request holds in memory, out of what its sender may. Requests carry it as an extension.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    /// One permit for each byte.
    room: Arc<Semaphore>,
    /// What is held until the request is answered.
    held: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
    observed: Observed,
}

impl Memory {
    /// Returns the memory of a request that holds nothing yet.
    pub(crate) fn new(room: Arc<Semaphore>, observed: Observed) -> Self {
        Self { room, held: Arc::default(), observed }
    }

    /// Returns that of the request with these extensions.
    pub(crate) fn of(extensions: &Extensions) -> &Self {
        extensions.get().expect("the layer that counts requests is outside every service")
    }

    /// Takes so many bytes for as long as what is returned lives; `None` if that is more than there is room for.
    pub(crate) fn take_spare(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let count = u32::try_from(bytes).unwrap_or(u32::MAX);
        Arc::clone(&self.room).try_acquire_many_owned(count).ok()
    }

    /// Takes so many bytes, which cannot be done without, for as long as what is returned lives.
    pub(crate) fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, TooMuch> {
        self.take_spare(bytes).ok_or_else(|| {
            self.observed.limited(Limit::BytesInFlight);
            TooMuch
        })
    }

    /// Holds so many bytes more until the request is answered.
    pub(crate) fn hold(&self, bytes: usize) -> Result<(), TooMuch> {
        let permit = self.take(bytes)?;
        let mut held = self.held.lock().expect("no holder panics");
        match &mut *held {
            Some(held) => held.merge(permit),
            None => *held = Some(permit),
        }
        Ok(())
    }

    /// Returns how many bytes are held until the request is answered.
    pub(super) fn held(&self) -> usize {
        let held = self.held.lock().expect("no holder panics");
        held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }
}

/// Returns what an encoded message takes in memory when it is decoded, if it can be.
pub(crate) fn decoded_bytes(shape: Shape, bytes: &[u8]) -> Result<usize, Malformed> {
    Ok(with_elements(bytes.len(), shape.count(bytes)?))
}

/// Returns what a text of JSON takes in memory when it is read: each of its values stands behind one of these.
pub(crate) fn json_bytes(text: &[u8]) -> usize {
    let elements = text.iter().filter(|it| matches!(it, b'{' | b'[' | b',')).count();
    with_elements(text.len(), elements)
}

/// Returns what so many bytes take in memory when they are decoded, with so many elements of lists in them.
pub(super) fn with_elements(bytes: usize, elements: usize) -> usize {
    elements.saturating_mul(ELEMENT_BYTES).saturating_add(bytes)
}
