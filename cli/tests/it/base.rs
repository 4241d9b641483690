//! What all tests share: a few real kernels and two real compilers, locked and downloaded once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::UNIX_EPOCH;

use rustix::fs::{FlockOperation, flock};

use crate::machine::{Ran, copy, fixture};

/// What the base's fixture asks for in place of every kernel there is.
const ALL_KERNELS: &str = r#"patterns = ["6.*-amd64"],"#;

/// The kernels that `fixtures/loadtest` names; distributions take kernels away.
const LOADTEST_KERNELS: [&str; 2] = ["6.1.0-47-cloud-amd64", "6.1.0-56-cloud-amd64"];

/// Names like those of kernels that no kernel has; the error shows those that are near.
const NEARLY: [&str; 2] = ["6.1.0-00-cloud-amd64", "6.12.000+deb12-rt-amd64"];

/// Workspaces, their locks, a store and a mirror. Nobody changes it.
pub(crate) struct Base(PathBuf);

/// Returns the base. The first to ask makes it, with the machine's own package sources.
pub(crate) fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        // Also across processes, for test runners that start one for each test.
        let alone = File::create(folder.join("base.lock")).unwrap();
        flock(&alone, FlockOperation::LockExclusive).unwrap();
        // One that this very binary made is as good as new.
        let made = fs::metadata(env!("CARGO_BIN_EXE_bld")).unwrap().modified().unwrap();
        let made = made.duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let base = Base(folder.join(format!("base-{made}")));
        if !base.0.join("complete").exists() {
            for old in fs::read_dir(folder).unwrap() {
                let old = old.unwrap();
                if old.file_name().to_str().unwrap().starts_with("base-") {
                    fs::remove_dir_all(old.path()).unwrap();
                }
            }
            base.make();
            fs::write(base.0.join("complete"), "").unwrap();
        }
        base
    })
}

impl Base {
    /// Returns the workspace `fixtures/drivers`, for three kernels, locked.
    pub(crate) fn drivers(&self) -> PathBuf {
        self.0.join("drivers")
    }

    /// Returns a store in which that workspace was built.
    pub(crate) fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// Returns the workspace `fixtures/loadtest`, for two of these kernels, locked.
    pub(crate) fn loadtest(&self) -> PathBuf {
        self.0.join("loadtest")
    }

    /// Returns the workspace `fixtures/tested`, locked.
    pub(crate) fn tested(&self) -> PathBuf {
        self.0.join("tested")
    }

    /// Returns a folder with every package that is locked, where a Debian mirror has it.
    pub(crate) fn mirror(&self) -> PathBuf {
        self.0.join("mirror")
    }

    /// Returns the lock of `fixtures/hello`.
    pub(crate) fn hello_lock(&self) -> String {
        fs::read_to_string(self.0.join("hello/bld.lock")).unwrap()
    }

