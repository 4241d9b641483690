//! The repository that a workspace lies in, read by the machine's `git`: the files of a revision.
//!
//! Nothing of the repository is changed: the index is one of our own, and no hook is run. What git prints is taken
//! apart at NULs, for names of files may hold anything else.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The variables that git may see besides those that it needs to fetch: where its configuration is.
const ENVIRONMENT: [&str; 3] = ["HOME", "XDG_CONFIG_HOME", "LOGNAME"];

/// How git says in its index that something is another repository.
const SUBMODULE_MODE: &[u8] = b"160000";

/// Why git does not give the files of a revision.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitError {
    #[error("git is not installed (`apt-get install git`)")]
    NoGit,
    #[error("{} is in no git repository: {reason}", folder.display())]
    NoRepository { folder: PathBuf, reason: String },
    #[error("`{revision}` is no commit that this repository has{hint}")]
    NoRevision { revision: String, hint: &'static str },
    #[error("git {verb} failed: {reason}")]
    Run { verb: &'static str, reason: String },
    #[error("cannot {verb} {}", path.display())]
    Disk { verb: &'static str, path: PathBuf, source: std::io::Error },
}

impl GitError {
    /// Returns whether what was asked for makes no sense, rather than something being broken.
    pub(crate) fn is_mistake(&self) -> bool {
        match self {
            Self::NoRepository { .. } | Self::NoRevision { .. } => true,
            Self::NoGit | Self::Run { .. } | Self::Disk { .. } => false,
        }
    }
}

/// A repository, seen from a workspace in it.
pub(crate) struct Repository {
    top: PathBuf,
    /// Where in it the workspace is: empty, or ends with a slash.
    prefix: Vec<u8>,
}

/// The files of a revision, as far as they are of the workspace.
pub(crate) struct Revision {
    /// The commit.
    pub(crate) commit: String,
    /// Where the workspace's files are now.
    pub(crate) workspace: PathBuf,
    /// Other repositories inside, whose files are not there.
    pub(crate) submodules: Vec<String>,
}

impl Repository {
    /// Finds the repository that the workspace at `root` lies in.
    pub(crate) fn of(root: &Path) -> Result<Self, GitError> {
        let ask = |what: &str| {
            let mut command = git(root);
            command.args(["rev-parse", what]);
            match run("rev-parse", command) {
                Err(GitError::Run { reason, .. }) => {
                    Err(GitError::NoRepository { folder: root.to_owned(), reason })
                }
                other => other,
            }
        };
        let top = line(ask("--show-toplevel")?);
        let prefix = line(ask("--show-prefix")?);
        Ok(Self { top: PathBuf::from(std::ffi::OsString::from_vec(top)), prefix })
    }

    /// Writes the files that the workspace has in a commit below `scratch`.
    pub(crate) fn files(&self, commit: &str, scratch: &Path) -> Result<Revision, GitError> {
        let index = scratch.join("index");
        let with_index = || {
            let mut command = git(&self.top);
            command.env("GIT_INDEX_FILE", &index);
            command
        };
        let mut read = with_index();
        read.args(["read-tree", commit]);
        run("read-tree", read)?;

        let mut list = with_index();
        list.args(["--literal-pathspecs", "ls-files", "-z", "--stage"]);
        if !self.prefix.is_empty() {
            list.arg("--").arg(OsStr::from_bytes(&self.prefix));
        }
        let (names, submodules) = files_and_submodules(&run("ls-files", list)?);
        let wanted = scratch.join("wanted");
        fs::write(&wanted, names).map_err(disk("write", &wanted))?;

        let target = scratch.join("files");
        fs::create_dir(&target).map_err(disk("create", &target))?;
        let mut prefix = target.clone().into_os_string();
        prefix.push("/");
        let mut option = std::ffi::OsString::from("--prefix=");
        option.push(prefix);
        let mut checkout = with_index();
        checkout.args(["checkout-index", "-z", "--stdin", "--quiet"]).arg(option);
        checkout.stdin(File::open(&wanted).map_err(disk("open", &wanted))?);
        run("checkout-index", checkout)?;
        let workspace = target.join(OsStr::from_bytes(&self.prefix));
        Ok(Revision { commit: commit.to_owned(), workspace, submodules })
    }

    /// Returns the name of the commit that a revision stands for.
    pub(crate) fn commit(&self, revision: &str) -> Result<String, GitError> {
        let unknown = || {
            let hint = self.hint();
            GitError::NoRevision { revision: revision.to_owned(), hint }
        };
        // No name of a revision begins so; some options of some commands do worse than fail.
        if revision.is_empty() || revision.starts_with('-') || revision.contains('\0') {
            return Err(unknown());
        }
        let mut command = git(&self.top);
        command.args(["rev-parse", "--verify", "--quiet", "--end-of-options"]);
        command.arg(format!("{revision}^{{commit}}"));
        let found = match run("rev-parse", command) {
            Err(GitError::Run { .. }) => return Err(unknown()),
            other => String::from_utf8(line(other?)).map_err(|_bytes| unknown())?,
        };
        // Some versions repeat the option before the answer.
        let commit = found.lines().last().unwrap_or_default().to_owned();
        let is_name =
            matches!(commit.len(), 40 | 64) && commit.bytes().all(|it| it.is_ascii_hexdigit());
        if is_name { Ok(commit) } else { Err(unknown()) }
    }

    /// Returns why a revision may not be there.
    fn hint(&self) -> &'static str {
        let says = |arguments: &[&str]| {
            let mut command = git(&self.top);
            command.arg("rev-parse").args(arguments);
            run("rev-parse", command).map(line).ok()
        };
        if says(&["--verify", "--quiet", "HEAD"]).is_none() {
            return ": there is no commit yet";
        }
        if says(&["--is-shallow-repository"]).is_some_and(|it| it == b"true") {
            return "; this clone is shallow: fetch the commit first (`git fetch --depth=1 origin REV`)";
        }
        ""
    }
}

fn git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(folder).env_clear().stdin(Stdio::null());
    for name in fetch::GIT_ENVIRONMENT.into_iter().chain(ENVIRONMENT) {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    // What goes wrong is said in one language, and nothing is asked or run on the side.
    command.env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0").env("GIT_OPTIONAL_LOCKS", "0");
    command.args(["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"]);
    command
}

fn run(verb: &'static str, mut command: Command) -> Result<Vec<u8>, GitError> {
    let output = command.output().map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            return GitError::NoGit;
        }
        GitError::Run { verb, reason: error.to_string() }
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = said.trim();
    let reason = if reason.is_empty() { output.status.to_string() } else { reason.to_owned() };
    Err(GitError::Run { verb, reason })
}

