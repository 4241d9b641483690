//! Kernels: which headers packages match a list of patterns, what each needs beside itself, and the kernel that
//! they are the headers of. Pure.

use super::relation::Relation;
use super::universe::{PackageId, Universe};

/// How many near names are shown where a pattern matches nothing: a line's worth.
const NEAR_NAMES_MAX: usize = 5;

/// One kernel of a distribution: what a module for it is built against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// What `uname -r` says there.
    pub uname: String,
    /// `linux-headers-<uname>`.
    pub headers: PackageId,
    /// The headers that flavours share.
    pub common: PackageId,
    /// The host programs: modpost and its like.
    pub kbuild: PackageId,
    /// The kernel itself: `linux-image-<uname>`, unless nobody offers one.
    pub image: Option<PackageId>,
}

/// A pattern on the names of kernels: `*` stands for anything, `?` for one character.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    regex: regex::Regex,
}

impl Pattern {
    /// Parses a pattern.
    pub fn new(text: &str) -> Result<Self, regex::Error> {
        let mut regex = String::from("^");
        for character in text.chars() {
            match character {
                '*' => regex.push_str(".*"),
                '?' => regex.push('.'),
                other => regex.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
            }
        }
        regex.push('$');
        Ok(Self { text: text.to_owned(), regex: regex::Regex::new(&regex)? })
    }

    /// Returns the pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether the kernel of that name is meant.
    pub fn matches(&self, uname: &str) -> bool {
        self.regex.is_match(uname)
    }
}

/// Returns every kernel of which a module can be built, by name.
///
/// Meta packages (`linux-headers-amd64`) and common ones are none: a kernel's headers need a
/// common package and the host programs.
pub fn kernels(universe: &Universe) -> Vec<Kernel> {
    let unames = universe.names().filter_map(|name| name.strip_prefix("linux-headers-"));
    unames.filter_map(|uname| kernel(universe, uname)).collect()
}

fn kernel(universe: &Universe, uname: &str) -> Option<Kernel> {
    let candidates = universe.candidates(&format!("linux-headers-{uname}"));
    // The newest one whose companions are there too: an index may be caught in the middle of an update.
    candidates.iter().find_map(|headers| {
        let package = universe.package(*headers);
        if package.arch() != universe.arch() {
            return None;
        }
        let relations: Vec<Relation> =
            package.dependencies().ok()?.into_iter().flat_map(|any| any.0).collect();
        let best = |is_it: &dyn Fn(&str) -> bool| {
            let relation = relations.iter().find(|relation| is_it(&relation.name))?;
            universe.real(relation).next()
        };
        let common = best(&|name| name.starts_with("linux-headers-") && name.contains("-common"))?;
        let kbuild = best(&|name| name.starts_with("linux-kbuild-"))?;
        let image = image(universe, uname, *headers);
        Some(Kernel { uname: uname.to_owned(), headers: *headers, common, kbuild, image })
    })
}

/// Returns the kernel that belongs to a headers package.
///
/// Debian signs kernels days after it has built them. Until then there is one of the same version that is not signed,
/// or a signed one of another version, which loads the same modules: its name stands for them.
fn image(universe: &Universe, uname: &str, headers: PackageId) -> Option<PackageId> {
    let (signed, unsigned) =
        (format!("linux-image-{uname}"), format!("linux-image-{uname}-unsigned"));
    let (signed, unsigned) = (universe.candidates(&signed), universe.candidates(&unsigned));
    let version = universe.package(headers).version();
    let is_same = |id: &&PackageId| universe.package(**id).version() == version;
    let same = signed.iter().find(is_same).or_else(|| unsigned.iter().find(is_same));
    same.or(signed.first()).copied()
}

/// Returns the names most like a pattern that matches nothing.
pub fn near_names(pattern: &str, unames: &[String]) -> Vec<String> {
    let plain = pattern.replace(['*', '?'], "");
    let mut scored: Vec<(usize, &String)> =
        unames.iter().map(|uname| (distance(&plain, uname), uname)).collect();
    scored.sort();
    scored.into_iter().take(NEAR_NAMES_MAX).map(|(_, uname)| uname.clone()).collect()
}

/// Returns how many characters must be added, dropped or changed (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, character) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for column in 0..other.len() {
            let change = diagonal + usize::from(character != other[column]);
            diagonal = row[column + 1];
            row[column + 1] = change.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
