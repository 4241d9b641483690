//! Credential helpers: programs that know secrets, and tell those who ask as Bazel asks.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue};

use super::RemoteError;

/// How long a helper may take: it may have to ask somebody else over the network.
const TIME_MAX: Duration = Duration::from_secs(10);

/// How much a helper may say, in bytes: tokens have a few thousand.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// What is sent with every call.
pub(super) type Headers = Vec<(AsciiMetadataKey, AsciiMetadataValue)>;

/// Asks a helper for what is to be sent to `uri`. Blocks until it has answered.
pub(super) fn ask(program: &str, uri: &str) -> Result<Headers, RemoteError> {
    let failed = |why: String| RemoteError::Helper { program: program.to_owned(), why };
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // It may say there what nobody is to see.
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(format!("cannot be started: {error}")))?;
    let question = format!("{{\"uri\":{}}}", quoted(uri));
    let answer = converse(&mut child, question).ok_or_else(|| {
        let _ = child.kill();
        failed(format!("did not answer within {} seconds", TIME_MAX.as_secs()))
    });
    let status = child.wait().map_err(|error| failed(format!("cannot be waited for: {error}")))?;
    let answer = answer?;
    if !status.success() {
        return Err(failed(format!("failed ({status}); see what it says to `{program} get`")));
    }
    parse(&answer).ok_or_else(|| failed("gave an answer that is none".to_owned()))
}

/// Returns what the child says to that; `None` if it takes too long.
fn converse(child: &mut Child, question: String) -> Option<Vec<u8>> {
    let (mut stdin, stdout) = (child.stdin.take()?, child.stdout.take()?);
    let (sender, receiver) = mpsc::channel();
    // It ends with the child, at the latest.
    std::thread::spawn(move || {
        // One that does not listen may answer all the same.
        let _ = stdin.write_all(question.as_bytes());
        drop(stdin);
        let mut answer = Vec::new();
        let read = stdout.take(ANSWER_BYTES_MAX).read_to_end(&mut answer);
        let _ = sender.send(read.map(|_| answer).unwrap_or_default());
    });
    receiver.recv_timeout(TIME_MAX).ok()
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

    use super::*;

    fn helper(script: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("helper");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        (folder, path.display().to_string())
    }

    #[test]
    fn a_helper_is_asked_as_bazel_asks_and_its_headers_are_sent() {
        let script = r#"test "$1" = get || exit 1
read -r question
test "$question" = '{"uri":"https://cache.example/"}' || exit 2
echo '{"headers": {"Authorization": ["Bearer t0ken"], "X-More": ["a", "b"]}, "expires": "2030-01-01T00:00:00Z"}'"#;
        let (_folder, program) = helper(script);
        // The question has no line break, which `read` tells by its status only.
        let headers = ask(&program, "https://cache.example/").unwrap();
        let texts: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value)).collect();
        assert_eq!(texts.len(), 3);
        assert_eq!((texts[0].0, texts[0].1.to_str().unwrap()), ("authorization", "Bearer t0ken"));
        assert!(headers.iter().all(|(_, value)| value.is_sensitive()), "never shown");
    }

    #[test]
    fn a_helper_that_fails_or_says_something_else_is_named_but_not_repeated() {
        for script in
            ["exit 3", "echo s3cret >&2; exit 1", "echo s3cret", "echo '{\"headers\":[]}'", ""]
        {
            let (_folder, program) = helper(script);
            let error = ask(&program, "https://cache.example/").unwrap_err().to_string();
            assert!(error.contains(&program) && !error.contains("s3cret"), "{error}");
        }
        ask("/no/such/helper", "https://cache.example/").unwrap_err();
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
