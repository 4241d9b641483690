//! Labels: the names of targets, and the patterns that stand for many.

use std::fmt;

use model::{PathSegment, RelativePath};
use serde::{Deserialize, Serialize};

use crate::cell::{CellPattern, ChoiceError};

/// The name of a target: the package it lies in, and its name there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Label {
    /// The package's folder, from the root of the workspace.
    pub package: RelativePath,
    /// The name in the package.
    pub name: String,
}

/// Why a text is not a label or pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// It does not begin with `//` or `:`.
    #[error("`{0}` is not a label: labels look like //package:name, //package or :name")]
    Form(String),
    /// The package is not a path inside the workspace.
    #[error("`{text}` is not a label: its package is not a path inside the workspace")]
    Package {
        /// The text.
        text: String,
        /// What is wrong with the path.
        source: model::InvalidPath,
    },
    /// The package has characters that labels do not have.
    #[error(
        "`{0}` is not a label: the folder of a package is made of letters, digits and -_.+=,@~/"
    )]
    Folder(String),
    /// The name has characters that names do not have.
    #[error(
        "`{0}` is not a label: the name of a target is made of letters, digits and -_.+=,@~/, and is not `all` or `...`"
    )]
    Name(String),
    /// What stands in braces is not a choice of cells.
    #[error("`{text}` does not choose cells: {why}")]
    Cell {
        /// The text.
        text: String,
        /// What is wrong with the choice.
        why: ChoiceError,
    },
}

impl Label {
    /// Parses `//package:name`, `//package` or, inside the package `here`, `:name`.
    pub fn parse(text: &str, here: &RelativePath) -> Result<Self, LabelError> {
        let form = || LabelError::Form(text.to_owned());
        let (package, name) = if let Some(rest) = text.strip_prefix("//") {
            if let Some((package, name)) = rest.split_once(':') {
                (parse_package(package, text)?, name.to_owned())
            } else {
                let package = parse_package(rest, text)?;
                let (_, last) = package.split_last().ok_or_else(form)?;
                (package, last.to_string())
            }
        } else {
            (here.clone(), text.strip_prefix(':').ok_or_else(form)?.to_owned())
        };
        if !is_target_name(&name) {
            return Err(LabelError::Name(text.to_owned()));
        }
        Ok(Self { package, name })
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "//{}:{}", self.package, self.name)
    }
}

fn is_allowed(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-_.+=,@~/".contains(character)
}

/// Returns whether `name` can be the name of a target.
pub(crate) fn is_target_name(name: &str) -> bool {
    let is_pattern = name == "all" || name.ends_with("...");
    name.chars().all(is_allowed)
        && RelativePath::new(name).is_ok()
        && !name.is_empty()
        && !is_pattern
}

fn parse_package(package: &str, text: &str) -> Result<RelativePath, LabelError> {
    if !package.chars().all(is_allowed) {
        return Err(LabelError::Folder(text.to_owned()));
    }
    RelativePath::new(package)
        .map_err(|source| LabelError::Package { text: text.to_owned(), source })
}

/// Which targets somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The targets.
    pub targets: Targets,
    /// Which of their cells; all if it says nothing.
    pub cells: CellPattern,
}

/// Which targets a pattern stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// One target.
    One(Label),
    /// Every target of a package that is not tagged `manual`.
    Package(RelativePath),
    /// Every target of a package and of those below it that is not tagged `manual`.
    Below(RelativePath),
}

impl Targets {
    /// Returns whether the target of that label is among these, unless it is tagged `manual`.
    pub fn covers(&self, label: &Label) -> bool {
        match self {
            Self::One(one) => one == label,
            Self::Package(package) => *package == label.package,
            Self::Below(folder) => {
                folder.is_root()
                    || *folder == label.package
                    || label.package.strip_prefix(folder).is_some()
            }
        }
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(label) => write!(f, "{label}"),
            Self::Package(package) => write!(f, "//{package}:all"),
            Self::Below(folder) if folder.is_root() => f.write_str("//..."),
            Self::Below(folder) => write!(f, "//{folder}/..."),
        }
    }
}

