//! Showing a command another machine than the usual one, to find out whether what it makes depends on that.
//!
//! An executor perturbs, never a job: what builds and records has no way to ask for it.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use model::Command;

use crate::sandbox::{Mount, MountKind, Surroundings};

/// One thing that can be shown otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variation {
    /// The command runs in a later second; clocks that count from the start of the machine are shifted.
    Time,
    /// The working directory lies elsewhere; its usual name leads there.
    Path,
    /// Another host name.
    Host,
    /// Another user and group, by number and by name.
    User,
    /// One processor.
    Cpus,
    /// Other permissions for new files.
    Umask,
    /// Another language in the environment.
    Locale,
    /// Directories of small trees are listed in the reverse order.
    Readdir,
}

impl Variation {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Time,
        Self::Path,
        Self::Host,
        Self::User,
        Self::Cpus,
        Self::Umask,
        Self::Locale,
        Self::Readdir,
    ];

    /// Returns the word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Path => "path",
            Self::Host => "host",
            Self::User => "user",
            Self::Cpus => "cpus",
            Self::Umask => "umask",
            Self::Locale => "locale",
            Self::Readdir => "readdir",
        }
    }

    /// Returns words that a command can only know without it, and with it, if there are such.
    pub fn words(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Path => &[("/work", "/elsewhere/work")],
            Self::Host => &[("bld", HOST_NAME)],
            Self::User => &[("1000", "4321"), ("bld", USER_NAME)],
            Self::Umask => &[("0022", "0077"), ("022", "077")],
            Self::Locale => &[("C.UTF-8", LOCALE)],
            Self::Time | Self::Cpus | Self::Readdir => &[],
        }
    }
}

/// The host name that is shown instead.
const HOST_NAME: &str = "another-host";

/// The user that is shown instead.
const USER_NAME: &str = "somebody";
const USER_ID: u32 = 4321;

/// The permissions that are taken from new files instead: all of everybody else's.
const UMASK: u32 = 0o077;

/// Another language, with other rules for sorting, numbers and dates, where the build root has it.
const LOCALE: &str = "fr_CH.UTF-8";

/// Where the working directory lies instead, below the root.
const PLACE: &str = "elsewhere";

/// What is shown otherwise; by default nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Perturbation {
    variations: BTreeSet<Variation>,
    not_before: Option<SystemTime>,
}

impl Perturbation {
    /// Returns one that shows these things otherwise. With [`Variation::Time`], nothing runs before the next second
    /// after `now`.
    pub fn new(variations: impl IntoIterator<Item = Variation>, now: SystemTime) -> Self {
        let variations: BTreeSet<_> = variations.into_iter().collect();
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let next = SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs() + 1);
        let not_before = variations.contains(&Variation::Time).then_some(next);
        Self { variations, not_before }
    }

    /// Returns whether it varies that.
    pub fn varies(&self, variation: Variation) -> bool {
        self.variations.contains(&variation)
    }

    /// Returns what it varies.
    pub fn variations(&self) -> impl Iterator<Item = Variation> {
        self.variations.iter().copied()
    }

    /// Returns how long a command that would begin now has to wait.
    pub(crate) fn wait(&self, now: SystemTime) -> Duration {
        self.not_before.and_then(|then| then.duration_since(now).ok()).unwrap_or_default()
    }

    /// Returns what is shown besides files.
    pub(crate) fn surroundings(&self) -> Surroundings {
        let usual = Surroundings::default();
        let or = |variation, other: &str, usual: &str| {
            (if self.varies(variation) { other } else { usual }).to_owned()
        };
        Surroundings {
            host_name: or(Variation::Host, HOST_NAME, &usual.host_name),
            user_name: or(Variation::User, USER_NAME, &usual.user_name),
            id: if self.varies(Variation::User) { USER_ID } else { usual.id },
            umask: if self.varies(Variation::Umask) { UMASK } else { usual.umask },
            one_processor: self.varies(Variation::Cpus),
        }
    }

    /// Returns the command with the environment that it is shown.
    pub(crate) fn command(&self, command: &Command) -> Command {
        let mut command = command.clone();
        if self.varies(Variation::Locale) {
            for name in ["LANG", "LC_ALL"] {
                command.environment.insert(name.to_owned(), LOCALE.to_owned());
            }
            command.environment.insert("LANGUAGE".to_owned(), "fr_CH:fr".to_owned());
        }
        command
    }

    /// Puts the working directory, `at`, elsewhere, and a link in its place.
    pub(crate) fn place(&self, at: &str, mounts: &mut Vec<Mount>) {
        if !self.varies(Variation::Path) {
            return;
        }
        for mount in mounts.iter_mut() {
            let below = mount.at.strip_prefix(at);
            if below.is_some_and(|below| below.is_empty() || below.starts_with('/')) {
                mount.at = format!("{PLACE}/{}", mount.at);
            }
        }
        mounts.insert(0, Mount { at: PLACE.to_owned(), kind: MountKind::Folder });
        let link = MountKind::Link(format!("/{PLACE}/{at}"));
        mounts.push(Mount { at: at.to_owned(), kind: link });
    }
}
