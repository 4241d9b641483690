//! `--watch`: waits until files of the workspace may have changed.
//!
//! What the kernel says only means "look again": every round is an ordinary build, which believes nothing but the files.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};

use crate::replace::is_unfinished;
use crate::terminal::tell;

/// How long it must be quiet before a build begins: an editor saves in several steps, `git checkout` in many.
const QUIET: Duration = Duration::from_millis(100);

/// After how long a build begins though it is not quiet: something that always writes must not put it off for ever.
const UNQUIET_MAX: Duration = Duration::from_secs(2);

/// How long until it is looked again where the kernel does not tell.
const LOOK_INTERVAL: Duration = Duration::from_secs(3);

/// How many folders are watched: the kernel keeps about a kilobyte for each.
const FOLDERS_MAX: usize = 100_000;

/// Room for some hundred events, or for one with the longest name.
const BUFFER_BYTES: usize = 1 << 14;

/// Waits for changes below a folder.
pub(crate) struct Watch {
    root: PathBuf,
    /// Folders in which nothing that happens matters: where results and the store are.
    ignored: Vec<PathBuf>,
    /// What the kernel was asked to tell about; `None` where it cannot.
    told: Option<Told>,
}

/// An open question to the kernel.
struct Told {
    events: OwnedFd,
    /// The folder of each watch.
    folders: BTreeMap<i32, PathBuf>,
}

impl Watch {
    /// Begins to watch. What changes from now on, the next [`Watch::wait`] knows.
    pub(crate) fn new(root: &Path, ignored: Vec<PathBuf>) -> Self {
        let mut watch = Self { root: root.to_owned(), ignored, told: None };
        watch.begin();
        watch
    }

    fn begin(&mut self) {
        let told = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        let mut told = match told {
            Ok(events) => Told { events, folders: BTreeMap::new() },
            Err(error) => return tell_why(&error.into()),
        };
        match self.add_below(&mut told, &self.root) {
            Ok(()) => self.told = Some(told),
            Err(error) => tell_why(&error),
        }
    }

    /// Asks for what happens in a folder and in all below it.
    fn add_below(&self, told: &mut Told, folder: &Path) -> io::Result<()> {
        let mut pending = vec![folder.to_owned()];
        while let Some(folder) = pending.pop() {
            if self.is_ignored(&folder) {
                continue;
            }
            if told.folders.len() == FOLDERS_MAX {
                return Err(io::Error::other(format!("it has more than {FOLDERS_MAX} folders")));
            }
            match inotify::add_watch(&told.events, &folder, interesting()) {
                Ok(watch) => told.folders.insert(watch, folder.clone()),
                // It went away meanwhile, or is none any more.
                Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => continue,
                Err(error) => return Err(error.into()),
            };
            // Listed after it is watched, so that nothing appears unseen in between.
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            let folders = entries.flatten().filter(|it| it.file_type().is_ok_and(|it| it.is_dir()));
            pending.extend(folders.map(|it| it.path()));
        }
        Ok(())
    }

    fn is_ignored(&self, path: &Path) -> bool {
        // What git does in its own folder changes no file that is built; nor does what this process has not finished.
        let is_nothing = |name: &OsStr| name == ".git" || is_unfinished(name);
        self.ignored.iter().any(|it| path.starts_with(it))
            || path.file_name().is_some_and(is_nothing)
    }

    /// Waits until something may have changed, and it is quiet again.
    pub(crate) fn wait(&mut self) {
        let mut first: Option<Instant> = None;
        loop {
            let Some(mut told) = self.told.take() else {
                std::thread::sleep(LOOK_INTERVAL);
                return;
            };
            let patience = first.map(|_| QUIET);
            let (told, heard) = match ready(&told.events, patience) {
                Ok(false) => (Some(told), Heard::Nothing),
                Ok(true) => match self.listen(&mut told) {
                    Ok(Heard::Overflow) => (None, Heard::Overflow),
                    Ok(heard) => (Some(told), heard),
                    Err(error) => {
                        tell_why(&error);
                        return;
                    }
                },
                Err(error) => {
                    tell_why(&error);
                    return;
                }
            };
            self.told = told;
            match heard {
                // Nobody knows what was lost: everything is asked for anew, and looked at.
                Heard::Overflow => {
                    self.begin();
                    return;
                }
                Heard::Nothing if first.is_some() => return,
                Heard::Nothing => {}
                Heard::Something => {
                    let began = *first.get_or_insert_with(Instant::now);
                    if began.elapsed() > UNQUIET_MAX {
                        return;
                    }
                }
            }
        }
    }

