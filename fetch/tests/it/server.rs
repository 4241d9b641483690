//! A server that does what a test tells it to, on a port of the loopback that nobody else has.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What the server does with one request.
#[derive(Clone)]
pub(crate) enum Answer {
    /// Sends the bytes, or the part that was asked for.
    Whole(Vec<u8>),
    /// Says it sends the bytes, and hangs up after so many of them.
    Cut(Vec<u8>, usize),
    /// Sends the bytes from the first on, whatever was asked for.
    NoRanges(Vec<u8>),
    /// Says no.
    Status(u16),
    /// Sends the client on.
    Redirect(String),
}

pub(crate) struct Server {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server that gives the answers one after another, and the last one for ever.
    pub(crate) fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let (to_fill, to_see) = (Arc::clone(&heads), Arc::clone(&stopped));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if to_see.load(Ordering::Relaxed) {
                    return;
                }
                let stream = stream.unwrap();
                let head = read_head(&stream);
                let number = {
                    let mut heads = to_fill.lock().unwrap();
                    heads.push(head.clone());
                    heads.len() - 1
                };
                // A client that goes away early is a client's affair.
                let _ = answer(stream, &head, &answers[number.min(answers.len() - 1)]);
            }
        });
        Self { port, heads, stopped, thread: Some(thread) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the heads of the requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// Returns the `Range` headers of the requests so far.
    pub(crate) fn ranges(&self) -> Vec<Option<String>> {
        self.heads().iter().map(|head| header(head, "range")).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes it up.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        let thread = self.thread.take().unwrap();
        thread.join().unwrap();
    }
}

fn read_head(stream: &TcpStream) -> String {
    let mut head = String::new();
    let mut reader = BufReader::new(stream.take(1 << 16));
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
    head
}

pub(crate) fn header(head: &str, name: &str) -> Option<String> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut found = lines
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().to_owned());
    found.next()
}

fn answer(mut stream: TcpStream, head: &str, answer: &Answer) -> std::io::Result<()> {
    let from = header(head, "range")
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    match answer {
        Answer::Whole(bytes) | Answer::Cut(bytes, _) => {
            let start = from.unwrap_or(0);
            let total = bytes.len();
            let Some(part) = bytes.get(start..).filter(|part| from.is_none() || !part.is_empty())
            else {
                return write!(
                    stream,
                    "HTTP/1.1 416 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
            };
            let status = if from.is_some() { "206 Partial" } else { "200 OK" };
            write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n",
                part.len()
            )?;
            if from.is_some() {
                write!(stream, "Content-Range: bytes {start}-{}/{total}\r\n", total - 1)?;
            }
            write!(stream, "\r\n")?;
            let count = if let Answer::Cut(_, count) = answer { *count } else { part.len() };
            stream.write_all(&part[..count])
        }
        Answer::NoRanges(bytes) => {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                bytes.len()
            )?;
            stream.write_all(bytes)
        }
        Answer::Status(status) => {
            write!(stream, "HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        }
        Answer::Redirect(to) => {
            write!(
                stream,
                "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
        }
    }
}
