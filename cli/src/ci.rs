//! Logs of continuous integration: what its service understands, and that nobody else speaks to it.
//!
//! GitHub Actions reads commands from lines that begin with `::` or hold `##[`; GitLab reads sections. A compiler's output,
//! a label or a source line could hold such words; [`Ci::tame`] takes their meaning from them.

use std::path::Path;

use engine::Place;

use crate::clock;

/// Who keeps the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ci {
    GitHub,
    GitLab,
    /// Somebody who understands nothing but text, or a person.
    Plain,
}

impl Ci {
    /// Returns who keeps the log, by the variables that the services document.
    pub(crate) fn detect() -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| value == "true");
        if is_set("GITHUB_ACTIONS") {
            Self::GitHub
        } else if is_set("GITLAB_CI") {
            Self::GitLab
        } else {
            Self::Plain
        }
    }

    /// Returns the line that begins a section which is shown folded.
    pub(crate) fn begin_group(self, title: &str) -> Option<String> {
        match self {
            Self::GitHub => Some(format!("::group::{}", escape(title))),
            Self::GitLab => {
                Some(format!("{}[collapsed=true]\r\x1b[0K{}", section("start"), self.tame(title)))
            }
            Self::Plain => None,
        }
    }

    /// Returns the line that ends it.
    pub(crate) fn end_group(self) -> Option<String> {
        match self {
            Self::GitHub => Some("::endgroup::".to_owned()),
            Self::GitLab => Some(format!("{}\r\x1b[0K", section("end"))),
            Self::Plain => None,
        }
    }

    /// Returns the line that shows an error beside the change, at its place if it has one.
    pub(crate) fn error(
        self,
        place: Option<(&Place, &Path)>,
        title: &str,
        text: &str,
    ) -> Option<String> {
        if self != Self::GitHub {
            return None;
        }
        let mut properties = format!("title={}", escape_property(title));
        if let Some((place, root)) = place {
            let file = in_repository(&root.join(&place.file));
            let file = escape_property(&file);
            properties =
                format!("file={file},line={},col={},{properties}", place.line, place.column);
        }
        Some(format!("::error {properties}::{}", escape(text)))
    }

    /// Returns a text in which nothing is a command.
    pub(crate) fn tame(self, text: &str) -> String {
        match self {
            Self::GitHub => {
                // A carriage return ends a line for the service, too.
                text.split_inclusive(['\n', '\r']).map(tame_line).collect()
            }
            Self::GitLab => text
                .replace("section_start:", "section_start :")
                .replace("section_end:", "section_end :"),
            Self::Plain => text.to_owned(),
        }
    }

    /// Like [`Ci::tame`], for JSON: it stays the same document.
    pub(crate) fn tame_json(self, text: &str) -> String {
        match self {
            // All that could stand in a command is a text, and a text may have any character written so.
            Self::GitHub if self.tame(text) != text => json_ascii(text),
            Self::GitLab => text
                .replace("section_start:", "section_start\\u003a")
                .replace("section_end:", "section_end\\u003a"),
            Self::GitHub | Self::Plain => text.to_owned(),
        }
    }
}

/// Writes a document so that neither `##[` nor what cannot be seen is left in its texts.
fn json_ascii(text: &str) -> String {
    let mut written = String::new();
    let mut hash = false;
    for character in text.chars() {
        if character.is_ascii() && !(hash && character == '[') {
            written.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                written.push_str("\\u");
                written.extend([12, 8, 4, 0].map(|shift| HEX[usize::from(*unit >> shift & 15)]));
            }
        }
        hash = character == '#';
    }
    written
}

/// The digits of an escape in JSON.
const HEX: [char; 16] =
    ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];

/// Takes from a line what makes it a command: a bar before `::`, a space in `##[`. The service compares as languages do,
/// so characters that cannot be seen do not count.
fn tame_line(line: &str) -> String {
    let seen = |it: &char| it.is_ascii_graphic() || it.is_alphanumeric();
    let seen: String = line.chars().filter(seen).collect();
    let bar = if seen.starts_with("::") { "|" } else { "" };
    let line = if seen.contains("##[") { line.replace('[', " [") } else { line.to_owned() };
    format!("{bar}{line}")
}

/// The begin or end of this process' section.
fn section(which: &str) -> String {
    let now = clock::now();
    format!("\x1b[0Ksection_{which}:{now}:bld_{}", std::process::id())
}

/// Returns the path from the root of the repository, as the service knows it.
fn in_repository(path: &Path) -> String {
    let root = std::env::var_os("GITHUB_WORKSPACE");
    let inner = root.as_deref().and_then(|root| path.strip_prefix(root).ok());
    inner.unwrap_or(path).display().to_string()
}

fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn escape_property(text: &str) -> String {
    escape(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_a_command() {
        let tame = |text| Ci::GitHub.tame(text);
        assert_eq!(tame("::error::x"), "|::error::x");
        assert_eq!(tame("  \t::set-output name=a::b"), "|  \t::set-output name=a::b");
        assert_eq!(tame("fine\r::stop-commands::x\nfine"), "fine\r|::stop-commands::x\nfine");
        assert_eq!(tame("see ##[error]x"), "see ## [error]x");
        assert_eq!(tame("\u{200b}\x1b::x"), "|\u{200b}\x1b::x");
        assert_eq!(tame("#\u{ad}#[x] a[0]"), "#\u{ad}# [x] a [0]");
        assert_eq!(tame("std::error a[0]"), "std::error a[0]");
        let json = "{\n  \"a\": \"x ##[y]é\"\n}";
        let tamed = Ci::GitHub.tame_json(json);
        assert_eq!(tamed, "{\n  \"a\": \"x ##\\u005by]\\u00e9\"\n}");
        let value = |text| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&tamed), value(json));
        let section = "\x1b[0Ksection_end:1:a\r\x1b[0K";
        assert_eq!(Ci::GitLab.tame(section), "\x1b[0Ksection_end :1:a\r\x1b[0K");
        assert_eq!(Ci::Plain.tame("::error::x"), "::error::x");
    }

    #[test]
    fn what_is_said_to_the_service_stays_on_its_line() {
        let said = Ci::GitHub.error(None, "a:b,c", "one\ntwo%\r::x").unwrap();
        assert_eq!(said, "::error title=a%3Ab%2Cc::one%0Atwo%25%0D::x");
        assert_eq!(Ci::GitHub.begin_group("a\n::x").unwrap(), "::group::a%0A::x");
        assert_eq!(Ci::GitLab.error(None, "a", "b"), None);
    }
}
