//! What packages say about each other: `Depends`, `Provides`, `Conflicts` (Debian Policy 7.1).

use std::fmt;

use super::version::{InvalidVersion, Version};

/// How a version must compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `<<`
    Earlier,
    /// `<=`
    EarlierOrEqual,
    /// `=`
    Equal,
    /// `>=`
    LaterOrEqual,
    /// `>>`
    Later,
}

impl Operator {
    fn as_str(self) -> &'static str {
        match self {
            Self::Earlier => "<<",
            Self::EarlierOrEqual => "<=",
            Self::Equal => "=",
            Self::LaterOrEqual => ">=",
            Self::Later => ">>",
        }
    }

    /// Returns whether `found` stands in this relation to `wanted`.
    pub fn holds(self, found: &Version, wanted: &Version) -> bool {
        match self {
            Self::Earlier => found < wanted,
            Self::EarlierOrEqual => found <= wanted,
            Self::Equal => found == wanted,
            Self::LaterOrEqual => found >= wanted,
            Self::Later => found > wanted,
        }
    }
}

/// One package as another names it: `libc6:any (>= 2.34)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// The name, of a real or a virtual package.
    pub name: String,
    /// What follows the colon.
    pub arch: Option<String>,
    /// What the version must be.
    pub version: Option<(Operator, Version)>,
}

impl Relation {
    /// Parses one relation.
    pub fn parse(text: &str) -> Result<Self, RelationError> {
        let malformed = || RelationError::Form(text.to_owned());
        let (names, version) = match text.trim().split_once('(') {
            None => (text.trim(), None),
            Some((names, rest)) => {
                let inner = rest.trim_end().strip_suffix(')').ok_or_else(malformed)?;
                (names.trim(), Some(parse_restriction(inner, text)?))
            }
        };
        let (name, arch) = match names.split_once(':') {
            None => (names, None),
            Some((name, arch)) => (name, Some(arch.to_owned())),
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte);
        if name.is_empty() || !name.bytes().all(plain) {
            return Err(malformed());
        }
        Ok(Self { name: name.to_owned(), arch, version })
    }

    /// Parses what a person may write for a package: also `name=version`.
    pub fn parse_request(text: &str) -> Result<Self, RelationError> {
        match text.split_once('=') {
            Some((name, version)) if !text.contains('(') => {
                let mut relation = Self::parse(name)?;
                relation.version = Some((Operator::Equal, Version::new(version.trim())?));
                Ok(relation)
            }
            _ => Self::parse(text),
        }
    }

    /// Returns whether a package of this version is meant.
    pub fn admits(&self, version: &Version) -> bool {
        self.version.as_ref().is_none_or(|(operator, wanted)| operator.holds(version, wanted))
    }

    /// Returns whether something provided is meant: without a version it satisfies no restriction.
    pub fn admits_provided(&self, version: Option<&Version>) -> bool {
        match version {
            Some(version) => self.admits(version),
            None => self.version.is_none(),
        }
    }

    /// Returns whether packages for `arch` are meant.
    pub fn is_for(&self, arch: &str) -> bool {
        self.arch
            .as_deref()
            .is_none_or(|named| named == "any" || named == "native" || named == arch)
    }
}

fn parse_restriction(inner: &str, whole: &str) -> Result<(Operator, Version), RelationError> {
    // A single `<` or `>` is obsolete and means "or equal" (Policy 7.1).
    let operators = [
        ("<<", Operator::Earlier),
        ("<=", Operator::EarlierOrEqual),
        (">=", Operator::LaterOrEqual),
        (">>", Operator::Later),
        ("=", Operator::Equal),
        ("<", Operator::EarlierOrEqual),
        (">", Operator::LaterOrEqual),
    ];
    let inner = inner.trim();
    let (rest, operator) = operators
        .iter()
        .find_map(|(sign, operator)| Some((inner.strip_prefix(sign)?, *operator)))
        .ok_or_else(|| RelationError::Form(whole.to_owned()))?;
    Ok((operator, Version::new(rest.trim())?))
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(arch) = &self.arch {
            write!(f, ":{arch}")?;
        }
        if let Some((operator, version)) = &self.version {
            write!(f, " ({} {version})", operator.as_str())?;
        }
        Ok(())
    }
}

/// Relations of which one must hold: `default-mta | mail-transport-agent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency(pub Vec<Relation>);

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, relation) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" | ")?;
            }
            relation.fmt(f)?;
        }
        Ok(())
    }
}

/// Parses a field such as `Depends`.
pub fn parse_dependencies(field: &str) -> Result<Vec<Dependency>, RelationError> {
    field
        .split(',')
        .filter(|clause| !clause.trim().is_empty())
        .map(|clause| {
            Ok(Dependency(clause.split('|').map(Relation::parse).collect::<Result<_, _>>()?))
        })
        .collect()
}

/// Why a text is not a relation between packages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelationError {
    /// It is not of the form `name`, `name:arch` or `name (>= version)`.
    #[error("`{0}` is not of the form `name`, `name=version` or `name (>= version)`")]
    Form(String),
    /// Its version is not one.
    #[error(transparent)]
    Version(#[from] InvalidVersion),
}
