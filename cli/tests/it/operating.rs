//! A server as whoever runs it sees it: from afar, and when it is told to end.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use serde_json::json;

use crate::machine::{Machine, Ran};
use crate::served::{Served, configure};

/// Sends a request of plain HTTP and returns the head of the answer.
fn ask(served: &Served, method: &str, path: &str, body: &str) -> String {
    let host = served.address().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: ccache/4\r\n\
         Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_server_is_looked_at_purged_and_scrubbed_from_afar() {
    let machine = Machine::bare();
    let served = Served::start(&machine);
    let remote = served.address();
    assert!(ask(&served, "PUT", "/ccache/ab/cdef0123", "an object").starts_with("HTTP/1.1 201"));
    assert!(ask(&served, "GET", "/ccache/ab/cdef0123", "").ends_with("an object"));
    assert!(ask(&served, "GET", "/ccache/ab/cdef0124", "").starts_with("HTTP/1.1 404"));

    let stat = machine.run(&["cache", "stat", "--remote", remote, "--json"]).expect(0).json();
    assert_eq!(stat["values"], 1);
    assert_eq!(stat["lookups"], json!({"ccache": {"hits": 1, "misses": 1, "incomplete": 0}}));
    let clients = stat["clients"].as_array().unwrap();
    let client = clients.iter().find(|it| it["tool"] == "ccache").unwrap();
    assert_eq!(client["identity"], "anonymous");
    assert_eq!(client["requests"], 3);
    let text = machine.run(&["cache", "stat", "--remote", remote]).expect(0).stdout;
    assert!(text.contains("ccache                 50.0 % found (1 hits, 1 misses)"), "{text}");

    let scrubbed = machine.run(&["cache", "scrub", "--remote", remote, "--json"]).expect(0).json();
    assert_eq!((&scrubbed["corrupt"], &scrubbed["failure"]), (&json!(0), &json!(null)));
    assert!(scrubbed["records"].as_u64().unwrap() >= 1, "{scrubbed}");

    let purge = |what: &[&str]| {
        let arguments = [&["cache", "purge", "--json", "--remote", remote], what].concat();
        machine.run(&arguments).expect(0).json()["purged"].as_u64()
    };
    assert_eq!(purge(&["--writer", "token:nobody"]), Some(0));
    assert_eq!(purge(&["--writer", "anonymous"]), Some(1));
    assert!(ask(&served, "GET", "/ccache/ab/cdef0123", "").starts_with("HTTP/1.1 404"));
    let digest = format!("blake3:{}/5", "ab".repeat(32));
    assert_eq!(purge(&["--digest", &digest]), Some(0));
    assert_eq!(purge(&["--action", &digest, "--namespace", "pr/17"]), Some(0));
}

/// What a server needs that encrypts and knows everybody.
pub(crate) const GUARDED: &str = "[tls]\ncertificate = \"cache.pem\"\nkey = \"cache.key\"\n\
                       [identity.anonymous]\nrights = []\n";

/// Makes what such a server needs, and a token for each of these: in a file of that name.
pub(crate) fn guard(machine: &Machine, tokens: &[(&str, &str)]) {
    machine.run(&["server", "ca", "init"]).expect(0);
    let issue = ["server", "ca", "issue", "cache", "--role", "server", "--ip", "127.0.0.1"];
    machine.run(&issue).expect(0);
    for (name, rights) in tokens {
        let create = ["server", "token", "create", name, "--rights", rights];
        machine.write(name, &machine.run(&create).expect(0).stdout);
    }
}

#[test]
fn a_server_is_asked_with_token_and_tls_as_builds_ask_it() {
    let machine = Machine::new();
    guard(&machine, &[("root", "read,administer"), ("reader", "read")]);
    let served = Served::start_with(&machine, GUARDED);
    let remote = served.address();
    assert!(remote.starts_with("https://"));
    let authority = machine.root().join("home/.local/share/bld-server/ca/ca.pem");
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = machine.command(&[&["cache"], arguments].concat());
        Ran::of(command.envs(variables.iter().copied()))
    };
    let ca = ("BLD_REMOTE_CA_FILE", authority.to_str().unwrap());
    let token = |name| ("BLD_REMOTE_TOKEN_FILE", name);

    // Nobody has heard of that authority, so nobody is told the token.
    let unknown = run(&["stat", "--remote", remote], &[token("root")]).expect(3);
    unknown.says(&[remote, "BLD_REMOTE_CA_FILE"]);
    let plain = remote.replace("https", "http");
    run(&["stat", "--remote", &plain], &[]).expect(3).says(&["if it wants TLS", "grpcs://"]);
    let purge = ["purge", "--writer", "ci", "--remote", remote];
    for arguments in [&["stat", "--remote", remote][..], &purge, &["scrub", "--remote", remote]] {
        let nameless = run(arguments, &[ca]).expect(2);
        nameless.says(&["does not know who asks", "say who you are", "BLD_REMOTE_TOKEN_FILE"]);
        let unknown = run(arguments, &[ca, ("BLD_REMOTE_TOKEN", "wr0ng")]).expect(2);
        assert!(!unknown.stderr.contains("wr0ng"));
        unknown.says(&["does not know who asks"]);
    }
    run(&["stat", "--remote", remote], &[ca, token("reader")]).expect(0);
    let denied = run(&purge, &[ca, token("reader")]).expect(2);
    denied.says(&["no right to `administer`", "bld server token create"]);
    run(&purge, &[ca, token("root")]).expect(0).tells(&["there was nothing of it"]);

    // The workspace says it all, and each command finds it there.
    let said = format!(
        "[remote]\nurl = \"{remote}\"\ninstance = \"project\"\ntoken_file = \"root\"\nca_file = \"{}\"\n",
        authority.display()
    );
    machine.write("bld.toml", &said);
    for arguments in [
        &["stat", "--remote"][..],
        &["stat", "--remote", remote],
        &["purge", "--writer", "ci"],
        &["purge", "--remote", "--writer", "ci"],
        &["scrub"],
    ] {
        run(arguments, &[]).expect(0);
    }
    let stat = run(&["stat", "--remote", "--json"], &[]).expect(0).json();
    assert_eq!(stat["server"], remote);
    // Without a word of a server it is the store of this machine.
    run(&["stat"], &[]).expect(0).tells(&["trees"]);
}

