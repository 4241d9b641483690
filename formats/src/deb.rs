//! A Debian package: an `ar` archive whose member `data.tar` is the tree.

use std::io::{BufRead, Read as _};

use crate::ar::Ar;
use crate::assembly::Assembly;
use crate::{Codec, Fault, decompress, tarball};

/// How much of `debian-binary` is read: it is the four bytes `2.0\n`, and may grow lines.
const VERSION_BYTES_MAX: u64 = 64;

/// The members that a package must have, in this order.
#[derive(Clone, Copy)]
enum Awaited {
    Version,
    Control,
    Data,
    Nothing,
}

/// Reads the tree of a package into `assembly`.
pub(crate) fn read(source: impl BufRead, assembly: &mut Assembly<'_>) -> Result<(), Fault> {
    let mut ar = Ar::open(source)?;
    let mut awaited = Awaited::Version;
    while let Some(name) = ar.next()? {
        assembly.note(name.as_bytes());
        awaited = match awaited {
            Awaited::Version if name == "debian-binary" => {
                check_version(&mut ar)?;
                Awaited::Control
            }
            // Signatures and the like: what deb(5) says older programs may ignore.
            Awaited::Control | Awaited::Data | Awaited::Nothing if name.starts_with('_') => awaited,
            Awaited::Control if codec(&name, "control.tar").is_some() => Awaited::Data,
            Awaited::Data => {
                let codec = codec(&name, "data.tar")
                    .ok_or(Fault::malformed("it stands where data.tar should be"))?;
                read_data(&mut ar, codec, assembly)?;
                Awaited::Nothing
            }
            Awaited::Version => {
                return Err(Fault::malformed("it stands where debian-binary should be"));
            }
            Awaited::Control => {
                return Err(Fault::malformed("it stands where control.tar should be"));
            }
            Awaited::Nothing => return Err(Fault::Trailing),
        };
    }
    assembly.note_nothing();
    match awaited {
        Awaited::Nothing => Ok(()),
        Awaited::Version | Awaited::Control | Awaited::Data => Err(Fault::Truncated),
    }
}

fn check_version(ar: &mut Ar<impl BufRead>) -> Result<(), Fault> {
    let mut version = Vec::new();
    ar.take(VERSION_BYTES_MAX).read_to_end(&mut version)?;
    if !version.starts_with(b"2.") {
        return Err(Fault::malformed("the package has another format than 2"));
    }
    Ok(())
}

/// Returns the codec that a member's name promises, or `None` if it is not that member.
fn codec(name: &str, member: &str) -> Option<Codec> {
    let rest = name.strip_prefix(member)?;
    if rest.is_empty() {
        return Some(Codec::Plain);
    }
    let extension = rest.strip_prefix('.')?;
    [Codec::Gzip, Codec::Xz, Codec::Zstd, Codec::Bzip2]
        .into_iter()
        .find(|codec| codec.extension() == extension)
}

fn read_data(
    ar: &mut Ar<impl BufRead>,
    promised: Codec,
    assembly: &mut Assembly<'_>,
) -> Result<(), Fault> {
    let decoder = decompress(&mut *ar, assembly.limits())?;
    if decoder.codec() != promised {
        return Err(Fault::malformed("it is not compressed as its name says"));
    }
    tarball::read(decoder, assembly)?;
    if ar.left() > 0 {
        return Err(Fault::Trailing);
    }
    Ok(())
}
