//! Many at once, while the store has to make room: what is there is right, and what a build was told of stays.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use tokio::runtime::Runtime;
use tokio::sync::Barrier;

use super::client::{Client, Form, digest};
use super::oracle::{Key, Thing, closure, result};
use crate::machine::Machine;
use crate::random::Random;
use crate::served::{Served, logged};

/// As small as a store may be whose segments are not tiny.
const BUDGET_MEBIBYTES: usize = 64;
const CONFIG: &str = "[store]\nbudget = \"64 MiB\"\n";

/// How many upload the same at once.
const CLIENTS: usize = 64;

/// How often.
const ROUNDS: u64 = 8;

/// How many bytes a blob has with which others fill the store.
const FILLER_BYTES: usize = 256 << 10;

/// Returns a blob with which the store is filled.
fn filler(number: u64) -> Bytes {
    let mut random = Random(number);
    (0..FILLER_BYTES / 8).flat_map(|_| random.next().to_le_bytes()).collect()
}

/// Returns what all of them upload in a round: small, not so small, and large blobs.
fn shared(round: u64) -> Bytes {
    let length = match round % 8 {
        7 => 3 << 20,
        it if it % 2 == 1 => 200_000,
        _ => 3_000,
    };
    let mut random = Random(round | 1 << 60);
    std::iter::repeat_with(|| random.next().to_le_bytes()).flatten().take(length).collect()
}

/// Uploads it in one of the ways there are.
async fn upload(client: &Client, bytes: &Bytes, way: usize) {
    let path = format!("/cas/{}", digest(bytes).hex());
    match way % 4 {
        0 => drop(client.write(bytes, "s", Form::Plain, 0, || {}).await.unwrap()),
        1 => drop(client.write(bytes, "s", Form::Zstd, 0, || {}).await.unwrap()),
        2 if bytes.len() < 1 << 20 => {
            let said = client.update(&[(bytes.clone(), Form::Plain)]).await.unwrap();
            assert_eq!(said[0].code, 0, "{said:?}");
        }
        _ => {
            let answer = client.http("PUT", &path, &[], Some(bytes)).await.unwrap();
            assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        }
    }
}

#[test]
fn what_sixty_four_upload_at_once_while_room_is_made_is_right_or_gone_and_stays_for_builds() {
    let machine = Machine::bare();
    let runtime = Runtime::new().unwrap();
    let served = Served::start_with(&machine, CONFIG);
    let barrier = Arc::new(Barrier::new(CLIENTS));
    runtime.block_on(async {
        let clients = (0..CLIENTS).map(|number| {
            let (address, barrier) = (served.address().to_owned(), Arc::clone(&barrier));
            tokio::spawn(async move {
                let nobody = Client::connect(&address).await;
                // A build holds what it was told of; whoever says nothing of a build may lose it.
                let is_build = number % 2 == 0;
                let build = nobody.of_build(&format!("build {number}"));
                let client = if is_build { &build } else { &nobody };
                for round in 0..ROUNDS {
                    let bytes = shared(round);
                    let other = filler(round << 8 | number as u64);
                    barrier.wait().await;
                    // Some make others' blobs go before, some after the others have come.
                    if number % 4 < 2 {
                        upload(&nobody, &other, 0).await;
                    }
                    // All of the large ones at once would be more than the store may take.
                    let sends = bytes.len() < 1 << 20 || number < 8;
                    if sends {
                        // Over HTTP nobody says for which build.
                        let way = if is_build { number / 2 % 2 } else { number / 2 };
                        upload(client, &bytes, way).await;
                    }
                    if number % 4 >= 2 {
                        upload(&nobody, &other, 0).await;
                    }
                    for (round, is_held) in [(round, is_build && sends), (round / 2, false)] {
                        let bytes = shared(round);
                        let form = if number % 3 == 0 { Form::Zstd } else { Form::Plain };
                        let read = client.read(digest(&bytes), form).await.unwrap();
                        assert!(read.is_some() || !is_held, "round {round}, build {number}");
                        assert!(read.is_none_or(|read| read == bytes), "round {round}");
                    }
                }
            })
        });
        for client in join_all(clients).await {
            client.unwrap();
        }
    });
    let stat = ["cache", "stat", "--remote", served.address(), "--json"];
    let stat = machine.run(&stat).expect(0).json();
    assert!(stat["evicted_bytes"].as_u64().unwrap() > 0, "{stat}");
    assert_eq!(stat["corrupt"], 0, "{stat}");
    served.end();
    let log = logged(&machine);
    assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
}

#[test]
fn what_a_build_was_told_of_stays_while_another_tenant_writes_three_times_the_capacity() {
    let machine = Machine::bare();
    let runtime = Runtime::new().unwrap();
    let served = Served::start_with(&machine, CONFIG);
    runtime.block_on(async {
        let others = Client::connect(served.address()).await;
        let build = others.of_build("a build");
        let theirs: Vec<_> = (0..30).map(|it| Thing::Blob(24 * it + 5)).collect();
        for thing in &theirs {
            upload(&others, &thing.bytes(), 0).await;
        }
        let (unheard, told) = theirs.split_at(10);
        let told: Vec<_> = told.iter().map(|it| digest(&it.bytes())).collect();
        assert!(build.missing(&told).await.unwrap().is_empty());
        let key = Key::Action("an action".to_owned());
        for thing in closure(1) {
            upload(&others, &thing.bytes(), 0).await;
        }
        others.record(key.action(), result(1)).await.unwrap();
        assert!(build.lookup(key.action()).await.unwrap().is_some());
        let own: Vec<_> = (0..20).map(|it| Thing::Blob(1000 + it)).collect();
        for (way, thing) in own.iter().enumerate() {
            let form = if way % 2 == 0 { Form::Plain } else { Form::Zstd };
            build.write(&thing.bytes(), "s", form, 0, || {}).await.unwrap();
        }

        let count = 3 * BUDGET_MEBIBYTES * (1 << 20) / FILLER_BYTES;
        for number in 0..u64::try_from(count).unwrap() {
            upload(&others, &filler(number), 0).await;
        }
        let gone = unheard.iter().map(|it| digest(&it.bytes())).collect::<Vec<_>>();
        assert_eq!(others.missing(&gone).await.unwrap().len(), gone.len(), "nobody held them");
        assert!(build.missing(&told).await.unwrap().is_empty());
        let answered = build.lookup(key.action()).await.unwrap().unwrap();
        assert_eq!(answered.output_files, result(1).output_files);
        for thing in theirs[10..].iter().chain(&own).chain(&closure(1)) {
            let bytes = thing.bytes();
            let read = build.read(digest(&bytes), Form::Plain).await.unwrap();
            assert!(read == Some(bytes), "{thing:?}");
        }
    });
    served.end();
}
