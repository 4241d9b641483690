//! A flipped bit anywhere: what it hits is not there any more, and wrong bytes are never served.

use std::path::{Path, PathBuf};
use std::task::{Context, Waker};

use store::{Blob, BlobStore as _, Cellar as _, ChunkStore as _, ValueStore as _};
use testkit::MemoryDisk;

use super::support::{
    digest, has, has_rightly, key, noise, now, open, read, scrub, text, value, write,
};

/// Returns the paths of files with that ending.
fn files(disk: &MemoryDisk, ending: &str) -> Vec<PathBuf> {
    disk.paths().into_iter().filter(|it| it.to_string_lossy().ends_with(ending)).collect()
}

fn flip(disk: &MemoryDisk, path: &Path, at: usize, bit: usize) {
    let mut bytes = disk.read(path).unwrap();
    bytes[at] ^= 1 << (bit % 8);
    disk.overwrite(path, bytes);
}

/// The blob that is damaged where a test wants to know what is.
const VICTIM: u64 = 30;

/// Returns a disk with a store of small and large blobs and values, the first half of them sealed.
fn filled() -> (MemoryDisk, Vec<bytes::Bytes>) {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let mut blobs = Vec::new();
    for number in 0..60 {
        // One is too large to share a block, so that it stands there as it is.
        let more = if number == VICTIM { 200_000 } else { 0 };
        let length = more + 50 + usize::try_from(number).unwrap() * 13;
        blobs.push(if number % 3 == 0 { noise(number, length) } else { text(number, length) });
        write(&*store, blobs.last().unwrap()).unwrap();
        now(store.record(&key(number), value(&format!("of {number}")))).unwrap();
        if number == 30 {
            store.end_segment();
            store.keep_house().unwrap();
        }
    }
    let large = noise(7, (2 << 20) + 4321);
    write(&*store, &large).unwrap();
    blobs.push(large);
    store.commit().unwrap();
    // As after a kill: the index knows only of the first half.
    (disk.after_kill(), blobs)
}

/// Asks for everything, twice: what is wrong is nowhere, and stays nowhere, until it is written again.
fn check(disk: &MemoryDisk, blobs: &[bytes::Bytes], what: &str) -> u64 {
    let store = open(disk);
    let there: Vec<bool> = blobs.iter().map(|bytes| has_rightly(&*store, bytes)).collect();
    for number in 0..60 {
        let found = now(store.lookup(&key(number))).unwrap();
        assert!(found.is_none() || found == Some(value(&format!("of {number}"))), "{what}");
    }
    let lost = there.iter().filter(|is| !**is).count();
    assert!(lost <= blobs.len() / 2 + 1, "{what}: {lost} blobs are gone");
    for (bytes, is_there) in blobs.iter().zip(there) {
        assert_eq!(has(&*store, digest(bytes)), is_there, "{what}: it was found to be gone");
        write(&*store, bytes).unwrap();
        assert_eq!(read(&*store, digest(bytes)).as_ref(), Some(bytes), "{what}: written again");
    }
    scrub(&store).unwrap();
    assert!(blobs.iter().all(|bytes| has_rightly(&*store, bytes)), "{what}");
    store.stat().corrupt
}

#[test]
fn a_bit_flipped_in_a_journal_a_sealed_segment_or_a_large_file_is_noticed() {
    let (disk, blobs) = filled();
    for (ending, steps) in [(".journal", 120), (".sealed", 120), ("", 12)] {
        let path = match ending {
            "" => disk.paths().into_iter().find(|it| it.starts_with("large")).unwrap(),
            ending => files(&disk, ending).pop().unwrap(),
        };
        let length = disk.read(&path).unwrap().iter().rposition(|it| *it != 0).unwrap() + 1;
        for step in 0..steps {
            let at = step * (length - 1) / (steps - 1);
            let flipped = disk.after_kill();
            flip(&flipped, &path, at, step);
            check(&flipped, &blobs, &format!("byte {at} of {}", path.display()));
        }
    }
}

