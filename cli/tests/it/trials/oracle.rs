//! What clients remember of what they sent: what a server may say afterwards follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bytes::Bytes;
use model::Digest;
use prost::Message as _;

use super::client::{Client, Form, digest, message, upload_name};
use crate::random::Random;

/// How many digests are asked for at once.
const ASKED_MAX: usize = 2000;

/// The smallest blob that is a file of the store at first, in bytes.
const LARGE_BYTES: u64 = (2 << 20) + 1;

/// Something whose bytes follow from its number, which nothing else has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thing {
    Blob(u64),
    /// The `Tree` of the result of that number.
    Tree(u64),
}

impl Thing {
    /// Returns its bytes: mostly few, sometimes more than a record of the store has; half of them compress.
    pub(crate) fn bytes(self) -> Bytes {
        let Self::Blob(number) = self else { return self.tree() };
        let mut random = Random(number);
        let length = match number % 24 {
            0 => LARGE_BYTES + random.below(1 << 20),
            1..=3 => 20_000 + random.below(100_000),
            _ => 1 + random.below(4000),
        };
        let length = usize::try_from(length).unwrap();
        let mut bytes = format!("blob {number}\n").into_bytes();
        if random.below(2) == 0 {
            let line = format!("#define NUMBER_{number} {}\n", random.next());
            bytes.extend(line.bytes().cycle().take(length));
        } else {
            bytes.extend((0..length.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()));
        }
        bytes.into()
    }

    fn tree(self) -> Bytes {
        let Self::Tree(number) = self else { unreachable!("it is a tree") };
        let [.., inner] = outputs(number);
        let file = reapi::FileNode {
            name: "inner".to_owned(),
            digest: Some(message(digest(&inner.bytes()))),
            ..Default::default()
        };
        let root = reapi::Directory { files: vec![file], ..Default::default() };
        reapi::Tree { root: Some(root), children: Vec::new() }.encode_to_vec().into()
    }

    pub(crate) fn is_large(self) -> bool {
        matches!(self, Self::Blob(number) if number % 24 == 0)
    }
}

/// Returns the blobs that the result of that number refers to; the last one lies in its tree.
fn outputs(number: u64) -> [Thing; 3] {
    [0, 1, 2].map(|it| Thing::Blob(1 << 40 | number << 2 | it))
}

/// Returns all that the result of that number refers to.
pub(crate) fn closure(number: u64) -> [Thing; 4] {
    let [first, second, inner] = outputs(number);
    [first, second, inner, Thing::Tree(number)]
}

/// Returns the result of that number.
pub(crate) fn result(number: u64) -> reapi::ActionResult {
    let [first, second, _] = outputs(number);
    let file = |path: &str, thing: Thing| reapi::OutputFile {
        path: path.to_owned(),
        digest: Some(message(digest(&thing.bytes()))),
        ..Default::default()
    };
    let tree = reapi::OutputDirectory {
        path: "tree".to_owned(),
        tree_digest: Some(message(digest(&Thing::Tree(number).bytes()))),
        ..Default::default()
    };
    reapi::ActionResult {
        output_files: vec![file("first", first), file("second", second)],
        output_directories: vec![tree],
        exit_code: i32::try_from(number).unwrap(),
        ..Default::default()
    }
}

/// Something that is said anew again and again, each time by the same client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// The result of an action.
    Action(String),
    /// What is kept at that path.
    Path(String),
}

impl Key {
    pub(crate) fn action(&self) -> Digest {
        let Self::Action(name) = self else { unreachable!("it is an action") };
        digest(name.as_bytes())
    }
}

/// What was said last and acknowledged, and all that was sent after it.
#[derive(Clone, Debug, Default)]
struct Words {
    last: Option<u64>,
    perhaps: Vec<u64>,
}

impl Words {
    fn contain(&self, number: u64) -> bool {
        self.last == Some(number) || self.perhaps.contains(&number)
    }
}

/// What became of a thing that was sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    digest: Digest,
    is_acknowledged: bool,
}

#[derive(Default)]
struct Said {
    things: BTreeMap<Thing, Sent>,
    words: BTreeMap<Key, Words>,
    /// Large things whose upload broke off, with its session.
    interrupted: BTreeMap<Thing, String>,
    next: u64,
}

/// What all clients remember together.
#[derive(Default)]
pub(crate) struct Oracle(Mutex<Said>);

impl Oracle {
    /// Returns a number that nothing has yet.
    pub(crate) fn number(&self) -> u64 {
        let mut said = self.0.lock().unwrap();
        said.next += 1;
        said.next
    }

    /// Notes that a thing is sent, and returns its bytes.
    pub(crate) fn sends(&self, thing: Thing) -> Bytes {
        let bytes = thing.bytes();
        let sent = Sent { digest: digest(&bytes), is_acknowledged: false };
        self.0.lock().unwrap().things.entry(thing).or_insert(sent);
        bytes
    }

    pub(crate) fn acknowledged(&self, thing: Thing) {
        let mut said = self.0.lock().unwrap();
        said.things.get_mut(&thing).unwrap().is_acknowledged = true;
    }

    pub(crate) fn interrupted(&self, thing: Thing, session: &str) {
        self.0.lock().unwrap().interrupted.insert(thing, session.to_owned());
    }

    pub(crate) fn says(&self, key: &Key, number: u64) {
        self.0.lock().unwrap().words.entry(key.clone()).or_default().perhaps.push(number);
    }

