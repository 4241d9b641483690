//! Scrubbing: everything is read and hashed, while the store goes on, and what is wrong is taken away.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Digest, DigestFunction, Hasher};
use roaring::RoaringTreemap;

use super::core::Core;
use super::large::PIECE_BYTES;
use super::leases::key;
use super::names::Names;
use super::record::{Entry, FIRST, Form, Name};
use crate::blocking::blocking;
use crate::{Blob, Ranged, Scrubbed, StoreError};

impl Core {
    /// Reads everything at most at that speed. Whoever no longer wants it done drops this.
    pub(super) async fn scrub(
        self: &Arc<Self>,
        bytes_per_second: u64,
    ) -> Result<Scrubbed, StoreError> {
        let mut scrub = Scrub::new(self, bytes_per_second);
        scrub.tell();
        scrub.each_segment().await?;
        // Of a record whose header is damaged no segment says that it is there, but the index does.
        scrub.each_name().await?;
        Ok(scrub.done)
    }
}

/// A scrub that is under way.
struct Scrub<'a> {
    core: &'a Arc<Core>,
    begun: Instant,
    bytes_per_second: u64,
    /// The segments that there were when it began.
    segments: Vec<u32>,
    /// The places that were read.
    examined: RoaringTreemap,
    corrupt_before: u64,
    done: Scrubbed,
}

impl<'a> Scrub<'a> {
    fn new(core: &'a Arc<Core>, bytes_per_second: u64) -> Self {
        Self {
            core,
            begun: Instant::now(),
            bytes_per_second,
            segments: core.segments.ids(),
            examined: RoaringTreemap::new(),
            corrupt_before: core.quarantine.records(),
            done: Scrubbed::default(),
        }
    }

    async fn each_segment(&mut self) -> Result<(), StoreError> {
        for id in self.segments.clone() {
            let mut from = 0;
            while let Some(live) = blocking(|| self.core.live(id, from))? {
                for (header, entry) in live.records {
                    self.record(header.name, entry).await?;
                }
                from = live.next;
                self.pace().await;
            }
        }
        Ok(())
    }

    async fn each_name(&mut self) -> Result<(), StoreError> {
        let mut names = self.core.names_from(FIRST);
        while let Some(missed) = blocking(|| self.missed(&mut names))? {
            for (name, entry) in missed {
                self.record(name, entry).await?;
            }
            self.pace().await;
        }
        Ok(())
    }

    /// Returns which records of the next names were not read, though their segments were.
    fn missed(&self, names: &mut Names) -> Result<Option<Vec<(Name, Entry)>>, StoreError> {
        let Some(names) = self.core.next_names(names)? else { return Ok(None) };
        let is_missed = |entry: &Entry| {
            let is_old = self.segments.binary_search(&entry.place.segment).is_ok();
            is_old && !self.examined.contains(key(entry.place))
        };
        let entries = self.core.find(&names)?;
        let found = names.into_iter().zip(entries).filter_map(|(name, it)| Some((name, it?)));
        Ok(Some(found.filter(|(_, entry)| is_missed(entry)).collect()))
    }

    async fn record(&mut self, name: Name, entry: Entry) -> Result<(), StoreError> {
        // Some names are told of twice.
        if !self.examined.insert(key(entry.place)) {
            return Ok(());
        }
        let bytes = self.done.bytes + entry.size;
        self.examine(name, entry).await?;
        self.done.records += 1;
        self.done.bytes = bytes;
        self.tell();
        self.pace().await;
        Ok(())
    }

    /// Reads one record to its end, and takes it away if it is wrong.
    async fn examine(&mut self, name: Name, entry: Entry) -> Result<(), StoreError> {
        let core = self.core;
        let Some(digest) = name.digest(entry.size) else {
            let is_right = blocking(|| core.is_value(name, entry))?;
            return if is_right { Ok(()) } else { core.take_away_if_there(name, entry) };
        };
        let blob = blocking(|| match entry.form {
            Form::Bytes => Ok(core.payload(name, entry)?.map(Blob::Bytes)),
            Form::File => core.open_large(name, entry),
            // Its chunks are records of their own; that they make the blob is what is examined here.
            Form::Manifest => core.read_blob(digest, None),
            Form::Tombstone | Form::Dead => Ok(None),
        })?;
        let found = match blob {
            None => None,
            Some(Blob::Bytes(bytes)) => Some(blocking(|| Digest::of(digest.function(), &bytes))),
            Some(Blob::Ranged(ranged)) => self.hash(digest.function(), &*ranged).await?,
            Some(Blob::File(_)) => unreachable!("this store has no files without checksums"),
        };
        match found {
            Some(found) if found != digest => core.take_away_if_there(name, entry),
            // Reading it has taken away what is corrupt.
            Some(_) | None => Ok(()),
        }
    }

    /// Returns what the bytes hash to, or `None` if they are not all there.
    async fn hash(
        &mut self,
        function: DigestFunction,
        ranged: &dyn Ranged,
    ) -> Result<Option<Digest>, StoreError> {
        let (mut hasher, mut offset) = (Hasher::new(function), 0);
        while offset < ranged.size() {
            match blocking(|| ranged.read_at(offset, PIECE_BYTES)) {
                Ok(piece) => {
                    blocking(|| hasher.update(&piece));
                    offset += piece.len() as u64;
                    self.done.bytes += piece.len() as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(None),
                Err(source) => return Err(StoreError::Input { source }),
            }
            self.pace().await;
        }
        Ok(Some(hasher.finish()))
    }

    /// Says how far it is.
    fn tell(&mut self) {
        self.done.corrupt = self.core.quarantine.records() - self.corrupt_before;
        *self.core.scrubbed() = self.done;
    }

    /// Waits until so many bytes are not too many for the time that has passed; where they are not, only those who wait for
    /// the thread have their turn, and whoever wants this ended.
    async fn pace(&self) {
        /// It is not worth waiting for less.
        const STEP: Duration = Duration::from_millis(10);
        #[expect(clippy::cast_precision_loss, reason = "a speed need not be exact")]
        let seconds = self.done.bytes as f64 / self.bytes_per_second.max(1) as f64;
        let ahead = Duration::from_secs_f64(seconds).saturating_sub(self.begun.elapsed());
        if ahead >= STEP {
            tokio::time::sleep(ahead).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}

impl Core {
    /// Takes away what is wrong.
    fn take_away_if_there(&self, name: Name, entry: Entry) -> Result<(), StoreError> {
        // Reading it may have taken it away already, or dropped it meanwhile.
        blocking(|| match self.find(&[name])?[0] {
            Some(found) if found.place == entry.place => self.take_away(name, entry, &[]),
            _ => Ok(()),
        })
    }
}
