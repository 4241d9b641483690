//! What the index said once is believed only as long as it says so.

use store::ValueStore as _;
use testkit::MemoryDisk;

use super::support::{digest, has, key, now, open, text, value, write};

#[test]
fn what_was_missing_is_found_when_the_index_has_it() {
    let store = open(&MemoryDisk::new());
    let blob = text(1, 100);
    assert!(!has(&*store, digest(&blob)));
    write(&*store, &blob).unwrap();
    assert!(has(&*store, digest(&blob)));
    store.keep_house().unwrap();
    assert!(has(&*store, digest(&blob)));
}

#[test]
fn what_was_found_is_missing_when_the_index_has_it_no_more() {
    let store = open(&MemoryDisk::new());
    now(store.record(&key(1), value("something"))).unwrap();
    store.keep_house().unwrap();
    assert!(now(store.lookup(&key(1))).unwrap().is_some());
    assert!(now(store.forget(&key(1))).unwrap());
    assert_eq!(now(store.lookup(&key(1))).unwrap(), None);
    store.keep_house().unwrap();
    assert_eq!(now(store.lookup(&key(1))).unwrap(), None);
}

#[test]
fn what_was_found_is_found_where_it_is_now() {
    let store = open(&MemoryDisk::new());
    for text in ["something", "something else"] {
        now(store.record(&key(1), value(text))).unwrap();
        store.keep_house().unwrap();
        let found = now(store.lookup(&key(1))).unwrap().unwrap();
        assert_eq!(found, value(text));
    }
}
