//! Names: all of those that have a record, some at a time.

use super::core::Core;
use super::record::Name;
use crate::StoreError;

/// How many names are looked up at once.
const PAGE_NAMES: usize = 1024;

/// How far somebody has gone through names.
pub(super) struct Names {
    /// Those that were not in the index.
    recent: Vec<Name>,
    /// Where the index goes on, unless it is at its end.
    next: Option<Name>,
}

impl Core {
    /// Begins with the names from `first` on that have a record before this is called.
    pub(super) fn names_from(&self, first: Name) -> Names {
        // What leaves memory meanwhile has been seen here; what left before is in the index.
        Names { recent: self.recent().names_from(&first), next: Some(first) }
    }

    /// Returns some more of them, or `None` after the last. Some names come twice.
    pub(super) fn next_names(&self, names: &mut Names) -> Result<Option<Vec<Name>>, StoreError> {
        if !names.recent.is_empty() {
            let rest = names.recent.len().saturating_sub(PAGE_NAMES);
            return Ok(Some(names.recent.split_off(rest)));
        }
        let Some(first) = names.next.take() else { return Ok(None) };
        let found = self.index.range(&first, PAGE_NAMES)?;
        if found.len() == PAGE_NAMES {
            names.next = found.last().map(|(name, _)| *name);
        }
        Ok(Some(found.into_iter().map(|(name, _)| name).collect()))
    }
}
