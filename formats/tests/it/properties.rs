//! Whatever tree is packed comes out as it went in; whatever bytes come, nothing panics and names stay names.

use std::collections::BTreeMap;
use std::io::Write as _;

use formats::{Kind, Limits};
use model::{Node, RelativePath, SymlinkTarget, TreeDigest};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use store::{Draft, LocalStore};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::raw::{self, deflated, directory, hard_link, pax, stored, symlink, text, zip_link};
use crate::support::{COMPRESSORS, World, gz};

/// A tree as a test makes it.
#[derive(Clone, Debug)]
enum Branch {
    File { content: Vec<u8>, executable: bool },
    Link(String),
    Directory(BTreeMap<String, Branch>),
}

fn name() -> impl Strategy<Value = String> {
    let short = "[a-zA-Z0-9 ._+~é日-]{1,12}";
    prop_oneof![9 => short, 1 => "[a-z]{90,200}"]
        .prop_filter("a name", |name| name != "." && name != "..")
}

fn tree() -> impl Strategy<Value = BTreeMap<String, Branch>> {
    let leaf = prop_oneof![
        (prop::collection::vec(any::<u8>(), 0..600), any::<bool>())
            .prop_map(|(content, executable)| Branch::File { content, executable }),
        "[a-z./]{1,150}".prop_map(Branch::Link),
    ];
    let branch = leaf.prop_recursive(4, 32, 6, |branch| {
        prop::collection::btree_map(name(), branch, 0..6).prop_map(Branch::Directory)
    });
    prop::collection::btree_map(name(), branch, 0..6)
}

fn draft(store: &LocalStore, tree: &BTreeMap<String, Branch>) -> TreeDigest {
    let mut draft = Draft::new();
    each(tree, "", &mut |path, branch| {
        let path = RelativePath::new(path).unwrap();
        match branch {
            Branch::Directory(_) => drop(draft.directory(store, &path).unwrap()),
            Branch::Link(target) => {
                draft.link(store, &path, SymlinkTarget::new(target.clone()).unwrap()).unwrap();
            }
            Branch::File { content, executable } => {
                let digest = store.ingest_bytes(content, *executable).unwrap();
                draft.add(store, &path, Node::File { digest, executable: *executable }).unwrap();
            }
        }
    });
    draft.finish(store).unwrap()
}

fn each(tree: &BTreeMap<String, Branch>, above: &str, visit: &mut dyn FnMut(&str, &Branch)) {
    for (name, branch) in tree {
        let path = if above.is_empty() { name.clone() } else { format!("{above}/{name}") };
        visit(&path, branch);
        if let Branch::Directory(children) = branch {
            each(children, &path, visit);
        }
    }
}

fn tarred(tree: &BTreeMap<String, Branch>) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    each(tree, "", &mut |path, branch| {
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_mode(0o644);
        match branch {
            Branch::Directory(_) => {
                header.set_entry_type(tar::EntryType::Directory);
                builder.append_data(&mut header, path, &[][..]).unwrap();
            }
            Branch::Link(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                // Not `append_link`: it tidies the target up.
                if target.len() > 100 {
                    let mut long = tar::Header::new_gnu();
                    long.set_entry_type(tar::EntryType::new(b'K'));
                    long.set_size(target.len() as u64 + 1);
                    let content = format!("{target}\0");
                    builder.append_data(&mut long, "././@LongLink", content.as_bytes()).unwrap();
                } else {
                    header.set_link_name_literal(target).unwrap();
                }
                builder.append_data(&mut header, path, &[][..]).unwrap();
            }
            Branch::File { content, executable } => {
                header.set_mode(if *executable { 0o755 } else { 0o644 });
                header.set_size(content.len() as u64);
                builder.append_data(&mut header, path, &content[..]).unwrap();
            }
        }
    });
    builder.into_inner().unwrap()
}

