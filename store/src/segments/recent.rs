//! What the index does not know yet: the newest entries, in memory, until a transaction of the index has them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::answers::Answers;
use super::core::Core;
use super::counters::Counters;
use super::head::Doomed;
use super::index::{Changes, Covered};
use super::record::{Entry, Name};
use crate::StoreError;

/// How many entries are put into the index at once. Names are hashes: each entry changes a page of its own in a large index,
/// and the more come at once the more of them share one. This many fill a hash table of 17 MB.
const BATCH_NAMES: usize = 224 << 10;

/// How many entries are in memory at most beside those that are being put into the index, should that be slow or fail: then
/// nothing more is written.
const NAMES_MAX: usize = 2 * BATCH_NAMES;

/// How many bytes of journals are not in the index at most: what starting has to look through.
const BATCH_BYTES: u64 = 64 << 20;

/// What a name stands for; nothing, if it was forgotten.
pub(super) type Word = Option<Entry>;

/// Entries newer than those of the index.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// Those that nobody has begun to put into the index.
    fresh: HashMap<Name, Word>,
    /// Those that are being put into it.
    leaving: Arc<HashMap<Name, Word>>,
    /// How many times entries have left: what was read from the index before that may be old.
    pub(super) departures: u64,
    /// What the index says since then of names that do not stand here.
    answers: Answers,
    /// What is true of the index, and what the others will add to that.
    indexed: Counters,
    fresh_counters: Counters,
    leaving_counters: Counters,
    /// How many times something was put in the place of what was there: who found that may have to look again.
    moves: u64,
    /// How many bytes were appended since the last entries left.
    bytes: u64,
}

/// What the index said of names, and when.
pub(super) struct Looked {
    pub(super) departures: u64,
    pub(super) moves: u64,
    pub(super) entries: Vec<Option<Entry>>,
}

impl Recent {
    /// Returns the newest word on a name, if it is not in the index.
    pub(super) fn get(&self, name: &Name) -> Option<Word> {
        self.fresh.get(name).or_else(|| self.leaving.get(name)).copied()
    }

    /// Puts `new` in the place of `old`; `bytes` were appended for it.
    pub(super) fn publish(
        &mut self,
        name: Name,
        old: Option<Entry>,
        new: Option<Entry>,
        bytes: u64,
    ) {
        self.fresh_counters.replace(&name, old, new);
        self.fresh.insert(name, new);
        self.moves += u64::from(old.is_some());
        self.bytes += bytes;
    }

    /// Does the same where nobody asked the index what was there. The counters are right again when it has the entry.
    pub(super) fn publish_unasked(&mut self, name: Name, new: Option<Entry>, bytes: u64) {
        let old = self.get(&name).unwrap_or_default();
        self.publish(name, old, new, bytes);
    }

    /// Returns what is true of all entries.
    pub(super) fn counters(&self) -> Counters {
        self.indexed.and(self.fresh_counters).and(self.leaving_counters)
    }

    /// Returns how many times something was put in the place of what was there.
    pub(super) fn moves(&self) -> u64 {
        self.moves
    }

    /// Goes on counting from what the index holds.
    pub(super) fn begin(&mut self, counters: Counters) {
        self.indexed = counters;
    }

    /// Returns the names from `first` on that stand here; some of them twice.
    pub(super) fn names_from(&self, first: &Name) -> Vec<Name> {
        let all = self.leaving.keys().chain(self.fresh.keys());
        all.filter(|it| *it >= first).copied().collect()
    }

    /// Returns whether it is worthwhile to put entries into the index.
    pub(super) fn is_due(&self) -> bool {
        self.fresh.len() >= BATCH_NAMES || self.bytes >= BATCH_BYTES
    }

    /// Returns whether there are so many that nothing more is to be written.
    pub(super) fn is_full(&self) -> bool {
        self.fresh.len() >= NAMES_MAX
    }
}

/// What is on its way into the index.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    changes: Option<Changes>,
    /// Files that nothing refers to once the index has the changes.
    doomed: Vec<Doomed>,
}

