//! What holds for bodies of every cache: ranges, encodings, lengths, and codes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cas_server::Limits;
use model::{Digest, DigestFunction};
use proptest::prelude::*;
use store::{Blob, BlobStore as _};
use tokio::runtime;

use super::client::{Client, HttpServer, serve};
use crate::altered::AlteredStore;
use crate::support::{noise, unzstd, zstd};

/// Larger than what is held in memory while it is received.
const LARGE_BYTES: usize = (3 << 20) + 17;

#[tokio::test]
async fn what_was_put_is_got_and_head_says_how_much_there_is() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    for (key, body) in [
        ("empty", Vec::new()),
        ("small", b"hello".to_vec()),
        ("medium", noise(100_000, 1)),
        ("large", noise(LARGE_BYTES, 2)),
    ] {
        let path = format!("/gradle/{key}");
        assert_eq!(client.get(&path).await.status, 404);
        assert_eq!(client.head(&path).await.status, 404);
        assert_eq!(client.put(&path, &body).await.status, 201);

        let got = client.get(&path).await;
        assert_eq!((got.status, got.body == body), (200, true), "{key}");
        assert_eq!(got.header("content-type"), Some("application/octet-stream"));
        let head = client.head(&path).await;
        let length = body.len().to_string();
        assert_eq!((head.status, head.header("content-length")), (200, Some(length.as_str())));
        assert_eq!(head.header("accept-ranges"), Some("bytes"));
    }
    client.put("/gradle/small", b"another").await;
    assert_eq!(client.get("/gradle/small").await.body, b"another");
}

#[tokio::test]
async fn one_range_is_answered_and_what_is_not_there_is_refused() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    client.put("/gradle/key", b"0123456789").await;
    for (headers, status, range, body) in [
        (vec![("range", "bytes=2-4")], 206, Some("bytes 2-4/10"), "234"),
        (vec![("range", "bytes=7-")], 206, Some("bytes 7-9/10"), "789"),
        (vec![("range", "bytes=-2")], 206, Some("bytes 8-9/10"), "89"),
        (vec![("range", "bytes=0-99")], 206, Some("bytes 0-9/10"), "0123456789"),
        (vec![("range", "bytes=0-0"), ("accept-encoding", "zstd")], 206, Some("bytes 0-0/10"), "0"),
        (vec![("range", "bytes=0-1,4-5")], 200, None, "0123456789"),
        (vec![("range", "lines=0-1")], 200, None, "0123456789"),
        (vec![("range", "bytes=2-4"), ("if-range", "\"x\"")], 200, None, "0123456789"),
    ] {
        let got = client.ask("GET", "/gradle/key", &headers, None).await;
        assert_eq!((got.status, got.header("content-range"), got.text()), (status, range, body));
    }
    let outside = client.ask("GET", "/gradle/key", &[("range", "bytes=10-")], None).await;
    assert_eq!((outside.status, outside.header("content-range")), (416, Some("bytes */10")));
    let head = client.ask("HEAD", "/gradle/key", &[("range", "bytes=2-4")], None).await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
}

#[tokio::test]
async fn bodies_are_packed_for_whoever_asks_if_that_makes_them_smaller() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let (text, large) = (b"text ".repeat(1000), b"large ".repeat(LARGE_BYTES / 6));
    client.put("/gradle/text", &text).await;
    client.put("/gradle/large", &large).await;
    client.put("/gradle/noise", &noise(5000, 1)).await;
    client.put("/gradle/packed", &zstd(&noise(5000, 1))).await;
    client.put("/gradle/tiny", b"tiny").await;
    for (key, body) in [("text", text), ("large", large)] {
        for accepted in ["zstd", "gzip, deflate, br, zstd", "gzip;q=1.0, ZSTD;q=0.5"] {
            let headers = [("accept-encoding", accepted)];
            let got = client.ask("GET", &format!("/gradle/{key}"), &headers, None).await;
            assert_eq!(got.header("content-encoding"), Some("zstd"));
            assert_eq!(got.header("vary"), Some("accept-encoding"));
            assert!(got.body.len() < body.len() / 10 && unzstd(&got.body) == body);
        }
    }
    for (key, accepted) in [
        ("noise", "zstd"),
        ("packed", "zstd"),
        ("tiny", "zstd"),
        ("text", "gzip, br"),
        ("text", "zstd;q=0"),
        ("text", "*"),
    ] {
        let headers = [("accept-encoding", accepted)];
        let got = client.ask("GET", &format!("/gradle/{key}"), &headers, None).await;
        assert_eq!((got.status, got.header("content-encoding")), (200, None), "{key} {accepted}");
    }
}

