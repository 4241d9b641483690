//! Bodies that are counted while they pass; the end of an answer is where a request ends.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::{Body, Frame, SizeHint};

use super::Observed;
use crate::metrics::{Outcome, Protocol};

/// The body of a request.
#[derive(Debug)]
pub struct Received<B> {
    inner: B,
    observed: Observed,
}

impl<B> Received<B> {
    pub(super) fn new(inner: B, observed: Observed) -> Self {
        Self { inner, observed }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Received<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            self.observed.received(frame.data_ref().map_or(0, Bytes::len));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of an answer.
#[derive(Debug)]
pub struct Sent<B: Body> {
    inner: B,
    end: End,
}

impl<B: Body> Sent<B> {
    pub(super) fn new(inner: B, end: End) -> Self {
        Self { inner, end }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Sent<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => self.end.saw(frame),
            Some(Err(_)) => self.end.broke(),
            None => self.end.reached(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B: Body> Drop for Sent<B> {
    fn drop(&mut self) {
        // Whoever knows how many bytes there are does not ask for the end of them.
        if self.inner.is_end_stream() {
            self.end.reached();
        }
    }
}

/// The end of a request. Where nothing says how it went, whoever asked has gone away.
#[derive(Debug)]
pub(super) struct End {
    observed: Observed,
    protocol: Protocol,
    /// What the head or the trailers say of how it went.
    told: Option<(Outcome, String)>,
    /// How many bytes the answer has that were not sent, where its head says how many it has.
    left: Option<u64>,
    is_reached: bool,
}

impl End {
    pub(super) fn new(observed: Observed, protocol: Protocol) -> Self {
        Self { observed, protocol, told: None, left: None, is_reached: false }
    }

    /// Takes what the head of the answer says.
    pub(super) fn with_head<B>(mut self, answer: &Response<B>) -> Self {
        match self.protocol {
            Protocol::Grpc if answer.status().is_success() => self.told = told(answer.headers()),
            // Something before gRPC has answered.
            Protocol::Grpc | Protocol::Http => {
                self.told = Some((Outcome::of_status(answer.status()), String::new()));
            }
        }
        let length = answer.headers().get(header::CONTENT_LENGTH);
        self.left = length.and_then(|it| it.to_str().ok()?.parse().ok());
        self
    }

    /// Returns what the request is called, if it is already known to have failed.
    pub(super) fn id_of_failure(&self) -> Option<HeaderValue> {
        let (outcome, _) = self.told.as_ref()?;
        HeaderValue::try_from(self.observed.id()).ok().filter(|_| outcome.is_failure())
    }

    fn saw(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            self.observed.sent(data.len());
            self.left = self.left.map(|it| it.saturating_sub(data.len() as u64));
        } else if let Some(trailers) = frame.trailers_ref() {
            self.told = told(trailers).or(self.told.take());
            self.reached();
        }
        if self.left == Some(0) {
            self.reached();
        }
    }

    fn broke(&mut self) {
        self.told = Some((Outcome::BROKEN, "the answer broke off".to_owned()));
        self.is_reached = true;
    }

    fn reached(&mut self) {
        self.is_reached = true;
    }
}

impl Drop for End {
    fn drop(&mut self) {
        match self.told.take().filter(|_| self.is_reached) {
            Some((outcome, message)) => self.observed.finish(outcome, &message),
            None => self.observed.finish(Outcome::CANCELLED, ""),
        }
    }
}

/// Returns what headers or trailers of gRPC say of how it went.
fn told(headers: &HeaderMap) -> Option<(Outcome, String)> {
    let status = tonic::Status::from_header_map(headers)?;
    Some((Outcome::of_code(status.code().into()), status.message().to_owned()))
}
