//! Details of errors, for programs: encoded `google.rpc.Status` messages, as gRPC carries them in a trailer.

use std::time::Duration;

use bytes::Bytes;
use model::{Digest, DigestFunction};
use prost::Message;

use crate::proto::rpc;

/// Returns details that say: again, after that long.
pub fn retry(code: i32, message: &str, delay: Duration) -> Bytes {
    let retry_delay = prost_types::Duration::try_from(delay).unwrap_or_default();
    status(code, message, "RetryInfo", &rpc::RetryInfo { retry_delay: Some(retry_delay) })
}

/// Returns after how long details say that it may be tried again, if they do.
pub fn retry_delay(details: &[u8]) -> Option<Duration> {
    let status = rpc::Status::decode(details).ok()?;
    let is_meant = |it: &&prost_types::Any| it.type_url.ends_with("/google.rpc.RetryInfo");
    let detail = status.details.iter().find(is_meant)?;
    let delay = rpc::RetryInfo::decode(detail.value.as_slice()).ok()?.retry_delay?;
    Duration::try_from(delay).ok()
}

/// Returns details that name the blobs that must be there first.
pub fn missing(code: i32, message: &str, digests: &[Digest]) -> Bytes {
    let violations = digests.iter().map(|digest| rpc::precondition_failure::Violation {
        r#type: "MISSING".to_owned(),
        subject: match digest.function() {
            DigestFunction::Sha256 => format!("blobs/{digest}"),
            DigestFunction::Blake3 => format!("blobs/blake3/{digest}"),
        },
        description: String::new(),
    });
    let failure = rpc::PreconditionFailure { violations: violations.collect() };
    status(code, message, "PreconditionFailure", &failure)
}

/// Returns details that name the field of the request that is wrong, and how.
pub fn bad_field(code: i32, message: &str, field: &str, description: &str) -> Bytes {
    let violation = rpc::bad_request::FieldViolation {
        field: field.to_owned(),
        description: description.to_owned(),
    };
    let request = rpc::BadRequest { field_violations: vec![violation] };
    status(code, message, "BadRequest", &request)
}

/// Returns an error as a part of an answer, with the details that it would have as a whole.
pub fn part(status: &tonic::Status) -> rpc::Status {
    // They are ours, or none.
    let details = rpc::Status::decode(status.details()).unwrap_or_default().details;
    rpc::Status { code: status.code().into(), message: status.message().to_owned(), details }
}

fn status(code: i32, message: &str, name: &str, detail: &impl Message) -> Bytes {
    // Clients compare the whole text, with the host.
    let type_url = format!("type.googleapis.com/google.rpc.{name}");
    let detail = prost_types::Any { type_url, value: detail.encode_to_vec() };
    let message = message.to_owned();
    rpc::Status { code, message, details: vec![detail] }.encode_to_vec().into()
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn a_part_of_an_answer_says_when_to_try_again_as_the_whole_does() {
        let delay = Duration::from_secs(5);
        let full = retry(8, "full", delay);
        let part = part(&tonic::Status::with_details(Code::ResourceExhausted, "full", full));
        assert_eq!((part.code, part.message.as_str(), part.details.len()), (8, "full", 1));
        assert_eq!(retry_delay(&part.encode_to_vec()), Some(delay));
        assert!(super::part(&tonic::Status::not_found("absent")).details.is_empty());
    }
}