#[test]
fn what_says_what_a_segment_is_can_be_damaged_and_nothing_is_lost() {
    let (disk, blobs) = filled();
    let [journal, sealed] = [".journal", ".sealed"].map(|it| files(&disk, it).pop().unwrap());
    let length = disk.read(&sealed).unwrap().len();
    let head = (0..64).map(|at| (&journal, at));
    for (path, at) in head.chain((length - 64..length).map(|at| (&sealed, at))) {
        let flipped = disk.after_kill();
        flip(&flipped, path, at, at);
        let store = open(&flipped);
        let what = format!("byte {at} of {}", path.display());
        assert!(blobs.iter().all(|it| has_rightly(&*store, it)), "{what}");
        assert!(!flipped.paths().iter().any(|it| it.starts_with("lost+found")), "{what}");
    }
    let spoiled = disk.after_kill();
    spoiled.spoil(&sealed, length - 1);
    let store = open(&spoiled);
    let there = blobs.iter().filter(|it| has_rightly(&*store, it)).count();
    assert!(there > blobs.len() - 8, "{there} blobs: the sector has some rows, too");
}

#[test]
fn a_sector_that_cannot_be_read_takes_what_is_in_it_and_nothing_stops() {
    let (disk, blobs) = filled();
    for (ending, steps) in [(".journal", 60), (".sealed", 60), ("", 6)] {
        let path = match ending {
            "" => disk.paths().into_iter().find(|it| it.starts_with("large")).unwrap(),
            ending => files(&disk, ending).pop().unwrap(),
        };
        let length = disk.read(&path).unwrap().iter().rposition(|it| *it != 0).unwrap() + 1;
        for step in 0..steps {
            let (at, spoiled) = (step * (length - 1) / (steps - 1), disk.after_kill());
            spoiled.spoil(&path, at);
            let what = format!("the sector of byte {at} of {}", path.display());
            check(&spoiled, &blobs, &what);
            // Nor does it stop those who compress and make room.
            let store = open(&spoiled);
            store.end_segment();
            write(&*store, &text(1000, 1000)).unwrap();
            store.keep_house().unwrap();
            let journals = files(&spoiled, ".journal");
            let journals = journals.iter().filter(|it| it.starts_with("segments"));
            assert_eq!(journals.count(), 1, "{what}: one is written to");
            scrub(&store).unwrap();
        }
    }
}

#[test]
fn a_record_in_a_journal_that_is_damaged_takes_no_other_with_it() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let victim = noise(5, 5000);
    let others: Vec<_> = (0..20).map(|it| text(it, 300)).collect();
    for (number, bytes) in others.iter().enumerate() {
        write(&*store, bytes).unwrap();
        if number == 10 {
            write(&*store, &victim).unwrap();
        }
    }
    let path = files(&disk, ".journal").pop().unwrap();
    let journal = disk.read(&path).unwrap();
    let at = journal.windows(victim.len()).position(|it| it == &victim[..]).unwrap() + 2500;
    let (spoiled, flipped) = (disk.after_kill(), disk.after_kill());
    spoiled.spoil(&path, at);
    flip(&flipped, &path, at, 3);
    for disk in [spoiled, flipped] {
        let store = open(&disk);
        assert!(!has_rightly(&*store, &victim));
        assert!(others.iter().all(|it| has_rightly(&*store, it)));
    }
}

