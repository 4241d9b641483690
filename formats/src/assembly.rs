//! The tree that an archive is about to become: where its entries are checked, counted and placed.

use std::collections::BTreeSet;
use std::io::{self, Read};

use model::{Node, PathSegment, RelativePath, SymlinkTarget, TreeDigest};
use store::{Draft, Entry, LocalStore};

use crate::{Fault, Limits, LinkPolicy};

/// Up to this size a file is read into a buffer that all files share: nearly all of them, and no streaming.
const SMALL_FILE_BYTES_MAX: usize = 1 << 20;

/// Where an entry goes.
#[derive(Debug)]
pub(crate) enum Place {
    /// It is the root itself, or a directory that the root lies in.
    Root,
    /// Beside the prefix that is stripped: left out.
    Outside,
    /// Into the tree.
    At(RelativePath),
}

/// The tree that an archive is about to become.
pub(crate) struct Assembly<'a> {
    store: &'a LocalStore,
    limits: Limits,
    links: LinkPolicy,
    strip: RelativePath,
    draft: Draft,
    /// The directories that exist in `draft`, for counting those that nobody named.
    directories: BTreeSet<RelativePath>,
    last_parent: RelativePath,
    entries: u64,
    names_bytes: u64,
    found_root: bool,
    noted: Option<String>,
    buffer: Vec<u8>,
}

