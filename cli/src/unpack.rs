//! Unpacking in a process of its own: archives come from outside, so their bytes are parsed
//! where there is no network, little memory and little time.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use fetch::{FetchError, InProcess, UnpackRequest, Unpacker};
use model::{Digest, DigestFunction, TreeDigest};
use store::LocalStore;

/// The word that makes `bld` an unpacking process.
const ARGUMENT: &str = "__unpack";

/// How much memory unpacking may take, in bytes: the largest windows of xz and zstd, and a tree of a million names.
const MEMORY_BYTES_MAX: u64 = 4 << 30;

/// How long it may compute, in seconds: the largest packages there are take one minute.
const CPU_SECONDS_MAX: u64 = 900;

/// Unpacks in a process of its own.
pub(crate) struct Confined(pub(crate) Arc<LocalStore>);

impl Unpacker for Confined {
    fn unpack(&self, request: &UnpackRequest, archive: File) -> Result<TreeDigest, FetchError> {
        let failed = |source| FetchError::Read { name: request.name.clone(), source };
        let message = serde_json::to_string(request).expect("a request has only texts");
        let function = self.0.function();
        let mut child = Command::new("/proc/self/exe")
            .args([ARGUMENT, function.name()])
            .arg(self.0.root())
            .arg(message)
            .env_clear()
            .stdin(archive)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let stdout = child.stdout.take().expect("it is piped");
        let mut answer = String::new();
        let mut reader = BufReader::new(stdout);
        reader.read_line(&mut answer).map_err(failed)?;
        let answer = parse_answer(function, answer.trim_end());
        if let Ok(tree) = &answer {
            // Pinned by this process before the other one, which pins it too, ends.
            self.0.pin_tree(*tree)?;
        }
        drop(reader);
        let status = child.wait().map_err(failed)?;
        answer.map_err(|said| {
            // The other process says of what it speaks, too.
            let reason = said.strip_prefix(&format!("cannot unpack `{}`: ", request.name));
            let reason = reason.unwrap_or(&said).to_owned();
            let reason = if reason.is_empty() { format!("it ended with {status}") } else { reason };
            FetchError::Unpacker { name: request.name.clone(), reason }
        })
    }
}

fn parse_answer(function: DigestFunction, answer: &str) -> Result<TreeDigest, String> {
    match answer.split_once(' ') {
        Some(("tree", digest)) => {
            Digest::parse(function, digest).map(TreeDigest).map_err(|error| error.to_string())
        }
        Some(("error", said)) => Err(said.to_owned()),
        _ => Err(answer.to_owned()),
    }
}

/// Becomes an unpacking process if this process was started as one, and then never returns.
pub(crate) fn run_if_asked() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().is_none_or(|first| first != ARGUMENT) {
        return;
    }
    let arguments: Vec<String> = arguments.collect();
    let answer = match unpack(&arguments) {
        Ok(tree) => format!("tree {tree}\n"),
        Err(said) => format!("error {}\n", said.replace('\n', " ")),
    };
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(answer.as_bytes()).and_then(|()| stdout.flush());
    // The other side closes the pipe once it has pinned what was unpacked.
    executor::sandbox::wait_until_closed(&stdout);
    std::process::exit(0);
}

fn unpack(arguments: &[String]) -> Result<TreeDigest, String> {
    let [function, root, request] = arguments else {
        return Err("called with the wrong arguments".to_owned());
    };
    executor::sandbox::confine(MEMORY_BYTES_MAX, CPU_SECONDS_MAX)
        .map_err(|error| format!("cannot confine the process that unpacks: {error}"))?;
    let function: DigestFunction = function.parse().map_err(|error| format!("{error}"))?;
    let request: UnpackRequest =
        serde_json::from_str(request).map_err(|error| error.to_string())?;
    let store = LocalStore::open(Path::new(root), function).map_err(|error| said(&error))?;
    let stdin = std::os::fd::AsFd::as_fd(&std::io::stdin())
        .try_clone_to_owned()
        .map_err(|error| error.to_string())?;
    InProcess(&store).unpack(&request, File::from(stdin)).map_err(|error| said(&error))
}

fn said(error: &dyn std::error::Error) -> String {
    crate::terminal::chain(error).join(": ")
}
