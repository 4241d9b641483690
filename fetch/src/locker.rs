//! Locking: requests become pins and digests of trees, once; whatever was done before is not done again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use store::LocalStore;

use crate::deb::indexes::{Offer, load};
use crate::deb::signature::Checker;
use crate::deb::sources::Source;
use crate::depot::{Depot, Order};
use crate::http::{Downloader, Url};
use crate::lock::{Item, Lock};
use crate::memory::Memory;
use crate::parallel::each;
use crate::parcel::{Key, Wrapping};
use crate::plan::{Plan, Supply};
use crate::progress::Progress;
use crate::report::Report;
use crate::request::Wish;
use crate::unpack::Unpacker;
use crate::{FetchError, Request};

/// How many parcels are downloaded and unpacked at once: enough to keep a line busy, few enough for a mirror.
const PARCELS_AT_ONCE: usize = 4;

/// What is resolved anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Only what is not in the lock, or was asked for differently; all else stays, other targets' pins too.
    Missing,
    /// Everything that is asked for; pins of targets that are not asked for are dropped.
    All,
}

/// Makes locks.
pub struct Locker<'a> {
    /// Where archives and trees are kept.
    pub store: &'a LocalStore,
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

impl Locker<'_> {
    /// Returns a lock that meets the requests, and how it differs from the old one.
    pub fn lock(
        &self,
        requests: &[Request],
        old: Option<&Lock>,
        mode: Mode,
    ) -> Result<(Lock, Report), FetchError> {
        let blank = Lock::new(self.store.function());
        let old = old.unwrap_or(&blank);
        let wishes = parse(requests)?;
        let plan = self.plan(&wishes, old, mode)?;
        let items = self.obtain(&plan, old)?;
        let mut lock = Lock { items, pins: plan.pins, ..blank.clone() };
        if mode == Mode::Missing && self.is_reusable(old) {
            lock.requests.clone_from(&old.requests);
        }
        lock.requests
            .extend(wishes.values().map(|(request, _)| (request.label.clone(), request.digest())));
        let mut report = Report::between(old, &lock);
        report.warnings = self.warnings(old, &lock);
        report.kept_vanished = plan.vanished;
        Ok((lock, report))
    }

    /// Decides what is pinned.
    fn plan<'b>(
        &self,
        wishes: &Wishes<'_>,
        old: &'b Lock,
        mode: Mode,
    ) -> Result<Plan<'b>, FetchError> {
        let mut plan = Plan::new(old);
        if mode == Mode::Missing && self.is_reusable(old) {
            let others = old.labels().filter(|label| !wishes.contains_key(*label));
            others.map(str::to_owned).try_for_each(|label| plan.keep(&label))?;
        }
        let stays = |request: &Request| {
            mode == Mode::Missing && old.requests.get(&request.label) == Some(&request.digest())
        };
        let (kept, open): (Vec<_>, Vec<_>) =
            wishes.values().partition(|(request, _)| stays(request));
        for (request, wish) in kept {
            plan.keep(&request.label)?;
            // Only the rule knows the addresses.
            if let Some((key, supply)) = Supply::wished(wish) {
                plan.add(&request.label, "-", key, supply)?;
            }
        }
        let offer = self.load(&open);
        for (request, wish) in open {
            let label = &request.label;
            match wish {
                Wish::Packages { roots, arch } => plan.add_packages(label, roots, arch, &offer)?,
                Wish::Kernels { patterns, releases, arch, images } => {
                    plan.add_kernels(label, patterns, releases, arch, *images, &offer)?;
                }
                Wish::Archive { .. } | Wish::File { .. } | Wish::Git { .. } => {
                    if let Some((key, supply)) = Supply::wished(wish) {
                        plan.add(label, "-", key, supply)?;
                    }
                }
            }
        }
        Ok(plan)
    }

    fn load(&self, open: &[&(&Request, Wish)]) -> Offer {
        let arches: BTreeSet<String> = open
            .iter()
            .filter_map(|(_, wish)| match wish {
                Wish::Packages { arch, .. } | Wish::Kernels { arch, .. } => Some(arch.clone()),
                Wish::Archive { .. } | Wish::File { .. } | Wish::Git { .. } => None,
            })
            .collect();
        if arches.is_empty() {
            return Offer { universes: BTreeMap::new(), failures: Vec::new() };
        }
        let checker = Checker::find(&std::env::var_os("PATH").unwrap_or_default());
        load(&self.depot(), self.sources, checker.as_ref(), &arches)
    }

    /// Makes sure that the tree of every parcel is known.
    fn obtain(&self, plan: &Plan<'_>, old: &Lock) -> Result<BTreeMap<Key, Item>, FetchError> {
        let stopped = AtomicBool::new(false);
        let depot = self.depot();
        let mirrors = mirrors(self.sources);
        let supplies: Vec<(&Key, &Supply)> = plan.supplies.iter().collect();
        let results = each(PARCELS_AT_ONCE, &supplies, |(key, supply)| {
            if let Some(item) = self.reuse(old, key, supply) {
                return Some(Ok(item));
            }
            // What others do already is finished and kept; nothing new is begun after a failure.
            if stopped.load(Ordering::Relaxed) {
                return None;
            }
            let item = obtain(&depot, key, supply, &mirrors);
            if item.is_err() {
                stopped.store(true, Ordering::Relaxed);
            }
            Some(item)
        });
        let mut items = BTreeMap::new();
        for ((key, _), result) in supplies.into_iter().zip(results) {
            if let Some(item) = result {
                items.insert(key.clone(), item?);
            }
        }
        Ok(items)
    }

    /// Returns the item of the old lock, if it is of the same bytes.
    fn reuse(&self, old: &Lock, key: &Key, supply: &Supply) -> Option<Item> {
        let item = old.items.get(key).filter(|_| self.is_reusable(old))?;
        match (&item.wrapping, supply) {
            (Wrapping::Pool { archive: locked, .. }, Supply::Pool { path, archive }) => {
                let wrapping = Wrapping::Pool { path: path.clone(), archive: *archive };
                (locked == archive).then_some(Item { wrapping, tree: item.tree })
            }
            (Wrapping::Plain { .. }, Supply::Plain { .. })
            | (Wrapping::Repository, Supply::Repository { .. }) => Some(item.clone()),
            (Wrapping::Pool { .. } | Wrapping::Plain { .. } | Wrapping::Repository, _) => None,
        }
    }

    /// Returns whether trees of the old lock would be named the same today.
    fn is_reusable(&self, old: &Lock) -> bool {
        old.function == self.store.function() && old.unpack_rules == formats::UNPACK_RULES_VERSION
    }

    fn warnings(&self, old: &Lock, new: &Lock) -> Vec<String> {
        let replaced = new.items.iter().filter_map(|(key, item)| {
            match (&old.items.get(key)?.wrapping, &item.wrapping) {
                (Wrapping::Pool { archive: before, .. }, Wrapping::Pool { archive: after, .. })
                    if before != after =>
                {
                    Some(format!(
                        "{key} has other bytes than before under the same version: {} is now {}",
                        before.hex(),
                        after.hex()
                    ))
                }
                _ => None,
            }
        });
        let warnings: Vec<String> = replaced.collect();
        for warning in &warnings {
            self.progress.warn(warning);
        }
        warnings
    }

    fn depot(&self) -> Depot<'_> {
        Depot {
            store: self.store,
            progress: self.progress,
            unpacker: self.unpacker,
            downloader: self.downloader,
            memory: Memory::new(self.cache.clone()),
        }
    }
}

