//! The house checks itself: who may name whom, and what is said and done only in one place.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// Who may name whom. An edge that is not here is a decision, and needs one.
const ALLOWED: &[(&str, &str)] = &[
    ("model", ""),
    ("wire", "model"),
    ("store", "model wire"),
    ("formats", "model store"),
    ("fetch", "model store formats"),
    ("executor", "model wire store formats"),
    ("engine", "model wire store executor"),
    ("cas-server", "model wire store"),
    ("cli", "model wire store formats fetch executor engine cas-server"),
    ("testkit", "model wire store formats fetch executor engine cas-server"),
];

/// What is made by tools, or not there in a clean clone.
const SKIPPED: [&str; 4] = [".git", "target", "bld-out", "generated"];
const ENDINGS: [&str; 9] = [".rs", ".toml", ".md", ".proto", ".bzl", ".bld", ".sh", ".c", ".h"];

// In two parts each, so that this file does not find itself.
const LEFT_OPEN: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
const PRINTING: [&str; 2] = [concat!("print", "ln!"), concat!("eprint", "ln!")];
const UNCHECKED: [&str; 1] = [concat!("un", "safe")];
const GENERATED: [&str; 2] = [concat!("pro", "to::"), concat!("wire::", "proto")];

/// Returns the texts of the house whose paths have that ending, by their paths from its root.
fn house(ending: &str) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    let mut pending = vec![Path::new(ROOT).to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).expect("folders of the house can be listed") {
            let path = entry.expect("folders of the house can be listed").path();
            let name = path.strip_prefix(ROOT).expect("it lies below").display().to_string();
            if path.is_dir() {
                pending.extend((!SKIPPED.iter().any(|it| path.ends_with(it))).then_some(path));
            } else if name.ends_with(ending) && ENDINGS.iter().any(|it| name.ends_with(it)) {
                texts.insert(name, fs::read_to_string(&path).expect("texts are UTF-8"));
            }
        }
    }
    texts
}

/// Fails if a line of a file with that ending is `wrong`, which is given the path and the line.
fn refuse(ending: &str, wrong: impl Fn(&str, &str) -> bool) {
    let mut faults = Vec::new();
    for (path, text) in &house(ending) {
        let lines = text.lines().zip(1..).filter(|(line, _)| wrong(path, line));
        faults.extend(lines.map(|(line, number)| format!("{path}:{number}: {}", line.trim())));
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Returns what follows each place where one of `words` begins, not in the middle of another word.
fn after<'a>(line: &'a str, words: &[&str]) -> Vec<&'a str> {
    let places = words.iter().flat_map(|word| line.match_indices(word));
    let in_word = |it: char| it.is_alphanumeric() || it == '_';
    let alone = places.filter(|(at, _)| !line[..*at].ends_with(in_word));
    alone.map(|(at, word)| &line[at + word.len()..]).collect()
}

/// Returns what a manifest depends on, other than for tests.
fn dependencies(manifest: &str) -> Vec<&str> {
    let (mut counts, mut found) = (false, Vec::new());
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            counts = section.ends_with("dependencies]") && !section.starts_with("dev-");
            found.extend(section.strip_prefix("dependencies.").and_then(|it| it.split(']').next()));
        } else if counts {
            found.extend(line.split(['.', ' ', '=']).next());
        }
    }
    found
}

#[test]
fn crates_name_only_those_below_them_and_testkit_only_for_tests() {
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    for (path, manifest) in &house("/Cargo.toml") {
        let name = path.trim_end_matches("/Cargo.toml");
        let below = allowed.get(name).expect("every crate stands in the table");
        for named in dependencies(manifest).iter().filter(|it| allowed.contains_key(**it)) {
            assert!(below.split(' ').any(|it| it == *named), "{name} may not name {named}");
        }
    }
}

#[test]
fn every_file_says_what_it_is_and_is_declared_by_the_one_above_it() {
    let house = house(".rs");
    for (path, text) in &house {
        assert!(text.starts_with("//! "), "{path} does not begin with //!");
        let (folder, file) = path.trim_end_matches("/mod.rs").rsplit_once('/').expect("in a crate");
        let declaration = format!("mod {};", file.trim_end_matches(".rs"));
        let ends = ["/main.rs", "/lib.rs", "/mod.rs", ".rs"];
        let mut above = ends.iter().filter_map(|end| house.get(&format!("{folder}{end}")));
        let declared = above.any(|text| !after(text, &[&declaration]).is_empty());
        let top = !path.contains("/src/") && !path.contains("/tests/it/");
        let first = file == "main.rs" || file == "lib.rs";
        assert!(declared || first || top, "nobody says `{declaration}` for {path}");
    }
}

