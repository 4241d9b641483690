//! Opening: what the index knows, and what was appended to the journals since.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bell::Bells;
use super::blocks::Blocks;
use super::commits::Commits;
use super::core::Core;
use super::files::Files;
use super::head::Head;
use super::index::{self, Covered, Index, Known, is_damaged};
use super::journal::{self, Extent, Journal};
use super::manifest;
use super::quarantine::{self, Quarantine, or_nothing};
use super::record::{Entry, Form, HEADER_BYTES, Header, Place};
use super::sealed::{self, Sealed};
use super::segment::{Segment, Segments};
use super::settings::Settings;
use super::touched::{self, Touched};
use super::uploads::{self, Uploads};
use super::{FORMAT, large};
use crate::StoreError;

/// The folder of what does not belong to the store.
const LOST: &str = "lost+found";

/// The folder of the segments.
const SEGMENTS: &str = "segments";

/// The file that whoever has the store open keeps locked.
const LOCK: &str = "lock";

/// Says in which boot of the machine the store was open last.
const BOOT: &str = "boot";

/// Says which version made the store.
const FORMAT_FILE: &str = "format";

/// What there is of a segment.
#[derive(Debug)]
enum Found {
    Journal(Arc<Journal>),
    Sealed(Arc<Sealed>),
}

/// What is found in the folder of a store.
struct Folder {
    files: Files,
    segments: BTreeMap<u32, Found>,
    /// Whether the machine was started since the store was open: what was not synced may be lost.
    was_down: bool,
    /// Whether the index had to be made again.
    is_rebuilt: bool,
}

/// Opens the store in that folder, which nobody else has open, or makes an empty one.
pub(super) fn open(files: Files, settings: Settings) -> Result<Core, StoreError> {
    let lock = files.lock(Path::new(LOCK))?;
    check_format(&files)?;
    for folder in [SEGMENTS, large::FOLDER, uploads::FOLDER, quarantine::FOLDER] {
        files.make_folder(Path::new(folder))?;
    }
    files.sync_folder(Path::new(""))?;
    let boot = files.boot()?;
    let was_down = or_nothing(files.read(Path::new(BOOT)))?.as_deref() != Some(boot.as_bytes());
    let segments = BTreeMap::new();
    let mut folder = Folder { files: files.clone(), segments, was_down, is_rebuilt: false };
    folder.set_aside_strangers()?;
    folder.find_segments()?;
    // A journal that the last process began may have a name only until power is lost.
    files.sync_folder(Path::new(SEGMENTS))?;
    let (index, mut known) = folder.open_index()?;
    let now = settings.clock.now();
    let next_segment = folder.next_segment(known.next_segment);
    let core = Core {
        index,
        segments: Segments::default(),
        blocks: Blocks::default(),
        evicting: std::sync::Mutex::default(),
        leaving: std::sync::Mutex::default(),
        syncing: std::sync::Mutex::default(),
        head: std::sync::Mutex::new(Head::new(next_segment)),
        recent: std::sync::Mutex::default(),
        evicted: std::sync::Mutex::default(),
        scrubbed: std::sync::Mutex::default(),
        commits: Commits::new(),
        leases: super::leases::Leases::new(settings.lease, settings.budget_bytes),
        touched: Touched::open(&files)?,
        uploads: Uploads::open(&files, now, was_down)?,
        settling: super::settle::Settling::default(),
        quarantine: Quarantine::open(&files)?,
        bells: Bells::default(),
        doomed_bytes: std::sync::atomic::AtomicU64::new(0),
        _lock: lock,
        files,
        settings,
    };
    core.recent().begin(known.counters);
    folder.replay(&core, &mut known)?;
    if was_down {
        core.files.replace(Path::new(BOOT), boot.as_bytes())?;
    }
    Ok(core)
}

fn check_format(files: &Files) -> Result<(), StoreError> {
    let path = Path::new(FORMAT_FILE);
    match files.read(path)? {
        // What is there already is somebody's, and not to be set aside.
        None => match strangers(files)?.pop() {
            Some(name) => Err(StoreError::Occupied { path: files.root().to_owned(), name }),
            None => files.replace(path, FORMAT.as_bytes()),
        },
        Some(found) if found == FORMAT.as_bytes() => Ok(()),
        Some(found) => Err(StoreError::Format {
            path: files.root().to_owned(),
            found: String::from_utf8_lossy(&found).trim_end().to_owned(),
            expected: FORMAT.trim_end(),
        }),
    }
}

