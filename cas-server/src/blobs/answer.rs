//! An answer that has a part for each blob, and is no larger than clients take.

use prost::Message;
use prost::encoding::encoded_len_varint;
use tonic::Status;

use crate::limits::ANSWER_BYTES_MAX;

/// The parts of an answer.
#[derive(Debug)]
pub(crate) struct Answer<P> {
    parts: Vec<P>,
    bytes: usize,
}

impl<P: Message> Answer<P> {
    /// Returns an answer without parts, of which there will be so many.
    pub(crate) fn with_capacity(count: usize) -> Self {
        Self { parts: Vec::with_capacity(count), bytes: 0 }
    }

    /// Adds a part, if the answer then still fits into a message.
    pub(crate) fn add(&mut self, part: P) -> Result<(), Status> {
        self.bytes += size_in_list(&part);
        refuse_large(self.bytes)?;
        self.parts.push(part);
        Ok(())
    }

    /// Changes a part, if the answer then still fits into a message.
    pub(crate) fn change(&mut self, nth: usize, change: impl FnOnce(&mut P)) -> Result<(), Status> {
        let part = &mut self.parts[nth];
        self.bytes -= size_in_list(part);
        change(part);
        self.bytes += size_in_list(part);
        refuse_large(self.bytes)
    }

    /// Returns the parts.
    pub(crate) fn into_parts(self) -> Vec<P> {
        self.parts
    }
}

/// Returns how many bytes a message takes in a list.
fn size_in_list(part: &impl Message) -> usize {
    let bytes = part.encoded_len();
    1 + encoded_len_varint(bytes as u64) + bytes
}

/// Refuses to answer with more than clients take.
pub(crate) fn refuse_large(bytes: usize) -> Result<(), Status> {
    if bytes <= ANSWER_BYTES_MAX {
        return Ok(());
    }
    let why =
        format!("the answer would be larger than {ANSWER_BYTES_MAX} bytes; ask for less at once");
    Err(Status::invalid_argument(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_as_large_as_its_parts_and_no_larger_than_may_be() {
        let text = |bytes| prost_types::Any { type_url: "x".repeat(bytes), value: Vec::new() };
        let mut answer = Answer::with_capacity(2);
        answer.add(text(300)).expect("it is small");
        answer.add(text(5)).expect("it is small");
        answer.change(0, |it| *it = text(100)).expect("it is small");
        assert_eq!(answer.bytes, (1 + 1 + 102) + (1 + 1 + 7));
        answer.change(1, |it| *it = text(ANSWER_BYTES_MAX)).expect_err("it is not");
        let mut answer = Answer::with_capacity(1);
        // It takes five bytes to say that it has so many, and so does its text.
        answer.add(text(ANSWER_BYTES_MAX - 10)).expect("it just fits");
        assert_eq!(answer.bytes, ANSWER_BYTES_MAX);
        answer.add(text(0)).expect_err("there is no room left");
        assert_eq!(answer.into_parts().len(), 1);
    }
}
