//! The services `Fetch` and `Push` of the Remote Asset API.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use model::{Digest, DigestFunction};
use prost::Message;
use tonic::{Code, Request, Response, Status};
use wire::proto::asset::fetch_server::{Fetch, FetchServer};
use wire::proto::asset::push_server::{Push, PushServer};
use wire::proto::asset::{
    FetchBlobRequest, FetchBlobResponse, FetchDirectoryRequest, FetchDirectoryResponse,
    PushBlobRequest, PushBlobResponse, PushDirectoryRequest, PushDirectoryResponse, Qualifier,
};
use wire::proto::bld::{Asset, AssetQualifier, AssetReference, Assets};
use wire::proto::{reapi, rpc};
use wire::references::ResultReferences;

use super::download::{Download, Origins};
use super::qualifiers::Qualifiers;
use crate::Right;
use crate::asked::{self, Asked};
use crate::completeness;
use crate::fault;
use crate::front::{Front, View};
use crate::limits::{ADDRESS_BYTES_MAX, ADDRESSES_MAX, ASSETS_MAX};
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

/// What is asked for, of blobs and directories alike.
struct Wanted {
    project: String,
    addresses: Vec<String>,
    qualifiers: Qualifiers,
    function: DigestFunction,
    timeout: Option<Duration>,
    /// Nothing that was known before this will do.
    is_fresh: bool,
    is_directory: bool,
}

/// What was found.
struct Found {
    address: String,
    digest: Digest,
    expires: Option<prost_types::Timestamp>,
}

#[tonic::async_trait]
impl Fetch for FetchService {
    async fn fetch_blob(
        &self,
        request: Request<FetchBlobRequest>,
    ) -> Result<Response<FetchBlobResponse>, Status> {
        let view = self.front.view(request.extensions()).with(Right::Read)?;
        let request = request.into_inner();
        let (qualifiers, echoed) = read_qualifiers(request.qualifiers)?;
        let wanted = Wanted {
            project: request.instance_name,
            addresses: check_addresses(request.uris)?,
            qualifiers,
            function: function(request.digest_function)?,
            timeout: request.timeout.and_then(|it| it.try_into().ok()),
            is_fresh: is_in_future(request.oldest_content_accepted),
            is_directory: false,
        };
        let mut response = FetchBlobResponse {
            qualifiers: echoed,
            digest_function: asked::number(wanted.function),
            ..Default::default()
        };
        let found = self.find(&view, wanted).await?;
        tell(&view, found.is_ok());
        match found {
            Ok(found) => {
                response.status = Some(rpc::Status::default());
                response.uri = found.address;
                response.blob_digest = Some(message(found.digest));
                response.expires_at = found.expires;
            }
            Err(status) => response.status = Some(status_message(&status)),
        }
        Ok(Response::new(response))
    }

    async fn fetch_directory(
        &self,
        request: Request<FetchDirectoryRequest>,
    ) -> Result<Response<FetchDirectoryResponse>, Status> {
        let view = self.front.view(request.extensions()).with(Right::Read)?;
        let request = request.into_inner();
        let (qualifiers, echoed) = read_qualifiers(request.qualifiers)?;
        let wanted = Wanted {
            project: request.instance_name,
            addresses: check_addresses(request.uris)?,
            qualifiers,
            function: function(request.digest_function)?,
            timeout: None,
            is_fresh: is_in_future(request.oldest_content_accepted),
            is_directory: true,
        };
        let mut response = FetchDirectoryResponse {
            qualifiers: echoed,
            digest_function: asked::number(wanted.function),
            ..Default::default()
        };
        let found = self.find(&view, wanted).await?;
        tell(&view, found.is_ok());
        match found {
            Ok(found) => {
                response.status = Some(rpc::Status::default());
                response.uri = found.address;
                response.root_directory_digest = Some(message(found.digest));
                response.expires_at = found.expires;
            }
            Err(status) => response.status = Some(status_message(&status)),
        }
        Ok(Response::new(response))
    }
}

