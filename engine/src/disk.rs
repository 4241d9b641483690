//! The files of a workspace on disk: looked at, and what was seen remembered.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use model::{Digest, DigestFunction, Hasher, PathSegment, RelativePath};

use crate::files::{FileKind, Files, FilesError};
use crate::packed::Packed;
use crate::snapshot::{Answer, Base, Listing, Question, Seen, Snapshot, Stat};

/// The folder at the root of a workspace that results appear under.
pub const OUTPUT_FOLDER: &str = "bld-out";

/// The folder in it that holds what is noted of results.
pub const NOTES_FOLDER: &str = ".bld";

/// Returns why a path cannot be loaded or be an input, if it lies where results are put: that is not looked at as
/// inputs are.
pub(crate) fn refuse_result(path: &RelativePath) -> Result<(), String> {
    match path.segments().next() {
        Some(first) if first.as_str() == OUTPUT_FOLDER => Err(format!(
            "`{path}` lies in {OUTPUT_FOLDER}, where results are put: name the target that makes it"
        )),
        _ => Ok(()),
    }
}

/// How large a file may be that loading reads: BUILD files, rules, lists; not data.
const TEXT_BYTES_MAX: u64 = 64 << 20;

/// The permission bits of a file's mode.
const PERMISSIONS: u32 = 0o7777;

/// The files of a workspace on disk. Clones share what they have seen.
#[derive(Clone, Debug)]
pub struct DiskFiles {
    root: PathBuf,
    function: DigestFunction,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    base: io::Result<Base>,
    /// What was seen by an earlier process.
    before: OnceLock<Arc<Packed>>,
    /// What this one has seen.
    seen: Mutex<BTreeMap<(RelativePath, Question), Seen>>,
    /// When this began, in nanoseconds since the epoch.
    now: i64,
}

impl DiskFiles {
    /// Returns the files below `root`, of which nothing is known.
    pub fn new(root: PathBuf) -> Self {
        Self::looked_at(root, UNIX_EPOCH)
    }

    /// Returns the files below `root`. `now` is a time before the first look at them.
    pub fn looked_at(root: PathBuf, now: SystemTime) -> Self {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let shared = Shared {
            base: Base::open(&root),
            before: OnceLock::new(),
            seen: Mutex::default(),
            now: i64::try_from(now).unwrap_or(i64::MAX),
        };
        Self { root, function: DigestFunction::Blake3, shared: Arc::new(shared) }
    }

    /// Returns the same files, named by `function` from now on.
    #[must_use]
    pub fn named_by(self, function: DigestFunction) -> Self {
        Self { function, ..self }
    }

    /// Notes what was seen by an earlier process; what is noted first counts.
    pub fn know(&self, before: Arc<Packed>) {
        self.shared.before.get_or_init(|| before);
    }

