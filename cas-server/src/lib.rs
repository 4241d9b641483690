//! The front door of the cellar: the Remote Execution API, plain HTTP caches, and who may do what.

pub mod admin;
mod asked;
mod assets;
mod authority;
mod blobs;
mod caller;
mod capabilities;
mod completeness;
mod config;
mod crowd;
mod door;
mod drain;
mod fault;
mod front;
mod http;
mod identity;
mod ledger;
mod limits;
mod load;
pub mod metrics;
pub mod observe;
mod operation;
mod pieces;
mod reload;
mod replace;
mod results;
mod rights;
mod server;
mod services;
mod stream;
mod tls;
pub mod trace;
mod unpacking;

pub use assets::Origins;
pub use authority::{Authority, AuthorityError, Issued, IssuedCertificate, IssuedRole, Role};
pub use caller::{Caller, Denied};
pub use config::{
    Acknowledge, CONFIG_FILE, Config, ConfigError, DEFAULT_PORT, Exposed, IdentityConfig, Limits,
    Listen, LogFormat, LogLevel, NotAPeriod, OutOfBounds, Period, StoreConfig, TelemetryConfig,
    TlsConfig, TomlError, default_root,
};
pub use door::Door;
pub use drain::{Drain, Drained, Held, Phase};
pub use front::Front;
pub use identity::{
    CertificateError, CredentialError, Elsewhere, GrantedError, Identified, Identities,
    IdentityError, IdentityLayer, InvalidName, InvalidToken, IssuerConfig, IssuerError, JwtError,
    KeysError, NoRandomness, Peer, PeerAddress, PeerCertificate, RevocationsError, Rule, RuleError,
    Secret, Token, TokenError, TokenFile, TokenId, Unauthenticated,
};
pub use operation::Operation;
pub use reload::{LOOK_INTERVAL, Refresh, Unreadable, keep_fresh};
pub use replace::ReplaceError;
pub use rights::{Grant, NotAbove, Right, Rights, UnknownRight};
pub use server::{ServeError, Server};
pub use services::router;
pub use tls::{HandshakeError, Tls, TlsError};
