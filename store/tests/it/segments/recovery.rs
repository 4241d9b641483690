//! Opening after the process was killed, power was lost, or somebody meddled with the folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use model::DigestFunction;
use store::{Cellar, SegmentStore, StoreError, UploadStore as _, ValueStore as _};
use testkit::MemoryDisk;

use super::support::{
    AMPLE_BYTES, digest, has, has_rightly, key, named, noise, now, open, read, settings, text,
    try_open, value, write,
};

/// Returns the path of the journal that is appended to.
fn journal(disk: &MemoryDisk) -> PathBuf {
    let is_journal = |path: &PathBuf| path.extension().is_some_and(|it| it == "journal");
    disk.paths().into_iter().rfind(is_journal).unwrap()
}

#[test]
fn what_was_written_survives_a_kill_at_any_time() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let mut written = Vec::new();
    for number in 0..300 {
        let bytes = text(number, 10 + usize::try_from(number).unwrap() * 11);
        write(&*store, &bytes).unwrap();
        now(store.record(&key(number % 7), value(&number.to_string()))).unwrap();
        written.push(bytes);
        if number % 60 == 45 {
            store.end_segment();
        }
        if number % 90 == 45 {
            store.keep_house().unwrap();
        }
        if number % 13 != 0 {
            continue;
        }
        let again = open(&disk.after_kill());
        assert!(written.iter().all(|bytes| has_rightly(&*again, bytes)), "after {number}");
        let last = now(again.lookup(&key(number % 7))).unwrap();
        assert_eq!(last, Some(value(&number.to_string())));
        // What they come to is known for certain when the index has all of them.
        again.keep_house().unwrap();
        assert_eq!(again.stat().blobs, store.stat().blobs);
        assert_eq!(again.stat().values, store.stat().values);
        assert_eq!(again.stat().logical_bytes, store.stat().logical_bytes);
    }
}

#[test]
fn a_journal_cut_off_anywhere_keeps_what_is_whole_before_the_cut() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let early = text(0, 300);
    write(&*store, &early).unwrap();
    store.keep_house().unwrap();
    let (covered, mut ends) = (store.stat().logical_bytes, Vec::new());
    assert_eq!(covered, 300);
    let late: Vec<_> = (1..4).map(|number| text(number, 40)).collect();
    let path = journal(&disk);
    for bytes in &late {
        write(&*store, bytes).unwrap();
        let journal = disk.read(&path).unwrap();
        ends.push(journal.iter().rposition(|it| *it != 0).unwrap() + 1);
    }
    let whole = disk.read(&path).unwrap();
    let begin = ends[0] - 40 - 64;
    for cut in begin..=ends[2] {
        for filler in [None, Some(0), Some(0xff)] {
            let killed = disk.after_kill();
            let mut journal = whole[..cut].to_vec();
            if let Some(filler) = filler {
                journal.resize(whole.len(), filler);
            }
            killed.overwrite(&path, journal);
            let again = open(&killed);
            assert!(has_rightly(&*again, &early), "cut at {cut}");
            for (bytes, end) in late.iter().zip(&ends) {
                assert_eq!(has_rightly(&*again, bytes), *end <= cut, "cut at {cut}");
            }
            // What follows the cut is not found again when more is written.
            write(&*again, &late[1]).unwrap();
            drop(again);
            let last = open(&killed);
            assert!(has_rightly(&*last, &late[1]), "cut at {cut}");
            assert_eq!(has_rightly(&*last, &late[2]), ends[2] <= cut, "cut at {cut}");
        }
    }
}

