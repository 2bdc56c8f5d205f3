//! One POST of HTTP/1.1 (RFC 9112) on a connection of its own: as much of it as a collector's answer needs.
//!
//! In: a URL, bytes. Out: status, what it says of trying again, the body. Bounded: no answer is read beyond 64 KiB or 10 s. TLS is that of `probe`, by
//! the certificates that this machine trusts. Not here: redirects, proxies, compression, what the bodies mean.

use crate::export::Resolve;
use crate::probe;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// For each step; OTLP's own default for an export.
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ANSWER: u64 = 64 * 1024;

/// Where to send to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub is_tls: bool,
    pub host: String,
    pub port: u16,
    pub path: String,
}

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub status: u16,
    /// `Retry-After`, where it gives seconds (RFC 9110, 10.2.3).
    pub retry_after_s: Option<u64>,
    pub location: Option<String>,
    pub is_protobuf: bool,
    pub body: Vec<u8>,
}

impl Url {
    /// A base URL, to which the signal's path is added (OTLP exporter specification, "Endpoint URLs for OTLP/HTTP"), unless it is there.
    pub fn of_traces(text: &str) -> Result<Self, String> {
        let (is_tls, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            _ => return Err("is no URL that begins with http:// or https://, such as http://localhost:4318".to_owned()),
        };
        let (authority, path) = rest.find(['/', '?', '#']).map_or((rest, ""), |at| rest.split_at(at));
        if authority.contains('@') {
            return Err("has a user name in it, which is not sent; a collector that wants one needs a proxy before it".to_owned());
        }
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':').or_else(|| port.is_empty().then_some(""))),
            None => authority.rsplit_once(':').map_or((authority, Some("")), |(host, port)| (host, Some(port))),
        };
        let port = match port {
            Some("") => Some(if is_tls { 443 } else { 80 }),
            port => port.and_then(|port| port.parse().ok()),
        };
        let port = port.ok_or_else(|| "has a port that is no number".to_owned())?;
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if host.is_empty() || host.contains(['[', ']']) || !is_plain(host) || !is_plain(path) || path.starts_with(['?', '#']) || path.contains('#') {
            return Err("is no URL of a collector; name its base, such as http://localhost:4318".to_owned());
        }
        let base = path.trim_end_matches('/');
        let path = if base.ends_with("/v1/traces") { base.to_owned() } else { format!("{base}/v1/traces") };
        Ok(Self { is_tls, host: host.to_owned(), port, path })
    }

    fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == if self.is_tls { 443 } else { 80 } { host } else { format!("{host}:{}", self.port) }
    }
}

/// Sends a body and reads the answer.
pub(super) fn post(url: &Url, resolve: Resolve, content_type: &str, body: &[u8]) -> Result<Answer, String> {
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: mta-trace/{}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        url.path,
        url.authority(),
        env!("CARGO_PKG_VERSION"),
        body.len()
    );
    let tcp = connect(url, resolve)?;
    let mut bytes = Vec::new();
    let result = if url.is_tls {
        let mut stream = probe::over_tls(&url.host, tcp).map_err(|error| error.to_string())?;
        exchange(&mut stream, head.as_bytes(), body, &mut bytes)
    } else {
        let mut stream = tcp;
        exchange(&mut stream, head.as_bytes(), body, &mut bytes)
    };
    // A collector may close without saying so in TLS, or before it has read everything: what it has said counts.
    match (answer(&bytes), result) {
        (Some(answer), _) => Ok(answer),
        (None, Err(error)) => Err(match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!("no answer within {} s", TIMEOUT.as_secs()),
            _ => format!("the connection broke off: {error}"),
        }),
        (None, Ok(())) if bytes.is_empty() => {
            Err("closed the connection without an answer; is it a collector that takes OTLP over HTTP (port 4318)?".to_owned())
        }
        (None, Ok(())) => Err("its answer is no HTTP; the port of OTLP over HTTP is 4318, that over gRPC (4317) is not supported".to_owned()),
    }
}

fn connect(url: &Url, resolve: Resolve) -> Result<TcpStream, String> {
    let all = resolve(&url.host, url.port).map_err(|reason| format!("{} cannot be looked up: {reason}", url.host))?;
    let mut last = "has no address".to_owned();
    for address in all {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => {
                let set = stream.set_read_timeout(Some(TIMEOUT)).and(stream.set_write_timeout(Some(TIMEOUT)));
                return set.map(|()| stream).map_err(|error| error.to_string());
            }
            Err(error) => last = format!("cannot connect to {address}: {error}; is a collector listening there?"),
        }
    }
    Err(last)
}

