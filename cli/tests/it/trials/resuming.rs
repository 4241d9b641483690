//! Large uploads that break off, with the server or without it, and go on from there.

use bytes::Bytes;
use tokio::runtime::Runtime;

use super::client::{Client, Form, digest, hold, pieces, upload_name};
use super::disk::files;
use crate::machine::{Machine, wait_for};
use crate::random::Random;
use crate::served::Served;

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
    let (committed, _) = wait_for("the server to notice", || {
        Some(status(&served)).filter(|(committed, _)| *committed > 0)
    });
    let begun = usize::try_from(committed).unwrap();
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
