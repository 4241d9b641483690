//! What a remote can do, and whether that is enough.

mod remote;

use std::sync::Arc;

use model::DigestFunction;

pub(super) use remote::ask;

use super::RemoteError;
use crate::Provenance;

/// How many bytes of blobs go into one message where the remote sets no limit, and at most: with what else is in it, it
/// stays below what gRPC takes by default.
const BATCH_BYTES_MAX: u64 = 4_000_000;

/// The functions that `bld` knows, the one that is proposed first.
const FUNCTIONS: [DigestFunction; 2] = [DigestFunction::Blake3, DigestFunction::Sha256];

/// The version of the protocol that `bld` speaks.
const MAJOR: i32 = 2;

/// What a remote says of itself.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is said by itself")]
pub(super) struct Said {
    is_cache: bool,
    functions: Vec<DigestFunction>,
    /// Their names, those that `bld` does not know among them.
    function_names: Vec<&'static str>,
    update_enabled: bool,
    batch_bytes: i64,
    zstd_streams: bool,
    zstd_batches: bool,
    lowest: Option<(i32, i32)>,
    highest: Option<(i32, i32)>,
    provenance: Option<Provenance>,
}

/// What may be asked of a remote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Capabilities {
    /// How many bytes of blobs go into one message.
    pub(super) batch_bytes: u64,
    /// Whether what is made may be written.
    pub(super) is_writable: bool,
    /// Whether streams may be compressed.
    pub(super) zstd_streams: bool,
    /// Whether batches may be compressed.
    pub(super) zstd_batches: bool,
    /// Whose word its results are.
    pub(super) provenance: Provenance,
}

impl Said {
    /// Returns what may be asked, or why that is not enough.
    pub(super) fn judge(
        self,
        address: &Arc<str>,
        wanted: DigestFunction,
    ) -> Result<Capabilities, RemoteError> {
        let address = || Arc::clone(address);
        let is_spoken = |low: i32, high: i32| (low..=high).contains(&MAJOR);
        let (low, high) = (self.lowest.unwrap_or((MAJOR, 0)), self.highest.unwrap_or((MAJOR, 0)));
        if !is_spoken(low.0, high.0) {
            let text = |(major, minor)| format!("{major}.{minor}");
            return Err(RemoteError::Version {
                address: address(),
                low: text(low),
                high: text(high),
            });
        }
        if !self.is_cache {
            return Err(RemoteError::NoCache { address: address() });
        }
        if !self.functions.contains(&wanted) {
            let names = self.function_names.join(", ");
            let offered = if names.is_empty() { "none".to_owned() } else { names };
            let known = FUNCTIONS.into_iter().find(|it| self.functions.contains(it));
            return Err(match known {
                Some(instead) => {
                    RemoteError::Function { address: address(), wanted, offered, instead }
                }
                None => RemoteError::NoFunction { address: address(), offered },
            });
        }
        let batch_bytes = u64::try_from(self.batch_bytes).unwrap_or_default();
        let batch_bytes = if batch_bytes == 0 { BATCH_BYTES_MAX } else { batch_bytes };
        Ok(Capabilities {
            batch_bytes: batch_bytes.min(BATCH_BYTES_MAX),
            is_writable: self.update_enabled,
            zstd_streams: self.zstd_streams,
            zstd_batches: self.zstd_batches,
            provenance: self.provenance.unwrap_or(Provenance::Remote),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said() -> Said {
        Said {
            is_cache: true,
            functions: vec![DigestFunction::Sha256],
            function_names: vec!["SHA256", "MD5"],
            update_enabled: true,
            lowest: Some((2, 0)),
            highest: Some((2, 12)),
            ..Said::default()
        }
    }

    fn judge(said: Said, wanted: DigestFunction) -> Result<Capabilities, String> {
        said.judge(&"grpc://cache".into(), wanted).map_err(|error| error.to_string())
    }

    #[test]
    fn a_remote_without_the_function_is_refused_by_name_with_what_to_set() {
        let error = judge(said(), DigestFunction::Blake3).unwrap_err();
        for part in ["grpc://cache", "blake3", "SHA256, MD5", "digest = \"sha256\""] {
            assert!(error.contains(part), "{part}: {error}");
        }
        let none = Said { functions: Vec::new(), function_names: vec!["MD5"], ..said() };
        let error = judge(none, DigestFunction::Blake3).unwrap_err();
        assert!(error.contains("MD5") && !error.contains("bld.toml"), "{error}");
        judge(said(), DigestFunction::Sha256).unwrap();
    }

    #[test]
    fn a_remote_of_another_version_or_purpose_is_refused() {
        let sha256 = DigestFunction::Sha256;
        let newer = Said { lowest: Some((3, 0)), highest: Some((3, 1)), ..said() };
        assert!(judge(newer, sha256).unwrap_err().contains("3.0 to 3.1"));
        let older = Said { lowest: Some((1, 0)), highest: Some((1, 9)), ..said() };
        judge(older, sha256).unwrap_err();
        let both = Said { lowest: Some((1, 9)), highest: Some((3, 0)), ..said() };
        judge(both, sha256).unwrap();
        judge(Said { lowest: None, highest: None, ..said() }, sha256).unwrap();
        judge(Said { is_cache: false, ..said() }, sha256).unwrap_err();
    }

    #[test]
    fn batches_have_a_limit_whatever_a_remote_says() {
        for (said_bytes, expected) in
            [(0, BATCH_BYTES_MAX), (-1, BATCH_BYTES_MAX), (1 << 40, BATCH_BYTES_MAX), (1000, 1000)]
        {
            let said = Said { batch_bytes: said_bytes, ..said() };
            assert_eq!(judge(said, DigestFunction::Sha256).unwrap().batch_bytes, expected);
        }
    }
}
