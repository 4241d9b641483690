//! A folder in which a program works, with nothing of this machine's user around it.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;

/// How long a program may take: several times what the slowest takes.
const TIMEOUT: Duration = Duration::from_secs(240);

/// A folder, and what programs see in their environment there.
pub(super) struct Room {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

impl Room {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Not the folder itself: what lies in a home is no workspace to some.
        let home = folder.path().join("home").to_str().unwrap().to_owned();
        let path = std::env::var("PATH").unwrap();
        let variables = vec![("HOME".to_owned(), home), ("PATH".to_owned(), path)];
        Self { folder, variables }
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(super) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path().join(path)).unwrap()
    }

    pub(super) fn remove(&self, path: &str) {
        std::fs::remove_dir_all(self.path().join(path)).unwrap();
    }

    /// Sets a variable for all programs that are run from now on.
    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.push((name.to_owned(), value.into()));
    }

    /// Sets a variable to the path of something here.
    pub(super) fn set_path(&mut self, name: &str, path: &str) {
        self.set(name, self.path().join(path).to_str().unwrap());
    }

    /// Makes a repository of the folder.
    pub(super) async fn commit(&self) {
        self.run("git", &["init", "-q"]).await;
        let author = ["-c", "user.name=somebody", "-c", "user.email=somebody@localhost"];
        let commit = ["commit", "-q", "--allow-empty", "-m", "begin"];
        self.run("git", &[&author[..], &commit].concat()).await;
    }

    /// Runs a program here and returns all that it said. It must succeed.
    pub(super) async fn run(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> String {
        let mut command = Command::new(program.as_ref());
        command.args(arguments).current_dir(self.path()).env_clear();
        command.envs(self.variables.iter().cloned()).stdin(Stdio::null()).kill_on_drop(true);
        let program = program.as_ref().display();
        let done = tokio::time::timeout(TIMEOUT, command.output()).await.unwrap();
        let missing = |error| format!("{program}: {error}; is it installed?");
        let Output { status, stdout, stderr } = done.map_err(missing).unwrap();
        let said = [stdout, stderr].map(|it| String::from_utf8_lossy(&it).into_owned()).concat();
        assert!(status.success(), "{program} {arguments:?}: {status}\n{said}");
        said
    }
}