#[test]
fn an_index_that_is_lost_or_damaged_or_old_is_made_again() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let blobs: Vec<_> = (0..400).map(|number| text(number, 900)).collect();
    for (number, bytes) in blobs.iter().enumerate() {
        write(&*store, bytes).unwrap();
        now(store.record(&key(number as u64 % 50), value(&number.to_string()))).unwrap();
    }
    let large = noise(9, 5 << 20);
    let small_change = [&large[..1 << 20], b"a change", &large[1 << 20..]].concat().into();
    store.end_segment();
    store.keep_house().unwrap();
    assert!(now(store.forget_blob(digest(&blobs[7]))).unwrap());
    assert!(now(store.forget(&key(3))).unwrap());
    store.keep_house().unwrap();
    let old = disk.read(Path::new("index")).unwrap();
    write(&*store, &large).unwrap();
    write(&*store, &small_change).unwrap();
    store.keep_house().unwrap();
    assert!(disk.paths().iter().any(|it| it.extension().is_some_and(|it| it == "sealed")));

    let zeros = vec![0; old.len()];
    let noise = noise(1, old.len()).to_vec();
    let begins_well = [&old[..4096], &noise[4096..]].concat();
    for index in [None, Some(Vec::new()), Some(zeros), Some(noise), Some(begins_well), Some(old)] {
        let killed = disk.after_kill();
        match index {
            None => store::Disk::remove(&killed, Path::new("index")).unwrap(),
            Some(index) => killed.overwrite(Path::new("index"), index),
        }
        let again = open(&killed);
        for (number, bytes) in blobs.iter().enumerate() {
            assert_eq!(has_rightly(&*again, bytes), number != 7, "blob {number}");
        }
        for number in 0..50 {
            let last = now(again.lookup(&key(number))).unwrap();
            let expected = (number != 3).then(|| value(&(350 + number).to_string()));
            assert_eq!(last, expected, "what was forgotten stays so, the last word is the last");
        }
        assert!(has_rightly(&*again, &large) && has_rightly(&*again, &small_change));
        again.keep_house().unwrap();
        let (before, after) = (store.stat(), again.stat());
        assert_eq!((before.blobs, before.values), (after.blobs, after.values));
        assert_eq!(before.logical_bytes, after.logical_bytes);
        assert_eq!(before.chunk_bytes, after.chunk_bytes);
    }
}

#[test]
fn an_index_is_made_again_after_a_loss_of_power_from_journals_whose_large_files_are_gone() {
    let disk = MemoryDisk::new();
    // All of it is in one journal.
    let store = SegmentStore::open_on(Arc::new(disk.clone()), settings(8 * AMPLE_BYTES)).unwrap();
    let (large, small) = (noise(9, 3 << 20), text(500, 700));
    write(&*store, &large).unwrap();
    store.keep_house().unwrap();
    assert!(!disk.paths().iter().any(|it| it.starts_with("large")), "it is chunks");
    write(&*store, &small).unwrap();
    store.keep_house().unwrap();
    let index = disk.read(Path::new("index")).unwrap();

    let damaged = [&index[..4096], &vec![0xff; index.len() - 4096]].concat();
    for (seed, index) in [None, Some(Vec::new()), Some(damaged)].into_iter().enumerate() {
        let found = disk.after_power_loss(seed as u64);
        match index {
            None => store::Disk::remove(&found, Path::new("index")).unwrap(),
            Some(index) => found.overwrite(Path::new("index"), index),
        }
        let again = open(&found);
        assert!(has_rightly(&*again, &large), "index {seed}");
        assert!(has_rightly(&*again, &small), "index {seed}");
        assert_eq!(again.stat().corrupt, 0);
    }
}

#[test]
fn after_a_loss_of_power_what_was_committed_is_there_and_nothing_is_torn() {
    for seed in 0..60 {
        let disk = MemoryDisk::new();
        let store = open(&disk);
        let blobs: Vec<_> =
            (0..120).map(|it| text(it, 40 + usize::try_from(it).unwrap())).collect();
        let large = noise(seed, (2 << 20) + 77);
        let (committed, rest) = blobs.split_at(40 + usize::try_from(seed).unwrap());
        for bytes in committed {
            write(&*store, bytes).unwrap();
        }
        if seed % 2 == 0 {
            write(&*store, &large).unwrap();
        }
        if seed % 3 == 0 {
            store.keep_house().unwrap();
        }
        now(store.record(&key(1), value("committed"))).unwrap();
        store.commit().unwrap();
        for bytes in rest {
            write(&*store, bytes).unwrap();
        }
        now(store.record(&key(1), value("later"))).unwrap();

        let again = open(&disk.after_power_loss(seed));
        assert!(committed.iter().all(|bytes| has_rightly(&*again, bytes)), "seed {seed}");
        assert_eq!(has_rightly(&*again, &large), seed % 2 == 0, "seed {seed}");
        let survived: Vec<_> = rest.iter().map(|bytes| has_rightly(&*again, bytes)).collect();
        let first_lost = survived.iter().position(|is| !is).unwrap_or(survived.len());
        assert!(
            !survived[first_lost..].contains(&true),
            "seed {seed}: a later one, no earlier one"
        );
        let said = now(again.lookup(&key(1))).unwrap().unwrap();
        assert!([value("committed"), value("later")].contains(&said), "seed {seed}");
        assert_eq!(again.stat().corrupt, 0, "seed {seed}");
    }
}