impl FetchService {
    /// Finds what one of the addresses stands for: by its hash, by somebody's word, or by asking there.
    async fn find(&self, view: &View, wanted: Wanted) -> Result<Result<Found, Status>, Status> {
        if let Some(found) = by_hash(view, &wanted).await? {
            return Ok(Ok(found));
        }
        if !wanted.is_fresh {
            for address in &wanted.addresses {
                if let Some(found) = pushed(view, &wanted, address).await? {
                    return Ok(Ok(found));
                }
            }
        }
        let mut refusal = Status::not_found("nobody said what this address stands for");
        if wanted.is_directory || !view.caller.rights.write_blobs {
            return Ok(Err(refusal));
        }
        for (nth, address) in wanted.addresses.iter().enumerate() {
            let download = Download {
                address: address.clone(),
                headers: wanted.qualifiers.headers(nth),
                integrity: wanted.qualifiers.integrity.clone(),
                function: wanted.function,
                timeout: wanted.timeout,
            };
            match self.origins.fetch(&*view.cellar, download).await? {
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
    if wanted.is_directory || wanted.function != DigestFunction::Sha256 {
        return Ok(None);
    }
    for hash in integrity.hashes() {
        let found = view.cellar.find_by_hash(wanted.function, hash).await;
        if let Some(digest) = found.map_err(|error| fault::of_store(&error))? {
            let address = wanted.addresses[0].clone();
            return Ok(Some(Found { address, digest, expires: None }));
        }
    }
    Ok(None)
}

/// Returns what somebody who is believed said that the address stands for, if all of it is here.
async fn pushed(view: &View, wanted: &Wanted, address: &str) -> Result<Option<Found>, Status> {
    for asset in known(view, &wanted.project, address).await?.assets {
        let Some(digest) = digest_of(&asset) else { continue };
        let is_meant = asset.is_directory == wanted.is_directory
            && digest.function() == wanted.function
            && wanted.qualifiers.are_among(&names(&asset))
            && asset.expires.is_none_or(|it| is_in_future(Some(it)));
        let integrity = wanted.qualifiers.integrity.as_ref();
        let is_admitted = integrity.is_none_or(|it| it.admits(&digest));
        if is_meant && is_admitted && is_here(view, &asset, digest).await? {
            let (address, expires) = (address.to_owned(), asset.expires);
            return Ok(Some(Found { address, digest, expires }));
        }
    }
    Ok(None)
}

async fn is_here(view: &View, asset: &Asset, digest: Digest) -> Result<bool, Status> {
    let mut needed = ResultReferences::default();
    let mut add = |digest, is_directory| {
        let kind = if is_directory { &mut needed.directories } else { &mut needed.blobs };
        kind.push(digest);
    };
    add(digest, asset.is_directory);
    for reference in &asset.references {
        let size = u64::try_from(reference.size_bytes).unwrap_or(u64::MAX);
        match Digest::from_hex(digest.function(), &reference.hash, size) {
            Ok(digest) => add(digest, reference.is_directory),
            Err(_) => return Ok(false),
        }
    }
    let missing = completeness::missing(&*view.cellar, digest.function(), &needed).await;
    Ok(missing.map_err(|error| fault::of_store(&error))?.is_empty())
}

#[tonic::async_trait]
impl Push for PushService {
    async fn push_blob(
        &self,
        request: Request<PushBlobRequest>,
    ) -> Result<Response<PushBlobResponse>, Status> {
        let view = self.front.view(request.extensions()).with(Right::WriteValues)?;
        let request = request.into_inner();
        let pushing = Pushing {
            project: request.instance_name,
            addresses: check_addresses(request.uris)?,
            qualifiers: request.qualifiers,
            function: request.digest_function,
            digest: request.blob_digest,
            is_directory: false,
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
        let pushing = Pushing {
            project: request.instance_name,
            addresses: check_addresses(request.uris)?,
            qualifiers: request.qualifiers,
            function: request.digest_function,
            digest: request.root_directory_digest,
            is_directory: true,
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
    project: String,
    addresses: Vec<String>,
    qualifiers: Vec<Qualifier>,
    function: i32,
    digest: Option<reapi::Digest>,
    is_directory: bool,
    expires: Option<prost_types::Timestamp>,
    blobs: Vec<reapi::Digest>,
    directories: Vec<reapi::Digest>,
}

impl Pushing {
    async fn push(self, view: &View) -> Result<(), Status> {
        let (qualifiers, _) = read_qualifiers(self.qualifiers)?;
        let functions = &asked::functions(self.function)?[..1];
        let parse = |it: &reapi::Digest| Asked::new(functions, &it.hash, it.size_bytes);
        let first = |it: Asked| it.candidates().next().expect("there is one function");
        let digest = self.digest.as_ref();
        let digest = digest.ok_or_else(|| Status::invalid_argument("a digest is missing"))?;
        let digest = first(parse(digest)?);
        let reference = |it: &reapi::Digest, is_directory| {
            let digest = first(parse(it)?);
            let size_bytes = digest.size().cast_signed();
            Ok::<_, Status>(AssetReference { hash: digest.hex(), size_bytes, is_directory })
        };
        let blobs = self.blobs.iter().map(|it| reference(it, false));
        let references = blobs.chain(self.directories.iter().map(|it| reference(it, true)));
        let asset = Asset {
            qualifiers: stored(&qualifiers.naming),
            digest_function: asked::number(digest.function()),
            hash: digest.hex(),
            size_bytes: digest.size().cast_signed(),
            is_directory: self.is_directory,
            expires: self.expires,
            references: references.collect::<Result<_, _>>()?,
        };
        if !is_here(view, &asset, digest).await? {
            return Err(not_sent(digest));
        }
        for address in &self.addresses {
            let mut assets = known(view, &self.project, address).await?;
            let is_other = |it: &Asset| {
                (&it.qualifiers, it.is_directory) != (&asset.qualifiers, asset.is_directory)
            };
            assets.assets.retain(is_other);
            assets.assets.insert(0, asset.clone());
            assets.assets.truncate(ASSETS_MAX);
            let bytes = assets.encode_to_vec().into();
            let recorded = view.record(&space(&self.project), address, bytes).await;
            recorded.map_err(|error| fault::of_store(&error))?;
        }
        Ok(())
    }
}

/// Returns what is known of an address, by the word of the first namespace that knows it.
async fn known(view: &View, project: &str, address: &str) -> Result<Assets, Status> {
    let value = view.lookup(&space(project), address).await;
    let value = value.map_err(|error| fault::of_store(&error))?;
    Ok(value.and_then(|it| Assets::decode(it.bytes).ok()).unwrap_or_default())
}

fn tell(view: &View, is_found: bool) {
    if is_found { view.observed.hit(Kind::Asset) } else { view.observed.miss(Kind::Asset) }
}

fn space(project: &str) -> String {
    format!("asset/{project}")
}

fn names(asset: &Asset) -> BTreeMap<String, String> {
    asset.qualifiers.iter().map(|it| (it.name.clone(), it.value.clone())).collect()
}

fn stored(names: &BTreeMap<String, String>) -> Vec<AssetQualifier> {
    let pair = |(name, value): (&String, &String)| AssetQualifier {
        name: name.clone(),
        value: value.clone(),
    };
    names.iter().map(pair).collect()
}

fn digest_of(asset: &Asset) -> Option<Digest> {
    let function = *asked::functions(asset.digest_function).ok()?.first()?;
    Digest::from_hex(function, &asset.hash, u64::try_from(asset.size_bytes).ok()?).ok()
}

fn check_addresses(addresses: Vec<String>) -> Result<Vec<String>, Status> {
    if addresses.is_empty() {
        return Err(Status::invalid_argument("there is no uri"));
    }
    let is_wrong = |it: &String| it.is_empty() || it.len() > ADDRESS_BYTES_MAX;
    if addresses.len() > ADDRESSES_MAX || addresses.iter().any(is_wrong) {
        let why = format!("there may be {ADDRESSES_MAX} uris of {ADDRESS_BYTES_MAX} bytes each");
        return Err(Status::invalid_argument(why));
    }
    Ok(addresses)
}

/// Returns the qualifiers, and those that may be shown again.
fn read_qualifiers(qualifiers: Vec<Qualifier>) -> Result<(Qualifiers, Vec<Qualifier>), Status> {
    let is_shown = |it: &&Qualifier| !it.name.starts_with("http_header");
    let shown = qualifiers.iter().filter(is_shown).cloned().collect();
    let pairs = qualifiers.into_iter().map(|it| (it.name, it.value)).collect();
    Ok((Qualifiers::parse(pairs)?, shown))
}

/// Returns the function that results are to be named by: SHA-256 where the client names none.
fn function(number: i32) -> Result<DigestFunction, Status> {
    Ok(asked::functions(number)?[0])
}

fn is_in_future(time: Option<prost_types::Timestamp>) -> bool {
    let time = time.and_then(|it| SystemTime::try_from(it).ok());
    time.is_some_and(|it| it > SystemTime::now())
}

fn not_sent(digest: Digest) -> Status {
    let message = format!("{digest}, or what it refers to, was not sent before");
    let code = Code::FailedPrecondition;
    let details = wire::details::missing(code.into(), &message, &[digest]);
    Status::with_details(code, message, details)
}

fn status_message(status: &Status) -> rpc::Status {
    let message = status.message().to_owned();
    rpc::Status { code: status.code().into(), message, details: Vec::new() }
}

fn message(digest: Digest) -> reapi::Digest {
    reapi::Digest { hash: digest.hex(), size_bytes: digest.size().cast_signed() }
}
