//! A small root for commands to run in, made of the machine's own programs.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use model::{Node, RelativePath, TreeDigest};
use store::{Draft, LocalStore};

/// The programs that the tests run in the sandbox.
const PROGRAMS: &[&str] = &[
    "cat", "chmod", "cp", "dash", "date", "env", "head", "id", "ln", "ls", "mkdir", "mkfifo",
    "mount", "mv", "nproc", "perl", "printf", "rm", "rmdir", "setsid", "sleep", "stat", "touch",
    "tr", "true", "uname", "unshare", "wc", "yes",
];

/// Where they are looked for.
const FOLDERS: &[&str] = &["/usr/bin", "/usr/sbin", "/bin", "/sbin"];

/// The files of the root: where each goes, and where it is.
static FILES: LazyLock<Vec<(String, PathBuf)>> = LazyLock::new(|| {
    let programs: Vec<_> = PROGRAMS.iter().map(|name| find(name)).collect();
    let mut files: Vec<_> = PROGRAMS
        .iter()
        .zip(&programs)
        .map(|(name, path)| (format!("bin/{name}"), path.clone()))
        .collect();
    let libraries: BTreeSet<_> = programs.iter().flat_map(|program| libraries(program)).collect();
    for library in libraries {
        let place = library.strip_prefix("/usr").or(library.strip_prefix("/")).unwrap();
        let place = place.strip_prefix("/").unwrap_or(place);
        files.push((place.trim_start_matches('/').to_owned(), PathBuf::from(&library)));
    }
    files
});

fn find(name: &str) -> PathBuf {
    let candidates = FOLDERS.iter().map(|folder| Path::new(folder).join(name));
    let found = candidates.into_iter().find(|path| path.exists());
    found.unwrap_or_else(|| panic!("these tests need the program `{name}`")).canonicalize().unwrap()
}

/// Returns the libraries that a program is linked with, as `ldd` tells.
fn libraries(program: &Path) -> Vec<String> {
    let output = Command::new("ldd").arg(program).output().expect("these tests need `ldd`");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned).collect()
}

/// Returns a tree for `/usr`.
pub(crate) fn usr(store: &LocalStore) -> TreeDigest {
    let mut draft = Draft::new();
    for (place, path) in FILES.iter() {
        let mut file = File::open(path).unwrap();
        let digest = store.ingest(&mut file, true).unwrap();
        let place = RelativePath::new(place.as_str()).unwrap();
        draft.add(store, &place, Node::File { digest, executable: true }).unwrap();
    }
    let target = model::SymlinkTarget::new("dash").unwrap();
    draft.link(store, &RelativePath::new("bin/sh").unwrap(), target).unwrap();
    draft.finish(store).unwrap()
}
