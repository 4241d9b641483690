//! Ctrl-C and SIGTERM: a build that runs is brought to an end, anything else just stops.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::error::CliError;
use crate::exit;
use crate::progress::Display;
use crate::terminal;

/// Waits for signals, in a thread of its own: the others may be busy for long.
#[derive(Default)]
pub(crate) struct Interrupts {
    /// Whether somebody listens who will end in an orderly way.
    awaited: AtomicBool,
    came: Notify,
    /// What is drawn, to be wiped before anything is said.
    display: Mutex<Weak<Display>>,
}

impl Interrupts {
    /// From now on it is this that is drawn.
    pub(crate) fn show_on(&self, display: &Arc<Display>) {
        *self.display.lock().expect("no holder panics") = Arc::downgrade(display);
    }

    /// Begins to wait for signals. Until [`Interrupts::stop`] listens, the first one ends this process at once:
    /// what is downloaded or unpacked goes on from there the next time.
    pub(crate) fn watch(json: bool) -> Result<Arc<Self>, CliError> {
        let failed = || CliError::disk("wait for", Path::new("signals"));
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed())?;
        let (mut interrupt, mut terminate) = {
            let _entered = runtime.enter();
            (
                signal(SignalKind::interrupt()).map_err(failed())?,
                signal(SignalKind::terminate()).map_err(failed())?,
            )
        };
        let interrupts = Arc::new(Self::default());
        let watching = Arc::clone(&interrupts);
        std::thread::spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                    }
                    if watching.awaited.swap(false, Ordering::SeqCst) {
                        watching.came.notify_one();
                    } else {
                        let display = watching.display.lock().expect("no holder panics").upgrade();
                        if let Some(display) = display {
                            display.finish();
                        }
                        terminal::report(&CliError::Interrupted, json);
                        std::process::exit(i32::from(exit::INTERRUPTED));
                    }
                }
            });
        });
        Ok(interrupts)
    }

    /// Returns `work`'s result, or nothing if a signal came first: `work` is dropped then.
    pub(crate) async fn stop<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.awaited.store(true, Ordering::SeqCst);
        let worked = tokio::select! {
            worked = work => Some(worked),
            () = self.came.notified() => None,
        };
        self.awaited.store(false, Ordering::SeqCst);
        worked
    }
}
