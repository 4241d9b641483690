//! What is taken of a result that somebody uploads: it says what clients can use, and its bytes are blobs.

use bytes::Bytes;
use model::{Digest, DigestFunction, RelativePath};
use prost::Message;
use store::{Blob, StoreError};
use tonic::Status;
use wire::decode::DecodeError;
use wire::encode::digest_message;
use wire::proto::reapi::ActionResult;
use wire::references;

use crate::front::{View, results_space};
use crate::{Denied, Right};

/// A result that may be recorded.
pub(crate) struct Accepted {
    function: DigestFunction,
    result: ActionResult,
    /// What came inside it, and was compared with its digests.
    inlined: Vec<(Digest, Bytes)>,
}

/// Why a result may not be recorded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("the result is malformed: {0}")]
    Malformed(#[from] DecodeError),
    #[error("bytes given as {claimed} hash to {found}")]
    Mismatch { claimed: String, found: Digest },
    #[error("the link `{path}` has no target")]
    Link { path: String },
    #[error("`{path}` is no path of an output")]
    Path { path: String },
    #[error(transparent)]
    Denied(#[from] Denied),
}

impl From<Unusable> for Status {
    fn from(unusable: Unusable) -> Self {
        match unusable {
            Unusable::Denied(denied) => denied.into(),
            Unusable::Malformed(_)
            | Unusable::Mismatch { .. }
            | Unusable::Link { .. }
            | Unusable::Path { .. } => Self::invalid_argument(unusable.to_string()),
        }
    }
}

impl Accepted {
    /// Returns an encoded result, if the caller may record it.
    pub(crate) fn decode(
        view: &View,
        function: DigestFunction,
        bytes: Bytes,
    ) -> Result<Self, Unusable> {
        let result = ActionResult::decode(bytes).map_err(DecodeError::from)?;
        Self::new(view, function, result)
    }

    /// Returns a result, if the caller may record it.
    pub(crate) fn new(
        view: &View,
        function: DigestFunction,
        mut result: ActionResult,
    ) -> Result<Self, Unusable> {
        let inlined = take_inlined(function, &mut result)?;
        if !inlined.is_empty() {
            view.caller.require(Right::WriteBlobs)?;
        }
        references::of_result_message(function, &result)?;
        check(&result)?;
        // Some clients cannot do without a worker, and a result of an action that did nothing would be no bytes at all.
        let metadata = result.execution_metadata.get_or_insert_default();
        if metadata.worker.is_empty() {
            metadata.worker = format!("cache-upload:{}", view.caller.name);
        }
        Ok(Self { function, result, inlined })
    }

    /// Returns the space that it is recorded in.
    pub(crate) fn space(&self, project: &str) -> String {
        results_space(self.function, project)
    }

    /// Returns whether every blob that it names itself is here, or came inside it.
    pub(crate) async fn is_here(&self, view: &View) -> Result<bool, StoreError> {
        let references = references::of_result_message(self.function, &self.result);
        let needed = references.expect("this was checked when it was accepted");
        let needed = [needed.blobs, needed.trees, needed.directories].concat();
        let came = |digest: &Digest| self.inlined.iter().any(|it| it.0 == *digest);
        let needed = needed.into_iter().filter(|it| !came(it)).collect();
        Ok(view.cellar.find_missing(needed).await?.is_empty())
    }

    /// Keeps what came inside as blobs and records the result, as it is returned.
    pub(crate) async fn record(
        self,
        view: &View,
        project: &str,
        action: &str,
    ) -> Result<ActionResult, StoreError> {
        let space = self.space(project);
        for (digest, bytes) in self.inlined {
            view.cellar.write(digest, Blob::Bytes(bytes)).await?;
        }
        view.record(&space, action, self.result.encode_to_vec().into()).await?;
        Ok(self.result)
    }
}

/// Takes bytes that came inside a result out of it, and leaves their digests, so that every answer can do without them.
fn take_inlined(
    function: DigestFunction,
    result: &mut ActionResult,
) -> Result<Vec<(Digest, Bytes)>, Unusable> {
    let logs = [
        (&mut result.stdout_raw, &mut result.stdout_digest),
        (&mut result.stderr_raw, &mut result.stderr_digest),
    ];
    let files = result.output_files.iter_mut().map(|it| (&mut it.contents, &mut it.digest));
    let mut inlined = Vec::new();
    for (bytes, named) in logs.into_iter().chain(files) {
        let bytes = std::mem::take(bytes);
        if bytes.is_empty() {
            continue;
        }
        let found = Digest::of(function, &bytes);
        let claimed = named.get_or_insert_with(|| digest_message(found));
        if *claimed != digest_message(found) {
            return Err(Unusable::Mismatch { claimed: claimed.hash.clone(), found });
        }
        inlined.push((found, bytes));
    }
    Ok(inlined)
}

/// Refuses what no client could use.
#[expect(deprecated, reason = "clients of version 2.0 still send links in the two old lists")]
fn check(result: &ActionResult) -> Result<(), Unusable> {
    let links = result.output_symlinks.iter();
    let links = links.chain(&result.output_file_symlinks).chain(&result.output_directory_symlinks);
    if let Some(link) = links.clone().find(|it| it.target.is_empty()) {
        return Err(Unusable::Link { path: link.path.clone() });
    }
    let paths = result.output_files.iter().map(|it| &it.path).chain(links.map(|it| &it.path));
    let directories = result.output_directories.iter().map(|it| &it.path);
    for path in paths.chain(directories.filter(|it| !it.is_empty())) {
        if path.is_empty() || RelativePath::new(without_parents(path)).is_err() {
            return Err(Unusable::Path { path: path.clone() });
        }
    }
    Ok(())
}

/// Returns what follows `../`s: outputs may lie beside the working directory.
fn without_parents(path: &str) -> &str {
    path.trim_start_matches("../")
}
