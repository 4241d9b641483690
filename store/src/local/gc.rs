//! Garbage: what no running build needs and the byte budget has no room for.
//!
//! The collector decides what to *keep*, in order of worth: what live leases pin, the messages that explain the latest
//! keys, locked trees of known workspaces, results by last use, trees by last use, other blobs by last use. Then it holds back new pins, reads the leases again,
//! because somebody may have pinned meanwhile, and renames whatever is left over into `trash/`. Nothing that somebody
//! pinned and found there ever goes, not even for a moment. Deleting comes last, when nobody waits.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use model::{ActionDigest, ActionResult, Digest, DigestFunction, Node, TreeDigest};
use rustix::fs::FlockOperation;

use super::actions::{Remembered, parse_entry};
use super::blobs::{read_quietly, rename_new};
use super::lease::{Leases, hold_pins};
use super::lock::{lock_file, open_lock};
use super::trees::Mark;
use super::{LocalStore, remove_tree};
use crate::StoreError;

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Bytes on disk before.
    pub bytes_before: u64,
    /// Bytes on disk after.
    pub bytes_after: u64,
    /// How many blobs went.
    pub blobs_removed: u64,
    /// How many trees went.
    pub trees_removed: u64,
    /// How many results went.
    pub results_removed: u64,
}

/// A blob's name without its size, which file names do not say.
pub(super) type BlobName = (DigestFunction, String);

/// Where a result stands.
pub(super) type ResultKey = (Remembered, BlobName);

/// A blob or a tree on disk.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) paths: Vec<PathBuf>,
    pub(super) bytes: u64,
    pub(super) physical: u64,
    pub(super) used: i64,
}

/// A result on disk.
#[derive(Debug)]
pub(super) struct FoundResult {
    pub(super) path: PathBuf,
    pub(super) physical: u64,
    pub(super) used: i64,
    pub(super) result: Option<ActionResult>,
}

/// Everything on disk at one moment.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) blobs: HashMap<BlobName, Found>,
    pub(super) trees: HashMap<BlobName, Found>,
    pub(super) results: HashMap<ResultKey, FoundResult>,
}

impl Survey {
    pub(super) fn physical(&self) -> u64 {
        let found = self.blobs.values().chain(self.trees.values()).map(|found| found.physical);
        found.sum::<u64>() + self.results.values().map(|found| found.physical).sum::<u64>()
    }
}

impl LocalStore {
    /// Brings the store down to `budget` bytes, but keeps whatever a live process pinned.
    /// Waits for a collection that another process has begun.
    pub fn collect(&self, budget: u64) -> Result<Collected, StoreError> {
        self.collect_but(budget, &Vec::new)
    }

    /// Like [`LocalStore::collect`], but keeps the messages of some actions before anything else that may go: of those
    /// that `explained` returns, in that order, up to a share of the budget. So a later build can say in what its keys
    /// differ from theirs.
    pub fn collect_but(
        &self,
        budget: u64,
        explained: &dyn Fn() -> Vec<ActionDigest>,
    ) -> Result<Collected, StoreError> {
        let path = self.root.join("gc.lock");
        let lock = open_lock(&path)?;
        lock_file(&lock, FlockOperation::LockExclusive, &path)?;

        self.put_back_all()?;
        self.sweep_temporaries()?;
        let mark = self.mark_usage()?;
        let survey = self.survey()?;
        let bytes_before = survey.physical();
        let mut collected = Collected { bytes_before, ..Collected::default() };
        collected.bytes_after = bytes_before;
        if bytes_before <= budget {
            self.set_usage(mark, bytes_before)?;
            return Ok(collected);
        }

        let leases = Leases::read(&self.root, &self.lease)?;
        let mut keep = Keep::decide(self, &survey, &leases, budget, &explained())?;
        let trash = self.root.join("trash").join(self.lease.id());
        let pins = hold_pins(&self.root)?;
        keep.pinned(self, &survey, &Leases::read(&self.root, &self.lease)?);
        self.throw_away_all(&survey, &keep, &trash, &mut collected)?;
        drop(pins);

        self.set_usage(mark, collected.bytes_after)?;
        let doomed = self.doom(&trash)?;
        drop(lock);
        remove_tree(&doomed).map_err(StoreError::disk("remove", &doomed))?;
        Ok(collected)
    }

