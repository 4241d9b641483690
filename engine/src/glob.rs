//! Globs over the files of a package: `*` within a name, `**` over any number of folders.

use model::RelativePath;
use regex::Regex;

/// Patterns for file paths, compiled together.
#[derive(Debug)]
pub(crate) struct PathGlob(Vec<Regex>);

impl PathGlob {
    /// Compiles patterns; refuses those that could name something outside the package.
    pub(crate) fn new(patterns: &[String]) -> Result<Self, String> {
        patterns.iter().map(|pattern| compile(pattern)).collect::<Result<_, _>>().map(Self)
    }

    /// Returns whether one of the patterns matches the path.
    pub(crate) fn matches(&self, path: &RelativePath) -> bool {
        self.0.iter().any(|regex| regex.is_match(path.as_str()))
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    let refuse = |why: &str| format!("`{pattern}` is not a glob for files of this package: {why}");
    if pattern.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Err(refuse("it is absolute, or has an empty, `.` or `..` part"));
    }
    let mut regex = String::from("(?s)^");
    let parts: Vec<_> = pattern.split('/').collect();
    for (index, part) in parts.iter().enumerate() {
        let last = index + 1 == parts.len();
        if *part == "**" {
            regex.push_str(if last { ".+" } else { "(?:[^/]+/)*" });
            continue;
        }
        if part.contains("**") {
            return Err(refuse("`**` stands for whole folders"));
        }
        for character in part.chars() {
            match character {
                '*' => regex.push_str("[^/]*"),
                '?' => regex.push_str("[^/]"),
                other => regex.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
            }
        }
        if !last {
            regex.push('/');
        }
    }
    regex.push('$');
    Regex::new(&regex).map_err(|_source| refuse("it is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stay_inside_a_name_and_double_stars_do_not() {
        for (pattern, path, expected) in [
            ("*.c", "a.c", true),
            ("*.c", "d/a.c", false),
            ("**/*.c", "a.c", true),
            ("**/*.c", "d/e/a.c", true),
            ("d/**", "d/e/a.c", true),
            ("d/**", "d", false),
            ("a?c", "abc", true),
            ("[a].c", "a.c", false),
        ] {
            let glob = PathGlob::new(&[pattern.to_owned()]).unwrap();
            assert_eq!(
                glob.matches(&RelativePath::new(path).unwrap()),
                expected,
                "{pattern} {path}"
            );
        }
        for pattern in ["/a", "../a", "a//b", "a/./b", "a**"] {
            PathGlob::new(&[pattern.to_owned()]).unwrap_err();
        }
    }
}
