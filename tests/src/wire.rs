//! The client's connection: bytes out, whole replies in, through TLS once it was started.
//!
//! A reply is complete when a line with a blank after its code has been read to its end (RFC 5321 section 4.2.1).

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::journal::now_ns;

/// A whole reply.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its code.
    pub code: u16,
    /// When its last byte was read.
    pub t_ns: u64,
    /// Its lines, without their ends.
    pub lines: Vec<String>,
}

/// The connection.
pub struct Wire {
    stream: TcpStream,
    tls: Option<Box<rustls::ClientConnection>>,
    pending: Vec<u8>,
    read_ns: u64,
}

impl Wire {
    /// A connection without delays of its own; a reply may take as long as `limit`.
    pub fn new(stream: TcpStream, limit: Duration) -> Result<Self> {
        stream.set_nodelay(true).context("TCP_NODELAY")?;
        stream.set_read_timeout(Some(limit)).context("read time-out")?;
        Ok(Self { stream, tls: None, pending: Vec::new(), read_ns: 0 })
    }

    /// Sends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.tls {
            None => self.stream.write_all(bytes),
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.stream).write_all(bytes),
        }
        .context("send to the MTA")
    }

    /// Reads one whole reply.
    pub fn read_reply(&mut self) -> Result<Reply> {
        let mut lines = Vec::new();
        loop {
            let line = self.read_line()?;
            let code = line.get(..3).and_then(|code| code.parse().ok());
            let is_last = line.as_bytes().get(3) != Some(&b'-');
            lines.push(line);
            if is_last {
                let code = code.with_context(|| format!("not a reply: {}", lines.join(" / ")))?;
                return Ok(Reply { code, t_ns: self.read_ns, lines });
            }
        }
    }

    fn read_line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            let mut buffer = [0; 4096];
            // Nagle at the MTA's side would hold a reply back until we acknowledge what came before.
            rustix::net::sockopt::set_tcp_quickack(&self.stream, true).context("TCP_QUICKACK")?;
            let read = match &mut self.tls {
                None => self.stream.read(&mut buffer),
                Some(tls) => rustls::Stream::new(&mut **tls, &mut self.stream).read(&mut buffer),
            };
            let len = match read {
                // A child of another thread ended.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read.context("wait for a reply")?,
            };
            ensure!(len > 0, "the MTA closed the connection");
            self.read_ns = now_ns();
            self.pending.extend_from_slice(buffer.get(..len).unwrap_or_default());
        }
    }

    /// Closes the connection in both directions.
    pub fn shutdown(&mut self) -> Result<()> {
        self.stream.shutdown(Shutdown::Both).context("close the connection")
    }

    /// Does the TLS handshake; `pause` comes when the server's first flight has been read and is not answered yet.
    pub fn start_tls(&mut self, mut pause: impl FnMut() -> Result<()>) -> Result<()> {
        let mut tls = crate::tls::connection()?;
        while tls.wants_write() {
            tls.write_tls(&mut self.stream).context("TLS client hello")?;
        }
        while !tls.wants_write() && tls.is_handshaking() {
            rustix::net::sockopt::set_tcp_quickack(&self.stream, true).context("TCP_QUICKACK")?;
            ensure!(tls.read_tls(&mut self.stream).context("TLS handshake")? > 0, "the MTA closed the connection inside the TLS handshake");
            tls.process_new_packets().context("TLS handshake")?;
        }
        pause()?;
        while tls.is_handshaking() || tls.wants_write() {
            rustix::net::sockopt::set_tcp_quickack(&self.stream, true).context("TCP_QUICKACK")?;
            tls.complete_io(&mut self.stream).context("TLS handshake")?;
        }
        self.tls = Some(Box::new(tls));
        Ok(())
    }
}
