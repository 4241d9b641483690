//! How many elements a message has is known before it is decoded.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use prost_reflect::{Cardinality, DescriptorPool};
use wire::elements::{ELEMENT_BYTES, Elements, Malformed, Shape};
use wire::proto::{asset, bld, reapi};

const BLOBS: &str = "/build.bazel.remote.execution.v2.ContentAddressableStorage";
const UPDATE: &str = "/build.bazel.remote.execution.v2.ActionCache/UpdateActionResult";

fn shape(path: &str) -> Shape {
    Shape::of_request(path).expect("there is that call")
}

fn result() -> reapi::ActionResult {
    let property = reapi::NodeProperty { name: "a".to_owned(), value: String::new() };
    let properties = reapi::NodeProperties { properties: vec![property; 3], ..Default::default() };
    let file = reapi::OutputFile {
        path: "out".to_owned(),
        // Bytes are no messages, whatever they look like.
        contents: Bytes::from_static(&[0x0a, 0, 0x0a, 0]),
        node_properties: Some(properties),
        ..Default::default()
    };
    let metadata = reapi::ExecutedActionMetadata {
        auxiliary_metadata: vec![prost_types::Any::default(); 5],
        ..Default::default()
    };
    reapi::ActionResult {
        output_files: vec![file; 2],
        output_symlinks: vec![reapi::OutputSymlink::default(); 7],
        execution_metadata: Some(metadata),
        exit_code: -1,
        ..Default::default()
    }
}

/// How many elements [`result`] has.
const OF_RESULT: usize = 2 + 2 * 3 + 7 + 5;

#[expect(deprecated, reason = "the two old lists are lists, too")]
fn elements_of(result: &reapi::ActionResult) -> usize {
    let properties =
        |it: &Option<reapi::NodeProperties>| it.as_ref().map_or(0, |it| it.properties.len());
    let links =
        [&result.output_symlinks, &result.output_file_symlinks, &result.output_directory_symlinks];
    let links = links.into_iter().flatten().map(|it| 1 + properties(&it.node_properties));
    let files = result.output_files.iter().map(|it| 1 + properties(&it.node_properties));
    let metadata = result.execution_metadata.as_ref().map_or(0, |it| it.auxiliary_metadata.len());
    files.chain(links).sum::<usize>() + result.output_directories.len() + metadata
}

#[test]
fn the_elements_of_all_lists_count_however_deep_they_lie() {
    assert_eq!(Shape::of_result().count(&result().encode_to_vec()), Ok(OF_RESULT));
    let request = reapi::UpdateActionResultRequest {
        action_result: Some(result()),
        instance_name: "p".to_owned(),
        ..Default::default()
    };
    assert_eq!(shape(UPDATE).count(&request.encode_to_vec()), Ok(OF_RESULT));
    assert_eq!(shape(UPDATE).count(b""), Ok(0));
    assert_eq!(Shape::of_request("/build.bazel.Another/Call"), None);
}

#[test]
fn numbers_count_one_by_one_also_where_they_are_packed() {
    let shape = shape(&format!("{BLOBS}/BatchReadBlobs"));
    let request = reapi::BatchReadBlobsRequest {
        acceptable_compressors: vec![1; 300],
        digests: vec![reapi::Digest::default(); 4],
        ..Default::default()
    };
    assert_eq!(shape.count(&request.encode_to_vec()), Ok(304));
    assert_eq!(shape.count(&[0x18, 1].repeat(9)), Ok(9));
    assert_eq!(shape.count(&[0x12, 0].repeat(9)), Ok(9));
}

#[test]
fn what_ends_outside_of_what_it_is_in_is_malformed() {
    // A result whose file is longer than it is; one that is longer than its message; a kind of field that there is not; a group.
    for bytes in [&[0x1a, 2, 0x12, 5, 0, 0, 0, 0, 0][..], &[0x1a, 5, 0x12], &[0x0e], &[0x0b]] {
        assert_eq!(shape(UPDATE).count(bytes), Err(Malformed), "{bytes:?}");
    }
    assert_eq!(shape(UPDATE).count(&[0xff; 11]), Err(Malformed));
    let mut elements = Elements::new(Shape::of_result(), 2);
    assert_eq!(elements.take(&[0x12, 0]), Ok(1));
    assert_eq!(elements.take(&[0x12]), Err(Malformed));
}

