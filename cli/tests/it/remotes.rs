//! Results that machines share: `bld` against a server, with what goes wrong between them.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use cas_server::metrics::Metrics;
use cas_server::observe::Observer;
use cas_server::{Caller, Door, Drain, Front, Limits, Operation, Origins, Rights};
use serde_json::Value;
use store::Namespace;
use testkit::MemoryStore;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::machine::{Machine, Ran, summary};
use crate::pty::Terminal;
use crate::served::Served;

/// What two machines know that know the same: one source, a file made of it, and one made of that.
const CHAIN: &str = r#"
load("@rules//files.bzl", "genrule")
genrule(name = "one", srcs = ["one.txt"], cmd = "cat /src/one.txt > out/one", outs = ["one"], root = "//hello:shell")
genrule(name = "two", srcs = [":one"], cmd = "cat /src/one > out/two; echo two >> out/two", outs = ["two"], root = "//hello:shell")
"#;

/// A server that ends with the test.
struct Server {
    address: SocketAddr,
    /// What it was asked: the last parts of paths.
    asked: Arc<Mutex<Vec<String>>>,
    /// Ends the server when it is dropped.
    _runtime: Runtime,
}

/// Who may ask: whoever sends this header, if any is named.
#[derive(Clone, Default)]
struct Guard {
    authorization: Option<&'static str>,
    /// What is asked with these methods waits until there are permits: one lets a call pass.
    held: Option<(&'static [&'static str], Arc<Semaphore>)>,
}

impl Server {
    fn start() -> Self {
        Self::start_for(Rights::ALL, Namespace::Trusted, &MemoryStore::new(), Guard::default())
    }

    fn start_for(rights: Rights, namespace: Namespace, store: &MemoryStore, guard: Guard) -> Self {
        let runtime = Runtime::new().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = Arc::clone(&asked);
        let reads = namespace.reads().into();
        let caller = Arc::new(Caller { name: "somebody".into(), rights, namespace, reads });
        let identify = middleware::from_fn(move |mut request: Request, next: Next| {
            request.extensions_mut().insert(Arc::clone(&caller));
            let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
            let held = guard.held.clone().filter(|(methods, _)| methods.contains(&method.as_str()));
            heard.lock().unwrap().push(method);
            let sent = request.headers().get("authorization").and_then(|it| it.to_str().ok());
            let is_known = guard.authorization.is_none_or(|known| sent == Some(known));
            async move {
                if let Some((_, gate)) = held {
                    gate.acquire().await.unwrap().forget();
                }
                if is_known { next.run(request).await } else { unauthenticated() }
            }
        });
        let cellar = Arc::new(store.clone());
        let observer = Observer::new(Arc::new(Metrics::new()));
        let operation = Operation::new(Arc::clone(&cellar) as _, observer, Drain::new());
        let front = Front::new(cellar, Limits::default());
        let address = runtime.block_on(async move {
            let origins = Origins::new(Vec::new());
            let router = cas_server::router(front, origins, operation, identify).await;
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let connections = Limits::default().connections;
            let door = Door::new(router, connections, Drain::new(), Arc::new(Metrics::new()));
            tokio::spawn(async move { door.serve_tcp(listener).await });
            address
        });
        Self { address, asked, _runtime: runtime }
    }

    fn url(&self) -> String {
        format!("grpc://{}", self.address)
    }

    fn forget_questions(&self) {
        self.asked.lock().unwrap().clear();
    }

    fn was_asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Returns an address where nobody listens, and nobody can begin to as long as what is returned is there.
fn nobody() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("grpc://{}", socket.local_addr().unwrap());
    (socket, url)
}

fn unauthenticated() -> Response {
    [("content-type", "application/grpc"), ("grpc-status", "16")].into_response()
}

/// Returns a machine with that workspace and an empty store.
fn machine() -> Machine {
    let machine = Machine::hello();
    machine.write("t/BUILD.bld", CHAIN);
    machine.write("t/one.txt", "one\n");
    machine
}

/// Returns one that can download nothing from anywhere but a remote.
fn cut_off() -> Machine {
    let machine = machine();
    machine.use_mirror(std::path::Path::new("/nowhere"));
    machine
}

fn build(machine: &Machine, server: &Server, more: &[&str]) -> Ran {
    let url = server.url();
    let arguments = [&["build", "//t:all", "--remote", &url][..], more].concat();
    machine.run(&arguments)
}

fn json(machine: &Machine, server: &Server) -> Value {
    build(machine, server, &["--json"]).expect(0).json()
}