#[tokio::test]
async fn packed_bodies_are_unpacked_and_what_is_not_packed_well_is_refused() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let packed = [("content-encoding", "zstd")];
    let large = noise(LARGE_BYTES, 4);
    let two = [zstd(b"one "), zstd(b"two")].concat();
    for (frames, body) in [
        (zstd(b"hello"), b"hello".as_slice()),
        (two, b"one two"),
        (Vec::new(), b""),
        (zstd(b""), b""),
        (zstd(&large), &large),
    ] {
        let put = client.ask("PUT", "/gradle/key", &packed, Some(&frames)).await;
        assert_eq!(put.status, 201, "{}", put.text());
        assert!(client.get("/gradle/key").await.body == body);
    }

    client.put("/gradle/key", b"before").await;
    let whole = zstd(&noise(1000, 5));
    let trailing = [whole.as_slice(), b"x"].concat();
    let bad: [&[u8]; 4] = [b"not a frame", &whole[..whole.len() - 1], &whole[..3], &trailing];
    for frames in bad {
        let put = client.ask("PUT", "/gradle/key", &packed, Some(frames)).await;
        assert_eq!(put.status, 400, "{}", put.text());
    }
    for encoding in ["gzip", "zstd, zstd", "br"] {
        let headers = [("content-encoding", encoding)];
        assert_eq!(client.ask("PUT", "/gradle/key", &headers, Some(b"x")).await.status, 415);
    }
    assert_eq!(client.get("/gradle/key").await.body, b"before");
}

#[tokio::test]
async fn a_body_that_unpacks_to_far_more_than_was_sent_is_refused() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let bomb = zstd(&vec![0; 256 << 20]);
    let put = client.ask("PUT", "/gradle/key", &[("content-encoding", "zstd")], Some(&bomb)).await;
    assert_eq!(put.status, 413, "{}", put.text());
    assert_eq!(client.get("/gradle/key").await.status, 404);

    // A frame can also ask for a window that nobody has memory for.
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.set_parameter(zstd::zstd_safe::CParameter::WindowLog(27)).unwrap();
    std::io::Write::write_all(&mut encoder, b"wide").unwrap();
    std::io::Write::flush(&mut encoder).unwrap();
    let wide = encoder.finish().unwrap();
    let put = client.ask("PUT", "/gradle/key", &[("content-encoding", "zstd")], Some(&wide)).await;
    assert_eq!(put.status, 400, "{}", put.text());
}

#[tokio::test]
async fn a_body_needs_a_length_or_chunks_and_no_length_is_too_large_unseen() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let body = noise(LARGE_BYTES, 6);
    assert_eq!(client.put_chunked("/gradle/key", &body, 70_000).await.status, 201);
    assert!(client.get("/gradle/key").await.body == body);
    assert_eq!(client.put_chunked("/gradle/none", b"", 1).await.status, 201);
    assert_eq!(client.get("/gradle/none").await.body, b"");

    assert_eq!(client.ask("PUT", "/gradle/key", &[], None).await.status, 411);
    let headers = [("content-length", "10000000000000"), ("expect", "100-continue")];
    client.send_head("PUT", "/gradle/key", &headers).await;
    // Not 100: nothing of it is wanted.
    assert_eq!(client.answer(false).await.status, 413);
}

#[tokio::test]
async fn no_body_is_larger_than_the_operator_said_however_it_is_sent() {
    let limits = Limits { blob: 1 << 20, ..Limits::default() };
    let server = HttpServer::start_within(limits).await;
    let body = noise((1 << 20) + 1, 6);
    let hex = Digest::of(DigestFunction::Sha256, &body).hex();
    for path in [format!("/cas/{hex}"), format!("/ac/{hex}"), "/gradle/key".to_owned()] {
        let mut client = server.client().await;
        assert_eq!(client.put(&path, &body).await.status, 413);
        assert_eq!(client.put_chunked(&path, &body, 70_000).await.status, 413);
        let packed = [("content-encoding", "zstd")];
        let zeros = zstd(&vec![0; body.len()]);
        assert_eq!(client.ask("PUT", &path, &packed, Some(&zeros)).await.status, 413);
        assert_eq!(client.get(&path).await.status, 404);
    }
    assert_eq!(server.client().await.put("/gradle/key", &body[1..]).await.status, 201);
}

