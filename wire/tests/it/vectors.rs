//! Known bytes and known digests: what is hashed is fixed for ever.

use std::collections::BTreeMap;
use std::time::Duration;

use model::*;
use wire::{decode, encode};

const SHA256: DigestFunction = DigestFunction::Sha256;

fn sample() -> Directory {
    let mut directory = Directory::new();
    let name = |text: &str| PathSegment::new(text).unwrap();
    let digest = Digest::of(SHA256, b"hi\n");
    directory.add(name("b"), Node::File { digest, executable: true }).unwrap();
    directory.add(name("a"), Node::File { digest, executable: false }).unwrap();
    directory.add(name("l"), Node::Symlink(SymlinkTarget::new("../x").unwrap())).unwrap();
    let empty = TreeDigest(Digest::of(SHA256, b""));
    directory.add(name("d"), Node::Directory(empty)).unwrap();
    directory
}

#[test]
fn an_empty_directory_is_the_empty_blob() {
    assert!(encode::directory(&Directory::new()).is_empty());
    assert_eq!(decode::directory(SHA256, b"").unwrap(), Directory::new());
}

#[test]
fn the_empty_tree_is_two_bytes() {
    assert_eq!(encode::tree(b"", &[]).as_ref(), [0x0a, 0x00]);
}

#[test]
fn a_directory_is_read_back_and_names_are_sorted() {
    let bytes = encode::directory(&sample());
    assert_eq!(decode::directory(SHA256, &bytes).unwrap(), sample());
    let first = bytes.iter().position(|byte| *byte == b'a').unwrap();
    assert!(first < bytes.iter().position(|byte| *byte == b'b').unwrap());
}

#[test]
fn a_hostile_directory_is_refused() {
    use prost::Message as _;
    use wire::proto::reapi;
    let digest = || Some(reapi::Digest { hash: Digest::of(SHA256, b"x").hex(), size_bytes: 1 });
    let file =
        |name: &str| reapi::FileNode { name: name.into(), digest: digest(), ..Default::default() };
    for name in ["..", ".", "", "a/b", "a\0"] {
        let message = reapi::Directory { files: vec![file(name)], ..Default::default() };
        decode::directory(SHA256, &message.encode_to_vec()).unwrap_err();
    }
    let twice = reapi::Directory {
        files: vec![file("a")],
        directories: vec![reapi::DirectoryNode { name: "a".into(), digest: digest() }],
        ..Default::default()
    };
    decode::directory(SHA256, &twice.encode_to_vec()).unwrap_err();
    let negative = reapi::Digest { hash: Digest::of(SHA256, b"x").hex(), size_bytes: -1 };
    let negative = reapi::DirectoryNode { name: "a".into(), digest: Some(negative) };
    let negative = reapi::Directory { directories: vec![negative], ..Default::default() };
    decode::directory(SHA256, &negative.encode_to_vec()).unwrap_err();
}

#[test]
fn an_action_keeps_its_digest() {
    let command = Command {
        arguments: vec!["/usr/bin/true".into()],
        environment: BTreeMap::from([("LC_ALL".into(), "C".into()), ("A".into(), "1".into())]),
        output_paths: vec![RelativePath::new("out").unwrap()],
        working_directory: RelativePath::new("work").unwrap(),
    };
    let bytes = encode::command(&command);
    assert_eq!(decode::command(&bytes).unwrap(), command);
    let action = Action {
        command: Digest::of(SHA256, &bytes),
        input_root: TreeDigest(Digest::of(SHA256, &encode::directory(&sample()))),
        timeout: Some(Duration::from_secs(5)),
        salt: "bld-sandbox-1".into(),
        platform: Platform(BTreeMap::from([("OSFamily".into(), "linux".into())])),
    };
    let bytes = encode::action(&action);
    assert_eq!(decode::action(SHA256, &bytes).unwrap(), action);
    // Changing this digest makes every result in every cache unreachable.
    assert_eq!(
        Digest::of(SHA256, &bytes).hex(),
        "5c75d85c100b9c300834fcf6405776d17bf86eb3d7c5c9569a6ac4e6ed80ebbf"
    );
}

#[test]
fn an_action_result_is_read_back() {
    let digest = Digest::of(SHA256, b"hi\n");
    let result = ActionResult {
        exit_code: 3,
        files: vec![OutputFile {
            path: RelativePath::new("o/a").unwrap(),
            digest,
            executable: true,
        }],
        directories: vec![OutputDirectory {
            path: RelativePath::new("d").unwrap(),
            tree: digest,
            root: TreeDigest(digest),
        }],
        symlinks: vec![OutputSymlink {
            path: RelativePath::new("l").unwrap(),
            target: SymlinkTarget::new("/x").unwrap(),
        }],
        stdout: Some(digest),
        stderr: None,
        metadata: ExecutionMetadata {
            worker: "here".into(),
            wall: Duration::from_millis(1500),
            cpu: Duration::from_millis(1400),
        },
    };
    let bytes = encode::action_result(&result);
    assert_eq!(decode::action_result(SHA256, &bytes).unwrap(), result);
}
