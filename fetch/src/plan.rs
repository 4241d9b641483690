//! The plan of a lock: which parcels meet which requests, before anything is downloaded.

use std::collections::{BTreeMap, BTreeSet};

use model::Digest;

use crate::deb::indexes::Offer;
use crate::deb::kernels::{Kernel, Pattern, kernels, near_names};
use crate::deb::package::Package;
use crate::deb::relation::Relation;
use crate::deb::resolve::resolve;
use crate::deb::universe::Universe;
use crate::http::Url;
use crate::lock::{Item, Lock, Pin};
use crate::parcel::{Key, Wrapping};
use crate::report::Change;
use crate::request::Wish;
use crate::{FetchError, Sha256};

/// Where a parcel can be had.
#[derive(Clone, Debug)]
pub(crate) enum Supply {
    /// In the pool of one of the mirrors.
    Pool { path: String, archive: Digest },
    /// At addresses that rules name.
    Plain { sha256: Sha256, size: Option<u64>, urls: Vec<Url> },
    /// In a repository that a rule names.
    Repository { remotes: Vec<String> },
}

impl Supply {
    /// Returns where a locked parcel can be had, as far as the lock knows.
    pub(crate) fn of(item: &Item) -> Self {
        match &item.wrapping {
            Wrapping::Pool { path, archive } => {
                Self::Pool { path: path.clone(), archive: *archive }
            }
            Wrapping::Plain { archive } => Self::Plain {
                sha256: (*archive).into(),
                size: Some(archive.size()),
                urls: Vec::new(),
            },
            Wrapping::Repository => Self::Repository { remotes: Vec::new() },
        }
    }

    /// Returns what messages call the parcel: an archive has no name but that of the file at its address.
    pub(crate) fn name(&self, key: &Key) -> String {
        match (key, self) {
            (Key::Archive { sha256, .. }, Self::Plain { urls, .. }) if !urls.is_empty() => {
                let url = urls[0].to_string();
                let file = url.rsplit('/').next().unwrap_or_default();
                format!("archive {file} ({})", sha256.sized(0).short())
            }
            _ => key.to_string(),
        }
    }

    /// Returns the parcel and where it can be had, if the wish is for a single one.
    pub(crate) fn wished(wish: &Wish) -> Option<(Key, Self)> {
        match wish {
            Wish::Packages { .. } | Wish::Kernels { .. } => None,
            Wish::Archive { urls, sha256, options } => Some((
                Key::Archive { sha256: *sha256, options: options.clone() },
                Self::Plain { sha256: *sha256, size: None, urls: urls.clone() },
            )),
            Wish::File { urls, sha256, name, executable } => Some((
                Key::File { sha256: *sha256, name: name.clone(), executable: *executable },
                Self::Plain { sha256: *sha256, size: None, urls: urls.clone() },
            )),
            Wish::Git { remote, commit } => Some((
                Key::Git { commit: commit.clone() },
                Self::Repository { remotes: vec![remote.clone()] },
            )),
        }
    }
}

