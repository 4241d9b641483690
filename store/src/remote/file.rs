//! Files with secrets and certificates: as large as such files are, and no larger, for a workspace may name any.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::RemoteError;

/// The largest such file, in bytes: ten times the certificates of all authorities that a system knows.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads a file, which holds `what`.
pub(super) fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, RemoteError> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    };
    read().map_err(|source| RemoteError::File { what, path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_end_is_not_read_to_its_end() {
        let error = read("token", Path::new("/dev/zero")).unwrap_err();
        assert!(matches!(error, RemoteError::File { what: "token", .. }), "{error}");
    }
}