#[tokio::test]
async fn whoever_expects_to_be_asked_for_the_body_is_asked_if_it_is_wanted() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let expecting = [("content-length", "5"), ("expect", "100-continue")];
    client.send_head("PUT", "/gradle/key", &expecting).await;
    assert_eq!(client.answer(false).await.status, 100);
    client.send(b"hello").await;
    assert_eq!(client.answer(false).await.status, 201);
    assert_eq!(client.get("/gradle/key").await.body, b"hello");

    let headers = [expecting[0], expecting[1], ("x-caller", "reader")];
    client.send_head("PUT", "/gradle/key", &headers).await;
    assert_eq!(client.answer(false).await.status, 403);
}

#[tokio::test]
async fn a_connection_stays_good_after_refusals_of_what_was_sent() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let body = noise(LARGE_BYTES, 7);
    for _ in 0..3 {
        let put = client.ask("PUT", "/gradle/key", &[("x-caller", "reader")], Some(&body)).await;
        assert_eq!(put.status, 403);
    }
    assert_eq!(client.ask("POST", "/gradle/key", &[], Some(b"x")).await.status, 405);
    assert_eq!(client.put("/gradle/key", b"x").await.status, 201);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_never_served() {
    let server = HttpServer::start().await;
    let body = noise(LARGE_BYTES, 8);
    let digest = Digest::of(DigestFunction::Sha256, &body);
    let paths = [format!("/cas/{}", digest.hex()), "/gradle/key".to_owned()];
    for path in &paths {
        for sent in [10, LARGE_BYTES - 1] {
            let mut client = server.client().await;
            let length = body.len().to_string();
            client.send_head("PUT", path, &[("content-length", &length)]).await;
            client.send(&body[..sent]).await;
            drop(client);
            assert_eq!(server.client().await.get(path).await.status, 404);
        }
    }
    let mut client = server.client().await;
    for path in &paths {
        assert_eq!(client.put(path, &body).await.status, 201);
        assert!(client.get(path).await.body == body);
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_falls_silent_is_told_so() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    client.send_head("PUT", "/gradle/key", &[("content-length", "5")]).await;
    client.send(b"he").await;
    assert_eq!(client.answer(false).await.status, 408);
}

#[tokio::test]
async fn who_may_not_is_told_so_and_who_says_no_name_is_asked_for_one() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    client.put("/gradle/key", b"x").await;
    for (caller, method, status) in [
        ("reader", "GET", 200),
        ("reader", "HEAD", 200),
        ("reader", "PUT", 403),
        ("reader", "DELETE", 403),
        ("uploader", "PUT", 403),
        ("anonymous", "GET", 401),
        ("anonymous", "PUT", 401),
    ] {
        let body = (method == "PUT").then_some(b"y".as_slice());
        let answer = client.ask(method, "/gradle/key", &[("x-caller", caller)], body).await;
        assert_eq!(answer.status, status, "{caller} {method}");
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401);
    }
    assert_eq!(client.get("/gradle/key").await.body, b"x");
    let post = client.ask("POST", "/gradle/key", &[], Some(b"")).await;
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD, PUT, DELETE")));
    assert_eq!(client.ask("DELETE", "/gradle/key", &[], None).await.status, 200);
    assert_eq!(client.ask("DELETE", "/gradle/key", &[], None).await.status, 404);
    assert_eq!(client.get("/gradle/key").await.status, 404);
}

#[tokio::test]
async fn a_full_store_says_so_and_when_to_try_again() {
    let full = AlteredStore::full();
    let mut client = Client::connect(serve(Arc::new(full.clone())).await).await;
    let large = noise(LARGE_BYTES, 9);
    let medium = noise(100_000, 9);
    for body in [&large, &medium] {
        let digest = Digest::of(DigestFunction::Sha256, body);
        for path in [format!("/cas/{}", digest.hex()), "/gradle/key".to_owned()] {
            let put = client.put(&path, body).await;
            assert_eq!((put.status, put.header("retry-after")), (507, Some("5")), "{path}");
        }
    }
    full.make_room();
    assert_eq!(client.put("/gradle/key", &large).await.status, 201);
}