/// What is to be in the new lock.
pub(crate) struct Plan<'a> {
    old: &'a Lock,
    pub(crate) pins: BTreeSet<Pin>,
    pub(crate) supplies: BTreeMap<Key, Supply>,
    pub(crate) vanished: Vec<Change>,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(old: &'a Lock) -> Self {
        Self { old, pins: BTreeSet::new(), supplies: BTreeMap::new(), vanished: Vec::new() }
    }

    /// Keeps what a target has in the old lock.
    pub(crate) fn keep(&mut self, label: &str) -> Result<(), FetchError> {
        let old = self.old;
        old.pins.iter().filter(|pin| pin.label == label).try_for_each(|pin| self.keep_pin(pin))
    }

    fn keep_pin(&mut self, pin: &Pin) -> Result<(), FetchError> {
        let Some(item) = self.old.items.get(&pin.key) else { return Ok(()) };
        self.add(&pin.label, &pin.group, pin.key.clone(), Supply::of(item))
    }

    /// Adds a parcel to what meets a target's request.
    pub(crate) fn add(
        &mut self,
        label: &str,
        group: &str,
        key: Key,
        supply: Supply,
    ) -> Result<(), FetchError> {
        self.pins.insert(Pin {
            label: label.to_owned(),
            group: group.to_owned(),
            key: key.clone(),
        });
        let Some(there) = self.supplies.get_mut(&key) else {
            self.supplies.insert(key, supply);
            return Ok(());
        };
        match (there, supply) {
            (Supply::Pool { archive: locked, .. }, Supply::Pool { archive: found, .. })
                if *locked != found =>
            {
                let (locked, found) = (locked.hex(), found.hex());
                return Err(FetchError::Replaced { name: key.to_string(), locked, found });
            }
            (Supply::Plain { size, urls, .. }, Supply::Plain { size: other, urls: more, .. }) => {
                *size = size.or(other);
                for url in more {
                    if !urls.contains(&url) {
                        urls.push(url);
                    }
                }
            }
            (Supply::Repository { remotes }, Supply::Repository { remotes: more }) => {
                remotes.extend(more);
            }
            // Supplies of one key are of one kind.
            (Supply::Pool { .. } | Supply::Plain { .. } | Supply::Repository { .. }, _) => {}
        }
        Ok(())
    }

    fn add_package(
        &mut self,
        label: &str,
        group: &str,
        package: &Package,
    ) -> Result<(), FetchError> {
        let supply = Supply::Pool { path: package.path().to_owned(), archive: package.archive() };
        self.add(label, group, key_of(package), supply)
    }

    /// Adds the closure of a list of packages.
    pub(crate) fn add_packages(
        &mut self,
        label: &str,
        roots: &[Relation],
        arch: &str,
        offer: &Offer,
    ) -> Result<(), FetchError> {
        let universe = universe(label, arch, offer)?;
        let chosen = resolve(universe, roots).map_err(|source| FetchError::Resolve {
            label: label.to_owned(),
            source: Box::new(source),
            failures: offer.failures.clone(),
        })?;
        chosen.into_iter().try_for_each(|id| self.add_package(label, "-", universe.package(id)))
    }

    /// Adds the kernels that match or are named, and those that were locked and have vanished from the indexes
    /// since. One that is named and has no headers is no mistake: its rule calls it unavailable.
    pub(crate) fn add_kernels(
        &mut self,
        label: &str,
        patterns: &[Pattern],
        releases: &BTreeSet<String>,
        arch: &str,
        images: bool,
        offer: &Offer,
    ) -> Result<(), FetchError> {
        let old = self.old;
        let universe = universe(label, arch, offer)?;
        let is_wanted = |uname: &str| {
            releases.contains(uname) || patterns.iter().any(|pattern| pattern.matches(uname))
        };
        let all = kernels(universe);
        let mut locked = locked_kernels(old, label, arch);
        locked.retain(|uname, _| is_wanted(uname));
        if !images {
            for pins in locked.values_mut() {
                pins.retain(|pin| !is_image(pin));
            }
        }
        for kernel in all.iter().filter(|kernel| is_wanted(&kernel.uname)) {
            let earlier = locked.remove(&kernel.uname);
            let as_it_was = earlier.filter(|pins| has_headers(pins, universe, kernel));
            // A kernel that is as it was keeps its companions: a newer host program must not rebuild it.
            if let Some(pins) = &as_it_was {
                self.keep_kernel(pins, universe)?;
            } else {
                for id in [kernel.headers, kernel.common, kernel.kbuild] {
                    self.add_package(label, &kernel.uname, universe.package(id))?;
                }
            }
            let has_image = as_it_was.is_some_and(|pins| pins.iter().any(|pin| is_image(pin)));
            if let Some(image) = kernel.image.filter(|_| images && !has_image) {
                self.add_package(label, &kernel.uname, universe.package(image))?;
            }
        }
        for pins in locked.values() {
            self.keep_kernel(pins, universe)?;
        }
        self.refuse_empty_patterns(label, patterns, arch, &all, offer)
    }

    fn keep_kernel(&mut self, pins: &[&Pin], universe: &Universe) -> Result<(), FetchError> {
        for pin in pins {
            if let Key::Deb { name, version, arch } = &pin.key {
                let is_it = |id: &_| universe.package(*id).version().as_str() == version;
                if !universe.candidates(name).iter().any(is_it) {
                    self.vanished.push(Change {
                        label: pin.label.clone(),
                        group: pin.group.clone(),
                        name: name.clone(),
                        arch: arch.clone(),
                        from: Some(version.clone()),
                        to: Some(version.clone()),
                    });
                }
            }
            self.keep_pin(pin)?;
        }
        Ok(())
    }

    fn refuse_empty_patterns(
        &self,
        label: &str,
        patterns: &[Pattern],
        arch: &str,
        all: &[Kernel],
        offer: &Offer,
    ) -> Result<(), FetchError> {
        let groups: BTreeSet<&str> = self
            .pins
            .iter()
            .filter(|pin| pin.label == label)
            .map(|pin| pin.group.as_str())
            .collect();
        let is_empty = |pattern: &&Pattern| !groups.iter().any(|uname| pattern.matches(uname));
        let Some(pattern) = patterns.iter().find(is_empty) else { return Ok(()) };
        let unames: Vec<String> = all.iter().map(|kernel| kernel.uname.clone()).collect();
        Err(FetchError::NoKernel {
            label: label.to_owned(),
            pattern: pattern.as_str().to_owned(),
            arch: arch.to_owned(),
            near: near_names(pattern.as_str(), &unames).into(),
            failures: offer.failures.clone().into(),
        })
    }
}

fn key_of(package: &Package) -> Key {
    Key::Deb {
        name: package.name().to_owned(),
        version: package.version().as_str().to_owned(),
        arch: package.arch().to_owned(),
    }
}

fn universe<'b>(label: &str, arch: &str, offer: &'b Offer) -> Result<&'b Universe, FetchError> {
    offer.universes.get(arch).filter(|universe| !universe.is_empty()).ok_or_else(|| {
        FetchError::NoSources {
            label: label.to_owned(),
            arch: arch.to_owned(),
            failures: offer.failures.clone(),
        }
    })
}

/// Returns a target's locked kernels for an architecture: their pins, by name.
fn locked_kernels<'b>(old: &'b Lock, label: &str, arch: &str) -> BTreeMap<String, Vec<&'b Pin>> {
    let mut groups: BTreeMap<String, Vec<&Pin>> = BTreeMap::new();
    for pin in old.pins.iter().filter(|pin| pin.label == label && pin.group != "-") {
        groups.entry(pin.group.clone()).or_default().push(pin);
    }
    groups.retain(|uname, pins| {
        let headers = format!("linux-headers-{uname}");
        pins.iter().any(|pin| matches!(&pin.key, Key::Deb { name, arch: its, .. } if *name == headers && its == arch))
    });
    groups
}

/// Returns whether a kernel itself is pinned, not what modules are built against.
fn is_image(pin: &Pin) -> bool {
    matches!(&pin.key, Key::Deb { name, .. } if name.starts_with("linux-image-"))
}

/// Returns whether the pins of a kernel have the headers that the index has.
fn has_headers(pins: &[&Pin], universe: &Universe, kernel: &Kernel) -> bool {
    let headers = key_of(universe.package(kernel.headers));
    pins.iter().any(|pin| pin.key == headers)
}
