//! Messages that explain: with the actions that were last wanted, a later build says in what its keys differ.

use std::collections::{HashSet, VecDeque};

use model::{ActionDigest, TreeDigest};
use wire::decode;

use super::LocalStore;
use super::gc::{Keep, Survey, name_of};

/// Which part of the budget such messages may take: two in a hundred. A message is a small file, which takes a block
/// of 4 KiB; of the usual budget that is room for two hundred thousand.
const MESSAGES_SHARE: u64 = 50;

impl Keep {
    /// Keeps the messages of these actions as far as their share of the budget goes: first each action with its
    /// command and the root of its inputs, then the directories below, level by level. No files.
    pub(super) fn messages(
        &mut self,
        store: &LocalStore,
        survey: &Survey,
        actions: &[ActionDigest],
        budget: u64,
    ) {
        let limit = self.bytes.saturating_add(budget / MESSAGES_SHARE).min(budget);
        let mut pending = VecDeque::new();
        for digest in actions {
            if !self.message(survey, digest.0, limit) {
                return;
            }
            let Some(bytes) = store.message_unpinned(digest.0) else { continue };
            let Ok(action) = decode::action(digest.0.function(), &bytes) else { continue };
            for message in [action.command, action.input_root.0] {
                if !self.message(survey, message, limit) {
                    return;
                }
            }
            pending.push_back(action.input_root);
        }
        self.listings(store, survey, pending, limit);
    }

    fn listings(
        &mut self,
        store: &LocalStore,
        survey: &Survey,
        mut pending: VecDeque<TreeDigest>,
        limit: u64,
    ) {
        let mut seen: HashSet<TreeDigest> = pending.iter().copied().collect();
        while let Some(tree) = pending.pop_front() {
            let Some(directory) = store.directory_unpinned(tree) else { continue };
            for (_, child) in directory.directories() {
                if !seen.insert(child) {
                    continue;
                }
                if !self.message(survey, child.0, limit) {
                    return;
                }
                pending.push_back(child);
            }
        }
    }

    /// Keeps a message, if there is room for it.
    fn message(&mut self, survey: &Survey, digest: model::Digest, limit: u64) -> bool {
        let name = name_of(digest);
        let bytes = survey.blobs.get(&name).map_or(0, |found| found.physical);
        if !self.fits(bytes, limit) {
            return false;
        }
        self.blob(survey, &name);
        true
    }
}
