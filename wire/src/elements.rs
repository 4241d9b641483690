//! How many elements the lists of a message have, counted in its bytes as they come.
//!
//! A few bytes may become a structure of a hundred and fifty: whoever decodes what a stranger sends has to know how much that
//! will be before it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use prost::encoding::WireType;
use prost_reflect::{Cardinality, DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

use crate::DESCRIPTORS;

/// What an element of a list takes in memory at most, in bytes, beside those that it has in its message: itself, in a list
/// that grows by doubling; its texts, one by one; and what is looked up for it. It is the digests that are asked for that
/// take the most: parsed, named by two functions, and among those that are missing.
pub const ELEMENT_BYTES: usize = 512;

/// How deep messages may lie in each other, as decoders have it.
const DEPTH_MAX: usize = 100;

/// The bytes are not such a message: no decoder would take them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is malformed")]
pub struct Malformed;

/// A type of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape(usize);

impl Shape {
    /// Returns what a call of that path is asked with, if it is one of those in `proto/`.
    pub fn of_request(path: &str) -> Option<Self> {
        SHAPES.requests.get(path).copied()
    }

    /// Returns that of an `ActionResult`.
    pub fn of_result() -> Self {
        SHAPES.result
    }

    /// Returns that of a `Directory`.
    pub fn of_directory() -> Self {
        SHAPES.directory
    }

    /// Returns how many elements the lists in an encoded message have.
    pub fn count(self, bytes: &[u8]) -> Result<usize, Malformed> {
        Elements::new(self, bytes.len() as u64).take(bytes)
    }

    fn field(self, number: u64) -> Option<Field> {
        SHAPES.fields[self.0].get(&number).copied()
    }
}

/// Counts the elements of one message as its bytes come.
#[derive(Debug)]
pub struct Elements {
    /// The messages that have begun and not ended, outermost first: their types and where they end.
    open: Vec<(Shape, u64)>,
    /// How many bytes came.
    at: u64,
    next: Next,
}

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// Which field it is.
    Key(Varint),
    /// A number that nobody looks at.
    Number(Varint),
    /// How long the field is.
    Length(Option<Field>, Varint),
    /// So many bytes that nobody looks at.
    Bytes(u64),
}

const KEY: Next = Next::Key(Varint { value: 0, bits: 0 });

impl Elements {
    /// Returns the count of a message of so many bytes.
    pub fn new(shape: Shape, bytes: u64) -> Self {
        let mut elements = Self { open: vec![(shape, bytes)], at: 0, next: KEY };
        elements.end_field();
        elements
    }

    /// Takes further bytes of the message. Returns how many elements begin in them.
    pub fn take(&mut self, mut bytes: &[u8]) -> Result<usize, Malformed> {
        let mut count = 0;
        while let Some(first) = bytes.first() {
            let (shape, end) = *self.open.last().ok_or(Malformed)?;
            let taken = match self.next {
                Next::Bytes(left) => bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)),
                Next::Key(_) | Next::Number(_) | Next::Length(..) => 1,
            };
            bytes = &bytes[taken..];
            self.at += taken as u64;
            let room = end.checked_sub(self.at).ok_or(Malformed)?;
            count += self.step(*first, taken as u64, shape, room)?;
        }
        Ok(count)
    }

    /// Goes on after a byte, or after so many that nobody looks at.
    fn step(&mut self, byte: u8, taken: u64, shape: Shape, room: u64) -> Result<usize, Malformed> {
        match &mut self.next {
            Next::Bytes(left) => {
                let left = *left - taken;
                self.skip(left);
            }
            Next::Key(key) => {
                if let Some(key) = key.push(byte)? {
                    return self.begin_field(shape, key, room);
                }
            }
            Next::Number(number) => {
                if number.push(byte)?.is_some() {
                    self.end_field();
                }
            }
            Next::Length(field, length) => {
                let field = *field;
                if let Some(length) = length.push(byte)? {
                    return self.begin_bytes(field, length, room);
                }
            }
        }
        Ok(0)
    }

    /// Begins the field with that key. Returns how many elements that is already.
    fn begin_field(&mut self, shape: Shape, key: u64, room: u64) -> Result<usize, Malformed> {
        let field = shape.field(key >> 3);
        let Ok(wire_type) = WireType::try_from(key & 7) else { return Err(Malformed) };
        self.next = match wire_type {
            WireType::Varint => Next::Number(Varint::default()),
            WireType::SixtyFourBit => Next::Bytes(within(8, room)?),
            WireType::ThirtyTwoBit => Next::Bytes(within(4, room)?),
            WireType::LengthDelimited => {
                // It depends on its length.
                self.next = Next::Length(field, Varint::default());
                return Ok(0);
            }
            // There are none in the language that `proto/` is written in.
            WireType::StartGroup | WireType::EndGroup => return Err(Malformed),
        };
        Ok(usize::from(field.is_some_and(|it| it.is_list)))
    }

    /// Begins what is so long. Returns how many elements that may be.
    fn begin_bytes(
        &mut self,
        field: Option<Field>,
        length: u64,
        room: u64,
    ) -> Result<usize, Malformed> {
        let length = within(length, room)?;
        match field.and_then(|it| it.below) {
            Some(_) if self.open.len() > DEPTH_MAX => return Err(Malformed),
            Some(below) => {
                self.open.push((below, self.at + length));
                self.end_field();
            }
            None => self.skip(length),
        }
        Ok(match field {
            // A number takes a byte at least.
            Some(field) if field.is_packed => usize::try_from(length).unwrap_or(usize::MAX),
            Some(field) => usize::from(field.is_list),
            None => 0,
        })
    }

    /// Goes on behind so many bytes.
    fn skip(&mut self, bytes: u64) {
        self.next = Next::Bytes(bytes);
        if bytes == 0 {
            self.end_field();
        }
    }

    /// Ends a field, and the messages that end with it.
    fn end_field(&mut self) {
        self.next = KEY;
        while self.open.last().is_some_and(|(_, end)| *end == self.at) {
            self.open.pop();
        }
    }
}

