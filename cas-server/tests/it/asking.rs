//! A server of which only the layer before its services is there, and whoever asks it something.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use cas_server::{
    Caller, Config, Grant, Identities, IdentityLayer, Peer, PeerAddress, Secret, TokenFile,
    Unauthenticated,
};
use http::{Request, Response};
use tempfile::TempDir;
use tower::{Layer as _, ServiceExt as _, service_fn};

/// What somebody has to say so that nothing is granted to whoever says nothing.
pub(crate) const CLOSED: &str = "[identity.anonymous]\nrights = []\n";

/// A server's folder, its configuration, and whom it knows.
pub(crate) struct House {
    folder: TempDir,
    identities: Arc<Identities>,
}

impl House {
    /// Returns a server that is configured so.
    pub(crate) fn new(config: &str) -> Self {
        Self::with(&[], config)
    }

    /// Returns a server in whose folder there are those files.
    pub(crate) fn with(files: &[(&str, &str)], config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let file = folder.path().join("bld-server.toml");
        let config = Config::parse(config, &file, Some(folder.path())).unwrap();
        let identities = Arc::new(Identities::open(&config).unwrap());
        Self { folder, identities }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn tokens(&self) -> TokenFile {
        TokenFile::new(&self.path("tokens.toml"))
    }

    /// Makes a token, which the server knows from here on.
    pub(crate) fn token(&self, name: &str, grant: Grant) -> Secret {
        let hour = Some(Duration::from_secs(3600));
        let (_, secret) = self.tokens().create(name, grant, SystemTime::now(), hour).unwrap();
        self.refresh();
        secret
    }

    /// Does what a running server does every second.
    pub(crate) fn refresh(&self) {
        self.identities.refreshers().iter().for_each(|it| it.refresh());
    }

    /// Returns who makes a request now.
    pub(crate) fn identify(&self, request: &Request<Body>) -> Result<Arc<Caller>, Unauthenticated> {
        self.identify_at(request, SystemTime::now())
    }

    pub(crate) fn identify_at(
        &self,
        request: &Request<Body>,
        now: SystemTime,
    ) -> Result<Arc<Caller>, Unauthenticated> {
        self.identities.identify(request, now)
    }

    /// Returns what is answered through the layer, before a service that answers with its caller's name.
    pub(crate) async fn ask(&self, request: Request<Body>) -> Response<Body> {
        let service = service_fn(|request: Request<Body>| async move {
            let caller = request.extensions().get::<Arc<Caller>>().unwrap();
            Ok::<_, Infallible>(Response::new(Body::from(caller.name.to_string())))
        });
        IdentityLayer::new(Arc::clone(&self.identities))
            .layer(service)
            .oneshot(request)
            .await
            .unwrap()
    }
}

/// Returns a request from this machine to this machine, with those headers.
pub(crate) fn request(headers: &[(&str, &str)]) -> Request<Body> {
    request_from("127.0.0.1:50000", headers)
}

/// Returns a request from that address.
pub(crate) fn request_from(address: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let peer = Peer::new(PeerAddress::Tcp(address.parse::<SocketAddr>().unwrap()));
    let mut request = Request::get("/cas/00").extension(peer);
    if headers.iter().all(|(name, _)| *name != "host") {
        request = request.header("host", "127.0.0.1:8980");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

/// Returns a request that shows a token.
pub(crate) fn bearing(secret: &Secret) -> Request<Body> {
    request(&[("authorization", &format!("Bearer {}", secret.reveal()))])
}

/// Returns a grant, in words.
pub(crate) fn grant(rights: &str, namespace: &str, above: &[&str]) -> Grant {
    let above: Vec<_> = above.iter().map(|it| it.parse().unwrap()).collect();
    Grant::new(rights.parse().unwrap(), namespace.parse().unwrap(), &above).unwrap()
}

/// Returns why no server is configured so.
pub(crate) fn fault(config: &str) -> String {
    let (file, root) = (Path::new("bld-server.toml"), Path::new("/nowhere"));
    Config::parse(config, file, Some(root)).unwrap_err().to_string()
}
