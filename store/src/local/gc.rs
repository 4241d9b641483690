//! Garbage: what no running build needs and the byte budget has no room for.
//!
//! The collector decides what to *keep*, in order of worth: what live leases pin, locked trees of known workspaces,
//! results by last use, trees by last use, other blobs by last use. Whatever is left over is renamed into `trash/`;
//! then the leases are read again, because somebody may have pinned meanwhile; then it is deleted or put back.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use model::{ActionResult, Digest, DigestFunction, Node, TreeDigest};
use rustix::fs::{FlockOperation, flock};

use super::actions::{Remembered, parse_entry};
use super::blobs::rename_new;
use super::lease::Leases;
use super::lock::open_lock;
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

/// One kind of thing on disk.
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
    pub(super) table: Remembered,
    pub(super) name: BlobName,
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
    pub(super) results: Vec<FoundResult>,
}

impl Survey {
    pub(super) fn physical(&self) -> u64 {
        let found = self.blobs.values().chain(self.trees.values()).map(|found| found.physical);
        found.sum::<u64>() + self.results.iter().map(|found| found.physical).sum::<u64>()
    }
}

impl LocalStore {
    /// Brings the store down to `budget` bytes, but keeps whatever a live process pinned.
    /// Waits for a collection that another process has begun.
    pub fn collect(&self, budget: u64) -> Result<Collected, StoreError> {
        let path = self.root.join("gc.lock");
        let lock = open_lock(&path)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(StoreError::disk("lock", &path))?;

        self.put_back_all()?;
        let leases = Leases::read(&self.root, &self.lease)?;
        self.sweep_temporaries(&leases)?;
        let survey = self.survey()?;
        let bytes_before = survey.physical();
        let mut collected = Collected { bytes_before, ..Collected::default() };
        collected.bytes_after = bytes_before;
        if bytes_before <= budget {
            return Ok(collected);
        }

        let kept = Keep::decide(self, &survey, &leases, budget)?;
        let trash = self.root.join("trash").join(self.lease.id());
        let mut gone = Vec::new();
        for (name, found) in survey.trees.iter().filter(|(name, _)| !kept.trees.contains(*name)) {
            collected.trees_removed += 1;
            gone.push((format!("tree {}:{}", name.0, name.1), &found.paths, found.physical));
        }
        for (name, found) in survey.blobs.iter().filter(|(name, _)| !kept.blobs.contains(*name)) {
            collected.blobs_removed += 1;
            gone.push((format!("blob {}:{}", name.0, name.1), &found.paths, found.physical));
        }
        let results: Vec<_> = survey
            .results
            .iter()
            .filter(|found| !kept.results.contains(&found.path))
            .map(|found| {
                let pin = format!("{} {}:{}", found.table.folder(), found.name.0, found.name.1);
                (pin, vec![found.path.clone()], found.physical)
            })
            .collect();
        collected.results_removed = results.len() as u64;
        let results = results.iter().map(|(pin, paths, physical)| (pin.clone(), paths, *physical));
        // Results first: one whose blobs are gone would be a promise that nobody can keep.
        let gone: Vec<_> = results.chain(gone).collect();
        for (_, paths, physical) in &gone {
            for path in *paths {
                self.throw_away(path, &trash)?;
            }
            collected.bytes_after -= physical;
        }

        let later = Leases::read(&self.root, &self.lease)?;
        self.put_back_pinned(&leases, &later, &gone, &trash)?;
        remove_tree(&trash).map_err(StoreError::disk("empty", &trash))?;
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
            fs::remove_file(&path).map_err(StoreError::disk("remove", &path))?;
        }
        Ok(())
    }

    pub(super) fn roots(&self) -> Result<Vec<TreeDigest>, StoreError> {
        let folder = self.folder("roots")?;
        let mut roots = Vec::new();
        for path in list(&folder)? {
            let text = fs::read_to_string(&path).map_err(StoreError::disk("read", &path))?;
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
        let used = fs::metadata(&mark).map_or(0, |metadata| metadata.atime());
        let physical = Mark::read(&mark).map_or(0, |mark| mark.own_bytes);
        let name = (function, name.to_owned());
        let found = Found { paths: vec![path, mark], bytes: 0, physical, used };
        survey.trees.insert(name, found);
    }

    /// Removes what processes that ended left in `tmp/`.
    fn sweep_temporaries(&self, leases: &Leases) -> Result<(), StoreError> {
        for path in list(&self.root.join("tmp"))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let owner = name.rsplit_once('-').map_or("", |(owner, _)| owner);
            if !leases.live.contains(owner) {
                let removed =
                    if path.is_dir() { remove_tree(&path) } else { fs::remove_file(&path) };
                removed.map_err(StoreError::disk("remove", &path))?;
            }
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

    fn put_back_pinned(
        &self,
        before: &Leases,
        after: &Leases,
        gone: &[(String, &Vec<PathBuf>, u64)],
        trash: &Path,
    ) -> Result<(), StoreError> {
        let new: HashSet<_> = after.pins.difference(&before.pins).collect();
        // A new pin of a tree or result may reach anything: then everything returns, and the next collection decides.
        if new.iter().any(|pin| !pin.starts_with("blob ")) {
            return self.put_back_all();
        }
        for (_, paths, _) in gone.iter().filter(|(pin, ..)| new.contains(pin)) {
            for path in *paths {
                let relative = path.strip_prefix(&self.root).expect("it was thrown away from here");
                put_back(&trash.join(relative), path)?;
            }
        }
        Ok(())
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
            remove_tree(&trash).map_err(StoreError::disk("empty", &trash))?;
        }
        Ok(())
    }

    fn put_back_from(&self, path: &Path, trash: &Path) -> Result<(), StoreError> {
        let relative = path.strip_prefix(trash).expect("it lies in the trash");
        put_back(path, &self.root.join(relative))
    }
}

