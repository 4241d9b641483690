//! Known archives and trees become known digests: who changes one of these has to raise a version.

use formats::{COMPOSE_VERSION, Kind, Operation, UNPACK_RULES_VERSION, compose, gzip};
use model::{Digest, DigestFunction};
use std::io::Write as _;

use crate::raw::{
    TarEntry, ZipEntry, deb, deflated, directory, hard_link, pax, stored, symlink, tar, text, zip,
    zip_link,
};
use crate::support::{World, gz};

const BLAKE3: DigestFunction = DigestFunction::Blake3;
const SHA256: DigestFunction = DigestFunction::Sha256;

fn large() -> Vec<u8> {
    (0..400_000u32).flat_map(u32::to_le_bytes).collect()
}

fn tar_archive() -> Vec<u8> {
    tar(&[
        directory("./"),
        directory("./empty"),
        text("./etc/motd", "hello\n"),
        TarEntry { mode: "0004711\0", ..text("./usr/bin/run", "#!/bin/sh\n") },
        hard_link("./usr/bin/again", "./usr/bin/run"),
        symlink("./usr/share", "../share"),
        pax(&[("path", "./größe/\u{65e5}"), ("mtime", "1.25")]),
        text("short", ""),
        text("./large", large()),
    ])
}

fn zip_archive() -> Vec<u8> {
    let utf8 = 1 << 11;
    zip(&[
        ZipEntry { mode: 0o040_755, ..stored("empty/", "") },
        stored("etc/motd", "hello\n"),
        ZipEntry { mode: 0o104_711, ..deflated("usr/bin/run", "#!/bin/sh\n") },
        ZipEntry { mode: 0o100_755, ..stored("usr/bin/again", "#!/bin/sh\n") },
        zip_link("usr/share", "../share"),
        ZipEntry { flags: utf8, ..stored("größe/\u{65e5}", "") },
        deflated("large", large()),
    ])
}

#[test]
fn known_archives_become_known_trees() {
    assert_eq!(UNPACK_RULES_VERSION, 1, "new rules need new digests below, and the old ones kept");
    let tar = tar_archive();
    for (kind, bytes) in [
        (Kind::Tar, tar.clone()),
        (Kind::Tar, gz(&tar)),
        (Kind::Deb, deb("data.tar.gz", &gz(&tar))),
        (Kind::Zip, zip_archive()),
    ] {
        for (function, digest) in [
            (BLAKE3, "7e92fa4f3fb783c319d682eef43978ae5ce106ebe2d095ac9ab005f17aed98ad/393"),
            (SHA256, "7046077819e7547cc3cec7e4786ce7394d72bd4ff9d40f3ac3e4c99702a77711/393"),
        ] {
            let tree = World::with(function).unpack(kind, &bytes).unwrap();
            assert_eq!(tree.to_string(), digest, "{kind:?} {function}");
        }
    }
}

#[test]
fn known_operations_make_a_known_tree() {
    assert_eq!(COMPOSE_VERSION, 1, "another version needs new digests below");
    let operations: Vec<Operation> = serde_json::from_str(
        r#"[
            {"merge": {"tree": 0, "from": "usr/bin", "to": "bin"}},
            {"merge": {"tree": 0, "usr_merged": true}},
            {"merge": {"tree": 1, "from": "etc", "to": "etc", "on_conflict": "last"}},
            {"usr_merge": {}},
            {"remove": {"paths": ["gr*/**", "large"]}},
            {"link": {"path": "usr/bin/again", "target": "run"}},
            {"file": {"path": "etc/hostname", "text": "builder\n"}},
            {"directory": {"path": "tmp"}}
        ]"#,
    )
    .unwrap();
    for (function, digest) in [
        (BLAKE3, "ead21361b7a978c8b59f89fda66755b56ae2649d2caecd38cc3ac2c888ddaf6a/402"),
        (SHA256, "353f15a864dfda562d43e4145885976f66dec3f31f412ba453a012b6c57bb328/402"),
    ] {
        let world = World::with(function);
        let first = world.unpack(Kind::Tar, &tar_archive()).unwrap();
        let second = world.unpack(Kind::Tar, &tar(&[text("etc/motd", "bye\n")])).unwrap();
        let tree = compose(&world.store, &[first, second], &operations).unwrap();
        assert_eq!(
            world.listing(tree),
            "bin -> usr/bin\nempty/\netc/\netc/hostname = \"builder\\n\"\netc/motd = \"bye\\n\"\n\
             größe/\ntmp/\nusr/\nusr/bin/\nusr/bin/again -> run\nusr/bin/run* = \"#!/bin/sh\\n\"\n\
             usr/share -> ../share\n"
        );
        assert_eq!(tree.to_string(), digest, "{function}");
    }
}

#[test]
fn known_bytes_become_known_gzip() {
    let mut writer = gzip(Vec::new());
    writer.write_all(&large()).unwrap();
    let digest = Digest::of(SHA256, &writer.finish().unwrap());
    // Another digest means that zlib-rs compresses differently: raise the versions of what uses it.
    assert_eq!(
        digest.to_string(),
        "c355a4c909af08e633281a0fa3fdecb1cf456359de9612ad1def30c22dbb2220/553458"
    );
}
