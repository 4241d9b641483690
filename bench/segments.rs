//! Measures the server's store: how fast it takes blobs as it grows, how soon it is ready again, and what things take in it.
//!
//! `cargo bench -p store --bench segments -- COMMAND …`:
//!
//! - `grow STORE [BLOBS] [THREADS]`: writes BLOBS blobs (a million if not said) of 64 to 512 bytes, and prints how fast; then
//!   opens the store again, after it was closed and after it was killed, and prints how soon it answered and its memory.
//! - `open STORE`: opens the store, asks for a blob, and prints how long that took and the memory.
//! - `hold STORE`: opens the store and writes until it is killed.
//! - `read STORE BLOBS`: reads so many of the blobs that `grow` wrote, in an order of no order.
//! - `trees STORE FOLDER …`: puts all files of the folders into the store, and prints what they take there, as one
//!   `tar.zst` per folder (level 3), and as a file per blob.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a tool for people at a terminal"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt as _;
use model::{Digest, DigestFunction};
use store::{Blob, BlobStore as _, Cellar as _, Housekeeping, SegmentStore, Settings};

/// What the stores may take: nothing is evicted.
const BUDGET_BYTES: u64 = 1 << 40;

/// After how many blobs the rate is printed.
const STEP: u64 = 500_000;

/// The block of a file system: a file takes whole ones.
const BLOCK_BYTES: u64 = 4096;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match &arguments[..] {
        ["grow", root, rest @ ..] => {
            let number =
                |at: usize, default| rest.get(at).map_or(default, |it| it.parse().unwrap());
            grow(Path::new(root), number(0, 1_000_000), number(1, 1));
        }
        ["open", root] => drop(open_and_tell(Path::new(root))),
        ["hold", root] => hold(Path::new(root)),
        ["read", root, blobs] => read(Path::new(root), blobs.parse().unwrap()),
        ["trees", root, folders @ ..] => trees(Path::new(root), folders),
        // `cargo test --benches` and `cargo bench` without words run it too.
        _ => println!(
            "grow STORE [BLOBS] [THREADS] | open STORE | read STORE BLOBS | trees STORE FOLDER …"
        ),
    }
}

fn open(root: &Path) -> Arc<SegmentStore> {
    open_with(root, Housekeeping::Threads)
}

fn open_with(root: &Path, housekeeping: Housekeeping) -> Arc<SegmentStore> {
    SegmentStore::open(root, Settings { housekeeping, ..Settings::new(BUDGET_BYTES) }).unwrap()
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::of(DigestFunction::Blake3, bytes)
}

fn now<T>(call: impl Future<Output = T>) -> T {
    call.now_or_never().unwrap()
}

/// Returns the blob of that number: a few words, each of which other blobs have too, and a number that none has.
fn blob(number: u64) -> Bytes {
    let mixed = |seed: u64| {
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
    };
    let length = 64 + mixed(number) % 449;
    let mut text = format!("blob {number} {:016x}\n", mixed(number ^ 0xabcd));
    for word in 0.. {
        if text.len() as u64 >= length {
            break;
        }
        let word = mixed(number.wrapping_mul(31).wrapping_add(word)) % 5000;
        writeln!(text, "#define word_{word} {}", word * 7).unwrap();
    }
    text.truncate(usize::try_from(length).unwrap());
    text.into()
}

/// Returns how many MiB of memory this process has, and had at most.
fn memory() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let find = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
    };
    (find("VmRSS:"), find("VmHWM:"))
}

/// Returns how many seconds of a processor this process has used: what does not depend on who else uses the machine.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn grow(root: &Path, blobs: u64, threads: u64) {
    let store = open(root);
    let begun = Instant::now();
    println!("     blobs    seconds      blobs/s  CPU µs/blob  MiB memory  MiB on disk");
    for first in (0..blobs).step_by(usize::try_from(STEP).unwrap()) {
        let (step, cpu) = (Instant::now(), cpu_seconds());
        let end = blobs.min(first + STEP);
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let store = &store;
                scope.spawn(move || {
                    for number in (first + thread..end).step_by(usize::try_from(threads).unwrap()) {
                        let bytes = blob(number);
                        now(store.write(digest(&bytes), bytes.into())).unwrap();
                    }
                });
            }
        });
        let rate = (end - first) as f64 / step.elapsed().as_secs_f64();
        let seconds = begun.elapsed().as_secs_f64();
        let physical = store.stat().physical_bytes >> 20;
        let cpu = (cpu_seconds() - cpu) / (end - first) as f64 * 1e6;
        println!(
            "{end:>10} {seconds:>10.1} {rate:>12.0} {cpu:>12.1} {:>11} {physical:>12}",
            memory().0
        );
    }
    println!("memory: {:?} MiB now, at most", memory());
    let closing = Instant::now();
    store.close().unwrap();
    drop(store);
    println!("closed in {:.2} s", closing.elapsed().as_secs_f64());
    run("open", root).wait().unwrap();
    let mut child = run("hold", root);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while lines.next().unwrap().unwrap() != "written" {}
    child.kill().unwrap();
    child.wait().unwrap();
    println!("killed while it wrote");
    run("open", root).wait().unwrap();
}

