//! Large uploads that break off, with the server or without it, and go on from there.

use bazel_remote_apis::google::bytestream::WriteRequest;
use bytes::Bytes;
use tokio::runtime::Runtime;
use tonic::Code;

use super::client::{Client, Form, digest, hold, pieces, upload_name};
use super::disk::files;
use crate::machine::{Machine, wait_for};
use crate::random::Random;
use crate::served::{Served, configure};

/// How large the blob is, in bytes: as much as tells something and is sent in a few seconds.
const BYTES: usize = 64 << 20;

/// Returns how many bytes of uploads a server has on its disk.
fn received(machine: &Machine) -> u64 {
    let uploads = machine.root().join("home/.local/share/bld-server/store/uploads");
    // One that is given another name in this moment is looked for again.
    files(&uploads).iter().filter_map(|it| Some(it.metadata().ok()?.len())).sum()
}

#[test]
fn a_large_upload_goes_on_where_it_was_when_the_server_was_killed() {
    let machine = Machine::bare();
    let runtime = Runtime::new().unwrap();
    let mut random = Random(14);
    let bytes: Bytes = (0..BYTES / 8).flat_map(|_| random.next().to_le_bytes()).collect();
    let name = upload_name(digest(&bytes), "a-session", Form::Plain);
    let percent = |count: usize| BYTES / 100 * count;

    // Sends from an offset up to another one, and returns the call that waits there.
    let send = |client: &Client, from: usize, to: usize| {
        let messages = pieces(&name, &bytes, from, true);
        let (messages, mut held) = hold(messages, i64::try_from(to).unwrap());
        let client = client.clone();
        let sending = runtime.spawn(async move { client.stream(messages).await });
        runtime.block_on(held.reached());
        // What is on its way comes in a moment.
        let enough = u64::try_from(to - percent(4)).unwrap();
        wait_for("most of it to be there", || (received(&machine) >= enough).then_some(()));
        sending
    };
    let status = |served: &Served| {
        runtime.block_on(async {
            Client::connect(served.address()).await.status(&name).await.unwrap()
        })
    };

    // First the connection is cut, and then the server is killed while it receives.
    let served = Served::start(&machine);
    let client = runtime.block_on(Client::connect(served.address()));
    let sending = send(&client, 0, percent(30));
    sending.abort();
    drop(client);
    // As long as something of it arrives, whoever goes on is told to ask again.
    let begun = wait_for("the server to have all that came", || {
        let begun = usize::try_from(status(&served).0).unwrap();
        let nothing = pieces(&name, &bytes.slice(..begun), begun, true).pop().unwrap();
        let nothing = WriteRequest { finish_write: false, ..nothing };
        runtime.block_on(async {
            let client = Client::connect(served.address()).await;
            match client.stream(futures::stream::iter([nothing])).await {
                Ok(committed) => Some(usize::try_from(committed).unwrap()),
                Err(status) if status.code() == Code::Aborted => None,
                Err(status) => panic!("{status}"),
            }
        })
    });
    assert!((percent(25)..=percent(31)).contains(&begun), "{begun}");
    let client = runtime.block_on(Client::connect(served.address()));
    let sending = send(&client, begun, percent(60));
    served.kill();
    assert!(runtime.block_on(sending).unwrap().is_err());

    let served = Served::start(&machine);
    let (committed, is_complete) = status(&served);
    let committed = usize::try_from(committed).unwrap();
    assert!(committed >= percent(55) && !is_complete, "{committed} of {BYTES}");
    runtime.block_on(async {
        let client = Client::connect(served.address()).await;
        assert!(client.read(digest(&bytes), Form::Plain).await.unwrap().is_none());
        let rest = client.write(&bytes, "a-session", Form::Plain, committed, || {}).await;
        assert_eq!(usize::try_from(rest.unwrap()).unwrap(), BYTES);
        assert!(client.read(digest(&bytes), Form::Plain).await.unwrap().unwrap() == bytes);
    });
    assert_eq!(received(&machine), 0);
    served.end();
}

#[test]
fn a_large_upload_goes_on_over_another_connection_when_the_first_one_died_without_a_sign() {
    let machine = Machine::bare();
    let runtime = Runtime::new().unwrap();
    let mut random = Random(15);
    let bytes: Bytes = (0..BYTES / 8).flat_map(|_| random.next().to_le_bytes()).collect();
    let name = upload_name(digest(&bytes), "a-session", Form::Plain);
    let config = "[identity.anonymous]\nrights = []\n";
    configure(&machine, config);
    let token = |name: &str| {
        let create = ["server", "token", "create", name, "--namespace", "trusted"];
        let rights = ["--rights", "read,write-blobs"];
        machine.run(&[&create[..], &rights].concat()).expect(0).stdout.trim().to_owned()
    };
    let (mine, anothers) = (token("me"), token("another"));
    let served = Served::start_with(&machine, config);
    let connect = || runtime.block_on(Client::connect(served.address())).with_token(&mine);

    // The client is heard of no more; its connection is as open as before.
    let (messages, mut held) =
        hold(pieces(&name, &bytes, 0, true), (BYTES / 2).try_into().unwrap());
    let client = connect();
    let silent = runtime.spawn(async move { client.stream(messages).await });
    runtime.block_on(held.reached());
    let client = connect();
    let status = |client: &Client| runtime.block_on(client.status(&name)).unwrap();
    let half = u64::try_from(BYTES / 2).unwrap();
    wait_for("it to arrive", || (status(&client) == (half, false)).then_some(()));

    let send = |client: &Client, from: u64| {
        let from = usize::try_from(from).unwrap();
        runtime.block_on(client.write(&bytes, "a-session", Form::Plain, from, || {}))
    };
    let another = client.with_token(&anothers);
    assert_eq!(status(&another), (0, false), "whoever else calls his upload so has another one");
    assert_eq!(send(&another, half).unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(status(&client), (half, false));

    assert_eq!(usize::try_from(send(&client, half).unwrap()).unwrap(), BYTES);
    assert_eq!(runtime.block_on(silent).unwrap().unwrap_err().code(), Code::Aborted);
    let read = runtime.block_on(client.read(digest(&bytes), Form::Plain));
    assert!(read.unwrap().unwrap() == bytes);
    assert_eq!(received(&machine), 0, "nothing of it is there twice");
    served.end();
}
