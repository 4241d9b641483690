//! Uploads against a model: whatever a client sends, in whatever order, the server knows how much of it is here.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tonic::Code;

use crate::support::{Silent, TestServer, digest, noise, zstd};

/// More than is held in memory, and no multiple of anything.
const SIZE: usize = 3 * PIECE + 4_321;

/// How much of a stream goes to the disk at once.
const PIECE: usize = 1 << 20;

/// Where an upload begins.
#[derive(Clone, Copy, Debug)]
enum Begin {
    AtZero,
    WhereItEnded,
    Elsewhere(usize),
}

impl Begin {
    fn at(self, model: &Model) -> usize {
        match self {
            Self::AtZero => 0,
            Self::WhereItEnded => model.here(),
            Self::Elsewhere(at) => at,
        }
    }
}

/// What a client does.
#[derive(Clone, Debug)]
enum Step {
    /// Sends so many thousandths of what is left, in pieces of that size, and perhaps says that it is all.
    Write { begin: Begin, thousandths: usize, piece: usize, finish: bool },
    /// Sends so many pieces, and falls silent; the server does not hear that the client is gone.
    FallSilent { begin: Begin, pieces: usize },
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
    /// What came with a stream that ended.
    left: usize,
    /// Who fell silent, in the order in which they came, and how far he was.
    silent: Vec<(usize, Silent)>,
    is_complete: bool,
}

impl Model {
    fn here(&self) -> usize {
        self.silent.iter().map(|(bytes, _)| *bytes).chain([self.left]).max().unwrap()
    }

    /// Follows a stream that begins at an offset: returns whom it ends, or why it is refused.
    fn begin(&mut self, at: usize) -> Result<Option<Silent>, Code> {
        let here = self.here();
        if at != 0 && at != here {
            return Err(if at < here { Code::Aborted } else { Code::InvalidArgument });
        }
        let left = std::mem::take(&mut self.left);
        let furthest = self.silent.iter().enumerate().max_by_key(|(_, (bytes, _))| *bytes);
        let furthest = furthest.filter(|(_, (bytes, _))| at > 0 && *bytes >= left);
        let furthest = furthest.map(|(nth, _)| nth);
        Ok(furthest.map(|nth| self.silent.remove(nth).1))
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let begin = prop_oneof![
        1 => Just(Begin::AtZero),
        4 => Just(Begin::WhereItEnded),
        1 => (1..SIZE).prop_map(Begin::Elsewhere),
    ];
    let piece = prop_oneof![Just(16 << 10), Just(1 << 20), 10_000_usize..400_000];
    let write = (begin.clone(), 0_usize..=1_000, piece, any::<bool>()).prop_map(
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
        3 => (begin, 1_usize..=3).prop_map(|(begin, pieces)| Step::FallSilent { begin, pieces }),
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
                let at = begin.at(&model);
                let count = (SIZE - at) * thousandths / 1_000;
                let mut parts: Vec<_> = bytes[at..at + count].chunks(piece).collect();
                parts.push(b"");
                let written = server.write(&name, at, &parts, finish).await;
                wrote(&mut model, at, count, finish, written.map_err(|it| it.code())).await;
            }
            Step::FallSilent { begin, pieces } => {
                let at = begin.at(&model);
                let end = at + pieces * PIECE;
                // Of who is not further than others, nobody can see whether the server has heard of him.
                if end <= SIZE && end > model.here() {
                    let parts: Vec<_> = bytes[at..end].chunks(PIECE).collect();
                    let silent = server.fall_silent(&name, at, &parts).await;
                    fell_silent(server, &name, &mut model, (at, end), silent).await;
                }
            }
        }
        let expected = if model.is_complete { SIZE } else { model.here() };
        let (committed, complete) = server.status(&name).await.unwrap();
        assert_eq!(usize::try_from(committed).unwrap(), expected, "after {step:?}");
        assert_eq!(complete, model.is_complete);
        let read = server.read(&format!("blobs/{blob}"), 0, 0).await;
        assert_eq!(read.ok().as_ref(), model.is_complete.then_some(&bytes));
    }
}

/// Follows a write, and checks what was answered.
async fn wrote(
    model: &mut Model,
    at: usize,
    count: usize,
    finish: bool,
    answer: Result<i64, Code>,
) {
    if model.is_complete {
        assert_eq!(answer, Ok(SIZE.try_into().unwrap()), "it is here, whatever is sent");
        return;
    }
    match model.begin(at) {
        Err(code) => return assert_eq!(answer, Err(code), "it is not where it ended"),
        Ok(ended) => is_ended(ended).await,
    }
    if finish && at + count < SIZE {
        assert_eq!(answer, Err(Code::InvalidArgument), "it is not all");
    } else {
        assert_eq!(answer, Ok((at + count).try_into().unwrap()));
        model.left = at + count;
        model.is_complete = finish;
    }
}

/// Follows a client that sent something and is heard of no more.
async fn fell_silent(
    server: &TestServer,
    name: &str,
    model: &mut Model,
    (at, end): (usize, usize),
    silent: Silent,
) {
    if model.is_complete {
        assert_eq!(silent.answered().await.unwrap(), i64::try_from(SIZE).unwrap());
        return;
    }
    match model.begin(at) {
        Err(code) => assert_eq!(silent.answered().await.unwrap_err().code(), code),
        Ok(ended) => {
            is_ended(ended).await;
            model.silent.push((end, silent));
            // What was sent arrives when it arrives.
            let expected = (end.try_into().unwrap(), false);
            while server.status(name).await.unwrap() != expected {}
        }
    }
}

async fn is_ended(silent: Option<Silent>) {
    if let Some(silent) = silent {
        assert_eq!(silent.answered().await.unwrap_err().code(), Code::Aborted);
    }
}

async fn lie(server: &TestServer, name: &str, seed: u64, model: &mut Model) {
    let other = noise(SIZE, seed + 1_000_000);
    let answer = server.write(name, 0, &[&other], true).await;
    if model.is_complete {
        assert_eq!(answer.unwrap(), i64::try_from(SIZE).unwrap());
    } else {
        assert_eq!(answer.unwrap_err().code(), Code::InvalidArgument);
        model.left = 0;
    }
}