fn within(length: u64, room: u64) -> Result<u64, Malformed> {
    if length <= room { Ok(length) } else { Err(Malformed) }
}

/// A number as protobuf writes it, as far as it came.
#[derive(Clone, Copy, Debug, Default)]
struct Varint {
    value: u64,
    bits: u32,
}

impl Varint {
    /// Takes a byte. Returns the number if that was its last.
    fn push(&mut self, byte: u8) -> Result<Option<u64>, Malformed> {
        let bits = u64::from(byte & 0x7f);
        self.value |= bits.checked_shl(self.bits).ok_or(Malformed)?;
        self.bits += 7;
        Ok((byte < 0x80).then_some(self.value))
    }
}

/// What has to be known of a field that is a list, or in which there are some.
#[derive(Clone, Copy, Debug)]
struct Field {
    is_list: bool,
    /// Whether it is a list of numbers, which may stand one behind the other.
    is_packed: bool,
    /// The type of its messages, if there are lists in them.
    below: Option<Shape>,
}

/// What has to be known of all that is in `proto/`.
struct Shapes {
    /// The fields of each type.
    fields: Vec<BTreeMap<u64, Field>>,
    /// By the paths of calls.
    requests: BTreeMap<String, Shape>,
    result: Shape,
    directory: Shape,
}

static SHAPES: LazyLock<Shapes> = LazyLock::new(Shapes::new);

impl Shapes {
    fn new() -> Self {
        let pool = DescriptorPool::decode(DESCRIPTORS).expect("a test makes the descriptors anew");
        let messages: Vec<_> = pool.all_messages().collect();
        let shapes = messages.iter().enumerate().map(|(at, it)| (it.full_name(), Shape(at)));
        let shapes: BTreeMap<_, _> = shapes.collect();
        let of = |message: &MessageDescriptor| shapes[message.full_name()];
        let field = |it: FieldDescriptor| {
            let below = message_in(&it).filter(has_lists).map(|it| of(&it));
            let is_text = matches!(it.kind(), Kind::Message(_) | Kind::String | Kind::Bytes);
            let is_list = is_list(&it);
            let field = Field { is_list, is_packed: is_list && !is_text, below };
            (is_list || below.is_some()).then_some((u64::from(it.number()), field))
        };
        let methods = pool.services().flat_map(|it| it.methods().collect::<Vec<_>>());
        let path = |service: &str, method: &str| format!("/{service}/{method}");
        let request =
            methods.map(|it| (path(it.parent_service().full_name(), it.name()), of(&it.input())));
        Self {
            fields: messages.iter().map(|it| it.fields().filter_map(field).collect()).collect(),
            requests: request.collect(),
            result: shapes["build.bazel.remote.execution.v2.ActionResult"],
            directory: shapes["build.bazel.remote.execution.v2.Directory"],
        }
    }
}

fn is_list(field: &FieldDescriptor) -> bool {
    field.cardinality() == Cardinality::Repeated
}

fn message_in(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    field.kind().as_message().cloned()
}

/// Returns whether there are lists in a message, or in those in it.
fn has_lists(message: &MessageDescriptor) -> bool {
    let (mut pending, mut seen) = (vec![message.clone()], BTreeSet::new());
    while let Some(message) = pending.pop() {
        if message.fields().any(|it| is_list(&it)) {
            return true;
        }
        let below = message.fields().filter_map(|it| message_in(&it));
        pending.extend(below.filter(|it| seen.insert(it.full_name().to_owned())));
    }
    false
}