fn zipped(tree: &BTreeMap<String, Branch>) -> Vec<u8> {
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    each(tree, "", &mut |path, branch| {
        let options = SimpleFileOptions::default();
        match branch {
            Branch::Directory(_) => writer.add_directory(path, options).unwrap(),
            Branch::Link(target) => writer.add_symlink(path, target, options).unwrap(),
            Branch::File { content, executable } => {
                let mode = if *executable { 0o755 } else { 0o644 };
                writer.start_file(path, options.unix_permissions(mode)).unwrap();
                writer.write_all(content).unwrap();
            }
        }
    });
    writer.finish().unwrap().into_inner()
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

#[test]
fn every_tree_comes_out_of_tar_and_zip_as_it_went_in() {
    let world = World::new();
    let packed = |tree: BTreeMap<String, Branch>| {
        let expected = draft(&world.store, &tree);
        let tarred = tarred(&tree);
        for (extension, compress) in COMPRESSORS {
            let found = world.unpack(Kind::Tar, &compress(&tarred)).unwrap();
            prop_assert_eq!(found, expected, "tar{}", extension);
        }
        let data = raw::deb("data.tar.gz", &gz(&tarred));
        prop_assert_eq!(world.unpack(Kind::Deb, &data).unwrap(), expected);
        prop_assert_eq!(world.unpack(Kind::Zip, &zipped(&tree)).unwrap(), expected);
        Ok(())
    };
    runner(64).run(&tree(), packed).unwrap();
}

/// Unpacks, and looks at every name of what is accepted.
fn unpack_anything(world: &World, kind: Kind, bytes: &[u8]) {
    let Ok(tree) = world.unpack(kind, bytes) else { return };
    let mut pending = vec![(tree, 0)];
    while let Some((tree, depth)) = pending.pop() {
        assert!(depth <= world.limits.depth);
        // Reading a directory parses it: names and targets that are none do not come through.
        for (name, node) in world.store.directory(tree).unwrap().unwrap().children() {
            assert!(
                !["", ".", ".."].contains(&name.as_str()) && !name.as_str().contains(['/', '\0'])
            );
            if let Node::Directory(tree) = node {
                pending.push((*tree, depth + 1));
            }
        }
    }
}

fn small_world() -> World {
    World::limited(|limits| {
        *limits = Limits {
            entries: 100,
            depth: 8,
            file_bytes: 1 << 20,
            unpacked_bytes: 4 << 20,
            ratio_free_bytes: 1 << 20,
            ..Limits::default()
        };
    })
}

fn valid_archives() -> Vec<(Kind, Vec<u8>)> {
    let tar = raw::tar(&[
        directory("./d/"),
        text("./d/file", "some text"),
        hard_link("./again", "./d/file"),
        symlink("link", "../x"),
        pax(&[("path", "long/name"), ("size", "3"), ("mtime", "1.5")]),
        text("short", "abc"),
    ]);
    let streamed = raw::ZipEntry {
        flags: 1 << 3,
        descriptor: [stored("s", "x").crc, 1, 1]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect(),
        ..stored("s", "x")
    };
    let zip = raw::zip(&[
        stored("a/b", "x"),
        deflated("c", "some text text text"),
        zip_link("l", "c"),
        streamed,
    ]);
    let mut archives: Vec<_> =
        COMPRESSORS.iter().map(|(_, compress)| (Kind::Tar, compress(&tar))).collect();
    archives.push((Kind::Deb, raw::deb("data.tar", &tar)));
    archives.push((Kind::Deb, raw::deb("data.tar.gz", &gz(&tar))));
    archives.push((Kind::Zip, zip));
    archives
}

#[derive(Clone, Debug)]
enum Mutation {
    Flip(prop::sample::Index, u8),
    Truncate(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Overwrite(prop::sample::Index, Vec<u8>),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<prop::sample::Index>;
    let bytes =
        || prop::collection::vec(prop_oneof![Just(0), Just(0xff), Just(b'/'), any::<u8>()], 1..9);
    prop_oneof![
        4 => (at(), 0..8u8).prop_map(|(at, bit)| Mutation::Flip(at, 1 << bit)),
        1 => at().prop_map(Mutation::Truncate),
        1 => (at(), bytes()).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        3 => (at(), bytes()).prop_map(|(at, bytes)| Mutation::Overwrite(at, bytes)),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    if bytes.is_empty() {
        return;
    }
    match mutation {
        Mutation::Flip(at, bits) => {
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
        }
        Mutation::Truncate(at) => bytes.truncate(at.index(bytes.len())),
        Mutation::Insert(at, new) => {
            let at = at.index(bytes.len());
            bytes.splice(at..at, new.iter().copied());
        }
        Mutation::Overwrite(at, new) => {
            let at = at.index(bytes.len());
            let end = bytes.len().min(at + new.len());
            bytes[at..end].copy_from_slice(&new[..end - at]);
        }
    }
}

#[test]
fn mutated_archives_never_panic() {
    let world = small_world();
    let archives = valid_archives();
    for (kind, bytes) in &archives {
        world.unpack(*kind, bytes).unwrap();
    }
    let mutated = (0..archives.len(), prop::collection::vec(mutation(), 1..5));
    let unpacked = |(index, mutations): (usize, Vec<Mutation>)| {
        let (kind, mut bytes) = archives[index].clone();
        for mutation in &mutations {
            mutate(&mut bytes, mutation);
        }
        unpack_anything(&world, kind, &bytes);
        Ok(())
    };
    runner(1024).run(&mutated, unpacked).unwrap();
}

#[test]
fn mutated_tar_headers_with_right_checksums_never_panic() {
    let world = small_world();
    let (_, archive) = valid_archives().swap_remove(0);
    let unpacked = |mutations: Vec<Mutation>| {
        let mut bytes = archive.clone();
        for mutation in &mutations {
            mutate(&mut bytes, mutation);
        }
        for block in bytes.chunks_exact_mut(512) {
            if &block[257..262] == b"ustar" {
                raw::sum(block);
            }
        }
        unpack_anything(&world, Kind::Tar, &bytes);
        unpack_anything(&world, Kind::Tar, &gz(&bytes));
        Ok(())
    };
    runner(512).run(&prop::collection::vec(mutation(), 1..5), unpacked).unwrap();
}

#[test]
fn random_bytes_never_panic() {
    let world = small_world();
    let magic = prop_oneof![
        Just(&b""[..]),
        Just(&b"!<arch>\n"[..]),
        Just(&b"\x1f\x8b\x08\0"[..]),
        Just(&b"\xfd7zXZ\0"[..]),
        Just(&b"\x28\xb5\x2f\xfd"[..]),
        Just(&b"BZh9"[..]),
        Just(&b"PK\x05\x06"[..]),
    ];
    let kind = prop_oneof![Just(Kind::Deb), Just(Kind::Tar), Just(Kind::Zip)];
    let bytes = prop::collection::vec(any::<u8>(), 0..2048);
    let unpacked = |(kind, magic, bytes): (Kind, &[u8], Vec<u8>)| {
        unpack_anything(&world, kind, &[magic, &bytes].concat());
        Ok(())
    };
    runner(256).run(&(kind, magic, bytes), unpacked).unwrap();
}
