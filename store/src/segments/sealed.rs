//! Sealed segments: the same records under the same ordinals, similar ones compressed together.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;

use super::blocks::Blocks;
use super::files::{Files, StoreFile};
use super::journal::{from_nanos, to_nanos};
use super::quarantine::or_nothing;
use super::record::{Form, Header, NAME_BYTES, Name, Place, Raw, read_u32, read_u64};
use crate::StoreError;

/// What begins a sealed segment's trailer, with its version.
const MAGIC: [u8; 8] = *b"bldseal1";

/// How many bytes the trailer has: magic, segment, records, where the table is, when it was begun, checksum.
const TRAILER_BYTES: usize = 64;

/// How many bytes a row of the table has.
const ROW_BYTES: usize = 72;

/// How many rows are read at once.
const ROWS: u32 = 1024;

/// A segment that is never written again.
#[derive(Debug)]
pub(super) struct Sealed {
    id: u32,
    begun: SystemTime,
    file: StoreFile,
    bytes: u64,
    records: u32,
    table: u64,
}

/// Where a payload is in a sealed segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    /// Where its block begins.
    pub(super) block: u32,
    /// How many bytes the block has there; as many as it has uncompressed, if it is not compressed.
    pub(super) stored: u32,
    /// How many it has uncompressed.
    pub(super) raw: u32,
    /// Where in the uncompressed block the payload begins.
    pub(super) at: u32,
}

impl Sealed {
    /// Opens a sealed segment, or returns `None` if it is not one from its beginning to its end.
    pub(super) fn open(files: &Files, id: u32) -> Result<Option<Self>, StoreError> {
        let Some(file) = files.open(&path(id))? else { return Ok(None) };
        let bytes = file.len()?;
        let Some(end) = bytes.checked_sub(TRAILER_BYTES as u64) else { return Ok(None) };
        let mut trailer = [0; TRAILER_BYTES];
        or_nothing(file.read_at(end, &mut trailer))?;
        let right =
            trailer[..8] == MAGIC && read_u32(&trailer, 60) == crc32c::crc32c(&trailer[..60]);
        let records = if right && read_u32(&trailer, 8) == id {
            Some(read_u32(&trailer, 12))
        } else {
            count_rows(&file, id, end)?
        };
        // What stands there of the time is for statistics only.
        let begun = from_nanos(read_u64(&trailer, 24));
        let table = records.and_then(|it| end.checked_sub(u64::from(it) * ROW_BYTES as u64));
        Ok(records.zip(table).map(|(records, table)| Self {
            id,
            begun,
            file,
            bytes,
            records,
            table,
        }))
    }

