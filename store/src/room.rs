//! Room in memory for blobs that are under way.

use tokio::sync::{Semaphore, SemaphorePermit};

/// How much of blobs is in memory at once, in units.
const UNITS: usize = 64 << 10;

/// The bytes of a unit: the least that a blob counts for.
const UNIT_BYTES: u64 = 1 << 10;

/// Lets blobs be under way as long as there is room: small ones are in memory whole, larger ones a piece at a time.
pub struct Room {
    units: Semaphore,
    /// How many units the largest take.
    units_max: u64,
}

impl Room {
    /// Returns room for blobs of which so much is in memory at most.
    pub fn new(blob_bytes_max: u64) -> Self {
        let units_max = (blob_bytes_max / UNIT_BYTES).clamp(1, UNITS as u64);
        Self { units: Semaphore::new(UNITS), units_max }
    }

    /// Waits until there is room for a blob of that size. It is taken until what is returned is dropped.
    pub async fn take(&self, blob_bytes: u64) -> SemaphorePermit<'_> {
        let units = (blob_bytes / UNIT_BYTES).clamp(1, self.units_max);
        let units = u32::try_from(units).expect("it is bounded");
        self.units.acquire_many(units).await.expect("it is never closed")
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn the_largest_blobs_take_as_much_as_is_in_memory_and_others_wait() {
        let room = Room::new(16 << 20);
        let mut taken = Vec::new();
        for _ in 0..3 {
            taken.push(room.take(1 << 40).await);
        }
        taken.push(room.take(16 << 20).await);
        assert!(room.take(0).now_or_never().is_none());
        drop(taken.pop());
        assert!(room.take(0).now_or_never().is_some());
        // What can never fit would wait for ever.
        drop(room.take(16 << 20).await);
        drop(Room::new(u64::MAX).take(u64::MAX).await);
    }
}
