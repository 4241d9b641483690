//! Whatever can be pinned can be written and read again.

use std::collections::{BTreeMap, BTreeSet};

use model::{Digest, DigestFunction, PathSegment, RelativePath, TreeDigest};
use proptest::prelude::*;

use super::{Item, Lock, Pin};
use crate::Sha256;
use crate::parcel::{ArchiveOptions, Commit, Key, Wrapping};

fn text() -> impl Strategy<Value = String> {
    // Spaces, percent signs, commas and letters beyond ASCII; no slash, so that it is a name, too.
    "[a-z0-9+~:,=% \u{a0}é-]{1,12}"
}

fn sha256() -> impl Strategy<Value = Sha256> {
    any::<[u8; 4]>().prop_map(|bytes| Sha256::of(&bytes))
}

fn key() -> impl Strategy<Value = Key> {
    let options = (prop::option::of(text()), any::<bool>()).prop_map(|(strip, root)| {
        let strip_prefix =
            strip.map_or_else(RelativePath::root, |name| RelativePath::new(name).unwrap());
        ArchiveOptions { strip_prefix, root }
    });
    prop_oneof![
        (text(), text(), text()).prop_map(|(name, version, arch)| Key::Deb { name, version, arch }),
        (sha256(), options).prop_map(|(sha256, options)| Key::Archive { sha256, options }),
        (sha256(), text(), any::<bool>()).prop_map(|(sha256, name, executable)| Key::File {
            sha256,
            name: PathSegment::new(name).unwrap(),
            executable
        }),
        sha256()
            .prop_map(|hash| Key::Git { commit: Commit::new(&hash.to_string()[..40]).unwrap() }),
    ]
}

fn item(function: DigestFunction) -> impl Strategy<Value = (Key, Item)> {
    (key(), sha256(), any::<u64>(), text()).prop_map(move |(key, other, size, path)| {
        let wrapping = match &key {
            Key::Deb { .. } => {
                Wrapping::Pool { path: format!("pool/{path}"), archive: other.sized(size) }
            }
            Key::Archive { sha256, .. } | Key::File { sha256, .. } => {
                Wrapping::Plain { archive: sha256.sized(size) }
            }
            Key::Git { .. } => Wrapping::Repository,
        };
        let tree = TreeDigest(Digest::from_parts(function, *other.bytes(), size));
        (key, Item { wrapping, tree })
    })
}

fn lock() -> impl Strategy<Value = Lock> {
    let function = prop_oneof![Just(DigestFunction::Blake3), Just(DigestFunction::Sha256)];
    function.prop_flat_map(|function| {
        let items = prop::collection::vec(item(function), 0..8);
        let requests = prop::collection::btree_map(text(), sha256(), 0..4);
        (
            items,
            requests,
            prop::collection::vec((text(), text(), any::<prop::sample::Index>()), 0..8),
        )
            .prop_map(move |(items, requests, wanted)| {
                let items: BTreeMap<Key, Item> = items.into_iter().collect();
                let keys: Vec<&Key> = items.keys().collect();
                let pins: BTreeSet<Pin> = wanted
                    .into_iter()
                    .filter(|_| !keys.is_empty())
                    .map(|(label, group, index)| {
                        let key = keys[index.index(keys.len())].clone();
                        Pin { label, group, key }
                    })
                    .collect();
                Lock { items, pins, requests, ..Lock::new(function) }
            })
    })
}

proptest! {
    #[test]
    fn a_lock_that_was_written_reads_the_same(lock in lock()) {
        let text = lock.to_string();
        let again = Lock::parse(&text).unwrap();
        prop_assert_eq!(&again, &lock);
        prop_assert_eq!(again.to_string(), text);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "(?s).{0,80}", kind in "(deb|archive|file|git|pin|request)?") {
        let _ = Lock::parse(&format!("bld-lock 1 unpack 1 blake3\n{kind} {text}"));
        let _ = Lock::parse(&text);
    }
}
