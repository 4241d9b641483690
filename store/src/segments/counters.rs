//! Counters: what the store holds, kept up to date instead of counted.

use super::record::{Entry, Form, Name, read_u64};

/// How many bytes the counters have in the index.
pub(super) const COUNTERS_BYTES: usize = 48;

/// Sums over all entries. What one entry contributes is a [`Counters`] too; so is a difference, modulo 2⁶⁴.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) blobs: u64,
    pub(super) values: u64,
    pub(super) logical_bytes: u64,
    pub(super) chunked_bytes: u64,
    pub(super) chunk_bytes: u64,
    /// The sizes of the files beside the segments.
    pub(super) file_bytes: u64,
}

impl Counters {
    /// Returns what an entry contributes.
    pub(super) fn of(name: &Name, entry: Option<Entry>) -> Self {
        let Some(entry) = entry else { return Self::default() };
        let when = |is: bool, number: u64| if is { number } else { 0 };
        Self {
            blobs: when(!name.is_value(), 1),
            values: when(name.is_value(), 1),
            logical_bytes: when(!entry.is_chunk, entry.size),
            chunked_bytes: when(entry.form == Form::Manifest, entry.size),
            chunk_bytes: when(entry.is_chunk, entry.size),
            file_bytes: when(entry.form == Form::File, entry.size),
        }
    }

    /// Puts `new` in the place of `old`.
    pub(super) fn replace(&mut self, name: &Name, old: Option<Entry>, new: Option<Entry>) {
        let (old, new) = (Self::of(name, old).numbers(), Self::of(name, new).numbers());
        let mut sums = self.numbers();
        for ((sum, old), new) in sums.iter_mut().zip(old).zip(new) {
            *sum = sum.wrapping_add(new).wrapping_sub(old);
        }
        *self = Self::from_numbers(sums);
    }

    /// Returns both sums together.
    pub(super) fn and(self, other: Self) -> Self {
        let mut sums = self.numbers();
        for (sum, other) in sums.iter_mut().zip(other.numbers()) {
            *sum = sum.wrapping_add(other);
        }
        Self::from_numbers(sums)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        self.numbers().iter().flat_map(|it| it.to_le_bytes()).collect()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != COUNTERS_BYTES {
            return None;
        }
        Some(Self::from_numbers(std::array::from_fn(|index| read_u64(bytes, 8 * index))))
    }

    fn numbers(&self) -> [u64; 6] {
        [
            self.blobs,
            self.values,
            self.logical_bytes,
            self.chunked_bytes,
            self.chunk_bytes,
            self.file_bytes,
        ]
    }

    fn from_numbers(numbers: [u64; 6]) -> Self {
        let [blobs, values, logical_bytes, chunked_bytes, chunk_bytes, file_bytes] = numbers;
        Self { blobs, values, logical_bytes, chunked_bytes, chunk_bytes, file_bytes }
    }
}