    /// Returns where they are.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns what was seen since this was made.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.shared.seen.lock().expect("no holder panics").clone())
    }

    /// Returns the digest and permissions of a file, or `None` where there is none; it is read only if what is known
    /// of it may not hold any more.
    pub fn file(&self, path: &RelativePath) -> io::Result<Option<(Digest, u32)>> {
        let answer = match self.known(path, Question::Source) {
            Some(answer) => answer,
            None => self.ask(path, Question::Source)?,
        };
        let Answer::File { digest, mode } = answer else { return Ok(None) };
        Ok(Some((digest, mode)))
    }

    /// Notes what was just written, so that it need not be read to be known.
    pub fn note_file(&self, path: &RelativePath, digest: Digest, mode: u32) -> io::Result<()> {
        let stat = self.stat(path.as_str(), Question::Source)?;
        // Not settled, since it is newer than `now`: the next process reads it once.
        self.remember(path, Question::Source, stat, Answer::File { digest, mode });
        Ok(())
    }

    /// Returns the target of a link, or `None` where there is none.
    pub fn link(&self, path: &RelativePath) -> io::Result<Option<String>> {
        let Answer::Link(target) = self.ask(path, Question::Source)? else { return Ok(None) };
        Ok(Some(target))
    }

    /// Returns what the system says of a path, looked at as the question demands.
    pub(crate) fn stat(&self, path: &str, question: Question) -> io::Result<Option<Stat>> {
        match &self.shared.base {
            Ok(base) => Self::stat_in(base, path, question),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        }
    }

    /// Like [`DiskFiles::stat`], for a path below a folder.
    pub(crate) fn stat_in(base: &Base, path: &str, question: Question) -> io::Result<Option<Stat>> {
        let follow = match question {
            Question::Text | Question::Listing => true,
            Question::Kind | Question::Source => false,
        };
        base.stat(path, follow)
    }

    /// Returns a folder to look below, if it is one.
    pub(crate) fn folder(&self, path: &str) -> Option<Base> {
        self.shared.base.as_ref().ok()?.folder(path).ok()
    }

    /// Returns what is known of a path without reading anything, if it still holds.
    pub(crate) fn known(&self, path: &RelativePath, question: Question) -> Option<Answer> {
        let stat = self.stat(path.as_str(), question).ok()?;
        let holds = |seen: &Seen| seen.holds(stat.as_ref()).filter(|it| self.is_ours(it)).cloned();
        let key = (path.clone(), question);
        let mut seen = self.shared.seen.lock().expect("no holder panics");
        if let Some(answer) = seen.get(&key).and_then(holds) {
            return Some(answer);
        }
        let before = self.shared.before.get()?.get(path, question)?;
        let answer = holds(&before)?;
        seen.insert(key, before);
        Some(answer)
    }

    /// What another digest function named is as good as unknown.
    fn is_ours(&self, answer: &Answer) -> bool {
        let Answer::File { digest, .. } = answer else { return true };
        digest.function() == self.function
    }

    /// Looks at a path and remembers what it sees.
    pub(crate) fn ask(&self, path: &RelativePath, question: Question) -> io::Result<Answer> {
        match question {
            Question::Kind => {
                let stat = self.stat(path.as_str(), question)?;
                let answer = stat.map_or(Answer::Absent, |stat| Answer::Kind(stat.kind()));
                Ok(self.remember(path, question, stat, answer))
            }
            Question::Text => self.text(path).map(|(answer, _)| answer),
            Question::Listing => {
                let stat = self.stat(path.as_str(), question)?;
                let answer = match list(&self.absolute(path)) {
                    Ok(mut listing) => {
                        // Nobody looks for anything there, and the first build makes it.
                        if path.is_root() {
                            listing.children.retain(|(name, _)| name.as_str() != OUTPUT_FOLDER);
                        }
                        Answer::Listing(listing)
                    }
                    Err(error) => absent(error)?,
                };
                Ok(self.remember(path, question, stat, answer))
            }
            Question::Source => self.read_source(path, |reader, _| {
                let mut hasher = Hasher::new(self.function);
                io::copy(reader, &mut hasher)?;
                Ok(hasher.finish())
            })?,
        }
    }

    fn remember(
        &self,
        path: &RelativePath,
        question: Question,
        stat: Option<Stat>,
        answer: Answer,
    ) -> Answer {
        let seen = Seen::new(stat, self.shared.now, answer.clone());
        let mut all = self.shared.seen.lock().expect("no holder panics");
        all.insert((path.clone(), question), seen);
        answer
    }

    /// Forgets what this has seen of a path.
    pub(crate) fn forget(&self, path: &RelativePath, question: Question) {
        self.shared.seen.lock().expect("no holder panics").remove(&(path.clone(), question));
    }

    /// Looks at an input or result; a file is read by `digest`, which is told the file's permissions.
    pub(crate) fn read_source<E>(
        &self,
        path: &RelativePath,
        digest: impl FnOnce(&mut dyn Read, u32) -> Result<Digest, E>,
    ) -> io::Result<Result<Answer, E>> {
        let question = Question::Source;
        let stat = self.stat(path.as_str(), question)?;
        let answer = match stat.map(|stat| stat.kind()) {
            None => Answer::Absent,
            Some(FileKind::File) => {
                // Should it be a link or a pipe by now, it is neither followed nor waited for.
                let mut file = fs::OpenOptions::new()
                    .read(true)
                    .custom_flags(
                        (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK)
                            .bits()
                            .cast_signed(),
                    )
                    .open(self.absolute(path))?;
                let mode = file.metadata()?.mode() & PERMISSIONS;
                match digest(&mut file, mode) {
                    Ok(digest) => Answer::File { digest, mode },
                    Err(error) => return Ok(Err(error)),
                }
            }
            Some(FileKind::Symlink) => {
                let target = fs::read_link(self.absolute(path))?.into_os_string().into_string();
                let target =
                    target.map_err(|_name| io::Error::other("the link's target is not UTF-8"))?;
                Answer::Link(target)
            }
            Some(kind @ (FileKind::Directory | FileKind::Other)) => Answer::Kind(kind),
        };
        Ok(Ok(self.remember(path, question, stat, answer)))
    }

    /// Returns what stands in a folder, or `None` if there is none.
    pub(crate) fn listing(&self, path: &RelativePath) -> Result<Option<Listing>, FilesError> {
        let answer = match self.known(path, Question::Listing) {
            Some(answer) => Ok(answer),
            None => self.ask(path, Question::Listing),
        };
        match answer {
            Ok(Answer::Listing(listing)) => Ok(Some(listing)),
            Ok(_) => Ok(None),
            Err(source) => Err(FilesError { path: path.clone(), source }),
        }
    }

    fn text(&self, path: &RelativePath) -> io::Result<(Answer, Option<String>)> {
        let stat = self.stat(path.as_str(), Question::Text)?;
        let mut text = String::new();
        let read = self.open(path).and_then(|file| {
            // A file that grows meanwhile is not read for ever.
            file.take(TEXT_BYTES_MAX).read_to_string(&mut text)
        });
        match read {
            Ok(_) => {
                let answer = Answer::Text(Digest::of(DigestFunction::Blake3, text.as_bytes()));
                Ok((self.remember(path, Question::Text, stat, answer), Some(text)))
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(io::Error::new(error.kind(), "it is not a text in UTF-8"))
            }
            Err(error) => {
                let answer = absent(error)?;
                Ok((self.remember(path, Question::Text, stat, answer), None))
            }
        }
    }

    /// Returns the real path of a file, if following links leads to one inside the workspace.
    fn inside(&self, path: &RelativePath) -> io::Result<PathBuf> {
        let real = self.absolute(path).canonicalize()?;
        if real.starts_with(self.root.canonicalize()?) {
            return Ok(real);
        }
        Err(io::Error::other("it is, or lies behind, a link that leads out of the workspace"))
    }

    /// Opens a file for its text.
    fn open(&self, path: &RelativePath) -> io::Result<fs::File> {
        let real = self.inside(path)?;
        // Looked at before it is opened: opening a pipe waits for somebody to write into it.
        let metadata = real.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        if metadata.len() > TEXT_BYTES_MAX {
            return Err(io::Error::other(format!("it has more than {TEXT_BYTES_MAX} bytes")));
        }
        fs::File::open(real)
    }

    fn absolute(&self, path: &RelativePath) -> PathBuf {
        if path.is_root() { self.root.clone() } else { self.root.join(path) }
    }
}