/// Returns the names in the folder of the store that are none of its own.
fn strangers(files: &Files) -> Result<Vec<String>, StoreError> {
    let mut ours: BTreeSet<PathBuf> = [
        SEGMENTS,
        large::FOLDER,
        uploads::FOLDER,
        quarantine::FOLDER,
        // Also where a file system is mounted, in its root.
        LOST,
        LOCK,
        FORMAT_FILE,
        BOOT,
        // What was being written in the place of those when the store was closed.
        "format.new",
        "boot.new",
        "touched.new",
    ]
    .map(PathBuf::from)
    .into();
    ours.extend([index::path(), touched::path()]);
    let mut names = files.list(Path::new(""))?;
    names.retain(|name| !ours.contains(Path::new(name)));
    Ok(names)
}

impl Folder {
    fn set_aside(&self, path: &Path) -> Result<(), StoreError> {
        let lost = Path::new(LOST);
        self.files.make_folder(lost)?;
        let taken: BTreeSet<String> = self.files.list(lost)?.into_iter().collect();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let names = (0..).map(|number| match number {
            0 => name.to_string(),
            number => format!("{name}.{number}"),
        });
        let mut free = names.filter(|it| !taken.contains(it));
        let aside = lost.join(free.next().expect("there are more names than files"));
        let (from, to) = (path.display(), aside.display());
        tracing::warn!(path = %from, %to, "this is no part of the store, and is set aside");
        self.files.rename(path, &aside)
    }

    fn set_aside_strangers(&self) -> Result<(), StoreError> {
        for name in strangers(&self.files)? {
            self.set_aside(Path::new(&name))?;
        }
        // All of these hold files, but the last one, which holds folders of them.
        for folder in [SEGMENTS, uploads::FOLDER, quarantine::FOLDER, large::FOLDER] {
            for name in self.files.list(Path::new(folder))? {
                let path = Path::new(folder).join(name);
                if self.files.is_folder(&path)? != (folder == large::FOLDER) {
                    self.set_aside(&path)?;
                }
            }
        }
        Ok(())
    }

    fn find_segments(&mut self) -> Result<(), StoreError> {
        let names = self.files.list(Path::new(SEGMENTS))?;
        for name in names {
            let path = Path::new(SEGMENTS).join(&name);
            let parsed = name.split_once('.').and_then(|(id, kind)| {
                let parsed = u32::from_str_radix(id, 16).ok()?;
                (format!("{parsed:08x}") == id).then_some((parsed, kind))
            });
            match parsed {
                // What was being compressed is still there as it was.
                Some((_, "sealing")) => self.files.remove(&path)?,
                Some((id, "journal")) => match Journal::open(&self.files, id)? {
                    Some(journal) => {
                        self.segments.insert(id, Found::Journal(Arc::new(journal)));
                    }
                    // Nothing was ever appended to it.
                    None => self.set_aside(&path)?,
                },
                // Comes after the journal of the same number, by its name, and takes its place.
                Some((id, "sealed")) => match Sealed::open(&self.files, id)? {
                    Some(sealed) => {
                        self.segments.insert(id, Found::Sealed(Arc::new(sealed)));
                        self.files.remove(&journal::path(id))?;
                    }
                    None => self.set_aside(&path)?,
                },
                _ => self.set_aside(&path)?,
            }
        }
        Ok(())
    }

    /// Opens the index; one that is lost, damaged, or knows of segments that are not there, is made again.
    fn open_index(&mut self) -> Result<(Index, Known), StoreError> {
        let file = self.files.open(&index::path())?;
        let is_there = file.map_or(Ok(false), |it| it.len().map(|bytes| bytes > 0))?;
        // No segment is begun before there is an index.
        self.is_rebuilt = !is_there && !self.segments.is_empty();
        let opened = Index::open(&self.files).and_then(|index| {
            let known = index.known()?;
            Ok((index, known))
        });
        match opened {
            Ok((index, known)) if self.is_covered(&known) => {
                self.remove_dropped(&known)?;
                Ok((index, known))
            }
            Err(error) if !is_damaged(&error) => Err(error),
            _ => {
                tracing::warn!("the index is damaged, or of another time; it is made again");
                drop(opened);
                self.is_rebuilt = true;
                self.files.remove(&index::path())?;
                let index = Index::open(&self.files)?;
                Ok((index, Known::default()))
            }
        }
    }