#[test]
fn after_a_kill_and_a_loss_of_power_the_index_leads_to_nothing_that_is_lost() {
    let disk = MemoryDisk::new();
    // More than the index gets at once, all of it in one journal.
    let settings = || settings(8 << 30);
    let blobs: Vec<_> = (0..36).map(|it| noise(it, 2 << 20)).collect();
    let store = SegmentStore::open_on(Arc::new(disk.clone()), settings()).unwrap();
    for bytes in &blobs {
        write(&*store, bytes).unwrap();
    }
    store.end_segment();
    let killed = disk.after_kill();
    drop(store);
    drop(disk);
    let again = SegmentStore::open_on(Arc::new(killed.clone()), settings()).unwrap();
    assert!(blobs.iter().all(|it| has(&*again, digest(it))));
    let found = killed.after_power_loss(1);
    drop(again);
    let last = open(&found);
    assert!(blobs[..32].iter().all(|it| has_rightly(&*last, it)), "the index knew of them");
    assert!(blobs[32..].iter().all(|it| has(&*last, digest(it)) == has_rightly(&*last, it)));
    assert_eq!(last.stat().corrupt, 0);
}

#[test]
fn what_does_not_belong_to_the_store_is_set_aside_and_the_store_starts() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let bytes = text(1, 1000);
    write(&*store, &bytes).unwrap();
    drop(store);
    let strange =
        ["notes.txt", "segments/readme", "segments/00000001.jrnl", "segments/0000009f.sealed"];
    for path in strange {
        disk.overwrite(Path::new(path), b"who put this here?".to_vec());
    }
    disk.overwrite(Path::new("segments/0000004f.journal"), Vec::new());
    for _ in 0..2 {
        let store = open(&disk);
        assert!(has_rightly(&*store, &bytes));
    }
    for path in strange {
        let name = Path::new(path).file_name().unwrap();
        assert_eq!(disk.read(Path::new(path)), None);
        let aside = disk.read(&Path::new("lost+found").join(name)).unwrap();
        assert_eq!(aside, b"who put this here?");
    }
}

#[test]
fn a_folder_of_somebody_else_is_no_place_for_a_store_and_stays_as_it_is() {
    let disk = MemoryDisk::new();
    disk.overwrite(Path::new("thesis.txt"), b"years of work".to_vec());
    let refused = try_open(&disk).err();
    assert!(
        matches!(&refused, Some(StoreError::Occupied { name, .. }) if name == "thesis.txt"),
        "{refused:?}"
    );
    assert_eq!(disk.read(Path::new("thesis.txt")).unwrap(), b"years of work");
    assert_eq!(disk.read(Path::new("format")), None);
}

#[test]
fn a_store_has_one_owner_and_one_format() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    assert!(matches!(try_open(&disk), Err(StoreError::InUse { .. })));
    drop(store);
    drop(open(&disk));
    disk.overwrite(Path::new("format"), b"bld-segments 2\n".to_vec());
    assert!(
        matches!(try_open(&disk), Err(StoreError::Format { found, .. }) if found == "bld-segments 2")
    );
}

