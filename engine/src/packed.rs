//! A snapshot in bytes, which is looked at entry by entry: where nothing changed, none of it is kept in memory.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Range;

use model::RelativePath;
use serde::{Deserialize, Serialize};

use crate::disk::{DiskFiles, OUTPUT_FOLDER};
use crate::shelf::{Shelf, encode};
use crate::snapshot::{Answer, Base, Changes, Question, Seen, Snapshot, Stat};

/// A snapshot in bytes, in the order of paths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed(Shelf);

/// What was asked and found, as it stands in the bytes.
#[derive(Serialize, Deserialize)]
struct Entry<'a> {
    path: &'a str,
    question: Question,
    stat: Option<Stat>,
    settled: bool,
    /// Only decoded where it matters.
    #[serde(borrow, with = "serde_bytes")]
    answer: &'a [u8],
}

impl<'a> Entry<'a> {
    fn packed(
        (path, question, seen): &'a (RelativePath, Question, Seen),
        answer: &'a [u8],
    ) -> Self {
        let (stat, settled) = (seen.stat, seen.settled);
        Self { path: path.as_str(), question: *question, stat, settled, answer }
    }

    /// Returns whether the answer still holds if the system now says `stat` of the file.
    fn holds(&self, stat: Option<&Stat>) -> bool {
        (self.settled && self.stat.as_ref() == stat) || self.is_kind(stat)
    }

    /// Returns whether only the kind was asked, and it is that.
    fn is_kind(&self, stat: Option<&Stat>) -> bool {
        self.question == Question::Kind
            && matches!(
                (self.answer(), stat),
                (Some(Answer::Kind(kind)), Some(stat)) if stat.kind() == kind
            )
    }

    fn answer(&self) -> Option<Answer> {
        postcard::from_bytes(self.answer).ok()
    }
}

impl Packed {
    pub(crate) fn new(snapshot: &Snapshot) -> Self {
        let mut shelf = Shelf::default();
        for entry in snapshot.entries() {
            shelf.push(&Entry::packed(entry, &encode(&entry.2.answer)));
        }
        Self(shelf)
    }

    /// Returns how many things were asked.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether nothing was asked.
    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// Returns what was found when `question` was asked of `path`.
    pub(crate) fn get(&self, path: &RelativePath, question: Question) -> Option<Seen> {
        let wanted = (path.as_str(), question);
        let (mut low, mut high) = (0, self.0.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.0.first_of::<(&str, Question)>(middle)?.cmp(&wanted) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => {
                    let entry: Entry<'_> = self.0.get(middle)?;
                    let (stat, settled, answer) = (entry.stat, entry.settled, entry.answer()?);
                    return Some(Seen { stat, settled, answer });
                }
            }
        }
        None
    }

    /// Returns this without what is different now, and with what was seen since, which counts where both have something;
    /// `None` if this is damaged.
    #[must_use]
    pub fn renewed(&self, changes: &Changes, since: &Snapshot) -> Option<Self> {
        let gone: BTreeSet<&str> = changes.paths().map(RelativePath::as_str).collect();
        // What a path is, is part of what is in it.
        let is_said = |(path, asked, _): &&(RelativePath, Question, Seen)| {
            *asked == Question::Kind
                && !gone.contains(path.as_str())
                && self.get(path, Question::Source).is_some()
        };
        let mut renewed = Shelf::default();
        let mut newer = since.entries().iter().filter(|it| !is_said(it)).peekable();
        for index in 0..self.0.len() {
            let place @ (path, _) = self.0.first_of::<(&str, Question)>(index)?;
            while let Some(entry) = newer.next_if(|(at, asked, _)| (at.as_str(), *asked) < place) {
                renewed.push(&Entry::packed(entry, &encode(&entry.2.answer)));
            }
            let is_older =
                newer.peek().is_some_and(|(at, asked, _)| (at.as_str(), *asked) == place);
            if !is_older && !gone.contains(path) {
                renewed.push_from(&self.0, index);
            }
        }
        for entry in newer {
            renewed.push(&Entry::packed(entry, &encode(&entry.2.answer)));
        }
        Some(Self(renewed))
    }

    /// Looks at every file again, with as many threads as `threads`, and says what is different now; `None` if this is
    /// damaged.
    pub fn look(&self, files: &DiskFiles, threads: usize) -> Option<Changes> {
        let all = self.0.len();
        let per_thread = all.div_ceil(threads.max(1)).max(1);
        let parts: Vec<Option<Changes>> = std::thread::scope(|scope| {
            let part = |from: usize| from..(from + per_thread).min(all);
            let looking: Vec<_> = (0..all)
                .step_by(per_thread)
                .map(|from| scope.spawn(move || self.look_at(part(from), files)))
                .collect();
            looking.into_iter().map(|part| part.join().expect("looking does not panic")).collect()
        });
        let mut changes = Changes::default();
        for part in parts {
            let part = part?;
            changes.loaded.extend(part.loaded);
            changes.sources.extend(part.sources);
            changes.kinds |= part.kinds;
            changes.looked_again |= part.looked_again;
        }
        Some(changes)
    }

    fn look_at(&self, entries: Range<usize>, files: &DiskFiles) -> Option<Changes> {
        let mut changes = Changes::default();
        // Most of what stands beside each other here lies beside each other there: a folder is walked to once.
        let mut near: (&str, Option<Base>) = ("", None);
        for index in entries {
            let entry: Entry<'_> = self.0.get(index)?;
            let (folder, name) = entry.path.rsplit_once('/').unwrap_or(("", entry.path));
            if folder != near.0 {
                near = (folder, files.folder(folder));
            }
            let stat = match &near.1 {
                Some(base) => DiskFiles::stat_in(base, name, entry.question),
                None => files.stat(entry.path, entry.question),
            };
            if stat.is_ok_and(|stat| entry.holds(stat.as_ref())) {
                continue;
            }
            let (path, then) = (RelativePath::new(entry.path).ok()?, entry.answer()?);
            match files.ask(&path, entry.question) {
                Ok(now) if now == then => {
                    changes.looked_again = true;
                    continue;
                }
                Ok(now) if entry.question == Question::Source && now.is_like(&then) => {
                    changes.sources.push(path.clone());
                }
                Ok(Answer::Absent) if is_result(&path) => changes.sources.push(path.clone()),
                Ok(_) | Err(_) => {
                    changes.kinds |= matches!(entry.question, Question::Kind | Question::Source);
                    changes.loaded.push(path.clone());
                }
            }
            // Whoever still needs it asks again; nobody may.
            files.forget(&path, entry.question);
        }
        Some(changes)
    }
}

/// Returns whether a path lies where results are put, and nothing is loaded from.
fn is_result(path: &RelativePath) -> bool {
    path.segments().next().is_some_and(|first| first.as_str() == OUTPUT_FOLDER)
}
