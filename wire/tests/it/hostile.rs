//! Bytes that are almost messages: every parser takes them, or says what is wrong.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use model::{Digest, DigestFunction};
use proptest::prelude::*;
use prost::Message;
use wire::elements::Shape;
use wire::json::JsonResults;
use wire::kept::{KeptBody, KeptContent};
use wire::proto::reapi;
use wire::request::RequestMetadata;
use wire::{asset, decode, details, encode, references};

const FUNCTION: DigestFunction = DigestFunction::Blake3;

fn digest() -> Digest {
    Digest::of(FUNCTION, b"something")
}

static JSON: LazyLock<JsonResults> = LazyLock::new(JsonResults::new);

/// Returns one message of each kind.
fn good() -> Vec<Bytes> {
    let digest = || Some(encode::digest_message(self::digest()));
    let property = reapi::NodeProperty { name: "a".to_owned(), value: "b".to_owned() };
    let properties = reapi::NodeProperties {
        properties: vec![property],
        unix_mode: Some(0o644),
        mtime: Some(prost_types::Timestamp { seconds: -1, nanos: 7 }),
    };
    let file = reapi::FileNode { name: "a".to_owned(), digest: digest(), ..Default::default() };
    let child = reapi::DirectoryNode { name: "b".to_owned(), digest: digest() };
    let link = reapi::SymlinkNode {
        name: "c".to_owned(),
        target: "../a".to_owned(),
        ..Default::default()
    };
    let directory = reapi::Directory {
        files: vec![file],
        directories: vec![child],
        symlinks: vec![link],
        ..Default::default()
    };
    let command = reapi::Command {
        arguments: vec!["cc".to_owned(), String::new()],
        output_paths: vec!["out/a".to_owned()],
        ..Default::default()
    };
    let action = reapi::Action {
        command_digest: digest(),
        input_root_digest: digest(),
        timeout: Some(prost_types::Duration { seconds: 60, nanos: 1 }),
        ..Default::default()
    };
    let output = reapi::OutputFile {
        path: "out/a".to_owned(),
        digest: digest(),
        node_properties: Some(properties),
        ..Default::default()
    };
    let output_directory = reapi::OutputDirectory {
        path: "out".to_owned(),
        tree_digest: digest(),
        root_directory_digest: digest(),
        ..Default::default()
    };
    let metadata = reapi::ExecutedActionMetadata {
        auxiliary_metadata: vec![prost_types::Any {
            type_url: "type.googleapis.com/bld.v1.ResourceUsage".to_owned(),
            value: vec![0x0a, 2, 8, 1],
        }],
        virtual_execution_duration: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..Default::default()
    };
    let result = reapi::ActionResult {
        output_files: vec![output],
        output_directories: vec![output_directory],
        execution_metadata: Some(metadata),
        stdout_digest: digest(),
        ..Default::default()
    };
    let encoded = directory.encode_to_vec();
    let tree = encode::tree(&encoded, &[Bytes::from(encoded.clone())]);
    let known = asset::Asset {
        digest: self::digest(),
        expires: Some(std::time::UNIX_EPOCH + Duration::from_secs(9)),
        blobs: vec![self::digest()],
        directories: Vec::new(),
    };
    let asked = RequestMetadata { tool: "bld".to_owned(), ..RequestMetadata::default() };
    let kept = KeptBody {
        tag: Some("signed".to_owned()),
        duration: Some(Duration::from_millis(7)),
        ..KeptContent::Blob(self::digest()).into()
    };
    let result = Bytes::from(result.encode_to_vec());
    let json = JSON.write(&result).unwrap();
    let encoded = [encoded, command.encode_to_vec(), action.encode_to_vec(), asked.encode()];
    let told = [
        details::retry(8, "full", Duration::from_secs(5)),
        details::missing(9, "missing", &[self::digest()]),
    ];
    let others = [result, json, tree, known.encode(), kept.encode()];
    encoded.map(Bytes::from).into_iter().chain(others).chain(told).collect()
}

/// Gives bytes to every parser. What one of them takes for a value is one: it is the same after it was written and read again.
fn parse(bytes: &Bytes) {
    if let Ok(found) = decode::directory(FUNCTION, bytes) {
        assert_eq!(decode::directory(FUNCTION, &encode::directory(&found)).unwrap(), found);
    }
    if let Ok(found) = decode::command(bytes) {
        assert_eq!(decode::command(&encode::command(&found)).unwrap().arguments, found.arguments);
    }
    if let Ok(found) = decode::action(FUNCTION, bytes) {
        assert_eq!(decode::action(FUNCTION, &encode::action(&found)).unwrap(), found);
    }
    if let Ok(found) = decode::action_result(FUNCTION, bytes) {
        let again = decode::action_result(FUNCTION, &encode::action_result(&found)).unwrap();
        assert_eq!(again, found);
    }
    if let Ok(found) = KeptBody::decode(bytes.clone()) {
        assert_eq!(KeptBody::decode(found.encode()).unwrap(), found);
    }
    if let Ok(found) = asset::Asset::decode(FUNCTION, bytes.clone()) {
        assert_eq!(asset::Asset::decode(FUNCTION, found.encode()).unwrap(), found);
    }
    if let Some(found) = RequestMetadata::decode(bytes) {
        assert_eq!(RequestMetadata::decode(&found.encode()), Some(found));
    }
    if let Ok(found) = JSON.read(bytes) {
        // What can be said in JSON is a message, if not one that can be said in JSON again.
        reapi::ActionResult::decode(found).unwrap();
    }
    drop(JSON.write(bytes));
    assert!(decode::tree_root(bytes).is_none_or(|root| root.len() < bytes.len()));
    drop(references::of_result(FUNCTION, bytes));
    drop(references::of_directory(FUNCTION, bytes));
    assert!(references::names(bytes) <= bytes.len() as u64);
    for shape in [Shape::of_result(), Shape::of_directory()] {
        assert!(!shape.count(bytes).is_ok_and(|count| count > bytes.len()));
    }
    details::retry_delay(bytes);
}

#[test]
fn good_messages_are_taken() {
    let good = good();
    good.iter().for_each(parse);
    decode::directory(FUNCTION, &good[0]).unwrap();
    decode::command(&good[1]).unwrap();
    decode::action(FUNCTION, &good[2]).unwrap();
    decode::action_result(FUNCTION, &good[4]).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn no_bytes_make_a_parser_stumble(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5),
        cut in any::<prop::sample::Index>(),
        again in 0_usize..3,
    ) {
        let good = good();
        let mut bytes = good[which.index(good.len())].to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let cut = cut.index(bytes.len());
        match again {
            0 => {}
            1 => bytes.truncate(cut),
            _ => bytes.extend_from_within(cut..),
        }
        parse(&bytes.into());
    }
}
