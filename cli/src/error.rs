//! What can stop a command, and whose fault it is.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use crate::choices::Origin;
use crate::command::run::Alternatives;
use crate::exit;

/// What stops a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error("there is no bld.toml in {} or above it: this is not a workspace (an empty bld.toml makes it one)", .0.display())]
    NoWorkspace(PathBuf),
    #[error("{} is a workspace's already, or will not be overwritten: {names}", folder.display())]
    Taken { folder: PathBuf, names: String },
    #[error("{} lies in the workspace {}: a workspace cannot hold another", folder.display(), outer.display())]
    Nested { folder: PathBuf, outer: PathBuf },
    #[error("`{key}` cannot be `{value}`, as {origin} has it: {why}")]
    Choice { key: &'static str, value: String, origin: Origin, why: String },
    #[error("the variable {0} is not UTF-8")]
    NotText(&'static str),
    #[error("{} is not a text in UTF-8", .0.display())]
    NotTextFile(PathBuf),
    #[error("{} cannot be read", path.display())]
    UserFile { path: PathBuf, source: toml::de::Error },
    #[error("{place}there is no key `{name}`{hint}")]
    UnknownKey { place: String, name: String, hint: String },
    #[error("{place}: `{name}` is a text or a number")]
    Shape { place: String, name: String },
    #[error("{place}: `{text}` is neither absolute nor does it begin with `~/`")]
    RelativeStore { place: String, text: String },
    #[error("{place}: `{text}` begins with `~/`, and HOME is not set")]
    NoHome { place: String, text: String },
    #[error(transparent)]
    Remote(store::RemoteError),
    #[error(
        "no server is named: say --remote URL, set BLD_REMOTE, or name one as `url` under [remote] in bld.toml"
    )]
    NoRemote,
    #[error(
        "{0} is named by the workspace alone, so it is not told what would prove who asks: choose it by --remote, \
         BLD_REMOTE, or `remote` in your own file"
    )]
    NotChosen(String),
    #[error("{name} cannot be `{value}`: {why}")]
    Variable { name: &'static str, value: String, why: &'static str },
    #[error("the remote needs a certificate of this machine and its key, and only one is named")]
    HalfIdentity,
    #[error("cannot go to {}", path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error(
        "cannot tell where the store should be: neither HOME nor XDG_CACHE_HOME is set; use --store"
    )]
    NoStore,
    #[error("cannot {verb} {}", path.display())]
    Disk { verb: &'static str, path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Config(#[from] engine::ConfigError),
    #[error("`{0}` is not NAME=VALUE")]
    Setting(String),
    #[error(transparent)]
    Files(#[from] engine::FilesError),
    #[error(transparent)]
    Pattern(#[from] engine::LabelError),
    #[error(transparent)]
    Diagnostic(#[from] engine::Diagnostic),
    #[error("{label} asks for something that cannot be locked")]
    Request { label: String, source: serde_json::Error },
    #[error("bld.lock cannot be read; mend it, or remove it and lock anew")]
    Lock(#[from] fetch::LockError),
    #[error("bld.lock would have to change, which --locked forbids")]
    Locked(#[source] fetch::Stale),
    #[error("cannot lock the outside world")]
    Fetch(#[source] Box<fetch::FetchError>),
    #[error(transparent)]
    Store(#[from] store::StoreError),
    #[error("the build broke off")]
    Build(#[source] Arc<engine::BuildError>),
    #[error(transparent)]
    Execute(#[from] executor::ExecuteError),
    #[error("the store's copy of {} is damaged; `bld cache verify` sets it aside", path.display())]
    Damaged { path: PathBuf, source: store::StoreError },
    #[error("{0}")]
    Collision(String),
    #[error(
        "no log of {pattern} is known: it was never built here, or its record was pruned{hint}"
    )]
    NoLog { pattern: String, hint: String },
    #[error(
        "nothing of {pattern} is known: it was never built here, or that was too long ago{hint}"
    )]
    NoHistory { pattern: String, hint: String },
    #[error("there is no build `{text}`; {known} (say a number, `last` or `last-1`)")]
    NoBuild { text: String, known: String },
    #[error("--json and --events - both want standard output: give --events a file")]
    TwoAnswers,
    #[error("{one} and {other} both name {}: give each a file of its own", path.display())]
    SameFile { one: &'static str, other: &'static str, path: PathBuf },
    #[error(
        "there is no test in {0}: tests are targets of rules with `test = True`, such as `test` of @rules//test.bzl"
    )]
    NoTests(String),
    #[error("no target among these has the axis `{axis}`, whose values --by divides{suggestion}")]
    NoAxis { axis: String, suggestion: String },
    #[error("cannot tell what has changed")]
    Git(#[from] crate::git::GitError),
    #[error("`{0}` stands for no cell that is built")]
    NoCell(String),
    #[error("`{pattern}` stands for several {what}, and one is wanted:{choices}")]
    Several { pattern: String, what: &'static str, choices: Alternatives },
    #[error("`{pattern}` stands for no command that could be entered; there are:{choices}")]
    NoCommand { pattern: String, choices: Alternatives },
    #[error("`{pattern}` has no action with the role `{role}`{hint}; its actions are:{choices}")]
    NoRole { pattern: String, role: String, hint: String, choices: Alternatives },
    #[error("{target} makes nothing that can be run; it makes:{made}")]
    NoProgram { target: String, made: Alternatives },
    #[error("{target} makes several programs; choose one with --output:{choices}")]
    Programs { target: String, choices: Alternatives },
    #[error("{target} makes no program `{output}`; it makes:{choices}")]
    NoSuchProgram { target: String, output: String, choices: Alternatives },
    #[error("cannot run {}", path.display())]
    Run { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Bench(#[from] crate::command::bench::BenchError),
    #[error(transparent)]
    Server(#[from] cas_server::admin::AdminError),
    #[error(transparent)]
    Serve(#[from] cas_server::ServeError),
    #[error(transparent)]
    Trace(#[from] cas_server::trace::TraceError),
    #[error(transparent)]
    ServerConfig(#[from] cas_server::ConfigError),
    #[error(transparent)]
    Token(#[from] cas_server::TokenError),
    #[error(transparent)]
    Authority(#[from] cas_server::AuthorityError),
    #[error(transparent)]
    NotAbove(#[from] cas_server::NotAbove),
    #[error("--dns and --ip are for the certificates of servers, and this is a client's")]
    ClientAddress,
    #[error(
        "--namespace, --reads and --rights are for the certificates of clients, and this is a server's"
    )]
    ServerRights,
    #[error("interrupted")]
    Interrupted,
}

impl CliError {
    pub(crate) fn disk(
        verb: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Disk { verb, path, source }
    }

    /// Returns whether what was asked for makes no sense: a mistake that somebody can mend in a file.
    pub(crate) fn is_mistake(&self) -> bool {
        self.exit_number() == exit::USER_ERROR
    }

    /// Returns what `bld` exits with.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit_number())
    }

    fn exit_number(&self) -> u8 {
        match self {
            Self::NoWorkspace(_)
            | Self::Taken { .. }
            | Self::Choice { .. }
            | Self::NotText(_)
            | Self::NotTextFile(_)
            | Self::NoHome { .. }
            | Self::UserFile { .. }
            | Self::UnknownKey { .. }
            | Self::Shape { .. }
            | Self::RelativeStore { .. }
            | Self::Nested { .. }
            | Self::Directory { .. }
            | Self::NoStore
            | Self::Remote(_)
            | Self::NoRemote
            | Self::NotChosen(_)
            | Self::Variable { .. }
            | Self::HalfIdentity
            | Self::Config(_)
            | Self::Setting(_)
            | Self::Pattern(_)
            | Self::Diagnostic(_)
            | Self::Request { .. }
            | Self::Lock(_)
            | Self::Locked(_)
            | Self::Collision(_)
            | Self::NoLog { .. }
            | Self::NoHistory { .. }
            | Self::NoBuild { .. }
            | Self::TwoAnswers
            | Self::SameFile { .. }
            | Self::NoTests(_)
            | Self::NoAxis { .. }
            | Self::NoCell(_)
            | Self::Several { .. }
            | Self::NoCommand { .. }
            | Self::NoRole { .. }
            | Self::NoProgram { .. }
            | Self::Programs { .. }
            | Self::NoSuchProgram { .. }
            | Self::NotAbove(_)
            | Self::ClientAddress
            | Self::ServerRights => exit::USER_ERROR,
            Self::ServerConfig(error) if error.is_mistake() => exit::USER_ERROR,
            Self::Serve(error) if error.is_mistake() => exit::USER_ERROR,
            Self::Trace(error) if error.is_mistake() => exit::USER_ERROR,
            Self::Token(error) if error.is_mistake() => exit::USER_ERROR,
            Self::Authority(error) if error.is_mistake() => exit::USER_ERROR,
            Self::Fetch(error) if !error.is_transient() => exit::USER_ERROR,
            Self::Build(error) if is_mistake(error) => exit::USER_ERROR,
            Self::Git(error) if error.is_mistake() => exit::USER_ERROR,
            Self::Files(error) if is_content(&error.source) => exit::USER_ERROR,
            Self::Bench(error) if error.is_mistake() => exit::USER_ERROR,
            Self::Server(error) if error.is_mistake() => exit::USER_ERROR,
            Self::Git(_)
            | Self::Server(_)
            | Self::Bench(_)
            | Self::Fetch(_)
            | Self::Build(_)
            | Self::Disk { .. }
            | Self::Files(_)
            | Self::Run { .. }
            | Self::Store(_)
            | Self::Damaged { .. }
            | Self::ServerConfig(_)
            | Self::Token(_)
            | Self::Authority(_)
            | Self::Serve(_)
            | Self::Trace(_)
            | Self::Execute(_) => exit::INFRASTRUCTURE,
            Self::Interrupted => exit::INTERRUPTED,
        }
    }
}

/// Returns whether what a file is, and not the machine, is why it cannot be read: no text, no file, too large.
fn is_content(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, Other};
    matches!(error.kind(), InvalidData | Other)
}

/// Returns whether the workspace, not the machine, is to blame for a build that broke off.
fn is_mistake(error: &engine::BuildError) -> bool {
    use engine::BuildError as Error;
    match error {
        Error::Source(_)
        | Error::Inputs { .. }
        | Error::NoSuchPath { .. }
        | Error::NotATree { .. }
        | Error::UnknownBuiltin { .. } => true,
        Error::Store(_) | Error::Execute { .. } | Error::Gone { .. } => false,
    }
}
