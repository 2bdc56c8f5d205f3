//! A client by hand, as at a telnet prompt: a line, its reply, the next line.
//!
//! For tests, which say what they expect: it panics, where the test stands, if the mail server does something else. Unlike the player of scenarios (`client`) it
//! notes nothing, and reads on after a signal: what other tests of the same process start makes such interruptions.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::Lab;

/// Longest time for one reply.
const LIMIT: Duration = Duration::from_mins(1);

/// A connection that was greeted.
#[derive(Debug)]
pub struct Telnet {
    reader: BufReader<TcpStream>,
    /// `ADDRESS:PORT` of its own end.
    pub address: String,
}

impl Telnet {
    /// Connects, and reads the greeting.
    ///
    /// # Panics
    /// Where the mail server does not greet.
    #[track_caller]
    #[must_use]
    pub fn connect(lab: &Lab) -> Self {
        let stream = lab.connect().expect("connection");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(LIMIT)).expect("time-out");
        let address = stream.local_addr().expect("its own address").to_string();
        let mut telnet = Self { reader: BufReader::new(stream), address };
        telnet.reply("220");
        telnet
    }

    /// Sends a line, or several.
    ///
    /// # Panics
    /// Where the mail server has closed.
    #[track_caller]
    pub fn send(&mut self, line: &str) {
        self.reader.get_mut().write_all(format!("{line}\r\n").as_bytes()).expect("the mail server takes it");
    }

    /// Reads a whole reply.
    ///
    /// # Panics
    /// Where it has another code.
    #[track_caller]
    pub fn reply(&mut self, code: &str) {
        let mut line = String::new();
        while line.as_bytes().get(3) != Some(&b' ') {
            line.clear();
            let read = self.reader.read_line(&mut line).expect("the mail server answers");
            assert!(read > 0 && line.starts_with(code), "expected {code}, got {line:?}");
        }
    }

    /// Sends a line and reads its reply.
    ///
    /// # Panics
    /// Where the reply has another code.
    #[track_caller]
    pub fn say(&mut self, line: &str, code: &str) {
        self.send(line);
        self.reply(code);
    }
}