impl<'a> Assembly<'a> {
    pub(crate) fn new(
        store: &'a LocalStore,
        limits: Limits,
        links: LinkPolicy,
        strip: RelativePath,
    ) -> Self {
        Self {
            store,
            limits,
            links,
            found_root: strip.is_root(),
            strip,
            draft: Draft::new(),
            directories: BTreeSet::from([RelativePath::root()]),
            last_parent: RelativePath::root(),
            entries: 0,
            names_bytes: 0,
            noted: None,
            buffer: vec![0; SMALL_FILE_BYTES_MAX],
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Remembers what is being read, so that a refusal can name it.
    pub(crate) fn note(&mut self, name: &[u8]) {
        let noted = self.noted.get_or_insert_default();
        noted.clear();
        noted.push_str(&String::from_utf8_lossy(name));
    }

    /// Remembers that no entry is being read.
    pub(crate) fn note_nothing(&mut self) {
        self.noted = None;
    }

    /// Returns what was noted last.
    pub(crate) fn noted(&self) -> Option<&str> {
        self.noted.as_deref()
    }

    /// Notes and counts an entry, and returns where it goes and whether its name ends in a slash.
    pub(crate) fn enter(&mut self, name: &[u8]) -> Result<(Place, bool), Fault> {
        self.note(name);
        self.count_entries(1)?;
        self.count_name(name)?;
        let place = self.place(name)?;
        // An archive of nothing but the directories that the prefix lies in does not have the prefix.
        self.found_root |= match &place {
            Place::At(_) => true,
            Place::Root => self.path(name)? == self.strip,
            Place::Outside => false,
        };
        Ok((place, name.ends_with(b"/")))
    }

    /// Makes a directory; one that is there already is fine.
    pub(crate) fn directory(&mut self, place: &Place) -> Result<(), Fault> {
        let Place::At(path) = place else { return Ok(()) };
        self.count_parents(path)?;
        self.draft.directory(self.store, path)?;
        self.directories.insert(path.clone());
        Ok(())
    }

    /// Keeps the next `size` bytes of `reader` as a file.
    pub(crate) fn file(
        &mut self,
        place: &Place,
        size: u64,
        executable: bool,
        reader: &mut dyn Read,
    ) -> Result<(), Fault> {
        if size > self.limits.file_bytes {
            return Err(Fault::limit("bytes in a file", self.limits.file_bytes));
        }
        let mut content = Exactly { reader, left: size };
        match place {
            Place::Root => Err(self.not_a_directory()),
            Place::Outside => {
                io::copy(&mut content, &mut io::sink())?;
                Ok(())
            }
            Place::At(path) => {
                let small = usize::try_from(size).ok().and_then(|size| self.buffer.get_mut(..size));
                let digest = if let Some(buffer) = small {
                    content.read_exact(buffer)?;
                    self.store.ingest_bytes(buffer, executable)?
                } else {
                    self.store.ingest(&mut content, executable)?
                };
                self.add(path, Node::File { digest, executable })
            }
        }
    }

    /// Makes a symbolic link.
    pub(crate) fn symlink(&mut self, place: &Place, target: &[u8]) -> Result<(), Fault> {
        self.count_name(target)?;
        let target = str::from_utf8(target).map_err(Fault::TargetEncoding)?;
        let target = SymlinkTarget::new(target)?;
        match place {
            Place::Root => Err(self.not_a_directory()),
            Place::Outside => Ok(()),
            Place::At(path) => {
                match self.links {
                    LinkPolicy::Verbatim => {}
                    LinkPolicy::Inside => check_inside(path, &target)?,
                }
                self.add(path, Node::Symlink(target))
            }
        }
    }

    /// Makes a second name for a file that came before. No link is followed on the way to it.
    pub(crate) fn hard_link(&mut self, place: &Place, target: &[u8]) -> Result<(), Fault> {
        self.count_name(target)?;
        let refused = || Fault::HardLink { target: String::from_utf8_lossy(target).into_owned() };
        let found = match (place, self.place(target)?) {
            (Place::Root, _) => return Err(self.not_a_directory()),
            (Place::Outside, _) => return Ok(()),
            (Place::At(_), Place::At(target)) => self.draft.get(self.store, &target)?,
            (Place::At(_), Place::Root | Place::Outside) => None,
        };
        let (Place::At(path), Some(Entry::Node(node @ Node::File { .. }))) = (place, found) else {
            return Err(refused());
        };
        let node = node.clone();
        self.add(path, node)
    }

    /// Writes the directories and returns the digest of the tree.
    pub(crate) fn finish(&mut self) -> Result<TreeDigest, Fault> {
        self.note_nothing();
        if !self.found_root {
            return Err(Fault::PrefixAbsent(self.strip.clone()));
        }
        Ok(std::mem::take(&mut self.draft).finish(self.store)?)
    }

    fn add(&mut self, path: &RelativePath, node: Node) -> Result<(), Fault> {
        self.count_parents(path)?;
        Ok(self.draft.add(self.store, path, node)?)
    }

    fn not_a_directory(&self) -> Fault {
        if self.strip.is_root() {
            return Fault::malformed("the root of the archive is not a directory");
        }
        Fault::PrefixNotDirectory(self.strip.clone())
    }

    fn place(&self, name: &[u8]) -> Result<Place, Fault> {
        let path = self.path(name)?;
        if let Some(path) = path.strip_prefix(&self.strip) {
            return Ok(if path.is_root() { Place::Root } else { Place::At(path) });
        }
        let leads_to_root = self.strip.strip_prefix(&path).is_some();
        Ok(if leads_to_root { Place::Root } else { Place::Outside })
    }

    /// Parses a name: a leading `./` and a trailing slash are habits of archivers, all else is meant.
    fn path(&self, name: &[u8]) -> Result<RelativePath, Fault> {
        let name = str::from_utf8(name).map_err(Fault::Encoding)?;
        if name.is_empty() {
            return Err(Fault::malformed("the name is empty"));
        }
        if name.starts_with('/') {
            return Err(Fault::Absolute);
        }
        if name.len() > self.limits.path_bytes {
            return Err(Fault::limit("bytes in a path", self.limits.path_bytes));
        }
        if name == "." || name == "./" {
            return Ok(RelativePath::root());
        }
        let name = name.strip_prefix("./").unwrap_or(name);
        let path = RelativePath::new(name.strip_suffix('/').unwrap_or(name))?;
        if path.is_root() {
            return Err(Fault::malformed("the name is empty"));
        }
        if path.as_str().split('/').count() > self.limits.depth {
            return Err(Fault::limit("names in a path", self.limits.depth));
        }
        Ok(path)
    }

    fn count_entries(&mut self, more: u64) -> Result<(), Fault> {
        self.entries += more;
        if self.entries > self.limits.entries {
            return Err(Fault::limit("entries", self.limits.entries));
        }
        Ok(())
    }

    fn count_name(&mut self, name: &[u8]) -> Result<(), Fault> {
        self.names_bytes += name.len() as u64;
        if self.names_bytes > self.limits.names_bytes {
            return Err(Fault::limit("bytes in all names", self.limits.names_bytes));
        }
        Ok(())
    }

    /// Counts the directories that this path makes without naming them: they cost memory too.
    fn count_parents(&mut self, path: &RelativePath) -> Result<(), Fault> {
        let Some((parent, _)) = path.split_last() else { return Ok(()) };
        if parent == self.last_parent {
            return Ok(());
        }
        let mut missing = parent.clone();
        while !self.directories.contains(&missing) {
            self.count_entries(1)?;
            self.count_name(missing.as_str().as_bytes())?;
            let above = missing.split_last().map(|(above, _)| above).unwrap_or_default();
            self.directories.insert(missing);
            missing = above;
        }
        self.last_parent = parent;
        Ok(())
    }
}

/// Refuses a link that leads out of the tree, by the letters of the two paths alone.
fn check_inside(path: &RelativePath, target: &SymlinkTarget) -> Result<(), Fault> {
    let outside = || Fault::TargetOutside { target: target.to_string() };
    if target.is_absolute() {
        return Err(Fault::TargetAbsolute { target: target.to_string() });
    }
    let mut depth = path.segments().count().saturating_sub(1);
    for segment in target.as_str().split('/') {
        match segment {
            "" | "." => {}
            ".." => depth = depth.checked_sub(1).ok_or_else(outside)?,
            name => {
                PathSegment::new(name)?;
                depth += 1;
            }
        }
    }
    Ok(())
}

/// Reads a given number of bytes, and takes an earlier end for an error.
struct Exactly<'a> {
    reader: &'a mut dyn Read,
    left: u64,
}

impl Read for Exactly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        if length == 0 {
            return Ok(0);
        }
        let read = self.reader.read(&mut buffer[..length])?;
        if read == 0 {
            return Err(Fault::Truncated.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}
