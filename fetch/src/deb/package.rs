//! Package indexes (`Packages`): read in one pass, only the needed fields kept.

use std::io::BufRead;

use model::RelativePath;

use super::relation::{Dependency, RelationError, parse_dependencies};
use super::version::Version;
use crate::Sha256;

/// The longest line that is read, in bytes: the longest known are `Depends` of some 50 KB.
const LINE_BYTES_MAX: usize = 1 << 20;

/// The kept fields, in the order of [`Field`].
const FIELDS: [&str; 11] = [
    "package",
    "version",
    "architecture",
    "pre-depends",
    "depends",
    "provides",
    "conflicts",
    "breaks",
    "filename",
    "size",
    "sha256",
];

#[derive(Clone, Copy)]
enum Field {
    Package,
    Version,
    Architecture,
    PreDepends,
    Depends,
    Provides,
    Conflicts,
    Breaks,
    Filename,
    Size,
    Sha256,
}

/// One package of an index. Its fields lie one after another in one text: an index has 60,000 of these.
#[derive(Clone, Debug)]
pub struct Package {
    text: Box<str>,
    ends: [u32; FIELDS.len()],
    version: Version,
    sha256: Sha256,
    size: u64,
    /// Whether its source asks not to be used unless needed (`NotAutomatic: yes`, as backports do).
    pub reluctant: bool,
}

impl Package {
    fn field(&self, field: Field) -> &str {
        let index = field as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.text[start..self.ends[index] as usize]
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        self.field(Field::Package)
    }

    /// Returns the version.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// Returns the architecture, or `all`.
    pub fn arch(&self) -> &str {
        self.field(Field::Architecture)
    }

    /// Returns the path of the archive below the mirror.
    pub fn path(&self) -> &str {
        self.field(Field::Filename)
    }

    /// Returns the size of the archive in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the hash of the archive.
    pub fn sha256(&self) -> Sha256 {
        self.sha256
    }

    /// Returns `Pre-Depends` and `Depends`.
    pub fn dependencies(&self) -> Result<Vec<Dependency>, RelationError> {
        let mut all = parse_dependencies(self.field(Field::PreDepends))?;
        all.extend(parse_dependencies(self.field(Field::Depends))?);
        Ok(all)
    }

    /// Returns `Provides`.
    pub fn provides(&self) -> Result<Vec<Dependency>, RelationError> {
        parse_dependencies(self.field(Field::Provides))
    }

    /// Returns `Conflicts` and `Breaks`.
    pub fn conflicts(&self) -> Result<Vec<Dependency>, RelationError> {
        let mut all = parse_dependencies(self.field(Field::Conflicts))?;
        all.extend(parse_dependencies(self.field(Field::Breaks))?);
        Ok(all)
    }
}

/// Reads the packages for `arch` (and `all`) from an index and hands each to `keep`.
pub fn read_packages(
    mut index: impl BufRead,
    arch: &str,
    reluctant: bool,
    mut keep: impl FnMut(Package),
) -> Result<(), IndexError> {
    let mut stanza = Stanza::default();
    let mut line = Vec::new();
    let mut number = 0_usize;
    loop {
        number += 1;
        line.clear();
        let mut limited = std::io::Read::take(&mut index, LINE_BYTES_MAX as u64);
        let length =
            limited.read_until(b'\n', &mut line).map_err(|source| IndexError::Read { source })?;
        if length == LINE_BYTES_MAX {
            return Err(IndexError::Line { line: number });
        }
        let text = line.trim_ascii_end();
        if text.is_empty() {
            if let Some(package) = stanza
                .take(arch, reluctant)
                .map_err(|field| IndexError::Stanza { line: number, field })?
            {
                keep(package);
            }
            if length == 0 {
                return Ok(());
            }
            continue;
        }
        stanza.take_line(text).map_err(|()| IndexError::Line { line: number })?;
    }
}

/// Why an index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// It cannot be read or decompressed.
    #[error("cannot read the index")]
    Read {
        /// What the system or the decompressor said.
        source: std::io::Error,
    },
    /// A line is too long or not text.
    #[error("line {line} is not a field")]
    Line {
        /// Its number.
        line: usize,
    },
    /// A package lacks a field, or has a malformed one.
    #[error("the package before line {line} has no usable `{field}`")]
    Stanza {
        /// The number of the line after it.
        line: usize,
        /// The field.
        field: &'static str,
    },
}

/// The fields of the package that is being read.
#[derive(Default)]
struct Stanza {
    values: [String; FIELDS.len()],
    current: Option<usize>,
    any: bool,
}

impl Stanza {
    fn take_line(&mut self, line: &[u8]) -> Result<(), ()> {
        if line[0] == b' ' || line[0] == b'\t' {
            if let Some(index) = self.current {
                self.values[index].push(' ');
                self.values[index].push_str(as_text(line)?.trim_start());
            }
            return Ok(());
        }
        self.any = true;
        let colon = line.iter().position(|byte| *byte == b':').ok_or(())?;
        let name = &line[..colon];
        self.current = FIELDS.iter().position(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        if let Some(index) = self.current {
            self.values[index].push_str(as_text(&line[colon + 1..])?.trim_start());
        }
        Ok(())
    }

    /// Returns the package that was read, unless there was none or it is for another architecture.
    fn take(&mut self, arch: &str, reluctant: bool) -> Result<Option<Package>, &'static str> {
        let was_any = std::mem::take(&mut self.any);
        self.current = None;
        let its_arch = &self.values[Field::Architecture as usize];
        let wanted = was_any && (its_arch == arch || its_arch == "all");
        let package = if wanted { Some(self.package(reluctant)?) } else { None };
        self.values.iter_mut().for_each(String::clear);
        Ok(package)
    }

    fn package(&self, reluctant: bool) -> Result<Package, &'static str> {
        let value = |field: Field| self.values[field as usize].as_str();
        if value(Field::Package).is_empty() {
            return Err("package");
        }
        // Some vendors write `./` in front.
        let path = value(Field::Filename).trim_start_matches("./");
        if RelativePath::new(path).is_err() || path.is_empty() {
            return Err("filename");
        }
        let Ok(version) = Version::new(value(Field::Version)) else { return Err("version") };
        let Ok(size) = value(Field::Size).parse() else { return Err("size") };
        let Ok(sha256) = Sha256::parse(value(Field::Sha256)) else { return Err("sha256") };
        let mut ends = [0; FIELDS.len()];
        let mut text = String::with_capacity(self.values.iter().map(String::len).sum());
        for (index, (end, value)) in ends.iter_mut().zip(&self.values).enumerate() {
            text.push_str(if index == Field::Filename as usize { path } else { value });
            *end =
                u32::try_from(text.len()).expect("the fields of a package are shorter than 4 GiB");
        }
        Ok(Package { text: text.into(), ends, version, sha256, size, reluctant })
    }
}

fn as_text(bytes: &[u8]) -> Result<&str, ()> {
    std::str::from_utf8(bytes).or(Err(()))
}

impl Package {
    /// Returns the digest of the archive.
    pub fn archive(&self) -> model::Digest {
        self.sha256.sized(self.size)
    }
}