#[test]
fn a_result_is_purged_from_the_project_that_the_workspace_names() {
    let machine = Machine::new();
    let served = Served::start(&machine);
    let key = "ab".repeat(32);
    assert!(
        ask(&served, "PUT", &format!("/one/ac/{key}"), "what it made").starts_with("HTTP/1.1 201")
    );
    let toml = |instance: &str| {
        let remote =
            format!("[remote]\nurl = \"{}\"\ninstance = \"{instance}\"\n", served.address());
        machine.write("bld.toml", &remote);
    };
    let digest = format!("sha256:{key}/5");
    let purged = |more: &[&str]| {
        let arguments = [&["cache", "purge", "--json", "--action", &digest], more].concat();
        machine.run(&arguments).expect(0).json()["purged"].as_u64()
    };
    toml("another");
    assert_eq!(purged(&[]), Some(0));
    toml("one");
    assert_eq!(purged(&["--project", "another"]), Some(0));
    assert_eq!(purged(&[]), Some(1));
    assert!(ask(&served, "GET", &format!("/one/ac/{key}"), "").starts_with("HTTP/1.1 404"));
}

#[test]
fn a_server_needs_no_home_where_it_is_said_what_it_keeps_where() {
    let machine = Machine::bare();
    let homeless = |arguments: &[&str]| {
        let mut command = machine.command(&[&["server"], arguments].concat());
        command.env_remove("HOME").env_remove("BLD_STORE");
        command
    };
    let refused = |arguments: &[&str], words: &[&str]| {
        Ran::of(&mut homeless(arguments)).expect(2).says(words);
    };
    let listen = "[listen]\ntcp = [\"127.0.0.1:0\"]\n";
    machine.write("bld-server.toml", listen);
    let flag = ["--store", "../big", "--store-budget", "2GiB"];
    for arguments in [&[][..], &flag] {
        refused(arguments, &["neither HOME nor XDG_DATA_HOME is set", "root = ", "--store"]);
    }

    machine.write("bld-server.toml", &format!("root = \"../kept\"\n{listen}"));
    let create = [&["token", "create", "ci"][..], &flag].concat();
    let token = Ran::of(&mut homeless(&create)).expect(0).stdout;
    let serve = |arguments: &[&str]| Served::start_by(&machine, homeless(arguments));
    let asks = |served: &Served, token: &str| {
        let mut command = machine.command(&["cache", "stat", "--json", "--remote"]);
        Ran::of(command.arg(served.address()).env("BLD_REMOTE_TOKEN", token.trim()))
    };
    for _ in 0..2 {
        let served = serve(&flag);
        assert_eq!(asks(&served, &token).expect(0).json()["budget_bytes"], 2_u64 << 30);
        asks(&served, "bld_0123456789abcdef_0").expect(2).says(&["does not know who asks"]);
        served.end();
    }
    assert!(machine.root().join("kept/tokens.toml").exists());
    assert!(machine.root().join("big/segments").exists());
}