#[test]
fn what_one_machine_made_the_next_only_takes() {
    let server = Server::start();
    let first = machine();
    let built = build(&first, &server, &[]).expect(0);
    built.tells(&["3 actions ran", "uploaded 3 results"]);

    let second = cut_off();
    let answer = json(&second, &server);
    assert_eq!(summary(&answer, "misses"), 0);
    assert_eq!(summary(&answer, "hits"), summary(&answer, "remote_hits"));
    assert!(summary(&answer, "downloaded_bytes") < 2_000, "only the two files, and listings");
    assert_eq!(second.outputs(), first.outputs());

    // All that is known now, and nobody is asked any more.
    server.forget_questions();
    build(&second, &server, &[]).expect(0).tells(&["nothing to do"]);
    assert_eq!(server.was_asked(), [""; 0]);
    second.run(&["build", "//t:one"]).expect(0).tells(&["nothing to do"]);
}

#[test]
fn what_has_to_run_takes_its_inputs_from_the_remote() {
    let server = Server::start();
    build(&machine(), &server, &[]).expect(0);
    let second = cut_off();
    second.write("t/one.txt", "another\n");
    build(&second, &server, &[]).expect(0).tells(&["2 actions ran", "1 cached (1 from the remote"]);
    assert_eq!(second.read("bld-out/t/two"), "another\ntwo\n");
}

#[test]
fn what_was_locked_and_used_once_stays_buildable_without_any_mirror() {
    let server = Server::start();
    build(&machine(), &server, &[]).expect(0);
    let second = cut_off();
    // Another root, of the same package: it has to be composed anew, and then run in.
    let other = second
        .read("hello/BUILD.bld")
        .replace("links = {", "links = {\"usr/bin/again\": \"busybox\", ");
    second.write("hello/BUILD.bld", &other);
    build(&second, &server, &[]).expect(0).tells(&["3 actions ran", "uploaded 3 results"]);
    assert_eq!(second.read("bld-out/t/two"), "one\ntwo\n");
}

#[test]
fn a_clean_checkout_says_what_changed() {
    let server = Server::start();
    build(&machine(), &server, &[]).expect(0);
    let clean = cut_off();
    clean.write("t/one.txt", "another\n");
    let built = build(&clean, &server, &["--explain"]).expect(0);
    built.tells(&["//t:one ran because t/one.txt changed", "the output of //t:one changed"]);
    clean.run(&["why", "//t:one"]).expect(0).tells(&["ran in build 1 because t/one.txt changed"]);
}

#[test]
fn a_remote_that_is_not_there_is_warned_of_and_done_without() {
    let (_socket, url) = nobody();
    let machine = machine();
    let built = machine.run(&["build", "//t:all", "--remote", &url]).expect(0);
    built.tells(&["warning:", &url, "everything is made here", "3 actions ran"]);
}

#[test]
fn a_remote_that_does_not_know_who_asks_is_done_without_and_no_token_is_shown() {
    let guard = Guard { authorization: Some("Bearer right"), ..Guard::default() };
    let store = MemoryStore::new();
    let server = Server::start_for(Rights::ALL, Namespace::Trusted, &store, guard);
    let machine = machine();
    let url = server.url();
    let run = |token: &str| {
        let mut command = machine.command(&["build", "//t:all", "--remote", &url]);
        Ran::of(command.env("BLD_REMOTE_TOKEN", token)).expect(0)
    };
    let built = run("wr0ng").tells(&["warning:", "does not know who asks"]);
    assert!(!built.stderr.contains("wr0ng"));
    machine.write("t/one.txt", "another\n");
    run("right").tells(&["2 actions ran", "uploaded 2 results"]);
}

#[test]
fn the_workspace_says_where_results_are_shared_and_its_secrets_are_for_nobody_else() {
    let guard = Guard { authorization: Some("Bearer t0ken"), ..Guard::default() };
    let store = MemoryStore::new();
    let server = Server::start_for(Rights::ALL, Namespace::Trusted, &store, guard);
    let machine = machine();
    let remote = format!(
        "\n[remote]\nurl = \"{}\"\ninstance = \"project\"\ntoken_file = \"token\"\n",
        server.url()
    );
    machine.write("bld.toml", &format!("{}{remote}", machine.read("bld.toml")));
    machine.write("token", "t0ken\n");
    machine.run(&["build", "//t:one"]).expect(0).tells(&["uploaded 2 results"]);

    // Somebody else who listens is not told.
    let other = Server::start_for(
        Rights::ALL,
        Namespace::Trusted,
        &MemoryStore::new(),
        Guard { authorization: Some("Bearer t0ken"), ..Guard::default() },
    );
    let built = machine.run(&["build", "//t:all", "--remote", &other.url()]).expect(0);
    built.tells(&["does not know who asks"]);

    server.forget_questions();
    machine.write("t/one.txt", "another\n");
    for arguments in
        [&["build", "//t:all", "--remote", "none"][..], &["build", "//t:one", "--offline"]]
    {
        machine.run(arguments).expect(0);
    }
    assert_eq!(server.was_asked(), [""; 0]);
}