/// What is wanted, by label.
type Wishes<'r> = BTreeMap<&'r str, (&'r Request, Wish)>;

fn parse(requests: &[Request]) -> Result<Wishes<'_>, FetchError> {
    let mut wishes = Wishes::new();
    for request in requests {
        let label = request.label.clone();
        let wish = request
            .wants
            .parse()
            .map_err(|source| FetchError::Wants { label: label.clone(), source })?;
        let earlier = wishes.insert(&request.label, (request, wish));
        if earlier.is_some_and(|(earlier, _)| earlier.wants != request.wants) {
            return Err(FetchError::Ambivalent { label });
        }
    }
    Ok(wishes)
}

/// Returns the roots of the mirrors, each once.
pub(crate) fn mirrors(sources: &[Source]) -> Vec<Url> {
    let mut mirrors: Vec<Url> = Vec::new();
    for source in sources {
        // A source with an address that is not understood was warned of when its index was wanted.
        let Ok(url) = Url::parse(&source.uri) else { continue };
        if !mirrors.contains(&url) {
            mirrors.push(url);
        }
    }
    mirrors
}

fn obtain(
    depot: &Depot<'_>,
    key: &Key,
    supply: &Supply,
    mirrors: &[Url],
) -> Result<Item, FetchError> {
    let (step, archive) = bring(depot, key, supply, mirrors)?;
    let tree = depot.tree(archive, key, &supply.name(key), &*step)?;
    let wrapping = match supply {
        Supply::Pool { path, .. } => Wrapping::Pool { path: path.clone(), archive },
        Supply::Plain { .. } => Wrapping::Plain { archive },
        Supply::Repository { .. } => Wrapping::Repository,
    };
    Ok(Item { wrapping, tree })
}

/// Brings the archive of a parcel into the store.
pub(crate) fn bring(
    depot: &Depot<'_>,
    key: &Key,
    supply: &Supply,
    mirrors: &[Url],
) -> Result<(Box<dyn crate::progress::Step>, model::Digest), FetchError> {
    let name = supply.name(key);
    match supply {
        Supply::Pool { path, archive } => {
            let urls: Vec<Url> = mirrors.iter().map(|mirror| mirror.below(path)).collect();
            let step = depot.progress.begin(&name, Some(archive.size()));
            let order = Order {
                name: &name,
                sha256: (*archive).into(),
                size: Some(archive.size()),
                urls: &urls,
            };
            let archive = depot.archive(order, &*step)?;
            Ok((step, archive))
        }
        Supply::Plain { sha256, size, urls } => {
            let step = depot.progress.begin(&name, *size);
            let archive =
                depot.archive(Order { name: &name, sha256: *sha256, size: *size, urls }, &*step)?;
            Ok((step, archive))
        }
        Supply::Repository { remotes } => {
            let Key::Git { commit } = key else { return Err(FetchError::NoAddress { name }) };
            let step = depot.progress.begin(&name, None);
            let archive = depot.commit(remotes.first().map(String::as_str), commit, &*step)?;
            Ok((step, archive))
        }
    }
}