    /// Remembers the locked trees of a workspace: the last that a collector takes.
    pub fn set_roots(&self, workspace: &Path, trees: &[TreeDigest]) -> Result<(), StoreError> {
        let name = workspace.to_string_lossy();
        let name = Digest::of(DigestFunction::Blake3, name.as_bytes()).short();
        let line = |tree: &TreeDigest| format!("{}:{}\n", tree.0.function(), tree.0);
        let text: String = trees.iter().map(line).collect();
        let path = self.folder("roots")?.join(name);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            return Ok(());
        }
        let beside = self.temporary_path();
        fs::write(&beside, text).map_err(StoreError::disk("write", &beside))?;
        fs::rename(&beside, &path).map_err(StoreError::disk("rename", &path))
    }

    /// Forgets the locked trees of all workspaces.
    pub fn set_no_roots(&self) -> Result<(), StoreError> {
        for path in list(&self.folder("roots")?)? {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StoreError::disk("remove", &path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn roots(&self) -> Result<Vec<TreeDigest>, StoreError> {
        let folder = self.folder("roots")?;
        let mut roots = Vec::new();
        for path in list(&folder)? {
            let text = match fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(StoreError::disk("read", &path)(error)),
            };
            roots.extend(text.lines().filter_map(|line| {
                let (function, digest) = line.split_once(':')?;
                let function = DigestFunction::from_str(function).ok()?;
                Digest::parse(function, digest).ok().map(TreeDigest)
            }));
        }
        Ok(roots)
    }

    pub(super) fn survey(&self) -> Result<Survey, StoreError> {
        let mut survey = Survey::default();
        for function in [DigestFunction::Blake3, DigestFunction::Sha256] {
            for folder in list(&self.root.join("blobs").join(function.name()))? {
                for path in list(&folder)? {
                    survey_blob(&mut survey, function, path);
                }
            }
            for path in list(&self.root.join("trees").join(function.name()))? {
                self.survey_tree(&mut survey, function, path);
            }
            for table in [Remembered::Success, Remembered::Failure] {
                for folder in list(&self.root.join(table.folder()).join(function.name()))? {
                    for path in list(&folder)? {
                        survey_result(&mut survey, table, function, path);
                    }
                }
            }
        }
        Ok(survey)
    }

    fn survey_tree(&self, survey: &mut Survey, function: DigestFunction, path: PathBuf) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return };
        if name.contains('.') {
            return;
        }
        let Ok(digest) = Digest::from_hex(function, name, 0) else { return };
        let mark = self.mark_path(TreeDigest(digest));
        let marked = fs::metadata(&mark);
        let used = marked.as_ref().map_or(0, used_at);
        let mark_bytes = marked.map_or(0, |metadata| metadata.blocks() * 512);
        let physical = Mark::read(&mark).map_or(0, |mark| mark.own_bytes) + mark_bytes;
        let name = (function, name.to_owned());
        let found = Found { paths: vec![path, mark], bytes: 0, physical, used };
        survey.trees.insert(name, found);
    }

    /// Removes what processes that ended left in `tmp/`.
    fn sweep_temporaries(&self) -> Result<(), StoreError> {
        let paths = list(&self.root.join("tmp"))?;
        // Read afterwards: whoever left something in the list had a lease by then.
        let leases = Leases::read(&self.root, &self.lease)?;
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let owner = name.rsplit_once('-').map_or("", |(owner, _)| owner);
            if !leases.live.contains(owner) {
                // A sandbox that dies with its owner may still write here; the next collection sees the rest.
                let _ = if path.is_dir() { remove_tree(&path) } else { fs::remove_file(&path) };
            }
        }
        Ok(())
    }

    /// Throws away whatever is not kept: results first, because one whose blobs are gone is an empty promise,
    /// then trees, because one whose listing is gone cannot be checked.
    fn throw_away_all(
        &self,
        survey: &Survey,
        keep: &Keep,
        trash: &Path,
        collected: &mut Collected,
    ) -> Result<(), StoreError> {
        for (key, found) in survey.results.iter().filter(|(key, _)| !keep.results.contains(*key)) {
            self.throw_away(&self.entry_path(key.0, action(&key.1)), trash)?;
            collected.results_removed += 1;
            collected.bytes_after -= found.physical;
        }
        for (_, found) in survey.trees.iter().filter(|(name, _)| !keep.trees.contains(*name)) {
            for path in &found.paths {
                self.throw_away(path, trash)?;
            }
            collected.trees_removed += 1;
            collected.bytes_after -= found.physical;
        }
        for (_, found) in survey.blobs.iter().filter(|(name, _)| !keep.blobs.contains(*name)) {
            for path in &found.paths {
                self.throw_away(path, trash)?;
            }
            collected.blobs_removed += 1;
            collected.bytes_after -= found.physical;
        }
        Ok(())
    }

    fn throw_away(&self, path: &Path, trash: &Path) -> Result<(), StoreError> {
        let relative = path.strip_prefix(&self.root).expect("what is surveyed lies in the store");
        let to = trash.join(relative);
        let folder = to.parent().expect("a file lies in a folder");
        fs::create_dir_all(folder).map_err(StoreError::disk("create", folder))?;
        match fs::rename(path, &to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::disk("throw away", path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Puts everything in `trash/` back: also what a collector that was killed had thrown away.
    fn put_back_all(&self) -> Result<(), StoreError> {
        for trash in list(&self.root.join("trash"))? {
            for table in ["blobs", "actions", "failures"] {
                for function in list(&trash.join(table))? {
                    for file in list(&function)?.iter().map(|folder| list(folder)) {
                        for path in file? {
                            self.put_back_from(&path, &trash)?;
                        }
                    }
                }
            }
            for function in list(&trash.join("trees"))? {
                for path in list(&function)? {
                    self.put_back_from(&path, &trash)?;
                }
            }
            let doomed = self.doom(&trash)?;
            remove_tree(&doomed).map_err(StoreError::disk("remove", &doomed))?;
        }
        Ok(())
    }

    /// Takes a folder out of `trash/`, so that it can be deleted. One rename settles it: whatever is in the trash
    /// when a collector is killed is whole and comes back, and what has begun to be deleted does not.
    fn doom(&self, trash: &Path) -> Result<PathBuf, StoreError> {
        let doomed = self.temporary_path();
        match fs::rename(trash, &doomed) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::disk("empty", trash)(error))
            }
            _ => Ok(doomed),
        }
    }

    fn put_back_from(&self, path: &Path, trash: &Path) -> Result<(), StoreError> {
        let relative = path.strip_prefix(trash).expect("it lies in the trash");
        put_back(path, &self.root.join(relative))
    }
}

