//! What is looked up in a cache, by the protocol that it is known by.

use std::sync::atomic::{AtomicU64, Ordering};

/// What was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A blob, by gRPC.
    Blob,
    /// An action's result, by gRPC.
    Action,
    /// What an address stands for, by the Remote Asset API.
    Asset,
    /// Anything of Bazel's HTTP cache.
    Bazel,
    /// An object of ccache.
    Ccache,
    /// An object of sccache.
    Sccache,
    /// An entry of Gradle's cache.
    Gradle,
    /// An artifact of Turborepo.
    Turborepo,
    /// An entry of Nx.
    Nx,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Blob,
        Self::Action,
        Self::Asset,
        Self::Bazel,
        Self::Ccache,
        Self::Sccache,
        Self::Gradle,
        Self::Turborepo,
        Self::Nx,
    ];

    /// Returns its name in metrics and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blob => "cas",
            Self::Action => "ac",
            Self::Asset => "asset",
            Self::Bazel => "bazel",
            Self::Ccache => "ccache",
            Self::Sccache => "sccache",
            Self::Gradle => "gradle",
            Self::Turborepo => "turborepo",
            Self::Nx => "nx",
        }
    }
}

impl Kind {
    /// Returns its name for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Blob => "Blobs",
            Self::Action => "Results of actions",
            Self::Asset => "Assets",
            Self::Bazel => "Bazel over HTTP",
            Self::Ccache => "ccache",
            Self::Sccache => "sccache",
            Self::Gradle => "Gradle",
            Self::Turborepo => "Turborepo",
            Self::Nx => "Nx",
        }
    }
}

/// How lookups of one kind went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    /// How many found what they looked for.
    pub hits: u64,
    /// How many did not.
    pub misses: u64,
    /// In how many of the misses the result was there, and something that it names was not.
    pub incomplete: u64,
}

impl Lookups {
    /// Returns the share of lookups that were hits, if there were any.
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    pub fn rate(&self) -> Option<f64> {
        let all = self.hits + self.misses;
        (all > 0).then(|| self.hits as f64 / all as f64)
    }
}

impl std::ops::AddAssign for Lookups {
    fn add_assign(&mut self, other: Self) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.incomplete += other.incomplete;
    }
}

/// The same, while it is counted.
#[derive(Debug, Default)]
pub(super) struct Counted {
    hits: AtomicU64,
    misses: AtomicU64,
    incomplete: AtomicU64,
}

impl Counted {
    pub(super) fn add(&self, lookups: Lookups) {
        let add = |counter: &AtomicU64, count: u64| {
            if count > 0 {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        };
        add(&self.hits, lookups.hits);
        add(&self.misses, lookups.misses);
        add(&self.incomplete, lookups.incomplete);
    }

    pub(super) fn read(&self) -> Lookups {
        Lookups {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            incomplete: self.incomplete.load(Ordering::Relaxed),
        }
    }
}
