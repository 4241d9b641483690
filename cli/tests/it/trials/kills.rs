//! `kill -9` at any instant, while many write in every way there is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tonic::Status;

use super::client::{Client, Form, digest};
use super::oracle::{Key, Oracle, Thing, check_bytes, closure, result};
use crate::machine::Machine;
use crate::random::{Random, rounds, seed};
use crate::served::{Served, logged};

/// How often a server is killed, if `BLD_TEST_ROUNDS` does not say.
const ROUNDS: u64 = 20;

/// How often it is killed before all begins anew with an empty store.
const ROUNDS_PER_STORE: u64 = 20;

/// How many clients write at once, each over connections of its own.
const CLIENTS: u64 = 8;

/// How many things each does in a round.
const DEEDS: u64 = 16;

/// How many things each of them says something about, again and again.
const KEYS: u64 = 3;

/// Has room for all that is written before the store is begun anew.
const AMPLE: &str = "[store]\nbudget = \"2 GiB\"\n";

/// Has room for a few rounds.
const SCARCE: &str = "[store]\nbudget = \"64 MiB\"\n";

/// How far all clients have come: beginnings, pieces and acknowledgements.
type Progress = watch::Sender<u64>;

/// Whoever writes until the server is killed.
struct Writer {
    number: u64,
    client: Client,
    random: Random,
    oracle: Arc<Oracle>,
    progress: Arc<Progress>,
    is_killed: Arc<AtomicBool>,
}

impl Writer {
    /// Does one thing after the other, until the server is gone.
    async fn run(mut self) {
        for _ in 0..DEEDS {
            if let Err(status) = self.act().await {
                assert!(self.is_killed.load(Ordering::SeqCst), "it lives, and says {status}");
                return;
            }
        }
    }

    async fn act(&mut self) -> Result<(), Status> {
        match self.random.below(12) {
            0..=3 => {
                let thing = self.thing();
                self.stream(thing, Form::Plain).await
            }
            4 => {
                let thing = self.thing();
                self.stream(thing, Form::Zstd).await
            }
            5 | 6 => self.batch().await,
            7 => self.put(&[]).await,
            8 => self.put(&[("Content-Encoding", "zstd")]).await,
            9 => self.keep().await,
            _ => self.record().await,
        }
    }

    fn step(&self) {
        self.progress.send_modify(|it| *it += 1);
    }

    fn form(&mut self) -> Form {
        if self.random.below(3) == 0 { Form::Zstd } else { Form::Plain }
    }

    /// Returns something new, or what others may be sending as well.
    fn thing(&mut self) -> Thing {
        let known = self.oracle.recent(&mut self.random).filter(|_| self.random.below(4) == 0);
        known.unwrap_or_else(|| Thing::Blob(self.oracle.number()))
    }

    async fn stream(&self, thing: Thing, form: Form) -> Result<(), Status> {
        let bytes = self.oracle.sends(thing);
        let session = format!("{}-{thing:?}", self.number);
        let progress = Arc::clone(&self.progress);
        let sent = move || progress.send_modify(|it| *it += 1);
        let written = self.client.write(&bytes, &session, form, 0, sent).await;
        if written.is_err() && form == Form::Plain && thing.is_large() {
            self.oracle.interrupted(thing, &session);
        }
        written?;
        self.oracle.acknowledged(thing);
        self.step();
        Ok(())
    }

    async fn batch(&mut self) -> Result<(), Status> {
        let wanted: Vec<_> = (0..=self.random.below(8)).map(|_| self.thing()).collect();
        let things: Vec<_> = wanted.into_iter().filter(|it| !it.is_large()).collect();
        let blobs: Vec<(Bytes, Form)> = things.iter().map(|it| (it.bytes(), self.form())).collect();
        for thing in &things {
            self.oracle.sends(*thing);
        }
        self.step();
        let said = self.client.update(&blobs).await?;
        for (thing, said) in things.into_iter().zip(said) {
            if said.code != 0 {
                return Err(Status::new(said.code.into(), said.message));
            }
            self.oracle.acknowledged(thing);
        }
        self.step();
        Ok(())
    }

