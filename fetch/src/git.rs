//! Commits: fetched by the machine's `git`, which verifies every object by its name.
//!
//! What becomes the tree is exactly what the commit names: attributes that would leave files out, put
//! texts into them or change their line ends do not apply.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::parcel::Commit;

/// The variables that git may see: where programs, proxies, certificates and ssh keys are.
pub const GIT_ENVIRONMENT: [&str; 14] = [
    "PATH",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "GIT_SSL_CAINFO",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSH_AUTH_SOCK",
    "TMPDIR",
    "USER",
];

/// Switches off everything in `.gitattributes` that changes what `git archive` writes.
const ATTRIBUTES: &str =
    "* -export-ignore -export-subst -text -eol -crlf -ident -filter -working-tree-encoding\n";

/// How many submodules a message lists.
const SHOWN_MAX: usize = 5;

/// Why a commit cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no git.
    #[error("git is not installed (`apt-get install git`)")]
    NoGit,
    /// The remote would have to be asked over the network.
    #[error("{remote} cannot be asked: offline")]
    Offline {
        /// The repository.
        remote: String,
    },
    /// The remote does not have the commit, or does not answer.
    #[error("cannot fetch it from {remote}: {reason}")]
    Fetch {
        /// The repository.
        remote: String,
        /// What git said.
        reason: String,
    },
    /// What is there is no commit of that name.
    #[error("{remote} has something else under this name: {found}")]
    Other {
        /// The repository.
        remote: String,
        /// What is there.
        found: String,
    },
    /// It refers to other repositories.
    #[error("it has submodules, which are not fetched ({}); lock each with a git_source of its own", .paths.join(", "))]
    Submodules {
        /// Where they are.
        paths: Vec<String>,
    },
    /// git fails where it should not.
    #[error("git {verb} failed: {reason}")]
    Run {
        /// What was tried.
        verb: &'static str,
        /// What git or the system said.
        reason: String,
    },
}

impl GitError {
    /// Returns whether the same call may succeed later without anybody mending anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Fetch { .. } => true,
            Self::NoGit
            | Self::Offline { .. }
            | Self::Other { .. }
            | Self::Submodules { .. }
            | Self::Run { .. } => false,
        }
    }
}

/// Writes the files of a commit as a tar archive into `scratch` and returns its path.
pub(crate) fn archive(remote: &str, commit: &Commit, scratch: &Path) -> Result<PathBuf, GitError> {
    let repository = Repository { folder: scratch.join("repository"), home: scratch.to_owned() };
    repository.init(commit)?;
    repository.fetch(remote, commit)?;
    repository.verify(remote, commit)?;
    repository.refuse_submodules(commit)?;
    repository.archive(commit, &scratch.join("commit.tar"))
}

/// Returns the remote as it may be shown: without a password.
pub(crate) fn shown(remote: &str) -> String {
    let Some((scheme, rest)) = remote.split_once("://") else { return remote.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}{}", &rest[end..]),
        None => remote.to_owned(),
    }
}

/// Returns whether asking the remote needs no network.
pub(crate) fn is_local(remote: &str) -> bool {
    remote.starts_with('/') || remote.starts_with("file://")
}

/// A bare repository of our own, where nothing is configured.
struct Repository {
    folder: PathBuf,
    home: PathBuf,
}

impl Repository {
    fn init(&self, commit: &Commit) -> Result<(), GitError> {
        let format = if commit.is_sha256() { "sha256" } else { "sha1" };
        let mut command = self.command();
        command.args(["init", "--quiet", "--bare", "--template="]);
        command.arg(format!("--object-format={format}")).arg("--").arg(&self.folder);
        run("init", command)?;
        let info = self.folder.join("info");
        fs::create_dir_all(&info)
            .and_then(|()| fs::write(info.join("attributes"), ATTRIBUTES))
            .map_err(|source| GitError::Run { verb: "init", reason: source.to_string() })
    }