fn absent(error: io::Error) -> io::Result<Answer> {
    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
        return Ok(Answer::Absent);
    }
    Err(error)
}

fn list(folder: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = kind_of(entry.file_type()?);
        // A name that is not UTF-8 cannot be named in a BUILD file either.
        let name = entry.file_name().into_string().ok().map(PathSegment::new);
        match name {
            Some(Ok(name)) => listing.children.push((name, kind)),
            Some(Err(_)) | None => listing.has_unnamable = true,
        }
    }
    listing.children.sort();
    Ok(listing)
}

impl Files for DiskFiles {
    fn read(&self, path: &RelativePath) -> Result<Option<String>, FilesError> {
        let read = self.text(path).map(|(_, text)| text);
        read.map_err(|source| FilesError { path: path.clone(), source })
    }

    fn list(&self, path: &RelativePath) -> Result<Vec<(PathSegment, FileKind)>, FilesError> {
        Ok(self.listing(path)?.map(|listing| listing.children).unwrap_or_default())
    }

    fn kind(&self, path: &RelativePath) -> Result<Option<FileKind>, FilesError> {
        match self.ask(path, Question::Kind) {
            Ok(Answer::Kind(kind)) => Ok(Some(kind)),
            Ok(_) => Ok(None),
            Err(source) => Err(FilesError { path: path.clone(), source }),
        }
    }
}

fn kind_of(kind: fs::FileType) -> FileKind {
    if kind.is_symlink() {
        FileKind::Symlink
    } else if kind.is_dir() {
        FileKind::Directory
    } else if kind.is_file() {
        FileKind::File
    } else {
        FileKind::Other
    }
}
