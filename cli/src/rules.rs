//! The rule library, embedded.

use std::collections::BTreeMap;

macro_rules! embed {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../rules/", $path)))),*]
    };
}

/// Every file of `rules/` that a workspace can load or that a rule reads.
const FILES: &[(&str, &str)] = embed![
    "debian.bzl",
    "fetch.bzl",
    "files.bzl",
    "kernel.bzl",
    "sandbox.bzl",
    "scripts/coverage_report.sh",
    "scripts/driver_load_init.sh",
    "scripts/driver_load_test.sh",
    "scripts/ebpf_probe.sh",
    "scripts/kernel_module.sh",
    "scripts/lcov_merge.awk",
    "scripts/test.sh",
    "test.bzl",
    "vm.bzl",
];

/// Returns the library: file name to text.
pub(crate) fn embedded() -> BTreeMap<String, String> {
    FILES.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn every_rule_file_is_embedded() {
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules");
        let mut found = BTreeSet::new();
        for (folder, prefix) in [(rules.clone(), ""), (rules.join("scripts"), "scripts/")] {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap();
                if path.extension().is_some_and(|it| it == "awk" || it == "bzl" || it == "sh") {
                    found.insert(format!("{prefix}{name}"));
                }
            }
        }
        assert_eq!(super::embedded().into_keys().collect::<BTreeSet<_>>(), found);
    }
}