#[test]
fn a_bit_flipped_in_the_index_never_leads_to_wrong_bytes() {
    let (disk, blobs) = filled();
    let index = disk.read(Path::new("index")).unwrap();
    let used: Vec<usize> = (0..index.len()).filter(|at| index[*at] != 0).collect();
    for (number, at) in used.iter().step_by(used.len() / 150).enumerate() {
        let flipped = disk.after_kill();
        flip(&flipped, Path::new("index"), *at, number);
        // Whatever is met here, nothing wrong is said, and what makes redb stumble is made again by the next start.
        let store = open(&flipped);
        for bytes in &blobs {
            if let Ok(Some(found)) = now(store.read(digest(bytes))) {
                assert!(found.into_bytes().is_ok_and(|it| it == bytes));
            }
        }
        let _ = write(&*store, &text(1000, 1000));
        let _ = store.keep_house();
        drop(store);
        check(&flipped, &blobs, &format!("byte {at} of the index"));
    }
}

#[test]
fn an_index_that_turns_out_to_be_damaged_is_made_again_by_the_next_start() {
    /// How many bytes redb writes as one.
    const PAGE_BYTES: usize = 4096;
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let blobs: Vec<_> = (0..2000).map(|it| text(it, 100)).collect();
    for bytes in &blobs {
        write(&*store, bytes).unwrap();
    }
    // What was not closed is looked through when it is opened.
    store.close().unwrap();
    let all = || blobs.iter().map(|bytes| digest(bytes)).collect();
    let index = disk.read(Path::new("index")).unwrap();
    // The kinds of pages that trees consist of.
    let is_page = |at: &usize| matches!(index[*at], 1 | 2);
    let mut noticed = 0;
    for at in (PAGE_BYTES..index.len()).step_by(PAGE_BYTES).filter(is_page) {
        let damaged = disk.after_kill();
        flip(&damaged, Path::new("index"), at, 5);
        let store = open(&damaged);
        if now(store.find_missing(all())).is_ok() {
            continue;
        }
        noticed += 1;
        assert!(now(store.find_missing(all())).is_err(), "it is not looked for in an empty one");
        drop(store);
        let again = open(&damaged);
        assert_eq!(now(again.find_missing(all())).unwrap(), [].into(), "page at {at}");
        again.keep_house().unwrap();
    }
    assert!(noticed > 10, "{noticed} of them were noticed only when they were met");
}

#[test]
fn a_large_file_goes_when_another_takes_its_place_in_a_damaged_index() {
    let disk = MemoryDisk::new();
    let (large, store) = (noise(1, 3 << 20), open(&disk));
    write(&*store, &large).unwrap();
    store.close().unwrap();
    // The size is a part of what the index says; the highest byte is the form.
    let index = Path::new("index");
    let said = (3_u64 << 20 | 2 << 56).to_le_bytes();
    let bytes = disk.read(index).unwrap();
    for at in (0..bytes.len() - 8).filter(|at| bytes[*at..*at + 8] == said) {
        flip(&disk, index, at, 0);
    }
    let disk = disk.after_kill();
    let store = open(&disk);
    assert!(!has(&*store, digest(&large)), "one of another size is there");
    write(&*store, &large).unwrap();
    assert!(has_rightly(&*store, &large));
    store.close().unwrap();
    let left = disk.paths().into_iter().filter(|it| it.starts_with("large"));
    assert_eq!(left.count(), 1, "the other one is gone");
}

#[test]
fn what_is_found_to_be_corrupt_is_counted_and_kept_aside_and_scrubbing_finds_it() {
    let (disk, blobs) = filled();
    let [path] = &files(&disk, ".sealed")[..] else { unreachable!("one segment was sealed") };
    let victim = &blobs[usize::try_from(VICTIM).unwrap()];
    let sealed = disk.read(path).unwrap();
    let at = sealed.windows(victim.len()).position(|it| it == &victim[..]).unwrap();
    let flipped = disk.after_kill();
    flip(&flipped, path, at + 1000, 3);
    let store = open(&flipped);
    assert!(has(&*store, digest(victim)), "nobody has noticed yet");
    let scrubbed = scrub(&store).unwrap();
    assert_eq!(scrubbed.corrupt, 1);
    assert_eq!(scrubbed.records, 121);
    assert_eq!(store.stat().corrupt, 1);
    assert!(!has(&*store, digest(victim)), "it is taken away");
    let kept: Vec<_> =
        flipped.paths().into_iter().filter(|it| it.starts_with("quarantine")).collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(flipped.read(&kept[0]).unwrap().len(), victim.len());
    assert_eq!(scrub(&store).unwrap().corrupt, 0, "the rest is right");
    drop(store);
    assert!(!has(&*open(&flipped), digest(victim)), "and it stays away");
}

