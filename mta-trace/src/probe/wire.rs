//! A connection with a clock: bytes out, replies in, and when each was there.
//!
//! In: an address, lines, a time-out for each step. Out: replies with the monotonic time of the `read(2)` that completed them. Blocking
//! calls: the client has a thread of its own, so that its clock does not wait for the tracer's loop. Invariant: no step takes longer than
//! the time-out, however slowly the server drips. Not here: what is said (`dialogue.rs`).

use super::reply::{Reader, Reply};
use super::{Error, tls};
use crate::report::ProbeTls;
use rustls::ClientConnection;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// What is read at once.
const CHUNK: usize = 16 * 1024;

/// An open connection.
pub(super) struct Wire {
    stream: TcpStream,
    tls: Option<ClientConnection>,
    reader: Reader,
    buffer: Vec<u8>,
    /// How much of the buffer was used.
    used: usize,
    /// When the buffer was read.
    read_ns: u64,
    timeout: Duration,
}

/// The clock of the trace (`CLOCK_MONOTONIC`), ns.
pub(super) fn now_ns() -> u64 {
    crate::kernel::now_ns()
}

/// What a step was about, and until when it may last.
#[derive(Clone, Copy)]
struct Step<'a> {
    what: &'a str,
    end: Instant,
    timeout: Duration,
}

impl Step<'_> {
    /// What is left of its time, for the kernel, which takes 0 for ever.
    fn left(&self) -> Result<Duration, Error> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(self.late()) } else { Ok(left) }
    }

    fn late(&self) -> Error {
        Error::Timeout { what: self.what.to_owned(), timeout: self.timeout }
    }

    fn failed(&self, error: io::Error) -> Error {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => self.late(),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => self.closed(),
            _ => Error::Io { what: self.what.to_owned(), source: error },
        }
    }

    fn closed(&self) -> Error {
        Error::Closed { what: self.what.to_owned() }
    }
}

impl Wire {
    /// Connects.
    pub fn connect(to: SocketAddr, timeout: Duration) -> Result<Self, Error> {
        let stream = TcpStream::connect_timeout(&to, timeout).map_err(|source| Error::Connect { to, source })?;
        // Each command is a segment of its own, at once.
        stream.set_nodelay(true).map_err(|source| Error::Connect { to, source })?;
        Ok(Self { stream, tls: None, reader: Reader::default(), buffer: Vec::new(), used: 0, read_ns: 0, timeout })
    }

    /// The client's own address; a mapped one as IPv4, as the report has it.
    pub fn local(&self) -> Option<SocketAddr> {
        self.stream.local_addr().ok().map(|it| SocketAddr::new(it.ip().to_canonical(), it.port()))
    }

