//! What can go wrong with a call, and with a whole benchmark.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// The server refused.
    #[error("status {code}: {message}")]
    Status {
        /// gRPC's number of the reason.
        code: u16,
        message: String,
    },
    /// The connection broke.
    #[error("HTTP/2: {0}")]
    Http(#[from] h2::Error),
    /// The answer is not what it must be.
    #[error("wrong answer: {0}")]
    Wrong(&'static str),
    /// All that there was to do was done before.
    #[error("nothing was left to be measured after warming up")]
    Unmeasured,
    /// The answer is no message.
    #[error("not a message: {0}")]
    Decode(#[from] prost::DecodeError),
}

/// Why nothing can be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error(
        "`{0}` is not the address of a server: write grpc://HOST:PORT or grpcs://HOST:PORT, with /INSTANCE if it has \
         several, or unix:/PATH"
    )]
    Address(String),
    #[error(
        "{name} is at {address}, beyond the loopback: what is measured there is somebody's network, and somebody may \
         be using that server; --beyond-loopback says that this is meant"
    )]
    BeyondLoopback { name: String, address: SocketAddr },
    #[error("cannot reach {name} at {address}")]
    Connect { name: String, address: String, source: std::io::Error },
    #[error("{name} does not speak HTTP/2")]
    Handshake { name: String, source: h2::Error },
    #[error("{} does not hold what it should in PEM", .0.display())]
    Pem(PathBuf, #[source] rustls_pki_types::pem::Error),
    #[error("TLS cannot be spoken with these certificates")]
    Encryption(#[source] rustls::Error),
    #[error("there is no process {0} whose time and memory could be read")]
    Process(u32, #[source] std::io::Error),
    #[error(
        "--server-pid is given {pids} times for {remotes} servers: once for each, in the same order"
    )]
    Pids { pids: usize, remotes: usize },
    #[error("cannot make a runtime")]
    Runtime(#[source] std::io::Error),
}

impl BenchError {
    /// Returns whether what was asked for makes no sense.
    pub(crate) fn is_mistake(&self) -> bool {
        match self {
            Self::Address(_)
            | Self::BeyondLoopback { .. }
            | Self::Pids { .. }
            | Self::Pem(..)
            | Self::Encryption(_) => true,
            Self::Connect { .. }
            | Self::Handshake { .. }
            | Self::Process(..)
            | Self::Runtime(_) => false,
        }
    }
}