    async fn put(&mut self, headers: &[(&str, &str)]) -> Result<(), Status> {
        let thing = self.thing();
        let bytes = self.oracle.sends(thing);
        self.step();
        let path = format!("/cas/{}", digest(&bytes).hex());
        let sent = match headers {
            [] => bytes,
            _ => zstd::bulk::compress(&bytes, 1).unwrap().into(),
        };
        self.put_at(&path, headers, &sent).await?;
        self.oracle.acknowledged(thing);
        self.step();
        Ok(())
    }

    async fn put_at(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<(), Status> {
        let answered = self.client.http("PUT", path, headers, Some(body)).await;
        let answer = answered.map_err(|error| Status::unavailable(error.to_string()))?;
        match answer.status {
            200 | 201 => Ok(()),
            other => Err(Status::unknown(format!("PUT {path}: {other}"))),
        }
    }

    /// Keeps something under a path that had something else.
    async fn keep(&mut self) -> Result<(), Status> {
        let path = format!("/ccache/{}/{}", self.number, self.random.below(KEYS));
        let (key, number) = (Key::Path(path.clone()), self.oracle.number());
        self.oracle.says(&key, number);
        self.step();
        self.put_at(&path, &[], &Thing::Blob(number).bytes()).await?;
        self.oracle.heard(&key, number);
        self.step();
        Ok(())
    }

    /// Records a result at the same time as all that it refers to.
    async fn record(&mut self) -> Result<(), Status> {
        let name = format!("action {} of {}", self.random.below(KEYS), self.number);
        let (key, number) = (Key::Action(name), self.oracle.number());
        self.oracle.says(&key, number);
        let form = self.form();
        let things = closure(number).map(|thing| self.stream(thing, form));
        let is_http = number % 2 == 0;
        let recorded = async {
            self.step();
            if is_http {
                use prost::Message as _;
                let path = format!("/ac/{}", key.action().hex());
                return self.put_at(&path, &[], &result(number).encode_to_vec()).await;
            }
            self.client.record(key.action(), result(number)).await
        };
        let (recorded, things) = futures::join!(recorded, join_all(things));
        recorded?;
        things.into_iter().collect::<Result<(), Status>>()?;
        self.oracle.heard(&key, number);
        self.step();
        Ok(())
    }
}

/// Writes until an instant that the random numbers choose, kills the server, and waits for all who wrote.
fn write_and_kill(runtime: &Runtime, served: Served, oracle: &Arc<Oracle>, random: &mut Random) {
    let progress = Arc::new(Progress::default());
    let is_killed = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for number in 0..CLIENTS {
        let client = runtime.block_on(Client::connect(served.address()));
        let writer = Writer {
            number,
            client,
            random: Random(random.next()),
            oracle: Arc::clone(oracle),
            progress: Arc::clone(&progress),
            is_killed: Arc::clone(&is_killed),
        };
        writers.push(runtime.spawn(writer.run()));
    }
    // Once in a while nobody writes any more: then large blobs are cut into chunks, and the index gets everything.
    let is_idle = random.below(5) == 0;
    let steps = if is_idle { u64::MAX } else { 1 + random.below(CLIENTS * DEEDS * 4) };
    let more = Duration::from_micros(random.below(if is_idle { 3_000_000 } else { 20_000 }));
    let ended = runtime.block_on(async {
        let mut reached = progress.subscribe();
        let mut all = std::pin::pin!(join_all(writers));
        let ended = tokio::select! {
            _ = reached.wait_for(|it| *it >= steps) => None,
            ended = &mut all => Some(ended),
        };
        // This is no waiting for something: any instant will do.
        tokio::time::sleep(more).await;
        is_killed.store(true, Ordering::SeqCst);
        served.kill();
        match ended {
            Some(ended) => ended,
            None => all.await,
        }
    });
    for writer in ended {
        writer.unwrap();
    }
}

fn kill_again_and_again(config: &str, keeps_all: bool, usually: u64) {
    let mut random = Random(seed());
    let runtime = Runtime::new().unwrap();
    let mut left = rounds(usually);
    while left > 0 {
        let rounds = left.min(ROUNDS_PER_STORE);
        left -= rounds;
        let (machine, oracle) = (Machine::bare(), Arc::new(Oracle::default()));
        let mut before = 0;
        for _ in 0..rounds {
            let served = Served::start_with(&machine, config);
            write_and_kill(&runtime, served, &oracle, &mut random);
            let served = Served::start_with(&machine, config);
            runtime.block_on(async {
                let client = Client::connect(served.address()).await;
                // All that is new or not certain, and some of the rest.
                let last = oracle.number();
                let reads = |thing: Thing, is_acknowledged: bool| {
                    let (Thing::Blob(number) | Thing::Tree(number)) = thing;
                    let number =
                        if number >> 40 == 0 { number } else { (number & !(1 << 40)) >> 2 };
                    number > before || !is_acknowledged || number % 16 == last % 16
                };
                oracle.check(&client, keeps_all, reads).await;
                oracle.resume(&client).await;
                before = last;
            });
            // It is killed again, when nothing was written but what was taken up.
            served.kill();
        }
        let served = Served::start_with(&machine, config);
        runtime.block_on(async {
            let client = Client::connect(served.address()).await;
            oracle.check(&client, keeps_all, |_, _| true).await;
        });
        let scrub = ["cache", "scrub", "--remote", served.address(), "--json"];
        let scrubbed = machine.run(&scrub).expect(0).json();
        assert_eq!(scrubbed["corrupt"], 0, "{scrubbed}");
        served.end();
        let log = logged(&machine);
        assert!(!log.contains("panicked") && !log.contains("the store failed"), "{log}");
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9_at_any_instant_and_nothing_else_is_torn() {
    kill_again_and_again(AMPLE, true, ROUNDS);
}

#[test]
fn what_a_killed_server_had_no_room_for_is_gone_as_a_whole() {
    kill_again_and_again(SCARCE, false, ROUNDS / 4);
}

#[test]
fn half_a_body_over_http_is_nothing_after_a_kill() {
    use tokio::io::AsyncWriteExt as _;
    let machine = Machine::bare();
    let runtime = Runtime::new().unwrap();
    let served = Served::start(&machine);
    // One that is held in memory, and one that goes to the disk.
    let bodies = [vec![7; 100_000], vec![8; 5 << 20]].map(Bytes::from);
    let paths = |body: &Bytes| {
        let hash = digest(body).hex();
        [format!("/cas/{hash}"), format!("/ac/{hash}"), format!("/gradle/{hash}")]
    };
    let sending = runtime.block_on(async {
        let client = Client::connect(served.address()).await;
        let mut sending = Vec::new();
        for body in &bodies {
            for path in paths(body) {
                let half = &body[..body.len() / 2];
                let length = Some(body.len());
                let mut stream = client.begin_http("PUT", &path, &[], length).await.unwrap();
                stream.write_all(half).await.unwrap();
                sending.push(stream);
                let chunked = [("Transfer-Encoding", "chunked")];
                let mut stream = client.begin_http("PUT", &path, &chunked, None).await.unwrap();
                let head = format!("{:x}\r\n", half.len());
                stream.write_all(&[head.as_bytes(), half, b"\r\n"].concat()).await.unwrap();
                sending.push(stream);
            }
        }
        sending
    });
    served.kill();
    drop(sending);
    let served = Served::start(&machine);
    runtime.block_on(async {
        let client = Client::connect(served.address()).await;
        for body in &bodies {
            for path in paths(body) {
                let answer = client.http("GET", &path, &[], None).await.unwrap();
                assert_eq!(answer.status, 404, "{path}");
                let put = client.http("PUT", &path, &[], Some(body)).await.unwrap();
                assert!(matches!(put.status, 200 | 201), "{path}: {put:?}");
                let answer = client.http("GET", &path, &[], None).await.unwrap();
                assert_eq!(answer.body, body, "{path}");
            }
        }
    });
    assert!(!runtime.block_on(async {
        let client = Client::connect(served.address()).await;
        check_bytes(&client, Thing::Blob(1)).await
    }));
}
