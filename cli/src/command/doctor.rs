//! `bld doctor`: what works here, what is degraded, and how to mend it.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process::ExitCode;

use executor::Rung;
use executor::sandbox::probe;
use model::DigestFunction;
use serde_json::json;

use crate::error::CliError;
use crate::exit;
use crate::settings::Settings;
use crate::size::ByteSize;
use crate::terminal::{Paint, chain, say, say_json};

/// Below this the first build of a few dozen kernels does not fit, in bytes.
const DISK_BYTES_MIN: u64 = 4 << 30;

/// A clock before this was never set: it is when this check was written, in seconds since the epoch.
const CLOCK_MIN: u64 = 1_760_000_000;

struct Finding {
    name: &'static str,
    grade: Grade,
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Grade {
    Works,
    Degraded,
    Broken,
}

impl Grade {
    fn name(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Degraded => "degraded",
            Self::Broken => "broken",
        }
    }
}

pub(crate) fn run(settings: &Settings) -> Result<ExitCode, CliError> {
    let root = settings.store()?;
    let opened = settings.open_store(DigestFunction::Blake3);
    let scratch = opened.and_then(|store| Ok(store.scratch()?));
    let mut findings = match &scratch {
        Ok(scratch) => sandbox(scratch.path()),
        Err(_) => sandbox_elsewhere(),
    };
    findings.push(cgroups());
    findings.push(store(root, scratch.as_ref().err()));
    findings.push(disk(root));
    findings.push(clock());
    findings.push(signatures());
    findings.push(sources());
    findings.push(git());
    if settings.json {
        let findings: Vec<_> = findings
            .iter()
            .map(|it| json!({ "name": it.name, "grade": it.grade.name(), "text": it.text }))
            .collect();
        say_json(&json!(findings));
    } else {
        let paint = Paint::for_stdout();
        for finding in &findings {
            let grade = format!("{:<9}", finding.grade.name());
            let grade = match finding.grade {
                Grade::Works => paint.green(&grade),
                Grade::Degraded => paint.yellow(&grade),
                Grade::Broken => paint.red(&grade),
            };
            say(&format!("{grade} {:<12} {}", finding.name, finding.text));
        }
    }
    let broken = findings.iter().any(|finding| finding.grade == Grade::Broken);
    Ok(if broken { ExitCode::from(exit::INFRASTRUCTURE) } else { exit::SUCCESS })
}

/// Tries sandboxes where there is no store to try them in.
fn sandbox_elsewhere() -> Vec<Finding> {
    let folder = std::env::temp_dir().join(format!("bld-doctor-{}", std::process::id()));
    // Not there yet, and nobody else's.
    if let Err(error) = DirBuilder::new().mode(0o700).create(&folder) {
        let text = format!("cannot be tried: {}: {error}", folder.display());
        return vec![Finding { name: "sandbox", grade: Grade::Degraded, text }];
    }
    let findings = sandbox(&folder);
    let _ = fs::remove_dir_all(&folder);
    findings
}

fn sandbox(scratch: &Path) -> Vec<Finding> {
    let mut works = false;
    let mut findings = Vec::new();
    for probe in probe(scratch) {
        let (name, mend) = match probe.rung {
            Rung::UserNamespace => (
                "namespaces",
                "allow user namespaces: sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces=10000, \
                 kernel.apparmor_restrict_unprivileged_userns=0 (or an AppArmor profile with `userns,` for bld)",
            ),
            Rung::Root | Rung::Bare => {
                ("root rung", "nothing: only needed where user namespaces are forbidden")
            }
        };
        let (grade, text) = match probe.result {
            Ok(()) => {
                works = true;
                (Grade::Works, "all namespaces, read-only binds and overlays".to_owned())
            }
            Err(error) => {
                (Grade::Degraded, format!("{}; to mend it: {mend}", chain(&error).join(": ")))
            }
        };
        findings.push(Finding { name, grade, text });
    }
    if !works {
        let text = "no sandbox can be made here; only actions without a build root run, with --sandbox=none";
        findings.push(Finding { name: "sandbox", grade: Grade::Broken, text: text.to_owned() });
    }
    findings
}

fn cgroups() -> Finding {
    let name = "cgroups";
    if executor::sandbox::limits_are_kept() {
        let text = "limits on memory and processes are kept".to_owned();
        return Finding { name, grade: Grade::Works, text };
    }
    let text = "no control group can be made: limits on memory and processes are not kept (run bld where its user \
                owns a cgroup: systemd-run --user --scope -p Delegate=yes)";
    Finding { name, grade: Grade::Degraded, text: text.to_owned() }
}

fn store(root: &Path, error: Option<&CliError>) -> Finding {
    let name = "store";
    let Some(error) = error else {
        let text = format!("{} can be written", root.display());
        return Finding { name, grade: Grade::Works, text };
    };
    let why = chain(error).join(": ");
    let mend = "mend that, or choose another folder with --store or BLD_STORE";
    let text = format!("{} cannot be used: {why}; {mend}", root.display());
    Finding { name, grade: Grade::Broken, text }
}

fn disk(store: &Path) -> Finding {
    let name = "disk";
    let is_there = |folder: &&Path| folder.exists();
    let there = store.ancestors().find(is_there).unwrap_or(store);
    match rustix::fs::statvfs(there) {
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let text = format!("{} free at {}", ByteSize(free), there.display());
            let grade = if free < DISK_BYTES_MIN { Grade::Degraded } else { Grade::Works };
            Finding { name, grade, text }
        }
        Err(error) => {
            Finding { name, grade: Grade::Broken, text: format!("{}: {error}", store.display()) }
        }
    }
}

fn clock() -> Finding {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let (grade, text) = if now.as_secs() < CLOCK_MIN {
        (Grade::Degraded, "the clock was never set: certificates and signatures will look invalid")
    } else {
        (Grade::Works, "set")
    };
    Finding { name: "clock", grade, text: text.to_owned() }
}

fn signatures() -> Finding {
    let name = "signatures";
    let Some(program) = ["gpgv", "sqv"].into_iter().find(|program| on_path(program)) else {
        let text =
            "neither gpgv nor sqv is here: package lists cannot be verified (apt-get install gpgv)";
        return Finding { name, grade: Grade::Broken, text: text.to_owned() };
    };
    Finding { name, grade: Grade::Works, text: format!("verified by {program}") }
}

fn sources() -> Finding {
    let name = "sources";
    let mend = "configure some in /etc/apt, or name mirrors in bld.toml";
    match fetch::machine_sources(Path::new("/etc/apt")) {
        Ok(sources) if sources.is_empty() => {
            Finding { name, grade: Grade::Degraded, text: format!("no package sources; {mend}") }
        }
        Ok(sources) => {
            let suites: Vec<_> = sources.iter().map(|source| source.suite.as_str()).collect();
            Finding { name, grade: Grade::Works, text: suites.join(", ") }
        }
        Err(error) => {
            let text = format!("{}; {mend}", chain(&error).join(": "));
            Finding { name, grade: Grade::Degraded, text }
        }
    }
}

fn git() -> Finding {
    let (grade, text) = if on_path("git") {
        (Grade::Works, "here")
    } else {
        (Grade::Degraded, "not here: git_source cannot be locked (apt-get install git)")
    };
    Finding { name: "git", grade, text: text.to_owned() }
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
