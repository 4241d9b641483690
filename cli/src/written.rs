//! Files that a command is asked to write besides its answer.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::CliError;

/// An option that names a file, and the file: absolute.
pub(crate) type NamedFile = (&'static str, PathBuf);

/// Refuses that two options name one file: what is written first would be lost. Devices take both.
pub(crate) fn refuse_twice(files: &[NamedFile]) -> Result<(), CliError> {
    for (index, (one, path)) in files.iter().enumerate() {
        let is_same = |(_, other): &&NamedFile| real(other) == real(path);
        if let Some((other, _)) = files[..index].iter().find(is_same).filter(|_| is_file(path)) {
            return Err(CliError::SameFile { one: other, other: one, path: path.clone() });
        }
    }
    Ok(())
}

/// Makes the folder that a file is to be written into.
pub(crate) fn make_folder(path: &Path) -> Result<(), CliError> {
    let Some(folder) = path.parent() else { return Ok(()) };
    fs::create_dir_all(folder).map_err(CliError::disk("create", folder))
}

fn is_file(path: &Path) -> bool {
    path.metadata().map_or(true, |metadata| metadata.is_file())
}

/// Returns a path as it is behind links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let beside = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(beside).unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_is_one_under_every_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("d")).unwrap();
        std::os::unix::fs::symlink(at("d"), at("link")).unwrap();
        let refused = |one: &str, other: &str| {
            refuse_twice(&[("--events", at(one)), ("--trace", at("z")), ("--grid", at(other))])
                .is_err()
        };
        for (one, other) in [("a", "a"), ("d/a", "link/a"), ("a", "./a"), ("no/a", "no/./a")] {
            assert!(refused(one, other), "{one} {other}");
        }
        assert!(!refused("a", "b"));
        assert!(!refused("/dev/null", "/dev/null"));
    }
}