/// What stays.
#[derive(Default)]
pub(super) struct Keep {
    blobs: HashSet<BlobName>,
    /// Directories of which all that is below stays; one kept as a mere blob is not among them.
    closures: HashSet<BlobName>,
    trees: HashSet<BlobName>,
    results: HashSet<ResultKey>,
    pub(super) bytes: u64,
}

/// What stays if something else does, and is not kept yet.
#[derive(Default)]
struct Wanted {
    blobs: HashSet<BlobName>,
    closures: HashSet<BlobName>,
    bytes: u64,
    /// Whether every listing could be read.
    whole: bool,
}

impl Keep {
    fn decide(
        store: &LocalStore,
        survey: &Survey,
        leases: &Leases,
        budget: u64,
        explained: &[ActionDigest],
    ) -> Result<Self, StoreError> {
        let mut keep = Self::default();
        keep.pinned(store, survey, leases);
        keep.messages(store, survey, explained, budget);
        for root in store.roots()? {
            keep.closure(store, survey, root, budget);
        }
        let mut results: Vec<_> = survey.results.iter().collect();
        results.sort_by_key(|(key, found)| (Reverse(found.used), (*key).clone()));
        for (key, found) in results {
            if let Some(result) = &found.result {
                keep.result(store, survey, key, result, budget);
            }
        }
        for (name, found) in by_last_use(&survey.trees) {
            let wanted = keep.wanted(store, survey, tree(name));
            if wanted.whole && keep.fits(found.physical + wanted.bytes, budget) {
                keep.take(wanted);
                keep.tree(survey, name);
            }
        }
        for (name, found) in by_last_use(&survey.blobs) {
            if keep.fits(found.physical, budget) {
                keep.blob(survey, name);
            }
        }
        Ok(keep)
    }