fn exchange(stream: &mut (impl Read + Write), head: &[u8], body: &[u8], bytes: &mut Vec<u8>) -> io::Result<()> {
    let sent = stream.write_all(head).and_then(|()| stream.write_all(body)).and_then(|()| stream.flush());
    let end = Instant::now() + TIMEOUT;
    let mut chunk = [0; 4096];
    let read = loop {
        // With `Connection: close` the answer ends where the connection does; one that stays open is whole when its length says so.
        if is_whole(bytes) || u64::try_from(bytes.len()).is_ok_and(|read| read >= MAX_ANSWER) {
            break Ok(());
        }
        if Instant::now() > end {
            break Err(io::ErrorKind::TimedOut.into());
        }
        match stream.read(&mut chunk) {
            Ok(0) => break Ok(()),
            Ok(n) => bytes.extend_from_slice(chunk.get(..n).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    sent.and(read)
}

/// Head and body of an answer.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((std::str::from_utf8(bytes.get(..end)?).ok()?, bytes.get(end + 4..)?))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).filter_map(|line| line.split_once(':')).find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn is_chunked(head: &str) -> bool {
    header(head, "Transfer-Encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
}

fn is_whole(bytes: &[u8]) -> bool {
    let Some((head, body)) = split(bytes) else { return false };
    if is_chunked(head) {
        return body.ends_with(b"0\r\n\r\n");
    }
    header(head, "Content-Length").and_then(|length| length.parse::<usize>().ok()).is_some_and(|length| body.len() >= length)
}

fn answer(bytes: &[u8]) -> Option<Answer> {
    let (head, body) = split(bytes)?;
    let mut words = head.lines().next()?.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    let status = words.next()?.parse().ok()?;
    Some(Answer {
        status,
        retry_after_s: header(head, "Retry-After").and_then(|seconds| seconds.parse().ok()),
        location: header(head, "Location").map(str::to_owned),
        is_protobuf: header(head, "Content-Type").is_some_and(|kind| kind.starts_with("application/x-protobuf")),
        body: if is_chunked(head) { unchunked(body) } else { body.to_vec() },
    })
}

/// The chunks put together, as far as they have come (RFC 9112, 7.1).
fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = rest.get(..end).and_then(|line| std::str::from_utf8(line).ok()).and_then(|line| line.split(';').next());
        let Some(size) = size.and_then(|size| usize::from_str_radix(size.trim(), 16).ok()).filter(|size| *size > 0) else { break };
        let behind = rest.get(end + 2..).unwrap_or_default();
        let (chunk, more) = behind.split_at(size.min(behind.len()));
        whole.extend_from_slice(chunk);
        rest = more.get(2..).unwrap_or_default();
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_path_is_added_to_a_base() {
        for (text, host, port, path) in [
            ("http://localhost:4318", "localhost", 4318, "/v1/traces"),
            ("http://localhost:4318/", "localhost", 4318, "/v1/traces"),
            ("HTTPS://otel.example.com/otlp", "otel.example.com", 443, "/otlp/v1/traces"),
            ("http://[::1]:4318/v1/traces", "::1", 4318, "/v1/traces"),
            ("http://[::1]", "::1", 80, "/v1/traces"),
        ] {
            let url = Url::of_traces(text).expect(text);
            assert_eq!((url.host.as_str(), url.port, url.path.as_str()), (host, port, path), "{text}");
        }
        for text in [
            "localhost:4318",
            "grpc://x",
            "http://",
            "http://u:p@x",
            "http://x:y",
            "http://x/ y",
            "http://x?a",
            "http://x/\r\nEvil: 1",
            "http://[::1",
        ] {
            assert!(Url::of_traces(text).is_err(), "{text}");
        }
    }

    #[test]
    fn answers_are_read() {
        let plain = answer(b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 7\r\nContent-Length: 4\r\n\r\nbusy").expect("answer");
        assert_eq!((plain.status, plain.retry_after_s, plain.body.as_slice()), (503, Some(7), &b"busy"[..]));
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/x-protobuf\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        assert!(is_whole(chunked) && !is_whole(&chunked[..chunked.len() - 1]));
        assert_eq!(answer(chunked).map(|it| (it.is_protobuf, it.body)), Some((true, b"abcde".to_vec())));
        assert_eq!(answer(b"PRI * HTTP/2.0\r\n\r\n"), None);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,60}") {
            let _ = (answer(&bytes), is_whole(&bytes), unchunked(&bytes), Url::of_traces(&text), Url::of_traces(&format!("http://{text}")));
            let framed = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", bytes.as_slice()].concat();
            let _ = answer(&framed);
        }
    }
}
