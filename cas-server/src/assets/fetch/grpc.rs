//! The service `Fetch` of the Remote Asset API.

use std::time::{Duration, SystemTime};

use model::{Digest, DigestFunction};
use tonic::{Request, Response, Status};
use wire::encode::{digest_message, function_number};
use wire::proto::asset::fetch_server::{Fetch, FetchServer};
use wire::proto::asset::{
    FetchBlobRequest, FetchBlobResponse, FetchDirectoryRequest, FetchDirectoryResponse, Qualifier,
};
use wire::proto::rpc;

use crate::Right;
use crate::assets::download::{Download, Origins};
use crate::assets::name::{AssetKind, AssetName};
use crate::assets::qualifiers::Qualifiers;
use crate::fault;
use crate::front::{Front, View};
use crate::metrics::Kind;

/// Answers what addresses stand for.
#[derive(Clone)]
pub(crate) struct FetchService {
    front: Front,
    origins: Origins,
}

impl FetchService {
    /// Returns the service over that front, which fetches from those origins.
    pub(crate) fn new(front: Front, origins: Origins) -> Self {
        Self { front, origins }
    }

    /// Returns the service as it is served.
    pub(crate) fn server(self) -> FetchServer<Self> {
        let message_bytes = self.front.limits().message_bytes();
        FetchServer::new(self).max_decoding_message_size(message_bytes)
    }
}

/// What is asked for, of blobs and directories alike.
struct Wanted {
    name: AssetName,
    qualifiers: Qualifiers,
    timeout: Option<Duration>,
    /// Nothing that was known before this will do.
    is_fresh: bool,
}

/// What was found.
struct Found {
    address: String,
    digest: Digest,
    expires: Option<SystemTime>,
}

#[tonic::async_trait]
impl Fetch for FetchService {
    async fn fetch_blob(
        &self,
        request: Request<FetchBlobRequest>,
    ) -> Result<Response<FetchBlobResponse>, Status> {
        Ok(Response::new(self.fetch(AssetKind::Blob, request).await?))
    }

    async fn fetch_directory(
        &self,
        request: Request<FetchDirectoryRequest>,
    ) -> Result<Response<FetchDirectoryResponse>, Status> {
        // The same in other words.
        let request = request.map(|it| FetchBlobRequest {
            instance_name: it.instance_name,
            timeout: it.timeout,
            oldest_content_accepted: it.oldest_content_accepted,
            uris: it.uris,
            qualifiers: it.qualifiers,
            digest_function: it.digest_function,
        });
        let response = self.fetch(AssetKind::Directory, request).await?;
        Ok(Response::new(FetchDirectoryResponse {
            status: response.status,
            uri: response.uri,
            qualifiers: response.qualifiers,
            expires_at: response.expires_at,
            root_directory_digest: response.blob_digest,
            digest_function: response.digest_function,
        }))
    }
}

impl FetchService {
    async fn fetch(
        &self,
        kind: AssetKind,
        request: Request<FetchBlobRequest>,
    ) -> Result<FetchBlobResponse, Status> {
        let view = self.front.view(request.extensions()).with(Right::Read)?;
        let request = request.into_inner();
        let echoed = shown(&request.qualifiers);
        let pairs = request.qualifiers.into_iter().map(|it| (it.name, it.value));
        let qualifiers = Qualifiers::parse(pairs)?;
        let (project, function) = (request.instance_name, request.digest_function);
        let wanted = Wanted {
            name: AssetName::new(kind, project, function, request.uris)?,
            qualifiers,
            timeout: request.timeout.and_then(|it| it.try_into().ok()),
            is_fresh: is_in_future(request.oldest_content_accepted),
        };
        let mut response = FetchBlobResponse {
            qualifiers: echoed,
            digest_function: function_number(wanted.name.function),
            ..Default::default()
        };
        let found = self.find(&view, wanted).await?;
        tell(&view, found.is_ok());
        match found {
            Ok(found) => {
                response.status = Some(rpc::Status::default());
                response.uri = found.address;
                response.blob_digest = Some(digest_message(found.digest));
                response.expires_at = found.expires.map(Into::into);
            }
            Err(status) => response.status = Some(wire::details::part(&status)),
        }
        Ok(response)
    }

    /// Finds what one of the addresses stands for: by its hash, by somebody's word, or by asking there.
    async fn find(&self, view: &View, wanted: Wanted) -> Result<Result<Found, Status>, Status> {
        if let Some(found) = by_hash(view, &wanted).await? {
            return Ok(Ok(found));
        }
        if !wanted.is_fresh {
            for address in &wanted.name.addresses {
                let asset = wanted.name.lookup(view, address, &wanted.qualifiers).await;
                if let Some(asset) = asset.map_err(fault::of_store)? {
                    let (address, digest) = (address.clone(), asset.digest);
                    return Ok(Ok(Found { address, digest, expires: asset.expires }));
                }
            }
        }
        let mut refusal = Status::not_found("nobody said what this address stands for");
        if wanted.name.kind == AssetKind::Directory || !view.caller.rights.write_blobs {
            return Ok(Err(refusal));
        }
        for (nth, address) in wanted.name.addresses.iter().enumerate() {
            let download = Download {
                address: address.clone(),
                headers: wanted.qualifiers.headers(nth),
                integrity: wanted.qualifiers.integrity.clone(),
                function: wanted.name.function,
                timeout: wanted.timeout,
            };
            match self.origins.fetch(&view.cellar, download).await? {
                Ok(digest) => {
                    return Ok(Ok(Found { address: address.clone(), digest, expires: None }));
                }
                Err(status) => refusal = status,
            }
        }
        Ok(Err(refusal))
    }
}

/// Returns the blob that the checksum names, if it is here: then no address need be believed.
async fn by_hash(view: &View, wanted: &Wanted) -> Result<Option<Found>, Status> {
    let Some(integrity) = &wanted.qualifiers.integrity else { return Ok(None) };
    let name = &wanted.name;
    if name.kind == AssetKind::Directory || name.function != DigestFunction::Sha256 {
        return Ok(None);
    }
    for hash in integrity.hashes() {
        let found = view.cellar.find_by_hash(name.function, hash).await;
        if let Some(digest) = found.map_err(fault::of_store)? {
            let address = name.addresses[0].clone();
            return Ok(Some(Found { address, digest, expires: None }));
        }
    }
    Ok(None)
}

fn tell(view: &View, is_found: bool) {
    if is_found { view.observed.hit(Kind::Asset) } else { view.observed.miss(Kind::Asset) }
}

/// Returns the qualifiers that may be shown again: headers hold credentials.
fn shown(qualifiers: &[Qualifier]) -> Vec<Qualifier> {
    qualifiers.iter().filter(|it| !it.name.starts_with("http_header")).cloned().collect()
}

fn is_in_future(time: Option<prost_types::Timestamp>) -> bool {
    let time = time.and_then(|it| SystemTime::try_from(it).ok());
    time.is_some_and(|it| it > SystemTime::now())
}
