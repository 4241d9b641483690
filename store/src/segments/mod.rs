//! The server's store: everything is a record, found under a name of 33 bytes, in segments that are dropped as they get old.
//!
//! The format and what is promised are described in docs/FORMAT.md, "The server's store".

mod answers;
mod bell;
mod blobs;
mod blocks;
mod commits;
mod core;
mod counters;
mod disk;
mod evict;
mod files;
mod head;
mod house;
mod index;
mod job;
mod journal;
mod large;
mod leases;
mod log;
mod manifest;
mod names;
mod quarantine;
mod recent;
mod record;
mod recovery;
mod scrub;
mod seal;
mod sealed;
mod segment;
mod settings;
mod settle;
mod similarity;
mod spool;
mod touched;
mod upload;
mod uploads;
mod values;
mod weighed;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use model::{Digest, DigestFunction, HASH_BYTES};

use self::core::Core;
use self::disk::RealDisk;
use self::files::Files;
use self::house::House;
use self::large::RECORD_BLOB_BYTES_MAX;
use self::leases::Holder;
use self::record::Name;
use crate::blocking::blocking;
use crate::{
    Blob, BlobStore, Cellar, CellarStat, ChunkStore, LeaseId, Scrubbed, Session, Spool, StoreError,
    Upload, UploadStore, Value, ValueKey, ValueStore,
};

pub use self::disk::{Disk, DiskFile, Lock};
pub use self::house::COMMIT_INTERVAL;
pub use self::settings::{Acknowledge, Clock, Housekeeping, LEASE_TIME, Settings};

/// What the file `format` of a store says.
const FORMAT: &str = "bld-segments 1\n";

/// How many digests are looked for without giving the others' tasks another thread: that costs as much as looking for a
/// thousand, which takes a third of a millisecond. What may consist of chunks is more to look for.
const FOUND_HERE: usize = 1024;

/// The store behind a server, as one build sees it, or as nobody in particular does.
#[derive(Clone, Debug)]
pub struct SegmentStore {
    core: Arc<Core>,
    house: Arc<Mutex<House>>,
    holder: Option<Holder>,
}

impl SegmentStore {
    /// Opens the store in that folder, or makes an empty one. Another process that has it open is an error.
    pub fn open(root: &Path, settings: Settings) -> Result<Arc<Self>, StoreError> {
        let disk = RealDisk::new(root).map_err(StoreError::disk("create", root))?;
        Self::open_on(Arc::new(disk), settings)
    }

    /// Opens the store on that disk.
    pub fn open_on(disk: Arc<dyn Disk>, settings: Settings) -> Result<Arc<Self>, StoreError> {
        let housekeeping = settings.housekeeping;
        let core = Arc::new(recovery::open(Files::new(disk), settings)?);
        let mut house = House::new(&core);
        if housekeeping == Housekeeping::Threads {
            house.start()?;
        }
        Ok(Arc::new(Self { core, house: Arc::new(Mutex::new(house)), holder: None }))
    }

    /// Writes down what is only in memory, and ends the store's threads. Nothing is to be asked of it afterwards.
    pub fn close(&self) -> Result<(), StoreError> {
        self.house.lock().expect("no holder panics").close()
    }

    /// Makes what was written survive a loss of power.
    pub fn commit(&self) -> Result<(), StoreError> {
        self.core.commit()
    }

    /// Does at once what the store's threads do when there is time: brings the index up to date, compresses, cuts large
    /// blobs into chunks, makes room.
    pub fn keep_house(&self) -> Result<(), StoreError> {
        let core = &self.core;
        core.expire()?;
        core.sweep()?;
        while let Some(name) = core.settling.next() {
            core.settle(name)?;
        }
        core.checkpoint()?;
        core.seal_ended()?;
        core.evict_ahead()?;
        core.checkpoint()?;
        core.touched.save(&core.files)
    }

    /// Begins a new segment, so that what was written up to now can be compressed.
    pub fn end_segment(&self) {
        let mut head = self.core.head();
        self.core.end_active(&mut head);
    }

    fn holder(&self) -> Option<&Holder> {
        self.holder.as_ref()
    }
}

#[async_trait]
impl BlobStore for SegmentStore {
    async fn find_missing(
        &self,
        digests: BTreeSet<Digest>,
    ) -> Result<BTreeSet<Digest>, StoreError> {
        let digests: Vec<Digest> = digests.into_iter().collect();
        let find = || self.core.present(&digests, self.holder());
        let is_small = |it: &Digest| it.size() <= RECORD_BLOB_BYTES_MAX;
        let is_here = digests.len() <= FOUND_HERE && digests.iter().all(is_small);
        let present = if is_here { find() } else { blocking(find) }?;
        Ok(digests.iter().zip(present).filter(|(_, is)| !is).map(|(it, _)| *it).collect())
    }