#[test]
fn what_belongs_to_a_person_goes_only_where_that_person_says() {
    let guard = Guard { authorization: Some("Bearer t0ken"), ..Guard::default() };
    let store = MemoryStore::new();
    let server = Server::start_for(Rights::ALL, Namespace::Trusted, &store, guard);
    let machine = machine();
    let url = server.url();
    let toml = machine.read("bld.toml");
    let (token, helper) = (machine.root().join("home/token"), machine.root().join("home/helper"));
    std::fs::create_dir_all(machine.root().join("home")).unwrap();
    std::fs::write(&token, "t0ken\n").unwrap();
    let script = "#!/bin/sh\necho '{\"headers\": {\"Authorization\": [\"Bearer t0ken\"]}}'\n";
    std::fs::write(&helper, script).unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink(&token, machine.workspace().join("linked")).unwrap();

    let run = |number: usize, variables: &[(&str, &str)], arguments: &[&str]| {
        machine.write("t/one.txt", &format!("{number}\n"));
        let arguments = [&["build", "//t:one"][..], arguments].concat();
        let mut command = machine.command(&arguments);
        Ran::of(command.envs(variables.iter().copied())).expect(0)
    };
    let secrets = [
        ("", Some(("BLD_REMOTE_TOKEN", "t0ken"))),
        ("token_file = \"~/token\"", None),
        ("token_file = \"linked\"", None),
        (&format!("credential_helper = \"{}\"", helper.display()), None),
    ];
    for (number, (line, variable)) in secrets.into_iter().enumerate() {
        machine.write("bld.toml", &format!("{toml}\n[remote]\nurl = \"{url}\"\n{line}\n"));
        let mut variables: Vec<_> = variable.into_iter().collect();
        let alone = run(3 * number, &variables, &[]);
        alone.tells(&["named by the workspace alone", "does not know who asks"]);
        run(3 * number + 1, &variables, &["--remote", &url]).tells(&["uploaded"]);
        variables.push(("BLD_REMOTE", &url));
        run(3 * number + 2, &variables, &[]).tells(&["uploaded"]);
    }
}

#[test]
fn a_certificate_of_a_person_is_shown_only_where_that_person_says() {
    let machine = machine();
    let toml = machine.read("bld.toml");
    machine.run(&["server", "ca", "init"]).expect(0);
    let issue = |words: &[&str]| {
        machine.run(&[&["server", "ca", "issue"], words].concat()).expect(0);
    };
    issue(&["cache", "--role", "server", "--ip", "127.0.0.1"]);
    let client = ["--role", "client", "--rights", "read,write-blobs,write-values,administer"];
    let home = machine.root().join("home");
    issue(&[&["me", "--out", home.to_str().unwrap()], &client[..]].concat());
    issue(&[&["ours"], &client[..]].concat());
    std::os::unix::fs::symlink(home.join("me.key"), machine.workspace().join("linked")).unwrap();
    let authority = home.join(".local/share/bld-server/ca/ca.pem");
    let authority = authority.to_str().unwrap();
    let served = Served::start_with(
        &machine,
        &format!(
            "[tls]\ncertificate = \"cache.pem\"\nkey = \"cache.key\"\nclient_authority = \"{authority}\"\n\
             [identity.anonymous]\nrights = []\n"
        ),
    );
    let url = served.address();
    let run = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = machine.command(arguments);
        Ran::of(command.envs(variables.iter().copied()))
    };
    let (certificate, key) = (home.join("me.pem"), home.join("me.key"));
    let mine = [
        ("BLD_REMOTE_CERTIFICATE", certificate.to_str().unwrap()),
        ("BLD_REMOTE_KEY", key.to_str().unwrap()),
    ];
    let identities = [
        (String::new(), &mine[..]),
        ("certificate = \"~/me.pem\"\nkey = \"~/me.key\"".to_owned(), &[]),
        (format!("certificate = \"{}\"\nkey = \"linked\"", certificate.display()), &[]),
        ("certificate = \"ours.pem\"\nkey = \"ours.key\"".to_owned(), &mine[..]),
    ];
    let build = ["build", "//t:one"];
    let stat = ["cache", "stat", "--remote"];
    let write = |number: usize, identity: &str| {
        machine.write("t/one.txt", &format!("{number}\n"));
        let remote = format!("[remote]\nurl = \"{url}\"\nca_file = \"{authority}\"\n{identity}\n");
        machine.write("bld.toml", &format!("{toml}\n{remote}"));
    };
    for (number, (identity, variables)) in identities.iter().enumerate() {
        write(number, identity);
        let alone = run(variables, &build).expect(0);
        alone.tells(&["named by the workspace alone", "does not know who asks"]);
        run(variables, &stat).expect(2).says(&["named by the workspace alone"]);
        run(variables, &[&stat[..], &[url]].concat()).expect(0);
    }
    write(identities.len(), &identities[1].0);
    run(&[], &[&build[..], &["--remote", url]].concat()).expect(0).tells(&["uploaded"]);

    // What a workspace brings along is shown to whom it names.
    write(identities.len() + 1, &identities[3].0);
    let own = run(&[], &build).expect(0).tells(&["uploaded"]);
    assert!(!own.stderr.contains("named by the workspace alone"), "{}", own.stderr);
}