#[test]
fn a_large_file_that_is_corrupt_fails_where_it_is_and_is_gone_then() {
    let (disk, blobs) = filled();
    let large = blobs.last().unwrap();
    let path = disk.paths().into_iter().find(|it| it.starts_with("large")).unwrap();
    flip(&disk, &path, 1_500_000, 0);
    let store = open(&disk);
    let Some(Blob::Ranged(ranged)) = now(store.read(digest(large))).unwrap() else {
        unreachable!("it is large");
    };
    assert_eq!(ranged.read_at(17, 100).unwrap(), large.slice(17..117));
    let end = ranged.read_at(large.len() as u64 - 100, 1 << 20).unwrap();
    assert_eq!(end, large.slice(large.len() - 100..));
    let error = ranged.read_at(1_400_000, 10).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    assert!(!has(&*store, digest(large)));
    assert_eq!(store.stat().corrupt, 1);
}

#[test]
fn a_large_file_stays_as_long_as_its_record_may_be_there() {
    let disk = MemoryDisk::new();
    let (large, store) = (noise(1, 3 << 20), open(&disk));
    write(&*store, &large).unwrap();
    store.close().unwrap();
    let [journal] = &files(&disk, ".journal")[..] else { unreachable!("there is one") };
    let before = disk.read(journal).unwrap();
    let hash = digest(&large);
    let at = before.windows(hash.hash().len()).position(|it| it == hash.hash()).unwrap();

    let spoiled = disk.after_kill();
    let store = open(&spoiled);
    spoiled.spoil(journal, at);
    store.keep_house().unwrap();
    // The disk has second thoughts.
    spoiled.overwrite(journal, before);
    assert!(has_rightly(&*store, &large));
    store.keep_house().unwrap();
    assert_eq!(spoiled.paths().iter().find(|it| it.starts_with("large")), None, "it is cut");
}

#[test]
fn a_large_blob_that_shares_a_damaged_chunk_with_another_is_kept_whole() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let first = noise(1, 3 << 20);
    write(&*store, &first).unwrap();
    store.keep_house().unwrap();
    let needle = &first[1000..1100];
    let mut damaged = 0;
    for path in files(&disk, "").into_iter().filter(|it| it.starts_with("segments")) {
        let bytes = disk.read(&path).unwrap();
        if let Some(at) = bytes.windows(needle.len()).position(|it| it == needle) {
            flip(&disk, &path, at, 0);
            damaged += 1;
        }
    }
    assert_eq!(damaged, 1, "a chunk is a record");
    assert!(has(&*store, digest(&first)), "nobody has noticed yet");
    let second = [&first[..], b"and more"].concat().into();
    write(&*store, &second).unwrap();
    store.keep_house().unwrap();
    assert!(!disk.paths().iter().any(|it| it.starts_with("large")), "it was cut into chunks");
    assert!(has_rightly(&*store, &second));
    assert!(has_rightly(&*store, &first), "and what it shares is whole again");
    assert_eq!(store.stat().corrupt, 1);
}