impl Pattern {
    /// Returns whether this stands for every cell of a target, if it stands for the target.
    pub fn is_whole(&self, label: &Label) -> bool {
        self.cells.is_all()
            && match &self.targets {
                Targets::One(one) => one == label,
                Targets::Package(package) => *package == label.package,
                Targets::Below(folder) => label.package.strip_prefix(folder).is_some(),
            }
    }

    /// Parses `//pkg:name`, `//pkg`, `//pkg:all`, `//pkg/...` or `//...`, each maybe with `{axis=value,…}` behind it.
    /// A label may begin with `:` or without slashes; then it is meant from the package `here`.
    pub fn parse(text: &str, here: &RelativePath) -> Result<Self, LabelError> {
        let (target, cells) = split_cell(text)?;
        if target.starts_with('/') && !target.starts_with("//") {
            return Err(LabelError::Form(text.to_owned()));
        }
        let relative = !target.starts_with("//") && !target.starts_with(':');
        let absolute =
            if relative { format!("//{}", join(here, target)) } else { target.to_owned() };
        let targets = match absolute.strip_prefix("//").and_then(|rest| rest.strip_suffix("...")) {
            Some(package) => {
                let package = package.strip_suffix('/').unwrap_or(package);
                Targets::Below(parse_package(package, text)?)
            }
            None => match absolute.strip_suffix(":all") {
                Some("") => Targets::Package(here.clone()),
                Some(package) => Targets::Package(parse_package(&package[2..], text)?),
                None => Targets::One(Label::parse(&absolute, here)?),
            },
        };
        Ok(Self { targets, cells })
    }
}

/// Splits `label{axis=value}` into the label and the choice of cells.
pub(crate) fn split_cell(text: &str) -> Result<(&str, CellPattern), LabelError> {
    let Some((target, rest)) = text.split_once('{') else {
        return Ok((text, CellPattern::default()));
    };
    let malformed = |why| LabelError::Cell { text: text.to_owned(), why };
    let inside = rest.strip_suffix('}').ok_or_else(|| malformed(ChoiceError::Form))?;
    let cells = CellPattern::parse(inside).map_err(malformed)?;
    Ok((target, cells))
}

fn join(here: &RelativePath, target: &str) -> String {
    if here.is_root() { target.to_owned() } else { format!("{here}/{target}") }
}

/// Returns whether a path's last name is that of a file that declares a package.
pub(crate) fn is_build_file(name: &PathSegment) -> bool {
    name.as_str() == BUILD_FILE
}

/// The file that declares a package.
pub const BUILD_FILE: &str = "BUILD.bld";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> String {
        let here = RelativePath::new("here").unwrap();
        match Pattern::parse(text, &here) {
            Err(error) => error.to_string(),
            Ok(Pattern { targets: Targets::One(label), cells }) => format!("{label} {cells}"),
            Ok(Pattern { targets: Targets::Package(package), cells }) => {
                format!("all {package} {cells}")
            }
            Ok(Pattern { targets: Targets::Below(package), cells }) => {
                format!("below {package} {cells}")
            }
        }
    }

    #[test]
    fn patterns_stand_for_targets() {
        let cases = [
            ("//a/b:c", "//a/b:c "),
            ("//a/b", "//a/b:b "),
            (":c", "//here:c "),
            ("x:c", "//here/x:c "),
            ("//a:all", "all a "),
            (":all", "all here "),
            ("//...", "below  "),
            ("//a/...", "below a "),
            ("...", "below here "),
            ("//a:b{kernel=6.1*}", "//a:b {kernel=6.1*}"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn what_leaves_the_workspace_is_no_label() {
        for text in [
            "//../a:b", "//a/../b", "//a:..", "//a:b{", "//a:b{x}", "//", "///a:b", "//a b:c",
            "//a:b c",
        ] {
            let here = RelativePath::root();
            assert!(Pattern::parse(text, &here).is_err(), "{text}");
        }
    }
}
