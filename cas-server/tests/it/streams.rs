//! Blobs as streams, as Bazel, Buck2, Go's clients and Pants send and read them.

use model::{Digest, DigestFunction};
use store::{SegmentStore, Settings};
use tonic::Code;

use crate::support::{TestServer, digest, message, noise, unzstd, zstd};

/// Small enough for memory; so large that it goes to the disk; both no multiples of anything.
const SIZES: [usize; 4] = [1, 4_096, 70_001, 3_000_017];

fn read_name(bytes: &[u8]) -> String {
    format!("main/blobs/{}/{}", digest(bytes).hash, bytes.len())
}

fn write_name(bytes: &[u8]) -> String {
    format!("main/uploads/a-uuid/blobs/{}/{}", digest(bytes).hash, bytes.len())
}

fn zstd_write_name(bytes: &[u8]) -> String {
    write_name(bytes).replace("/blobs/", "/compressed-blobs/zstd/")
}

fn zstd_read_name(bytes: &[u8]) -> String {
    read_name(bytes).replace("/blobs/", "/compressed-blobs/zstd/")
}

fn pieces(bytes: &[u8], size: usize) -> Vec<&[u8]> {
    bytes.chunks(size).collect()
}

#[tokio::test]
async fn what_was_written_is_read_in_both_encodings_from_any_offset() {
    let server = TestServer::start().await;
    for (nth, size) in SIZES.into_iter().enumerate() {
        let bytes = noise(size, nth as u64);
        let committed =
            server.write(&write_name(&bytes), 0, &pieces(&bytes, 64 << 10), true).await.unwrap();
        assert_eq!(committed, i64::try_from(size).unwrap(), "exactly the size");
        for offset in [0, size / 2, size - 1, size] {
            let at = i64::try_from(offset).unwrap();
            assert_eq!(server.read(&read_name(&bytes), at, 0).await.unwrap(), bytes[offset..]);
            let packed = server.read(&zstd_read_name(&bytes), at, 0).await.unwrap();
            assert_eq!(unzstd(&packed), bytes[offset..]);
        }
        let limited = server.read(&read_name(&bytes), 0, 1).await.unwrap();
        assert_eq!(limited, bytes[..1]);
    }
}

#[tokio::test]
async fn compressed_uploads_commit_what_was_on_the_wire() {
    let server = TestServer::start().await;
    for (nth, size) in SIZES.into_iter().enumerate() {
        let bytes = [noise(size / 2, 10 + nth as u64), vec![b'x'; size - size / 2]].concat();
        let packed = zstd(&bytes);
        let name = zstd_write_name(&bytes);
        let committed = server.write(&name, 0, &pieces(&packed, 10_000), true).await.unwrap();
        assert_eq!(committed, i64::try_from(packed.len()).unwrap());
        assert_eq!(server.read(&read_name(&bytes), 0, 0).await.unwrap(), bytes);
        let again = server.write(&name, 0, &pieces(&packed, 10_000), true).await.unwrap();
        assert_eq!(again, -1, "already here");
    }
}

