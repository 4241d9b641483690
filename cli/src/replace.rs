//! Files that are written whole or not at all.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::CliError;

/// Writes a file in the place of what stands there: whoever reads it finds the old or the new text, and whatever was a
/// link is none any more.
pub(crate) fn replace(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), CliError> {
    let beside = beside(path);
    let written = fs::write(&beside, bytes).map_err(CliError::disk("write", &beside));
    let written =
        written.and_then(|()| fs::rename(&beside, path).map_err(CliError::disk("write", path)));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

/// Returns a path in the same folder that no other process or thread uses.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!("{}{:?}", mark(), std::thread::current().id()));
    path.with_file_name(name)
}

/// Returns whether a file of this name is one that this process has not finished.
pub(crate) fn is_unfinished(name: &OsStr) -> bool {
    name.to_string_lossy().contains(&mark())
}

fn mark() -> String {
    format!(".new-{}-", std::process::id())
}
