//! Sealing: a journal is written again as a sealed segment, with similar records side by side.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::blocks::{BLOCK_BYTES, BLOCK_PER_RECORD};
use super::files::{Files, StoreFile};
use super::journal::Journal;
use super::quarantine::or_nothing;
use super::record::{FIRST_VALUE, Form, Header, Place, Raw, Record};
use super::sealed::{self, Sealed, Span};
use super::similarity::{Likeness, likeness};
use crate::StoreError;

/// How hard zstd tries: some 80 MB a second and core, and a fifteenth less room than when it hurries.
const LEVEL: i32 = 6;

/// How hard it tries when segments come faster than that.
const LEVEL_IN_A_HURRY: i32 = 3;

/// In a hurry is who has so many segments to compress.
const HURRY_SEGMENTS: usize = 3;

/// A block is kept compressed if that saves at least a part in so many; else it costs more time than room.
const WORTHWHILE: usize = 16;

/// What sealing a journal asks of the store.
pub(super) trait Census {
    /// Returns for each record whether it is what its name stands for.
    fn are_alive(&self, records: &[(Header, Place)]) -> Result<Vec<bool>, StoreError>;
    /// Makes what superseded the others survive a loss of power.
    fn commit(&self) -> Result<(), StoreError>;
    /// Returns how many segments are to be compressed, this one included.
    fn waiting(&self) -> usize;
    /// Returns whether somebody waits for this to end.
    fn is_over(&self) -> bool;
}

/// Writes what is alive in a journal as a sealed segment beside it. The journal remains. Returns nothing if it was not to
/// be ended.
pub(super) fn seal(
    files: &Files,
    journal: &Journal,
    census: &impl Census,
) -> Result<Option<Sealed>, StoreError> {
    let Some(survey) = survey(journal, census)? else { return Ok(None) };
    let path = draft_path(journal.id());
    files.remove(&path)?;
    let level = if census.waiting() < HURRY_SEGMENTS { LEVEL } else { LEVEL_IN_A_HURRY };
    let mut writer = Writer::new(files.create(&path)?, level)?;
    let written = writer.write(journal, &survey, census);
    if !matches!(written, Ok(true)) {
        let _ = files.remove(&path);
        return written.map(|_| None);
    }
    writer.file.sync()?;
    // What is left out here was superseded by records that must not be lost any more.
    census.commit()?;
    files.rename(&path, &sealed::path(journal.id()))?;
    files.sync_folder(Path::new("segments"))?;
    let sealed = Sealed::open(files, journal.id())?;
    let damaged = || files.failed("seal", &path)(std::io::ErrorKind::InvalidData.into());
    Ok(Some(sealed.ok_or_else(damaged)?))
}

/// How many records are asked about at once.
const BATCH: usize = 1024;

/// What is in a journal.
struct Survey {
    /// All headers, those of dead records marked so.
    headers: Vec<Header>,
    /// In which order the payloads are to be written.
    order: Vec<u32>,
}

fn survey(journal: &Journal, census: &impl Census) -> Result<Option<Survey>, StoreError> {
    let (mut headers, mut order) = (Vec::new(), Vec::<(Likeness, u32)>::new());
    let ordinals: Vec<u32> = (0..journal.records()).collect();
    for ordinals in ordinals.chunks(BATCH) {
        let mut found = Vec::with_capacity(ordinals.len());
        let mut likenesses = Vec::with_capacity(ordinals.len());
        for &ordinal in ordinals {
            let record = or_nothing(journal.read(ordinal))?.and_then(Raw::checked);
            let place = Place { segment: journal.id(), ordinal };
            // What is damaged keeps its ordinal, and stands for nothing.
            let nothing = || Record::new(FIRST_VALUE, Form::Dead, 0, Bytes::new());
            let record = record.unwrap_or_else(nothing);
            likenesses.push(likeness(&record.payload));
            found.push((record.header, place));
        }
        if census.is_over() {
            return Ok(None);
        }
        let alive = census.are_alive(&found)?;
        for (((mut header, place), alive), likeness) in found.into_iter().zip(alive).zip(likenesses)
        {
            if !alive && header.form != Form::Tombstone {
                header = Header::new(header.name, Form::Dead, 0, &[]);
            }
            if header.stored > 0 {
                order.push((likeness, place.ordinal));
            }
            headers.push(header);
        }
    }
    order.sort_unstable();
    let order = order.into_iter().map(|(_, ordinal)| ordinal).collect();
    Ok(Some(Survey { headers, order }))
}

