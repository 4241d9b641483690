//! Everything once more, as a user who is nobody in particular.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use libtest_mimic::{Failed, Trial};

/// A user and group that owns nothing on this machine.
const SOMEBODY: u32 = 12345;

pub(crate) fn trials() -> Vec<Trial> {
    vec![Trial::test("all_of_it_holds_for_an_ordinary_user", run_as_somebody)]
}

fn run_as_somebody() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    // Where this program lies, others may not be allowed to look.
    let program = folder.path().join("it");
    fs::copy(std::env::current_exe()?, &program)?;
    let scratch = folder.path().join("scratch");
    fs::create_dir(&scratch)?;
    chown(&scratch, Some(SOMEBODY), Some(SOMEBODY))?;
    let output = Command::new(&program)
        .uid(SOMEBODY)
        .gid(SOMEBODY)
        .env("TMPDIR", &scratch)
        .env("HOME", &scratch)
        .current_dir("/")
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() && said.contains("test result: ok.") {
        return Ok(());
    }
    Err(format!("{said}{}", String::from_utf8_lossy(&output.stderr)).into())
}