    pub(crate) fn heard(&self, key: &Key, number: u64) {
        let words = Words { last: Some(number), perhaps: Vec::new() };
        self.0.lock().unwrap().words.insert(key.clone(), words);
    }

    /// Returns something that was sent not long ago.
    pub(crate) fn recent(&self, random: &mut Random) -> Option<Thing> {
        let said = self.0.lock().unwrap();
        let back = usize::try_from(random.below(20)).unwrap();
        said.things.range(..Thing::Blob(1 << 40)).rev().nth(back).map(|(thing, _)| *thing)
    }

    /// Asks a server for everything, and for the bytes of what `reads` chooses. With `keeps_all` nothing that was
    /// acknowledged may be gone; what is there must be right in any case.
    pub(crate) async fn check(
        &self,
        client: &Client,
        keeps_all: bool,
        mut reads: impl FnMut(Thing, bool) -> bool,
    ) {
        let (things, words) = {
            let said = self.0.lock().unwrap();
            (said.things.clone(), said.words.clone())
        };
        let things: Vec<_> = things.into_iter().collect();
        for some in things.chunks(ASKED_MAX) {
            let asked: Vec<_> = some.iter().map(|(_, sent)| sent.digest).collect();
            let missing: BTreeSet<_> = client.missing(&asked).await.unwrap().into_iter().collect();
            for (thing, sent) in some {
                let is_there = !missing.contains(&sent.digest);
                let may_be_gone = !keeps_all || !sent.is_acknowledged;
                assert!(is_there || may_be_gone, "{thing:?} was acknowledged");
                if reads(*thing, sent.is_acknowledged) {
                    let is_read = check_bytes(client, *thing).await;
                    assert!(!keeps_all || is_read == is_there, "{thing:?} is there, or it is not");
                }
            }
        }
        for (key, words) in words {
            check_words(client, &key, &words, keeps_all).await;
        }
    }

    /// Goes on with what was interrupted from where the server says. Returns how many bytes need not be sent again.
    pub(crate) async fn resume(&self, client: &Client) -> u64 {
        let interrupted = std::mem::take(&mut self.0.lock().unwrap().interrupted);
        let mut saved = 0;
        for (thing, session) in interrupted {
            let bytes = thing.bytes();
            let name = upload_name(digest(&bytes), &session, Form::Plain);
            let (committed, is_complete) = client.status(&name).await.unwrap();
            assert!(committed <= bytes.len() as u64);
            assert!(!is_complete || committed == bytes.len() as u64, "{thing:?}");
            if !is_complete {
                let offset = usize::try_from(committed).unwrap();
                saved += committed;
                let size = client.write(&bytes, &session, Form::Plain, offset, || {}).await;
                assert_eq!(size.unwrap(), i64::try_from(bytes.len()).unwrap(), "{thing:?}");
            }
            self.acknowledged(thing);
            assert!(check_bytes(client, thing).await, "{thing:?} was finished");
        }
        saved
    }
}

/// Reads a thing in one of the ways there are. Returns whether it is there; what is, must be right.
pub(crate) async fn check_bytes(client: &Client, thing: Thing) -> bool {
    let bytes = thing.bytes();
    let digest = digest(&bytes);
    let way = if thing.is_large() { digest.hash()[0] % 3 } else { digest.hash()[0] % 4 };
    let read = match way {
        0 => client.read(digest, Form::Plain).await.unwrap(),
        1 => client.read(digest, Form::Zstd).await.unwrap(),
        2 => get(client, &format!("/cas/{}", digest.hex())).await,
        _ => client.batch_read(&[digest]).await.unwrap().remove(&digest.hex()).unwrap(),
    };
    assert!(read.as_ref().is_none_or(|read| *read == bytes), "wrong bytes for {thing:?}");
    read.is_some()
}

async fn get(client: &Client, path: &str) -> Option<Bytes> {
    let answer = client.http("GET", path, &[], None).await.unwrap();
    match answer.status {
        200 => Some(answer.body),
        404 => None,
        other => panic!("{other} for {path}"),
    }
}

async fn check_words(client: &Client, key: &Key, words: &Words, keeps_all: bool) {
    match key {
        Key::Action(name) => {
            let answered = client.lookup(key.action()).await.unwrap();
            let path = format!("/ac/{}", key.action().hex());
            let over_http = get(client, &path).await;
            let over_http = over_http.map(|it| reapi::ActionResult::decode(it).unwrap());
            for answered in [&answered, &over_http].into_iter().flatten() {
                let number = u64::try_from(answered.exit_code).unwrap();
                assert!(words.contain(number), "{name} is {number}, not one of {words:?}");
                let expected = result(number);
                assert_eq!(answered.output_files, expected.output_files);
                assert_eq!(answered.output_directories, expected.output_directories);
                for thing in closure(number) {
                    let is_read = check_bytes(client, thing).await;
                    assert!(is_read, "{name} is answered without {thing:?}");
                }
            }
            // Whether what comes after it was heard is not known, and neither whether all of it is there.
            let is_certain = keeps_all && words.last.is_some() && words.perhaps.is_empty();
            assert!(!is_certain || answered.is_some() && over_http.is_some(), "{name}: {words:?}");
        }
        Key::Path(path) => {
            let kept = get(client, path).await;
            assert!(kept.is_some() || !keeps_all || words.last.is_none(), "{path}: {words:?}");
            if let Some(kept) = kept {
                let mut said = words.last.iter().chain(&words.perhaps);
                let is_right = said.any(|number| Thing::Blob(*number).bytes() == kept);
                assert!(is_right, "{path} is none of {words:?}");
            }
        }
    }
}
