//! The indexes of sources: found by signed Release files, verified, kept in the store by their hashes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::time::{SystemTime, UNIX_EPOCH};

use model::Digest;

use super::package::IndexError;
use super::release::{Release, ReleaseError};
use super::signature::{Checker, SignatureError};
use super::sources::Source;
use super::universe::Universe;
use crate::FetchError;
use crate::depot::{Depot, Order};
use crate::error::words;
use crate::http::{DownloadError, Url, UrlError};
use crate::parallel::each;
use crate::progress::Step;

/// The largest Release file that is read: Debian's has 150 KB.
const RELEASE_BYTES_MAX: u64 = 16 << 20;
/// The largest index, decompressed: bookworm's main has 50 MB.
const INDEX_BYTES_MAX: u64 = 1 << 30;
/// The endings that indexes are looked for with, best first.
const ENDINGS: [&str; 4] = [".xz", ".zst", ".gz", ""];
/// How many sources are asked at once.
const SOURCES_AT_ONCE: usize = 4;

/// What the sources offer.
pub(crate) struct Offer {
    /// The packages, by architecture.
    pub(crate) universes: BTreeMap<String, Universe>,
    /// What went wrong with sources: where something is missing, it may be there.
    pub(crate) failures: Vec<String>,
}

/// Why a source cannot be used.
#[derive(Debug, thiserror::Error)]
enum SourceError {
    #[error("flat repositories are not supported")]
    Flat,
    #[error(transparent)]
    Url(#[from] UrlError),
    #[error(transparent)]
    Download(#[from] DownloadError),
    #[error("{file}: {source}")]
    Signature { file: String, source: SignatureError },
    #[error(transparent)]
    Release(#[from] ReleaseError),
    #[error("its Release file lists no index `{0}`")]
    NoIndex(String),
    #[error("{path}: {source}")]
    Index { path: String, source: IndexError },
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

/// Reads what the sources offer for some architectures. A source that fails is warned of.
pub(crate) fn load(
    depot: &Depot<'_>,
    sources: &[Source],
    checker: Option<&Checker>,
    arches: &BTreeSet<String>,
) -> Offer {
    let serving: Vec<&Source> =
        sources.iter().filter(|source| arches.iter().any(|arch| source.serves(arch))).collect();
    let indexes =
        each(SOURCES_AT_ONCE, &serving, |source| load_source(depot, source, checker, arches));
    let mut universes: BTreeMap<String, Universe> =
        arches.iter().map(|arch| (arch.clone(), Universe::new(arch.as_str()))).collect();
    let mut failures = Vec::new();
    for (source, result) in serving.iter().zip(indexes) {
        let mut fail = |error: &SourceError| {
            let failure = format!(
                "{} {} ({}): {}",
                shown(&source.uri),
                source.suite,
                source.origin,
                words(error)
            );
            depot.progress.warn(&failure);
            failures.push(failure);
        };
        match result {
            Ok(shelf) => {
                shelf.lacking.iter().for_each(&mut fail);
                if let Err(error) = read_shelf(depot, &shelf, &mut universes) {
                    fail(&error);
                }
            }
            Err(error) => fail(&error),
        }
    }
    let universes =
        universes.into_iter().map(|(arch, universe)| (arch, universe.sorted())).collect();
    Offer { universes, failures }
}

/// An address as it may be shown.
fn shown(uri: &str) -> String {
    Url::parse(uri).map_or_else(|error| error.to_string(), |url| url.to_string())
}

/// The verified indexes of one source.
struct Shelf {
    reluctant: bool,
    indexes: Vec<Index>,
    /// What should be there and is not; the rest is of use all the same.
    lacking: Vec<SourceError>,
}

struct Index {
    arch: String,
    path: String,
    digest: Digest,
}

fn load_source(
    depot: &Depot<'_>,
    source: &Source,
    checker: Option<&Checker>,
    arches: &BTreeSet<String>,
) -> Result<Shelf, SourceError> {
    if source.is_flat() {
        return Err(SourceError::Flat);
    }
    let suite = Url::parse(&source.uri)?.below(&format!("dists/{}", source.suite));
    let step = depot.progress.begin(&format!("{} {}", shown(&source.uri), source.suite), None);
    let release = Release::parse(&open_release(depot, source, &suite, checker, &*step)?)?;
    if release.valid_until.is_some_and(|until| until < now()) {
        depot
            .progress
            .warn(&format!("{suite}: its Release file has expired; the mirror may be out of date"));
    }
    let mut shelf =
        Shelf { reluctant: release.reluctant, indexes: Vec::new(), lacking: Vec::new() };
    for component in &source.components {
        for arch in arches.iter().filter(|arch| source.serves(arch)) {
            let all = release.separate_all.then_some("all");
            for kind in [Some(arch.as_str()), all].into_iter().flatten() {
                let plain = format!("{component}/binary-{kind}/Packages");
                match fetch_index(depot, &release, &suite, arch, plain, &*step) {
                    Ok(index) => shelf.indexes.push(index),
                    Err(error @ SourceError::NoIndex(_)) => shelf.lacking.push(error),
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(shelf)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Returns the text of the Release file that a signature covers.
fn open_release(
    depot: &Depot<'_>,
    source: &Source,
    suite: &Url,
    checker: Option<&Checker>,
    step: &dyn Step,
) -> Result<String, SourceError> {
    step.phase("download");
    let read = |name: &str| depot.downloader.read(&suite.below(name), RELEASE_BYTES_MAX, step);
    if source.trusted {
        depot.progress.warn(&format!(
            "{suite}: used without checking any signature ([trusted=yes], {})",
            source.origin
        ));
        let text = read("Release").or_else(|_| read("InRelease"))?;
        return as_text(text, suite);
    }
    let failed = |file: &str| {
        let file = suite.below(file).to_string();
        move |source| SourceError::Signature { file, source }
    };
    let Some(checker) = checker else {
        return Err(failed("InRelease")(SignatureError::NoChecker));
    };
    let scratch = depot.store.scratch().map_err(FetchError::from)?;
    if checker.reads_inline() {
        match read("InRelease") {
            Ok(inline) => {
                step.phase("verify");
                return checker
                    .open_inline(&inline, &source.keys, scratch.path())
                    .map_err(failed("InRelease"));
            }
            Err(error) if error.is_absence() => {}
            Err(error) => return Err(error.into()),
        }
    }
    let (text, signature) = (read("Release")?, read("Release.gpg")?);
    step.phase("verify");
    checker.open_detached(text, &signature, &source.keys, scratch.path()).map_err(failed("Release"))
}

/// Returns the text of an unsigned Release file, or what an unchecked signature stands around.
fn as_text(bytes: Vec<u8>, suite: &Url) -> Result<String, SourceError> {
    let failed = |source| SourceError::Signature { file: suite.to_string(), source };
    let text = String::from_utf8(bytes).or(Err(failed(SignatureError::NotText)))?;
    let Some(rest) = text.strip_prefix("-----BEGIN PGP SIGNED MESSAGE-----") else {
        return Ok(text);
    };
    let body = rest.split_once("\n\n").map_or(rest, |(_, body)| body);
    Ok(body.split("\n-----BEGIN PGP SIGNATURE-----").next().unwrap_or_default().to_owned())
}

fn fetch_index(
    depot: &Depot<'_>,
    release: &Release,
    suite: &Url,
    arch: &str,
    plain: String,
    step: &dyn Step,
) -> Result<Index, SourceError> {
    let offered: Vec<(String, Digest)> = ENDINGS
        .iter()
        .map(|ending| format!("{plain}{ending}"))
        .filter_map(|path| release.indexes.get(&path).map(|digest| (path, *digest)))
        .collect();
    for (path, digest) in &offered {
        let order =
            Order { name: path, sha256: (*digest).into(), size: Some(digest.size()), urls: &[] };
        if depot.kept(order, step)?.is_some() {
            return Ok(Index { arch: arch.to_owned(), path: path.clone(), digest: *digest });
        }
    }
    let mut last = SourceError::NoIndex(plain);
    // The plain index is often listed and not there: what cannot be had in one form may be had in the next.
    for (path, digest) in offered {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut urls = vec![suite.below(&path)];
        if release.by_hash {
            urls.insert(0, suite.below(&format!("{folder}/by-hash/SHA256/{}", digest.hex())));
        }
        let name = suite.below(&path).to_string();
        let order =
            Order { name: &name, sha256: digest.into(), size: Some(digest.size()), urls: &urls };
        match depot.archive(order, step) {
            Ok(digest) => return Ok(Index { arch: arch.to_owned(), path: name, digest }),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

fn read_shelf(
    depot: &Depot<'_>,
    shelf: &Shelf,
    universes: &mut BTreeMap<String, Universe>,
) -> Result<(), SourceError> {
    for index in &shelf.indexes {
        let failed = |source| SourceError::Index { path: index.path.clone(), source };
        let missing = store::StoreError::Missing { digest: index.digest };
        let file = depot.store.open_blob(index.digest).and_then(|file| file.ok_or(missing));
        let text = decompress(file.map_err(FetchError::from)?).map_err(failed)?;
        if let Some(universe) = universes.get_mut(&index.arch) {
            universe.read(text, shelf.reluctant).map_err(failed)?;
        }
    }
    Ok(())
}

fn decompress(file: File) -> Result<impl BufRead, IndexError> {
    let limits = formats::Limits { unpacked_bytes: INDEX_BYTES_MAX, ..formats::Limits::default() };
    let text = formats::decompress(BufReader::new(file), &limits);
    let text = text.map_err(|fault| IndexError::Read { source: std::io::Error::other(fault) })?;
    Ok(BufReader::with_capacity(128 << 10, text))
}