    /// Keeps what is pinned, whatever it takes. Looks at the disk too: what came after the survey
    /// may lead to what the survey lists.
    fn pinned(&mut self, store: &LocalStore, survey: &Survey, leases: &Leases) {
        for pin in &leases.pins {
            let Some((kind, name)) = parse_pin(pin) else { continue };
            let table = [Remembered::Success, Remembered::Failure];
            match (kind, table.into_iter().find(|table| table.folder() == kind)) {
                ("blob", _) => self.blob(survey, &name),
                ("tree", _) => {
                    self.closure(store, survey, tree(&name), u64::MAX);
                    self.tree(survey, &name);
                }
                (_, Some(table)) => {
                    if let Some(result) = store.anybodys_entry(table, action(&name)) {
                        self.result(store, survey, &(table, name), &result, u64::MAX);
                    }
                }
                (_, None) => {}
            }
        }
    }

    /// Keeps a result, its files and logs and the listings of its trees, if there is room for them;
    /// then those of its trees that there is room for: their bytes can be had again from what made them.
    fn result(
        &mut self,
        store: &LocalStore,
        survey: &Survey,
        key: &ResultKey,
        result: &ActionResult,
        budget: u64,
    ) {
        let mut digests: Vec<_> = result.files.iter().map(|file| file.digest).collect();
        digests.extend(result.directories.iter().flat_map(|it| [it.tree, it.root.0]));
        digests.extend(result.stdout.into_iter().chain(result.stderr));
        let names: HashSet<_> = digests.into_iter().map(name_of).collect();
        let fresh = names.iter().filter(|name| !self.blobs.contains(*name));
        let blobs: u64 = fresh.map(|name| survey.blobs.get(name).map_or(0, |it| it.physical)).sum();
        let own = survey.results.get(key).map_or(0, |found| found.physical);
        let own = if self.results.contains(key) { 0 } else { own };
        if !self.fits(own + blobs, budget) {
            return;
        }
        self.bytes += own;
        self.results.insert(key.clone());
        for name in &names {
            self.blob(survey, name);
        }
        for directory in &result.directories {
            self.closure(store, survey, directory.root, budget);
        }
    }

    /// Keeps all that is below a tree, if there is room for it.
    fn closure(&mut self, store: &LocalStore, survey: &Survey, tree: TreeDigest, budget: u64) {
        let wanted = self.wanted(store, survey, tree);
        if self.fits(wanted.bytes, budget) {
            self.take(wanted);
        }
    }

    fn wanted(&self, store: &LocalStore, survey: &Survey, tree: TreeDigest) -> Wanted {
        let mut wanted = Wanted { whole: true, ..Wanted::default() };
        let mut pending = vec![tree];
        while let Some(tree) = pending.pop() {
            let name = name_of(tree.0);
            if self.closures.contains(&name) || wanted.closures.contains(&name) {
                continue;
            }
            self.want(survey, name.clone(), &mut wanted);
            let Some(directory) = store.directory_unpinned(tree) else {
                wanted.whole = false;
                continue;
            };
            wanted.closures.insert(name);
            for (_, node) in directory.children() {
                match node {
                    Node::Directory(child) => pending.push(*child),
                    Node::File { digest, .. } => {
                        self.want(survey, name_of(*digest), &mut wanted);
                    }
                    Node::Symlink(_) => {}
                }
            }
        }
        wanted
    }

    fn want(&self, survey: &Survey, name: BlobName, wanted: &mut Wanted) {
        if self.blobs.contains(&name) {
            return;
        }
        if let Some(found) = survey.blobs.get(&name)
            && wanted.blobs.insert(name)
        {
            wanted.bytes += found.physical;
        }
    }

    fn take(&mut self, wanted: Wanted) {
        self.bytes += wanted.bytes;
        self.blobs.extend(wanted.blobs);
        // One that could not be read to its end is looked at again the next time.
        if wanted.whole {
            self.closures.extend(wanted.closures);
        }
    }

