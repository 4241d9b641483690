//! Who is let in, and who has to go because he says nothing.

use std::net::SocketAddr;

use cas_server::Limits;
use cas_server::metrics::Limit;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::http::client::HttpServer;

/// Connects from an address of this machine.
async fn connect(from: &str, server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(from.parse().unwrap()).unwrap();
    socket.connect(server).await.unwrap()
}

/// Returns what the server says before it ends the connection.
async fn last_words(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    // Whoever was cut off in the middle of something may hear of that instead of the end.
    let _ = stream.read_to_end(&mut said).await;
    said
}

#[tokio::test]
async fn one_address_shuts_out_nobody_else_and_who_is_turned_away_is_counted() {
    let server = HttpServer::start_within(Limits { connections: 4, ..Limits::default() }).await;
    let hits = || server.metrics.limits_hit(Limit::Connections);
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(connect("127.0.0.1:0", server.address).await);
    }
    assert_eq!(hits(), 0);
    assert_eq!(last_words(&mut connect("127.0.0.1:0", server.address).await).await, b"");
    assert_eq!(hits(), 1, "half of all connections are one address's");

    let mut other = connect("127.0.0.2:0", server.address).await;
    other
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    assert!(last_words(&mut other).await.starts_with(b"HTTP/1.1 200"));
    drop(silent);
    // The server hears of the end of a connection when it hears of it.
    while last_words(&mut asking(server.address).await).await.is_empty() {}
}

async fn asking(server: SocketAddr) -> TcpStream {
    let mut stream = connect("127.0.0.1:0", server).await;
    let asked = b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    // It may be turned away before it has said all of that.
    let _ = stream.write_all(asked).await;
    stream
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_for_nothing_has_to_go_whatever_he_began_to_say() {
    let server = HttpServer::start().await;
    let http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for beginning in [&b""[..], b"P", b"PRI * HTTP/2", http2, b"GET / HTTP/1.1\r\nhost:"] {
        let mut stream = connect("127.0.0.1:0", server.address).await;
        stream.write_all(beginning).await.unwrap();
        let began = tokio::time::Instant::now();
        last_words(&mut stream).await;
        let seconds = began.elapsed().as_secs();
        assert!((20..=40).contains(&seconds), "{beginning:?}: {seconds} s");
    }
}
