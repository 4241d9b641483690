//! Closures: what a list of packages needs, chosen once and the same on every machine. Pure.
//!
//! `Pre-Depends` and `Depends` count, nothing else; essential packages are not added. Dependencies that
//! leave no choice are followed first, so that choices see as much as can be known.

use std::collections::{BTreeMap, VecDeque};

use super::relation::{Dependency, Relation, RelationError};
use super::universe::{PackageId, Universe};

/// How often a resolution starts again because a later restriction rules out an earlier choice:
/// each restart adds a restriction, and archives that need more than a handful are inconsistent.
const RESTARTS_MAX: usize = 64;

/// Returns the packages that `roots` need, themselves included, by name.
pub fn resolve(universe: &Universe, roots: &[Relation]) -> Result<Vec<PackageId>, ResolveError> {
    let mut limits = Vec::new();
    for _ in 0..RESTARTS_MAX {
        match Closure::new(universe, roots, &limits).run() {
            Ok(chosen) => return Ok(chosen),
            Err(Halt::Limit(relation)) => limits.push(relation),
            Err(Halt::Failed(error)) => return Err(error),
        }
    }
    Err(ResolveError::Restless { limits: texts(&limits) })
}

/// Why a list of packages cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Nothing satisfies a dependency.
    #[error("nothing satisfies `{dependency}`{} (needed by {})", offers(.offered), .chain.join(" → "))]
    Unsatisfiable {
        /// The dependency.
        dependency: String,
        /// What there is under its names.
        offered: Vec<String>,
        /// From the request to the package that has the dependency.
        chain: Vec<String>,
    },
    /// Several packages would do, and nothing says which.
    #[error("`{dependency}` is ambiguous: {} provide it; name one of them in `packages` (needed by {})", .providers.join(", "), .chain.join(" → "))]
    Ambiguous {
        /// The dependency.
        dependency: String,
        /// The names of the packages that provide it.
        providers: Vec<String>,
        /// From the request to the package that has the dependency.
        chain: Vec<String>,
    },
    /// Two chosen packages exclude each other.
    #[error("{one} excludes {other} by `{relation}` ({one} is needed by {}; {other} by {})", .one_chain.join(" → "), .other_chain.join(" → "))]
    Conflict {
        /// The package that says so.
        one: String,
        /// The package that it excludes.
        other: String,
        /// What it says.
        relation: String,
        /// From the request to the one.
        one_chain: Vec<String>,
        /// From the request to the other.
        other_chain: Vec<String>,
    },
    /// A package's fields cannot be read.
    #[error("{package} has a malformed field: {source}")]
    Malformed {
        /// The package.
        package: String,
        /// What is wrong.
        source: RelationError,
    },
    /// Restrictions rule out one choice after another.
    #[error("no choice of packages satisfies all of {}", .limits.join(", "))]
    Restless {
        /// The restrictions met.
        limits: Vec<String>,
    },
}

fn offers(offered: &[String]) -> String {
    if offered.is_empty() { String::new() } else { format!("; there is {}", offered.join(", ")) }
}

fn texts(relations: &[Relation]) -> Vec<String> {
    relations.iter().map(ToString::to_string).collect()
}

/// Why a run ends early.
enum Halt {
    /// A chosen package is ruled out: start again, knowing this.
    Limit(Relation),
    Failed(ResolveError),
}

/// A dependency and the package that has it; none has what was asked for.
struct Need {
    dependency: Dependency,
    parent: Option<String>,
}

/// One run: what was chosen so far and what is still to be looked at.
struct Closure<'a> {
    universe: &'a Universe,
    limits: &'a [Relation],
    chosen: BTreeMap<String, PackageId>,
    parents: BTreeMap<String, Option<String>>,
    plain: VecDeque<Need>,
    choices: VecDeque<Need>,
}

impl<'a> Closure<'a> {
    fn new(universe: &'a Universe, roots: &[Relation], limits: &'a [Relation]) -> Self {
        let mut closure = Self {
            universe,
            limits,
            chosen: BTreeMap::new(),
            parents: BTreeMap::new(),
            plain: VecDeque::new(),
            choices: VecDeque::new(),
        };
        let mut roots = roots.to_vec();
        roots.sort_by_key(ToString::to_string);
        for root in roots {
            closure.enqueue(Need { dependency: Dependency(vec![root]), parent: None });
        }
        closure
    }

    fn run(mut self) -> Result<Vec<PackageId>, Halt> {
        while let Some(need) = self.plain.pop_front().or_else(|| self.choices.pop_front()) {
            self.settle(&need)?;
        }
        self.check_conflicts()?;
        Ok(self.chosen.into_values().collect())
    }

    fn enqueue(&mut self, need: Need) {
        let plain = match need.dependency.0.as_slice() {
            [only] => !self.universe.candidates(&only.name).is_empty(),
            _ => false,
        };
        if plain { self.plain.push_back(need) } else { self.choices.push_back(need) }
    }

