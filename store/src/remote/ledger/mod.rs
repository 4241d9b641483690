//! What a remote remembers of the keys that actions had.

mod remote;

use std::collections::{BTreeMap, BTreeSet};

use model::{ActionDigest, Digest};

use super::{RemoteError, RemoteStore};

/// How many actions one message names.
const OWNERS_MAX: usize = 1_000;

/// How long the name of an owner may be, in bytes.
const OWNER_BYTES_MAX: usize = 4 << 10;

impl RemoteStore {
    /// Returns the keys that actions had when they last ran anywhere, as far as they are known there: on a remote that
    /// remembers none, nothing. Whose actions they are is said in words that only have to be the same each time.
    pub async fn latest_keys(
        &self,
        owners: &[String],
    ) -> Result<BTreeMap<String, ActionDigest>, RemoteError> {
        let owners: Vec<_> = owners.iter().filter(|it| it.len() <= OWNER_BYTES_MAX).collect();
        let mut latest = BTreeMap::new();
        for some in owners.chunks(OWNERS_MAX) {
            let asked: BTreeSet<&String> = some.iter().copied().collect();
            let owners = some.iter().map(|it| (*it).clone()).collect();
            let Some(answer) = remote::latest(&self.connection, owners).await? else { break };
            let parsed = |(owner, action): (String, String)| {
                // What nobody asked for is none of the answer.
                let owner = asked.contains(&owner).then_some(owner)?;
                Some((owner, parse(&action)?))
            };
            latest.extend(answer.into_iter().filter_map(parsed));
        }
        Ok(latest)
    }

    /// Remembers there which keys actions had that ran here.
    pub async fn record_keys(&self, keys: &[(String, ActionDigest)]) -> Result<(), RemoteError> {
        let keys: Vec<_> = keys.iter().filter(|it| it.0.len() <= OWNER_BYTES_MAX).collect();
        for some in keys.chunks(OWNERS_MAX) {
            let text = |action: &ActionDigest| format!("{}:{action}", action.0.function());
            let entries = some.iter().map(|(owner, action)| (owner.clone(), text(action)));
            remote::record(&self.connection, entries.collect()).await?;
        }
        Ok(())
    }
}

fn parse(text: &str) -> Option<ActionDigest> {
    let (function, digest) = text.split_once(':')?;
    Digest::parse(function.parse().ok()?, digest).ok().map(ActionDigest)
}
