//! Writes a large workspace, the same for the same seed, and the equivalent `build.ninja` beside it.
//!
//! `cargo bench -p cli --bench workspace -- FOLDER [PACKAGES] [SEED]`: PACKAGES packages (1,000 if not said) of ten
//! targets and twenty sources each. A target joins two sources of its own and what up to three earlier ones made.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a tool for people at a terminal"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// How many targets a package has, each with two sources.
const TARGETS: usize = 10;

/// What a source's bytes are made of, repeated to a length between 200 and 4,000.
const LINE: &str = "static int answer(void) { return 42; }\n";

/// Numbers that look random: xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators").
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % limit
    }
}

fn main() {
    // `cargo bench` adds a flag of its own.
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let Some(folder) = words.next().map(PathBuf::from) else {
        eprintln!("usage: cargo bench -p cli --bench workspace -- FOLDER [PACKAGES] [SEED]");
        return;
    };
    let packages = words.next().map_or(1_000, |word| word.parse().unwrap());
    let seed = words.next().map_or(1, |word| word.parse().unwrap());
    let sources = generate(&folder, packages, &mut Random(seed));
    println!("{packages} packages, {} targets, {sources} sources", packages * TARGETS);
}

fn generate(folder: &Path, packages: usize, random: &mut Random) -> usize {
    write(&folder.join("bld.toml"), "");
    write(&folder.join("BUILD.bld"), ROOT);
    write(&folder.join("join.bzl"), RULE);
    write(&folder.join(".gitignore"), "bld-out\nninja-out\n.ninja_*\n");
    let mut ninja = String::from("rule join\n  command = cat $in > $out\n\n");
    for package in 0..packages {
        let place = format!("p{:02}/q{package:04}", package % 40);
        let mut build = String::from("load(\"//:join.bzl\", \"join\")\n\n");
        for target in 0..TARGETS {
            let sources: Vec<_> =
                (0..2).map(|number| format!("s{}.c", target * 2 + number)).collect();
            for source in &sources {
                let lines = 5 + random.below(95);
                let text = format!("// {package} {target} {source}\n{}", LINE.repeat(lines));
                write(&folder.join(&place).join(source), &text);
            }
            let deps = dependencies(package, target, random);
            let labels: Vec<_> = deps.iter().map(|(at, name)| format!("//{at}:{name}")).collect();
            writeln!(build, "join(name = \"t{target}\", srcs = {sources:?}, deps = {labels:?}, root = \"//:shell\")")
                .unwrap();
            let inputs: Vec<_> = sources.iter().map(|source| format!("{place}/{source}")).collect();
            let made: Vec<_> =
                deps.iter().map(|(at, name)| format!("ninja-out/{at}/{name}")).collect();
            let (inputs, made) = (inputs.join(" "), made.join(" "));
            writeln!(ninja, "build ninja-out/{place}/t{target}: join {inputs} {made}").unwrap();
        }
        write(&folder.join(&place).join("BUILD.bld"), &build);
    }
    write(&folder.join("build.ninja"), &ninja);
    packages * TARGETS * 2
}

/// Returns up to three targets of this package and of earlier ones.
fn dependencies(package: usize, target: usize, random: &mut Random) -> Vec<(String, String)> {
    let mut deps = Vec::new();
    if target > 0 && random.below(2) == 0 {
        deps.push((package, random.below(target)));
    }
    for _ in 0..random.below(3) {
        if package > 0 {
            // Near ones, so that chains stay short: an edit is to reach few.
            deps.push((package - 1 - random.below(package.min(5)), random.below(TARGETS)));
        }
    }
    // Only even packages are depended on by others, and odd targets depend on nothing outside.
    deps.retain(|(at, _)| *at == package || (at % 2 == 0 && package % 2 == 1));
    deps.sort_unstable();
    deps.dedup();
    let name =
        |(at, name): (usize, usize)| (format!("p{:02}/q{at:04}", at % 40), format!("t{name}"));
    deps.into_iter().map(name).collect()
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

const ROOT: &str = r#"load("@rules//debian.bzl", "build_root")

build_root(
    name = "shell",
    packages = ["coreutils", "dash"],
    tags = ["manual"],
)
"#;

const RULE: &str = r#""""One rule: what a target makes is its sources and what others made, joined."""

load("@rules//debian.bzl", "BuildRootInfo")

JoinedInfo = provider(doc = "A file.", fields = {"file": "artifact"})

def _join(ctx):
    inputs = {"/": ctx.attr.root[BuildRootInfo].tree}
    for path, source in ctx.attr.srcs.items():
        inputs["/src/" + path] = source
    for number, dep in enumerate(ctx.attr.deps):
        inputs["/src/dep{}".format(number)] = dep[JoinedInfo].file
    [made] = ctx.actions.run(
        arguments = ["/bin/sh", "-c", "cat /src/* > out/joined"],
        inputs = inputs,
        outputs = ["joined"],
        env = {"PATH": "/usr/bin"},
    )
    return [DefaultInfo(outputs = {ctx.name: made}), JoinedInfo(file = made)]

join = rule(
    implementation = _join,
    attrs = {
        "srcs": attr.source_list(),
        "deps": attr.label_list(providers = [JoinedInfo]),
        "root": attr.label(providers = [BuildRootInfo]),
    },
)
"#;
