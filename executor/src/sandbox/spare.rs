//! One sandbox that waits: started, with its namespaces made, before anybody has something for it to run.
//!
//! Starting a program and making namespaces are most of what a small action costs, and need to know nothing of it.
//! A spare is used once, like every sandbox; dropping it closes its pipe, and so ends it.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use super::ARGUMENT;
use super::spec::Beginning;
use crate::ExecuteError;

/// The place where a sandbox waits.
#[derive(Debug)]
pub(crate) struct Spare {
    beginning: Beginning,
    waiting: Mutex<Option<Waiting>>,
}

impl Spare {
    /// Returns the place for sandboxes that begin like this, still empty.
    pub(crate) fn new(beginning: Beginning) -> Self {
        Self { beginning, waiting: Mutex::default() }
    }

    /// Returns the first process of a sandbox: the one that waits, or a new one.
    pub(crate) fn take(&self) -> Result<Child, ExecuteError> {
        let waiting = self.waiting.lock().expect("no holder panics").take();
        match waiting.and_then(Waiting::alive) {
            Some(child) => Ok(child),
            None => start(self.beginning),
        }
    }

    /// Starts the next one, unless one waits. That it fails matters only to whoever then needs one.
    pub(crate) fn restock(&self) {
        let mut waiting = self.waiting.lock().expect("no holder panics");
        if waiting.is_none() {
            *waiting = start(self.beginning).ok().map(|child| Waiting(Some(child)));
        }
    }
}

/// A first process that nobody has used yet; it is waited for when it is dropped.
#[derive(Debug)]
struct Waiting(Option<Child>);

impl Waiting {
    /// Returns the process, unless it ended while nobody looked: then a new one says why, or works.
    fn alive(mut self) -> Option<Child> {
        let mut child = self.0.take().expect("it is taken once");
        matches!(child.try_wait(), Ok(None)).then_some(child)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // Waiting closes its standard input first, which is what ends it.
            let _ = child.wait();
        }
    }
}

/// Starts the first process of a sandbox; it makes the namespaces and waits to be told what to run.
pub(crate) fn start(beginning: Beginning) -> Result<Child, ExecuteError> {
    let beginning = serde_json::to_string(&beginning).expect("it has only numbers and words");
    Command::new("/proc/self/exe")
        .arg0("bld-sandbox")
        .args([ARGUMENT, &beginning])
        .env_clear()
        // Ctrl-C on the terminal is for bld, which then ends its sandboxes.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|source| ExecuteError::Sandbox { step: "starting bld again".to_owned(), source })
}
