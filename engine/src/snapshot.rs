//! What the files of a workspace looked like when they were last looked at, so that most need not be read again.
//!
//! As git's index does, an answer is kept with what `stat` said of the file before it was read. The answer holds as
//! long as `stat` says the same, unless the file may have changed again within the clock's granularity
//! (<https://git-scm.com/docs/racy-git>): such a file is read again.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use model::{Digest, PathSegment, RelativePath};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, open, openat, statat};
use serde::{Deserialize, Serialize};

use crate::files::FileKind;
use crate::packed::Packed;

/// How fine the times of files are, at worst: two seconds, on FAT (kernel ticks elsewhere).
const GRANULARITY: Duration = Duration::from_secs(2);

/// What was asked of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Question {
    /// What stands there. Nothing is followed.
    Kind,
    /// The text of a file. Links are followed.
    Text,
    /// What stands in a folder. Links to it are followed.
    Listing,
    /// What a file or link is as an input, or as a result. Nothing is followed.
    Source,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Nothing.
    Absent,
    /// Something of this kind.
    Kind(FileKind),
    /// A text with this digest.
    Text(Digest),
    /// Children, sorted by name.
    Listing(Listing),
    /// A file with this digest and these permissions.
    File {
        /// Of its bytes.
        digest: Digest,
        /// The permission bits.
        mode: u32,
    },
    /// A symbolic link to this.
    Link(String),
}

impl Answer {
    /// Returns whether both are files, or both links: then only what is in them may differ.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let pair = (self, other);
        matches!(pair, (Self::File { .. }, Self::File { .. }) | (Self::Link(_), Self::Link(_)))
    }
}

/// What stands in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listing {
    /// The children that can be named, sorted.
    pub(crate) children: Vec<(PathSegment, FileKind)>,
    /// Whether there are others, whose names are not UTF-8.
    pub(crate) has_unnamable: bool,
}

/// What the system says of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stat {
    device: u64,
    inode: u64,
    size: u64,
    /// In nanoseconds since the epoch.
    modified: i64,
    /// In nanoseconds since the epoch; nobody can set it.
    changed: i64,
    pub(crate) mode: u32,
}

impl Stat {
    pub(crate) fn kind(&self) -> FileKind {
        match FileType::from_raw_mode(self.mode) {
            FileType::RegularFile => FileKind::File,
            FileType::Directory => FileKind::Directory,
            FileType::Symlink => FileKind::Symlink,
            FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => FileKind::Other,
        }
    }

    /// Returns whether the file cannot change any more without its times changing too; `now` is when it was looked
    /// at. A time in the future, from before a clock was set back, is never settled.
    fn is_settled(&self, now: i64) -> bool {
        let granularity = i64::try_from(GRANULARITY.as_nanos()).expect("a few seconds");
        self.modified.max(self.changed).saturating_add(granularity) < now
    }
}

/// An answer, and when it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// `None` where nothing was.
    pub(crate) stat: Option<Stat>,
    /// Whether the file cannot change any more without `stat` changing too.
    pub(crate) settled: bool,
    pub(crate) answer: Answer,
}

impl Seen {
    /// `stat` is from before the file was read: what changes meanwhile shows the next time.
    pub(crate) fn new(stat: Option<Stat>, now: i64, answer: Answer) -> Self {
        Self { stat, settled: stat.is_none_or(|stat| stat.is_settled(now)), answer }
    }

    /// Returns the answer if it still holds for a file of which the system now says `stat`.
    pub(crate) fn holds(&self, stat: Option<&Stat>) -> Option<&Answer> {
        (self.settled && self.stat.as_ref() == stat).then_some(&self.answer)
    }
}

/// What was asked and found, in the order of paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot(Vec<Entry>);

type Entry = (RelativePath, Question, Seen);

impl Snapshot {
    pub(crate) fn new(seen: BTreeMap<(RelativePath, Question), Seen>) -> Self {
        let mut entries: Vec<Entry> = Vec::with_capacity(seen.len());
        for ((path, question), seen) in seen {
            // What a path is, is part of what is in it.
            if question == Question::Source {
                entries.pop_if(|(at, asked, _)| *asked == Question::Kind && *at == path);
            }
            entries.push((path, question, seen));
        }
        Self(entries)
    }

    /// Returns how many things were asked.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether nothing was asked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns this in bytes.
    pub fn pack(&self) -> Packed {
        Packed::new(self)
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.0
    }
}

/// How the files differ from a snapshot.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// What is different that loading looks at, sorted: targets may have to be declared and analysed anew.
    pub loaded: Vec<RelativePath>,
    /// The inputs and results that are different, sorted.
    pub sources: Vec<RelativePath>,
    /// Whether something became another kind of thing: then also what lies behind it, and links that lead to it, may not
    /// be what they were.
    pub kinds: bool,
    /// Whether a file had to be read to know that it is the same; a new snapshot saves that.
    pub looked_again: bool,
}

impl Changes {
    /// Returns whether everything is as it was.
    pub fn is_none(&self) -> bool {
        self.loaded.is_empty() && self.sources.is_empty()
    }

    /// Returns the paths at which something is different.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &RelativePath> {
        self.loaded.iter().chain(&self.sources)
    }
}

/// A folder that paths are looked up from: shorter ways for the system.
#[derive(Debug)]
pub(crate) struct Base(OwnedFd);

impl Base {
    pub(crate) fn open(root: &Path) -> std::io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(open(root, flags, Mode::empty())?))
    }

    /// Returns a folder below this one.
    pub(crate) fn folder(&self, path: &str) -> std::io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(openat(&self.0, path, flags, Mode::empty())?))
    }

    /// Returns what the system says of a path, or `None` if nothing is there.
    pub(crate) fn stat(&self, path: &str, follow: bool) -> std::io::Result<Option<Stat>> {
        let name = if path.is_empty() { "." } else { path };
        let flags = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
        match statat(&self.0, name, flags) {
            Ok(stat) => Ok(Some(Stat {
                device: stat.st_dev,
                inode: stat.st_ino,
                size: u64::try_from(stat.st_size).unwrap_or_default(),
                modified: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
                changed: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
                mode: stat.st_mode,
            })),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn nanoseconds(seconds: i64, nanoseconds: impl TryInto<i64>) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds.try_into().unwrap_or_default())
}