    fn settle(&mut self, need: &Need) -> Result<(), Halt> {
        let alternatives = &need.dependency.0;
        if alternatives.iter().any(|relation| self.satisfying(relation).next().is_some()) {
            return Ok(());
        }
        let real = |relation| self.universe.real(relation).find(|id| self.is_allowed(*id));
        let taken = |relation: &&Relation| self.chosen.contains_key(&relation.name);
        if let Some(id) = alternatives.iter().filter(|relation| !taken(relation)).find_map(real) {
            return self.choose(id, need.parent.as_deref());
        }
        // Something of that name was chosen in a version that will not do, but another would.
        if let Some(relation) = alternatives.iter().find(|relation| real(relation).is_some()) {
            return Err(Halt::Limit(relation.clone()));
        }
        self.settle_virtual(need)
    }

    fn settle_virtual(&mut self, need: &Need) -> Result<(), Halt> {
        let mut several = Vec::new();
        for relation in &need.dependency.0 {
            let mut providers: Vec<PackageId> = self
                .universe
                .providers(relation)
                .filter(|id| self.is_allowed(*id) && !self.chosen.contains_key(self.name(*id)))
                .collect();
            providers.dedup_by_key(|id| self.name(*id).to_owned());
            match providers.as_slice() {
                [] => {}
                [only] => return self.choose(*only, need.parent.as_deref()),
                all if several.is_empty() => several = all.to_vec(),
                _ => {}
            }
        }
        let dependency = need.dependency.to_string();
        let chain = self.chain(need.parent.as_deref());
        Err(Halt::Failed(if several.is_empty() {
            let offered = self.offered(&need.dependency);
            ResolveError::Unsatisfiable { dependency, offered, chain }
        } else {
            let providers = several.iter().map(|id| self.name(*id).to_owned()).collect();
            ResolveError::Ambiguous { dependency, providers, chain }
        }))
    }

    fn choose(&mut self, id: PackageId, parent: Option<&str>) -> Result<(), Halt> {
        let package = self.universe.package(id);
        let name = package.name().to_owned();
        self.chosen.insert(name.clone(), id);
        self.parents.entry(name.clone()).or_insert(parent.map(str::to_owned));
        for dependency in package.dependencies().map_err(|source| malformed(&name, source))? {
            self.enqueue(Need { dependency, parent: Some(name.clone()) });
        }
        Ok(())
    }

    fn check_conflicts(&self) -> Result<(), Halt> {
        for (one, id) in &self.chosen {
            let excluded =
                self.universe.package(*id).conflicts().map_err(|source| malformed(one, source))?;
            for relation in excluded.into_iter().flat_map(|any| any.0) {
                let mut others = self.satisfying(&relation).map(|id| self.name(id));
                let Some(other) = others.find(|other| other != one) else { continue };
                return Err(Halt::Failed(ResolveError::Conflict {
                    one: one.clone(),
                    other: other.to_owned(),
                    relation: relation.to_string(),
                    one_chain: self.chain(self.parent(one)),
                    other_chain: self.chain(self.parent(other)),
                }));
            }
        }
        Ok(())
    }

    /// Returns the chosen packages that are, or provide, what `relation` names.
    fn satisfying<'b>(&'b self, relation: &'b Relation) -> impl Iterator<Item = PackageId> + 'b {
        let is_chosen = |id: &PackageId| self.chosen.get(self.name(*id)) == Some(id);
        let real = self.chosen.get(&relation.name).copied();
        let admitted = move |id: &PackageId| {
            relation.is_for(self.universe.arch())
                && relation.admits(self.universe.package(*id).version())
        };
        real.filter(admitted).into_iter().chain(self.universe.providers(relation).filter(is_chosen))
    }

    fn is_allowed(&self, id: PackageId) -> bool {
        let package = self.universe.package(id);
        let concerns = |limit: &&Relation| limit.name == package.name();
        self.limits.iter().filter(concerns).all(|limit| limit.admits(package.version()))
    }

    fn name(&self, id: PackageId) -> &'a str {
        self.universe.package(id).name()
    }

    fn parent(&self, name: &str) -> Option<&str> {
        self.parents.get(name)?.as_deref()
    }

    /// Returns the packages from the request to `last`, each with its version.
    fn chain(&self, last: Option<&str>) -> Vec<String> {
        let mut chain = Vec::new();
        let mut here = last;
        while let Some(name) = here {
            let version = self.chosen.get(name).map(|id| self.universe.package(*id).version());
            chain.push(version.map_or(name.to_owned(), |version| format!("{name} {version}")));
            here = self.parent(name);
        }
        chain.push("the request".to_owned());
        chain.reverse();
        chain
    }

    /// Returns what there is under the names of a dependency that nothing satisfies.
    fn offered(&self, dependency: &Dependency) -> Vec<String> {
        let mut offered = Vec::new();
        for relation in &dependency.0 {
            for id in self.universe.candidates(&relation.name) {
                offered.push(format!("{} {}", relation.name, self.universe.package(*id).version()));
            }
            let concerns = |limit: &&Relation| limit.name == relation.name;
            for limit in self.limits.iter().filter(concerns) {
                offered.push(format!("another package that needs `{limit}`"));
            }
        }
        offered
    }
}

fn malformed(package: &str, source: RelationError) -> Halt {
    Halt::Failed(ResolveError::Malformed { package: package.to_owned(), source })
}
