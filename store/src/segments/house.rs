//! The house: what is not done at once, but by threads of the store while it is open.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::core::Core;
use super::head::Doomed;
use super::job::Job;
use super::journal;
use super::large;
use super::record::{Form, Header, Place};
use super::seal::{Census, seal};
use super::sealed;
use super::segment::Segment;
use crate::StoreError;

/// How long what was acknowledged may not be on the disk: a loss of power takes at most what was written within that time,
/// and the time that writing it takes.
pub const COMMIT_INTERVAL: Duration = Duration::from_millis(500);

/// How often is looked whether there is something to do besides what somebody rang for.
const KEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How long after the last record the index gets the rest of them: it has nothing better to do then.
const IDLE: Duration = Duration::from_secs(5);

/// How often what was used is written down: a crash forgets that much of it.
const SAVE_INTERVAL: Duration = Duration::from_secs(60);

/// How many large files are cut before it is seen again whether anybody writes.
const SETTLED_AT_ONCE: usize = 4;

/// How far compressing stands back behind whoever waits for an answer.
const NICENESS: i32 = 5;

/// Ends the process with a thread that panics. Nobody would do its work: what was promised would not be kept, and those who
/// wait for it would wait for ever. The next process loses no more than after any other end.
struct NoneWithout;

impl Drop for NoneWithout {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

/// What keeps the house; dropping it ends the threads.
#[derive(Debug)]
pub(super) struct House {
    core: Arc<Core>,
    threads: Vec<JoinHandle<()>>,
}

impl House {
    pub(super) fn new(core: &Arc<Core>) -> Self {
        Self { core: Arc::clone(core), threads: Vec::new() }
    }

    /// Starts the threads.
    pub(super) fn start(&mut self) -> Result<(), StoreError> {
        self.spawn("bld-commit", commit)?;
        self.spawn("bld-keep", keep)?;
        self.spawn("bld-seal", compress)
    }

    fn spawn(&mut self, name: &str, work: fn(&Arc<Core>)) -> Result<(), StoreError> {
        let core = Arc::clone(&self.core);
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || {
            let _process = NoneWithout;
            work(&core);
        });
        let failed = self.core.files.failed("start a thread for", Path::new(""));
        self.threads.push(thread.map_err(failed)?);
        Ok(())
    }

    /// Ends the threads and writes down what is only in memory.
    pub(super) fn close(&mut self) -> Result<(), StoreError> {
        self.core.bells.end();
        for thread in self.threads.drain(..) {
            thread.join().expect("a panic ends the process");
        }
        self.core.checkpoint()?;
        self.core.touched.save(&self.core.files)?;
        self.core.index.close();
        Ok(())
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "cannot close the store; the next start looks through its journals");
        }
    }
}

fn commit(core: &Arc<Core>) {
    let mut commit = Job::new("make what was written survive a loss of power");
    while core.bells.committer.wait(COMMIT_INTERVAL) {
        commit.note(core.commit());
    }
}

fn keep(core: &Arc<Core>) {
    let mut checkpoint = Job::new("bring the index up to date");
    let mut expire = Job::new("forget what nobody came back for");
    let mut evict = Job::new("make room");
    let mut save = Job::new("write down what was used");
    let (mut saved, mut appended, mut sequence) = (Instant::now(), Instant::now(), 0);
    // What was found in the journals need not be looked for again by the next start.
    checkpoint.note(core.checkpoint());
    Job::new("look through the large files").note(core.sweep());
    while core.bells.keeper.wait(KEEP_INTERVAL) {
        if core.index.is_removed() {
            // It is made again by a start, which who started this process sees to: nothing is lost by its end.
            std::process::abort();
        }
        let now = core.head().sequence();
        if now != sequence {
            (sequence, appended) = (now, Instant::now());
        }
        if core.recent().is_due() || appended.elapsed() >= IDLE {
            checkpoint.note(core.checkpoint());
        }
        expire.note(core.expire());
        evict.note(core.evict_ahead());
        if saved.elapsed() >= SAVE_INTERVAL {
            saved = Instant::now();
            save.note(core.touched.save(&core.files));
        }
    }
}

fn compress(core: &Arc<Core>) {
    // Where that is forbidden it is only less kind.
    let _ = rustix::process::setpriority_process(None, NICENESS);
    let mut seal = Job::new("compress a segment");
    let mut settle = Job::new("cut a large blob into chunks");
    let mut sequence = 0;
    while core.bells.sealer.wait(KEEP_INTERVAL) {
        seal.note(core.seal_ended());
        // Large files are cut when nobody has written for a while.
        let now = core.head().sequence();
        let is_idle = std::mem::replace(&mut sequence, now) == now;
        for _ in 0..SETTLED_AT_ONCE {
            let next =
                if is_idle && !core.bells.sealer.is_over() { core.settling.next() } else { None };
            let Some(name) = next else { break };
            settle.note(core.settle(name).map(|_| ()));
            sequence = core.head().sequence();
        }
    }
}

