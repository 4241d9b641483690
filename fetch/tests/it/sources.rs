//! The machine's package sources, in both of apt's forms.

use std::fs;
use std::path::{Path, PathBuf};

use fetch::{Source, machine_sources};

use crate::bench::{Bench, data, packages};

fn etc_apt(files: &[(&str, &str)]) -> tempfile::TempDir {
    let etc = tempfile::tempdir().unwrap();
    for folder in ["sources.list.d", "trusted.gpg.d"] {
        fs::create_dir(etc.path().join(folder)).unwrap();
    }
    for (name, text) in files {
        fs::write(etc.path().join(name), text).unwrap();
    }
    etc
}

fn shown(source: &Source, etc: &Path) -> String {
    let origin = Path::new(&source.origin).strip_prefix(etc).unwrap();
    format!(
        "{} {} {} [{}] {}",
        source.uri,
        source.suite,
        source.components.join(","),
        source.arches.join(","),
        origin.display()
    )
}

#[test]
fn one_line_sources_are_read() {
    let etc = etc_apt(&[
        (
            "sources.list",
            "# comment\n\ndeb http://deb.example/debian/ bookworm main contrib # more\ndeb-src http://deb.example/debian bookworm main\n",
        ),
        (
            "sources.list.d/b.list",
            "deb [arch=amd64,arm64 signed-by=/k/a.gpg,ABCD! trusted=yes lang=none] https://b.example  stable main\n",
        ),
        ("sources.list.d/ignored.list.save", "nonsense"),
        ("sources.list.d/.hidden.list", "nonsense"),
        ("trusted.gpg.d/one.gpg", ""),
        ("trusted.gpg.d/two.asc", ""),
        ("trusted.gpg.d/readme.txt", ""),
    ]);
    let sources = machine_sources(etc.path()).unwrap();
    let lines: Vec<String> = sources.iter().map(|source| shown(source, etc.path())).collect();
    assert_eq!(
        lines,
        [
            "http://deb.example/debian bookworm main,contrib [] sources.list:3",
            "https://b.example stable main [amd64,arm64] sources.list.d/b.list:1",
        ]
    );
    let defaults: Vec<PathBuf> = ["one.gpg", "two.asc"]
        .iter()
        .map(|name| etc.path().join("trusted.gpg.d").join(name))
        .collect();
    assert_eq!(sources[0].keys.files, defaults);
    assert!(!sources[0].trusted && sources[1].trusted);
    assert_eq!(sources[1].keys.files, [PathBuf::from("/k/a.gpg")]);
    assert_eq!(sources[1].keys.fingerprints, ["ABCD!"]);
    assert!(sources[1].serves("arm64") && !sources[1].serves("i386"));
}

#[test]
fn deb822_sources_are_read() {
    let etc = etc_apt(&[(
        "sources.list.d/debian.sources",
        "Types: deb deb-src\n# comment\nURIs: http://a.example/debian http://b.example/debian/\nSuites: x\n y\nComponents: main\nSigned-By: /k/a.gpg\n\n\
         Types: deb\nEnabled: no\nURIs: http://c.example\nSuites: x\nComponents: main\n\n\
         Types: deb-src\nURIs: http://d.example\nSuites: x\nComponents: main\n\n\n\
         Types: deb\nURIs: http://e.example\nSuites: flat/\nArchitectures: amd64\nTrusted: yes\n",
    )]);
    let sources = machine_sources(etc.path()).unwrap();
    let lines: Vec<String> = sources.iter().map(|source| shown(source, etc.path())).collect();
    assert_eq!(
        lines,
        [
            "http://a.example/debian x main [] sources.list.d/debian.sources:1",
            "http://a.example/debian y main [] sources.list.d/debian.sources:1",
            "http://b.example/debian x main [] sources.list.d/debian.sources:1",
            "http://b.example/debian y main [] sources.list.d/debian.sources:1",
            "http://e.example flat/  [amd64] sources.list.d/debian.sources:21",
        ]
    );
    assert_eq!(sources[0].keys.files, [PathBuf::from("/k/a.gpg")]);
    assert!(sources[4].is_flat() && sources[4].trusted);
}

#[test]
fn mistakes_are_told_with_their_place() {
    for (file, text, expected) in [
        (
            "sources.list",
            "\ndeb http://a.example\n",
            "sources.list:2: an address and a suite are needed",
        ),
        (
            "sources.list",
            "rpm http://a.example x main\n",
            "sources.list:1: a line starts with `deb` or `deb-src`",
        ),
        (
            "sources.list",
            "deb [arch=amd64 http://a.example x main\n",
            "sources.list:1: `[` is never closed",
        ),
        ("sources.list", "deb http://a.example x\n", "components are needed"),
        (
            "sources.list.d/a.sources",
            "\nTypes: deb\nSuites: x\n",
            "a.sources:2: `URIs` and `Suites` are needed",
        ),
        (
            "sources.list.d/a.sources",
            "Types: deb\nnonsense\n",
            "a.sources:2: a field needs a colon",
        ),
    ] {
        let etc = etc_apt(&[(file, text)]);
        let error = machine_sources(etc.path()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_machine_without_apt_has_no_sources() {
    assert_eq!(machine_sources(Path::new("/nonexistent/etc/apt")).unwrap(), []);
}

#[test]
fn a_key_inside_the_configuration_counts() {
    let bench = Bench::new();
    let armoured = fs::read_to_string(data("keyring.asc")).unwrap();
    let lines = armoured.lines().map(|line| if line.is_empty() { "." } else { line });
    let block = lines.collect::<Vec<_>>().join("\n ");
    let text = format!(
        "Types: deb\nURIs: file://{}\nSuites: stable\nComponents: main\nSigned-By:\n {block}\n",
        bench.mirror().display()
    );
    let etc = etc_apt(&[("sources.list.d/test.sources", &text)]);
    let sources = machine_sources(etc.path()).unwrap();
    assert_eq!((sources[0].keys.files.len(), sources[0].keys.blocks.len()), (0, 1));
    bench.lock_from(&sources, &[packages(&["base-data"])], None, fetch::Mode::Missing).unwrap();
}
