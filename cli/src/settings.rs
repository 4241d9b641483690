//! What was typed and what the environment says, as what it means.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::DigestFunction;
use store::LocalStore;

use crate::args::Args;
use crate::error::CliError;

/// What every command needs to know.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Where to work: absolute.
    pub(crate) directory: PathBuf,
    /// Whether answers are JSON.
    pub(crate) json: bool,
    /// Where the store is.
    pub(crate) store: PathBuf,
    /// How large it may be after a build, in bytes.
    pub(crate) store_budget: u64,
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
        Ok(Self { directory, json: args.json, store, store_budget })
    }

    /// Returns what is needed to look at a workspace, and nothing more.
    pub(crate) fn for_reading(directory: &Path) -> Result<Self, CliError> {
        let directory = directory
            .canonicalize()
            .map_err(|source| CliError::Directory { path: directory.to_owned(), source })?;
        Ok(Self { directory, json: false, store: PathBuf::new(), store_budget: 0 })
    }

    /// Opens the store.
    pub(crate) fn open_store(&self, function: DigestFunction) -> Result<Arc<LocalStore>, CliError> {
        Ok(Arc::new(LocalStore::open(&self.store, function)?))
    }
}
