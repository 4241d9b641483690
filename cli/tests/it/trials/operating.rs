//! What operators do and what happens to them: bits flip, files lie where they should not, certificates and callers change.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bazel_remote_apis::build::bazel::remote::execution::v2::ActionResult;
use bytes::Bytes;
use model::DigestFunction;
use prost::Message as _;
use store::{RemoteOptions, RemoteStore, Retry, Secret, Tls};
use tokio::runtime::Runtime;
use tonic::Code;

use super::client::{Client, Form, digest};
use super::disk::files;
use super::oracle::{Key, Thing, closure, result};
use crate::machine::{Machine, wait_for};
use crate::random::Random;
use crate::served::{Served, configure, logged};

fn store(machine: &Machine) -> std::path::PathBuf {
    machine.root().join("home/.local/share/bld-server/store")
}

/// Flips a bit wherever these bytes stand in a folder. Returns in how many places.
fn flip(folder: &Path, bytes: &[u8]) -> usize {
    let mut flipped = 0;
    for path in files(folder) {
        let found = fs::read(&path).unwrap();
        let needle = bytes.windows(32).nth(bytes.len() / 2).unwrap();
        let first = needle[0];
        let mut starts = found.iter().enumerate().filter(|(_, it)| **it == first).map(|(at, _)| at);
        let Some(at) = starts.find(|at| found[*at..].starts_with(needle)) else { continue };
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.write_all_at(&[needle[0] ^ 4], at as u64).unwrap();
        flipped += 1;
    }
    flipped
}

#[test]
fn a_flipped_bit_is_never_served_but_counted_and_what_it_hit_can_be_sent_again() {
    let machine = Machine::bare();
    let runtime = Runtime::new().unwrap();
    let served = Served::start(&machine);
    let mut random = Random(2);
    let blobs = [2_000, 150_000, 3 << 20].map(|length| -> Bytes {
        std::iter::repeat_with(|| random.next().to_le_bytes()).flatten().take(length).collect()
    });
    let corrupt = |count: usize| {
        let stat = ["cache", "stat", "--remote", served.address(), "--json"];
        assert_eq!(machine.run(&stat).expect(0).json()["corrupt"], count);
    };
    runtime.block_on(async {
        let client = Client::connect(served.address()).await;
        for bytes in &blobs {
            client.write(bytes, "s", Form::Plain, 0, || {}).await.unwrap();
            assert!(flip(&store(&machine), bytes) > 0);
            let path = format!("/cas/{}", digest(bytes).hex());
            // A large one fails where it is wrong, if its beginning was sent by then.
            match client.read(digest(bytes), Form::Plain).await {
                Ok(read) => assert!(read.is_none()),
                Err(status) => assert_eq!(status.code(), Code::DataLoss, "{status}"),
            }
            assert!(client.read(digest(bytes), Form::Zstd).await.unwrap().is_none());
            let answer = client.http("GET", &path, &[], None).await.unwrap();
            assert_eq!(answer.status, 404);
            assert_eq!(client.missing(&[digest(bytes)]).await.unwrap().len(), 1);
            client.write(bytes, "s", Form::Plain, 0, || {}).await.unwrap();
            let read = client.read(digest(bytes), Form::Plain).await.unwrap();
            assert!(read.as_ref() == Some(bytes));
        }
        let metrics = client.http("GET", "/metrics", &[], None).await.unwrap();
        let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
        assert!(metrics.lines().any(|it| it == "bld_store_corrupt_total 3.0"), "{metrics}");
    });
    corrupt(3);
    served.end();
}

#[test]
fn a_server_starts_whatever_somebody_has_put_into_its_folder() {
    let machine = Machine::bare();
    let runtime = Runtime::new().unwrap();
    let served = Served::start(&machine);
    let thing = Thing::Blob(24);
    runtime.block_on(async {
        let client = Client::connect(served.address()).await;
        client.write(&thing.bytes(), "s", Form::Plain, 0, || {}).await.unwrap();
    });
    served.kill();
    let store = store(&machine);
    let segments = files(&store.join("segments"));
    let taken = segments[0].file_name().unwrap().to_str().unwrap().to_owned();
    let strangers = ["notes.txt", "segments/readme", "segments/00000fff.sealed", "large/readme"];
    let own = format!("segments/{taken}.bak");
    for path in strangers.iter().copied().chain([own.as_str(), "large/aa/readme", "uploads/x"]) {
        fs::create_dir_all(store.join(path).parent().unwrap()).unwrap();
        fs::write(store.join(path), "who put this here?").unwrap();
    }
    let folders = [
        "backup",
        "segments/old",
        "segments/00000ffe.journal",
        "segments/00000ffd.sealing",
        "uploads/old",
        "quarantine/old",
        "large/aa/old",
    ];
    for path in folders {
        fs::create_dir_all(store.join(path)).unwrap();
        fs::write(store.join(path).join("inside"), "who put this here?").unwrap();
    }
    for _ in 0..2 {
        let served = Served::start(&machine);
        runtime.block_on(async {
            let client = Client::connect(served.address()).await;
            let read = client.read(digest(&thing.bytes()), Form::Plain).await.unwrap();
            assert!(read == Some(thing.bytes()));
        });
        served.end();
    }
    let aside: BTreeSet<_> = files(&store.join("lost+found"))
        .into_iter()
        .filter(|it| fs::read(it).unwrap() == b"who put this here?")
        .collect();
    assert!(aside.len() >= 7, "{aside:?}");
    let log = logged(&machine);
    // Whoever put it there finds out what became of it.
    for path in ["notes.txt", "backup", "segments/old", "segments/readme"] {
        let told = |line: &str| line.contains("is set aside") && line.contains(path);
        assert!(log.lines().any(told), "{path}: {log}");
    }
    assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
}

