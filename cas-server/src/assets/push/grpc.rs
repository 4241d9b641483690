//! The service `Push` of the Remote Asset API.

use std::collections::BTreeSet;
use std::time::SystemTime;

use model::Digest;
use tonic::{Code, Request, Response, Status};
use wire::asset::Asset;
use wire::proto::asset::push_server::{Push, PushServer};
use wire::proto::asset::{
    PushBlobRequest, PushBlobResponse, PushDirectoryRequest, PushDirectoryResponse,
};
use wire::proto::reapi;

use crate::Right;
use crate::assets::name::{AssetKind, AssetName};
use crate::assets::qualifiers::Qualifiers;
use crate::fault;
use crate::front::Front;
use crate::limits::{ASSET_REFERENCES_MAX, MISSING_MAX};

/// Remembers what addresses stand for.
#[derive(Clone)]
pub(crate) struct PushService {
    front: Front,
}

impl PushService {
    /// Returns the service over that front.
    pub(crate) fn new(front: Front) -> Self {
        Self { front }
    }

    /// Returns the service as it is served.
    pub(crate) fn server(self) -> PushServer<Self> {
        let message_bytes = self.front.limits().message_bytes();
        PushServer::new(self).max_decoding_message_size(message_bytes)
    }
}

#[tonic::async_trait]
impl Push for PushService {
    async fn push_blob(
        &self,
        request: Request<PushBlobRequest>,
    ) -> Result<Response<PushBlobResponse>, Status> {
        self.push(AssetKind::Blob, request).await?;
        Ok(Response::new(PushBlobResponse {}))
    }

    async fn push_directory(
        &self,
        request: Request<PushDirectoryRequest>,
    ) -> Result<Response<PushDirectoryResponse>, Status> {
        // The same in other words.
        let request = request.map(|it| PushBlobRequest {
            instance_name: it.instance_name,
            uris: it.uris,
            qualifiers: it.qualifiers,
            expire_at: it.expire_at,
            blob_digest: it.root_directory_digest,
            references_blobs: it.references_blobs,
            references_directories: it.references_directories,
            digest_function: it.digest_function,
        });
        self.push(AssetKind::Directory, request).await?;
        Ok(Response::new(PushDirectoryResponse {}))
    }
}

impl PushService {
    async fn push(&self, kind: AssetKind, request: Request<PushBlobRequest>) -> Result<(), Status> {
        let view = self.front.view(request.extensions()).with(Right::WriteValues)?;
        let request = request.into_inner();
        let (project, function) = (request.instance_name, request.digest_function);
        let name = AssetName::new(kind, project, function, request.uris)?;
        let (blobs, directories) = (request.references_blobs, request.references_directories);
        if blobs.len() + directories.len() > ASSET_REFERENCES_MAX {
            let why = format!("an asset may refer to {ASSET_REFERENCES_MAX} others");
            return Err(Status::invalid_argument(why));
        }
        let pairs = request.qualifiers.into_iter().map(|it| (it.name, it.value));
        let qualifiers = Qualifiers::parse(pairs)?;
        let digest = |it: Option<&reapi::Digest>, field| {
            let digest = wire::decode::digest(name.function, it, field);
            digest.map_err(|error| Status::invalid_argument(fault::with_sources(&error)))
        };
        let all = |digests: &[reapi::Digest], field| {
            digests.iter().map(|it| digest(Some(it), field)).collect::<Result<_, _>>()
        };
        let expires = request.expire_at.map(SystemTime::try_from).transpose();
        let asset = Asset {
            digest: digest(request.blob_digest.as_ref(), "digest")?,
            expires: expires.map_err(|error| Status::invalid_argument(error.to_string()))?,
            blobs: all(&blobs, "references_blobs")?,
            directories: all(&directories, "references_directories")?,
        };
        let missing = name.missing(&view, &asset).await.map_err(fault::of_store)?;
        if !missing.is_empty() {
            return Err(not_sent(missing));
        }
        name.record(&view, &qualifiers, &asset).await.map_err(fault::of_store)
    }
}

fn not_sent(missing: BTreeSet<Digest>) -> Status {
    let message = format!("{} blobs were not sent before", missing.len());
    let told: Vec<_> = missing.into_iter().take(MISSING_MAX).collect();
    let code = Code::FailedPrecondition;
    let details = wire::details::missing(code.into(), &message, &told);
    Status::with_details(code, message, details)
}
