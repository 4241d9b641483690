//! What one sandboxed action costs, against the cheapest sandbox that a shell script would use.
//!
//! bld: an action with a build root and a header tree of 20,000 files, `/bin/true`, from job to result.
//! Peer: `bwrap --unshare-all --ro-bind / / /bin/true`, which shows no inputs of its own at all.
//! Both in turns, in one process, so that both meet the same noise; medians and their ratio are printed. bld answers
//! before it has cleared away, and makes the next sandbox ready afterwards: so there is a pause before each one that is
//! measured alone (an answer), and then many are run without any (what is left for later counts).
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark reports and may stop")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use executor::{Executor as _, Job, Limits, LocalExecutor, Rung, SANDBOX_SALT};
use model::{Action, Command, Digest, DigestFunction, Node, Platform, RelativePath};
use store::{Draft, LocalStore};
use wire::encode;

const ROUNDS: usize = 200;
const ROW: usize = 10;
const PAUSE: Duration = Duration::from_millis(20);
const FILES: usize = 20_000;
const FOLDERS: usize = 700;

fn main() {
    executor::sandbox::run_if_asked();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store =
        Arc::new(LocalStore::open(&folder.path().join("store"), DigestFunction::Blake3).unwrap());
    let (action, command) = prepare(&store);
    let executor = LocalExecutor::new(Arc::clone(&store), Rung::UserNamespace);
    let job = Job { action: &action, command: &command, limits: Limits::default() };
    let ours = || {
        let began = Instant::now();
        let execution = runtime.block_on(executor.execute(job, &*store)).unwrap();
        let took = began.elapsed();
        assert_eq!(execution.result.exit_code, 0);
        took
    };
    // The first rounds make the trees and fill the caches of both.
    for _ in 0..5 {
        ours();
        theirs();
    }
    let (mut alone, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        // What either leaves for later must not slow down the other.
        std::thread::sleep(PAUSE);
        alone.push(ours());
        std::thread::sleep(PAUSE);
        peer.push(theirs());
    }
    report("one, from job to result", alone, peer);
    let (mut row, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS / ROW {
        std::thread::sleep(PAUSE);
        row.push(in_a_row(&ours));
        std::thread::sleep(PAUSE);
        peer.push(in_a_row(&theirs));
    }
    report("each of many in a row", row, peer);
}

/// Runs bwrap and returns how long it took.
fn theirs() -> Duration {
    let began = Instant::now();
    let status = Process::new("bwrap")
        .args(["--unshare-all", "--ro-bind", "/", "/", "/bin/true"])
        .stdin(Stdio::null())
        .status()
        .expect("bwrap (Debian package bubblewrap) is needed for this benchmark");
    assert!(status.success());
    began.elapsed()
}

/// Returns how long each of many takes that follow one another at once, and so wait for what others leave behind.
fn in_a_row(run: &dyn Fn() -> Duration) -> Duration {
    let began = Instant::now();
    for _ in 0..ROW {
        run();
    }
    began.elapsed() / u32::try_from(ROW).unwrap()
}

fn report(what: &str, ours: Vec<Duration>, theirs: Vec<Duration>) {
    let (ours, theirs) = (median(ours), median(theirs));
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("sandbox, {what}: bld {ours:?}, bwrap {theirs:?}, ratio {ratio:.2}");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// An action that runs `/bin/true` with a build root at `/` and a header tree at `/k`.
fn prepare(store: &LocalStore) -> (Action, Command) {
    let mut root = Draft::new();
    for file in program_files(Path::new("/bin/true")) {
        let bytes = std::fs::read(&file).unwrap();
        let digest = store.ingest_bytes(&bytes, true).unwrap();
        let place = RelativePath::new(file.trim_start_matches('/')).unwrap();
        root.add(store, &place, Node::File { digest, executable: true }).unwrap();
    }
    for number in 0..FILES {
        let digest = store.ingest_bytes(format!("#define N {number}\n").as_bytes(), false).unwrap();
        let place = format!("k/build/include/d{}/h{number}.h", number % FOLDERS);
        let place = RelativePath::new(place).unwrap();
        root.add(store, &place, Node::File { digest, executable: false }).unwrap();
    }
    let command = Command {
        arguments: vec!["/bin/true".to_owned()],
        working_directory: RelativePath::new("work").unwrap(),
        output_paths: vec![RelativePath::new("out/none").unwrap()],
        ..Command::default()
    };
    let action = Action {
        command: Digest::of(DigestFunction::Blake3, &encode::command(&command)),
        input_root: root.finish(store).unwrap(),
        timeout: None,
        salt: SANDBOX_SALT.to_owned(),
        platform: Platform(BTreeMap::new()),
    };
    (action, command)
}

/// Returns the program and the libraries that it loads.
fn program_files(program: &Path) -> Vec<String> {
    let listed = Process::new("ldd").arg(program).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let paths = listed.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned);
    paths.chain([program.display().to_string()]).collect()
}
