//! Words of a lock's lines: no spaces, no control characters; such bytes are percent-encoded.

use std::fmt::Write as _;

use model::RelativePath;

use crate::parcel::ArchiveOptions;

/// Returns `text` as one word.
pub(super) fn encode(text: &str) -> String {
    let mut word = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_whitespace() || character.is_control() || character == '%' {
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                write!(word, "%{byte:02x}").expect("writing to a string cannot fail");
            }
        } else {
            word.push(character);
        }
    }
    word
}

/// Returns what a word stands for, or `None` if it is not written the one way there is.
pub(super) fn decode(word: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    let text = String::from_utf8(bytes).ok()?;
    (!text.is_empty() && encode(&text) == word).then_some(text)
}

/// Returns how an archive is unpacked as one word: `-`, `root`, `strip=foo` or `root,strip=foo`.
pub(super) fn encode_options(options: &ArchiveOptions) -> String {
    let strip = format!("strip={}", encode(options.strip_prefix.as_str()));
    match (options.root, options.strip_prefix.is_root()) {
        (false, true) => "-".to_owned(),
        (true, true) => "root".to_owned(),
        (false, false) => strip,
        (true, false) => format!("root,{strip}"),
    }
}

/// Returns what [`encode_options`] wrote.
pub(super) fn decode_options(word: &str) -> Option<ArchiveOptions> {
    let (root, rest) = match word.strip_prefix("root") {
        Some("") => return Some(ArchiveOptions { root: true, ..ArchiveOptions::default() }),
        Some(rest) => (true, rest.strip_prefix(',')?),
        None if word == "-" => return Some(ArchiveOptions::default()),
        None => (false, word),
    };
    let strip_prefix = RelativePath::new(decode(rest.strip_prefix("strip=")?)?).ok()?;
    Some(ArchiveOptions { strip_prefix, root })
}