#[tokio::test]
async fn several_frames_are_one_blob() {
    let server = TestServer::start().await;
    let bytes = noise(50_000, 5);
    let packed = [zstd(&bytes[..20_000]), zstd(&bytes[20_000..])].concat();
    server.write(&zstd_write_name(&bytes), 0, &pieces(&packed, 999), true).await.unwrap();
    assert_eq!(server.read(&read_name(&bytes), 0, 0).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_blob_that_is_here_is_answered_before_it_is_sent() {
    let server = TestServer::start().await;
    let bytes = noise(3_000_017, 6);
    server.write(&write_name(&bytes), 0, &pieces(&bytes, 1 << 20), true).await.unwrap();
    let committed = server.write(&write_name(&bytes), 0, &[&bytes[..10]], false).await.unwrap();
    assert_eq!(committed, 3_000_017, "the whole size, though ten bytes were sent");
}

#[tokio::test]
async fn an_interrupted_upload_is_taken_up_where_it_ended() {
    let server = TestServer::start().await;
    let bytes = noise(5_000_000, 7);
    let name = write_name(&bytes);
    assert_eq!(server.status(&name).await.unwrap(), (0, false), "unknown is nothing, no error");
    let sent = 3 << 20;
    server.write(&name, 0, &pieces(&bytes[..sent], 1 << 20), false).await.unwrap();
    let (committed, complete) = server.status(&name).await.unwrap();
    assert_eq!((usize::try_from(committed).unwrap(), complete), (sent, false));

    for (at, code) in [(sent - 1, Code::Aborted), (sent + 1, Code::InvalidArgument)] {
        let refused = server.write(&name, at, &[&bytes[at..]], true).await.unwrap_err();
        assert_eq!(refused.code(), code, "not where it ended");
    }
    let committed = server.write(&name, sent, &[&bytes[sent..]], true).await.unwrap();
    assert_eq!(committed, 5_000_000);
    assert_eq!(server.status(&name).await.unwrap(), (5_000_000, true));
    assert_eq!(server.read(&read_name(&bytes), 0, 0).await.unwrap(), bytes);
}

/// Waits until so much of an upload is here.
async fn until(server: &TestServer, name: &str, bytes: usize) {
    let expected = (bytes.try_into().unwrap(), false);
    while server.status(name).await.unwrap() != expected {}
}

#[tokio::test]
async fn what_a_client_sent_whose_connection_died_without_a_sign_is_told_and_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let store = SegmentStore::open(folder.path(), Settings::new(1 << 30)).unwrap();
    for server in [TestServer::start().await, TestServer::start_over(store).await] {
        is_gone_on_with(&server).await;
    }
    let uploads = folder.path().join("uploads").read_dir().unwrap();
    assert_eq!(uploads.count(), 0, "nothing of it is there twice");
}

async fn is_gone_on_with(server: &TestServer) {
    let again = server.reconnect().await;
    let bytes = noise(5_000_000, 7);
    let name = write_name(&bytes);
    let sent = 3 << 20;
    let silent = server.fall_silent(&name, 0, &pieces(&bytes[..sent], 1 << 20)).await;
    until(&again, &name, sent).await;

    let rest = pieces(&bytes[sent..], 100_000);
    assert_eq!(again.write(&name, sent, &rest, true).await.unwrap(), 5_000_000);
    assert_eq!(silent.answered().await.unwrap_err().code(), Code::Aborted, "it is over for that");
    assert_eq!(again.status(&name).await.unwrap(), (5_000_000, true));
    assert_eq!(again.read(&read_name(&bytes), 0, 0).await.unwrap(), bytes);
}

#[tokio::test]
async fn an_upload_that_was_gone_on_with_can_be_gone_on_with_again() {
    let server = TestServer::start().await;
    let bytes = noise(5_000_000, 7);
    let name = write_name(&bytes);
    let mib = 1 << 20;
    let mut silent = server.fall_silent(&name, 0, &[&bytes[..mib]]).await;
    for at in [mib, 2 * mib, 3 * mib] {
        until(&server, &name, at).await;
        let next = server.fall_silent(&name, at, &[&bytes[at..at + mib]]).await;
        assert_eq!(silent.answered().await.unwrap_err().code(), Code::Aborted);
        silent = next;
    }
    until(&server, &name, 4 * mib).await;
    assert_eq!(silent.finish(4 * mib, &[&bytes[4 * mib..]]).await.unwrap(), 5_000_000);
    assert_eq!(server.read(&read_name(&bytes), 0, 0).await.unwrap(), bytes);
}

#[tokio::test]
async fn whoever_comes_at_another_offset_does_not_disturb_an_upload() {
    let server = TestServer::start().await;
    let bytes = noise(5_000_000, 7);
    let name = write_name(&bytes);
    let sent = 2 << 20;
    let silent = server.fall_silent(&name, 0, &pieces(&bytes[..sent], 1 << 20)).await;
    until(&server, &name, sent).await;
    for (at, code) in [(sent - 1, Code::Aborted), (sent + 1, Code::InvalidArgument)] {
        let refused = server.write(&name, at, &[&bytes[at..]], true).await.unwrap_err();
        assert_eq!(refused.code(), code);
    }
    let other = name.replace("a-uuid", "another");
    assert_eq!(server.status(&other).await.unwrap(), (0, false), "it is another upload");
    let refused = server.write(&other, sent, &[&bytes[sent..]], true).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let begun = server.write(&name, 0, &[&bytes[..10]], false).await.unwrap();
    assert_eq!(begun, 10, "one that begins anew goes its own way");
    assert_eq!(server.status(&name).await.unwrap(), (2 << 20, false), "and is not as far");

    assert_eq!(silent.finish(sent, &[&bytes[sent..]]).await.unwrap(), 5_000_000);
    assert_eq!(server.read(&read_name(&bytes), 0, 0).await.unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_go_on_with_one_upload_at_once_most_are_told_to_ask_again_and_nothing_is_lost()
{
    let server = TestServer::start().await;
    let sent = 2 << 20;
    for seed in 0..8 {
        let bytes = noise(5_000_000, seed);
        let name = write_name(&bytes);
        let silent = server.fall_silent(&name, 0, &pieces(&bytes[..sent], 1 << 20)).await;
        until(&server, &name, sent).await;
        let rest = pieces(&bytes[sent..], 100_000);
        let uploads = (0..8).map(|_| server.write(&name, sent, &rest, true));
        for committed in futures::future::join_all(uploads).await {
            match committed {
                Ok(committed) => assert_eq!(committed, 5_000_000),
                Err(status) => assert_eq!(status.code(), Code::Aborted, "{status}"),
            }
        }
        assert_eq!(silent.answered().await.unwrap_err().code(), Code::Aborted);

        let here = usize::try_from(server.status(&name).await.unwrap().0).unwrap();
        assert!(here >= sent, "{here}");
        let committed = server.write(&name, here, &[&bytes[here..]], true).await.unwrap();
        assert_eq!(committed, 5_000_000, "nobody is there any more");
        assert_eq!(server.read(&read_name(&bytes), 0, 0).await.unwrap(), bytes);
    }
}

#[tokio::test]
async fn however_much_was_there_an_upload_is_taken_up_with_a_small_piece() {
    let server = TestServer::start().await;
    let bytes = noise(80 << 20, 7);
    let name = write_name(&bytes);
    let sent = 79 << 20;
    server.write(&name, 0, &pieces(&bytes[..sent], 1 << 20), false).await.unwrap();
    // More is there than what this would be allowed to unpack to.
    let parts = pieces(&bytes[sent..], 1024);
    assert_eq!(server.write(&name, sent, &parts, true).await.unwrap(), 80 << 20);
}

#[tokio::test]
async fn what_is_small_and_not_finished_is_not_committed() {
    let server = TestServer::start().await;
    let bytes = noise(1000, 7);
    let committed = server.write(&write_name(&bytes), 0, &[&bytes[..500]], false).await.unwrap();
    assert_eq!(committed, 0);
    assert_eq!(server.status(&write_name(&bytes)).await.unwrap(), (0, false));
}

#[tokio::test]
async fn what_unpacks_to_more_than_was_said_is_refused_before_it_is_unpacked() {
    let server = TestServer::start().await;
    // 64 GiB of zeros in 2 MiB, which no machine of ours would survive to unpack at once.
    let bomb = bomb(64 << 30);
    assert!(bomb.len() < 4 << 20, "{}", bomb.len());
    for said in [5, 3 << 20] {
        let name = zstd_write_name(&noise(said, 1));
        let refused = server.write(&name, 0, &pieces(&bomb, 1 << 20), true).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
}

/// Returns a frame that says so many zeros in blocks of one repeated byte: four bytes for each 128 KiB.
/// Source: RFC 8878, section 3.1.1.2.
fn bomb(size: u64) -> Vec<u8> {
    const BLOCK: u64 = 128 << 10;
    // Magic number, descriptor without size and checksum, and a window of 1 MiB.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x50];
    let blocks = size / BLOCK;
    for nth in 1..=blocks {
        let header = u32::from(nth == blocks) | 1 << 1 | u32::try_from(BLOCK).unwrap() << 3;
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

#[tokio::test]
async fn an_interrupted_upload_may_begin_anew() {
    let server = TestServer::start().await;
    let bytes = noise(3_000_000, 8);
    let name = write_name(&bytes);
    server.write(&name, 0, &pieces(&bytes[..2 << 20], 1 << 20), false).await.unwrap();
    let committed = server.write(&name, 0, &pieces(&bytes, 1 << 20), true).await.unwrap();
    assert_eq!(committed, 3_000_000);
    let packed = zstd(&noise(3_000_000, 9));
    let name = zstd_write_name(&noise(3_000_000, 9));
    server.write(&name, 0, &[&packed[..1_000_000]], false).await.unwrap();
    assert_eq!(server.status(&name).await.unwrap(), (0, false), "compressed ones begin at 0");
    server.write(&name, 0, &pieces(&packed, 1 << 20), true).await.unwrap();
}

#[tokio::test]
async fn an_empty_last_message_finishes() {
    let server = TestServer::start().await;
    for bytes in [noise(100, 1), noise(2_000_000, 2)] {
        let committed = server.write(&write_name(&bytes), 0, &[&bytes, b""], true).await.unwrap();
        assert_eq!(committed, i64::try_from(bytes.len()).unwrap());
    }
    assert_eq!(server.write(&write_name(b""), 0, &[b""], true).await.unwrap(), 0);
    assert_eq!(server.read(&read_name(b""), 0, 0).await.unwrap(), b"");
    let packed = server.read(&zstd_read_name(b""), 0, 0).await.unwrap();
    assert_eq!(unzstd(&packed), b"", "an empty frame");
}

#[tokio::test]
async fn what_is_not_what_it_says_is_refused_and_not_kept() {
    let server = TestServer::start().await;
    for size in [1_000, 2_000_000] {
        let (bytes, other) = (noise(size, 1), noise(size, 2));
        let name = write_name(&bytes);
        for wrong in [&other[..], &bytes[1..], &[&bytes[..], b"more"].concat()] {
            let refused = server.write(&name, 0, &pieces(wrong, 1 << 20), true).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument);
        }
        let name = zstd_write_name(&bytes);
        let bomb = zstd(&vec![0; 64 << 20]);
        for wrong in [&bytes[..], &zstd(&other), &bomb] {
            let refused = server.write(&name, 0, &pieces(wrong, 1 << 20), true).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument);
        }
        let gone = server.read(&read_name(&bytes), 0, 0).await.unwrap_err();
        assert_eq!(gone.code(), Code::NotFound);
    }
}

#[tokio::test]
async fn offsets_and_names_must_fit_together() {
    let server = TestServer::start().await;
    let bytes = noise(3_000, 3);
    for offset in [1, 5_000] {
        let refused = server.write(&write_name(&bytes), offset, &[&bytes], true).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    let refused = server.write("no/such/resource", 0, &[&bytes], true).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let refused = server.write("", 0, &[], true).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "no message at all");
}

#[tokio::test]
async fn reads_outside_the_blob_are_refused() {
    let server = TestServer::start().await;
    let bytes = noise(3_000, 4);
    server.write(&write_name(&bytes), 0, &[&bytes], true).await.unwrap();
    let (name, packed) = (read_name(&bytes), zstd_read_name(&bytes));
    for (name, offset, limit, code) in [
        (&name, 3_001, 0, Code::OutOfRange),
        (&name, -1, 0, Code::OutOfRange),
        (&name, 0, -1, Code::InvalidArgument),
        (&packed, 0, 10, Code::InvalidArgument),
        (&read_name(b"never sent"), 0, 0, Code::NotFound),
    ] {
        assert_eq!(server.read(name, offset, limit).await.unwrap_err().code(), code);
    }
}

#[tokio::test]
async fn blake3_is_named_in_resources() {
    let server = TestServer::start().await;
    let bytes = noise(2_000_000, 5);
    let digest = message(Digest::of(DigestFunction::Blake3, &bytes));
    let name = format!("blake3/{}/{}", digest.hash, digest.size_bytes);
    let upload = format!("uploads/u/blobs/{name}");
    server.write(&upload, 0, &pieces(&bytes, 1 << 20), true).await.unwrap();
    assert_eq!(server.read(&format!("blobs/{name}"), 0, 0).await.unwrap(), bytes);
    let missing = server.read(&read_name(&bytes), 0, 0).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound, "under the other function it is not here");
}

#[tokio::test]
async fn a_client_that_names_no_function_is_understood() {
    let server = TestServer::start().await;
    for size in [1_000, 2_000_000] {
        let bytes = noise(size, 11);
        let digest = message(Digest::of(DigestFunction::Blake3, &bytes));
        let name = format!("{}/{}", digest.hash, digest.size_bytes);
        let parts = pieces(&bytes, 1 << 20);
        server.write(&format!("uploads/u/blobs/{name}"), 0, &parts, true).await.unwrap();
        assert_eq!(server.read(&format!("blobs/{name}"), 0, 0).await.unwrap(), bytes);
        let named = format!("blobs/blake3/{name}");
        assert_eq!(server.read(&named, 0, 0).await.unwrap(), bytes, "it was BLAKE3");
    }
}

#[tokio::test]
async fn many_clients_with_one_name_for_their_uploads_do_not_disturb_one_another() {
    let server = TestServer::start().await;
    let bytes = noise(4_000_000, 6);
    let name = write_name(&bytes);
    let parts = pieces(&bytes, 100_000);
    let uploads = (0..16).map(|_| server.write(&name, 0, &parts, true));
    for committed in futures::future::join_all(uploads).await {
        assert_eq!(committed.unwrap(), 4_000_000);
    }
    assert_eq!(server.read(&read_name(&bytes), 0, 0).await.unwrap(), bytes);
}