/// Returns the names of the messages that lists in requests, results and directories are of.
fn listed() -> BTreeSet<String> {
    let pool = DescriptorPool::decode(wire::DESCRIPTORS).unwrap();
    let named = ["ActionResult", "Directory"].map(|it| {
        pool.get_message_by_name(&format!("build.bazel.remote.execution.v2.{it}")).unwrap()
    });
    let methods = pool.services().flat_map(|it| it.methods().collect::<Vec<_>>());
    let mut pending: Vec<_> = methods.map(|it| it.input()).chain(named).collect();
    let (mut seen, mut listed) = (BTreeSet::new(), BTreeSet::new());
    while let Some(message) = pending.pop() {
        if !seen.insert(message.full_name().to_owned()) {
            continue;
        }
        for field in message.fields() {
            let Some(below) = field.kind().as_message().cloned() else { continue };
            if field.cardinality() == Cardinality::Repeated {
                listed.insert(below.full_name().to_owned());
            }
            pending.push(below);
        }
    }
    listed
}

#[test]
fn an_element_takes_no_more_memory_than_is_said() {
    let reapi = "build.bazel.remote.execution.v2";
    let sizes = BTreeMap::from([
        (format!("{reapi}.Digest"), size_of::<reapi::Digest>()),
        (
            format!("{reapi}.BatchUpdateBlobsRequest.Request"),
            size_of::<reapi::batch_update_blobs_request::Request>(),
        ),
        (format!("{reapi}.OutputFile"), size_of::<reapi::OutputFile>()),
        (format!("{reapi}.OutputSymlink"), size_of::<reapi::OutputSymlink>()),
        (format!("{reapi}.OutputDirectory"), size_of::<reapi::OutputDirectory>()),
        (format!("{reapi}.NodeProperty"), size_of::<reapi::NodeProperty>()),
        (format!("{reapi}.FileNode"), size_of::<reapi::FileNode>()),
        (format!("{reapi}.DirectoryNode"), size_of::<reapi::DirectoryNode>()),
        (format!("{reapi}.SymlinkNode"), size_of::<reapi::SymlinkNode>()),
        ("google.protobuf.Any".to_owned(), size_of::<prost_types::Any>()),
        ("build.bazel.remote.asset.v1.Qualifier".to_owned(), size_of::<asset::Qualifier>()),
        ("bld.v1.LedgerEntry".to_owned(), size_of::<bld::LedgerEntry>()),
    ]);
    assert_eq!(sizes.keys().cloned().collect::<BTreeSet<_>>(), listed());
    for (name, bytes) in sizes {
        // Lists grow by doubling, and no text takes less than 32 bytes: a path, a hash and a target.
        assert!(2 * bytes + 3 * 32 <= ELEMENT_BYTES, "{name} has {bytes} bytes");
    }
}

proptest! {
    #[test]
    fn however_the_bytes_come_the_count_is_the_same(steps in prop::collection::vec(1_usize..40, 1..20)) {
        let bytes = result().encode_to_vec();
        let (mut elements, mut count, mut rest) =
            (Elements::new(Shape::of_result(), bytes.len() as u64), 0, bytes.as_slice());
        for step in steps.iter().cycle() {
            let (piece, more) = rest.split_at((*step).min(rest.len()));
            count += elements.take(piece).unwrap();
            rest = more;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(count, OF_RESULT);
    }

    #[test]
    fn what_can_be_decoded_has_no_more_elements_than_were_counted(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = result().encode_to_vec();
        for (at, byte) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        for bytes in [&bytes[..], &bytes[..end.index(bytes.len())]] {
            let Ok(decoded) = reapi::ActionResult::decode(bytes) else { continue };
            match Shape::of_result().count(bytes) {
                Ok(count) => prop_assert!(elements_of(&decoded) <= count),
                // Decoders still take groups, of which there are none.
                Err(Malformed) => prop_assert!(bytes.iter().any(|it| it & 7 == 3), "{:?}", bytes),
            }
        }
    }
}
