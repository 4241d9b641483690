//! Compressed data is read to its very end, within limits; gzip is written the same for everybody.

use std::io::{Read as _, Write as _};

use formats::{Codec, Kind, Limits, decompress, gzip};

use crate::raw::{tar, text};
use crate::support::{COMPRESSORS, World, bz2, gz, xz, zst};

#[test]
fn every_codec_is_recognised_and_read_to_its_end() {
    let content: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    for (extension, compress) in COMPRESSORS {
        let bytes = compress(&content);
        let mut decoder = decompress(&bytes[..], &Limits::default()).unwrap();
        let mut read = Vec::new();
        decoder.read_to_end(&mut read).unwrap();
        assert_eq!(read, content, "{extension}");
        assert_eq!(decoder.codec().extension(), extension.trim_start_matches('.'));
    }
    assert_eq!(Codec::sniff(b""), Codec::Plain);
    let mut nothing = Vec::new();
    decompress(&b""[..], &Limits::default()).unwrap().read_to_end(&mut nothing).unwrap();
    assert!(nothing.is_empty());
}

#[test]
fn members_that_follow_each_other_are_one_archive() {
    let world = World::new();
    let bytes = tar(&[text("a", "x")]);
    let (first, second) = bytes.split_at(700);
    for (_, compress) in COMPRESSORS {
        let bytes = [compress(first), compress(second)].concat();
        assert_eq!(world.list(Kind::Tar, &bytes), "a = \"x\"\n");
    }
}

#[test]
fn garbage_after_compressed_data_is_refused() {
    let world = World::new();
    let bytes = tar(&[text("a", "x")]);
    for garbage in [&b"garbage"[..], b"\0\0\0\0\0"] {
        let refusal =
            |compressed: Vec<u8>| world.refusal(Kind::Tar, &[&compressed, garbage].concat());
        assert_eq!(refusal(gz(&bytes)), "something follows the end of the archive");
        for (compress, name) in [(xz as fn(&[u8]) -> _, "xz"), (zst, "zstd"), (bz2, "bzip2")] {
            let refused = refusal(compress(&bytes));
            let damaged = format!("its {name} data is damaged, or something else follows it");
            let few = "the archive is truncated";
            assert!(refused == damaged || refused == few, "{refused}");
        }
    }
}

#[test]
fn compressed_data_cut_off_anywhere_is_refused() {
    let world = World::new();
    let bytes = tar(&[text("a", "some text")]);
    for (extension, compress) in COMPRESSORS {
        let compressed = compress(&bytes);
        // Plain archives end in zeros, of which not all are needed.
        let needed = if extension.is_empty() { 2048 } else { compressed.len() };
        for length in 0..needed {
            let message = world.refusal(Kind::Tar, &compressed[..length]);
            assert!(
                message.ends_with("the archive is truncated") || message.contains("checksum"),
                "{extension} {length}: {message}"
            );
        }
    }
}

#[test]
fn damaged_data_is_refused() {
    let world = World::new();
    let bytes = tar(&[text("a", "some text")]);
    for (extension, compress) in &COMPRESSORS[1..] {
        let mut compressed = compress(&bytes);
        // Near the end all of them have a checksum.
        let from_end = match *extension {
            ".gz" => 6,
            ".xz" => 10,
            _ => 3,
        };
        let at = compressed.len() - from_end;
        compressed[at] ^= 0x55;
        let message = world.refusal(Kind::Tar, &compressed);
        assert!(message.contains("data is damaged"), "{extension} {message}");
    }
}

#[test]
fn bombs_are_refused_before_they_are_unpacked() {
    let mut world = World::new();
    world.limits.ratio = 50;
    world.limits.ratio_free_bytes = 1 << 20;
    let bomb = tar(&[text("bomb", vec![0; 8 << 20])]);
    for (_, compress) in &COMPRESSORS[1..] {
        let message = world.refusal(Kind::Tar, &compress(&bomb));
        assert_eq!(message, "`bomb`: more than 50 times the compressed size, which is the limit");
    }
    world.unpack(Kind::Tar, &bomb).unwrap();
}

#[test]
fn a_decompressor_that_wants_too_much_memory_is_refused() {
    let world = World::limited(|limits| limits.decoder_memory_bytes = 100 << 10);
    let bytes = tar(&[text("a", vec![b'x'; 1 << 20])]);
    assert_eq!(
        world.refusal(Kind::Tar, &xz(&bytes)),
        "more than 102400 bytes of memory to decompress it, which is the limit"
    );
    let message = world.refusal(Kind::Tar, &zst(&bytes));
    assert_eq!(message, "its zstd data is damaged, or something else follows it");
}

#[test]
fn gzip_is_written_without_a_name_or_time() {
    let mut writer = gzip(Vec::new());
    writer.write_all(b"hello hello hello hello\n").unwrap();
    let bytes = writer.finish().unwrap();
    // Deflate, no flags, no time, best compression, Unix: what `gzip -n -9` writes.
    assert_eq!(bytes[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3]);
    let mut read = String::new();
    decompress(&bytes[..], &Limits::default()).unwrap().read_to_string(&mut read).unwrap();
    assert_eq!(read, "hello hello hello hello\n");
}

#[test]
fn gzip_does_not_depend_on_the_pieces_that_are_written() {
    let content: Vec<u8> =
        (0..300_000u32).flat_map(|n| (n % 977 * n % 971).to_le_bytes()).collect();
    let mut outputs = [1, 7, 300, 4096, 65_536, 1 << 20, content.len()].map(|piece| {
        let mut writer = gzip(Vec::new());
        for piece in content.chunks(piece) {
            writer.write_all(piece).unwrap();
        }
        writer.finish().unwrap()
    });
    outputs.sort();
    assert!(outputs.windows(2).all(|pair| pair[0] == pair[1]));
}
