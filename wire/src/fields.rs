//! The fields of an encoded message one by one: what is in it then takes no more memory than its bytes, whatever it says.
//!
//! A message of two bytes may be a structure of a hundred and fifty, so that decoding all of a hostile one is costly.

use std::io::{self, Read};

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::decode::DecodeError;

/// The fields of a message that are messages, texts or bytes, in their order. All others are left out.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Returns the fields of an encoded message.
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn next_field(&mut self) -> Result<Option<(u32, &'a [u8])>, DecodeError> {
        while !self.rest.is_empty() {
            let (number, kind) = decode_key(&mut self.rest)?;
            if kind != WireType::LengthDelimited {
                skip_field(kind, number, &mut self.rest, DecodeContext::default())?;
                continue;
            }
            let length = usize::try_from(decode_varint(&mut self.rest)?).unwrap_or(usize::MAX);
            let Some((field, rest)) = self.rest.split_at_checked(length) else {
                return Err(DecodeError::Length);
            };
            self.rest = rest;
            return Ok(Some((number, field)));
        }
        Ok(None)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, &'a [u8]), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_field();
        if next.is_err() {
            self.rest = &[];
        }
        next.transpose()
    }
}

/// Returns the next field of a message that consists of nothing but messages, or `None` at its end. One that is larger
/// than `bytes_max` is an error.
pub(crate) fn next_message(
    reader: &mut impl Read,
    bytes_max: u64,
) -> io::Result<Option<(u32, Vec<u8>)>> {
    let invalid = |why| io::Error::new(io::ErrorKind::InvalidData, why);
    let Some(key) = read_varint(reader)? else { return Ok(None) };
    let Ok(number) = u32::try_from(key >> 3) else { return Err(invalid("there is no such field")) };
    if key & 7 != WireType::LengthDelimited as u64 {
        return Err(invalid("a field is no message"));
    }
    let length = read_varint(reader)?.ok_or_else(|| invalid("a field has no length"))?;
    if length > bytes_max {
        return Err(invalid("a message is too large"));
    }
    let mut message = Vec::new();
    reader.by_ref().take(length).read_to_end(&mut message)?;
    if message.len() as u64 != length {
        return Err(invalid("a message is not whole"));
    }
    Ok(Some((number, message)))
}

/// Reads a number as protobuf writes it; `None` if there is nothing more.
fn read_varint(reader: &mut impl Read) -> io::Result<Option<u64>> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        if reader.read(&mut byte)? == 0 {
            let ends = shift == 0;
            return if ends { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        number |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] < 0x80 {
            return Ok(Some(number));
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "a number is too long"))
}
