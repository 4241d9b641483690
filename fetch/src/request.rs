//! What targets ask to be locked, as rules say it.

use std::collections::BTreeSet;

use model::{InvalidPath, ParseDigestError, PathSegment, RelativePath};
use serde::{Deserialize, Serialize};

use crate::Sha256;
use crate::deb::kernels::Pattern;
use crate::deb::relation::{Relation, RelationError};
use crate::http::{Url, UrlError};
use crate::parcel::{ArchiveOptions, Commit, InvalidCommit};

/// What a target asks to be locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The target, such as `//drivers:kernels`.
    pub label: String,
    /// What it wants.
    pub wants: Wants,
}

impl Request {
    /// Returns the hash of what is wanted; the order of packages and patterns does not count.
    pub(crate) fn digest(&self) -> Sha256 {
        let mut wants = self.wants.clone();
        if let Wants::DebianKernels { releases, .. } = &mut wants {
            releases.sort();
            releases.dedup();
        }
        if let Wants::DebianPackages { packages: names, .. }
        | Wants::DebianKernels { patterns: names, .. } = &mut wants
        {
            names.sort();
            names.dedup();
        }
        Sha256::of(&serde_json::to_vec(&wants).expect("texts and lists of texts have a JSON form"))
    }
}

/// What a target wants from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Wants {
    /// A build root: packages and all they depend on.
    DebianPackages {
        /// `name`, `name=version` or `name (>= version)`.
        packages: Vec<String>,
        /// The architecture, as Debian calls it.
        arch: String,
    },
    /// The headers of every kernel that matches.
    DebianKernels {
        /// Patterns on `uname -r`, such as `6.1.0-*-amd64`.
        patterns: Vec<String>,
        /// Kernels by name, which may have no headers anywhere. A request without them is what it always was.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        releases: Vec<String>,
        /// The architecture, as Debian calls it.
        arch: String,
        /// Whether the kernels themselves are wanted, too. Not said where they are not: a request is known by its
        /// hash, and older locks know none of this.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        images: bool,
    },
    /// An archive, unpacked.
    HttpArchive {
        /// Where it can be had.
        urls: Vec<String>,
        /// The hash of the archive.
        sha256: String,
        /// The directory inside it that becomes the root; empty for none.
        #[serde(default)]
        strip_prefix: String,
        /// Whether it is a whole system, whose links may be absolute.
        #[serde(default)]
        root: bool,
    },
    /// A file as it is.
    HttpFile {
        /// Where it can be had.
        urls: Vec<String>,
        /// The hash of the file.
        sha256: String,
        /// Its name in the tree.
        #[serde(rename = "file_name")]
        name: String,
        /// Whether it may be executed.
        #[serde(default)]
        executable: bool,
    },
    /// The files of a commit.
    GitSource {
        /// The repository.
        remote: String,
        /// The whole name of the commit.
        commit: String,
    },
}

/// Why a target's wish makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum WantsError {
    /// A hash is not one.
    #[error("sha256: {0}")]
    Sha256(#[from] ParseDigestError),
    /// A name or path is not one.
    #[error("path: {0}")]
    Path(#[from] InvalidPath),
    /// An address is not one.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// There is no address.
    #[error("urls: at least one is needed")]
    NoUrls,
    /// A commit is not pinned.
    #[error(transparent)]
    Commit(#[from] InvalidCommit),
    /// A package is not named so that it can be understood.
    #[error("packages: {0}")]
    Package(#[from] RelationError),
    /// A pattern cannot be used.
    #[error("patterns: {0}")]
    Pattern(#[from] regex::Error),
    /// A remote would be read as an option.
    #[error("remote: `{0}` is not the address of a repository")]
    Remote(String),
}

/// What is wanted, understood.
pub(crate) enum Wish {
    Packages { roots: Vec<Relation>, arch: String },
    Kernels { patterns: Vec<Pattern>, releases: BTreeSet<String>, arch: String, images: bool },
    Archive { urls: Vec<Url>, sha256: Sha256, options: ArchiveOptions },
    File { urls: Vec<Url>, sha256: Sha256, name: PathSegment, executable: bool },
    Git { remote: String, commit: Commit },
}

impl Wants {
    pub(crate) fn parse(&self) -> Result<Wish, WantsError> {
        Ok(match self {
            Self::DebianPackages { packages, arch } => {
                let roots = packages.iter().map(|text| Relation::parse_request(text));
                Wish::Packages { roots: roots.collect::<Result<_, _>>()?, arch: arch.clone() }
            }
            Self::DebianKernels { patterns, releases, arch, images } => {
                let patterns = patterns.iter().map(|text| Pattern::new(text));
                Wish::Kernels {
                    patterns: patterns.collect::<Result<_, _>>()?,
                    releases: releases.iter().cloned().collect(),
                    arch: arch.clone(),
                    images: *images,
                }
            }
            Self::HttpArchive { urls, sha256, strip_prefix, root } => Wish::Archive {
                urls: parse_urls(urls)?,
                sha256: Sha256::parse(sha256)?,
                options: ArchiveOptions {
                    strip_prefix: RelativePath::new(strip_prefix.trim_end_matches('/'))?,
                    root: *root,
                },
            },
            Self::HttpFile { urls, sha256, name, executable } => Wish::File {
                urls: parse_urls(urls)?,
                sha256: Sha256::parse(sha256)?,
                name: PathSegment::new(name.as_str())?,
                executable: *executable,
            },
            Self::GitSource { remote, commit } => {
                if remote.is_empty() || remote.starts_with('-') || remote.contains("::") {
                    return Err(WantsError::Remote(remote.clone()));
                }
                Wish::Git { remote: remote.clone(), commit: Commit::new(commit.as_str())? }
            }
        })
    }
}

fn parse_urls(urls: &[String]) -> Result<Vec<Url>, WantsError> {
    if urls.is_empty() {
        return Err(WantsError::NoUrls);
    }
    Ok(urls.iter().map(|url| Url::parse(url)).collect::<Result<_, _>>()?)
}
