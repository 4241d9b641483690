//! The outside world as a source of trees: what is locked is fetched when somebody needs its bytes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use engine::Mirror;
use fetch::deb::sources::Keys;
use fetch::{Downloader, FetchError, Fetcher, Lock, Network, Proxies, Request, Source};
use model::TreeDigest;
use store::{LocalStore, StoreError, TreeSource};

use crate::error::CliError;
use crate::progress::Display;
use crate::unpack::Confined;
use crate::workspace::OpenWorkspace;

/// Where the machine's package sources are configured.
const ETC_APT: &str = "/etc/apt";

/// Everything that fetching needs.
pub(crate) struct Outside {
    pub(crate) store: Arc<LocalStore>,
    pub(crate) sources: Vec<Source>,
    pub(crate) downloader: Downloader,
    pub(crate) unpacker: Confined,
    pub(crate) cache: PathBuf,
    pub(crate) requests: Vec<Request>,
    pub(crate) display: Arc<Display>,
}

impl Outside {
    pub(crate) fn new(
        workspace: &OpenWorkspace,
        store: &Arc<LocalStore>,
        requests: Vec<Request>,
        network: Network,
        display: Arc<Display>,
    ) -> Result<Self, CliError> {
        let sources = if workspace.config.mirrors.is_empty() {
            fetch::machine_sources(Path::new(ETC_APT))
                .map_err(|error| CliError::Fetch(Box::new(error)))?
        } else {
            workspace
                .config
                .mirrors
                .iter()
                .flat_map(|it| mirror_sources(it, &workspace.root))
                .collect()
        };
        let proxies = Proxies::from_environment(|name| std::env::var(name).ok());
        let downloader = Downloader::new(network, proxies, store.folder("downloads")?);
        Ok(Self {
            store: Arc::clone(store),
            sources,
            downloader,
            unpacker: Confined(Arc::clone(store)),
            cache: store.folder("unpacked")?,
            requests,
            display,
        })
    }
}

fn mirror_sources(mirror: &Mirror, root: &Path) -> Vec<Source> {
    let files = match &mirror.signed_by {
        // Relative to the workspace; an absolute path stays what it is.
        Some(keyring) => vec![root.join(keyring)],
        None => fetch::deb::sources::default_keyrings(Path::new(ETC_APT)).unwrap_or_default(),
    };
    let source = |suite: &String| Source {
        uri: mirror.url.trim_end_matches('/').to_owned(),
        suite: suite.clone(),
        components: mirror.components.clone(),
        arches: Vec::new(),
        keys: Keys { files: files.clone(), ..Keys::default() },
        trusted: false,
        origin: "bld.toml".to_owned(),
    };
    mirror.suites.iter().map(source).collect()
}

/// [`Outside`] with the lock that says what may be had from there.
pub(crate) struct LockedTrees {
    pub(crate) outside: Outside,
    pub(crate) lock: Lock,
}

impl LockedTrees {
    /// A kernel that every source has dropped is a fact of life; a compiler is not to be done without.
    fn explained(&self, tree: TreeDigest, error: FetchError) -> StoreError {
        match self.lock.kernel_of(tree) {
            Some((kernel, name)) if error.is_absence() => {
                let reason = format!("no package source has {name} any more, which {kernel} needs");
                StoreError::Vanished { tree, reason: reason.into() }
            }
            _ => StoreError::Outside { tree, source: Box::new(error) },
        }
    }
}

#[async_trait]
impl TreeSource for LockedTrees {
    async fn ensure(&self, tree: TreeDigest) -> Result<Option<PathBuf>, StoreError> {
        tokio::task::block_in_place(|| {
            let outside = &self.outside;
            let fetcher = Fetcher {
                store: &outside.store,
                lock: &self.lock,
                requests: &outside.requests,
                sources: &outside.sources,
                progress: &*outside.display,
                unpacker: &outside.unpacker,
                downloader: &outside.downloader,
                cache: outside.cache.clone(),
            };
            let was_locked = fetcher.fetch(tree).map_err(|error| self.explained(tree, error))?;
            if was_locked { outside.store.materialise(tree) } else { Ok(None) }
        })
    }
}
