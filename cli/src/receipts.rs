//! Where receipts are kept, and what a workspace looks like beside the one of its last build.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine::{Changes, Front, Packed, Part, Pattern, Receipt};
use model::{Digest, DigestFunction};

use crate::error::CliError;
use crate::planned::SelectArgs;
use crate::replace::replace;
use crate::settings::Settings;
use crate::terminal::tell;
use crate::workspace::OpenWorkspace;

/// How many receipts of one workspace are kept: what somebody builds in turn on one day.
const RECEIPTS_MAX: usize = 8;

/// How large a receipt may be: that of 10,000 targets has eight megabytes.
const BYTES_MAX: usize = 1 << 30;

/// How long a receipt answers: what it answers for is not seen to be used, and would look forgotten to the collector.
const AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Where the receipt of one kind of build is.
pub(crate) struct Receipts {
    path: PathBuf,
    store: PathBuf,
}

/// A receipt, and how the workspace differs from it.
pub(crate) struct Looked {
    pub(crate) receipt: Receipt,
    pub(crate) changes: Changes,
}

impl Receipts {
    /// Returns where the receipt of building these patterns with these settings by this `bld` is.
    pub(crate) fn of(
        settings: &Settings,
        workspace: &OpenWorkspace,
        patterns: &[Pattern],
        select: &SelectArgs,
    ) -> Result<Self, CliError> {
        let patterns = patterns.iter().map(|it| format!("{}{}", it.targets, it.cells));
        let patterns: BTreeSet<String> = patterns.collect();
        let function = workspace.config.function.name();
        let key = format!("{patterns:?} {:?} {function} {}", select.settings, this_program());
        let store = settings.store()?;
        let path = folder(store, workspace).join(short(&key));
        Ok(Self { path, store: store.to_owned() })
    }

    /// Returns the receipt, and how the workspace differs from it; `None` if there is none that answers. The
    /// workspace's files know from then on what the receipt says of them.
    pub(crate) fn look(&self, workspace: &OpenWorkspace) -> Option<Looked> {
        let receipt = self.open(workspace)?;
        let ended = UNIX_EPOCH + Duration::from_secs(receipt.front().ended);
        let is_young = SystemTime::now().duration_since(ended).is_ok_and(|age| age < AGE_MAX);
        // Somewhere a result was replaced: what was made from the old one may have to be made again.
        let is_current = receipt.front().rewrites == store::rewrites(&self.store);
        let looked =
            (is_young && is_current).then(|| receipt.snapshot().look(&workspace.files, threads()));
        Some(Looked { changes: looked??, receipt })
    }

    /// Returns the receipt, if there is one. The workspace's files know from then on what it says of them.
    pub(crate) fn open(&self, workspace: &OpenWorkspace) -> Option<Receipt> {
        let receipt = File::open(&self.path).ok().and_then(Receipt::open)?;
        workspace.files.know(Arc::clone(receipt.snapshot()));
        Some(receipt)
    }

    /// Keeps a receipt for the next build of this kind. That it cannot be kept makes no build fail.
    pub(crate) fn keep(&self, receipt: &[u8]) {
        if receipt.len() <= BYTES_MAX
            && let Err(error) = self.try_to_keep(receipt)
        {
            tell(&format!("warning: the next build has to look at everything: {error}"));
        }
    }

    fn try_to_keep(&self, receipt: &[u8]) -> Result<(), CliError> {
        let folder = self.path.parent().expect("it lies in a folder");
        fs::create_dir_all(folder).map_err(CliError::disk("create", folder))?;
        replace(&self.path, receipt)?;
        let all = folder.parent().expect("one for each workspace");
        for workspace in entries(all).map_err(CliError::disk("list", all))? {
            // Somebody else may be at the same.
            let _ = prune(&workspace);
        }
        Ok(())
    }
}

/// Returns where the receipts of a workspace are, in the store at `root`.
pub(crate) fn folder(root: &Path, workspace: &OpenWorkspace) -> PathBuf {
    root.join("receipts").join(short(&workspace.root.to_string_lossy()))
}

/// Removes all receipts of a workspace.
pub(crate) fn forget(folder: &Path) -> Result<(), CliError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(CliError::disk("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

/// Removes the receipts of a workspace that answer no more, all but the newest of the others, and the folder if it is
/// empty then: workspaces come and go.
fn prune(folder: &Path) -> io::Result<()> {
    let mut kept = Vec::new();
    for path in entries(folder)? {
        let written = path.metadata()?.modified()?;
        if written.elapsed().is_ok_and(|age| age > AGE_MAX) {
            fs::remove_file(path)?;
        } else {
            kept.push((written, path));
        }
    }
    kept.sort();
    for (_, path) in kept.iter().rev().skip(RECEIPTS_MAX) {
        fs::remove_file(path)?;
    }
    if kept.is_empty() {
        fs::remove_dir(folder)?;
    }
    Ok(())
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

impl Looked {
    /// Returns whether everything is as the build left it, and nothing had failed.
    pub(crate) fn is_done(&self) -> bool {
        self.changes.is_none() && self.receipt.front().is_complete
    }

    /// Returns what a build says of itself that took over results: they are as old, cost as much, and were looked up at
    /// the same time, as they were.
    pub(crate) fn renew(&self, front: Front) -> Front {
        let before = self.receipt.front();
        Front { ended: before.ended, cpu: before.cpu, rewrites: before.rewrites, ..front }
    }

    /// Returns what was seen of the workspace by now, and before of what nobody had to look at again; `None` if the
    /// receipt is damaged.
    pub(crate) fn seen(&self, workspace: &OpenWorkspace) -> Option<Packed> {
        self.receipt.snapshot().renewed(&self.changes, &workspace.files.snapshot())
    }

    /// Returns what has to be worked on again, if the rest still stands.
    pub(crate) fn part(&self) -> Option<Part> {
        self.receipt.part(&self.changes)
    }
}

/// Returns how many threads look at files at once.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Returns what tells this program from another, or from the same compiled anew.
fn this_program() -> String {
    let metadata = fs::metadata("/proc/self/exe");
    let identity = metadata.map(|it| {
        (it.dev(), it.ino(), it.size(), it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec())
    });
    format!("{} {identity:?}", env!("CARGO_PKG_VERSION"))
}

fn short(text: &str) -> String {
    Digest::of(DigestFunction::Blake3, text.as_bytes()).short()
}
