//! Results: what is whole is found, what is torn was never there.

use std::fs;

use model::ActionResult;

use crate::support::{Place, action, digest, result_with_file};

#[test]
fn successes_and_failures_stand_in_tables_of_their_own() {
    let place = Place::new();
    let store = place.open();
    let compile = action("compile");
    let (success, failure) = (result_with_file(digest(b"object")), ActionResult::default());
    store.record_failure(compile, &failure).unwrap();
    assert_eq!(store.lookup_result(compile).unwrap(), None);
    store.record_result(compile, &success).unwrap();
    assert_eq!(store.lookup_result(compile).unwrap(), Some(success));
    assert_eq!(store.lookup_failure(compile).unwrap(), Some(failure.clone()));
    store.forget_result(compile).unwrap();
    store.forget_result(compile).unwrap();
    assert_eq!(store.lookup_result(compile).unwrap(), None);
    assert_eq!(store.lookup_failure(compile).unwrap(), Some(failure));
}

#[test]
fn a_torn_or_changed_entry_is_a_miss_and_is_set_aside_by_verification() {
    let place = Place::new();
    let store = place.open();
    let compile = action("compile");
    let result = result_with_file(digest(b"object"));
    store.record_result(compile, &result).unwrap();
    let path = place.entry_path("actions", compile);
    let whole = fs::read(&path).unwrap();
    let torn = (0..whole.len()).map(|length| whole[..length].to_vec());
    let flipped = (0..whole.len()).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    });
    let zeros = std::iter::once(vec![0; whole.len()]);
    for bytes in torn.chain(flipped).chain(zeros) {
        fs::write(&path, &bytes).unwrap();
        assert_eq!(store.lookup_result(compile).unwrap(), None, "{bytes:?}");
    }
    assert_eq!(store.verify().unwrap().quarantined.len(), 1);
    assert!(!path.exists());
    store.record_result(compile, &result).unwrap();
    assert_eq!(store.lookup_result(compile).unwrap(), Some(result));
}

#[test]
fn identical_actions_run_one_after_the_other() {
    let place = Place::new();
    let (running, most) = (std::sync::atomic::AtomicU32::new(0), 8);
    std::thread::scope(|scope| {
        for _ in 0..most {
            scope.spawn(|| {
                let store = place.open();
                let lock = store.lock_action(action("compile")).unwrap();
                let before = running.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                assert_eq!(before, 0, "two hold the right to run the same action");
                std::thread::yield_now();
                running.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                drop(lock);
            });
        }
    });
    assert_eq!(place.names("locks"), Vec::<String>::new());
}
