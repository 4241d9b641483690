//! Uploads against a model: whatever a client sends, in whatever order, the server knows how much of it is here.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tonic::Code;

use crate::support::{TestServer, digest, noise, zstd};

/// More than is held in memory, and no multiple of anything.
const SIZE: usize = (1 << 20) + 4_321;

/// Where an upload begins.
#[derive(Clone, Copy, Debug)]
enum Begin {
    AtZero,
    WhereItEnded,
    Elsewhere(usize),
}

/// What a client does.
#[derive(Clone, Debug)]
enum Step {
    /// Sends so many thousandths of what is left, in pieces of that size, and perhaps says that it is all.
    Write { begin: Begin, thousandths: usize, piece: usize, finish: bool },
    /// Sends something else of the right size, and says that it is all.
    Lie,
    /// Sends all of it compressed.
    Compressed { piece: usize },
    /// Asks how much is here.
    Ask,
}

/// What the server should know.
#[derive(Default)]
struct Model {
    bytes: usize,
    is_complete: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let begin = prop_oneof![
        1 => Just(Begin::AtZero),
        4 => Just(Begin::WhereItEnded),
        1 => (1..SIZE).prop_map(Begin::Elsewhere),
    ];
    let piece = prop_oneof![Just(16 << 10), Just(1 << 20), 10_000_usize..400_000];
    let write = (begin, 0_usize..=1_000, piece, any::<bool>()).prop_map(
        |(begin, thousandths, piece, finish)| Step::Write { begin, thousandths, piece, finish },
    );
    let all = (10_000_usize..400_000).prop_map(|piece| Step::Write {
        begin: Begin::WhereItEnded,
        thousandths: 1_000,
        piece,
        finish: true,
    });
    let step = prop_oneof![
        8 => write,
        1 => all,
        1 => Just(Step::Lie),
        1 => (10_000_usize..400_000).prop_map(|piece| Step::Compressed { piece }),
        3 => Just(Step::Ask),
    ];
    prop::collection::vec(step, 1..12)
}

#[test]
fn the_server_always_knows_how_much_is_here() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(TestServer::start());
    let seed = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(Config { cases: 48, ..Config::default() });
    let ran = runner.run(&steps(), |steps| {
        seed.set(seed.get() + 1);
        runtime.block_on(play(&server, seed.get(), &steps));
        Ok(())
    });
    ran.unwrap();
}

async fn play(server: &TestServer, seed: u64, steps: &[Step]) {
    let bytes = noise(SIZE, seed);
    let blob = format!("{}/{SIZE}", digest(&bytes).hash);
    let (name, mut model) = (format!("uploads/session/blobs/{blob}"), Model::default());
    for step in steps {
        match *step {
            Step::Ask => {}
            Step::Lie => lie(server, &name, seed, &mut model).await,
            Step::Compressed { piece } => {
                let packed = zstd(&bytes);
                let name = format!("uploads/session/compressed-blobs/zstd/{blob}");
                let parts: Vec<_> = packed.chunks(piece).collect();
                let committed = server.write(&name, 0, &parts, true).await.unwrap();
                let sent = i64::try_from(packed.len()).unwrap();
                assert_eq!(committed, if model.is_complete { -1 } else { sent });
                model.is_complete = true;
            }
            Step::Write { begin, thousandths, piece, finish } => {
                let at = match begin {
                    Begin::AtZero => 0,
                    Begin::WhereItEnded => model.bytes,
                    Begin::Elsewhere(at) => at,
                };
                let count = (SIZE - at) * thousandths / 1_000;
                let mut parts: Vec<_> = bytes[at..at + count].chunks(piece).collect();
                parts.push(b"");
                let written = server.write(&name, at, &parts, finish).await;
                wrote(&mut model, at, count, finish, written.map_err(|it| it.code()));
            }
        }
        let expected = if model.is_complete { SIZE } else { model.bytes };
        let (committed, complete) = server.status(&name).await.unwrap();
        assert_eq!(usize::try_from(committed).unwrap(), expected, "after {step:?}");
        assert_eq!(complete, model.is_complete);
        let read = server.read(&format!("blobs/{blob}"), 0, 0).await;
        assert_eq!(read.ok().as_ref(), model.is_complete.then_some(&bytes));
    }
}

/// Follows a write, and checks what was answered.
fn wrote(model: &mut Model, at: usize, count: usize, finish: bool, answer: Result<i64, Code>) {
    if model.is_complete {
        assert_eq!(answer, Ok(SIZE.try_into().unwrap()), "it is here, whatever is sent");
    } else if at != 0 && at != model.bytes {
        assert_eq!(answer, Err(Code::InvalidArgument), "it is not where it ended");
    } else if finish && at + count < SIZE {
        assert_eq!(answer, Err(Code::InvalidArgument), "it is not all");
        model.bytes = 0;
    } else {
        assert_eq!(answer, Ok((at + count).try_into().unwrap()));
        model.bytes = at + count;
        model.is_complete = finish;
    }
}

async fn lie(server: &TestServer, name: &str, seed: u64, model: &mut Model) {
    let other = noise(SIZE, seed + 1_000_000);
    let answer = server.write(name, 0, &[&other], true).await;
    if model.is_complete {
        assert_eq!(answer.unwrap(), i64::try_from(SIZE).unwrap());
    } else {
        assert_eq!(answer.unwrap_err().code(), Code::InvalidArgument);
        model.bytes = 0;
    }
}
