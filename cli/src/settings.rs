//! What was typed and what the environment says, as what it means.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use model::DigestFunction;
use store::LocalStore;

use crate::args::Args;
use crate::error::CliError;
use crate::interrupt::Interrupts;
use crate::progress::Display;

/// What every command needs to know.
pub(crate) struct Settings {
    /// Where to work: absolute.
    pub(crate) directory: PathBuf,
    /// Whether answers are JSON.
    pub(crate) json: bool,
    /// Where the store is.
    pub(crate) store: PathBuf,
    /// How large it may be after a build, in bytes.
    pub(crate) store_budget: u64,
    /// Who waits for signals, once somebody does: one for all that a command does.
    interrupts: OnceLock<Arc<Interrupts>>,
}

impl Settings {
    pub(crate) fn from_args(args: &Args) -> Result<Self, CliError> {
        let directory = args.directory.as_deref().unwrap_or(Path::new("."));
        let directory = directory
            .canonicalize()
            .map_err(|source| CliError::Directory { path: directory.to_owned(), source })?;
        let variable = |name| std::env::var_os(name).map(PathBuf::from);
        let store = match &args.store {
            Some(store) => std::path::absolute(store).map_err(CliError::disk("find", store))?,
            None => store::default_root(variable("XDG_CACHE_HOME"), variable("HOME"))
                .ok_or(CliError::NoStore)?,
        };
        let store_budget = args.store_budget.0;
        Ok(Self { directory, json: args.json, store, store_budget, interrupts: OnceLock::new() })
    }

    /// Returns what is needed to look at a workspace, and nothing more.
    pub(crate) fn for_reading(directory: &Path) -> Result<Self, CliError> {
        let directory = directory
            .canonicalize()
            .map_err(|source| CliError::Directory { path: directory.to_owned(), source })?;
        Ok(Self {
            directory,
            json: false,
            store: PathBuf::new(),
            store_budget: 0,
            interrupts: OnceLock::new(),
        })
    }

    /// Returns who waits for signals, and has what is drawn wiped when one comes.
    pub(crate) fn interrupts(&self, display: &Arc<Display>) -> Result<Arc<Interrupts>, CliError> {
        let interrupts = match self.interrupts.get() {
            Some(interrupts) => Arc::clone(interrupts),
            None => {
                let interrupts = Interrupts::watch(self.json)?;
                Arc::clone(self.interrupts.get_or_init(|| interrupts))
            }
        };
        interrupts.show_on(display);
        Ok(interrupts)
    }

    /// Opens the store.
    pub(crate) fn open_store(&self, function: DigestFunction) -> Result<Arc<LocalStore>, CliError> {
        Ok(Arc::new(LocalStore::open(&self.store, function)?))
    }
}