#[test]
fn a_server_keeps_nothing_else_in_the_folder_of_its_store() {
    let machine = Machine::bare();
    let refused = |arguments: &[&str], words: &[&str]| {
        machine.run(&[&["server"], arguments].concat()).expect(2).says(words);
    };
    let root = machine.root().join("home/.local/share/bld-server");
    let flag = ["--store", root.to_str().unwrap()];
    let create = ["token", "create", "ci"];
    for command in [&[][..], &create, &["ca", "init"]] {
        refused(
            &[command, &flag].concat(),
            &["`root`", "in the folder of the store", "store.path"],
        );
    }
    let kept = root.join("store/ca");
    let authority = ["ca", "init", "--ca", kept.to_str().unwrap()];
    refused(&authority, &["the folder of the authority", "in the folder of the store"]);
    machine.write("bld-server.toml", "");
    refused(&["--store", "."], &["the configuration", "in the folder of the store"]);
    assert!(!root.exists());
}

#[test]
fn what_can_be_mended_in_a_file_of_the_server_is_a_mistake() {
    let machine = Machine::bare();
    let refused = |config: &str, words: &[&str]| {
        configure(&machine, &format!("root = \"kept\"\n{config}"));
        machine.run(&["server"]).expect(2).says(words);
    };
    let tls = "[tls]\ncertificate = \"cache.pem\"\nkey = \"cache.key\"\n";
    refused(tls, &["cache.pem is not there"]);
    machine.write("cache.pem", "no certificate");
    machine.write("cache.key", "no key");
    refused(tls, &["cache.pem does not hold certificates in PEM"]);
    refused("[telemetry]\notlp = \"collector\"\n", &["traces cannot be sent to `collector`"]);
    machine.write("tokens.toml", "no token");
    refused("[identity]\ntokens = \"tokens.toml\"\n", &["cannot use the tokens", "tokens.toml:1"]);
}

#[test]
fn a_budget_is_within_its_bounds_whoever_says_it() {
    let machine = Machine::bare();
    for budget in ["0", "63M", "2000T"] {
        let refused = machine.run(&["server", "--store-budget", budget]).expect(2);
        refused.says(&["budget", "is out of bounds: from 64.0 MiB to 1024.0 TiB is allowed"]);
    }
}

#[test]
fn what_makes_no_sense_is_refused_before_anybody_is_asked() {
    let machine = Machine::bare();
    for arguments in [
        &["cache", "stat", "--remote", "cache:8980"][..],
        &["cache", "purge", "--remote", "http://cache:1"],
        &["cache", "purge", "--remote", "http://cache:1", "--digest", "abc"],
        &["cache", "purge", "--remote", "http://cache:1", "--writer", "a", "--action", "b"],
        &["cache", "purge", "--remote", "http://cache:1", "--writer", "a", "--project", "b"],
    ] {
        machine.run(arguments).expect(2);
    }
    for arguments in [&["cache", "scrub"][..], &["cache", "stat", "--remote"]] {
        machine.run(arguments).expect(2).says(&["no server is named", "--remote", "[remote]"]);
    }
    // Nobody listens where nothing was ever bound.
    machine.run(&["cache", "stat", "--remote", "http://127.0.0.1:1"]).expect(3);
}

#[test]
fn a_server_that_is_told_to_end_ends_well_and_keeps_what_it_was_given() {
    let machine = Machine::bare();
    let served = Served::start(&machine);
    assert!(ask(&served, "GET", "/readyz", "").starts_with("HTTP/1.1 200"));
    assert!(ask(&served, "PUT", "/ccache/ab/cdef0123", "an object").starts_with("HTTP/1.1 201"));
    served.end();

    let served = Served::start(&machine);
    assert!(ask(&served, "GET", "/ccache/ab/cdef0123", "").ends_with("an object"));
}

#[test]
fn flags_that_operators_are_shown_are_there() {
    let machine = Machine::bare();
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/deploy");
    let read = |name: &str| fs::read_to_string(deploy.join(name)).unwrap();
    let help = |command: &[&str]| machine.run(&[command, &["--help"]].concat()).expect(0).stdout;
    let server = help(&["server"]);
    for name in ["bld-server.service", "Containerfile", "kubernetes.yaml"] {
        assert!(read(name).contains("--config") && server.contains("--config"), "{name}");
    }
    let readme = read("README.md");
    let commands = readme.lines().filter_map(|line| line.trim_start().strip_prefix("bld "));
    let mut seen = 0;
    for line in commands {
        let words: Vec<_> = line.split(" #").next().unwrap().split_whitespace().collect();
        let flag = words.iter().position(|it| it.starts_with("--")).unwrap_or(words.len());
        let help = help(&words[..flag]);
        for word in words.iter().filter(|it| it.starts_with("--")) {
            assert!(help.contains(word), "`bld {line}`: {word}");
            seen += 1;
        }
    }
    assert!(seen >= 7, "the README shows how to purge and scrub");
}
