//! The service `Push` of the Remote Asset API.

use std::collections::BTreeSet;
use std::time::SystemTime;

use model::Digest;
use tonic::{Code, Request, Response, Status};
use wire::asset::Asset;
use wire::proto::asset::push_server::{Push, PushServer};
use wire::proto::asset::{
    PushBlobRequest, PushBlobResponse, PushDirectoryRequest, PushDirectoryResponse, Qualifier,
};
use wire::proto::reapi;

use crate::Right;
use crate::assets::name::{AssetKind, AssetName};
use crate::assets::qualifiers::Qualifiers;
use crate::fault;
use crate::front::{Front, View};
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
        let view = self.front.view(request.extensions()).with(Right::WriteValues)?;
        let request = request.into_inner();
        let (project, function) = (request.instance_name, request.digest_function);
        let pushing = Pushing {
            name: AssetName::new(AssetKind::Blob, project, function, request.uris)?,
            qualifiers: request.qualifiers,
            digest: request.blob_digest,
            expires: request.expire_at,
            blobs: request.references_blobs,
            directories: request.references_directories,
        };
        pushing.push(&view).await?;
        Ok(Response::new(PushBlobResponse {}))
    }

    async fn push_directory(
        &self,
        request: Request<PushDirectoryRequest>,
    ) -> Result<Response<PushDirectoryResponse>, Status> {
        let view = self.front.view(request.extensions()).with(Right::WriteValues)?;
        let request = request.into_inner();
        let (project, function) = (request.instance_name, request.digest_function);
        let pushing = Pushing {
            name: AssetName::new(AssetKind::Directory, project, function, request.uris)?,
            qualifiers: request.qualifiers,
            digest: request.root_directory_digest,
            expires: request.expire_at,
            blobs: request.references_blobs,
            directories: request.references_directories,
        };
        pushing.push(&view).await?;
        Ok(Response::new(PushDirectoryResponse {}))
    }
}

/// What is pushed, of blobs and directories alike.
struct Pushing {
    name: AssetName,
    qualifiers: Vec<Qualifier>,
    digest: Option<reapi::Digest>,
    expires: Option<prost_types::Timestamp>,
    blobs: Vec<reapi::Digest>,
    directories: Vec<reapi::Digest>,
}

impl Pushing {
    async fn push(self, view: &View) -> Result<(), Status> {
        if self.blobs.len() + self.directories.len() > ASSET_REFERENCES_MAX {
            let why = format!("an asset may refer to {ASSET_REFERENCES_MAX} others");
            return Err(Status::invalid_argument(why));
        }
        let pairs = self.qualifiers.into_iter().map(|it| (it.name, it.value));
        let qualifiers = Qualifiers::parse(pairs)?;
        let digest = |it: Option<&reapi::Digest>, field| {
            let digest = wire::decode::digest(self.name.function, it, field);
            digest.map_err(|error| Status::invalid_argument(fault::with_sources(&error)))
        };
        let all = |digests: &[reapi::Digest], field| {
            digests.iter().map(|it| digest(Some(it), field)).collect::<Result<_, _>>()
        };
        let expires = self.expires.map(SystemTime::try_from).transpose();
        let asset = Asset {
            digest: digest(self.digest.as_ref(), "digest")?,
            expires: expires.map_err(|error| Status::invalid_argument(error.to_string()))?,
            blobs: all(&self.blobs, "references_blobs")?,
            directories: all(&self.directories, "references_directories")?,
        };
        let missing = self.name.missing(view, &asset).await.map_err(fault::of_store)?;
        if !missing.is_empty() {
            return Err(not_sent(missing));
        }
        self.name.record(view, &qualifiers, &asset).await.map_err(fault::of_store)
    }
}

fn not_sent(missing: BTreeSet<Digest>) -> Status {
    let message = format!("{} blobs were not sent before", missing.len());
    let told: Vec<_> = missing.into_iter().take(MISSING_MAX).collect();
    let code = Code::FailedPrecondition;
    let details = wire::details::missing(code.into(), &message, &told);
    Status::with_details(code, message, details)
}
