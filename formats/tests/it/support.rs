//! A store to unpack into, and trees as text.

use std::fs::File;
use std::io::Write as _;

use formats::{Kind, Limits, LinkPolicy, Unpack, UnpackError};
use model::{DigestFunction, Node, RelativePath, TreeDigest};
use store::{Durability, LocalStore};
use tempfile::TempDir;

/// A store of its own for a test.
pub(crate) struct World {
    pub store: LocalStore,
    pub limits: Limits,
    pub links: LinkPolicy,
    pub strip: Option<&'static str>,
    _folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(DigestFunction::Blake3)
    }

    pub(crate) fn with(function: DigestFunction) -> Self {
        let folder = TempDir::new().unwrap();
        let store = LocalStore::open_with(folder.path(), function, Durability::Lazy).unwrap();
        Self {
            store,
            limits: Limits::default(),
            links: LinkPolicy::Verbatim,
            strip: None,
            _folder: folder,
        }
    }

    pub(crate) fn limited(set: impl FnOnce(&mut Limits)) -> Self {
        let mut world = Self::new();
        set(&mut world.limits);
        world
    }

    pub(crate) fn inside() -> Self {
        Self { links: LinkPolicy::Inside, ..Self::new() }
    }

    pub(crate) fn stripping(prefix: &'static str) -> Self {
        Self { strip: Some(prefix), ..Self::new() }
    }

    pub(crate) fn unpack(&self, kind: Kind, bytes: &[u8]) -> Result<TreeDigest, UnpackError> {
        let unpack = Unpack {
            archive: "test archive",
            limits: self.limits,
            links: self.links,
            strip_prefix: self.strip.map(|prefix| RelativePath::new(prefix).unwrap()),
        };
        unpack.unpack(kind, file(bytes), &self.store)
    }

    /// Returns the listing of what the archive becomes.
    pub(crate) fn list(&self, kind: Kind, bytes: &[u8]) -> String {
        self.listing(self.unpack(kind, bytes).unwrap())
    }

    /// Returns why the archive is refused, as a message without the archive's name, which must be in it.
    pub(crate) fn refusal(&self, kind: Kind, bytes: &[u8]) -> String {
        let error = self.unpack(kind, bytes).unwrap_err();
        assert!(!error.is_transient());
        let message = error.to_string();
        let Some(rest) = message.strip_prefix("cannot unpack `test archive`: ") else {
            panic!("the archive is not named: {message}");
        };
        rest.to_owned()
    }

    /// Returns a tree as text: a line per directory, file or link.
    pub(crate) fn listing(&self, tree: TreeDigest) -> String {
        let mut lines = String::new();
        self.list_below(tree, &RelativePath::root(), &mut lines);
        lines
    }

    fn list_below(&self, tree: TreeDigest, path: &RelativePath, lines: &mut String) {
        use std::fmt::Write as _;
        for (name, node) in self.store.directory(tree).unwrap().unwrap().children() {
            let path = path.child(name);
            match node {
                Node::Directory(tree) => {
                    writeln!(lines, "{path}/").unwrap();
                    self.list_below(*tree, &path, lines);
                }
                Node::Symlink(target) => writeln!(lines, "{path} -> {target}").unwrap(),
                Node::File { digest, executable } => {
                    let bytes = self.store.read_bytes(*digest).unwrap().unwrap();
                    let bit = if *executable { "*" } else { "" };
                    let text = match str::from_utf8(&bytes) {
                        Ok(text) if text.len() < 80 => format!("{text:?}"),
                        _ => format!("{} bytes", bytes.len()),
                    };
                    writeln!(lines, "{path}{bit} = {text}").unwrap();
                }
            }
        }
    }
}

/// Returns an open file that holds the bytes.
pub(crate) fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

pub(crate) fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::read::GzEncoder::new(bytes, flate2::Compression::fast());
    read(&mut encoder)
}

pub(crate) fn xz(bytes: &[u8]) -> Vec<u8> {
    read(&mut liblzma::read::XzEncoder::new(bytes, 0))
}

pub(crate) fn zst(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::read::Encoder::new(bytes, 1).unwrap();
    encoder.include_checksum(true).unwrap();
    read(&mut encoder)
}

pub(crate) fn bz2(bytes: &[u8]) -> Vec<u8> {
    read(&mut bzip2::read::BzEncoder::new(bytes, bzip2::Compression::fast()))
}

/// How bytes are compressed.
pub(crate) type Compressor = fn(&[u8]) -> Vec<u8>;

/// Every codec, by the ending of its files.
pub(crate) const COMPRESSORS: [(&str, Compressor); 5] =
    [("", <[u8]>::to_vec), (".gz", gz), (".xz", xz), (".zst", zst), (".bz2", bz2)];

fn read(reader: &mut dyn std::io::Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    bytes
}