impl Census for Core {
    fn are_alive(&self, records: &[(Header, Place)]) -> Result<Vec<bool>, StoreError> {
        let names: Vec<_> = records.iter().map(|(header, _)| header.name).collect();
        let entries = self.find(&names)?.into_iter().zip(records);
        Ok(entries.map(|(entry, (_, place))| entry.is_some_and(|it| it.place == *place)).collect())
    }

    fn commit(&self) -> Result<(), StoreError> {
        self.commit()
    }

    fn waiting(&self) -> usize {
        let is_journal =
            |id: &u32| self.segments.get(*id).is_some_and(|it| matches!(&*it, Segment::Journal(_)));
        // All but the one that is appended to.
        self.segments.ids().iter().filter(|it| is_journal(it)).count().saturating_sub(1)
    }

    fn is_over(&self) -> bool {
        self.bells.sealer.is_over()
    }
}

impl Core {
    /// Ends the leases and uploads that nothing was heard of for too long.
    pub(super) fn expire(&self) -> Result<(), StoreError> {
        let now = self.settings.clock.now();
        self.leases.end_silent(now);
        self.uploads.expire(&self.files, now)
    }

    /// Drops what is oldest before anybody has to wait for room.
    pub(super) fn evict_ahead(&self) -> Result<(), StoreError> {
        match self.evict_to(self.settings.soft_bytes()) {
            // Whoever writes is told, if it comes to that.
            Err(StoreError::Full { .. }) => Ok(()),
            other => other,
        }
    }

    /// Compresses every journal that nothing is appended to any more.
    pub(super) fn seal_ended(&self) -> Result<(), StoreError> {
        let mut done = Ok(());
        for id in self.segments.ids() {
            if self.bells.sealer.is_over() || done.as_ref().is_err_and(StoreError::is_full) {
                break;
            }
            // What is wrong with one of them is nothing to the others.
            done = done.and(self.seal_if_ended(id));
        }
        done
    }

    fn seal_if_ended(&self, id: u32) -> Result<(), StoreError> {
        let Some(segment) = self.segments.get(id) else { return Ok(()) };
        let Segment::Journal(journal) = &*segment else { return Ok(()) };
        if self.head().active_id() == Some(id) {
            return Ok(());
        }
        let Some(sealed) = seal(&self.files, journal, self)? else { return Ok(()) };
        // Whoever drops segments holds this.
        let _evicting = self.evicting.lock().expect("no holder panics");
        if self.segments.get(id).is_none() {
            return self.files.remove(&sealed::path(id));
        }
        let bytes = sealed.bytes();
        self.head().sealed.push(id);
        self.segments.insert(id, Segment::Sealed(Arc::new(sealed)), bytes);
        self.files.remove(&journal::path(id))
    }

    /// Removes the files of large blobs that no record stands for any more, and finds those that are to be cut.
    pub(super) fn sweep(&self) -> Result<(), StoreError> {
        // What is newer than this start is not for this to judge.
        let found = large::list(&self.files)?.into_iter();
        for file in found.filter(|it| self.uploads.is_older(it.number)) {
            match self.has_record(&file)? {
                Some(true) => self.settling.add(file.name),
                Some(false) => {
                    let Some(there) = self.files.open(&file.path)? else { continue };
                    // What took its place may not be on the disk yet.
                    let bytes = there.len()?;
                    self.doom(&mut self.head(), Doomed { path: file.path, bytes });
                }
                // Whoever wants the blob takes a record away that is corrupt; the next start removes the file.
                None => {}
            }
        }
        Ok(())
    }

    /// Returns whether a record stands for that file, or `None` if its record cannot be read.
    fn has_record(&self, file: &large::Found) -> Result<Option<bool>, StoreError> {
        let mut unread = None;
        loop {
            let entry = self.find(&[file.name])?[0].filter(|it| it.form == Form::File);
            let Some(entry) = entry else { return Ok(Some(false)) };
            if let Some(path) = self.file_of(file.name, entry)? {
                return Ok(Some(path == file.path));
            }
            // In the moment between, its segment may have been dropped: then it was copied forward before.
            if unread.replace(entry.place) == Some(entry.place) {
                return Ok(None);
            }
        }
    }
}
