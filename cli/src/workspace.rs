//! The workspace that a command works in.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use engine::{CONFIG_FILE, Config, DiskFiles, Files as _, LockRequest, Pattern, Workspace};
use model::RelativePath;
use rustix::fs::{FlockOperation, flock};

use crate::error::CliError;
use crate::rules;
use crate::settings::Settings;

/// The file that pins the outside world.
const LOCK_FILE: &str = "bld.lock";

/// Returns what targets ask to be locked as `fetch` means it.
pub(crate) fn requests(asked: Vec<LockRequest>) -> Result<Vec<fetch::Request>, CliError> {
    let parse = |LockRequest { label, wants }: LockRequest| match serde_json::from_value(wants) {
        Ok(wants) => Ok(fetch::Request { label, wants }),
        Err(source) => Err(CliError::Request { label, source }),
    };
    asked.into_iter().map(parse).collect()
}

/// A workspace on disk.
pub(crate) struct OpenWorkspace {
    /// Its root: absolute.
    pub(crate) root: PathBuf,
    /// Where in it the command works.
    pub(crate) here: RelativePath,
    /// Its `bld.toml`.
    pub(crate) config: Config,
    /// Its files.
    pub(crate) files: DiskFiles,
    rules: BTreeMap<String, String>,
}

impl OpenWorkspace {
    /// Finds the workspace that the settings' directory lies in.
    pub(crate) fn find(settings: &Settings) -> Result<Self, CliError> {
        Self::around(&settings.directory)
    }

    /// Finds the workspace that a folder lies in: an absolute path.
    pub(crate) fn around(directory: &Path) -> Result<Self, CliError> {
        let root = directory.ancestors().find(|folder| folder.join(CONFIG_FILE).is_file());
        let root = root.ok_or_else(|| CliError::NoWorkspace(directory.to_owned()))?;
        let here = directory.strip_prefix(root).unwrap_or(Path::new(""));
        let here = RelativePath::new(here.to_string_lossy())
            .map_err(|_source| CliError::NoWorkspace(directory.to_owned()))?;
        let files = DiskFiles::looked_at(root.to_owned(), SystemTime::now());
        let name = RelativePath::new(CONFIG_FILE).expect("a constant");
        let config = Config::parse(&files.read(&name)?.unwrap_or_default())?;
        let files = files.named_by(config.function);
        Ok(Self { root: root.to_owned(), here, config, files, rules: rules::embedded() })
    }

    /// Returns the workspace as the engine sees it.
    pub(crate) fn engine(&self) -> Workspace<'_> {
        Workspace {
            files: &self.files,
            rules: &self.rules,
            rules_folder: self.config.rules.as_ref(),
        }
    }

    /// Parses patterns as they are meant from where the command works.
    pub(crate) fn patterns(&self, texts: &[String]) -> Result<Vec<Pattern>, CliError> {
        let parse = |text: &String| Pattern::parse(text, &self.here).map_err(CliError::from);
        texts.iter().map(parse).collect()
    }

    /// Returns what the whole workspace asks to be locked.
    pub(crate) fn requests(&self) -> Result<Vec<fetch::Request>, CliError> {
        requests(self.engine().lock_requests()?)
    }

    /// Returns where the lock is.
    pub(crate) fn lock_path(&self) -> PathBuf {
        self.root.join(LOCK_FILE)
    }

    /// Returns the text of the lock, if there is one.
    pub(crate) fn lock_text(&self) -> Result<Option<String>, CliError> {
        Ok(self.files.read(&RelativePath::new(LOCK_FILE).expect("a constant"))?)
    }

    /// Waits until no other `bld` does the same thing in this workspace; nobody else does until the file is closed.
    pub(crate) fn alone(&self, purpose: &str) -> Result<File, CliError> {
        let folder = self.notes();
        fs::create_dir_all(&folder).map_err(CliError::disk("create", &folder))?;
        let path = folder.join(purpose);
        loop {
            let file = File::create(&path).map_err(CliError::disk("create", &path))?;
            flock(&file, FlockOperation::LockExclusive)
                .map_err(|error| CliError::disk("lock", &path)(error.into()))?;
            // Who cleans up takes the file away, with whoever waits for it: then it is another's turn, too.
            let held = file.metadata().map_err(CliError::disk("read", &path))?;
            let is_there =
                |found: fs::Metadata| (found.dev(), found.ino()) == (held.dev(), held.ino());
            if path.metadata().is_ok_and(is_there) {
                return Ok(file);
            }
            fs::create_dir_all(&folder).map_err(CliError::disk("create", &folder))?;
        }
    }

    /// Returns where it is noted what is under `bld-out` and who is at it.
    pub(crate) fn notes(&self) -> PathBuf {
        self.output().join(engine::NOTES_FOLDER)
    }

    /// Returns where results appear.
    pub(crate) fn output(&self) -> PathBuf {
        self.root.join(engine::OUTPUT_FOLDER)
    }
}