    /// Returns whether everything is there that the index leads to, and it says of every journal where its records are.
    fn is_covered(&self, known: &Known) -> bool {
        known.covered.iter().all(|(id, covered)| match self.segments.get(id) {
            Some(Found::Journal(journal)) => {
                let offsets = known.offsets.get(id).map_or(&[][..], Vec::as_slice);
                let is_long = journal.file().len().is_ok_and(|bytes| bytes >= covered.bytes);
                is_long && is_sound(offsets, *covered)
            }
            Some(Found::Sealed(sealed)) => sealed.records() >= covered.records,
            None => false,
        })
    }

    /// Removes the files of segments that the index does not know any more.
    fn remove_dropped(&mut self, known: &Known) -> Result<(), StoreError> {
        let is_dropped = |id: &u32| *id < known.next_segment && !known.covered.contains_key(id);
        let dropped: Vec<u32> = self.segments.keys().copied().filter(is_dropped).collect();
        for id in dropped {
            self.segments.remove(&id);
            self.files.remove(&journal::path(id))?;
            self.files.remove(&sealed::path(id))?;
        }
        Ok(())
    }

    fn next_segment(&self, at_least: u32) -> u32 {
        let last = self.segments.keys().next_back().map_or(0, |id| id + 1);
        last.max(at_least)
    }

    /// Publishes what the index does not know yet, the oldest first.
    fn replay(&self, core: &Core, known: &mut Known) -> Result<(), StoreError> {
        let last = self.segments.keys().next_back().copied();
        // Where an index was lost, a journal may be damaged too: what follows is not worth less by that.
        let is_strict = self.was_down && !self.is_rebuilt;
        let mut is_cut = false;
        for (id, found) in &self.segments {
            let id = *id;
            let covered = known.covered.get(&id).copied().unwrap_or_default();
            match found {
                Found::Journal(journal) => {
                    let is_new = is_strict && covered.records == 0;
                    is_cut |= is_new && !follows(core, journal, known);
                    let anew =
                        if is_new && is_cut { Some(begin_anew(core, journal)?) } else { None };
                    let journal = anew.as_ref().unwrap_or(journal);
                    if let Some(offsets) = known.offsets.remove(&id).filter(|it| !it.is_empty()) {
                        journal.assume(Extent { offsets, end: covered.bytes });
                    }
                    core.head().cover(journal, covered);
                    self.replay_journal(core, journal, is_strict)?;
                    core.head().note_last(journal);
                    if last == Some(id) {
                        resume(core, Arc::clone(journal))?;
                    }
                }
                Found::Sealed(sealed) => {
                    let segment = Segment::Sealed(Arc::clone(sealed));
                    core.segments.insert(id, segment, sealed.bytes());
                    self.replay_sealed(core, id, covered)?;
                }
            }
        }
        Ok(())
    }

    fn replay_journal(
        &self,
        core: &Core,
        journal: &Arc<Journal>,
        is_strict: bool,
    ) -> Result<(), StoreError> {
        let segment = Segment::Journal(Arc::clone(journal));
        core.segments.insert(journal.id(), segment, journal.file().len()?);
        let before = journal.records();
        let goes_on = |header: &Header, payload: Option<&[u8]>| match payload {
            _ if !is_strict => Ok(true),
            // What is later than something that is lost is lost with it, also where that is a blob's file.
            Some(payload) if header.form == Form::File => core.has_whole_file(header, payload),
            payload => Ok(payload.is_some()),
        };
        journal.scan(goes_on, |place, header| {
            self.publish(core, place, &header)?;
            if core.recent().is_due() {
                // The index is not to lead to what a loss of power takes.
                core.head().note_unsynced(journal);
                core.checkpoint()?;
            }
            Ok(())
        })?;
        if journal.records() > before {
            core.head().note_unsynced(journal);
        }
        journal.cut_off()?;
        core.segments.resize(journal.id(), journal.end());
        Ok(())
    }

