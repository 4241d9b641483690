//! Leases: what a living process pinned stays, and only that.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;

use store::LocalStore;

use crate::children::{Job, Running, say, wait_for_the_end};
use crate::support::{
    Place, action, assert_is_tree, digest, make_tree, open, result_with_file, result_with_tree,
};

#[test]
fn what_is_pinned_survives_and_the_rest_goes() {
    let place = Place::new();
    let maker = place.open();
    let (kept, lost) = (make_tree(&maker, "kept"), make_tree(&maker, "lost"));
    let (kept_list, lost_list) = (digest(b"list of kept"), digest(b"list of lost"));
    for (text, tree, list) in [("kept", kept, kept_list), ("lost", lost, lost_list)] {
        maker.materialise(tree).unwrap().unwrap();
        maker.ingest_bytes(format!("list of {text}").as_bytes(), false).unwrap();
        maker.ingest_bytes(format!("blob {text}").as_bytes(), false).unwrap();
        maker.record_result(action(text), &result_with_tree(tree, list)).unwrap();
        maker.record_failure(action(text), &result_with_file(list)).unwrap();
    }
    drop(maker);

    let user = place.open();
    assert!(user.contains(digest(b"blob kept")).unwrap());
    let path = user.present_tree(kept).unwrap().unwrap();
    user.lookup_result(action("kept")).unwrap().unwrap();
    user.lookup_failure(action("kept")).unwrap().unwrap();
    let collector = place.open();
    let collected = collector.collect(0).unwrap();
    assert_eq!((collected.trees_removed, collected.results_removed), (1, 2));
    assert_eq!(collected.bytes_after, collector.stat().unwrap().physical_bytes);

    assert_is_tree(&user, kept, &path);
    assert!(user.read_bytes(digest(b"blob kept")).unwrap().is_some());
    assert!(user.read_bytes(kept_list).unwrap().is_some());
    assert!(user.lookup_result(action("kept")).unwrap().is_some());
    assert!(user.lookup_failure(action("kept")).unwrap().is_some());
    for gone in [digest(b"blob lost"), digest(b"text of lost"), lost_list, lost.0] {
        assert!(!user.contains(gone).unwrap(), "{gone}");
    }
    assert!(user.present_tree(lost).unwrap().is_none());
    assert!(user.lookup_result(action("lost")).unwrap().is_none());
    assert!(user.lookup_failure(action("lost")).unwrap().is_none());
    assert_eq!(collector.verify().unwrap().quarantined.len(), 0);
    assert_eq!(place.names("trash"), Vec::<String>::new());
    assert_eq!(place.names("tmp"), Vec::<String>::new());
}

#[test]
fn a_pinned_result_keeps_what_it_names_though_only_it_was_looked_up() {
    let place = Place::new();
    let maker = place.open();
    let tree = make_tree(&maker, "one");
    let list = maker.ingest_bytes(b"list", false).unwrap();
    maker.record_result(action("compose"), &result_with_tree(tree, list)).unwrap();
    drop(maker);

    let user = place.open();
    user.lookup_result(action("compose")).unwrap().unwrap();
    place.open().collect(0).unwrap();
    assert_is_tree(&user, tree, &user.materialise(tree).unwrap().unwrap());
    assert!(user.contains(list).unwrap());
}

// A listing is also a blob, and as a blob it stands for nothing below it.
#[test]
fn a_listing_pinned_as_a_blob_does_not_hide_what_is_below_it_as_a_tree() {
    let place = Place::new();
    let maker = place.open();
    let trees: Vec<_> =
        (0..20).map(|number| make_tree(&maker, &format!("tree {number}"))).collect();
    drop(maker);
    let user = place.open();
    for tree in &trees {
        assert!(user.contains(tree.0).unwrap());
        user.pin_tree(*tree).unwrap();
    }
    place.open().collect(0).unwrap();
    for tree in trees {
        assert_is_tree(&user, tree, &user.materialise(tree).unwrap().unwrap());
    }
}

#[test]
fn whoever_reads_a_listing_can_read_on() {
    let place = Place::new();
    let tree = make_tree(&place.open(), "one");
    let user = place.open();
    user.directory(tree).unwrap().unwrap();
    place.open().collect(0).unwrap();
    assert!(user.contains_tree(tree).unwrap());
}

/// Something that pins and says whether it found it.
type Ask = Box<dyn Fn(&LocalStore) -> bool + Sync>;

/// Waits until somebody waits for a lock on the file, to read or to write, as the system's table of locks shows it.
fn wait_for_waiter(lock: &fs::File, kind: &str) {
    let inode = format!(":{} ", lock.metadata().unwrap().ino());
    let waits = |line: &str| ["-> FLOCK", kind, &inode].iter().all(|part| line.contains(part));
    while !fs::read_to_string("/proc/locks").unwrap().lines().any(waits) {
        std::thread::yield_now();
    }
}

