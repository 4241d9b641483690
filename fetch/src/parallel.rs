//! A few threads over a list, with the results in the list's order.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Calls `work` for every item, on at most `threads` threads, and returns the results in the items' order.
pub(crate) fn each<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let take_items = || {
        while let Some(index) =
            Some(next.fetch_add(1, Ordering::Relaxed)).filter(|index| *index < items.len())
        {
            let result = work(&items[index]);
            *results[index].lock().expect("nobody panics while storing a result") = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.min(items.len()) {
            scope.spawn(take_items);
        }
    });
    let take =
        |slot: Mutex<Option<R>>| slot.into_inner().expect("nobody panics while storing a result");
    results.into_iter().map(|slot| take(slot).expect("every item was taken by a thread")).collect()
}