    pub(super) fn fits(&self, bytes: u64, budget: u64) -> bool {
        self.bytes.saturating_add(bytes) <= budget
    }

    pub(super) fn blob(&mut self, survey: &Survey, name: &BlobName) {
        if let Some(found) = survey.blobs.get(name)
            && self.blobs.insert(name.clone())
        {
            self.bytes += found.physical;
        }
    }

    fn tree(&mut self, survey: &Survey, name: &BlobName) {
        if let Some(found) = survey.trees.get(name)
            && self.trees.insert(name.clone())
        {
            self.bytes += found.physical;
        }
    }
}

fn by_last_use(found: &HashMap<BlobName, Found>) -> Vec<(&BlobName, &Found)> {
    let mut sorted: Vec<_> = found.iter().collect();
    sorted.sort_by_key(|(name, found)| (Reverse(found.used), (*name).clone()));
    sorted
}

fn parse_pin(pin: &str) -> Option<(&str, BlobName)> {
    let (kind, rest) = pin.split_once(' ')?;
    let (function, hex) = rest.split_once(':')?;
    let function = DigestFunction::from_str(function).ok()?;
    // A line that is being written is not whole yet.
    Digest::from_hex(function, hex, 0).ok()?;
    Some((kind, (function, hex.to_owned())))
}

pub(super) fn name_of(digest: Digest) -> BlobName {
    (digest.function(), digest.hex())
}

/// The digest of a name, whose size is not known: good for paths and listings.
fn sizeless(name: &BlobName) -> Digest {
    Digest::from_hex(name.0, &name.1, 0).expect("names are of digests")
}

fn tree(name: &BlobName) -> TreeDigest {
    TreeDigest(sizeless(name))
}

fn action(name: &BlobName) -> ActionDigest {
    ActionDigest(sizeless(name))
}

/// When something was last used, in nanoseconds since the epoch.
fn used_at(metadata: &fs::Metadata) -> i64 {
    metadata.atime().saturating_mul(1_000_000_000).saturating_add(metadata.atime_nsec())
}

fn survey_blob(survey: &mut Survey, function: DigestFunction, path: PathBuf) {
    let Ok(metadata) = fs::metadata(&path) else { return };
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return };
    let hex = name.strip_suffix(".x").unwrap_or(name);
    if Digest::from_hex(function, hex, 0).is_err() {
        return;
    }
    let entry = survey.blobs.entry((function, hex.to_owned())).or_insert(Found {
        paths: Vec::new(),
        bytes: metadata.len(),
        physical: 0,
        used: 0,
    });
    entry.paths.push(path);
    entry.physical += metadata.blocks() * 512;
    entry.used = entry.used.max(used_at(&metadata));
}

fn survey_result(survey: &mut Survey, table: Remembered, function: DigestFunction, path: PathBuf) {
    let Ok(metadata) = fs::metadata(&path) else { return };
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return };
    if Digest::from_hex(function, name, 0).is_err() {
        return;
    }
    let key = (table, (function, name.to_owned()));
    let result =
        read_quietly(&path).ok().and_then(|bytes| parse_entry(function, &bytes)).map(|it| it.1);
    let (physical, used) = (metadata.blocks() * 512, used_at(&metadata));
    survey.results.insert(key, FoundResult { path, physical, used, result });
}

/// Returns the paths in a folder; none if it does not exist.
pub(super) fn list(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::disk("list", folder)(error)),
    };
    entries
        .map(|entry| entry.map(|entry| entry.path()).map_err(StoreError::disk("list", folder)))
        .collect()
}

fn put_back(from: &Path, to: &Path) -> Result<(), StoreError> {
    let folder = to.parent().expect("a file lies in a folder");
    fs::create_dir_all(folder).map_err(StoreError::disk("create", folder))?;
    match rename_new(from, to) {
        // Somebody made it again meanwhile: the same bytes.
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::NotFound
            ) =>
        {
            Ok(())
        }
        Err(error) => Err(StoreError::disk("put back", to)(error)),
        Ok(()) => Ok(()),
    }
}