    fn fetch(&self, remote: &str, commit: &Commit) -> Result<(), GitError> {
        let exactly = ["--depth", "1", "--", remote, commit.as_str()];
        if self.fetch_with(&exactly).is_ok() {
            return Ok(());
        }
        // A server may refuse to be asked for a commit that no branch or tag points to.
        let all = ["--", remote, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
        self.fetch_with(&all).map_err(|error| match error {
            GitError::Run { reason, .. } => {
                let reason = reason.replace(remote, &shown(remote));
                GitError::Fetch { remote: shown(remote), reason }
            }
            other @ (GitError::NoGit
            | GitError::Offline { .. }
            | GitError::Fetch { .. }
            | GitError::Other { .. }
            | GitError::Submodules { .. }) => other,
        })
    }

    fn fetch_with(&self, arguments: &[&str]) -> Result<(), GitError> {
        let mut command = self.command();
        // Objects are checked as `git fsck` would, not only hashed.
        command.args(["-c", "transfer.fsckObjects=true", "-c", "fetch.fsckObjects=true"]);
        command.args(["-c", "protocol.ext.allow=never", "-c", "core.hooksPath=/dev/null"]);
        // A server that sends less than this in a minute is taken for dead.
        command.args(["-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60"]);
        command.args([
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
        ]);
        command.args(arguments);
        run("fetch", command).map(drop)
    }

    fn verify(&self, remote: &str, commit: &Commit) -> Result<(), GitError> {
        let mut command = self.command();
        command.args(["rev-parse", "--verify", "--quiet"]).arg(format!("{commit}^{{commit}}"));
        let found = run("rev-parse", command).unwrap_or_default();
        let found = String::from_utf8_lossy(&found).trim().to_owned();
        if found == commit.as_str() {
            return Ok(());
        }
        let found = if found.is_empty() { "no commit".to_owned() } else { found };
        Err(GitError::Other { remote: shown(remote), found })
    }

    fn refuse_submodules(&self, commit: &Commit) -> Result<(), GitError> {
        let mut command = self.command();
        command.args(["ls-tree", "-r", "-z", "--full-tree", commit.as_str()]);
        let listing = run("ls-tree", command)?;
        let paths: Vec<String> = listing
            .split(|byte| *byte == 0)
            .filter(|line| line.starts_with(b"160000 "))
            .filter_map(|line| line.split(|byte| *byte == b'\t').nth(1))
            .map(|path| String::from_utf8_lossy(path).into_owned())
            .take(SHOWN_MAX)
            .collect();
        if paths.is_empty() { Ok(()) } else { Err(GitError::Submodules { paths }) }
    }

    fn archive(&self, commit: &Commit, tar: &Path) -> Result<PathBuf, GitError> {
        let mut command = self.command();
        // The mask keeps modes what the commit says, whatever the machine's is.
        command.args(["-c", "tar.umask=0022", "archive", "--format=tar"]);
        command.arg("--output").arg(tar).arg(commit.as_str());
        run("archive", command)?;
        Ok(tar.to_owned())
    }

    /// Returns a git that sees no configuration, no user and nobody to ask.
    fn command(&self) -> Command {
        let mut command = Command::new("git");
        let kept = GIT_ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        let kept: Vec<(&OsStr, OsString)> =
            kept.map(|(name, value)| (OsStr::new(name), value)).collect();
        command.env_clear().envs(kept);
        command.env("HOME", &self.home).env("XDG_CONFIG_HOME", &self.home).env("LC_ALL", "C.UTF-8");
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        command
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_NO_REPLACE_OBJECTS", "1");
        command.env("GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh");
        command.env("GIT_SSH_COMMAND", "ssh -oBatchMode=yes").env("GIT_DIR", &self.folder);
        command.current_dir(&self.home).stdin(Stdio::null());
        command
    }
}

fn run(verb: &'static str, mut command: Command) -> Result<Vec<u8>, GitError> {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(GitError::NoGit),
        Err(error) => return Err(GitError::Run { verb, reason: error.to_string() }),
    };
    if output.status.success() {
        return Ok(output.stdout);
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(GitError::Run { verb, reason })
}
