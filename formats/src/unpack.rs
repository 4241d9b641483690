//! An archive becomes a tree.

use std::fs::File;
use std::io::{BufReader, Seek as _};

use model::{RelativePath, TreeDigest};
use serde::{Deserialize, Serialize};
use store::LocalStore;

use crate::assembly::Assembly;
use crate::{Fault, Limits, UnpackError, deb, decompress, tarball, zipfile};

/// The version of the rules by which archives become trees; a lock names it.
///
/// Any change after which some archive becomes another tree needs a new one, and the old one kept.
pub const UNPACK_RULES_VERSION: u32 = 1;

/// How much of an archive is read at a time.
const READ_BYTES: usize = 128 << 10;

/// What an archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A Debian package, of which the files are unpacked and not the scripts.
    Deb,
    /// A tar archive, compressed or not; its first bytes say how.
    Tar,
    /// A zip archive.
    Zip,
}

/// Where symbolic links may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkPolicy {
    /// Anywhere: for packages and archives that are (part of) a root.
    Verbatim,
    /// Only to what lies, by the letters of its path, inside the archive (after stripping).
    Inside,
}

/// How to unpack one archive.
#[derive(Clone, Debug)]
pub struct Unpack<'a> {
    /// What messages call the archive.
    pub archive: &'a str,
    /// What it may cost.
    pub limits: Limits,
    /// Where its links may lead.
    pub links: LinkPolicy,
    /// The directory of the archive that becomes the root; what lies elsewhere is left out.
    pub strip_prefix: Option<RelativePath>,
}

impl Unpack<'_> {
    /// Unpacks `file` into the store and returns the digest of its tree.
    ///
    /// Nothing is ever written to a path that the archive names: the tree is made in memory, the bytes of
    /// files go to the store. After a refusal the store holds blobs that nothing refers to, and no tree.
    pub fn unpack(
        &self,
        kind: Kind,
        file: File,
        store: &LocalStore,
    ) -> Result<TreeDigest, UnpackError> {
        let strip = self.strip_prefix.clone().unwrap_or_default();
        let mut assembly = Assembly::new(store, self.limits, self.links, strip);
        let tree = read(kind, file, &mut assembly).and_then(|()| assembly.finish());
        tree.map_err(|fault| UnpackError {
            archive: self.archive.to_owned(),
            entry: assembly.noted().map(str::to_owned),
            fault: Box::new(fault),
        })
    }
}

fn read(kind: Kind, mut file: File, assembly: &mut Assembly<'_>) -> Result<(), Fault> {
    file.rewind()?;
    match kind {
        Kind::Deb => deb::read(BufReader::with_capacity(READ_BYTES, file), assembly),
        Kind::Tar => {
            let source = BufReader::with_capacity(READ_BYTES, file);
            tarball::read(decompress(source, assembly.limits())?, assembly)
        }
        Kind::Zip => zipfile::read(BufReader::with_capacity(READ_BYTES, file), assembly),
    }
}
