//! Keeps sandboxes ready, and clears away those that are done, behind the back of whoever waits for an answer.
//!
//! Starting a program, entering a control group, making namespaces and the mounts that every command sees are most of
//! what a small action costs, and need to know nothing of it. So is what follows the answer: until the kernel has
//! taken the namespaces and mounts down, and the scratch directory is removed. One thread does both.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use store::{LocalStore, Scratch};

use super::first::{FirstProcess, Lifeline};
use super::spec::{Beginning, Outcome, Spec};
use crate::cgroup::{self, Cgroup};
use crate::layout::{Layout, private_scratch};
use crate::{ExecuteError, Limits};

/// How many chores may wait. Whoever finds no room sweeps for himself, so that no heap of leftovers grows.
const CHORES_MAX: usize = 32;

/// How many sandboxes are kept ready: one for whoever comes next, and one more for whoever comes right after, because
/// making one takes longer than a small action.
const READY: usize = 2;

/// For how long a command is left alone before others are made ready beside it: a small one ends sooner, and would be
/// slowed down; of a longer one nobody notices it, and then nothing is left to do when it ends.
const QUIET: Duration = Duration::from_millis(5);

/// A sandbox with what belongs to it outside. It is used once; dropping it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Sandbox {
    // In the order in which they can be removed.
    first: FirstProcess,
    cgroup: Option<Cgroup>,
    _scratch: Scratch,
    layout: Layout,
}

impl Sandbox {
    /// Starts one.
    pub(crate) fn start(
        store: &LocalStore,
        beginning: &Beginning,
        limits: &Limits,
    ) -> Result<Self, ExecuteError> {
        let scratch = private_scratch(store)?;
        let layout = Layout::of(scratch.path());
        layout.make()?;
        let cgroup = Cgroup::make(limits);
        let folders = cgroup.as_ref().map_or(&[][..], Cgroup::folders).to_vec();
        let own = Beginning { layout: layout.clone(), cgroup: folders, ..beginning.clone() };
        Ok(Self { first: FirstProcess::start(&own)?, cgroup, layout, _scratch: scratch })
    }

    /// Returns where its files lie.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Tells it what to run.
    pub(crate) fn tell(&mut self, spec: &Spec, lifeline: &Lifeline) {
        self.first.tell(spec, lifeline);
    }

    /// Waits for that long, and returns whether there is something to hear meanwhile.
    pub(crate) fn answers_within(&self, time: Duration) -> bool {
        self.first.answers_within(time)
    }

    /// Waits until all that ran in it is gone, and returns what came of it.
    pub(crate) fn hear(&mut self) -> Result<Outcome, ExecuteError> {
        self.first.hear()
    }

    /// Returns whether the kernel ended something in it for want of memory.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        self.cgroup.as_ref().is_some_and(Cgroup::ran_out_of_memory)
    }

    /// Returns whether it can be used by an action with these limits.
    fn suits(&mut self, limits: &Limits) -> bool {
        self.first.is_alive()
            && self.cgroup.as_mut().is_none_or(|cgroup| cgroup.limit(limits).is_ok())
    }
}

/// Whoever keeps sandboxes ready and clears away. Dropping it ends when all is cleared away.
#[derive(Debug)]
pub(crate) struct Keeper {
    place: Arc<Place>,
    /// How many were asked for.
    taken: AtomicUsize,
    chores: Option<SyncSender<Chore>>,
    thread: Option<JoinHandle<()>>,
}

/// What is done behind the back of others.
enum Chore {
    /// Making sandboxes ready for what comes next, which may use as much as what came before.
    Restock(Limits),
    /// Clearing away one that is done.
    Sweep(Sandbox),
}

/// Where sandboxes wait that are ready, the oldest first.
#[derive(Debug)]
struct Place {
    store: Arc<LocalStore>,
    beginning: Beginning,
    ready: Mutex<VecDeque<Sandbox>>,
    is_closing: AtomicBool,
}