#[test]
fn a_chunk_that_was_written_wrongly_is_replaced_by_the_one_that_is_cut() {
    /// How many bytes a header has: the last four are its checksum, and those before the payload's.
    const HEADER_BYTES: usize = 64;
    let large = noise(1, 3 << 20);
    let other = open(&MemoryDisk::new());
    write(&*other, &large).unwrap();
    let chunks = now(other.split(digest(&large))).unwrap().unwrap();
    let chunk = large.slice(..usize::try_from(chunks[0].size()).unwrap());

    let disk = MemoryDisk::new();
    let store = open(&disk);
    write(&*store, &chunk).unwrap();
    let [path] = &files(&disk, ".journal")[..] else { unreachable!("there is one") };
    let mut journal = disk.read(path).unwrap();
    let segment = u32::from_le_bytes(journal[8..12].try_into().unwrap());
    let at = journal.windows(100).position(|it| *it == chunk[..100]).unwrap();
    journal[at] ^= 1;
    let crc = crc32c::crc32c(&journal[at..at + chunk.len()]);
    journal[at - 8..at - 4].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32c::crc32c_append(segment, &journal[at - HEADER_BYTES..at - 4]);
    journal[at - 4..at].copy_from_slice(&crc.to_le_bytes());
    disk.overwrite(path, journal);
    assert!(
        now(store.read(digest(&chunk))).unwrap().is_some(),
        "no checksum says that it is wrong"
    );

    write(&*store, &large).unwrap();
    store.keep_house().unwrap();
    assert!(!disk.paths().iter().any(|it| it.starts_with("large")), "it was cut into chunks");
    assert!(has_rightly(&*store, &large) && has_rightly(&*store, &chunk));
    assert_eq!(store.stat().corrupt, 1);
}

#[test]
fn scrubbing_finds_a_record_whose_header_is_damaged() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let blobs: Vec<_> = (0..9).map(|number| noise(number, 3000)).collect();
    for bytes in &blobs {
        write(&*store, bytes).unwrap();
    }
    store.keep_house().unwrap();
    let damage = |ending: &str, victim: usize, at: &dyn Fn(&[u8]) -> usize| {
        let [path] = &files(&disk, ending)[..] else { unreachable!("there is one") };
        flip(&disk, path, at(&disk.read(path).unwrap()), 1);
        let there = blobs.iter().filter(|it| has(&*store, digest(it))).count();
        let scrubbed = scrub(&store).unwrap();
        assert_eq!(scrubbed.corrupt, 1, "{ending}");
        assert_eq!(scrubbed.records, there as u64, "{ending}: what the index alone knows counts");
        assert!(!has(&*store, digest(&blobs[victim])), "{ending}");
    };
    let place = |bytes: &[u8], needle: &[u8]| {
        bytes.windows(needle.len()).position(|it| it == needle).unwrap()
    };
    damage(".journal", 3, &|bytes| place(bytes, &blobs[3][..100]) - 40);
    store.end_segment();
    store.keep_house().unwrap();
    damage(".sealed", 5, &|bytes| place(bytes, digest(&blobs[5]).hash()) + 3);
    assert_eq!(blobs.iter().filter(|it| has_rightly(&*store, it)).count(), 7);
}

#[test]
fn a_scrub_can_be_ended_at_any_piece_of_any_record() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let small: Vec<_> = (0..9).map(|number| noise(number, 3000)).collect();
    for bytes in &small {
        write(&*store, bytes).unwrap();
    }
    write(&*store, &noise(10, 5 << 20)).unwrap();
    store.commit().unwrap();
    // Of some of them only the index knows.
    let [path] = &files(&disk, ".journal")[..] else { unreachable!("there is one") };
    for bytes in &small[3..] {
        let journal = disk.read(path).unwrap();
        let at = journal.windows(100).position(|it| *it == bytes[..100]).unwrap();
        flip(&disk, path, at - 40, 1);
    }
    let mut scrubbing = store.scrub(u64::MAX);
    let mut context = Context::from_waker(Waker::noop());
    let (mut rests, mut corrupt) = (0, vec![]);
    while scrubbing.as_mut().poll(&mut context).is_pending() {
        rests += 1;
        corrupt.push(store.stat().scrubbed.corrupt);
    }
    assert!(rests >= 10 + 5, "it rested {rests} times");
    assert!((0..=6).all(|count| corrupt.contains(&count)), "after each record: {corrupt:?}");
}
