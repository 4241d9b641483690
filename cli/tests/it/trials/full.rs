//! A disk that somebody else fills while clients upload: they are told, everybody can read, and it goes on when there is room.

use std::time::Duration;

use bazel_remote_apis::google::rpc;
use bytes::Bytes;
use prost::Message as _;
use tokio::runtime::Runtime;
use tonic::{Code, Status};

use super::client::{Client, Form, digest, hold, pieces, upload_name};
use super::disk::SmallDisk;
use super::oracle::{Key, Oracle, Thing, check_bytes, closure, result};
use crate::machine::Machine;
use crate::random::Random;
use crate::served::logged;

/// More than there is, in segments of 2 MiB.
const CONFIG: &str = "budget = \"128 MiB\"\n";

/// How large the disk is: several segments.
const DISK_MEBIBYTES: u64 = 64;

/// How many small things are tried before some must be refused: a segment that was begun has room for them.
const TRIES: u64 = 400;

/// Asserts that somebody was told that there is no room, and when to try again.
#[track_caller]
fn assert_full(status: &Status) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_full_details(&rpc::Status::decode(status.details()).unwrap());
}

#[track_caller]
fn assert_full_details(status: &rpc::Status) {
    assert_eq!(status.code, i32::from(Code::ResourceExhausted), "{status:?}");
    let [detail] = &status.details[..] else { panic!("no details: {status:?}") };
    assert!(detail.type_url.ends_with("google.rpc.RetryInfo"), "{status:?}");
    // `RetryInfo.retry_delay.seconds`
    let [10, 2, 8, seconds] = detail.value[..] else { panic!("no delay: {status:?}") };
    assert!((1..60).contains(&seconds));
}

/// Tries one after the other of things until that often somebody was told that there is no room.
async fn refused(client: &Client, oracle: &Oracle) -> [u64; 4] {
    let mut refused = [0; 4];
    for _ in 0..TRIES {
        let thing = Thing::Blob(oracle.number());
        if thing.is_large() {
            continue;
        }
        let bytes = oracle.sends(thing);
        let way = digest(&bytes).hash()[0] % 4;
        let written = match way {
            0 => client.write(&bytes, "s", Form::Plain, 0, || {}).await.map(drop),
            1 => client.write(&bytes, "s", Form::Zstd, 0, || {}).await.map(drop),
            2 => {
                let said = client.update(&[(bytes, Form::Plain)]).await.unwrap().remove(0);
                if said.code != 0 {
                    assert_full_details(&said);
                }
                if said.code == 0 { Ok(()) } else { Err(Status::resource_exhausted("")) }
            }
            _ => {
                let path = format!("/cas/{}", digest(&bytes).hex());
                let answer = client.http("PUT", &path, &[], Some(&bytes)).await.unwrap();
                assert!(matches!(answer.status, 201 | 507), "{answer:?}");
                if answer.status == 507 {
                    assert!(answer.headers["retry-after"].parse::<u64>().unwrap() > 0);
                }
                if answer.status == 201 { Ok(()) } else { Err(Status::resource_exhausted("")) }
            }
        };
        match written {
            Ok(()) => oracle.acknowledged(thing),
            Err(status) => {
                if way < 2 {
                    assert_full(&status);
                }
                assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                refused[usize::from(way)] += 1;
            }
        }
    }
    refused
}

async fn record(client: &Client, oracle: &Oracle, key: &Key) -> Result<(), Status> {
    let number = oracle.number();
    oracle.says(key, number);
    for thing in closure(number) {
        let bytes = oracle.sends(thing);
        client.write(&bytes, "s", Form::Plain, 0, || {}).await?;
        oracle.acknowledged(thing);
    }
    client.record(key.action(), result(number)).await?;
    oracle.heard(key, number);
    Ok(())
}

#[test]
fn a_disk_that_is_filled_from_outside_is_an_answer_and_no_more() {
    let machine = Machine::bare();
    let disk = SmallDisk::new(&machine, DISK_MEBIBYTES);
    let (runtime, oracle) = (Runtime::new().unwrap(), Oracle::default());
    let key = Key::Action("an action".to_owned());
    let mut random = Random(1);
    let large: Bytes = (0..1 << 20).flat_map(|_| random.next().to_le_bytes()).collect();

    let served = disk.serve(&machine, CONFIG);
    runtime.block_on(async {
        let client = Client::connect(served.address()).await;
        for _ in 0..100 {
            let thing = Thing::Blob(oracle.number());
            let bytes = oracle.sends(thing);
            client.write(&bytes, "s", Form::Plain, 0, || {}).await.unwrap();
            oracle.acknowledged(thing);
        }
        record(&client, &oracle, &key).await.unwrap();

        // One upload is under way when it happens.
        let name = upload_name(digest(&large), "s", Form::Plain);
        let (messages, mut held) = hold(pieces(&name, &large, 0, true), 2 << 20);
        let uploader = client.clone();
        let uploading = tokio::spawn(async move { uploader.stream(messages).await });
        held.reached().await;
        disk.fill();
        held.let_on();
        assert_full(&uploading.await.unwrap().unwrap_err());

        let refused = refused(&client, &oracle).await;
        assert!(refused.iter().all(|it| *it > 0), "{refused:?}");
        assert_full(&record(&client, &oracle, &key).await.unwrap_err());
        let path = format!("/cas/{}", digest(&large).hex());
        let answer = client.http("PUT", &path, &[], Some(&large)).await.unwrap();
        assert_eq!(answer.status, 507, "{answer:?}");
        oracle.check(&client, true, |_, _| true).await;
    });

    // It starts where there is no room at all, after each way to end.
    served.kill();
    let served = disk.serve(&machine, CONFIG);
    runtime.block_on(async {
        let client = Client::connect(served.address()).await;
        oracle.check(&client, true, |_, _| true).await;
        assert_full(&client.write(&large, "t", Form::Plain, 0, || {}).await.unwrap_err());
    });
    served.end();
    let served = disk.serve(&machine, CONFIG);
    runtime.block_on(async {
        let client = Client::connect(served.address()).await;
        oracle.check(&client, true, |_, _| true).await;
        disk.make_room();
        let committed = tokio::time::timeout(
            Duration::from_secs(30),
            client.write(&large, "u", Form::Plain, 0, || {}),
        );
        assert_eq!(committed.await.unwrap().unwrap(), 8 << 20);
        assert!(client.read(digest(&large), Form::Zstd).await.unwrap().unwrap() == large);
        record(&client, &oracle, &key).await.unwrap();
        let refused = refused(&client, &oracle).await;
        assert_eq!(refused, [0; 4]);
        oracle.check(&client, true, |_, _| true).await;
        assert!(check_bytes(&client, Thing::Blob(1)).await);
    });
    let scrub = ["cache", "scrub", "--remote", served.address(), "--json"];
    assert_eq!(machine.run(&scrub).expect(0).json()["corrupt"], 0);
    served.end();
    let log = logged(&machine);
    assert!(!log.contains("panicked"), "{log}");
}
