//! Programs that we did not write, as clients. They fail, and are never skipped, where the program is not there.

mod bazel;
mod http;
mod installed;
mod moon;
mod room;

use std::path::Path;
use std::process::Command;

use crate::support::{TestServer, serve_listening, trusted};

/// Runs a program to its end, in a folder, and returns all that it said. It must succeed.
async fn run(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    // Not the folder itself: what lies in a home is no workspace to some.
    let home = folder.join(".home");
    std::fs::create_dir_all(&home).unwrap();
    command.args(arguments).current_dir(folder).env("HOME", home).env("CI", "true");
    let shown = format!("{program} {}", arguments.join(" "));
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let output = output.map_err(|error| format!("{shown}: {error}; is it installed?")).unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{shown}: {}\n{said}", output.status);
    said
}

/// Starts a server and returns it with its address, `127.0.0.1:<port>`.
async fn start() -> (TestServer, String) {
    let server = TestServer::start().await;
    let address = serve_listening(server.store.clone(), trusted()).await;
    (server, address.to_string())
}
