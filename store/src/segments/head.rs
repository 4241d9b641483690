//! The head of the log: where it goes on, and what of it the disk and the index do not know yet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::files::StoreFile;
use super::index::Covered;
use super::journal::{Before, Journal};

/// Where the log goes on.
#[derive(Debug)]
pub(super) struct Head {
    /// The journal that is appended to, unless the next record begins one.
    pub(super) active: Option<Arc<Journal>>,
    /// The one that was appended to last.
    pub(super) last: Before,
    /// How many bytes it has room for.
    pub(super) room: u64,
    /// How many bytes the files have that its records stand for.
    pub(super) weight: u64,
    pub(super) next_segment: u32,
    /// Journals that are not appended to any more, and may not be on the disk.
    pub(super) ended: Vec<Arc<Journal>>,
    /// Files of blobs whose records are in the log, and that may not be on the disk.
    pub(super) files: Vec<StoreFile>,
    pub(super) folders: BTreeSet<PathBuf>,
    /// How many records were appended.
    pub(super) sequence: u64,
    /// How far those journals are in the index that are not in it to their ends.
    pub(super) covered: BTreeMap<u32, Covered>,
    /// The journals that `covered` speaks of, and those it knows nothing of yet.
    pub(super) uncovered: BTreeMap<u32, Arc<Journal>>,
    /// Up to where sealed segments are known that the index does not know.
    pub(super) noted: BTreeMap<u32, Covered>,
    /// Journals that were sealed, segments that were dropped, and files that nothing refers to, of which the index does
    /// not know yet.
    pub(super) sealed: Vec<u32>,
    pub(super) dropped: Vec<u32>,
    pub(super) doomed: Vec<Doomed>,
}

/// A file that is removed once the index does not lead to it.
#[derive(Debug)]
pub(super) struct Doomed {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

impl Head {
    pub(super) fn new(next_segment: u32) -> Self {
        Self {
            active: None,
            last: Before::default(),
            room: 0,
            weight: 0,
            next_segment,
            ended: Vec::new(),
            files: Vec::new(),
            folders: BTreeSet::new(),
            sequence: 0,
            covered: BTreeMap::new(),
            uncovered: BTreeMap::new(),
            noted: BTreeMap::new(),
            sealed: Vec::new(),
            dropped: Vec::new(),
            doomed: Vec::new(),
        }
    }

    /// Goes on with a journal that has room for that many bytes.
    pub(super) fn resume(&mut self, journal: Arc<Journal>, room: u64) {
        self.active = Some(journal);
        self.room = room;
        self.weight = 0;
    }

    /// Says which journal the next one will be the continuation of.
    pub(super) fn note_last(&mut self, journal: &Journal) {
        self.last = Before { segment: journal.id(), records: journal.records() };
    }

    /// Says that a journal is in the index up to there.
    pub(super) fn cover(&mut self, journal: &Arc<Journal>, covered: Covered) {
        self.covered.insert(journal.id(), covered);
        self.uncovered.insert(journal.id(), Arc::clone(journal));
    }

    /// Returns the journals that may not be in the index to their ends.
    pub(super) fn uncovered(&self) -> Vec<Arc<Journal>> {
        self.uncovered.values().cloned().collect()
    }

    /// Forgets how far journals are in the index that nothing is appended to any more.
    pub(super) fn forget_covered(&mut self) {
        let active = self.active_id();
        self.uncovered.retain(|id, _| Some(*id) == active);
        self.covered.retain(|id, _| Some(*id) == active);
    }

    /// Says that a journal has records that may not be on the disk, from before the store was opened.
    pub(super) fn note_unsynced(&mut self, journal: &Arc<Journal>) {
        self.sequence += 1;
        self.ended.push(Arc::clone(journal));
    }

    /// Returns how many records were appended.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(super) fn active_id(&self) -> Option<u32> {
        self.active.as_ref().map(|it| it.id())
    }
}