/// Runs this program again: what is measured then is a process that has just started.
fn run(command: &str, root: &Path) -> std::process::Child {
    let stdout = if command == "hold" { Stdio::piped() } else { Stdio::inherit() };
    Command::new(std::env::current_exe().unwrap())
        .args([command.as_ref(), root.as_os_str()])
        .stdout(stdout)
        .spawn()
        .unwrap()
}

fn open_and_tell(root: &Path) -> Arc<SegmentStore> {
    let begun = Instant::now();
    let store = open(root);
    let opened = begun.elapsed();
    let found = now(store.read(digest(&blob(0)))).unwrap();
    let answered = begun.elapsed();
    let blobs = store.stat().blobs;
    println!(
        "{blobs} blobs: open after {:.3} s, the first answer ({}) after {:.3} s, {:?} MiB now, at most",
        opened.as_secs_f64(),
        if found.is_some() { "found" } else { "missing" },
        answered.as_secs_f64(),
        memory(),
    );
    store
}

fn hold(root: &Path) {
    let store = open(root);
    for number in 0.. {
        // Others than `grow` wrote; said in time for a kill in the middle of the next ones.
        let bytes = blob((1 << 40) + number);
        now(store.write(digest(&bytes), bytes.into())).unwrap();
        if number == 50_000 {
            println!("written");
            std::io::stdout().flush().unwrap();
        }
    }
}

fn read(root: &Path, blobs: u64) {
    let store = open_and_tell(root);
    let begun = Instant::now();
    let (mut count, mut number) = (0_u64, 1);
    while begun.elapsed() < Duration::from_secs(10) {
        number = (number * 6_364_136_223_846_793_005_u128 + 1_442_695_040_888_963_407) % (1 << 64);
        let bytes = blob(u64::try_from(number >> 20).unwrap() % blobs);
        let found = now(store.read(digest(&bytes))).unwrap();
        assert!(matches!(found, Some(Blob::Bytes(found)) if found == bytes));
        count += 1;
    }
    println!(
        "{:.0} reads/s, {:?} MiB now, at most",
        count as f64 / begun.elapsed().as_secs_f64(),
        memory()
    );
}

fn trees(root: &Path, folders: &[&str]) {
    // Nobody else keeps house: what is told of the store is told of one that has come to rest.
    let store = open_with(root, Housekeeping::Called);
    let (mut files, mut logical, mut tars) = (0_u64, 0, 0);
    let (mut unique, mut unique_bytes, mut as_files, mut alone) = (BTreeSet::new(), 0, 0, 0);
    let begun = Instant::now();
    for folder in folders {
        let mut tar = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
        for path in files_below(Path::new(folder)) {
            let bytes = Bytes::from(fs::read(&path).unwrap());
            // As in an archive: a block that says what it is, and the bytes, to the end of a block.
            let mut header = path.to_string_lossy().into_owned().into_bytes();
            header.resize(512, 0);
            tar.write_all(&header).unwrap();
            tar.write_all(&bytes).unwrap();
            tar.write_all(&vec![0; bytes.len().next_multiple_of(512) - bytes.len()]).unwrap();
            files += 1;
            logical += bytes.len() as u64;
            let digest = digest(&bytes);
            if unique.insert(digest) {
                unique_bytes += digest.size();
                as_files += digest.size().next_multiple_of(BLOCK_BYTES);
                alone += zstd::bulk::compress(&bytes, 3).unwrap().len() as u64;
                now(store.write(digest, bytes.into())).unwrap();
            }
        }
        tars += tar.finish().unwrap().len() as u64;
        store.keep_house().unwrap();
    }
    println!(
        "{} folders, {files} files, read and written in {:.1} s",
        folders.len(),
        begun.elapsed().as_secs_f64()
    );
    let settling = Instant::now();
    // The second time compresses the chunks that the first one cut.
    for _ in 0..2 {
        store.end_segment();
        store.keep_house().unwrap();
    }
    println!("compressed in {:.1} s", settling.elapsed().as_secs_f64());
    let stat = store.stat();
    let index = fs::metadata(root.join("index")).unwrap().len();
    let tell = |what: &str, bytes: u64| {
        let ratio = bytes as f64 / tars as f64;
        println!("{what:<44} {:>10.1} MB {ratio:>8.3}", bytes as f64 / 1e6);
    };
    tell("all files", logical);
    tell(&format!("unique files ({})", unique.len()), unique_bytes);
    tell("one file per unique blob", as_files);
    tell("each unique file compressed (level 3)", alone);
    tell("one tar.zst per folder (level 3)", tars);
    tell("the store, segments and index", stat.physical_bytes);
    tell("of that, the index", index);
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut pending) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                pending.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}