    async fn read(&self, digest: Digest) -> Result<Option<Blob>, StoreError> {
        self.core.read_blob(digest, self.holder())
    }

    async fn write(&self, digest: Digest, blob: Blob) -> Result<(), StoreError> {
        self.core.write_blob(digest, blob, self.holder())?;
        self.core.acknowledge().await
    }
}

#[async_trait]
impl ValueStore for SegmentStore {
    async fn lookup(&self, key: &ValueKey) -> Result<Option<Value>, StoreError> {
        self.core.lookup_value(key, self.holder())
    }

    async fn record(&self, key: &ValueKey, value: Value) -> Result<(), StoreError> {
        self.core.record_value(key, &value, self.holder())?;
        self.core.acknowledge().await
    }

    async fn forget(&self, key: &ValueKey) -> Result<bool, StoreError> {
        let had = self.core.forget(Name::of_value(key), |_| Ok(true))?;
        self.core.acknowledge().await?;
        Ok(had)
    }
}

#[async_trait]
impl UploadStore for SegmentStore {
    async fn upload(
        &self,
        names: &[Digest],
        session: Option<&Session>,
    ) -> Result<Box<dyn Upload>, StoreError> {
        Ok(Box::new(self.core.upload(names, session, self.holder.clone())?))
    }

    async fn uploaded(
        &self,
        names: &[Digest],
        session: &Session,
    ) -> Result<Option<u64>, StoreError> {
        Ok(self.core.uploaded(names, session))
    }

    async fn spool(&self, functions: &[DigestFunction]) -> Result<Box<dyn Spool>, StoreError> {
        Ok(Box::new(self.core.spool(functions, self.holder.clone())))
    }
}

#[async_trait]
impl ChunkStore for SegmentStore {
    async fn split(&self, digest: Digest) -> Result<Option<Vec<Digest>>, StoreError> {
        blocking(|| self.core.split(digest, self.holder()))
    }

    async fn splice(&self, digest: Digest, chunks: &[Digest]) -> Result<(), StoreError> {
        blocking(|| self.core.splice(digest, chunks, self.holder()))?;
        self.core.acknowledge().await
    }
}

#[async_trait]
impl Cellar for SegmentStore {
    fn for_lease(&self, lease: &LeaseId) -> Arc<dyn Cellar> {
        Arc::new(Self { holder: Some(Holder::Lease(lease.clone())), ..self.clone() })
    }

    fn stat(&self) -> CellarStat {
        let (core, pinned) = (&self.core, self.core.leases.pinned());
        let counters = core.recent().counters();
        let evicted = *core.evicted();
        CellarStat {
            blobs: counters.blobs,
            values: counters.values,
            logical_bytes: counters.logical_bytes,
            physical_bytes: core.physical_bytes(),
            chunked_bytes: counters.chunked_bytes,
            chunk_bytes: counters.chunk_bytes,
            budget_bytes: core.settings.budget_bytes,
            leases: pinned.leases,
            pinned_bytes: pinned.bytes,
            retention_seconds: evicted.retention.map(|it| it.as_secs()),
            evicted_bytes: evicted.bytes,
            corrupt: core.quarantine.records(),
            scrubbed: *core.scrubbed(),
        }
    }

    async fn find_by_hash(
        &self,
        function: DigestFunction,
        hash: &[u8; HASH_BYTES],
    ) -> Result<Option<Digest>, StoreError> {
        let of_size = |size| Digest::from_parts(function, *hash, size);
        let empty = Digest::of(function, b"");
        if hash == empty.hash() {
            return Ok(Some(empty));
        }
        let entry = self.core.find(&[Name::of_blob(&of_size(0))])?[0];
        let Some(digest) = entry.map(|it| of_size(it.size)) else { return Ok(None) };
        Ok(self.core.present(&[digest], self.holder())?[0].then_some(digest))
    }

    async fn forget_blob(&self, digest: Digest) -> Result<bool, StoreError> {
        let is_there = self.core.present(&[digest], None)?[0] && !digest.is_empty();
        let had = is_there && self.core.forget(Name::of_blob(&digest), |_| Ok(true))?;
        self.core.acknowledge().await?;
        Ok(had)
    }

    async fn forget_writer(&self, writer: &str) -> Result<u64, StoreError> {
        let count = blocking(|| self.core.forget_writer(writer))?;
        self.core.acknowledge().await?;
        Ok(count)
    }

    async fn scrub(&self, bytes_per_second: u64) -> Result<Scrubbed, StoreError> {
        self.core.scrub(bytes_per_second).await
    }
}
