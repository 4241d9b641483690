//! Spools: blobs whose digest is known only when all of them has come.

use std::sync::Arc;

use bytes::Bytes;
use model::{Digest, DigestFunction, HASH_BYTES, Hasher};

use super::core::Core;
use super::large::RECORD_BLOB_BYTES_MAX;
use super::leases::Holder;
use super::upload::SegmentUpload;
use crate::{Spool, StoreError, Upload as _};

/// A blob that comes before its name: an upload of which nobody knows how large it will be.
pub(super) struct SegmentSpool {
    upload: SegmentUpload,
    hashers: Vec<Hasher>,
}

impl Core {
    /// Begins a blob that will be one that those functions make.
    pub(super) fn spool(
        self: &Arc<Self>,
        functions: &[DigestFunction],
        holder: Option<Holder>,
    ) -> SegmentSpool {
        // A name that nothing has, and as large as anything may be.
        let (first, bytes_max) = (functions[0], self.settings.hard_bytes());
        let nobody = Digest::from_parts(first, [0; HASH_BYTES], bytes_max);
        let upload = SegmentUpload::new(self, nobody, holder);
        SegmentSpool { upload, hashers: functions[1..].iter().copied().map(Hasher::new).collect() }
    }
}

impl Spool for SegmentSpool {
    fn write(&mut self, piece: Bytes) -> Result<(), StoreError> {
        let bytes = self.upload.bytes() + piece.len() as u64;
        if bytes > self.upload.bytes_max() {
            return Err(self.upload.full());
        }
        if bytes > RECORD_BLOB_BYTES_MAX {
            self.upload.leave_memory()?;
        }
        self.hashers.iter_mut().for_each(|it| it.update(&piece));
        self.upload.write(piece)
    }

    fn digests(&self) -> Vec<Digest> {
        let others = self.hashers.iter().cloned().map(Hasher::finish);
        std::iter::once(self.upload.found()).chain(others).collect()
    }

    fn finish(mut self: Box<Self>, digest: Digest) -> Result<(), StoreError> {
        if self.digests().contains(&digest) {
            return self.upload.keep_as(digest);
        }
        Err(StoreError::Mismatch { expected: digest, found: self.upload.found() })
    }
}