#[test]
fn who_may_only_read_takes_and_gives_nothing() {
    let store = MemoryStore::new();
    let all = Server::start_for(Rights::ALL, Namespace::Trusted, &store, Guard::default());
    build(&machine(), &all, &[]).expect(0);
    let rights = Rights { read: true, ..Rights::default() };
    let stranger = Namespace::PullRequest("17".to_owned());
    let reader = Server::start_for(rights, stranger, &store, Guard::default());
    let second = cut_off();
    second.write("t/one.txt", "another\n");
    let built = build(&second, &reader, &[]).expect(0);
    built.tells(&["may only be read", "2 actions ran", "1 cached (1 from the remote"]);
    let wrote = ["BatchUpdateBlobs", "Write", "UpdateActionResult", "Record"];
    assert!(!reader.was_asked().iter().any(|it| wrote.contains(&it.as_str())));

    let third = cut_off();
    third.write("t/one.txt", "a third\n");
    let quiet = build(&third, &all, &["--no-upload"]).expect(0);
    assert!(!quiet.stderr.contains("may only be read"));
    assert!(!all.was_asked().iter().rev().take(8).any(|it| wrote.contains(&it.as_str())));
}

#[test]
fn what_a_pull_request_took_over_counts_for_no_other_build() {
    let stranger = Namespace::PullRequest("17".to_owned());
    let server = Server::start_for(Rights::ALL, stranger, &MemoryStore::new(), Guard::default());
    build(&machine(), &server, &[]).expect(0);
    let second = machine();
    assert_eq!(summary(&json(&second, &server), "remote_hits"), 3);
    // It has no receipt, and none of the results.
    second.run(&["build", "//t:all"]).expect(0).tells(&["3 actions ran"]);
}

#[test]
fn a_plan_knows_what_others_made_and_fetches_none_of_it() {
    let server = Server::start();
    build(&machine(), &server, &[]).expect(0);
    let second = cut_off();
    let plan = |more: &[&str]| {
        let url = server.url();
        let arguments = [&["plan", "//t:all", "--json", "--remote", &url][..], more].concat();
        second.run(&arguments).expect(0).json()
    };
    server.forget_questions();
    let all_found = plan(&[]);
    let count = |plan: &Value, name: &str| plan["summary"][name].as_u64().unwrap();
    assert_eq!((count(&all_found, "cached"), count(&all_found, "may_run")), (3, 0));
    assert_eq!((count(&all_found, "will_run"), count(&all_found, "downloads")), (0, 0));
    // Listings of directories come in batches.
    let questions = ["GetCapabilities", "GetActionResult", "BatchReadBlobs"];
    let asked = server.was_asked();
    assert!(asked.iter().all(|it| questions.contains(&it.as_str())), "{asked:?}");
    // It is what a build finds, and nothing of it came by being asked for.
    let unshared = second.run(&["plan", "//t:all", "--json"]).expect(0).json();
    assert_eq!(count(&unshared, "cached"), 0);

    second.write("t/one.txt", "another\n");
    let changed = plan(&[]);
    assert_eq!(count(&changed, "will_run"), 1, "{changed:#}");
    assert_eq!((count(&changed, "may_run"), count(&changed, "cached")), (1, 1));
    assert_eq!(count(&plan(&["--offline"]), "cached"), 0);
}