impl Keeper {
    /// Returns the keeper of sandboxes that begin like this. Control groups that a killed `bld` left are removed.
    pub(crate) fn new(store: Arc<LocalStore>, beginning: Beginning) -> Self {
        cgroup::sweep();
        let (ready, is_closing) = (Mutex::default(), AtomicBool::new(false));
        let place = Arc::new(Place { store, beginning, ready, is_closing });
        let (sender, chores) = sync_channel(CHORES_MAX);
        let thread = std::thread::spawn({
            let place = Arc::clone(&place);
            move || place.work(&chores)
        });
        Self { place, taken: AtomicUsize::new(0), chores: Some(sender), thread: Some(thread) }
    }

    /// Returns a sandbox: the one that is ready, or a new one.
    pub(crate) fn take(self: &Arc<Self>, limits: &Limits) -> Result<Taken, ExecuteError> {
        self.taken.fetch_add(1, Ordering::Relaxed);
        let ready = self.place.ready.lock().expect("no holder panics").pop_front();
        let sandbox = match ready.and_then(|mut sandbox| sandbox.suits(limits).then_some(sandbox)) {
            Some(sandbox) => sandbox,
            None => Sandbox::start(&self.place.store, &self.place.beginning, limits)?,
        };
        Ok(Taken { sandbox: Some(sandbox), keeper: Arc::clone(self) })
    }

    /// Sees to it that soon others are ready, for actions with these limits. Not after the first action: most builds
    /// that people wait for run one, and would have to clear away what nobody uses.
    pub(crate) fn restock(&self, limits: Limits) {
        if self.taken.load(Ordering::Relaxed) < 2 {
            return;
        }
        // Who has so much to do already is not in want of a sandbox that is ready.
        let _ = self.chores().try_send(Chore::Restock(limits));
    }

    fn sweep(&self, sandbox: Sandbox) {
        if let Err(TrySendError::Full(chore) | TrySendError::Disconnected(chore)) =
            self.chores().try_send(Chore::Sweep(sandbox))
        {
            drop(chore);
        }
    }

    fn chores(&self) -> &SyncSender<Chore> {
        self.chores.as_ref().expect("it is taken when the keeper is dropped")
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.place.is_closing.store(true, Ordering::Relaxed);
        drop(self.chores.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the keeper's thread does not panic");
        }
    }
}

impl Place {
    fn work(&self, chores: &Receiver<Chore>) {
        for chore in chores {
            match chore {
                Chore::Restock(limits) => self.restock(&limits),
                Chore::Sweep(sandbox) => drop(sandbox),
            }
        }
        self.ready.lock().expect("no holder panics").clear();
    }

    /// Starts those that are lacking. That it fails matters only to whoever then needs one.
    fn restock(&self, limits: &Limits) {
        let lacks = || self.ready.lock().expect("no holder panics").len() < READY;
        while lacks() && !self.is_closing.load(Ordering::Relaxed) {
            let Ok(next) = Sandbox::start(&self.store, &self.beginning, limits) else { return };
            self.ready.lock().expect("no holder panics").push_back(next);
        }
    }
}

/// A sandbox in use; the keeper clears it away when it is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    sandbox: Option<Sandbox>,
    keeper: Arc<Keeper>,
}

impl Taken {
    /// Returns the sandbox.
    pub(crate) fn sandbox(&mut self) -> &mut Sandbox {
        self.sandbox.as_mut().expect("it is given back when this is dropped")
    }

    /// Waits until all that ran in it is gone, and returns what came of it. Meanwhile or then others are made ready.
    pub(crate) fn hear(&mut self, limits: Limits) -> Result<Outcome, ExecuteError> {
        if !self.sandbox().answers_within(QUIET) {
            self.keeper.restock(limits);
        }
        self.sandbox().hear()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(sandbox) = self.sandbox.take() {
            self.keeper.sweep(sandbox);
        }
    }
}
