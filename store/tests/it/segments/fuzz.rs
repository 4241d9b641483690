//! A store's files made bad in any way: it starts, and serves what is right, or nothing.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use store::{StoreError, UploadStore as _, ValueStore as _};
use testkit::{MemoryDisk, Mutator, Seed, cases};

use super::support::{
    digest, has_rightly, key, named, noise, now, open, read, scrub, text, try_open, value, write,
};

/// How many cases there are, if `BLD_FUZZ_CASES` does not say.
const CASES: u64 = 60;

/// How many bytes of a session's blob came before it broke off.
const PARKED_BYTES: usize = 2_500_000;

/// Returns a disk with a file of every kind that a store has, the blobs in it, and one that was sent only in part.
fn filled() -> (MemoryDisk, Vec<Bytes>, Bytes) {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let mut blobs = Vec::new();
    for number in 0..40 {
        let length = 50 + usize::try_from(number).unwrap() * 37;
        blobs.push(if number % 3 == 0 { noise(number, length) } else { text(number, length) });
        write(&*store, blobs.last().unwrap()).unwrap();
        now(store.record(&key(number), value(&format!("of {number}")))).unwrap();
        now(store.lookup(&key(number / 2))).unwrap();
        if number % 13 == 12 {
            store.end_segment();
            store.keep_house().unwrap();
        }
    }
    // One is cut into chunks, and one is still a file.
    for seed in [7, 8] {
        let large = noise(seed, (2 << 20) + 4321);
        write(&*store, &large).unwrap();
        blobs.push(large);
        if seed == 7 {
            store.keep_house().unwrap();
        }
    }
    let parked = noise(9, 3 << 20);
    let mut upload = now(store.upload(&[digest(&parked)], Some(&named("a session")))).unwrap();
    upload.write(parked.slice(..PARKED_BYTES)).unwrap();
    drop(upload);
    store.commit().unwrap();
    (disk.after_kill(), blobs, parked)
}

/// Makes a file bad, or puts one where another was.
fn change(disk: &MemoryDisk, fuzz: &mut Mutator) -> PathBuf {
    let paths = disk.paths();
    let path: PathBuf = fuzz.pick(&paths[..]).clone();
    let bytes = disk.read(&path).unwrap();
    let used = bytes.iter().rposition(|it| *it != 0).map_or(0, |it| it + 1);
    match fuzz.below(8) {
        0 => store::Disk::remove(disk, &path).unwrap(),
        1 => {
            let other = disk.read(fuzz.pick::<PathBuf>(&paths)).unwrap();
            disk.overwrite(&path, other);
        }
        2 => {
            // As it would be a segment or a session of another number.
            let folder = path.parent().unwrap_or(Path::new(""));
            let name = fuzz.text(&path.file_name().unwrap().to_string_lossy());
            if !name.is_empty() && !name.contains(['/', '\0']) && name != ".." && name != "." {
                disk.overwrite(&folder.join(name), bytes);
            }
        }
        // Near the end of what was written: the last records, tables and trailers.
        3 => {
            let begin = used.saturating_sub(4096);
            let end = fuzz.bytes(&bytes[begin..used]);
            disk.overwrite(&path, [&bytes[..begin], &end, &bytes[used..]].concat());
        }
        4 => {
            let end = used.min(4096);
            let begin = fuzz.bytes(&bytes[..end]);
            disk.overwrite(&path, [&begin, &bytes[end..]].concat());
        }
        _ => disk.overwrite(&path, fuzz.bytes(&bytes)),
    }
    path
}

#[test]
fn no_change_of_its_files_makes_a_store_serve_what_is_wrong_or_refuse_to_start() {
    let seed = Seed::new();
    let mut fuzz = seed.mutator();
    let (disk, blobs, parked) = filled();
    for case in 0..cases(CASES) {
        let changed = disk.after_kill();
        let paths: Vec<_> = (0..=fuzz.below(3)).map(|_| change(&changed, &mut fuzz)).collect();
        let what = format!("case {case}: {paths:?}");
        let store = match try_open(&changed) {
            Ok(store) => store,
            // Which version it is of, or whose folder, is for the operator to say.
            Err(StoreError::Format { .. } | StoreError::Occupied { .. }) => {
                assert!(paths.iter().any(|it| it == Path::new("format")), "{what}");
                continue;
            }
            Err(error) => panic!("{what}: {error:?}"),
        };
        for bytes in &blobs {
            has_rightly(&*store, bytes);
        }
        for number in 0..40 {
            let found = now(store.lookup(&key(number))).unwrap();
            assert!(found.is_none() || found == Some(value(&format!("of {number}"))), "{what}");
        }
        let name = digest(&parked);
        let mut upload = now(store.upload(&[name], Some(&named("a session")))).unwrap();
        let sent = usize::try_from(upload.bytes()).unwrap();
        assert!(sent <= parked.len(), "{what}");
        let finished = upload.write(parked.slice(sent..)).and_then(|()| upload.finish());
        if finished.is_err() {
            // What had come was not what it should have been: it begins anew.
            let mut upload = now(store.upload(&[name], Some(&named("a session")))).unwrap();
            assert_eq!(upload.bytes(), 0, "{what}");
            upload.write(parked.clone()).unwrap();
            upload.finish().unwrap();
        }
        assert!(has_rightly(&*store, &parked), "{what}");
        scrub(&store).unwrap();
        for bytes in &blobs {
            write(&*store, bytes).unwrap();
            assert!(read(&*store, digest(bytes)).as_ref() == Some(bytes), "{what}");
        }
        store.keep_house().unwrap();
        drop(store);
        let again = open(&changed);
        assert!(blobs.iter().all(|bytes| has_rightly(&*again, bytes)), "{what}, opened again");
    }
}
