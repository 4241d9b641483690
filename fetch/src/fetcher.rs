//! Fetching: a locked tree, wanted by its digest, is downloaded, verified, unpacked and compared.

use std::path::PathBuf;

use model::TreeDigest;
use store::LocalStore;

use crate::deb::sources::Source;
use crate::depot::Depot;
use crate::http::Downloader;
use crate::lock::{Item, Lock};
use crate::locker::{bring, mirrors};
use crate::memory::Memory;
use crate::parcel::Key;
use crate::plan::Supply;
use crate::progress::Progress;
use crate::unpack::Unpacker;
use crate::{FetchError, Request};

/// Fetches what a lock pins.
pub struct Fetcher<'a> {
    /// Where archives and trees are kept.
    pub store: &'a LocalStore,
    /// What is pinned.
    pub lock: &'a Lock,
    /// The requests of the workspace: rules know the addresses of archives and repositories.
    pub requests: &'a [Request],
    /// Where Debian packages come from.
    pub sources: &'a [Source],
    /// Who hears of it.
    pub progress: &'a dyn Progress,
    /// Who unpacks.
    pub unpacker: &'a dyn Unpacker,
    /// Who downloads.
    pub downloader: &'a Downloader,
    /// Where it is remembered what was unpacked to what.
    pub cache: PathBuf,
}

impl Fetcher<'_> {
    /// Brings the tree, with everything below it, into the store; returns `false` if the lock has no such tree.
    pub fn fetch(&self, tree: TreeDigest) -> Result<bool, FetchError> {
        let Some((key, item)) = self.lock.items.iter().find(|(_, item)| item.tree == tree) else {
            return Ok(false);
        };
        if self.lock.unpack_rules != formats::UNPACK_RULES_VERSION
            || self.lock.function != self.store.function()
        {
            return Err(FetchError::Stale);
        }
        let depot = Depot {
            store: self.store,
            progress: self.progress,
            unpacker: self.unpacker,
            downloader: self.downloader,
            memory: Memory::new(self.cache.clone()),
        };
        let supply = self.supply(key, item)?;
        let (step, archive) = bring(&depot, key, &supply, &mirrors(self.sources))?;
        // Not what was remembered: the bytes are wanted, all of them.
        let found = depot.unpack(archive, key, &supply.name(key), &*step)?;
        if found == tree {
            return Ok(true);
        }
        Err(FetchError::Tree { name: supply.name(key), expected: tree, found })
    }

    /// Returns where the parcel can be had: what the lock knows, and what rules say.
    fn supply(&self, key: &Key, item: &Item) -> Result<Supply, FetchError> {
        let mut plan = crate::plan::Plan::new(self.lock);
        plan.add("", "-", key.clone(), Supply::of(item))?;
        for request in self.requests {
            let wish = request.wants.parse();
            let wish =
                wish.map_err(|source| FetchError::Wants { label: request.label.clone(), source })?;
            if let Some((wished, supply)) =
                Supply::wished(&wish).filter(|(wished, _)| wished == key)
            {
                plan.add("", "-", wished, supply)?;
            }
        }
        Ok(plan.supplies.remove(key).unwrap_or_else(|| Supply::of(item)))
    }
}
