//! The names of `ByteStream`'s resources.
//!
//! ```text
//! read  = [project "/"] ( "blobs" | "compressed-blobs/" compressor ) ["/" function] "/" hash "/" size
//! write = [project "/"] "uploads/" session "/" ( as above ) ["/" anything]
//! ```

use model::DigestFunction;
use tonic::Status;
use wire::encode::function_number;

use crate::asked::{self, Asked};
use crate::pieces::Wire;

/// A blob, and how it is on the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resource {
    /// Which blob.
    pub(crate) blob: Asked,
    /// How it is sent.
    pub(crate) wire: Wire,
}

/// An upload of a blob.
#[derive(Clone, Debug)]
pub(crate) struct UploadResource {
    /// What the client calls the upload.
    pub(crate) session: String,
    /// What is uploaded.
    pub(crate) resource: Resource,
}

impl Resource {
    /// Parses the name of a blob that is read.
    pub(crate) fn parse(name: &str) -> Result<Self, Status> {
        let segments: Vec<_> = name.split('/').filter(|it| !it.is_empty()).collect();
        let begin = segments.iter().position(|it| is_kind(it)).ok_or_else(|| unknown(name))?;
        let (resource, rest) = blob(&segments[begin..]).ok_or_else(|| unknown(name))??;
        if rest.is_empty() { Ok(resource) } else { Err(unknown(name)) }
    }
}

impl UploadResource {
    /// Parses the name of an upload. What follows the size is for the client alone.
    pub(crate) fn parse(name: &str) -> Result<Self, Status> {
        let segments: Vec<_> = name.split('/').filter(|it| !it.is_empty()).collect();
        let begin = segments.iter().position(|it| *it == "uploads").ok_or_else(|| unknown(name))?;
        let session = segments.get(begin + 1).ok_or_else(|| unknown(name))?;
        let (resource, _) = blob(&segments[begin + 2..]).ok_or_else(|| unknown(name))??;
        Ok(Self { session: (*session).to_owned(), resource })
    }
}

fn is_kind(segment: &str) -> bool {
    segment == "blobs" || segment == "compressed-blobs"
}

/// Returns the blob that the segments begin with, and the others; `None` if they do not begin with one.
fn blob<'a, 'b>(segments: &'a [&'b str]) -> Option<Result<(Resource, &'a [&'b str]), Status>> {
    let (wire, rest) = match segments {
        ["blobs", rest @ ..] | ["compressed-blobs", "identity", rest @ ..] => {
            (Wire::Identity, rest)
        }
        ["compressed-blobs", "zstd", rest @ ..] => (Wire::Zstd, rest),
        ["compressed-blobs", other, ..] => {
            let why = format!("the compressor `{other}` is not served here; zstd is");
            return Some(Err(Status::invalid_argument(why)));
        }
        _ => return None,
    };
    let named = rest.first().and_then(|it| it.parse::<DigestFunction>().ok());
    let functions = named.map_or(0, function_number);
    let rest = if named.is_some() { &rest[1..] } else { rest };
    let [hash, size, rest @ ..] = rest else { return None };
    let size = size.parse().ok().filter(|it: &i64| *it >= 0)?;
    let blob = asked::functions(functions).and_then(|it| Asked::new(it, hash, size));
    Some(blob.map(|blob| (Resource { blob, wire }, rest)))
}

fn unknown(name: &str) -> Status {
    /// Enough to see what it was.
    const SHOWN_CHARACTERS: usize = 200;
    let shown: String = name.chars().take(SHOWN_CHARACTERS).collect();
    Status::invalid_argument(format!("`{shown}` is no name of a blob or upload"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn digests(blob: Asked) -> Vec<String> {
        blob.candidates().map(|it| format!("{it:?}")).collect()
    }

    #[test]
    fn what_clients_send_is_understood() {
        for (name, wire, functions) in [
            (format!("blobs/{HASH}/5"), Wire::Identity, 2),
            (format!("/blobs/{HASH}/5"), Wire::Identity, 2),
            (format!("a/b/c/blobs/{HASH}/5"), Wire::Identity, 2),
            (format!("main/blobs/blake3/{HASH}/5"), Wire::Identity, 1),
            (format!("main/blobs/sha256/{HASH}/5"), Wire::Identity, 1),
            (format!("compressed-blobs/zstd/{HASH}/5"), Wire::Zstd, 2),
            (format!("compressed-blobs/zstd/blake3/{HASH}/5"), Wire::Zstd, 1),
            (format!("compressed-blobs/identity/{HASH}/5"), Wire::Identity, 2),
        ] {
            let resource = Resource::parse(&name).unwrap();
            assert_eq!((resource.wire, digests(resource.blob).len()), (wire, functions), "{name}");
            assert_eq!(resource.blob.size(), 5);
            let upload = name.replacen("blobs", "uploads/some-session/blobs", 1);
            let upload =
                upload.replace("compressed-uploads/some-session/", "uploads/s/compressed-");
            for tail in ["", "/file.txt", "/blobs/more"] {
                let upload = UploadResource::parse(&format!("{upload}{tail}")).unwrap();
                assert_eq!(upload.resource.wire, wire);
            }
        }
    }

    #[test]
    fn what_is_no_resource_is_refused() {
        for name in [
            String::new(),
            "blobs".to_owned(),
            format!("blobs/{HASH}"),
            format!("blobs/{HASH}/-1"),
            format!("blobs/{HASH}/x"),
            format!("blobs/{HASH}/99999999999999999999"),
            format!("blobs/{HASH}/5/more"),
            format!("blobs/{}/5", &HASH[1..]),
            format!("blobs/{}/5", HASH.to_uppercase()),
            format!("blobs/{}/0", HASH.replace('e', "f")),
            format!("compressed-blobs/brotli/{HASH}/5"),
            format!("compressed-blobs/{HASH}/5"),
        ] {
            assert_eq!(Resource::parse(&name).unwrap_err().code(), tonic::Code::InvalidArgument);
            let upload = format!("uploads/x/{name}");
            if !name.ends_with("more") {
                UploadResource::parse(&upload).unwrap_err();
            }
        }
        UploadResource::parse(&format!("blobs/{HASH}/5")).unwrap_err();
        UploadResource::parse(&format!("uploads/blobs/{HASH}/5")).unwrap_err();
    }
}