    /// Returns what ends the file of a sealed segment.
    pub(super) fn trailer(id: u32, records: u32, table: u64, begun: SystemTime) -> Vec<u8> {
        let mut bytes = vec![0; TRAILER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&id.to_le_bytes());
        bytes[12..16].copy_from_slice(&records.to_le_bytes());
        bytes[16..24].copy_from_slice(&table.to_le_bytes());
        bytes[24..32].copy_from_slice(&to_nanos(begun).to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    pub(super) fn begun(&self) -> SystemTime {
        self.begun
    }

    pub(super) fn file(&self) -> &StoreFile {
        &self.file
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn records(&self) -> u32 {
        self.records
    }

    /// Returns a record as it stands there, or `None` if there is none.
    pub(super) fn read(&self, ordinal: u32, blocks: &Blocks) -> Result<Option<Raw>, StoreError> {
        if ordinal >= self.records {
            return Ok(None);
        }
        let mut row = [0; ROW_BYTES];
        self.file.read_at(self.row_at(ordinal), &mut row)?;
        let place = Place { segment: self.id, ordinal };
        let Some((header, span)) = decode(&row, place) else {
            return Ok(Some(Raw { header: None, payload: Bytes::copy_from_slice(&row) }));
        };
        let payload = blocks.payload(self, span, header.stored)?;
        // A record whose block cannot be had is not right.
        Ok(Some(payload.map_or_else(Raw::default, |it| Raw { header: Some(header), payload: it })))
    }

    /// Returns the headers of up to so many records from that one on; `None` where one is not right.
    pub(super) fn headers(&self, from: u32) -> Result<Vec<Option<Header>>, StoreError> {
        let count = self.records.saturating_sub(from).min(ROWS);
        let mut rows = vec![0; count as usize * ROW_BYTES];
        let read = self.file.read_at(self.row_at(from), &mut rows).map(|()| true);
        if !or_nothing(read)? {
            // A sector that cannot be read takes its own rows with it, and no others.
            for (ordinal, row) in (from..).zip(rows.chunks_exact_mut(ROW_BYTES)) {
                or_nothing(self.file.read_at(self.row_at(ordinal), row))?;
            }
        }
        let place = |index| Place { segment: self.id, ordinal: from + index };
        let rows = (0..count).zip(rows.chunks_exact(ROW_BYTES));
        Ok(rows.map(|(index, row)| Some(decode(row, place(index))?.0)).collect())
    }

    fn row_at(&self, ordinal: u32) -> u64 {
        self.table + u64::from(ordinal) * ROW_BYTES as u64
    }
}

/// Returns how many records a segment has whose trailer, which begins at `end`, is damaged: a row is right under one ordinal
/// only, so one of the last of them tells.
fn count_rows(file: &StoreFile, id: u32, end: u64) -> Result<Option<u32>, StoreError> {
    /// More than a sector that cannot be read takes with it, of whatever disk.
    const LAST_ROWS: u32 = 64;
    let most = u32::try_from(end / ROW_BYTES as u64).unwrap_or(u32::MAX);
    for after in 0..most.min(LAST_ROWS) {
        let mut row = [0; ROW_BYTES];
        let at = end - u64::from(after + 1) * ROW_BYTES as u64;
        if !or_nothing(file.read_at(at, &mut row).map(|()| true))? {
            continue;
        }
        let is_at =
            |ordinal: &u32| decode(&row, Place { segment: id, ordinal: *ordinal }).is_some();
        if let Some(ordinal) = (0..most - after).find(is_at) {
            return Ok(Some(ordinal + 1 + after));
        }
    }
    Ok(None)
}

/// Returns the row of a record in the table of its segment.
pub(super) fn encode(header: &Header, span: Span, place: Place) -> [u8; ROW_BYTES] {
    let mut row = [0; ROW_BYTES];
    row[0] = header.form as u8;
    row[1..=NAME_BYTES].copy_from_slice(header.name.bytes());
    row[36..44].copy_from_slice(&header.size.to_le_bytes());
    let numbers = [header.stored, header.crc, span.block, span.stored, span.raw, span.at];
    for (number, at) in numbers.into_iter().zip((44..).step_by(4)) {
        row[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }
    let crc = crc_of(&row, place);
    row[68..].copy_from_slice(&crc.to_le_bytes());
    row
}

fn decode(row: &[u8], place: Place) -> Option<(Header, Span)> {
    if read_u32(row, 68) != crc_of(row, place) {
        return None;
    }
    let name = Name::from_bytes(row[1..=NAME_BYTES].try_into().expect("the length of a name"))?;
    let form = Form::from_byte(row[0])?;
    let (size, stored, crc) = (read_u64(row, 36), read_u32(row, 44), read_u32(row, 48));
    let span = Span {
        block: read_u32(row, 52),
        stored: read_u32(row, 56),
        raw: read_u32(row, 60),
        at: read_u32(row, 64),
    };
    Some((Header { name, form, size, stored, crc }, span))
}

/// A row holds for one place only.
fn crc_of(row: &[u8], place: Place) -> u32 {
    let place = [place.segment.to_le_bytes(), place.ordinal.to_le_bytes()].concat();
    crc32c::crc32c_append(crc32c::crc32c(&place), &row[..68])
}

/// Returns the path of a sealed segment.
pub(super) fn path(id: u32) -> PathBuf {
    Path::new("segments").join(format!("{id:08x}.sealed"))
}