// The test holds the lock that a collector takes before it reads the leases for the last time:
// when the collector waits for it, it has decided already.
#[test]
fn what_is_pinned_after_the_collector_has_decided_stays() {
    let place = Place::new();
    let maker = place.open();
    let blob = maker.ingest_bytes(b"blob", false).unwrap();
    let (tree, listed) = (make_tree(&maker, "tree"), make_tree(&maker, "listed"));
    maker.materialise(tree).unwrap().unwrap();
    let list = maker.ingest_bytes(b"list", false).unwrap();
    maker.record_result(action("compose"), &result_with_tree(listed, list)).unwrap();
    drop(maker);

    let asks: [Ask; 3] = [
        Box::new(move |user| user.contains(blob).unwrap()),
        Box::new(move |user| user.present_tree(tree).unwrap().is_some()),
        Box::new(|user| user.lookup_result(action("compose")).unwrap().is_some()),
    ];
    let lock = fs::File::open(place.root().join("pin.lock")).unwrap();
    lock.lock().unwrap();
    let users: Vec<_> = asks.iter().map(|ask| (place.open(), ask)).collect();
    std::thread::scope(|scope| {
        let collector = scope.spawn(|| place.open().collect(0).unwrap());
        wait_for_waiter(&lock, "WRITE");
        let (present, seen) = std::sync::mpsc::channel();
        for (user, ask) in &users {
            let present = present.clone();
            scope.spawn(move || present.send(ask(user)).unwrap());
        }
        let pins = || -> usize {
            let leases = place.names("leases");
            let path = |name: &String| place.root().join("leases").join(name);
            leases.iter().filter(|it| fs::metadata(path(it)).is_ok_and(|it| it.len() > 0)).count()
        };
        while pins() < users.len() {
            std::thread::yield_now();
        }
        let early = seen.try_recv();
        lock.unlock().unwrap();
        assert!(early.is_err(), "somebody was told what is there before that was settled");
        drop(present);
        assert_eq!(seen.iter().collect::<Vec<_>>(), [true; 3]);
        collector.join().unwrap();
    });
    let [(blobs, _), (trees, _), (results, _)] = &users[..] else {
        unreachable!("there are three")
    };
    assert!(blobs.read_bytes(blob).unwrap().is_some());
    assert_is_tree(trees, tree, &trees.materialise(tree).unwrap().unwrap());
    assert_is_tree(results, listed, &results.materialise(listed).unwrap().unwrap());
    assert!(results.contains(list).unwrap());
}

#[test]
fn a_line_that_a_full_disk_cut_short_spoils_no_other_pin() {
    let place = Place::new();
    let blob = place.open().ingest_bytes(b"precious", false).unwrap();
    let user = place.open();
    let names = place.names("leases");
    let [lease] = names.as_slice() else { unreachable!("one store is open: {names:?}") };
    let mut lease = fs::File::options().append(true).open(place.root().join("leases").join(lease));
    lease.as_mut().unwrap().write_all(b"\nblob blake3:0123").unwrap();
    assert!(user.contains(blob).unwrap());
    place.open().collect(0).unwrap();
    assert!(user.read_bytes(blob).unwrap().is_some());
}

#[test]
fn the_lease_of_a_killed_process_pins_nothing_and_its_temporary_files_go() {
    if let Some(job) = Job::of_this_process() {
        let store = open(&job.root);
        store.ingest_bytes(b"precious", false).unwrap();
        let scratch = store.scratch().unwrap();
        fs::create_dir_all(scratch.path().join("root/tmp")).unwrap();
        fs::write(scratch.path().join("root/tmp/file"), "half").unwrap();
        say("ready");
        return wait_for_the_end();
    }
    let place = Place::new();
    let test = "leases::the_lease_of_a_killed_process_pins_nothing_and_its_temporary_files_go";
    let mut child = Running::start(test, place.root(), 0);
    assert_eq!(child.hear().as_deref(), Some("ready"));
    place.open().collect(0).unwrap();
    assert_eq!(place.open().stat().unwrap().blobs, 1, "it lives");
    assert_eq!(place.names("tmp").len(), 1);
    assert_eq!(place.names("leases").len(), 1);

    child.kill();
    assert_eq!(place.names("leases").len(), 1, "nobody has cleared up yet");
    place.open().collect(0).unwrap();
    assert_eq!(place.open().stat().unwrap().blobs, 0);
    assert_eq!(place.names("tmp"), Vec::<String>::new());
    assert_eq!(place.names("leases"), Vec::<String>::new());
}

#[test]
fn temporary_files_go_even_if_there_is_room_for_everything() {
    let place = Place::new();
    let store = place.open();
    let scratch = store.scratch().unwrap();
    fs::create_dir(place.root().join("tmp/1-dead-0")).unwrap();
    fs::write(place.root().join("tmp/1-dead-0/file"), "").unwrap();
    fs::write(place.root().join("tmp/stray"), "").unwrap();
    place.open().collect(u64::MAX).unwrap();
    assert!(scratch.path().exists());
    assert_eq!(place.names("tmp").len(), 1);
}