fn disk(verb: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> GitError {
    let path = path.to_owned();
    move |source| GitError::Disk { verb, path, source }
}

/// Returns an answer without the end of its line.
fn line(mut answer: Vec<u8>) -> Vec<u8> {
    if answer.last() == Some(&b'\n') {
        answer.pop();
    }
    answer
}

/// Takes what `ls-files -z --stage` lists apart: the names of files, each ended by a NUL, and the submodules.
fn files_and_submodules(listed: &[u8]) -> (Vec<u8>, Vec<String>) {
    let mut names = Vec::new();
    let mut submodules = Vec::new();
    for entry in listed.split(|byte| *byte == 0) {
        let Some(tab) = entry.iter().position(|byte| *byte == b'\t') else { continue };
        let (facts, name) = (&entry[..tab], &entry[tab + 1..]);
        if facts.starts_with(SUBMODULE_MODE) {
            submodules.push(String::from_utf8_lossy(name).into_owned());
        } else {
            names.extend_from_slice(name);
            names.push(0);
        }
    }
    (names, submodules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_any_byte_in_them_are_taken_as_they_are() {
        let listed =
            b"100644 aa 0\ta\nb\x00100755 bb 0\t\"q\"\tc\x00160000 cc 0\tsub\x00120000 dd 0\t\xff\x00";
        let (names, submodules) = files_and_submodules(listed);
        assert_eq!(names, b"a\nb\0\"q\"\tc\0\xff\0");
        assert_eq!(submodules, ["sub"]);
    }
}