/// Uploads two million bytes of those, and no more.
fn begin_upload(store: &dyn Cellar, bytes: &Bytes) {
    let session = named("a session");
    let mut upload = now(store.upload(&[digest(bytes)], Some(&session))).unwrap();
    upload.write(bytes.slice(..2_000_000)).unwrap();
}

#[test]
fn what_was_uploaded_survives_a_kill_and_is_taken_up() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let bytes = noise(3, 3 << 20);
    let name = digest(&bytes);
    begin_upload(&*store, &bytes);
    let mut longer = now(store.upload(&[name], Some(&named("killed in the middle")))).unwrap();
    longer.write(bytes.slice(..1_500_000)).unwrap();
    // Two of one name, of which neither has ended.
    let mut shorter = now(store.upload(&[name], Some(&named("killed in the middle")))).unwrap();
    shorter.write(bytes.slice(..700_000)).unwrap();
    let begun = now(store.upload(&[name], Some(&named("killed before anything came")))).unwrap();
    let mut nameless = now(store.spool(&[DigestFunction::Blake3])).unwrap();
    nameless.write(bytes.clone()).unwrap();
    let killed = disk.after_kill();
    drop((longer, shorter, begun, nameless));
    let again = open(&killed);
    let uploaded = |session: &str| now(again.uploaded(&[name], &named(session))).unwrap();
    assert_eq!(uploaded("a session"), Some(2_000_000));
    assert_eq!(uploaded("killed in the middle"), Some(1_500_000));
    assert_eq!(uploaded("killed before anything came"), None);
    let left = || killed.paths().into_iter().filter(|it| it.starts_with("uploads")).count();
    assert_eq!(left(), 2);
    let mut upload = now(again.upload(&[name], Some(&named("killed in the middle")))).unwrap();
    assert_eq!(upload.bytes(), 1_500_000);
    upload.restart().unwrap();
    drop(upload);
    assert_eq!((uploaded("killed in the middle"), left()), (None, 1));
    let mut upload = now(again.upload(&[name], Some(&named("a session")))).unwrap();
    assert_eq!(upload.bytes(), 2_000_000);
    upload.write(bytes.slice(2_000_000..)).unwrap();
    assert!(!has(&*again, name));
    upload.finish().unwrap();
    assert_eq!(read(&*again, name), Some(bytes));
    drop(again);
    assert_eq!(left(), 0, "nothing of it remains");
}

#[test]
fn what_was_uploaded_is_not_believed_after_a_loss_of_power() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let bytes = noise(3, 3 << 20);
    let name = digest(&bytes);
    begin_upload(&*store, &bytes);
    for seed in 0..4 {
        let found = disk.after_power_loss(seed);
        let again = open(&found);
        assert_eq!(now(again.uploaded(&[name], &named("a session"))).unwrap(), None);
        assert!(!found.paths().iter().any(|it| it.starts_with("uploads")), "it takes no room");
        let mut upload = now(again.upload(&[name], Some(&named("a session")))).unwrap();
        upload.write(bytes.slice(usize::try_from(upload.bytes()).unwrap()..)).unwrap();
        upload.finish().unwrap();
        assert!(has_rightly(&*again, &bytes));
    }
}

#[test]
fn large_files_from_before_the_clock_was_set_back_are_swept_and_stay_apart() {
    let disk = MemoryDisk::new();
    let large = noise(4, 3 << 20);
    let path = |number: u64| {
        let hex = digest(&large).hex();
        PathBuf::from(format!("large/{}/2-{hex}.{number:x}", &hex[..2]))
    };
    // In the year 2262.
    let future = i64::MAX as u64;
    drop(open(&disk));
    store::Disk::make_folder(&disk, path(0).parent().unwrap()).unwrap();
    disk.overwrite(&path(future), b"of a blob that is forgotten".to_vec());
    disk.overwrite(Path::new("large/a stranger"), Vec::new());
    let store = open(&disk);
    write(&*store, &large).unwrap();
    assert!(disk.read(&path(future + 2)).is_some(), "{:?}", disk.paths());
    store.keep_house().unwrap();
    assert!(disk.read(&path(future)).is_none(), "no record stands for it");
    assert!(has_rightly(&*store, &large));
}
