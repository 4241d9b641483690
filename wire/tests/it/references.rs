//! What messages of any client refer to, whatever they are.

use std::collections::BTreeSet;
use std::io;

use model::{Digest, DigestFunction};
use proptest::prelude::*;
use prost::Message;
use wire::proto::reapi;
use wire::references;

const FUNCTION: DigestFunction = DigestFunction::Sha256;

fn message(digest: Digest) -> reapi::Digest {
    reapi::Digest { hash: digest.hex(), size_bytes: digest.size().cast_signed() }
}

fn digest(number: u64) -> Digest {
    Digest::of(FUNCTION, &number.to_le_bytes())
}

fn directory(files: &[u64], directories: &[u64]) -> reapi::Directory {
    let file = |it: &u64| reapi::FileNode {
        name: it.to_string(),
        digest: Some(message(digest(*it))),
        ..Default::default()
    };
    let child = |it: &u64| reapi::DirectoryNode {
        name: format!("d{it}"),
        digest: Some(message(digest(*it))),
    };
    reapi::Directory {
        files: files.iter().map(file).collect(),
        directories: directories.iter().map(child).collect(),
        ..Default::default()
    }
}

fn files_of_tree(bytes: &[u8]) -> io::Result<BTreeSet<Digest>> {
    let mut files = BTreeSet::new();
    references::add_files_of_tree(FUNCTION, &mut &*bytes, &mut files)?;
    Ok(files)
}

proptest! {
    #[test]
    fn a_directory_refers_to_what_is_in_it(
        files in prop::collection::vec(any::<u64>(), 0..20),
        directories in prop::collection::vec(any::<u64>(), 0..20),
    ) {
        let found = references::of_directory(FUNCTION, &directory(&files, &directories).encode_to_vec());
        let found = found.unwrap();
        prop_assert_eq!(found.files, files.into_iter().map(digest).collect::<Vec<_>>());
        prop_assert_eq!(found.directories, directories.into_iter().map(digest).collect::<Vec<_>>());
    }

    #[test]
    fn a_tree_refers_to_the_files_of_all_its_directories(
        all in prop::collection::vec(prop::collection::vec(any::<u64>(), 0..5), 1..10),
    ) {
        let mut directories = all.iter().map(|it| directory(it, &[]));
        let tree = reapi::Tree { root: directories.next(), children: directories.collect() };
        let expected = all.iter().flatten().map(|it| digest(*it)).collect();
        prop_assert_eq!(files_of_tree(&tree.encode_to_vec()).unwrap(), expected);
    }

    /// Whatever the library takes for a directory, and finds digests in, is read alike.
    #[test]
    fn damaged_messages_are_read_as_clients_read_them_or_refused(
        files in prop::collection::vec(any::<u64>(), 1..4),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = directory(&files, &[9]).encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
            let library = reapi::Directory::decode(bytes);
            // What is refused is incomplete to a server; what is taken has to be what clients will take it for.
            if let (Ok(ours), Ok(theirs)) = (references::of_directory(FUNCTION, bytes), library) {
                let ours: Vec<_> = ours.files.into_iter().map(|it| Some(message(it))).collect();
                let theirs: Vec<_> = theirs.files.into_iter().map(|it| it.digest).collect();
                prop_assert_eq!(ours, theirs);
            }
            drop(files_of_tree(bytes));
        }
    }
}

#[test]
fn a_digest_in_two_parts_is_one_as_the_library_has_it() {
    let digest = message(digest(1));
    let size = reapi::Digest { hash: String::new(), ..digest.clone() }.encode_to_vec();
    let hash = reapi::Digest { size_bytes: 0, ..digest }.encode_to_vec();
    let mut node = vec![0x0a, 1, b'a'];
    for part in [hash, size] {
        node.extend([0x12, u8::try_from(part.len()).unwrap()]);
        node.extend(part);
    }
    let mut bytes = vec![0x0a, u8::try_from(node.len()).unwrap()];
    bytes.extend(node);
    let found = references::of_directory(FUNCTION, &bytes).unwrap();
    assert_eq!(found.files, [self::digest(1)]);
}

#[test]
fn a_tree_of_empty_directories_takes_no_more_than_one_of_them() {
    // Decoded whole it would be a hundred times as large.
    let tree = [0x12, 0x00].repeat(1 << 20);
    assert!(files_of_tree(&tree).unwrap().is_empty());
}

#[test]
fn a_directory_too_large_for_an_answer_is_no_part_of_a_tree() {
    let large = directory(&(0..50_000).collect::<Vec<_>>(), &[]);
    let tree = reapi::Tree { root: Some(large), children: Vec::new() };
    let error = files_of_tree(&tree.encode_to_vec()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}
