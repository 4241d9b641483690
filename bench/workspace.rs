//! Writes large workspaces, the same for the same seed, and measures how long one is loaded and analysed.
//!
//! `cargo bench -p cli --bench workspace -- COMMAND FOLDER …`:
//!
//! - `packages FOLDER [PACKAGES] [SEED]`: PACKAGES packages (1,000 if not said) of ten targets and twenty sources each,
//!   and the equivalent `build.ninja` beside them. A target joins two sources and what up to three earlier ones made.
//! - `cells FOLDER [KERNELS]`: one driver for KERNELS kernels (1,000 if not said), 20 versions and 2 kinds, each cell from a
//!   header tree that its kernel's cells share. `//drivers:echo{kernel=k000?}` and so on are parts of it.
//! - `analyse FOLDER`: loads and analyses `//...` of a workspace that needs nothing from outside or is locked, and prints
//!   the processor time and the peak of the memory.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a tool for people at a terminal"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// How many targets a package has, each with two sources.
const TARGETS: usize = 10;

/// How many versions a driver has, and which kinds.
const VERSIONS: usize = 20;
const KINDS: [&str; 2] = ["mod", "bpf"];

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

/// As in `bld` itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // `cargo bench` adds a flag of its own.
    let words: Vec<_> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let number =
        |at: usize, default: usize| words.get(at).map_or(default, |it| it.parse().unwrap());
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["packages", folder, ..] => {
            let (packages, seed) = (number(2, 1_000), number(3, 1));
            let sources = generate(Path::new(folder), packages, &mut Random(seed as u64));
            println!("{packages} packages, {} targets, {sources} sources", packages * TARGETS);
        }
        ["cells", folder, ..] => {
            let kernels = number(2, 1_000);
            cells(Path::new(folder), kernels);
            println!("{} cells", kernels * VERSIONS * KINDS.len());
        }
        ["analyse", folder] => analyse(Path::new(folder)),
        _ => eprintln!(
            "usage: cargo bench -p cli --bench workspace -- packages|cells|analyse FOLDER …"
        ),
    }
}

/// Loads and analyses all of a workspace, as `bld build //...` does.
fn analyse(folder: &Path) {
    let files = engine::DiskFiles::new(folder.to_owned());
    let rules = rules();
    let workspace = engine::Workspace { files: &files, rules: &rules, rules_folder: None };
    let root = model::RelativePath::root();
    let pattern = engine::Pattern::parse("//...", &root).unwrap();
    let lock = fs::read_to_string(folder.join("bld.lock")).ok();
    let lock = lock.map(|text| fetch::Lock::parse(&text).unwrap());
    let before = cpu();
    let plan = workspace.plan_locking(&[pattern], &BTreeMap::new(), |_asked| {
        Ok::<_, engine::Diagnostic>(lock.as_ref().map(members).unwrap_or_default())
    });
    let plan = plan.map_err(|error| error.to_string()).unwrap();
    let seconds = cpu().saturating_sub(before).as_secs_f64();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let (goals, nodes) = (plan.goals.len(), plan.graph.len());
    println!(
        "{goals} goals, {nodes} nodes: {seconds:.3} s of processor time, peak {}",
        peak.trim()
    );
}

/// Returns the processor time that this process has used.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap()
}

/// Returns the rule library of this checkout.
fn rules() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules");
    let text = |path: &Path| fs::read_to_string(path).unwrap();
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(&folder).unwrap().chain(fs::read_dir(folder.join("scripts")).unwrap())
    {
        let path = entry.unwrap().path();
        if path.is_file() {
            let name = path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
            all.insert(name, text(&path));
        }
    }
    all
}

/// As in `bld` itself: to the engine a locked tree is only a digest.
fn members(lock: &fetch::Lock) -> BTreeMap<String, Vec<engine::LockedMember>> {
    let member = |member: fetch::Member| engine::LockedMember {
        group: member.group,
        name: member.name,
        version: member.version,
        arch: member.arch,
        tree: member.tree,
    };
    let members = |label: &str| lock.members(label).into_iter().map(member).collect();
    lock.labels().map(|label| (label.to_owned(), members(label))).collect()
}