struct Writer {
    file: StoreFile,
    end: u64,
    compressor: zstd::bulk::Compressor<'static>,
}

impl Writer {
    fn new(file: StoreFile, level: i32) -> Result<Self, StoreError> {
        let compressor = zstd::bulk::Compressor::new(level);
        let compressor = compressor.map_err(StoreError::disk("compress into", file.path()))?;
        Ok(Self { file, end: 0, compressor })
    }

    fn write(
        &mut self,
        journal: &Journal,
        survey: &Survey,
        census: &impl Census,
    ) -> Result<bool, StoreError> {
        let mut spans = vec![Span::default(); survey.headers.len()];
        let (mut block, mut within) = (Vec::with_capacity(2 * BLOCK_BYTES), Vec::new());
        let mut smallest = usize::MAX;
        for &ordinal in &survey.order {
            let read = or_nothing(journal.read(ordinal))?;
            let Some(Raw { payload, .. }) = read else { continue };
            let smallest_now = smallest.min(payload.len());
            let limit = BLOCK_BYTES.max(BLOCK_PER_RECORD * smallest_now);
            smallest = smallest_now;
            if !block.is_empty() && block.len() + payload.len() > limit {
                smallest = payload.len();
                self.finish(&mut block, &mut within, &mut spans)?;
                if census.is_over() {
                    return Ok(false);
                }
            }
            within.push((ordinal, block.len()));
            block.extend_from_slice(&payload);
        }
        self.finish(&mut block, &mut within, &mut spans)?;
        let table = self.end;
        let records = u32::try_from(survey.headers.len()).expect("ordinals have 32 bits");
        let mut rows = Vec::new();
        for ((header, span), ordinal) in survey.headers.iter().zip(spans).zip(0..) {
            let place = Place { segment: journal.id(), ordinal };
            rows.extend_from_slice(&sealed::encode(header, span, place));
            if rows.len() >= BLOCK_BYTES {
                self.put(&rows)?;
                rows.clear();
            }
        }
        rows.extend_from_slice(&Sealed::trailer(journal.id(), records, table, journal.begun()));
        self.put(&rows)?;
        Ok(true)
    }

    fn finish(
        &mut self,
        block: &mut Vec<u8>,
        within: &mut Vec<(u32, usize)>,
        spans: &mut [Span],
    ) -> Result<(), StoreError> {
        if block.is_empty() {
            return Ok(());
        }
        let small = |number: usize| u32::try_from(number).expect("a segment is shorter than 4 GiB");
        let compressed = self.compressor.compress(block);
        let compressed = compressed.map_err(StoreError::disk("compress into", self.file.path()))?;
        let is_worthwhile = compressed.len() < block.len() - block.len() / WORTHWHILE;
        let bytes = if is_worthwhile { &compressed } else { &*block };
        let at = u32::try_from(self.end).expect("a segment is shorter than 4 GiB");
        for (ordinal, offset) in within.drain(..) {
            let (stored, raw) = (small(bytes.len()), small(block.len()));
            spans[ordinal as usize] = Span { block: at, stored, raw, at: small(offset) };
        }
        self.put(bytes)?;
        block.clear();
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_at(self.end, [bytes, &[]])?;
        self.end += bytes.len() as u64;
        Ok(())
    }
}

/// Returns the path of a sealed segment that is being written.
pub(super) fn draft_path(id: u32) -> PathBuf {
    Path::new("segments").join(format!("{id:08x}.sealing"))
}