#[test]
fn runners_get_only_what_nobody_made() {
    let server = Server::start();
    let url = server.url();
    let first = Machine::new().with_boxes();
    let some = ["//p:cells{kernel=1}", "//p:cells{kernel=2}"];
    first.run(&["build", some[0], some[1], "--remote", &url]).expect(0);
    let second = Machine::new().with_boxes();
    let shards = |more: &[&str]| {
        let arguments = [&["plan", "--shards", "--per", "1", "--uncached", "//p:cells"], more];
        let shards = second.run(&arguments.concat()).expect(0).json();
        shards["include"].as_array().unwrap().len()
    };
    assert_eq!(shards(&[]), 3);
    assert_eq!(shards(&["--remote", &url]), 1);
    second.write("bld.toml", &format!("[remote]\nurl = \"{url}\"\n"));
    assert_eq!(shards(&[]), 1);
    let (_socket, url) = nobody();
    second.write("bld.toml", &format!("[remote]\nurl = \"{url}\"\n"));
    let gone = second.run(&["plan", "//p:cells"]).expect(0);
    gone.tells(&["warning:", &url, "will run"]);
}

#[test]
fn what_comes_and_goes_is_drawn_while_it_does() {
    let store = MemoryStore::new();
    let serve = |methods| {
        let gate = Arc::new(Semaphore::new(0));
        let guard = Guard { held: Some((methods, Arc::clone(&gate))), ..Guard::default() };
        let server = Server::start_for(Rights::ALL, Namespace::Trusted, &store, guard);
        (server, gate)
    };
    let watch = |server: &Server, gate: &Semaphore, line: &str| {
        let machine = Machine::new().with_boxes();
        let command = machine.command(&["build", "//p:inner", "--remote", &server.url()]);
        let terminal = Terminal::start(&command, 24, 100);
        terminal.wait_until(line, |screen| screen.contains(line));
        gate.add_permits(1_000);
        let (ended, screen, _) = terminal.end();
        assert!(ended.success() && !screen.contains(line), "{screen}");
    };
    let (server, gate) = serve(&["UpdateActionResult"]);
    watch(&server, &gate, "    upload 1 result ");
    let (server, gate) = serve(&["BatchReadBlobs"]);
    watch(&server, &gate, "    download 1 blob");
}

#[test]
fn events_and_records_say_what_came_from_the_remote() {
    let server = Server::start();
    build(&machine(), &server, &[]).expect(0);
    let second = machine();
    build(&second, &server, &["--events", "events"]).expect(0);
    let events = second.read("events");
    let events: Vec<Value> = events.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let cached: Vec<_> = events.iter().filter(|it| it["event"] == "action_cached").collect();
    assert_eq!(cached.len(), 3);
    assert!(cached.iter().all(|it| it["from"] == "remote"), "{cached:?}");
    assert_eq!(events.last().unwrap()["summary"]["remote_hits"], 3);
    second.run(&["builds"]).expect(0).tells(&["3 cached (3 remote)"]);
}

#[test]
fn mistakes_about_remotes_are_named() {
    let machine = Machine::new();
    machine.write("t/BUILD.bld", "");
    let toml = |text: &str| machine.write("bld.toml", &format!("[remote]\n{text}\n"));
    let build = |words: &[&str]| {
        machine.run(&["build", "//t:all"]).expect(2).tells(words);
    };
    toml("url = \"grpcs://cache\"\ntoken = \"s3cret\"");
    build(&["`token` under [remote] in bld.toml", "everybody reads that file", "token_file"]);
    toml("url = \"grpcs://cache\"\ncredential_helper = \"tools/helper\"");
    build(&["credential_helper", "tools/helper", "absolute path"]);
    toml("url = \"cache:80\"");
    build(&["`cache:80` is no address", "grpc://"]);
    toml("url = \"grpc://cache.example:80\"\ntoken_file = \"token\"");
    build(&["a token is not sent to grpc://cache.example:80 without TLS"]);
    toml("url = \"grpcs://localhost:1\"\nca_file = \"missing.pem\"");
    build(&["cannot read the certificates", "missing.pem"]);
    toml("url = \"grpcs://localhost:1\"\ncertificate = \"me.pem\"");
    build(&["certificate", "key"]);
    toml("url = \"grpcs://localhost:1\"\nuplaod = true");
    build(&["uplaod"]);
}
