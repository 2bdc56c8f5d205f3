//! Reads a log: plain or compressed, from a file or standard input, also while it is still being written.

use super::{Error, decode};
use crate::event::{LOG_SCHEMA, Record};
use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};

/// Longest line that is taken in; the longest record has 4096 bytes of data.
const MAX_LINE_BYTES: u64 = 1 << 20;
/// First bytes of a zstd frame (RFC 8878, 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What a line of a log holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A record.
    Record(Box<Record>),
    /// Nothing that can be read.
    Unreadable {
        /// Which line, from 1.
        line: u64,
        /// Why.
        reason: String,
    },
    /// A kind of record that this version does not know.
    Unknown {
        /// Which line, from 1.
        line: u64,
        /// Its kind.
        kind: String,
    },
    /// The log ends in the middle of a line or of a compressed frame: the tracer was stopped.
    Cut {
        /// Which line, from 1.
        line: u64,
    },
}

/// The lines of a log, one after another.
pub struct Reader {
    path: String,
    input: Box<dyn BufRead>,
    line: u64,
    /// The line that is being read.
    bytes: Vec<u8>,
    has_header: bool,
    is_over: bool,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("path", &self.path).field("line", &self.line).finish_non_exhaustive()
    }
}

/// Opens a log; `-` is standard input.
pub fn read(path: &str) -> Result<Reader, Error> {
    if path == "-" {
        return Reader::new("standard input", Box::new(BufReader::new(stdin())));
    }
    let file = File::open(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
    Reader::new(path, Box::new(BufReader::new(file)))
}

impl Reader {
    /// Reads from any source; compressed if it begins like that.
    pub fn new(name: &str, mut input: Box<dyn BufRead>) -> Result<Self, Error> {
        let failed = |source| Error::Read { path: name.to_owned(), source };
        // A pipe may bring its first bytes one by one.
        let mut magic = Vec::new();
        input.by_ref().take(4).read_to_end(&mut magic).map_err(failed)?;
        if magic.is_empty() {
            return Err(Error::Empty { path: name.to_owned() });
        }
        let is_compressed = magic == ZSTD_MAGIC;
        let whole = std::io::Cursor::new(magic).chain(input);
        let input: Box<dyn BufRead> = if is_compressed {
            let decoder = zstd::stream::read::Decoder::with_buffer(whole).map_err(failed)?;
            Box::new(BufReader::new(decoder))
        } else {
            Box::new(whole)
        };
        Ok(Self { path: name.to_owned(), input, line: 0, bytes: Vec::new(), has_header: false, is_over: false })
    }

    fn next_item(&mut self) -> Result<Option<Item>, Error> {
        // One room for all lines.
        let mut bytes = std::mem::take(&mut self.bytes);
        let item = self.next_item_in(&mut bytes);
        self.bytes = bytes;
        item
    }

    fn next_item_in(&mut self, bytes: &mut Vec<u8>) -> Result<Option<Item>, Error> {
        loop {
            bytes.clear();
            self.line += 1;
            let result = self.input.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', bytes);
            if let Err(source) = result {
                self.is_over = true;
                // Also what zstd says of a frame that was not finished.
                if source.kind() == std::io::ErrorKind::UnexpectedEof && self.has_header {
                    return Ok(Some(Item::Cut { line: self.line }));
                }
                return Err(Error::Read { path: self.path.clone(), source });
            }
            if bytes.is_empty() {
                self.is_over = true;
                return if self.has_header { Ok(None) } else { Err(self.no_log("it has no header".to_owned())) };
            }
            let is_whole = bytes.last() == Some(&b'\n');
            if !is_whole && self.has_header && u64::try_from(bytes.len()).is_ok_and(|len| len >= MAX_LINE_BYTES) {
                self.skip_line()?;
                return Ok(Some(Item::Unreadable { line: self.line, reason: format!("it is longer than {MAX_LINE_BYTES} bytes") }));
            }
            // Checked at once first: the lossy way looks at every byte by itself.
            let text = std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed);
            if !text.trim().is_empty() {
                return self.item(text.trim(), is_whole).map(Some);
            }
        }
    }

    fn skip_line(&mut self) -> Result<(), Error> {
        loop {
            let mut rest = Vec::new();
            let read = self.input.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut rest);
            read.map_err(|source| Error::Read { path: self.path.clone(), source })?;
            if rest.is_empty() || rest.last() == Some(&b'\n') {
                return Ok(());
            }
        }
    }

    fn item(&mut self, text: &str, is_whole: bool) -> Result<Item, Error> {
        let line = self.line;
        if !self.has_header {
            return self.header(text);
        }
        let error = match decode(text) {
            Ok(record) => return Ok(Item::Record(Box::new(record))),
            Err(error) => error,
        };
        if !is_whole {
            return Ok(Item::Cut { line });
        }
        match unknown_kind(text) {
            Some(kind) => Ok(Item::Unknown { line, kind }),
            None => Ok(Item::Unreadable { line, reason: error.to_string() }),
        }
    }

    fn header(&mut self, text: &str) -> Result<Item, Error> {
        let value: serde_json::Value = serde_json::from_str(text).map_err(|_| self.no_log("its first line is no JSON".to_owned()))?;
        let schema = value.get("schema").and_then(serde_json::Value::as_str).unwrap_or_default();
        if value.get("k").and_then(serde_json::Value::as_str) != Some("header") {
            return Err(self.no_log("it does not begin with a header".to_owned()));
        }
        if schema != LOG_SCHEMA {
            return Err(Error::Schema { path: self.path.clone(), found: schema.chars().take(80).collect() });
        }
        let record = decode(text).map_err(|error| self.no_log(format!("its header cannot be read: {error}")))?;
        self.has_header = true;
        Ok(Item::Record(Box::new(record)))
    }

    fn no_log(&self, reason: String) -> Error {
        Error::NoLog { path: self.path.clone(), reason }
    }
}

impl Iterator for Reader {
    type Item = Result<Item, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let item = self.next_item().transpose();
        self.is_over |= matches!(item, Some(Err(_)));
        item
    }
}

/// The kind of a line that is a record, but of a kind that is not in [`Record`].
fn unknown_kind(text: &str) -> Option<String> {
    const KNOWN: [&str; 18] = [
        "header",
        "seed.proc",
        "seed.fd",
        "seed.file",
        "seed.settings",
        "sys",
        "block",
        "fork",
        "exec",
        "exit",
        "accept-backlog",
        "daemon",
        "helper",
        "release",
        "loss",
        "clock",
        "malformed",
        "end",
    ];
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let kind = value.get("k")?.as_str()?;
    (!KNOWN.contains(&kind)).then(|| kind.chars().take(80).collect())
}
