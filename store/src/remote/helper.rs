//! Credential helpers: programs that know secrets, and tell those who ask as Bazel asks.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue};

use super::RemoteError;

/// How long a helper may take: it may have to ask somebody else over the network.
const TIME_MAX: Duration = Duration::from_secs(10);

/// How much a helper may say, in bytes: tokens have a few thousand.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// What is sent with every call.
pub(super) type Headers = Vec<(AsciiMetadataKey, AsciiMetadataValue)>;

/// Asks a helper for what is to be sent to `uri`. It is killed unless it ends in time.
pub(super) async fn ask(program: &str, uri: &str) -> Result<Headers, RemoteError> {
    let failed = |why: String| RemoteError::Helper { program: program.to_owned(), why };
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // It may say there what nobody is to see.
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("cannot be started: {error}")))?;
    let question = format!("{{\"uri\":{}}}", quoted(uri));
    let late = |_elapsed| failed(format!("did not end within {} seconds", TIME_MAX.as_secs()));
    let spoken = tokio::time::timeout(TIME_MAX, converse(&mut child, question)).await;
    let (answer, status) =
        spoken.map_err(late)?.map_err(|error| failed(format!("cannot be heard: {error}")))?;
    if !status.success() {
        return Err(failed(format!("failed ({status}); see what it says to `{program} get`")));
    }
    parse(&answer).ok_or_else(|| failed("gave an answer that is none".to_owned()))
}

/// Returns what the child says to that, and how it ends.
async fn converse(child: &mut Child, question: String) -> io::Result<(Vec<u8>, ExitStatus)> {
    let mut stdin = child.stdin.take().expect("it is a pipe");
    let stdout = child.stdout.take().expect("it is a pipe");
    let ask = async move {
        // One that does not listen may answer all the same.
        let _ = stdin.write_all(question.as_bytes()).await;
    };
    let listen = async move {
        let mut answer = Vec::new();
        stdout.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let ((), answer) = tokio::join!(ask, listen);
    let status = child.wait().await?;
    Ok((answer?, status))
}

/// Returns the headers in `{"headers": {"<name>": ["<value>"]}}`.
fn parse(answer: &[u8]) -> Option<Headers> {
    let answer: serde_json::Value = serde_json::from_slice(answer).ok()?;
    let mut headers = Headers::new();
    for (name, values) in answer.get("headers")?.as_object()? {
        let name: AsciiMetadataKey = name.to_ascii_lowercase().parse().ok()?;
        for value in values.as_array()? {
            let mut value: AsciiMetadataValue = value.as_str()?.parse().ok()?;
            value.set_sensitive(true);
            headers.push((name.clone(), value));
        }
    }
    Some(headers)
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use proptest::prelude::*;

    use super::*;

    fn helper(script: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("helper");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        (folder, path.display().to_string())
    }

    #[tokio::test]
    async fn a_helper_is_asked_as_bazel_asks_and_its_headers_are_sent() {
        let script = r#"test "$1" = get || exit 1
read -r question
test "$question" = '{"uri":"https://cache.example/"}' || exit 2
echo '{"headers": {"Authorization": ["Bearer t0ken"], "X-More": ["a", "b"]}, "expires": "2030-01-01T00:00:00Z"}'"#;
        let (_folder, program) = helper(script);
        // The question has no line break, which `read` tells by its status only.
        let headers = ask(&program, "https://cache.example/").await.unwrap();
        let texts: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value)).collect();
        assert_eq!(texts.len(), 3);
        assert_eq!((texts[0].0, texts[0].1.to_str().unwrap()), ("authorization", "Bearer t0ken"));
        assert!(headers.iter().all(|(_, value)| value.is_sensitive()), "never shown");
    }

    #[tokio::test]
    async fn a_helper_that_fails_or_says_something_else_is_named_but_not_repeated() {
        for script in
            ["exit 3", "echo s3cret >&2; exit 1", "echo s3cret", "echo '{\"headers\":[]}'", ""]
        {
            let (_folder, program) = helper(script);
            let error = ask(&program, "https://cache.example/").await.unwrap_err().to_string();
            assert!(error.contains(&program) && !error.contains("s3cret"), "{error}");
        }
        ask("/no/such/helper", "https://cache.example/").await.unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn a_helper_that_does_not_end_is_not_waited_for_for_ever() {
        // With its answer it closes what it was to be said on, and stays.
        let (_folder, program) = helper("echo '{\"headers\": {}}'; exec sleep 1000 >&-");
        let error = ask(&program, "https://cache.example/").await.unwrap_err().to_string();
        assert!(error.contains("did not end within 10 seconds"), "{error}");
    }

    proptest! {
        #[test]
        fn whatever_a_helper_says_is_headers_or_no_answer(
            noise in prop::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            drop(parse(&noise));
            let mut answer = br#"{"headers": {"authorization": ["Bearer t"], "x": ["a", "b"]}}"#.to_vec();
            let at = at.index(answer.len());
            answer[at] = byte;
            for (_, value) in parse(&answer).into_iter().flatten() {
                prop_assert!(value.is_sensitive());
            }
        }
    }

    #[test]
    fn what_no_header_can_carry_is_no_answer() {
        for answer in [
            r#"{"headers": {"a b": ["x"]}}"#,
            r#"{"headers": {"a": ["x\n"]}}"#,
            r#"{"headers": {"a": "x"}}"#,
            "{}",
        ] {
            assert!(parse(answer.as_bytes()).is_none(), "{answer}");
        }
    }
}
