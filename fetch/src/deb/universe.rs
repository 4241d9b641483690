//! All packages of one architecture that the sources offer, by name and by what they provide.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io::BufRead;

use super::package::{IndexError, Package, read_packages};
use super::relation::Relation;
use super::version::Version;

/// The place of a package in a [`Universe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackageId(usize);

/// The packages of one architecture, `all` included.
#[derive(Clone, Debug)]
pub struct Universe {
    arch: String,
    packages: Vec<Package>,
    names: BTreeMap<String, Vec<PackageId>>,
    provided: BTreeMap<String, Vec<(PackageId, Option<Version>)>>,
}

impl Universe {
    /// Returns a universe without packages.
    pub fn new(arch: impl Into<String>) -> Self {
        let arch = arch.into();
        Self { arch, packages: Vec::new(), names: BTreeMap::new(), provided: BTreeMap::new() }
    }

    /// Adds the packages of an index; `reluctant` ones are used only where nothing else will do.
    pub fn read(&mut self, index: impl BufRead, reluctant: bool) -> Result<(), IndexError> {
        let arch = self.arch.clone();
        read_packages(index, &arch, reluctant, |package| self.add(package))
    }

    /// Adds a package.
    pub fn add(&mut self, package: Package) {
        let id = PackageId(self.packages.len());
        self.names.entry(package.name().to_owned()).or_default().push(id);
        // A malformed `Provides` provides nothing; the package itself may still be wanted.
        for relation in package.provides().unwrap_or_default().into_iter().flat_map(|any| any.0) {
            let version = relation.version.map(|(_, version)| version);
            self.provided.entry(relation.name).or_default().push((id, version));
        }
        self.packages.push(package);
    }

    /// Puts the candidates of every name in order: the order in which indexes came is forgotten.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        let packages = &self.packages;
        let better =
            |one: &PackageId, other: &PackageId| prefer(&packages[one.0], &packages[other.0]);
        for candidates in self.names.values_mut() {
            candidates.sort_by(better);
            // The same package from two sources.
            candidates.dedup_by(|one, other| better(one, other).is_eq());
        }
        for providers in self.provided.values_mut() {
            providers.sort_by(|(one, _), (other, _)| {
                packages[one.0]
                    .name()
                    .cmp(packages[other.0].name())
                    .then_with(|| better(one, other))
            });
        }
        self
    }

    /// Returns the architecture.
    pub fn arch(&self) -> &str {
        &self.arch
    }

    /// Returns how many packages there are.
    pub fn len(&self) -> usize {
        self.packages.len()
    }

    /// Returns whether there are no packages.
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty()
    }

    /// Returns the package at a place.
    pub fn package(&self, id: PackageId) -> &Package {
        &self.packages[id.0]
    }

    /// Returns the names of real packages, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// Returns the packages of that name, best first.
    pub fn candidates(&self, name: &str) -> &[PackageId] {
        self.names.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns the packages that `relation` names themselves, best first.
    pub fn real<'a>(&'a self, relation: &'a Relation) -> impl Iterator<Item = PackageId> + 'a {
        let right_arch = relation.is_for(&self.arch);
        let admitted =
            move |id: &PackageId| right_arch && relation.admits(self.package(*id).version());
        self.candidates(&relation.name).iter().copied().filter(admitted)
    }

    /// Returns the packages that provide what `relation` names, by name, best first.
    pub fn providers<'a>(&'a self, relation: &'a Relation) -> impl Iterator<Item = PackageId> + 'a {
        let right_arch = relation.is_for(&self.arch);
        self.provided
            .get(&relation.name)
            .into_iter()
            .flatten()
            .filter(move |(_, version)| right_arch && relation.admits_provided(version.as_ref()))
            .map(|(id, _)| *id)
    }
}

/// Orders candidates of one name: willing before reluctant, later before earlier, then by bytes.
fn prefer(one: &Package, other: &Package) -> Ordering {
    one.reluctant
        .cmp(&other.reluctant)
        .then_with(|| other.version().cmp(one.version()))
        .then_with(|| one.version().as_str().cmp(other.version().as_str()))
        .then_with(|| one.sha256().cmp(&other.sha256()))
        .then_with(|| one.path().cmp(other.path()))
}
