//! A whole server: opens its doors, serves whoever comes, and ends in an orderly way.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use store::Cellar;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::front::Front;
use crate::identity::{Identities, IdentityError, IdentityLayer};
use crate::metrics::Metrics;
use crate::observe::Observer;
use crate::reload::keep_fresh;
use crate::tls::{Tls, TlsError};
use crate::{Config, Door, Drain, Drained, Operation, Origins, router};

/// Why a server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Callers cannot be known.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Connections cannot be encrypted.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Something else listens there, or nobody may.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The same of a socket of the file system.
    #[error("cannot listen on {}", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl ServeError {
    /// Returns whether somebody can mend it in a file.
    pub fn is_mistake(&self) -> bool {
        match self {
            Self::Identity(error) => error.is_mistake(),
            Self::Tls(error) => error.is_mistake(),
            Self::Listen { .. } | Self::Socket { .. } => false,
        }
    }
}

/// A server whose doors are open; nobody has been let in yet.
pub struct Server {
    door: Door,
    ports: Vec<TcpListener>,
    socket: Option<Socket>,
    drain: Drain,
    patience: std::time::Duration,
    fresh: CancellationToken,
}

/// A socket of the file system, which is removed with it.
struct Socket {
    listener: Option<UnixListener>,
    path: PathBuf,
}

impl Drop for Socket {
    fn drop(&mut self) {
        // It may be gone already, and then it is as it should be.
        drop(std::fs::remove_file(&self.path));
    }
}

impl Server {
    /// Opens the doors that the configuration names, in front of that store. It ends when `drain` begins.
    pub async fn open(
        config: &Config,
        cellar: Arc<dyn Cellar>,
        drain: Drain,
    ) -> Result<Self, ServeError> {
        let identities = Arc::new(Identities::open(config)?);
        let tls = config.tls.as_ref().map(Tls::open).transpose()?.map(Arc::new);
        let fresh = CancellationToken::new();
        let files = identities.refreshers().into_iter().chain(tls.iter().map(|it| it.refresher()));
        tokio::spawn(keep_fresh(files.collect(), fresh.clone()));

        let metrics = Arc::new(Metrics::new());
        let router = services(config, cellar, &drain, identities, Arc::clone(&metrics)).await;
        let door = Door::new(router, config.limits.connections, drain.clone(), metrics);
        let door = match tls {
            Some(tls) => door.encrypted(tls),
            None => door,
        };
        let mut ports = Vec::new();
        for address in &config.listen.tcp {
            let listener = TcpListener::bind(address).await;
            let failed = |source| ServeError::Listen { address: *address, source };
            ports.push(listener.map_err(failed)?);
        }
        let socket = match &config.listen.unix {
            Some(path) => Some(listen_on_socket(path).await?),
            None => None,
        };
        Ok(Self { door, ports, socket, drain, patience: config.drain, fresh })
    }

    /// Returns the addresses at which it is to be found.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.ports.iter().filter_map(|it| it.local_addr().ok()).collect()
    }

    /// Serves until the end begins and what was under way is finished, or its time is up.
    pub async fn serve(mut self) -> Drained {
        // Whoever comes first is not to be told that the server is still starting.
        self.drain.serving();
        let mut serving = Vec::new();
        for listener in std::mem::take(&mut self.ports) {
            let door = self.door.clone();
            serving.push(tokio::spawn(async move { door.serve_tcp(listener).await }));
        }
        if let Some(listener) = self.socket.as_mut().and_then(|it| it.listener.take()) {
            let door = self.door.clone();
            serving.push(tokio::spawn(async move { door.serve_unix(listener).await }));
        }
        for task in serving {
            task.await.expect("listening does not panic");
        }
        let drained = self.drain.wait(self.patience).await;
        self.fresh.cancel();
        drained
    }
}

async fn services(
    config: &Config,
    cellar: Arc<dyn Cellar>,
    drain: &Drain,
    identities: Arc<Identities>,
    metrics: Arc<Metrics>,
) -> Router {
    let observer = Observer::new(metrics);
    let operation = Operation::new(Arc::clone(&cellar), observer, drain.clone());
    let front = Front::new(cellar, config.limits.clone());
    let origins = Origins::new(config.origins.clone());
    router(front, origins, operation, IdentityLayer::new(identities)).await
}

/// Listens on a socket. What a server that was killed has left there is removed; where somebody answers, it is his.
async fn listen_on_socket(path: &Path) -> Result<Socket, ServeError> {
    let failed = |source| ServeError::Socket { path: path.to_owned(), source };
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket());
    if is_socket {
        match UnixStream::connect(path).await {
            Ok(_) => return Err(failed(io::ErrorKind::AddrInUse.into())),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
    }
    let listener = Some(UnixListener::bind(path).map_err(failed)?);
    Ok(Socket { listener, path: path.to_owned() })
}
