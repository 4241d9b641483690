//! Why somebody is not who he says he is, and how he is told.

use axum::body::Body;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::certificate::CertificateError;
use super::credential::CredentialError;
use super::jwt::JwtError;
use crate::metrics::Protocol;

/// What a client is told to send. Each in a line of its own: not all understand two in one.
const CHALLENGES: [&str; 2] = ["Bearer realm=\"bld\"", "Basic realm=\"bld\""];

/// What is added to the first where something was sent that is wrong: Bazel asks its credential helper again then.
const INVALID_TOKEN: &str = ", error=\"invalid_token\"";

/// Why somebody is not who he says he is. It is told to him, and repeats nothing of what he showed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// He said nothing, and whoever does may do nothing here.
    #[error(
        "say who you are: with a token (`authorization: Bearer …`, or as the password of a URL) or a certificate"
    )]
    Nothing,
    /// He said nothing, and only whoever calls from this machine may do so.
    #[error("only calls from this machine to `localhost` need not say who makes them: {0}")]
    NotFromHere(Elsewhere),
    /// What he showed is not understood.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// He showed something that is no token of this server: never was, or was revoked.
    #[error("this token is not known here, or was revoked")]
    UnknownToken,
    /// He showed something that was good once.
    #[error("this token has expired")]
    Expired,
    /// He showed a JWT.
    #[error("this JWT is refused: {0}")]
    Jwt(#[from] JwtError),
    /// He showed a certificate.
    #[error("this certificate is refused: {0}")]
    Certificate(#[from] CertificateError),
}

/// Why a call that says nothing of who makes it is not one from this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Elsewhere {
    /// It comes from another address.
    #[error("this one comes from another")]
    Address,
    /// It was passed on by a proxy, which may do so for anybody.
    #[error("this one was passed on by a proxy")]
    Proxy,
    /// It is made to another name: by a page in a browser, perhaps, whose owner lets that name lead here.
    #[error("this one is to another name")]
    Name,
}

impl Unauthenticated {
    /// Returns the answer to whoever made a request with these headers: 401, or what is that for gRPC.
    pub(crate) fn response(&self, request: &HeaderMap) -> Response<Body> {
        if Protocol::of(request) == Protocol::Grpc {
            return tonic::Status::unauthenticated(self.to_string()).into_http();
        }
        let mut response = Response::new(Body::from(format!("{self}\n")));
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        let [bearer, basic] = CHALLENGES;
        let bearer = match self {
            Self::Nothing | Self::NotFromHere(_) => HeaderValue::from_static(bearer),
            Self::Credential(_)
            | Self::UnknownToken
            | Self::Expired
            | Self::Jwt(_)
            | Self::Certificate(_) => HeaderValue::from_str(&format!("{bearer}{INVALID_TOKEN}"))
                .expect("both are plain texts"),
        };
        headers.append(WWW_AUTHENTICATE, bearer);
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(basic));
        response
    }
}
