//! Where packages come from: the machine's `sources.list` and `*.sources`.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// One suite of one mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The root of the mirror, without a slash at its end.
    pub uri: String,
    /// The suite; one with a slash at its end is a flat repository.
    pub suite: String,
    /// The components.
    pub components: Vec<String>,
    /// The only architectures to be had here; empty for all.
    pub arches: Vec<String>,
    /// The keys that may sign it.
    pub keys: Keys,
    /// Whether it is used without any signature.
    pub trusted: bool,
    /// Where it is configured: file and line.
    pub origin: String,
}

impl Source {
    /// Returns whether packages for `arch` are to be had here.
    pub fn serves(&self, arch: &str) -> bool {
        self.arches.is_empty() || self.arches.iter().any(|served| served == arch)
    }

    /// Returns whether there are no components: `bld` does not read these.
    pub fn is_flat(&self) -> bool {
        self.suite.ends_with('/')
    }
}

/// The keys that may sign a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Keyrings, binary or armoured.
    pub files: Vec<PathBuf>,
    /// Armoured keys that stand in the configuration itself.
    pub blocks: Vec<String>,
    /// If there are any, only these keys count; with `!` at the end only that very (sub)key.
    pub fingerprints: Vec<String>,
}

/// Why the machine's package sources cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line or stanza is not a source.
    #[error("{origin}: {reason}")]
    Malformed {
        /// File and line.
        origin: String,
        /// What is wrong.
        reason: &'static str,
    },
}

/// Returns the binary package sources that a machine is configured with (`/etc/apt`), in apt's order.
pub fn machine_sources(etc_apt: &Path) -> Result<Vec<Source>, crate::FetchError> {
    let keyrings = default_keyrings(etc_apt)?;
    let mut sources = Vec::new();
    let mut files = vec![etc_apt.join("sources.list")];
    files.extend(parts(&etc_apt.join("sources.list.d"))?);
    for path in files {
        let Some(text) = read(&path)? else { continue };
        let name = path.display().to_string();
        let is_deb822 = path.extension().is_some_and(|extension| extension == "sources");
        sources.extend(if is_deb822 {
            parse_deb822(&text, &name, &keyrings)?
        } else {
            parse_lines(&text, &name, &keyrings)?
        });
    }
    Ok(sources)
}

fn read(path: &Path) -> Result<Option<String>, SourcesError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SourcesError::Read { path: path.to_owned(), source }),
    }
}

/// Returns the files of a directory with names that apt reads, sorted.
fn parts(directory: &Path) -> Result<Vec<PathBuf>, SourcesError> {
    let named = |path: &Path, extensions: &[&str]| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        !name.starts_with('.')
            && name.bytes().all(plain)
            && extensions.iter().any(|extension| name.ends_with(extension))
    };
    list(directory, |path| named(path, &[".list", ".sources"]))
}

