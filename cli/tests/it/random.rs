//! Numbers that look random, and can be had again.

use std::time::{SystemTime, UNIX_EPOCH};

/// Numbers that follow from a seed (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Returns `BLD_TEST_SEED`, or another seed every time; what a failing test prints shows it.
#[expect(clippy::print_stderr, reason = "whoever sees the test fail wants to see it fail again")]
pub(crate) fn seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    let seed = std::env::var("BLD_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed = seed.unwrap_or(u64::from(now));
    eprintln!("BLD_TEST_SEED={seed}");
    seed
}

/// Returns `BLD_TEST_ROUNDS`, or how often something is tried where nobody said.
pub(crate) fn rounds(usually: u64) -> u64 {
    let rounds = std::env::var("BLD_TEST_ROUNDS").ok();
    rounds.map_or(usually, |rounds| rounds.parse().unwrap())
}