    fn replay_sealed(&self, core: &Core, id: u32, covered: Covered) -> Result<(), StoreError> {
        let Some(segment) = core.segments.get(id) else { return Ok(()) };
        let mut covered = covered;
        while covered.records < segment.records() {
            for header in segment.headers(covered.records)? {
                let place = Place { segment: id, ordinal: covered.records };
                if let Some(header) = header.filter(|it| it.form != Form::Dead) {
                    self.publish(core, place, &header)?;
                }
                covered.records += 1;
            }
            core.head().noted.insert(id, covered);
            if core.recent().is_due() {
                core.checkpoint()?;
            }
        }
        Ok(())
    }

    /// Publishes a record that the index does not know; it is newer than all that it knows.
    fn publish(&self, core: &Core, place: Place, header: &Header) -> Result<(), StoreError> {
        let (form, size) = (header.form, header.size);
        let entry = Entry { place, form, is_chunk: false, size };
        if form == Form::File && self.is_rebuilt {
            // Since then its blob may have become chunks, of which a later record tells, and the file is gone.
            let payload = core.peek(entry)?.unwrap_or_default();
            if !core.has_whole_file(header, &payload)? {
                return Ok(());
            }
        }
        let new = (form != Form::Tombstone).then_some(entry);
        let bytes = HEADER_BYTES as u64 + u64::from(header.stored);
        // To ask the index what was there would take longer than everything else.
        core.recent().publish_unasked(header.name, new, bytes);
        if form == Form::Manifest {
            let payload = core.peek(entry)?;
            let chunks = payload.and_then(|it| manifest::decode(&it, size)).unwrap_or_default();
            core.mark_chunks(&chunks)?;
        }
        if form == Form::File {
            core.settling.add(header.name);
            // The process that wrote the file may have been killed before it was on the disk.
            core.sync_file_of(header.name, entry)?;
        }
        Ok(())
    }
}

/// Returns whether all is there that was appended before the journal was begun: what is later than something that is
/// lost is lost with it.
fn follows(core: &Core, journal: &Journal, known: &Known) -> bool {
    let Some(before) = journal.before() else { return false };
    match core.segments.get(before.segment) {
        Some(segment) => segment.records() >= before.records,
        // The index would have known of it, if it had been dropped.
        None => before.records == 0 || before.segment < known.next_segment,
    }
}

/// Begins a journal anew that follows what is lost: what will be appended to it follows what is there.
fn begin_anew(core: &Core, lost: &Journal) -> Result<Arc<Journal>, StoreError> {
    core.files.remove(&journal::path(lost.id()))?;
    let (before, begun) = (core.head().last, core.settings.clock.now());
    let journal = Journal::create(&core.files, lost.id(), begun, before, journal::FIRST_RECORD)?;
    let journal = Arc::new(journal);
    let mut head = core.head();
    head.folders.insert(PathBuf::from(SEGMENTS));
    head.note_unsynced(&journal);
    drop(head);
    Ok(journal)
}

/// Returns whether records can begin there, as many as the index says, and end where it says.
fn is_sound(offsets: &[u32], covered: Covered) -> bool {
    let ends = offsets.iter().map(|it| u64::from(*it)).chain([covered.bytes]);
    let (mut last, header) = (journal::FIRST_RECORD, HEADER_BYTES as u64);
    let mut are_apart = true;
    for (index, end) in ends.enumerate() {
        are_apart &= if index == 0 { end == last } else { end >= last + header };
        last = end;
    }
    offsets.len() == covered.records as usize && are_apart
}

/// Goes on with the newest journal, if it has room.
fn resume(core: &Core, journal: Arc<Journal>) -> Result<(), StoreError> {
    let room = core.settings.segment_bytes();
    if journal.end() >= room {
        return Ok(());
    }
    match journal.file().reserve(room) {
        Ok(()) => {
            core.segments.resize(journal.id(), room);
            core.head().resume(journal, room);
            Ok(())
        }
        // The next write begins another one, when there is room.
        Err(error) if error.is_full() => Ok(()),
        Err(error) => Err(error),
    }
}
