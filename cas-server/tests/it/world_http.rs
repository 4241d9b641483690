//! Programs that we did not write, with this server as their cache.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;

use crate::http::HttpServer;

/// How long a program may take: several times what the slowest takes here.
const TIMEOUT: Duration = Duration::from_secs(240);

/// A folder in which a program works, with nothing of this machine's user around it.
struct Room {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

impl Room {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home").to_str().unwrap().to_owned();
        let path = std::env::var("PATH").unwrap();
        let variables = vec![("HOME".to_owned(), home), ("PATH".to_owned(), path)];
        Self { folder, variables }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.push((name.to_owned(), value.into()));
    }

    /// Runs a program here and returns all that it said. Its failure is the test's.
    async fn run(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> String {
        let mut command = Command::new(program.as_ref());
        command.args(arguments).current_dir(self.path()).env_clear();
        command.envs(self.variables.iter().cloned()).stdin(Stdio::null()).kill_on_drop(true);
        let done = tokio::time::timeout(TIMEOUT, command.output()).await.unwrap();
        let missing = |error| format!("{:?}: {error}; .ci/run installs it", program.as_ref());
        let Output { status, stdout, stderr } = done.map_err(missing).unwrap();
        let said = [stdout, stderr].map(|it| String::from_utf8_lossy(&it).into_owned()).concat();
        assert!(status.success(), "{:?} {arguments:?}: {status}\n{said}", program.as_ref());
        said
    }
}

/// Where `.ci/run` puts programs that come from npm.
const NPM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/clients/npm/node_modules/.bin");

/// Where it puts those that come from Python's index.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/clients/python/bin");

const SOURCE: &str = "int answer(void) { return 42; }\n";

#[tokio::test(flavor = "multi_thread")]
async fn ccache_finds_its_results_here_in_each_of_its_layouts() {
    let server = HttpServer::start().await;
    let newer = format!("{PYTHON}/ccache");
    for program in ["ccache", &newer] {
        for layout in ["subdirs", "flat", "bazel"] {
            ccache_finds_its_results(program, server.address, "/ccache", layout).await;
        }
        // Where Bazel's cache is, too.
        ccache_finds_its_results(program, server.address, "", "bazel").await;
    }
}

/// Compiles twice, the second time without anything kept on this machine.
async fn ccache_finds_its_results(program: &str, address: SocketAddr, at: &str, layout: &str) {
    let storage = format!("{at}|layout={layout}");
    let mut room = Room::new();
    // Another source for each: they see one another's results.
    room.write("a.c", &format!("/* {program} {storage} */ {SOURCE}"));
    room.set("CCACHE_REMOTE_STORAGE", format!("http://{address}{storage}"));
    room.set("CCACHE_CONFIGPATH", "/dev/null");
    for (local, counted) in [("first", "remote_storage_miss"), ("second", "remote_storage_hit")] {
        room.set("CCACHE_DIR", room.path().join(local).to_str().unwrap());
        room.run(program, &["gcc", "-c", "a.c", "-o", "a.o"]).await;
        let counters = room.run(program, &["--print-stats"]).await;
        let is_counted = counters.lines().any(|it| it == format!("{counted}\t1"));
        assert!(is_counted, "{storage} {counted}\n{counters}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bazel_finds_everything_here_that_it_built_before() {
    let server = HttpServer::start().await;
    let room = Room::new();
    room.write("WORKSPACE", "");
    let rule = |name: &str, source: &str| {
        let command = format!("(cat $<; echo {name}) > $@");
        format!("genrule(name='{name}', srcs=['{source}'], outs=['{name}.txt'], cmd='{command}')\n")
    };
    let rules = [rule("a", "in.txt"), rule("b", "a.txt"), rule("c", "b.txt")];
    room.write("BUILD", &rules.concat());
    room.write("in.txt", "in\n");
    let root = format!("--output_user_root={}", room.path().join("root").display());
    let cache = format!("--remote_cache=http://{}/some/project", server.address);
    let bazel = ["--bazelrc=/dev/null", &root, "--max_idle_secs=20"];
    let build = [&bazel[..], &["build", "--color=no", &cache, "//:c"]].concat();

    let first = room.run("bazel", &build).await;
    assert!(!first.contains("remote cache hit"), "{first}");
    room.run("bazel", &[&bazel[..], &["clean"]].concat()).await;
    let second = room.run("bazel", &build).await;
    assert!(second.contains("3 remote cache hit"), "{second}");
    let made = std::fs::read_to_string(room.path().join("bazel-bin/c.txt")).unwrap();
    assert_eq!(made, "in\na\nb\nc\n");
    room.run("bazel", &[&bazel[..], &["shutdown"]].concat()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sccache_finds_its_results_here() {
    let server = HttpServer::start().await;
    let mut room = Room::new();
    room.write("a.c", SOURCE);
    let sccache = format!("{PYTHON}/sccache");
    room.set("SCCACHE_WEBDAV_ENDPOINT", format!("http://{}/sccache", server.address));
    room.set("SCCACHE_SERVER_PORT", free_port().to_string());
    for counted in ["cache_misses", "cache_hits"] {
        // It would fall back to a folder, which has to be another one each time.
        room.set("SCCACHE_DIR", room.path().join(counted).to_str().unwrap());
        room.run(&sccache, &["--start-server"]).await;
        room.run(&sccache, &["gcc", "-c", "a.c", "-o", "a.o"]).await;
        let counters = room.run(&sccache, &["--show-stats", "--stats-format=json"]).await;
        room.run(&sccache, &["--stop-server"]).await;
        let counters: serde_json::Value = serde_json::from_str(counters.trim()).unwrap();
        assert_eq!(counters["stats"][counted]["counts"]["C/C++"], 1, "{counters:#}");
        assert!(counters["cache_location"].as_str().unwrap().contains("webdav"), "{counters:#}");
    }
}

/// Returns a port that nobody listens on: sccache's own server takes no other word for one.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn turbo_finds_its_artifacts_here() {
    let server = HttpServer::start().await;
    let mut room = Room::new();
    let package = r#"{"name":"all","packageManager":"npm@10.0.0","workspaces":["one"]}"#;
    room.write("package.json", package);
    room.write("package-lock.json", r#"{"name":"all","lockfileVersion":3,"packages":{}}"#);
    room.write("turbo.json", r#"{"tasks":{"build":{"outputs":["out/**"]}}}"#);
    let script = r#"{"name":"one","scripts":{"build":"mkdir -p out && date +%s%N > out/made"}}"#;
    room.write("one/package.json", script);
    for (name, value) in [
        ("TURBO_API", format!("http://{}", server.address)),
        ("TURBO_TOKEN", "token".to_owned()),
        ("TURBO_TEAM", "team".to_owned()),
        ("TURBO_TELEMETRY_DISABLED", "1".to_owned()),
    ] {
        room.set(name, value);
    }
    room.write(".gitignore", "out\n.turbo\n");
    room.run("git", &["init", "-q"]).await;
    let build = ["run", "build", "--cache=remote:rw"];
    let first = room.run(format!("{NPM}/turbo"), &build).await;
    let made = std::fs::read(room.path().join("one/out/made")).unwrap();
    assert!(first.contains("cache miss"), "{first}");
    std::fs::remove_dir_all(room.path().join("one/out")).unwrap();
    let second = room.run(format!("{NPM}/turbo"), &build).await;
    assert!(second.contains("cache hit"), "{second}");
    assert_eq!(std::fs::read(room.path().join("one/out/made")).unwrap(), made);
}

#[tokio::test(flavor = "multi_thread")]
async fn nx_finds_its_results_here() {
    let server = HttpServer::start().await;
    let mut room = Room::new();
    room.write("package.json", r#"{"name":"all","private":true}"#);
    room.write("nx.json", r#"{"analytics":false,"neverConnectToCloud":true}"#);
    room.write(
        "one/project.json",
        r#"{"name":"one","targets":{"build":{"command":"mkdir -p one/out && date +%s%N > one/out/made",
            "cache":true,"outputs":["{projectRoot}/out"]}}}"#,
    );
    std::os::unix::fs::symlink(format!("{NPM}/.."), room.path().join("node_modules")).unwrap();
    for (name, value) in [
        ("NX_SELF_HOSTED_REMOTE_CACHE_SERVER", format!("http://{}", server.address)),
        ("NX_SELF_HOSTED_REMOTE_CACHE_ACCESS_TOKEN", "token".to_owned()),
        ("NX_DAEMON", "false".to_owned()),
        ("NX_NO_CLOUD", "true".to_owned()),
    ] {
        room.set(name, value);
    }
    room.run(format!("{NPM}/nx"), &["run", "one:build"]).await;
    let made = std::fs::read(room.path().join("one/out/made")).unwrap();
    std::fs::remove_dir_all(room.path().join("one/out")).unwrap();
    std::fs::remove_dir_all(room.path().join(".nx")).unwrap();
    let second = room.run(format!("{NPM}/nx"), &["run", "one:build"]).await;
    assert!(second.contains("remote cache"), "{second}");
    assert_eq!(std::fs::read(room.path().join("one/out/made")).unwrap(), made);
}

#[tokio::test(flavor = "multi_thread")]
async fn moon_finds_its_outputs_here() {
    let server = HttpServer::start().await;
    let room = Room::new();
    let workspace = format!(
        "projects: ['one']\ntelemetry: false\nremote:\n  api: 'http'\n  host: 'http://{}'\n",
        server.address
    );
    room.write(".moon/workspace.yml", &workspace);
    room.write(
        "one/moon.yml",
        "tasks:\n  build:\n    script: 'date +%s%N > out.txt'\n    inputs: ['in.txt']\n    outputs: ['out.txt']\n",
    );
    room.write("one/in.txt", "in");
    room.run("git", &["init", "-q"]).await;
    let author = ["-c", "user.name=somebody", "-c", "user.email=somebody@localhost"];
    let commit = ["commit", "-q", "--allow-empty", "-m", "begin"];
    room.run("git", &[&author[..], &commit].concat()).await;
    let moon = format!("{NPM}/moon");
    let first = room.run(&moon, &["run", "one:build"]).await;
    let made = std::fs::read(room.path().join("one/out.txt")).unwrap();
    std::fs::remove_file(room.path().join("one/out.txt")).unwrap();
    std::fs::remove_dir_all(room.path().join(".moon/cache")).unwrap();
    let second = room.run(&moon, &["run", "one:build"]).await;
    assert!(second.contains("cached from remote"), "{first}\n{second}");
    assert_eq!(std::fs::read(room.path().join("one/out.txt")).unwrap(), made);
}

#[tokio::test(flavor = "multi_thread")]
async fn gradle_finds_its_outputs_here() {
    let server = HttpServer::start().await;
    let mut room = Room::new();
    room.set("GRADLE_USER_HOME", room.path().join("gradle").to_str().unwrap());
    let cache = format!("url = 'http://{}/gradle/'; push = true", server.address);
    room.write(
        "settings.gradle",
        &format!(
            "rootProject.name = 'one'\nbuildCache {{ local {{ enabled = false }}; remote(HttpBuildCache) {{ {cache} }} }}\n"
        ),
    );
    room.write(
        "build.gradle",
        "task made {
            outputs.file 'out/made'
            outputs.cacheIf { true }
            doLast { file('out/made').text = System.nanoTime() }
        }\n",
    );
    let build = ["--no-daemon", "--build-cache", "--info", "made"];
    room.run("gradle", &build).await;
    let made = std::fs::read(room.path().join("out/made")).unwrap();
    std::fs::remove_dir_all(room.path().join("out")).unwrap();
    let second = room.run("gradle", &build).await;
    assert!(second.contains("FROM-CACHE"), "{second}");
    assert_eq!(std::fs::read(room.path().join("out/made")).unwrap(), made);
}