impl Core {
    /// Returns what is known of names, in memory and in the index.
    pub(super) fn look(&self, names: &[Name]) -> Result<Looked, StoreError> {
        let (mut entries, mut unknown, mut places) =
            (vec![None; names.len()], Vec::new(), Vec::new());
        let (departures, moves) = {
            let recent = self.recent();
            for (index, name) in names.iter().enumerate() {
                if let Some(word) = recent.get(name).or_else(|| recent.answers.get(name)) {
                    entries[index] = word;
                } else {
                    unknown.push(*name);
                    places.push(index);
                }
            }
            (recent.departures, recent.moves)
        };
        if !unknown.is_empty() {
            // What was not recent a moment ago is in the index by now, if it is anywhere.
            let answers = self.index.find(&unknown)?;
            let mut recent = self.recent();
            if recent.departures == departures {
                recent.answers.keep(unknown.into_iter().zip(answers.iter().copied()));
            }
            drop(recent);
            for (index, entry) in places.into_iter().zip(answers) {
                entries[index] = entry;
            }
        }
        Ok(Looked { departures, moves, entries })
    }

    /// Returns where the records of those names are; one whose segment is gone is nowhere.
    pub(super) fn find(&self, names: &[Name]) -> Result<Vec<Option<Entry>>, StoreError> {
        Ok(self.find_now(names)?.entries)
    }

    /// Does the same, and says when that was.
    pub(super) fn find_now(&self, names: &[Name]) -> Result<Looked, StoreError> {
        loop {
            let mut looked = self.look(names)?;
            let is_any_gone = self.segments.take_gone(&mut looked.entries);
            // Before its segment was dropped it may have been copied forward.
            if !is_any_gone || self.recent().moves() == looked.moves {
                return Ok(looked);
            }
        }
    }

    /// Puts what is recent into the index, after making it survive a loss of power.
    pub(super) fn checkpoint(&self) -> Result<(), StoreError> {
        let mut leaving = self.leaving.lock().expect("no holder panics");
        // What an earlier try could not do comes first.
        let is_retry = leaving.changes.is_some();
        self.carry_over(&mut leaving)?;
        if is_retry { self.carry_over(&mut leaving) } else { Ok(()) }
    }

    fn carry_over(&self, leaving: &mut Leaving) -> Result<(), StoreError> {
        if leaving.changes.is_none() {
            self.take_leave(leaving);
        }
        let Some(changes) = &leaving.changes else { return Ok(()) };
        self.commit()?;
        let indexed = self.index.apply(changes)?;
        leaving.changes = None;
        {
            let mut recent = self.recent();
            recent.leaving = Arc::default();
            recent.leaving_counters = Counters::default();
            recent.indexed = indexed;
            recent.departures += 1;
            recent.answers = Answers::default();
        }
        self.index.measure()?;
        while let Some(doomed) = leaving.doomed.pop() {
            self.doomed_bytes.fetch_sub(doomed.bytes, Ordering::Relaxed);
            // What remains is found by the next start.
            self.files.remove(&doomed.path)?;
        }
        Ok(())
    }

    fn take_leave(&self, leaving: &mut Leaving) {
        let mut head = self.head();
        let mut recent = self.recent();
        let mut changes = Changes { next_segment: head.next_segment, ..Changes::default() };
        for journal in head.uncovered() {
            let before = head.covered.get(&journal.id()).copied();
            let is_new = before.is_none();
            let before = before.unwrap_or_default();
            let (offsets, bytes) = journal.offsets_from(before.records);
            // Also one that is empty: what the index does not know, and is older than the next, was dropped.
            if offsets.is_empty() && !is_new {
                continue;
            }
            let records =
                before.records + u32::try_from(offsets.len()).expect("ordinals have 32 bits");
            head.covered.insert(journal.id(), Covered { records, bytes });
            changes.covered.insert(journal.id(), Covered { records, bytes });
            changes.offsets.insert((journal.id(), before.records), offsets);
        }
        changes.covered.append(&mut head.noted);
        changes.sealed = std::mem::take(&mut head.sealed);
        changes.dropped = std::mem::take(&mut head.dropped);
        changes.covered.retain(|id, _| !changes.dropped.contains(id));
        let is_gone = |id: &u32| changes.dropped.contains(id) || changes.sealed.contains(id);
        changes.offsets.retain(|(id, _), offsets| !is_gone(id) && !offsets.is_empty());
        head.forget_covered();
        if recent.fresh.is_empty() && changes.is_nothing() && head.doomed.is_empty() {
            return;
        }
        leaving.doomed.append(&mut head.doomed);
        recent.leaving = Arc::new(std::mem::take(&mut recent.fresh));
        recent.leaving_counters = std::mem::take(&mut recent.fresh_counters);
        recent.bytes = 0;
        changes.names = Arc::clone(&recent.leaving);
        leaving.changes = Some(changes);
    }
}

impl Changes {
    fn is_nothing(&self) -> bool {
        self.covered.is_empty() && self.sealed.is_empty() && self.dropped.is_empty()
    }
}
