//! A list of values in bytes, each of which can be had without decoding the others.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Values, encoded one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shelf {
    /// Where each ends.
    ends: Vec<u32>,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
}

impl Shelf {
    /// Returns the shelf of these values.
    pub(crate) fn of<T: Serialize>(values: impl IntoIterator<Item = T>) -> Self {
        let mut shelf = Self::default();
        for value in values {
            shelf.push(&value);
        }
        shelf
    }

    /// Returns how many values there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns a value, if there are so many and it is of this type.
    pub(crate) fn get<'a, T: Deserialize<'a>>(&'a self, index: usize) -> Option<T> {
        postcard::from_bytes(self.bytes_of(index)?).ok()
    }

    /// Returns all values, or `None` if one is not of this type.
    pub(crate) fn all<T: DeserializeOwned>(&self) -> Option<Vec<T>> {
        (0..self.len()).map(|index| self.get(index)).collect()
    }

    /// Returns this shelf with `replace(index)` in the place of those values for which it returns one.
    pub(crate) fn with<T: Serialize>(&self, replace: impl Fn(usize) -> Option<T>) -> Option<Self> {
        let mut renewed = Self::default();
        for index in 0..self.len() {
            match replace(index) {
                Some(value) => renewed.push_bytes(&encode(&value)),
                None => renewed.push_bytes(self.bytes_of(index)?),
            }
        }
        Some(renewed)
    }

    /// Puts a value behind the others.
    pub(crate) fn push(&mut self, value: &impl Serialize) {
        self.push_bytes(&encode(value));
    }

    /// Returns what a value begins with, if that is of this type.
    pub(crate) fn first_of<'a, T: Deserialize<'a>>(&'a self, index: usize) -> Option<T> {
        postcard::take_from_bytes(self.bytes_of(index)?).ok().map(|(first, _)| first)
    }

    /// Puts a value of another shelf behind the others.
    pub(crate) fn push_from(&mut self, other: &Self, index: usize) {
        if let Some(bytes) = other.bytes_of(index) {
            self.push_bytes(bytes);
        }
    }

    fn push_bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(u32::try_from(self.bytes.len()).expect("a plan is smaller than 4 GiB"));
    }

    fn bytes_of(&self, index: usize) -> Option<&[u8]> {
        let end = usize::try_from(*self.ends.get(index)?).ok()?;
        let start = match index.checked_sub(1) {
            Some(before) => usize::try_from(self.ends[before]).ok()?,
            None => 0,
        };
        self.bytes.get(start..end)
    }
}

/// Returns the bytes of a plain value.
pub(crate) fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain values can be written to memory")
}