#[tokio::test]
async fn a_blob_that_is_gone_takes_its_key_with_it() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let body = noise(100_000, 10);
    client.put("/gradle/key", &body).await;
    server.store.forget(Digest::of(DigestFunction::Blake3, &body));
    assert_eq!(client.get("/gradle/key").await.status, 404);
    client.put("/gradle/key", &body).await;
    assert!(client.get("/gradle/key").await.body == body);
}

#[tokio::test]
async fn many_clients_write_and_read_the_same_at_once() {
    let server = HttpServer::start().await;
    let body = noise(LARGE_BYTES, 11);
    let hex = Digest::of(DigestFunction::Sha256, &body).hex();
    let path = format!("/cas/{hex}");
    let each = (0..16).map(|_| async {
        let mut client = server.client().await;
        let status = client.put(&path, &body).await.status;
        assert!(status == 200 || status == 201);
        assert!(client.get(&path).await.body == body);
    });
    let all = futures::future::join_all(each);
    tokio::time::timeout(Duration::from_secs(60), all).await.unwrap();
}

/// How a body is sent or asked for.
#[derive(Clone, Debug)]
enum Form {
    Plain,
    Chunked(usize),
    Packed,
}

fn form() -> impl Strategy<Value = Form> {
    prop_oneof![
        Just(Form::Plain),
        (1000_usize..200_000).prop_map(Form::Chunked),
        Just(Form::Packed)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_put_in_whatever_form_is_got_in_any_form_and_range(
        size in prop_oneof![0_usize..40, 0_usize..20_000, 0_usize..3_000_000],
        is_noise in any::<bool>(),
        sent in form(),
        is_blob in any::<bool>(),
        ranges in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 4),
    ) {
        let body = if is_noise { noise(size, 12) } else { b"abcdefg".repeat(size / 7 + 1)[..size].to_vec() };
        runtime::Runtime::new().unwrap().block_on(async {
            let server = HttpServer::start().await;
            let mut client = server.client().await;
            let blob = format!("/cas/{}", Digest::of(DigestFunction::Sha256, &body).hex());
            let path = if is_blob { &blob } else { "/gradle/key" };
            let put = match sent {
                Form::Plain => client.put(path, &body).await,
                Form::Chunked(size) => client.put_chunked(path, &body, size).await,
                Form::Packed => {
                    client.ask("PUT", path, &[("content-encoding", "zstd")], Some(&zstd(&body))).await
                }
            };
            assert!(put.status == 201 || body.is_empty() && put.status == 200, "{put:?}");
            assert!(client.get(path).await.body == body);
            let packed = client.ask("GET", path, &[("accept-encoding", "zstd")], None).await;
            let is_packed = packed.header("content-encoding") == Some("zstd");
            assert!(if is_packed { unzstd(&packed.body) } else { packed.body } == body);
            for (first, last) in ranges {
                if body.is_empty() {
                    continue;
                }
                let (first, last) = (first.index(body.len()), last.index(body.len()));
                let range = format!("bytes={first}-{last}");
                let got = client.ask("GET", path, &[("range", &range)], None).await;
                if first <= last {
                    assert_eq!(got.status, 206);
                    assert!(got.body == body[first..=last]);
                } else {
                    assert!(got.status == 200 && got.body == body);
                }
            }
        });
    }
}

#[tokio::test]
async fn a_file_and_a_piecewise_blob_are_sent_as_bytes_in_memory_are() {
    let server = HttpServer::start().await;
    let body = noise(LARGE_BYTES, 13);
    let digest = Digest::of(DigestFunction::Blake3, &body);
    server.store.write(digest, Blob::Bytes(Bytes::from(body.clone()))).await.unwrap();
    let files = AlteredStore::giving_files(server.store.clone());
    let mut client = Client::connect(serve(Arc::new(files)).await).await;
    let path = format!("/cas/{}", digest.hex());
    assert!(client.get(&path).await.body == body);
    let headers = [("range", "bytes=1000000-1999999")];
    let part = client.ask("GET", &path, &headers, None).await;
    assert!(part.status == 206 && part.body == body[1_000_000..2_000_000]);
}
