//! The service `ActionCache`.

use std::collections::BTreeSet;
use std::time::SystemTime;

use bytes::Bytes;
use model::{Digest, DigestFunction};
use prost::Message;
use tonic::{Request, Response, Status};
use wire::elements::Shape;
use wire::proto::reapi::action_cache_server::{ActionCache, ActionCacheServer};
use wire::proto::reapi::{self, ActionResult, GetActionResultRequest, UpdateActionResultRequest};
use wire::references;

use super::accepted::Accepted;
use crate::Right;
use crate::asked::{self, Asked};
use crate::completeness;
use crate::fault;
use crate::front::{Front, View, results_space};
use crate::limits::ANSWER_BYTES_MAX;
use crate::load::decoded_bytes;
use crate::metrics::Kind;

/// Answers about results of actions.
#[derive(Clone)]
pub(crate) struct ResultsService {
    front: Front,
}

impl ResultsService {
    /// Returns the service over that front.
    pub(crate) fn new(front: Front) -> Self {
        Self { front }
    }

    /// Returns the service as it is served.
    pub(crate) fn server(self) -> ActionCacheServer<Self> {
        let message_bytes = self.front.limits().message_bytes();
        ActionCacheServer::new(self).max_decoding_message_size(message_bytes)
    }
}

#[tonic::async_trait]
impl ActionCache for ResultsService {
    async fn get_action_result(
        &self,
        request: Request<GetActionResultRequest>,
    ) -> Result<Response<ActionResult>, Status> {
        let view = self.front.view(request.extensions()).with(Right::Read)?;
        let request = request.into_inner();
        let action = parse(request.digest_function, request.action_digest.as_ref())?;
        let mut is_incomplete = false;
        for digest in action.candidates() {
            match lookup(&view, &request.instance_name, digest).await? {
                Found::Whole(mut result) => {
                    view.observed.hit(Kind::Action);
                    tell_saved(&view, &result);
                    inline(&view, digest.function(), &request, &mut result).await?;
                    return Ok(Response::new(*result));
                }
                Found::Incomplete => is_incomplete = true,
                Found::Nothing => {}
            }
        }
        if is_incomplete {
            view.observed.incomplete(Kind::Action);
        } else {
            view.observed.miss(Kind::Action);
        }
        Err(Status::not_found("nobody recorded a result of this action that is whole"))
    }

    async fn update_action_result(
        &self,
        request: Request<UpdateActionResultRequest>,
    ) -> Result<Response<ActionResult>, Status> {
        let view = self.front.view(request.extensions()).with(Right::WriteValues)?;
        let request = request.into_inner();
        let action = parse(request.digest_function, request.action_digest.as_ref())?;
        let action = function_of(&view, action).await?;
        let result = request.action_result;
        let result = result.ok_or_else(|| Status::invalid_argument("there is no result"))?;
        let accepted = Accepted::new(&view, action.function(), result)?;
        let recorded = accepted.record(&view, &request.instance_name, &action.hex()).await;
        let result = recorded.map_err(fault::of_store)?;
        Ok(Response::new(result))
    }
}

fn parse(function: i32, digest: Option<&reapi::Digest>) -> Result<Asked, Status> {
    let digest = digest.ok_or_else(|| Status::invalid_argument("action_digest is missing"))?;
    Asked::new(asked::functions(function)?, &digest.hash, digest.size_bytes)
}

/// What was found of an action.
enum Found {
    /// A result, and all that it refers to is here.
    Whole(Box<ActionResult>),
    /// Something that the result refers to is not here.
    Incomplete,
    /// Nobody whose word counts has said anything.
    Nothing,
}

