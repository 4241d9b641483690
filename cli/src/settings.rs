//! What was typed and what the environment says, as what it means.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use model::DigestFunction;
use store::LocalStore;

use crate::args::Args;
use crate::choices::Choices;
use crate::error::CliError;
use crate::interrupt::Interrupts;
use crate::progress::Display;
use crate::size::ByteSize;
use crate::terminal::{self, Colour};

/// What every command needs to know.
pub(crate) struct Settings {
    /// Where to work: absolute.
    pub(crate) directory: PathBuf,
    /// Whether answers are JSON.
    pub(crate) json: bool,
    /// Where the store is, if that can be told.
    store: Option<PathBuf>,
    /// How large it may be after a build, in bytes.
    pub(crate) store_budget: u64,
    /// How many actions run at once, unless the command says otherwise.
    pub(crate) jobs: usize,
    /// Who said all this.
    pub(crate) choices: Choices,
    /// Who waits for signals, once somebody does: one for all that a command does.
    interrupts: OnceLock<Arc<Interrupts>>,
}

impl Settings {
    pub(crate) fn from_args(args: &Args) -> Result<Self, CliError> {
        let directory = args.directory.as_deref().unwrap_or(Path::new("."));
        let directory = directory
            .canonicalize()
            .map_err(|source| CliError::Directory { path: directory.to_owned(), source })?;
        if !directory.is_dir() {
            let source = std::io::ErrorKind::NotADirectory.into();
            return Err(CliError::Directory { path: directory, source });
        }
        let choices = Choices::collect(args)?;
        terminal::choose_colour(match choices.value("colour") {
            Some("always") => Colour::Always,
            Some("never") => Colour::Never,
            _ => Colour::Auto,
        });
        let absolute =
            |path: &str| std::path::absolute(path).map_err(CliError::disk("find", Path::new(path)));
        let store = choices.value("store").map(absolute).transpose()?;
        let budget = choices.value("store_budget").and_then(|text| text.parse().ok());
        let ByteSize(store_budget) = budget.expect("it has a default, and was checked");
        let jobs = choices.value("jobs").and_then(|text| text.parse().ok());
        Ok(Self {
            directory,
            json: args.json,
            store,
            store_budget,
            jobs: jobs.expect("it has a default, and was checked"),
            choices,
            interrupts: OnceLock::new(),
        })
    }

    /// Returns who waits for signals, and has what is drawn wiped when one comes.
    pub(crate) fn interrupts(&self, display: &Arc<Display>) -> Result<Arc<Interrupts>, CliError> {
        let interrupts = if let Some(interrupts) = self.interrupts.get() {
            Arc::clone(interrupts)
        } else {
            let interrupts = Interrupts::watch(self.json)?;
            Arc::clone(self.interrupts.get_or_init(|| interrupts))
        };
        interrupts.show_on(display);
        Ok(interrupts)
    }

    /// Returns where the store is. Not every command needs one, and not every machine has a place for it.
    pub(crate) fn store(&self) -> Result<&Path, CliError> {
        self.store.as_deref().ok_or(CliError::NoStore)
    }

    /// Opens the store.
    pub(crate) fn open_store(&self, function: DigestFunction) -> Result<Arc<LocalStore>, CliError> {
        Ok(Arc::new(LocalStore::open(self.store()?, function)?))
    }
}
