//! Journals: segments that records are appended to, one after the other, uncompressed.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use bytes::BytesMut;

use super::files::{Files, StoreFile};
use super::record::{HEADER_BYTES, Header, Place, Raw, Record, read_u32, read_u64};
use crate::StoreError;

/// What begins a journal, with its version.
const MAGIC: [u8; 8] = *b"bldjrnl1";

/// Where the first record begins: magic, number of the segment, when it was begun, what was before it, checksum.
pub(super) const FIRST_RECORD: u64 = HEAD_BYTES as u64;

/// How many bytes are before that.
const HEAD_BYTES: usize = 64;

/// How much of a journal is looked through at once, in bytes.
const WINDOW_BYTES: usize = 1 << 20;

/// A segment that is being, or was, appended to.
#[derive(Debug)]
pub(super) struct Journal {
    id: u32,
    begun: SystemTime,
    before: Before,
    file: StoreFile,
    extent: Mutex<Extent>,
}

/// What a journal is the continuation of: without all of that it is not believed after a loss of power.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Before {
    pub(super) segment: u32,
    pub(super) records: u32,
}

/// How far a journal goes.
#[derive(Clone, Debug)]
pub(super) struct Extent {
    /// Where each record begins.
    pub(super) offsets: Vec<u32>,
    /// Where the next will.
    pub(super) end: u64,
}

impl Journal {
    /// Begins a journal, with room for that many bytes.
    pub(super) fn create(
        files: &Files,
        id: u32,
        begun: SystemTime,
        before: Before,
        bytes: u64,
    ) -> Result<Self, StoreError> {
        let path = path(id);
        let file = files.create(&path)?;
        let mut head = [0; HEAD_BYTES];
        head[..8].copy_from_slice(&MAGIC);
        head[8..12].copy_from_slice(&id.to_le_bytes());
        head[12..20].copy_from_slice(&to_nanos(begun).to_le_bytes());
        head[20..24].copy_from_slice(&before.segment.to_le_bytes());
        head[24..28].copy_from_slice(&before.records.to_le_bytes());
        let crc = crc32c::crc32c(&head[..60]);
        head[60..].copy_from_slice(&crc.to_le_bytes());
        // Only what can be filled to its end is begun: a full disk is never met in the middle of a record.
        if let Err(error) = file.reserve(bytes).and_then(|()| file.write_at(0, [&head, &[]])) {
            let _ = files.remove(&path);
            return Err(error);
        }
        Ok(Self { id, begun, before, file, extent: Mutex::new(Extent::new()) })
    }

    /// Opens a journal of which nothing is known yet, or returns `None` if it was never begun rightly.
    pub(super) fn open(files: &Files, id: u32) -> Result<Option<Self>, StoreError> {
        let Some(file) = files.open(&path(id))? else { return Ok(None) };
        let mut head = [0; HEAD_BYTES];
        if file.len()? < FIRST_RECORD {
            return Ok(None);
        }
        file.read_at(0, &mut head)?;
        let right = head[..8] == MAGIC && read_u32(&head, 60) == crc32c::crc32c(&head[..60]);
        if !right || read_u32(&head, 8) != id {
            return Ok(None);
        }
        let begun = from_nanos(read_u64(&head, 12));
        let before = Before { segment: read_u32(&head, 20), records: read_u32(&head, 24) };
        Ok(Some(Self { id, begun, before, file, extent: Mutex::new(Extent::new()) }))
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    pub(super) fn begun(&self) -> SystemTime {
        self.begun
    }

    pub(super) fn before(&self) -> Before {
        self.before
    }

    pub(super) fn file(&self) -> &StoreFile {
        &self.file
    }

    /// Takes for granted what was found out about the journal before.
    pub(super) fn assume(&self, extent: Extent) {
        *self.extent() = extent;
    }

    pub(super) fn end(&self) -> u64 {
        self.extent().end
    }

    pub(super) fn records(&self) -> u32 {
        self.extent().count()
    }

    /// Returns where the records from that one on begin, and where the next will.
    pub(super) fn offsets_from(&self, ordinal: u32) -> (Vec<u32>, u64) {
        let extent = self.extent();
        let known = extent.offsets.get(ordinal as usize..).unwrap_or_default();
        (known.to_vec(), extent.end)
    }

    /// Appends a record and returns its place. Only one thread at a time does this.
    pub(super) fn append(&self, record: &Record) -> Result<Place, StoreError> {
        let (ordinal, end) = {
            let extent = self.extent();
            (extent.count(), extent.end)
        };
        let place = Place { segment: self.id, ordinal };
        let header = record.header.encode(place);
        self.file.write_at(end, [&header, &record.payload])?;
        let mut extent = self.extent();
        extent.offsets.push(u32::try_from(end).expect("a journal is shorter than 4 GiB"));
        extent.end = end + (HEADER_BYTES + record.payload.len()) as u64;
        Ok(place)
    }

    /// Gives back the memory that more records would have needed.
    pub(super) fn shrink(&self) {
        self.extent().offsets.shrink_to_fit();
    }

    /// Makes what was appended survive a loss of power.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.file.persist(self.end())
    }