#[test]
fn a_poisoned_result_of_a_pull_request_stays_its_own_also_after_a_kill() {
    let machine = Machine::bare();
    let runtime = Runtime::new().unwrap();
    let config = "[identity.anonymous]\nrights = []\n";
    configure(&machine, config);
    let token = |name: &str, namespace: &str| {
        let create = ["server", "token", "create", name, "--namespace", namespace];
        let rights = ["--rights", "read,write-blobs,write-values"];
        machine.run(&[&create[..], &rights].concat()).expect(0).stdout.trim().to_owned()
    };
    let (trusted, stranger) = (token("ci", "trusted"), token("pr", "pr/17"));
    let (action, ours, poison) = (Key::Action("an action".to_owned()).action(), 1, 2);
    let paths = [format!("/ac/{}", action.hex()), "/ccache/key".to_owned()];

    let served = Served::start_with(&machine, config);
    runtime.block_on(async {
        let anybody = Client::connect(served.address()).await;
        assert_eq!(anybody.lookup(action).await.unwrap_err().code(), Code::Unauthenticated);
        let [trusted, stranger] = [&trusted, &stranger].map(|it| anybody.with_token(it));
        for thing in closure(poison).into_iter().chain(closure(ours)) {
            stranger.write(&thing.bytes(), "s", Form::Plain, 0, || {}).await.unwrap();
        }
        stranger.record(action, result(poison)).await.unwrap();
        for path in &paths {
            let body = result(poison).encode_to_vec();
            assert_eq!(stranger.http("PUT", path, &[], Some(&body)).await.unwrap().status, 201);
            assert_eq!(trusted.http("GET", path, &[], None).await.unwrap().status, 404, "{path}");
        }
        assert_eq!(trusted.lookup(action).await.unwrap(), None);
    });
    served.kill();

    let served = Served::start_with(&machine, config);
    runtime.block_on(async {
        let anybody = Client::connect(served.address()).await;
        let [trusted, stranger] = [&trusted, &stranger].map(|it| anybody.with_token(it));
        assert_eq!(trusted.lookup(action).await.unwrap(), None);
        let code =
            |result: Option<ActionResult>| result.map(|it| u64::try_from(it.exit_code).unwrap());
        assert_eq!(code(stranger.lookup(action).await.unwrap()), Some(poison));
        trusted.record(action, result(ours)).await.unwrap();
        stranger.record(action, result(poison)).await.unwrap();
        assert_eq!(code(trusted.lookup(action).await.unwrap()), Some(ours));
        for path in &paths {
            let body = result(ours).encode_to_vec();
            assert_eq!(trusted.http("PUT", path, &[], Some(&body)).await.unwrap().status, 201);
            let poisoned = result(poison).encode_to_vec();
            assert_eq!(stranger.http("PUT", path, &[], Some(&poisoned)).await.unwrap().status, 201);
            // Nor can he take it away.
            assert_eq!(stranger.http("DELETE", path, &[], None).await.unwrap().status, 200);
            let answer = trusted.http("GET", path, &[], None).await.unwrap();
            assert_eq!(answer.status, 200, "{path}");
            // The server says in it who made it.
            let said = ActionResult::decode(answer.body).unwrap();
            assert_eq!(code(Some(said)), Some(ours), "{path}");
        }
        assert_eq!(code(trusted.lookup(action).await.unwrap()), Some(ours));
    });
    served.end();
}

#[test]
fn a_certificate_that_is_replaced_on_disk_is_shown_without_a_restart() {
    let machine = Machine::bare();
    let issue = |folder: &str| {
        machine.write(&format!("{folder}/bld-server.toml"), "root = \"data\"\n");
        let config = format!("{folder}/bld-server.toml");
        let run = |arguments: &[&str]| {
            machine.run(&[&["server", "--config", &config, "ca"], arguments].concat()).expect(0)
        };
        run(&["init"]);
        let more = ["--role", "server", "--ip", "127.0.0.1", "--json"];
        let issued = run(&[&["issue", "cache"], &more[..]].concat()).json();
        ["certificate", "key"].map(|it| issued[it].as_str().unwrap().to_owned())
    };
    let install = |[certificate, key]: [String; 2]| {
        fs::rename(machine.workspace().join(certificate), machine.workspace().join("it.pem"))
            .unwrap();
        fs::rename(machine.workspace().join(key), machine.workspace().join("it.key")).unwrap();
    };
    install(issue("first"));
    let tls = "[tls]\ncertificate = \"it.pem\"\nkey = \"it.key\"\n";
    let served = Served::start_with(&machine, tls);
    let address = served.address().replace("https://", "grpcs://");
    let runtime = Runtime::new().unwrap();
    let is_known_by = |folder: &str| {
        let ca_file = Some(machine.workspace().join(folder).join("data/ca/ca.pem"));
        let options = RemoteOptions {
            address: address.clone(),
            instance: String::new(),
            function: DigestFunction::Blake3,
            secret: Secret::None,
            tls: Tls { ca_file, identity: None },
            retry: Retry { attempts: 1, ..Retry::default() },
            invocation: String::new(),
        };
        runtime.block_on(RemoteStore::connect(options)).is_ok()
    };
    assert!(is_known_by("first"));
    let second = issue("second");
    assert!(!is_known_by("second"));
    install(second);
    wait_for("the new certificate", || is_known_by("second").then_some(()));
    assert!(!is_known_by("first"));
    served.end();
}
