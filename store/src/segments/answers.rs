//! What the index said lately: builds ask for the same names again and again, and each costs a walk through it.

use std::collections::HashMap;

use super::recent::Word;
use super::record::Name;

/// How many answers are remembered: as many as fill a hash table of 8 MB, the inputs of several large builds.
const NAMES_MAX: usize = 112 << 10;

/// Answers of the index, as long as nothing in it changes.
#[derive(Debug, Default)]
pub(super) struct Answers {
    words: HashMap<Name, Word>,
}

impl Answers {
    /// Returns what the index says of a name, if that is remembered.
    pub(super) fn get(&self, name: &Name) -> Option<Word> {
        self.words.get(name).copied()
    }

    /// Remembers answers.
    pub(super) fn keep(&mut self, answers: impl ExactSizeIterator<Item = (Name, Word)>) {
        // What is asked for often is soon here again.
        if self.words.len() + answers.len() > NAMES_MAX {
            self.words.clear();
        }
        self.words.extend(answers.take(NAMES_MAX));
    }
}
