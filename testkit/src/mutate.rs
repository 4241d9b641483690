//! Good input made bad, in the ways in which parsers go wrong.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// How often something is mutated at once at most.
const CHANGES_MAX: u64 = 4;

/// Numbers at which something usually ends.
const NUMBERS: [u64; 12] = [
    0,
    1,
    0x7f,
    0xff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 62,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// Texts that mean something to somebody.
const TEXTS: [&str; 16] = [
    "",
    "/",
    "..",
    "../../etc/passwd",
    "blobs",
    "uploads",
    "compressed-blobs/zstd",
    "-1",
    "18446744073709551616",
    "\0",
    "\u{202e}\u{feff}",
    "%2e%2e%2f",
    "%s%n",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "a\r\nb: c",
    "\"}],[{",
];

/// How many levels of messages in messages are looked into.
const DEPTH_MAX: usize = 6;

/// Makes bad input; the same seed makes the same.
#[derive(Clone, Debug)]
pub struct Mutator(u64);

impl Mutator {
    /// Returns one.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a number that looks random (splitmix64).
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below that one, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.number() % limit as u64).expect("it is below a number of that type")
    }

    /// Returns one of them.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let at = self.below(all.len());
        &all[at]
    }

    /// Returns bytes that differ from those in a few places, or in length.
    pub fn bytes(&mut self, good: &[u8]) -> Vec<u8> {
        let mut bytes = good.to_vec();
        for _ in 0..=self.number() % CHANGES_MAX {
            self.change(&mut bytes);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let end = bytes.len().min(at + 1 + self.below(16));
        match self.below(9) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => bytes[at] = self.number().to_le_bytes()[0],
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let again = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, again));
            }
            5 => {
                let number = self.pick(&NUMBERS).to_le_bytes();
                let count = 1 << self.below(4);
                let end = bytes.len().min(at + count);
                drop(bytes.splice(at..end, number[..count].iter().copied()));
            }
            6 => {
                let text = self.pick(&TEXTS).bytes();
                drop(bytes.splice(at..end, text));
            }
            7 => bytes[at..end].fill(0),
            _ => {
                let count = self.below(64);
                let noise: Vec<u8> = (0..count).map(|_| self.number().to_le_bytes()[0]).collect();
                drop(bytes.splice(at..at, noise));
            }
        }
    }

    /// Returns a text that differs from that one.
    pub fn text(&mut self, good: &str) -> String {
        String::from_utf8_lossy(&self.bytes(good.as_bytes())).into_owned()
    }

    /// Returns a protobuf message that differs from that one in what some fields say, so that most of it can still be read;
    /// or, once in a while, bytes that may be no message at all.
    pub fn message(&mut self, good: &[u8]) -> Vec<u8> {
        if self.below(8) == 0 {
            return self.bytes(good);
        }
        let mut message = good.to_vec();
        for _ in 0..=self.number() % CHANGES_MAX {
            message = self.change_message(&message, 0);
        }
        message
    }

    fn change_message(&mut self, message: &[u8], depth: usize) -> Vec<u8> {
        let Some(mut fields) = fields(message).filter(|it| !it.is_empty()) else {
            return self.bytes(message);
        };
        let at = self.below(fields.len());
        match self.below(10) {
            0 => drop(fields.remove(at)),
            1 => {
                let again = fields[at].clone();
                fields.push(again);
            }
            2 => {
                let other = self.below(fields.len());
                fields.swap(at, other);
            }
            3 => fields[at].number = 1 + self.number() % 16,
            _ => self.change_value(&mut fields[at].value, depth),
        }
        let mut bytes = Vec::new();
        for field in &fields {
            field.write(&mut bytes);
        }
        bytes
    }

    fn change_value(&mut self, value: &mut Value, depth: usize) {
        match value {
            Value::Number(number) => {
                *number = match self.below(3) {
                    0 => number.wrapping_add(1),
                    1 => number.wrapping_sub(1),
                    _ => *self.pick(&NUMBERS),
                };
            }
            Value::Fixed(bytes) => {
                let at = self.below(bytes.len());
                bytes[at] ^= 1 << self.below(8);
            }
            Value::Bytes(bytes) => {
                let is_message =
                    depth < DEPTH_MAX && fields(bytes).is_some_and(|it| !it.is_empty());
                *bytes = match self.below(4) {
                    0 => self.pick(&TEXTS).as_bytes().to_vec(),
                    _ if is_message => self.change_message(bytes, depth + 1),
                    _ => self.text(&String::from_utf8_lossy(bytes)).into_bytes(),
                };
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Field {
    number: u64,
    value: Value,
}

#[derive(Clone, Debug)]
enum Value {
    Number(u64),
    Bytes(Vec<u8>),
    /// Of four or eight bytes.
    Fixed(Vec<u8>),
}

impl Field {
    fn write(&self, out: &mut Vec<u8>) {
        let (kind, bytes) = match &self.value {
            Value::Number(_) => (0, &[][..]),
            Value::Bytes(bytes) => (2, &bytes[..]),
            Value::Fixed(bytes) => (if bytes.len() == 8 { 1 } else { 5 }, &bytes[..]),
        };
        write_number(self.number << 3 | kind, out);
        match &self.value {
            Value::Number(number) => write_number(*number, out),
            Value::Bytes(bytes) => write_number(bytes.len() as u64, out),
            Value::Fixed(_) => {}
        }
        out.extend_from_slice(bytes);
    }
}

fn write_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Returns the fields of a message, if the bytes can be one.
fn fields(mut bytes: &[u8]) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = read_number(&mut bytes)?;
        let mut take = |count: u64| {
            let (taken, rest) = bytes.split_at_checked(usize::try_from(count).ok()?)?;
            bytes = rest;
            Some(taken.to_vec())
        };
        let value = match tag & 7 {
            0 => Value::Number(read_number(&mut bytes)?),
            1 => Value::Fixed(take(8)?),
            2 => {
                let count = read_number(&mut bytes)?;
                let (taken, rest) = bytes.split_at_checked(usize::try_from(count).ok()?)?;
                bytes = rest;
                Value::Bytes(taken.to_vec())
            }
            5 => Value::Fixed(take(4)?),
            _ => return None,
        };
        fields.push(Field { number: (tag >> 3).max(1), value });
    }
    Some(fields)
}

/// Returns `BLD_FUZZ_CASES`, or how many cases there are where nobody said.
pub fn cases(usually: u64) -> u64 {
    let said = std::env::var("BLD_FUZZ_CASES").ok();
    said.map_or(usually, |it| it.parse().expect("BLD_FUZZ_CASES is a number"))
}

/// The seed of a test; if the test fails, it is told how to make it fail again.
#[derive(Debug)]
pub struct Seed(u64);

impl Seed {
    /// Returns `BLD_TEST_SEED`, or another seed each time.
    #[expect(clippy::new_without_default, reason = "no two of them need be alike")]
    pub fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |it| u64::from(it.subsec_nanos()) ^ it.as_secs());
        let said = std::env::var("BLD_TEST_SEED").ok();
        Self(said.map_or(now, |it| it.parse().expect("BLD_TEST_SEED is a number")))
    }

    /// Returns what makes bad input from it.
    pub fn mutator(&self) -> Mutator {
        Mutator::new(self.0)
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Whoever cannot be told sees the test fail all the same.
            drop(writeln!(std::io::stderr(), "BLD_TEST_SEED={}", self.0));
        }
    }
}