    fn begin<'a>(&self, what: &'a str) -> Step<'a> {
        Step { what, end: Instant::now() + self.timeout, timeout: self.timeout }
    }

    /// Sends bytes; gives when the last of them were handed over (before that call).
    pub fn write(&mut self, what: &str, bytes: &[u8]) -> Result<u64, Error> {
        let step = self.begin(what);
        let mut sent_ns = now_ns();
        for chunk in bytes.chunks(CHUNK) {
            sent_ns = now_ns();
            self.send(&step, chunk)?;
        }
        Ok(sent_ns)
    }

    fn send(&mut self, step: &Step<'_>, mut bytes: &[u8]) -> Result<(), Error> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(bytes).map_err(|error| step.failed(error))?;
            return self.flush(step);
        }
        while !bytes.is_empty() {
            self.stream.set_write_timeout(Some(step.left()?)).map_err(|error| step.failed(error))?;
            let sent = retried(|| self.stream.write(bytes)).map_err(|error| step.failed(error))?;
            bytes = bytes.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// What TLS has to send.
    fn flush(&mut self, step: &Step<'_>) -> Result<(), Error> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.wants_write() {
            self.stream.set_write_timeout(Some(step.left()?)).map_err(|error| step.failed(error))?;
            retried(|| tls.write_tls(&mut self.stream)).map_err(|error| step.failed(error))?;
        }
        Ok(())
    }

    /// A whole reply, and when its last byte was here.
    pub fn reply(&mut self, what: &str) -> Result<(Reply, u64), Error> {
        let step = self.begin(what);
        loop {
            while let Some(byte) = self.buffer.get(self.used).copied() {
                self.used += 1;
                let pushed = self.reader.push(byte).map_err(|broken| Error::Broken { what: what.to_owned(), broken })?;
                if let Some(reply) = pushed {
                    return Ok((reply, self.read_ns));
                }
            }
            self.fill(&step)?;
        }
    }

    fn fill(&mut self, step: &Step<'_>) -> Result<(), Error> {
        self.buffer.resize(CHUNK, 0);
        self.used = 0;
        let read = self.receive(step);
        self.read_ns = now_ns();
        self.buffer.truncate(read.as_ref().copied().unwrap_or_default());
        if read? == 0 { Err(step.closed()) } else { Ok(()) }
    }

    fn receive(&mut self, step: &Step<'_>) -> Result<usize, Error> {
        loop {
            if let Some(tls) = &mut self.tls {
                match tls.reader().read(&mut self.buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    read => return read.map_err(|error| step.failed(error)),
                }
            }
            self.stream.set_read_timeout(Some(step.left()?)).map_err(|error| step.failed(error))?;
            let Some(tls) = &mut self.tls else {
                return retried(|| self.stream.read(&mut self.buffer)).map_err(|error| step.failed(error));
            };
            let read = retried(|| tls.read_tls(&mut self.stream)).map_err(|error| step.failed(error))?;
            let processed = tls.process_new_packets().map_err(|error| Error::Tls { reason: error.to_string() });
            // An alert says why.
            let sent = self.flush(step);
            processed.and(sent)?;
            if read == 0 {
                return Ok(0);
            }
        }
    }

    /// Drops what came behind the 220 that answers STARTTLS, before TLS: nobody knows who wrote it (RFC 3207, 6). Gives how much that was.
    pub fn drop_unencrypted(&mut self) -> usize {
        let mut dropped = self.buffer.len().saturating_sub(self.used);
        self.buffer.clear();
        self.used = 0;
        self.reader = Reader::default();
        // The server does not speak before the client's hello, so all that is there already is no TLS.
        if self.stream.set_nonblocking(true).is_ok() {
            let mut chunk = [0; 512];
            while let Ok(read @ 1..) = self.stream.read(&mut chunk) {
                dropped += read;
                if dropped > CHUNK {
                    break;
                }
            }
            // Where this fails, so does the next read.
            let _ = self.stream.set_nonblocking(false);
        }
        dropped
    }

    /// The handshake; gives when it began and when it was over.
    pub fn start_tls(&mut self, host: &str, is_verified: bool) -> Result<(ProbeTls, u64, u64), Error> {
        let step = self.begin("the TLS handshake");
        self.tls = Some(tls::connection(host, is_verified)?);
        let began_ns = now_ns();
        self.flush(&step)?;
        while self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
            self.stream.set_read_timeout(Some(step.left()?)).map_err(|error| step.failed(error))?;
            let Some(tls) = &mut self.tls else { break };
            let read = retried(|| tls.read_tls(&mut self.stream)).map_err(|error| step.failed(error))?;
            let processed = tls.process_new_packets().map_err(|error| Error::Tls { reason: error.to_string() });
            let sent = self.flush(&step);
            processed.and(sent)?;
            if read == 0 {
                return Err(step.closed());
            }
        }
        let name = |text: Option<String>| text.unwrap_or_else(|| "unknown".to_owned());
        let version = self.tls.as_ref().and_then(|tls| tls.protocol_version()).map(|it| format!("{it:?}").replace('_', "."));
        let cipher = self.tls.as_ref().and_then(|tls| tls.negotiated_cipher_suite()).map(|it| format!("{:?}", it.suite()));
        Ok((ProbeTls { version: name(version), cipher: name(cipher), verified: is_verified }, began_ns, now_ns()))
    }

    /// Closes; what the server still says is not read.
    pub fn close(mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let step = Step { what: "closing", end: Instant::now() + Duration::from_secs(1), timeout: self.timeout };
            // Nobody may be there any more.
            let _ = self.flush(&step);
        }
    }
}

/// A signal is no end.
fn retried<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