#[test]
fn what_is_left_open_has_an_owner_and_what_belongs_to_one_place_stands_there() {
    let owned = |rest: &&str| rest.starts_with('(') || rest.starts_with(char::is_alphanumeric);
    refuse("", |_, line| !after(line, &LEFT_OPEN).iter().all(owned));
    refuse(".rs", |path, line| {
        let at = |all: &[&str]| all.iter().any(|it| path.starts_with(it) || path.ends_with(it));
        let says = |words| !after(line, words).is_empty();
        !line.trim_start().starts_with("//")
            && (says(&GENERATED) && !at(&["wire/", "/grpc.rs", "/remote.rs"])
                || says(&UNCHECKED) && !at(&["executor/src/sandbox/linux.rs", "engine/src/lib.rs"])
                || says(&PRINTING) && !at(&["cli/", "bench/"]))
    });
}

#[test]
fn the_documents_name_every_field_of_every_message() {
    let house_of = |name: &str| house(name).remove(name).expect("it is there");
    let documents = [house_of("docs/FORMAT.md"), house_of("docs/PROTOCOL.md")];
    for text in house(".proto").values() {
        let mut scope = Vec::new();
        for line in text.lines().map(|line| line.split("//").next().unwrap_or_default().trim()) {
            let words: Vec<_> = line.trim_end_matches(';').split_whitespace().collect();
            match words.iter().position(|word| *word == "=" && !scope.is_empty()) {
                Some(at) => {
                    let (name, number) = (words[at - 1], words[at + 1]);
                    let row = format!("| `{}.{name}` | {number} |", scope.join("."));
                    let is_named = documents.iter().any(|it| it.contains(&row));
                    assert!(is_named, "FORMAT.md and PROTOCOL.md lack {row}");
                }
                None if line.ends_with('{') => scope.push(words[1]),
                None => {
                    // A message without fields begins and ends in one line.
                    let begun = scope.len() + line.matches('{').count();
                    scope.truncate(begun - line.matches('}').count());
                }
            }
        }
    }
}

#[test]
fn every_relative_link_in_a_text_leads_somewhere() {
    refuse(".md", |path, line| {
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        let mut inner = targets.filter(|target| !target.is_empty() && !target.contains("://"));
        inner.any(|target| !Path::new(ROOT).join(path).with_file_name(target).exists())
    });
}

#[test]
fn every_path_that_a_document_names_is_there() {
    let house = house("");
    let is_there = |path: &str| {
        let (begin, end) = path.split_once('*').unwrap_or((path, ""));
        house.keys().any(|it| it.starts_with(begin) && it.ends_with(end))
    };
    let is_ours = |path: &str| {
        let crates = || ALLOWED.iter().any(|(name, _)| path.starts_with(&format!("{name}/")));
        let ends = |ending: &&str| path.ends_with(ending);
        let is_file = path.contains('/') && [".rs", ".bzl", ".sh", ".md"].iter().any(ends);
        let is_local = path.starts_with(char::is_alphabetic) && !path.contains(['<', '…', ':']);
        is_local && (is_file || path.ends_with('/') && crates())
    };
    refuse(".md", |document, line| {
        let quoted = line.split('`').skip(1).step_by(2);
        let mut paths = quoted.filter_map(|text| text.split(' ').next());
        document.starts_with("docs/") && paths.any(|path| is_ours(path) && !is_there(path))
    });
}

#[test]
fn every_fence_heading_and_table_of_a_text_is_shown_as_such() {
    for (path, text) in &house(".md") {
        let (mut fenced, mut before, mut below) = (false, "", text.lines().skip(1));
        for (line, number) in text.lines().zip(1..) {
            let place = format!("{path}:{number}: {line}");
            let is_ruled = below.next().is_some_and(|below| below.starts_with("|---"));
            if let Some(language) = line.strip_prefix("```") {
                assert!(!fenced || language.is_empty(), "a fence above is not closed: {place}");
                fenced = !fenced;
            } else if !fenced {
                let is_table = line.starts_with('|') && !before.starts_with('|');
                assert!(!is_table || is_ruled, "a table begins without its heading: {place}");
                let is_begin = is_table || line.starts_with('#');
                assert!(!is_begin || before.is_empty(), "no blank line above: {place}");
            }
            before = line;
        }
        assert!(!fenced, "the last fence of {path} is not closed");
    }
}
