//! Values: what somebody said a key stands for, with who said it and when.

use bytes::Bytes;

use super::core::Core;
use super::journal::{from_nanos, to_nanos};
use super::leases::Holder;
use super::log::{Rank, Wish};
use super::record::{Entry, FIRST_VALUE, Form, Name, Record, read_u64};
use crate::{StoreError, Value, ValueKey};

impl Core {
    pub(super) fn lookup_value(
        &self,
        key: &ValueKey,
        holder: Option<&Holder>,
    ) -> Result<Option<Value>, StoreError> {
        let name = Name::of_value(key);
        let Some(entry) = self.see(&[name], holder)?[0] else { return Ok(None) };
        let Some(payload) = self.payload(name, entry)? else { return Ok(None) };
        Ok(decode(&payload).filter(|(found, _)| found == key).map(|(_, value)| value))
    }

    pub(super) fn record_value(
        &self,
        key: &ValueKey,
        value: &Value,
        holder: Option<&Holder>,
    ) -> Result<(), StoreError> {
        value.check(key)?;
        let name = Name::of_value(key);
        let payload = encode(key, value);
        let record = Record::new(name, Form::Bytes, payload.len() as u64, payload);
        loop {
            self.put(&record, Wish::Any, Rank::Writer)?;
            if holder.is_none() || self.see(&[name], holder)?[0].is_some() {
                return Ok(());
            }
        }
    }

    /// Forgets whatever has that name, if `is_meant` says so. Returns whether something was forgotten.
    pub(super) fn forget(
        &self,
        name: Name,
        is_meant: impl Fn(Entry) -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        loop {
            let entry = self.find(&[name])?[0];
            let Some(entry) = entry else { return Ok(false) };
            if !is_meant(entry)? {
                return Ok(false);
            }
            if self.replace(entry, &Record::tombstone(name), Rank::Keeper)? {
                self.leases.note_release();
                return Ok(true);
            }
            // Meanwhile it was copied forward, or there is another word on the name.
        }
    }

    /// Forgets every value of that writer that was recorded before this was called. Returns how many.
    pub(super) fn forget_writer(&self, writer: &str) -> Result<u64, StoreError> {
        let (mut count, mut names) = (0, self.names_from(FIRST_VALUE));
        while let Some(page) = self.next_names(&mut names)? {
            for name in page {
                count += u64::from(self.forget_if_by(name, writer)?);
            }
        }
        Ok(count)
    }

    fn forget_if_by(&self, name: Name, writer: &str) -> Result<bool, StoreError> {
        self.forget(name, |entry| {
            let value = self.payload(name, entry)?.and_then(|it| decode(&it));
            Ok(value.is_some_and(|(_, value)| value.writer == writer))
        })
    }

    /// Returns whether the record of a value is one.
    pub(super) fn is_value(&self, name: Name, entry: Entry) -> Result<bool, StoreError> {
        let decoded = self.payload(name, entry)?.and_then(|it| decode(&it));
        Ok(decoded.is_some_and(|(key, _)| Name::of_value(&key) == name))
    }
}

/// Namespace, space, key and writer, each with its length before it, the time, and the bytes.
fn encode(key: &ValueKey, value: &Value) -> Bytes {
    let mut bytes = Vec::with_capacity(value.bytes.len() + 256);
    for text in [&key.namespace.to_string(), &key.space, &key.key, &value.writer] {
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes.extend_from_slice(&to_nanos(value.written).to_le_bytes());
    bytes.extend_from_slice(&value.bytes);
    bytes.into()
}

fn decode(payload: &Bytes) -> Option<(ValueKey, Value)> {
    let mut at = 0;
    let mut text = || {
        let length = payload.get(at..at + 8).map(|it| read_u64(it, 0))?;
        let end = (at + 8).checked_add(usize::try_from(length).ok()?)?;
        let text = std::str::from_utf8(payload.get(at + 8..end)?).ok()?;
        at = end;
        Some(text.to_owned())
    };
    let (namespace, space, key, writer) = (text()?, text()?, text()?, text()?);
    let written = from_nanos(payload.get(at..at + 8).map(|it| read_u64(it, 0))?);
    let key = ValueKey { namespace: namespace.parse().ok()?, space, key };
    Some((key, Value { bytes: payload.slice(at + 8..), writer, written }))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::Namespace;

    #[test]
    fn a_value_is_read_back_and_no_part_of_it_is_one() {
        let namespace = Namespace::PullRequest("17".to_owned());
        let key = ValueKey { namespace, space: "ac".to_owned(), key: "k".to_owned() };
        let written = SystemTime::UNIX_EPOCH + Duration::new(9, 7);
        let bytes = Bytes::from_static(b"what it stands for");
        let value = Value { bytes, writer: "somebody".to_owned(), written };
        let payload = encode(&key, &value);
        assert_eq!(decode(&payload), Some((key, value.clone())));
        for length in 0..payload.len() - value.bytes.len() {
            assert_eq!(decode(&payload.slice(..length)), None, "{length} bytes");
        }
        assert_eq!(decode(&Bytes::from(vec![0xff; 64])), None);
    }
}
