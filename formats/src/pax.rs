//! The extension headers of a tar archive (PAX): records of `<length> <key>=<value>\n`.

use crate::Fault;

/// What extension headers say about the entry after them.
#[derive(Default)]
pub(crate) struct Extension {
    /// The name, instead of the header's.
    pub path: Option<Vec<u8>>,
    /// The target of a link, instead of the header's.
    pub link: Option<Vec<u8>>,
    /// The size, instead of the header's.
    pub size: Option<u64>,
    /// Whether there was any such header.
    pub present: bool,
}

impl Extension {
    /// Takes the records of a header for one entry.
    ///
    /// Times, owners, attributes and comments are what trees do not speak of; they are passed over.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        for record in Records(bytes) {
            let (key, value) = record?;
            match key {
                b"path" => set(&mut self.path, name(value)?)?,
                b"linkpath" => set(&mut self.link, name(value)?)?,
                b"size" => set(&mut self.size, number(value)?)?,
                key => refuse_sparse(key)?,
            }
        }
        Ok(())
    }
}

/// Checks the records of a header for all entries that follow: none may name or measure them.
pub(crate) fn check_global(bytes: &[u8]) -> Result<(), Fault> {
    for record in Records(bytes) {
        match record?.0 {
            b"path" | b"linkpath" | b"size" => {
                return Err(Fault::malformed(
                    "a global PAX header gives a path, linkpath or size to every entry",
                ));
            }
            key => refuse_sparse(key)?,
        }
    }
    Ok(())
}

/// Gives a field its only value: tools disagree about which of two would count.
pub(crate) fn set<T>(field: &mut Option<T>, value: T) -> Result<(), Fault> {
    if field.replace(value).is_some() {
        return Err(Fault::malformed("an extension header says the same thing twice"));
    }
    Ok(())
}

fn name(value: &[u8]) -> Result<Vec<u8>, Fault> {
    // An empty value would delete a record, and a NUL end the name for some tools and not for others.
    if value.is_empty() || value.contains(&0) {
        return Err(Fault::malformed("a path or linkpath in a PAX header is empty or has a NUL"));
    }
    Ok(value.to_owned())
}

fn number(value: &[u8]) -> Result<u64, Fault> {
    let malformed = Fault::malformed("the size in a PAX header is not a number");
    if !value.iter().all(u8::is_ascii_digit) {
        return Err(malformed);
    }
    str::from_utf8(value).ok().and_then(|digits| digits.parse().ok()).ok_or(malformed)
}

fn refuse_sparse(key: &[u8]) -> Result<(), Fault> {
    let sparse =
        key.starts_with(b"GNU.sparse.") || key == b"SCHILY.realsize" || key == b"SUN.holesdata";
    if sparse { Err(Fault::Sparse) } else { Ok(()) }
}

struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let record = split_record(self.0);
        self.0 = record.map_or(&[], |(_, _, rest)| rest);
        Some(
            record
                .map(|(key, value, _)| (key, value))
                .ok_or(Fault::malformed("a PAX record is not of the form `length key=value`")),
        )
    }
}

/// Returns the key and value of the first record, and what follows it.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|&byte| byte == b' ')?;
    let digits = &bytes[..space];
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length: usize = str::from_utf8(digits).ok()?.parse().ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let pair = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = pair.iter().position(|&byte| byte == b'=')?;
    if equals == 0 {
        return None;
    }
    Some((&pair[..equals], &pair[equals + 1..], rest))
}
