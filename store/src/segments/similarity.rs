//! Likeness: a few numbers that similar payloads share, so that sorting by them puts such payloads side by side.

/// How much of a payload is looked at, in bytes: the files that are worth it are alike from their beginnings on.
const LOOKED_AT: usize = 1 << 10;

/// How many bytes a shingle has: about a word and a half.
const SHINGLE_BYTES: usize = 8;

/// Odd numbers that make independent orders of the shingles.
const ORDERS: [u64; 3] = [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f, 0xd6e8_feb8_6659_fd93];

/// About how long a payload is, and the smallest shingle in each of a few orders (Broder's min-hash): two payloads have the
/// same one as probably as they have shingles in common.
pub(super) type Likeness = (u32, [u32; ORDERS.len()]);

/// Returns the likeness of a payload.
pub(super) fn likeness(payload: &[u8]) -> Likeness {
    let head = &payload[..payload.len().min(LOOKED_AT)];
    let mut smallest = [u32::MAX; ORDERS.len()];
    for shingle in head.windows(SHINGLE_BYTES) {
        let shingle = u64::from_le_bytes(shingle.try_into().expect("eight bytes"));
        for (smallest, order) in smallest.iter_mut().zip(ORDERS) {
            let mixed = (shingle ^ (shingle >> 29)).wrapping_mul(order);
            *smallest = (*smallest).min((mixed >> 32) as u32);
        }
    }
    // Those that are four times as long stand elsewhere: long ones share larger blocks than short ones.
    (payload.len().max(1).ilog2() / 2, smallest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_in_a_word_is_more_alike_than_what_differs_in_all() {
        let lines = |line: fn(u32) -> String| (0..200).map(line).collect::<Vec<_>>().concat();
        let text = lines(|it| format!("line {it} of a header\n"));
        let other = lines(|it| format!("{it}: int member{it};\n"));
        let changed = text.replace("line 90 ", "line 0x5a ");
        let shared = |one: &str, other: &str| {
            let (one, other) = (likeness(one.as_bytes()), likeness(other.as_bytes()));
            one.1.iter().zip(other.1).filter(|(one, other)| *one == other).count()
        };
        assert_eq!(shared(&text, &changed), ORDERS.len());
        assert_eq!(shared(&text, &other), 0);
    }
}