/// Returns the best result that the caller may believe.
async fn lookup(view: &View, project: &str, action: Digest) -> Result<Found, Status> {
    let space = results_space(action.function(), project);
    let mut found = Found::Nothing;
    for namespace in view.caller.reads.iter() {
        let value =
            view.lookup_in(namespace, &space, &action.hex()).await.map_err(fault::of_store)?;
        let Some(value) = value else { continue };
        // Others keep something else under such keys, through the plain caches.
        let Ok(bytes) = decoded_bytes(Shape::of_result(), &value.bytes) else { continue };
        view.memory.hold(bytes)?;
        let Ok(result) = ActionResult::decode(value.bytes) else { continue };
        let references = references::of_result_message(action.function(), &result);
        let Ok(references) = references else { continue };
        let missing = completeness::missing(&*view.cellar, action.function(), &references).await;
        if missing.map_err(fault::of_store)?.is_empty() {
            return Ok(Found::Whole(Box::new(result)));
        }
        found = Found::Incomplete;
    }
    Ok(found)
}

/// Tells what running the action took when it was run.
fn tell_saved(view: &View, result: &ActionResult) {
    let metadata = result.execution_metadata.clone().unwrap_or_default();
    let wall = metadata.virtual_execution_duration.and_then(|it| it.try_into().ok());
    let (begin, end) = (metadata.execution_start_timestamp, metadata.execution_completed_timestamp);
    let measured = begin.zip(end).and_then(|(begin, end)| {
        let (begin, end) = (SystemTime::try_from(begin).ok()?, SystemTime::try_from(end).ok()?);
        end.duration_since(begin).ok()
    });
    let cpu = wire::decode::cpu(&metadata).unwrap_or_default();
    view.observed.saved(cpu, wall.or(measured).unwrap_or_default());
}

/// What bytes take in an answer beside themselves, at most: their number, and that the messages around them become longer.
const INLINED_BYTES: u64 = 16;

/// Puts what the client asked for into the answer, as far as it fits.
async fn inline(
    view: &View,
    function: DigestFunction,
    request: &GetActionResultRequest,
    result: &mut ActionResult,
) -> Result<(), Status> {
    let mut room = ANSWER_BYTES_MAX.saturating_sub(result.encoded_len()) as u64;
    let mut wanted: Vec<(Option<&reapi::Digest>, &mut Bytes)> = Vec::new();
    if request.inline_stdout {
        wanted.push((result.stdout_digest.as_ref(), &mut result.stdout_raw));
    }
    if request.inline_stderr {
        wanted.push((result.stderr_digest.as_ref(), &mut result.stderr_raw));
    }
    let inlined: BTreeSet<_> = request.inline_output_files.iter().collect();
    for file in &mut result.output_files {
        if inlined.contains(&file.path) {
            wanted.push((file.digest.as_ref(), &mut file.contents));
        }
    }
    for (digest, place) in wanted {
        let Some(digest) = digest.and_then(|it| digest_of(function, it)) else { continue };
        let needed = digest.size().saturating_add(INLINED_BYTES);
        if needed > room {
            continue;
        }
        view.memory.hold(usize::try_from(needed).expect("an answer fits into memory"))?;
        let blob = view.cellar.read(digest).await.map_err(fault::of_store)?;
        if let Some(bytes) = blob.and_then(|it| it.into_bytes().ok()) {
            room -= needed;
            *place = bytes;
        }
    }
    Ok(())
}

/// Returns the action's digest with the function it was made with: where the client names none, that of the `Action`
/// that is here.
async fn function_of(view: &View, action: Asked) -> Result<Digest, Status> {
    let missing =
        view.cellar.find_missing(action.candidates().collect()).await.map_err(fault::of_store)?;
    let mut candidates = action.candidates();
    let first = candidates.next().expect("there is at least one function");
    Ok(action.candidates().find(|it| !missing.contains(it)).unwrap_or(first))
}

fn digest_of(function: DigestFunction, digest: &reapi::Digest) -> Option<Digest> {
    Digest::from_hex(function, &digest.hash, u64::try_from(digest.size_bytes).ok()?).ok()
}
