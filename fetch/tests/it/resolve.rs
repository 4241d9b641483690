//! Closures over small universes: what is chosen, and what is said where nothing can be.

use fetch::deb::relation::{Relation, parse_dependencies};
use fetch::deb::resolve::{ResolveError, resolve};
use fetch::deb::universe::Universe;

/// Makes a universe of packages, each `name version` and then fields, one per line.
fn universe(packages: &[&str]) -> Universe {
    let mut text = String::new();
    for package in packages {
        let mut lines = package.lines();
        let (name, version) = lines.next().unwrap().split_once(' ').unwrap();
        let fields = lines.collect::<Vec<_>>().join("\n");
        let hash = "0".repeat(64);
        text = format!(
            "{text}Package: {name}\nVersion: {version}\nArchitecture: amd64\nFilename: pool/{name}.deb\n\
             Size: 1\nSHA256: {hash}\n{fields}\n\n"
        )
        .replace("\n\n\n", "\n\n");
    }
    let mut universe = Universe::new("amd64");
    universe.read(text.as_bytes(), false).unwrap();
    universe.sorted()
}

fn closure(packages: &[&str], roots: &[&str]) -> Result<String, ResolveError> {
    let roots: Vec<Relation> =
        roots.iter().map(|root| Relation::parse_request(root).unwrap()).collect();
    let universe = universe(packages);
    let chosen = resolve(&universe, &roots)?;
    let names = chosen.iter().map(|id| {
        let package = universe.package(*id);
        format!("{} {}", package.name(), package.version())
    });
    Ok(names.collect::<Vec<_>>().join(", "))
}

#[test]
fn relations_are_read_and_written() {
    let field = "libc6 (>= 2.34), python3:any (<< 3.12) | awk , foo (=1:2-3),";
    let read = parse_dependencies(field).unwrap();
    let written: Vec<String> = read.iter().map(ToString::to_string).collect();
    assert_eq!(written, ["libc6 (>= 2.34)", "python3:any (<< 3.12) | awk", "foo (= 1:2-3)"]);
    assert_eq!(Relation::parse_request("make=4.3-4.1").unwrap().to_string(), "make (= 4.3-4.1)");
    assert_eq!(Relation::parse_request("make (>= 4)").unwrap().to_string(), "make (>= 4)");
    for text in ["", "a b", "a (1)", "a (>= )", "a (>= 1", "(>= 1)", "a [amd64]"] {
        Relation::parse(text).unwrap_err();
    }
}

#[test]
fn a_closure_has_what_is_needed_in_the_highest_version() {
    let packages = [
        "a 1\nDepends: b (>= 1), c\nPre-Depends: d",
        "b 1",
        "b 2",
        "c 1\nDepends: a",
        "d 1",
        "e 1",
    ];
    assert_eq!(closure(&packages, &["a"]).unwrap(), "a 1, b 2, c 1, d 1");
}

#[test]
fn the_order_of_packages_and_requests_does_not_matter() {
    let packages = [
        "a 1\nDepends: x | y, z",
        "b 1\nDepends: y",
        "x 1",
        "y 1",
        "z 1\nProvides: v",
        "w 1\nProvides: v",
        "c 1\nDepends: v",
    ];
    let expected = closure(&packages, &["a", "b", "c"]).unwrap();
    // An alternative that something else needs anyway wins, and so does a provider.
    assert_eq!(expected, "a 1, b 1, c 1, y 1, z 1");
    for turn in 0..packages.len() {
        let mut turned = packages.to_vec();
        turned.rotate_left(turn);
        assert_eq!(closure(&turned, &["c", "b", "a"]).unwrap(), expected);
    }
}

#[test]
fn the_first_alternative_that_is_real_is_taken() {
    let packages = ["a 1\nDepends: gone | virtual | y | x", "x 1", "y 1", "p 1\nProvides: virtual"];
    assert_eq!(closure(&packages, &["a"]).unwrap(), "a 1, y 1");
}

#[test]
fn what_only_one_package_provides_is_that_package() {
    assert_eq!(closure(&["a 1\nDepends: v", "p 1\nProvides: v"], &["a"]).unwrap(), "a 1, p 1");
    assert_eq!(closure(&["p 1\nProvides: v"], &["v"]).unwrap(), "p 1");
}

#[test]
fn a_restriction_is_only_satisfied_by_a_versioned_provide() {
    let bare = ["a 1\nDepends: v (>= 2)", "p 1\nProvides: v"];
    let error = closure(&bare, &["a"]).unwrap_err();
    assert_eq!(error.to_string(), "nothing satisfies `v (>= 2)` (needed by the request → a 1)");
    let early = ["a 1\nDepends: v (>= 2)", "p 9\nProvides: v (= 1)"];
    closure(&early, &["a"]).unwrap_err();
    let right = ["a 1\nDepends: v (>= 2)", "p 1\nProvides: v (= 2.1)"];
    assert_eq!(closure(&right, &["a"]).unwrap(), "a 1, p 1");
}

