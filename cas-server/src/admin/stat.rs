//! What is asked of a server and answered by it, as plain values.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use model::Digest;
use store::{CellarStat, Namespace, ValueKey};

use super::ScrubState;
use crate::metrics::Tallied;
use crate::operation::Operation;

/// What a server holds and has done since it started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its version.
    pub version: String,
    /// How long ago it started.
    pub uptime: Duration,
    /// What its store holds.
    pub store: CellarStat,
    /// Who uses it.
    pub clients: Vec<ClientStat>,
    /// The scrub that is under way, or else the last one.
    pub scrub: ScrubState,
}

/// What one client has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientStat {
    /// The tool.
    pub tool: String,
    /// For whom; nothing where the one who asks may not see what others do.
    pub identity: String,
    /// What it did.
    pub tallied: Tallied,
    /// When it was seen last.
    pub last_seen: SystemTime,
}

/// What is to be taken out of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purge {
    /// A blob.
    Blob(Digest),
    /// What somebody said that an action made.
    Action {
        /// Whose word it is.
        namespace: Namespace,
        /// Of which project.
        project: String,
        /// The action.
        digest: Digest,
    },
    /// Any other value.
    Value(ValueKey),
    /// Every value that this identity wrote.
    Writer(String),
}

impl Stat {
    /// Returns what a server holds and has done, by tool and identity; by tool alone for whoever may not see what others do.
    pub(super) fn of(operation: &Operation, with_identities: bool) -> Self {
        let metrics = operation.observer().metrics();
        let mut sums: BTreeMap<(String, Arc<str>), Tallied> = BTreeMap::new();
        for (tool, identity, tallied) in metrics.clients().read() {
            let identity = if with_identities { identity } else { "".into() };
            *sums.entry((tool, identity)).or_default() += tallied;
        }
        let client = |((tool, identity), tallied): ((String, Arc<str>), Tallied)| ClientStat {
            tool,
            identity: identity.to_string(),
            tallied,
            last_seen: metrics.started() + Duration::from_secs(tallied.last_second),
        };
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime: metrics.uptime(),
            store: operation.cellar().stat(),
            clients: sums.into_iter().map(client).collect(),
            scrub: operation.scrubber().state(),
        }
    }

    /// Returns what all clients have done together.
    pub fn total(&self) -> Tallied {
        let mut total = Tallied::default();
        for client in &self.clients {
            total += client.tallied;
        }
        total
    }
}