fn list(directory: &Path, keep: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, SourcesError> {
    let failed = |source| SourcesError::Read { path: directory.to_owned(), source };
    let children = match fs::read_dir(directory) {
        Ok(children) => children,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed(source)),
    };
    let mut paths = Vec::new();
    for child in children {
        let path = child.map_err(failed)?.path();
        if keep(&path) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Returns the keyrings that count where a source names none.
pub fn default_keyrings(etc_apt: &Path) -> Result<Vec<PathBuf>, SourcesError> {
    let is_keyring = |path: &Path| {
        path.extension().is_some_and(|extension| extension == "gpg" || extension == "asc")
    };
    let mut keyrings = list(etc_apt, |path| path.ends_with("trusted.gpg"))?;
    keyrings.extend(list(&etc_apt.join("trusted.gpg.d"), is_keyring)?);
    Ok(keyrings)
}

/// Parses one-line sources; `name` is what errors call the text.
pub fn parse_lines(
    text: &str,
    name: &str,
    keyrings: &[PathBuf],
) -> Result<Vec<Source>, SourcesError> {
    let mut sources = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let origin = format!("{name}:{}", index + 1);
        if line.is_empty() || line.split_whitespace().next() == Some("deb-src") {
            continue;
        }
        sources.push(parse_line(line, &origin, keyrings)?);
    }
    Ok(sources)
}

fn parse_line(line: &str, origin: &str, keyrings: &[PathBuf]) -> Result<Source, SourcesError> {
    let malformed = |reason| SourcesError::Malformed { origin: origin.to_owned(), reason };
    let rest = line
        .strip_prefix("deb")
        .filter(|rest| rest.starts_with([' ', '\t']))
        .ok_or_else(|| malformed("a line starts with `deb` or `deb-src`"))?
        .trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        None => ("", rest),
        Some(rest) => rest.split_once(']').ok_or_else(|| malformed("`[` is never closed"))?,
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    let (Some(uri), Some(suite)) = (words.next(), words.next()) else {
        return Err(malformed("an address and a suite are needed"));
    };
    let mut source = Source {
        uri: uri.trim_end_matches('/').to_owned(),
        suite,
        components: words.collect(),
        arches: Vec::new(),
        keys: Keys { files: keyrings.to_vec(), ..Keys::default() },
        trusted: false,
        origin: origin.to_owned(),
    };
    if source.components.is_empty() != source.is_flat() {
        return Err(malformed("components are needed, unless the suite ends in a slash"));
    }
    for option in options.split_whitespace() {
        let (name, value) =
            option.split_once('=').ok_or_else(|| malformed("an option needs a value"))?;
        match name {
            "arch" => source.arches = value.split(',').map(str::to_owned).collect(),
            "signed-by" => source.keys = signed_by(value, keyrings),
            "trusted" => source.trusted = is_yes(value),
            // What else apt knows (lang, target, pdiffs, by-hash …) does not change which packages there are.
            _ => {}
        }
    }
    Ok(source)
}

/// Parses deb822 sources; `name` is what errors call the text.
pub fn parse_deb822(
    text: &str,
    name: &str,
    keyrings: &[PathBuf],
) -> Result<Vec<Source>, SourcesError> {
    let mut sources = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut start = 1;
    for (index, line) in text.lines().chain([""]).enumerate() {
        let origin = format!("{name}:{}", index + 1);
        let malformed = |reason| SourcesError::Malformed { origin: origin.clone(), reason };
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            sources.extend(stanza_sources(&fields, &format!("{name}:{start}"), keyrings)?);
            fields.clear();
            start = index + 2;
        } else if line.starts_with([' ', '\t']) {
            let (_, value) =
                fields.last_mut().ok_or_else(|| malformed("a continuation of nothing"))?;
            value.push('\n');
            value.push_str(line.trim());
        } else {
            let (key, value) =
                line.split_once(':').ok_or_else(|| malformed("a field needs a colon"))?;
            fields.push((key.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    Ok(sources)
}

fn stanza_sources(
    fields: &[(String, String)],
    origin: &str,
    keyrings: &[PathBuf],
) -> Result<Vec<Source>, SourcesError> {
    let malformed = |reason| SourcesError::Malformed { origin: origin.to_owned(), reason };
    let field =
        |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let words = |name: &str| -> Vec<String> {
        field(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    let enabled = field("enabled").is_none_or(is_yes);
    if fields.is_empty() || !enabled || !words("types").contains(&"deb".to_owned()) {
        return Ok(Vec::new());
    }
    let (uris, suites, components) = (words("uris"), words("suites"), words("components"));
    if uris.is_empty() || suites.is_empty() {
        return Err(malformed("`URIs` and `Suites` are needed"));
    }
    let keys = field("signed-by").map(|value| signed_by(value, keyrings));
    let keys = keys.unwrap_or_else(|| Keys { files: keyrings.to_vec(), ..Keys::default() });
    let mut sources = Vec::new();
    for uri in &uris {
        for suite in &suites {
            let source = Source {
                uri: uri.trim_end_matches('/').to_owned(),
                suite: suite.clone(),
                components: components.clone(),
                arches: words("architectures"),
                keys: keys.clone(),
                trusted: field("trusted").is_some_and(is_yes),
                origin: origin.to_owned(),
            };
            if components.is_empty() != source.is_flat() {
                return Err(malformed("`Components` are needed, unless the suite ends in a slash"));
            }
            sources.push(source);
        }
    }
    Ok(sources)
}

/// Reads `Signed-By`: keyring files, fingerprints, or an armoured key with ` .` for its empty lines.
fn signed_by(value: &str, keyrings: &[PathBuf]) -> Keys {
    let mut keys = Keys::default();
    if value.contains("-----BEGIN PGP") {
        let lines = value.lines().map(|line| if line == "." { "" } else { line });
        keys.blocks.push(lines.collect::<Vec<_>>().join("\n"));
        return keys;
    }
    for word in value.split([',', ' ', '\n', '\t']).filter(|word| !word.is_empty()) {
        if word.starts_with('/') {
            keys.files.push(word.into());
        } else {
            keys.fingerprints.push(word.to_ascii_uppercase());
        }
    }
    if keys.files.is_empty() {
        keys.files = keyrings.to_vec();
    }
    keys
}

fn is_yes(value: &str) -> bool {
    ["yes", "true", "on", "1", "with", "enable"].contains(&value.to_ascii_lowercase().as_str())
}
