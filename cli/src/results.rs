//! The folder of results, `bld-out`: what is written or removed in it never leads out of it.
//!
//! Actions make links, and one may stand where another target, another day, puts a file: no link is followed.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use model::RelativePath;

use crate::error::CliError;
use crate::replace::replace;

/// The folder of results.
pub(crate) struct Results {
    root: PathBuf,
}

impl Results {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Returns where a path is, once all above it are folders; whatever else stood there goes.
    pub(crate) fn make_way(&self, path: &RelativePath) -> Result<PathBuf, CliError> {
        for folder in above(path) {
            let at = self.root.join(&folder);
            if at.symlink_metadata().is_ok_and(|found| found.is_dir()) {
                continue;
            }
            remove(&at)?;
            fs::create_dir_all(&at).map_err(CliError::disk("create", &at))?;
        }
        Ok(self.root.join(path))
    }

    /// Makes a folder of what stands at a path, and returns where that is; what is in it stays.
    pub(crate) fn make_folder(&self, path: &RelativePath) -> Result<PathBuf, CliError> {
        let at = self.make_way(path)?;
        if !at.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            remove(&at)?;
            fs::create_dir_all(&at).map_err(CliError::disk("create", &at))?;
        }
        Ok(at)
    }

    /// Writes a file.
    pub(crate) fn write(&self, path: &RelativePath, text: &str) -> Result<(), CliError> {
        let at = self.make_way(path)?;
        if at.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            remove(&at)?;
        }
        replace(&at, text)
    }

    /// Removes what stands at a path, and the folders above it that this leaves empty. What lies behind a link is
    /// not in this folder, and stays.
    pub(crate) fn remove(&self, path: &RelativePath) -> Result<(), CliError> {
        let folders = above(path);
        let is_folder = |folder: &RelativePath| {
            self.root.join(folder).symlink_metadata().is_ok_and(|found| found.is_dir())
        };
        if !folders.iter().all(is_folder) {
            return Ok(());
        }
        remove(&self.root.join(path))?;
        for folder in folders.iter().skip(1).rev() {
            if fs::remove_dir(self.root.join(folder)).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Returns the folders above a path, the root first.
fn above(path: &RelativePath) -> Vec<RelativePath> {
    let above = std::iter::successors(path.split_last(), |(above, _)| above.split_last());
    let mut above: Vec<_> = above.map(|(above, _)| above).collect();
    above.reverse();
    above
}

/// Removes what stands at a path, if anything does.
pub(crate) fn remove(path: &Path) -> Result<(), CliError> {
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotADirectory => Ok(()),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(CliError::disk("remove", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn path(text: &str) -> RelativePath {
        RelativePath::new(text).unwrap()
    }

    /// A folder of results in which `link` leads to a folder outside that holds `mine`.
    fn with_link() -> (tempfile::TempDir, PathBuf, Results) {
        let folder = tempfile::tempdir().unwrap();
        let (outside, root) = (folder.path().join("outside"), folder.path().join("bld-out"));
        fs::create_dir_all(&outside).unwrap();
        fs::create_dir_all(root.join("a")).unwrap();
        fs::write(outside.join("mine"), "mine").unwrap();
        symlink(&outside, root.join("a/link")).unwrap();
        symlink(outside.join("mine"), root.join("a/log")).unwrap();
        let results = Results::new(root);
        (folder, outside, results)
    }

    fn entries(folder: &Path) -> Vec<String> {
        let name =
            |it: std::io::Result<fs::DirEntry>| it.unwrap().file_name().into_string().unwrap();
        fs::read_dir(folder).unwrap().map(name).collect()
    }

    #[test]
    fn nothing_is_written_or_removed_behind_a_link() {
        let (_folder, outside, results) = with_link();
        results.remove(&path("a/link/mine")).unwrap();
        results.write(&path("a/log"), "text").unwrap();
        results.write(&path("a/link/mine"), "text").unwrap();
        results.make_folder(&path("a/link/deep/folder")).unwrap();
        assert_eq!(entries(&outside), ["mine"]);
        assert_eq!(fs::read_to_string(outside.join("mine")).unwrap(), "mine");
        assert_eq!(fs::read_to_string(results.root.join("a/link/mine")).unwrap(), "text");
        assert!(results.root.join("a/log").symlink_metadata().unwrap().is_file());
    }

    #[test]
    fn what_is_removed_takes_its_empty_folders_with_it_but_not_the_root() {
        let (_folder, outside, results) = with_link();
        results.write(&path("b/c/file"), "text").unwrap();
        results.remove(&path("b/c/file")).unwrap();
        results.remove(&path("a/link")).unwrap();
        results.remove(&path("a/log")).unwrap();
        results.remove(&path("never/there")).unwrap();
        assert_eq!(entries(&results.root), Vec::<String>::new());
        assert_eq!(entries(&outside), ["mine"]);
    }
}
