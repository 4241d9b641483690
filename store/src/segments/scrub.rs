//! Scrubbing: everything is read and hashed, while the store goes on, and what is wrong is taken away.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::Hasher;
use roaring::RoaringTreemap;

use super::core::Core;
use super::leases::key;
use super::record::{Entry, FIRST, Form, Name};
use crate::blocking::blocking;
use crate::{Blob, Scrubbed, StoreError};

impl Core {
    /// Reads everything at most at that speed.
    pub(super) async fn scrub(
        self: &Arc<Self>,
        bytes_per_second: u64,
    ) -> Result<Scrubbed, StoreError> {
        let (begun, before) = (Instant::now(), self.quarantine.records());
        let mut scrubbed = Scrubbed::default();
        *self.scrubbed() = scrubbed;
        let (mut examined, segments) = (RoaringTreemap::new(), self.segments.ids());
        for id in &segments {
            let (id, mut from) = (*id, 0);
            while let Some(live) = blocking(|| self.live(id, from))? {
                for (header, entry) in live.records {
                    examined.insert(key(entry.place));
                    blocking(|| self.examine(header.name, entry))?;
                    scrubbed.records += 1;
                    scrubbed.bytes += entry.size;
                    scrubbed.corrupt = self.quarantine.records() - before;
                    *self.scrubbed() = scrubbed;
                    pace(begun, scrubbed.bytes, bytes_per_second).await;
                }
                from = live.next;
            }
        }
        // Of a record whose header is damaged no segment says that it is there, but the index does.
        blocking(|| {
            self.each_name(FIRST, |name| match self.find(&[name])?[0] {
                Some(entry)
                    if segments.binary_search(&entry.place.segment).is_ok()
                        && !examined.contains(key(entry.place)) =>
                {
                    self.examine(name, entry)
                }
                _ => Ok(()),
            })
        })?;
        scrubbed.corrupt = self.quarantine.records() - before;
        *self.scrubbed() = scrubbed;
        Ok(scrubbed)
    }

    /// Reads one record to its end, and takes it away if it is wrong.
    fn examine(self: &Arc<Self>, name: Name, entry: Entry) -> Result<(), StoreError> {
        let Some(digest) = name.digest(entry.size) else {
            let is_right = self.is_value(name, entry)?;
            return if is_right { Ok(()) } else { self.take_away_if_there(name, entry) };
        };
        let blob = match entry.form {
            Form::Bytes => self.payload(name, entry)?.map(Blob::Bytes),
            Form::File => self.open_large(name, entry)?,
            // Its chunks are records of their own; that they make the blob is what is examined here.
            Form::Manifest => self.read_blob(digest, None)?,
            Form::Tombstone | Form::Dead => None,
        };
        let Some(blob) = blob else { return Ok(()) };
        let mut hasher = Hasher::new(digest.function());
        let mut reader = blob.into_reader().map_err(|source| StoreError::Input { source })?;
        match io::copy(&mut reader, &mut hasher) {
            Ok(_) if hasher.finish() == digest => Ok(()),
            Ok(_) => self.take_away_if_there(name, entry),
            // Reading it has taken away what is corrupt.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(()),
            Err(source) => Err(StoreError::Input { source }),
        }
    }

    fn take_away_if_there(&self, name: Name, entry: Entry) -> Result<(), StoreError> {
        // Reading it may have taken it away already, or dropped it meanwhile.
        match self.find(&[name])?[0] {
            Some(found) if found.place == entry.place => self.take_away(name, entry, &[]),
            _ => Ok(()),
        }
    }
}

/// Waits until so many bytes are not too many for the time that has passed.
async fn pace(begun: Instant, bytes: u64, bytes_per_second: u64) {
    /// It is not worth waiting for less.
    const STEP: Duration = Duration::from_millis(10);
    #[expect(clippy::cast_precision_loss, reason = "a speed need not be exact")]
    let due = Duration::from_secs_f64(bytes as f64 / bytes_per_second.max(1) as f64);
    let ahead = due.saturating_sub(begun.elapsed());
    if ahead >= STEP {
        tokio::time::sleep(ahead).await;
    }
}