    /// Returns the three kernels: the oldest and the newest 6.1 for clouds, and a 6.12 for real time.
    pub(crate) fn kernels(&self) -> Vec<String> {
        let text = fs::read_to_string(self.0.join("kernels")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn make(&self) {
        copy(&fixture("hello"), &self.0.join("hello"));
        copy(&fixture("drivers"), &self.drivers());
        let _ = fs::remove_file(self.0.join("hello/bld.lock"));
        let _ = fs::remove_file(self.drivers().join("bld.lock"));
        let build = self.drivers().join("drivers/BUILD.bld");
        let text = fs::read_to_string(&build).unwrap();
        assert!(text.contains(ALL_KERNELS), "the fixture has changed");
        let ask = |patterns: &[String]| {
            let patterns = format!("patterns = {patterns:?},");
            fs::write(&build, text.replace(ALL_KERNELS, &patterns)).unwrap();
        };

        self.bld("hello", &["lock"]).expect(0);
        let near = |name: &str| {
            ask(&[name.to_owned()]);
            let refused = self.bld("drivers", &["lock"]).expect(2);
            kernels_in(&refused.stderr, name)
        };
        let (clouds, real_time) = (near(NEARLY[0]), near(NEARLY[1]));
        let mut kernels = vec![clouds[0].clone(), clouds.last().unwrap().clone()];
        kernels.push(real_time.last().unwrap().clone());
        kernels.dedup();
        assert_eq!(kernels.len(), 3, "{clouds:?} {real_time:?}");
        ask(&kernels);
        fs::write(self.0.join("kernels"), kernels.join("\n")).unwrap();
        self.bld("drivers", &["lock"]).expect(0);

        self.make_loadtest(&kernels[..2]);
        copy(&fixture("tested"), &self.tested());
        let _ = fs::remove_file(self.tested().join("bld.lock"));
        self.bld("tested", &["lock"]).expect(0);

        for workspace in ["hello", "drivers", "loadtest", "tested"] {
            let lock = fs::read_to_string(self.0.join(workspace).join("bld.lock")).unwrap();
            self.fill_mirror(&lock);
        }
        self.bld("drivers", &["build", "//drivers:all"]).expect(0);
    }

    /// Makes the workspace that boots kernels: for these two, whichever its own are.
    fn make_loadtest(&self, kernels: &[String]) {
        copy(&fixture("loadtest"), &self.loadtest());
        let _ = fs::remove_file(self.loadtest().join("bld.lock"));
        let build = self.loadtest().join("drivers/BUILD.bld");
        let mut text = fs::read_to_string(&build).unwrap();
        for (own, kernel) in LOADTEST_KERNELS.iter().zip(kernels) {
            assert!(text.contains(own), "the fixture has changed");
            text = text.replace(own, kernel);
        }
        fs::write(&build, text).unwrap();
        self.bld("loadtest", &["lock"]).expect(0);
    }

    /// Runs `bld` with the machine's own package sources, proxies and certificates.
    fn bld(&self, workspace: &str, arguments: &[&str]) -> Ran {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bld"));
        Ran::of(
            command
                .args(arguments)
                .current_dir(self.0.join(workspace))
                .env("BLD_STORE", self.store())
                .env_remove("BLD_STORE_BUDGET"),
        )
    }

    fn fill_mirror(&self, lock: &str) {
        for line in lock.lines().filter(|line| line.starts_with("deb ")) {
            let words: Vec<_> = line.split(' ').collect();
            let (path, sha256) = (words[4], words[6]);
            let to = self.mirror().join(path);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            let from = self.store().join("blobs/sha256").join(&sha256[..2]).join(sha256);
            let _ = fs::hard_link(&from, &to);
            assert!(to.exists(), "the archive of {} is not kept", words[1]);
        }
    }
}

/// Returns the kernels that a message names and that differ from `like` only in digits, oldest first.
fn kernels_in(message: &str, like: &str) -> Vec<String> {
    let shape = |name: &str| name.replace(|c: char| c.is_ascii_digit(), "");
    let words = message.split([' ', ',', '(', ')', '\n']);
    let mut found: Vec<_> =
        words.filter(|it| shape(it) == shape(like)).map(str::to_owned).collect();
    let numbers = |name: &String| -> Vec<u32> {
        name.split(|c: char| !c.is_ascii_digit()).filter_map(|it| it.parse().ok()).collect()
    };
    found.sort_by_key(numbers);
    found.dedup();
    found.retain(|name| name != like);
    assert!(!found.is_empty(), "no kernel like {like} in: {message}");
    found
}

/// Makes a store of the same blobs, trees and results: blobs are linked, for nobody ever writes to them.
pub(crate) fn link_store(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in ["blobs", "trees"] {
        link(&from.join(name), &to.join(name));
    }
    for name in ["actions", "failures", "roots", "unpacked"] {
        copy(&from.join(name), &to.join(name));
    }
    fs::copy(from.join("format"), to.join("format")).unwrap();
}

/// Makes a folder of the same files.
pub(crate) fn link(from: &Path, to: &Path) {
    let metadata = from.symlink_metadata().unwrap();
    if metadata.is_dir() {
        fs::create_dir(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            link(&entry.path(), &to.join(entry.file_name()));
        }
        fs::set_permissions(to, metadata.permissions()).unwrap();
        let times = fs::FileTimes::new().set_modified(metadata.modified().unwrap());
        File::open(to).unwrap().set_times(times).unwrap();
    } else {
        fs::hard_link(from, to).unwrap();
    }
}