#[test]
fn several_providers_are_an_error_until_one_is_named() {
    let packages =
        ["a 1\nDepends: b", "b 2\nDepends: awk", "gawk 1\nProvides: awk", "mawk 1\nProvides: awk"];
    let error = closure(&packages, &["a"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`awk` is ambiguous: gawk, mawk provide it; name one of them in `packages` \
         (needed by the request → a 1 → b 2)"
    );
    assert_eq!(closure(&packages, &["a", "mawk"]).unwrap(), "a 1, b 2, mawk 1");
}

#[test]
fn what_is_missing_is_shown_with_who_needs_it() {
    let packages = ["a 1\nDepends: b", "b 2\nDepends: c (>= 3)", "c 1", "c 2"];
    assert_eq!(
        closure(&packages, &["a"]).unwrap_err().to_string(),
        "nothing satisfies `c (>= 3)`; there is c 2, c 1 (needed by the request → a 1 → b 2)"
    );
    assert_eq!(
        closure(&packages, &["nonesuch"]).unwrap_err().to_string(),
        "nothing satisfies `nonesuch` (needed by the request)"
    );
}

#[test]
fn a_pinned_version_pulls_its_companions_along() {
    let packages = [
        "gcc 2\nDepends: cpp (= 2)",
        "gcc 1\nDepends: cpp (= 1)",
        "cpp 2",
        "cpp 1",
        "aaa 1\nDepends: cpp",
    ];
    // `aaa` comes first and takes the newest cpp; what gcc needs overrules that.
    assert_eq!(closure(&packages, &["aaa", "gcc=1"]).unwrap(), "aaa 1, cpp 1, gcc 1");
}

#[test]
fn restrictions_that_exclude_each_other_are_an_error() {
    let packages = ["a 1\nDepends: c (= 1)", "b 1\nDepends: c (= 2)", "c 1", "c 2"];
    let error = closure(&packages, &["a", "b"]).unwrap_err().to_string();
    assert!(error.starts_with("nothing satisfies `c (= "), "{error}");
    assert!(error.contains("another package that needs `c (= "), "{error}");
}

#[test]
fn packages_that_exclude_each_other_are_an_error() {
    let packages = [
        "a 1\nDepends: b\nConflicts: v",
        "b 1",
        "d 1\nDepends: c",
        "c 1\nProvides: v\nConflicts: v",
    ];
    assert_eq!(
        closure(&packages, &["a", "d"]).unwrap_err().to_string(),
        "a excludes c by `v` (a is needed by the request; c by the request → d 1)"
    );
    // A package may provide and exclude the same: that means the others that do.
    assert_eq!(closure(&packages, &["d"]).unwrap(), "c 1, d 1");
    let broken = ["a 2\nBreaks: b (<< 2)\nDepends: b", "b 1"];
    closure(&broken, &["a"]).unwrap_err();
    let fine = ["a 2\nBreaks: b (<< 2)\nDepends: b", "b 2"];
    assert_eq!(closure(&fine, &["a"]).unwrap(), "a 2, b 2");
}

#[test]
fn other_architectures_are_not_meant() {
    let packages = ["a 1\nDepends: b:any, c:amd64", "b 1", "c 1", "d 1\nDepends: b:arm64"];
    assert_eq!(closure(&packages, &["a"]).unwrap(), "a 1, b 1, c 1");
    closure(&packages, &["d"]).unwrap_err();
}

#[test]
fn a_malformed_index_names_the_line() {
    let mut universe = Universe::new("amd64");
    let text = "Package: a\nVersion: 1\nArchitecture: amd64\nFilename: x\nSize: many\n\n";
    let error = universe.read(text.as_bytes(), false).unwrap_err();
    assert_eq!(error.to_string(), "the package before line 6 has no usable `size`");
    let error = universe.read("Package: a\nnonsense\n".as_bytes(), false).unwrap_err();
    assert_eq!(error.to_string(), "line 2 is not a field");
}

#[test]
fn a_path_that_leads_out_of_the_mirror_is_refused() {
    for (path, expected) in [("./a.deb", Some("a.deb")), ("../a.deb", None), ("/a.deb", None)] {
        let hash = "0".repeat(64);
        let text = format!(
            "Package: a\nVersion: 1\nArchitecture: amd64\nFilename: {path}\nSize: 1\nSHA256: {hash}\n"
        );
        let mut universe = Universe::new("amd64");
        let read = universe.read(text.as_bytes(), false);
        assert_eq!(read.is_ok(), expected.is_some());
        let first = universe.candidates("a").first().map(|id| universe.package(*id).path());
        assert_eq!(first, expected);
    }
}
