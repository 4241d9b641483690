//! Plain `http` through a proxy: the whole address goes into the request line.
//!
//! The HTTP client only knows CONNECT, which most proxies refuse for port 80; Debian mirrors are there.
//! HTTP/1.0 is asked for, so that the answer is neither chunked nor kept open.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use super::reply::Reply;
use super::url::{Scheme, Url, basic};

/// The longest head of an answer, in bytes: what common servers accept as a request's.
const HEAD_BYTES_MAX: u64 = 64 << 10;

/// Asks `proxy` for `url`, from byte `from` on.
pub(super) fn get(
    proxy: &Url,
    url: &Url,
    from: u64,
    agent: &str,
    connect: Duration,
    read: Duration,
) -> Result<Reply, Error> {
    let stream = dial(proxy, connect)?;
    stream.set_read_timeout(Some(read))?;
    stream.set_write_timeout(Some(read))?;
    (&stream).write_all(head(proxy, url, from, agent).as_bytes())?;
    read_reply(stream)
}

fn head(proxy: &Url, url: &Url, from: u64, agent: &str) -> String {
    let mut lines = vec![
        format!("GET {} HTTP/1.0", url.plain()),
        format!("Host: {}", url.authority),
        format!("User-Agent: {agent}"),
        "Accept: */*".to_owned(),
        "Connection: close".to_owned(),
    ];
    if from > 0 {
        lines.push(format!("Range: bytes={from}-"));
    }
    if let Some(value) = url.authorization() {
        lines.push(format!("Authorization: {value}"));
    }
    if let Some(login) = &proxy.login {
        lines.push(format!("Proxy-Authorization: {}", basic(login)));
    }
    lines.join("\r\n") + "\r\n\r\n"
}

fn dial(proxy: &Url, connect: Duration) -> Result<TcpStream, Error> {
    if proxy.scheme != Scheme::Http {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "a proxy for http addresses must be an http address",
        ));
    }
    let has_port =
        proxy.authority.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok());
    let authority =
        if has_port { proxy.authority.clone() } else { format!("{}:80", proxy.authority) };
    let mut last = Error::new(ErrorKind::NotFound, "the proxy has no address");
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, connect) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn read_reply(stream: TcpStream) -> Result<Reply, Error> {
    let mut reader = BufReader::new(stream);
    let mut head = reader.by_ref().take(HEAD_BYTES_MAX);
    let mut line = String::new();
    head.read_line(&mut line)?;
    let malformed = || Error::new(ErrorKind::InvalidData, "the proxy's answer is malformed");
    let status =
        line.split(' ').nth(1).and_then(|word| word.trim().parse().ok()).ok_or_else(malformed)?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Err(malformed());
        }
        if line.trim_end().is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(malformed)?;
        headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
    let header = |wanted: &str| {
        headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone())
    };
    if header("transfer-encoding").is_some_and(|coding| coding != "identity") {
        return Err(Error::new(ErrorKind::Unsupported, "the proxy answers HTTP/1.0 in chunks"));
    }
    Ok(Reply::new(status, header, Box::new(reader)))
}