    /// Takes what the kernel tells.
    fn listen(&self, told: &mut Told) -> io::Result<Heard> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut heard = Heard::Nothing;
        let mut appeared = Vec::new();
        let mut reader = Reader::new(told.events.as_fd(), &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(rustix::io::Errno::AGAIN) => break,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                return Ok(Heard::Overflow);
            }
            let Some(folder) = told.folders.get(&event.wd()) else { continue };
            let name = event.file_name().map(|name| name.to_string_lossy().into_owned());
            let path = name.map_or_else(|| folder.clone(), |name| folder.join(name));
            if event.events().contains(ReadFlags::IGNORED) {
                told.folders.remove(&event.wd());
                continue;
            }
            if self.is_ignored(&path) {
                continue;
            }
            heard = Heard::Something;
            let is_new = event.events().intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
            if is_new && event.events().contains(ReadFlags::ISDIR) {
                appeared.push(path);
            }
        }
        for folder in appeared {
            self.add_below(told, &folder)?;
        }
        Ok(heard)
    }
}

/// What the kernel told.
enum Heard {
    /// Nothing that matters.
    Nothing,
    /// Something that matters.
    Something,
    /// More than it could keep.
    Overflow,
}

fn interesting() -> WatchFlags {
    WatchFlags::ATTRIB
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::MODIFY
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::DONT_FOLLOW
        | WatchFlags::ONLYDIR
        | WatchFlags::EXCL_UNLINK
}

/// Waits until there is something to read; returns whether there is.
fn ready(events: &OwnedFd, patience: Option<Duration>) -> io::Result<bool> {
    let timeout = patience.map(|it| Timespec::try_from(it).expect("a short time"));
    match poll(&mut [PollFd::new(events, PollFlags::IN)], timeout.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Says why the kernel is not believed to tell everything.
fn tell_why(error: &io::Error) {
    let hint = match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::NOSPC | rustix::io::Errno::MFILE) => {
            " (sysctl fs.inotify.max_user_watches, fs.inotify.max_user_instances)"
        }
        _ => "",
    };
    tell(&format!(
        "warning: the system does not tell of all changes: {error}{hint}; looking again every {} seconds",
        LOOK_INTERVAL.as_secs()
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns whether the watch hears of what is done, and of nothing else.
    fn hears(watch: &mut Watch, act: impl FnOnce()) -> bool {
        act();
        let told = watch.told.as_ref().unwrap();
        if !ready(&told.events, Some(Duration::ZERO)).unwrap() {
            return false;
        }
        let mut told = watch.told.take().unwrap();
        let heard = watch.listen(&mut told).unwrap();
        watch.told = Some(told);
        matches!(heard, Heard::Something)
    }

    #[test]
    fn what_changes_in_old_and_new_folders_is_heard_and_what_is_ignored_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in ["a/b", "bld-out", ".git"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        let mut watch = Watch::new(root, vec![root.join("bld-out")]);
        let write = |path: &str| std::fs::write(root.join(path), "x").unwrap();
        assert!(!hears(&mut watch, || {}));
        assert!(hears(&mut watch, || write("a/b/file")));
        assert!(!hears(&mut watch, || write("bld-out/file")));
        assert!(!hears(&mut watch, || write(".git/index")));
        assert!(hears(&mut watch, || std::fs::create_dir_all(root.join("a/new/deep")).unwrap()));
        assert!(hears(&mut watch, || write("a/new/deep/file")));
        assert!(hears(&mut watch, || std::fs::rename(root.join("a/new"), root.join("c")).unwrap()));
        assert!(hears(&mut watch, || write("c/deep/other")));
        assert!(hears(&mut watch, || std::fs::remove_dir_all(root.join("c")).unwrap()));
        assert!(!hears(&mut watch, || {}));
    }
}