    /// Takes away what follows the known extent: it was never promised, and shall not be taken for a record when others
    /// are before it.
    pub(super) fn cut_off(&self) -> Result<(), StoreError> {
        let end = self.end();
        if self.file.len()? > end {
            self.file.resize(end)?;
            // Else a loss of power may bring it back.
            self.file.sync()?;
        }
        Ok(())
    }

    /// Returns a record as it stands there, or `None` if there is none.
    pub(super) fn read(&self, ordinal: u32) -> Result<Option<Raw>, StoreError> {
        let Some((offset, bytes)) = self.extent().span(ordinal) else { return Ok(None) };
        let mut record = BytesMut::zeroed(bytes);
        self.file.read_at(offset, &mut record)?;
        let record = record.freeze();
        let head = record[..HEADER_BYTES].try_into().expect("the length of a header");
        let header = Header::decode(head, Place { segment: self.id, ordinal });
        Ok(Some(Raw { header, payload: record.slice(HEADER_BYTES..) }))
    }

    /// Returns the header of a record, or `None` if there is none, or it is not right.
    pub(super) fn header(&self, ordinal: u32) -> Result<Option<Header>, StoreError> {
        let Some((offset, _)) = self.extent().span(ordinal) else { return Ok(None) };
        let mut head = [0; HEADER_BYTES];
        self.file.read_at(offset, &mut head)?;
        Ok(Header::decode(&head, Place { segment: self.id, ordinal }))
    }

    /// Looks through what follows the known extent, tells `tell` of each record that is whole, and ends at the first that
    /// is not, or of which `is_whole` says so: what follows was never promised to anybody.
    pub(super) fn scan(
        &self,
        is_whole: impl Fn(&Header, &[u8]) -> Result<bool, StoreError>,
        mut tell: impl FnMut(Place, Header) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut window = Window::new(&self.file)?;
        loop {
            let (ordinal, end) = {
                let extent = self.extent();
                (extent.count(), extent.end)
            };
            let place = Place { segment: self.id, ordinal };
            let Some(header) = window.record(end, place)? else { break };
            let payload = window.bytes(end + HEADER_BYTES as u64, header.stored as usize)?;
            if !is_whole(&header, payload.unwrap_or_default())? {
                break;
            }
            let mut extent = self.extent();
            extent.offsets.push(u32::try_from(end).expect("a journal is shorter than 4 GiB"));
            extent.end = end + HEADER_BYTES as u64 + u64::from(header.stored);
            drop(extent);
            tell(place, header)?;
        }
        Ok(())
    }

    fn extent(&self) -> MutexGuard<'_, Extent> {
        self.extent.lock().expect("no holder panics")
    }
}

impl Extent {
    pub(super) fn new() -> Self {
        Self { offsets: Vec::new(), end: FIRST_RECORD }
    }

    fn count(&self) -> u32 {
        u32::try_from(self.offsets.len()).expect("a journal has fewer records than bytes")
    }

    /// Returns where a record begins, and how many bytes it has with its header.
    fn span(&self, ordinal: u32) -> Option<(u64, usize)> {
        let from = u64::from(*self.offsets.get(ordinal as usize)?);
        let to = self.offsets.get(ordinal as usize + 1).map_or(self.end, |it| u64::from(*it));
        let bytes = usize::try_from(to.checked_sub(from)?).ok()?;
        (bytes >= HEADER_BYTES).then_some((from, bytes))
    }
}

/// A part of a journal in memory, which moves on as it is looked through.
struct Window<'a> {
    file: &'a StoreFile,
    length: u64,
    offset: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    fn new(file: &'a StoreFile) -> Result<Self, StoreError> {
        Ok(Self { file, length: file.len()?, offset: 0, bytes: Vec::new() })
    }

    /// Returns the header of the record there, or `None` if none is there that is right.
    fn record(&mut self, offset: u64, place: Place) -> Result<Option<Header>, StoreError> {
        let Some(head) = self.bytes(offset, HEADER_BYTES)? else { return Ok(None) };
        let head = head.try_into().expect("the length of a header");
        let Some(header) = Header::decode(head, place) else { return Ok(None) };
        let payload = self.bytes(offset + HEADER_BYTES as u64, header.stored as usize)?;
        Ok(payload.is_some_and(|it| header.fits(it)).then_some(header))
    }

    fn bytes(&mut self, offset: u64, count: usize) -> Result<Option<&[u8]>, StoreError> {
        let end = offset + count as u64;
        if end > self.length {
            return Ok(None);
        }
        if offset < self.offset || end > self.offset + self.bytes.len() as u64 {
            let rest = usize::try_from(self.length - offset).unwrap_or(usize::MAX);
            self.bytes.resize(rest.min(count.max(WINDOW_BYTES)), 0);
            self.offset = offset;
            self.file.read_at(offset, &mut self.bytes)?;
        }
        let from = usize::try_from(offset - self.offset).expect("it lies within the window");
        Ok(Some(&self.bytes[from..from + count]))
    }
}

/// Returns the path of a journal.
pub(super) fn path(id: u32) -> PathBuf {
    Path::new("segments").join(format!("{id:08x}.journal"))
}

/// Returns a time as nanoseconds since 1970; what lies before is 1970.
pub(super) fn to_nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

pub(super) fn from_nanos(nanos: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos)
}
