//! What an earlier run found out: small files that save work and are never believed alone.
//!
//! An entry is only a hint: what it names must be in the store, and the store hashes what it holds.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use model::{Digest, DigestFunction, TreeDigest};

use crate::parcel::{Commit, Key};
use crate::{FetchError, Sha256};

/// A directory of such files.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    folder: PathBuf,
}

impl Memory {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Returns what `archive` unpacked to as such a parcel.
    pub(crate) fn tree(
        &self,
        archive: Digest,
        key: &Key,
        function: DigestFunction,
    ) -> Option<TreeDigest> {
        let text = self.look_up(&tree_name(archive, key, function))?;
        Digest::parse(function, &text).ok().map(TreeDigest)
    }

    pub(crate) fn remember_tree(
        &self,
        archive: Digest,
        key: &Key,
        tree: TreeDigest,
    ) -> Result<(), FetchError> {
        self.remember(&tree_name(archive, key, tree.0.function()), &tree.to_string())
    }

    /// Returns the digest of the archive that has this hash: a hash alone does not name a blob.
    pub(crate) fn archive(&self, sha256: Sha256) -> Option<Digest> {
        let digest =
            Digest::parse(DigestFunction::Sha256, &self.look_up(&format!("archive {sha256}"))?)
                .ok()?;
        (Sha256::from(digest) == sha256).then_some(digest)
    }

    pub(crate) fn remember_archive(&self, archive: Digest) -> Result<(), FetchError> {
        self.remember(&format!("archive {}", archive.hex()), &archive.to_string())
    }

    /// Returns the digest of the tar archive that was made of a commit.
    pub(crate) fn commit(&self, commit: &Commit) -> Option<Digest> {
        Digest::parse(DigestFunction::Sha256, &self.look_up(&format!("commit {commit}"))?).ok()
    }

    pub(crate) fn remember_commit(
        &self,
        commit: &Commit,
        archive: Digest,
    ) -> Result<(), FetchError> {
        self.remember(&format!("commit {commit}"), &archive.to_string())
    }

    fn path(&self, name: &str) -> PathBuf {
        let hex = Sha256::of(name.as_bytes()).to_string();
        self.folder.join(&hex[..2]).join(&hex[2..])
    }

    fn look_up(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.path(name)).ok()?;
        // The name stands in the file, too, so that a person can see what it is about.
        let (found, value) = text.strip_suffix('\n')?.split_once('\n')?;
        (found == name).then(|| value.to_owned())
    }

    fn remember(&self, name: &str, value: &str) -> Result<(), FetchError> {
        let path = self.path(name);
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).map_err(FetchError::disk("create", folder))?;
        let mut file =
            tempfile::NamedTempFile::new_in(folder).map_err(FetchError::disk("create", folder))?;
        writeln!(file, "{name}\n{value}").map_err(FetchError::disk("write", &path))?;
        file.persist(&path).map_err(|error| FetchError::disk("write", &path)(error.error))?;
        Ok(())
    }
}

/// Everything that decides what an archive unpacks to.
fn tree_name(archive: Digest, key: &Key, function: DigestFunction) -> String {
    let rules = formats::UNPACK_RULES_VERSION;
    let how = match key {
        Key::Deb { .. } => "deb".to_owned(),
        Key::Archive { options, .. } => {
            format!("archive root={} strip={:?}", options.root, options.strip_prefix.as_str())
        }
        Key::File { name, executable, .. } => {
            format!("file executable={executable} {:?}", name.as_str())
        }
        Key::Git { .. } => "git".to_owned(),
    };
    format!("tree {archive} {how} rules {rules} {function}")
}