/// Writes the workspace of one driver for many kernels.
fn cells(folder: &Path, kernels: usize) {
    write(&folder.join("bld.toml"), "");
    write(&folder.join("BUILD.bld"), ROOT);
    write(&folder.join("driver.bzl"), DRIVER);
    let kernels: Vec<_> = (0..kernels).map(|number| format!("k{number:04}")).collect();
    let versions: Vec<_> = (0..VERSIONS).map(|number| format!("{number}.0")).collect();
    for version in &versions {
        let text = format!("// {version}\n{}", LINE.repeat(50));
        write(&folder.join(format!("drivers/src/{version}.c")), &text);
    }
    let text = format!(
        "load(\"//:driver.bzl\", \"driver\", \"headers\")\n\nKERNELS = {kernels:?}\nVERSIONS = {versions:?}\n\n\
        headers(name = \"headers\", root = \"//:shell\", matrix = {{\"kernel\": KERNELS}})\n\
        driver(\n    name = \"echo\",\n    src = select({{\"version=\" + it: \"src/{{}}.c\".format(it) for it in VERSIONS}}),\n    \
        headers = \":headers\",\n    root = \"//:shell\",\n    \
        matrix = {{\"kernel\": KERNELS, \"version\": VERSIONS, \"kind\": {KINDS:?}}},\n)\n"
    );
    write(&folder.join("drivers/BUILD.bld"), &text);
}

fn generate(folder: &Path, packages: usize, random: &mut Random) -> usize {
    write(&folder.join("bld.toml"), "");
    write(&folder.join("BUILD.bld"), ROOT);
    write(&folder.join("join.bzl"), RULE);
    write(&folder.join(".gitignore"), "bld-out\n.ninja-out\n.ninja_*\n");
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
                deps.iter().map(|(at, name)| format!(".ninja-out/{at}/{name}")).collect();
            let (inputs, made) = (inputs.join(" "), made.join(" "));
            writeln!(ninja, "build .ninja-out/{place}/t{target}: join {inputs} {made}").unwrap();
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

const DRIVER: &str = r#""""A header tree for each kernel, and a driver for each cell."""

load("@rules//debian.bzl", "BuildRootInfo")

HeadersInfo = provider(doc = "A kernel's headers.", fields = {"tree": "artifact"})

def _headers(ctx):
    [made] = ctx.actions.run(
        arguments = ["/bin/sh", "-c", "echo " + ctx.cell["kernel"] + " > out/kernel.h"],
        inputs = {"/": ctx.attr.root[BuildRootInfo].tree},
        outputs = ["kernel.h"],
        env = {"PATH": "/usr/bin"},
        role = "headers",
    )
    return [DefaultInfo(), HeadersInfo(tree = made)]

headers = rule(
    implementation = _headers,
    attrs = {"root": attr.label(providers = [BuildRootInfo])},
)

def _driver(ctx):
    inputs = {
        "/": ctx.attr.root[BuildRootInfo].tree,
        "/src/driver.c": ctx.attr.src,
        "/src/kernel.h": ctx.attr.headers[HeadersInfo].tree,
    }
    cell = ctx.cell
    name = "{}/{}-{}.ko".format(cell["version"], cell["kernel"], cell["kind"])
    [made] = ctx.actions.run(
        arguments = ["/bin/sh", "-c", "cat /src/* > out/made && echo " + cell["kind"] + " >> out/made"],
        inputs = inputs,
        outputs = ["made"],
        env = {"PATH": "/usr/bin"},
        role = cell["kind"],
    )
    return [DefaultInfo(outputs = {name: made})]

driver = rule(
    implementation = _driver,
    attrs = {
        "src": attr.source(),
        "headers": attr.label(providers = [HeadersInfo]),
        "root": attr.label(providers = [BuildRootInfo]),
    },
)
"#;