/// What stays.
#[derive(Default)]
struct Keep {
    blobs: HashSet<BlobName>,
    trees: HashSet<BlobName>,
    results: HashSet<PathBuf>,
    bytes: u64,
}

impl Keep {
    fn decide(
        store: &LocalStore,
        survey: &Survey,
        leases: &Leases,
        budget: u64,
    ) -> Result<Self, StoreError> {
        let mut keep = Self::default();
        keep.pinned(store, survey, leases)?;
        for root in store.roots()? {
            let name = (root.0.function(), root.0.hex());
            keep.closure(store, survey, &name, budget)?;
        }
        let mut results: Vec<_> = survey.results.iter().collect();
        results.sort_by_key(|found| std::cmp::Reverse(found.used));
        for found in results {
            keep.result(store, survey, found, budget)?;
        }
        for (name, found) in by_last_use(&survey.trees) {
            if keep.fits(found.physical, budget) && keep.closure(store, survey, name, budget)? {
                keep.tree(survey, name);
            }
        }
        for (name, found) in by_last_use(&survey.blobs) {
            if !keep.blobs.contains(name) && keep.fits(found.physical, budget) {
                keep.blob(survey, name);
            }
        }
        Ok(keep)
    }

    fn pinned(
        &mut self,
        store: &LocalStore,
        survey: &Survey,
        leases: &Leases,
    ) -> Result<(), StoreError> {
        for pin in &leases.pins {
            let Some((kind, name)) = parse_pin(pin) else { continue };
            match kind {
                "blob" => self.blob(survey, &name),
                "tree" => {
                    self.closure(store, survey, &name, u64::MAX)?;
                    self.tree(survey, &name);
                }
                _ => {
                    let same =
                        |found: &&FoundResult| found.table.folder() == kind && found.name == name;
                    if let Some(found) = survey.results.iter().find(same) {
                        self.result(store, survey, found, u64::MAX)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn result(
        &mut self,
        store: &LocalStore,
        survey: &Survey,
        found: &FoundResult,
        budget: u64,
    ) -> Result<(), StoreError> {
        let Some(result) = &found.result else { return Ok(()) };
        if self.results.contains(&found.path) || !self.fits(found.physical, budget) {
            return Ok(());
        }
        let mut wanted: Vec<_> = result.files.iter().map(|file| file.digest).collect();
        wanted.extend(result.directories.iter().map(|directory| directory.tree));
        wanted.extend(result.stdout.into_iter().chain(result.stderr));
        for tree in &result.directories {
            let name = (tree.root.0.function(), tree.root.0.hex());
            // The bytes of a tree can be had again from what made it; its listing is what keys are computed from.
            self.closure(store, survey, &name, budget)?;
        }
        for digest in wanted {
            let name = (digest.function(), digest.hex());
            let physical = survey.blobs.get(&name).map_or(0, |found| found.physical);
            if !self.blobs.contains(&name) && !self.fits(physical, budget) {
                return Ok(());
            }
            self.blob(survey, &name);
        }
        self.bytes += found.physical;
        self.results.insert(found.path.clone());
        Ok(())
    }

    /// Keeps all that is below a tree, if there is room for it; returns whether there was.
    fn closure(
        &mut self,
        store: &LocalStore,
        survey: &Survey,
        tree: &BlobName,
        budget: u64,
    ) -> Result<bool, StoreError> {
        let mut wanted = HashSet::new();
        let mut bytes = 0;
        let mut pending = vec![tree.clone()];
        while let Some(name) = pending.pop() {
            let Some(found) = survey.blobs.get(&name) else { continue };
            let digest = Digest::from_hex(name.0, &name.1, found.bytes)
                .expect("the survey only lists digests");
            let fresh = !self.blobs.contains(&name) && !wanted.contains(&name);
            if !fresh {
                // Kept already as a directory, so all below it is.
                continue;
            }
            bytes += found.physical;
            wanted.insert(name);
            let Some(directory) = store.directory_unpinned(TreeDigest(digest))? else { continue };
            for (_, node) in directory.children() {
                match node {
                    Node::Directory(child) => pending.push((child.0.function(), child.0.hex())),
                    Node::File { digest, .. } => {
                        let name = (digest.function(), digest.hex());
                        if let Some(found) = survey.blobs.get(&name)
                            && !self.blobs.contains(&name)
                            && wanted.insert(name)
                        {
                            bytes += found.physical;
                        }
                    }
                    Node::Symlink(_) => {}
                }
            }
        }
        if !self.fits(bytes, budget) {
            return Ok(false);
        }
        self.bytes += bytes;
        self.blobs.extend(wanted);
        Ok(true)
    }

    fn fits(&self, bytes: u64, budget: u64) -> bool {
        self.bytes.saturating_add(bytes) <= budget
    }

    fn blob(&mut self, survey: &Survey, name: &BlobName) {
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
    sorted.sort_by_key(|(name, found)| (std::cmp::Reverse(found.used), (*name).clone()));
    sorted
}

fn parse_pin(pin: &str) -> Option<(&str, BlobName)> {
    let (kind, rest) = pin.split_once(' ')?;
    let (function, hex) = rest.split_once(':')?;
    Some((kind, (DigestFunction::from_str(function).ok()?, hex.to_owned())))
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
    entry.used = entry.used.max(metadata.atime());
}

fn survey_result(survey: &mut Survey, table: Remembered, function: DigestFunction, path: PathBuf) {
    let Ok(metadata) = fs::metadata(&path) else { return };
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return };
    let name = (function, name.to_owned());
    let result = fs::read(&path).ok().and_then(|bytes| parse_entry(function, &bytes));
    let (physical, used) = (metadata.blocks() * 512, metadata.atime());
    survey.results.push(FoundResult { table, name, path, physical, used, result });
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
