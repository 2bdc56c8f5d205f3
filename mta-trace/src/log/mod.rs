//! The event log `mta-trace.log/1`: JSON Lines, one record a line.
//!
//! Records in, lines out, and back: encode and decode are inverse. A file is written so that nobody else can
//! read it and nothing is overwritten by mistake; it is read with patience, whatever it holds. Not here: meaning.

mod advice;
mod call;
mod reader;
mod writer;

pub use advice::advice;
pub use reader::{Item, Reader, read};
pub use writer::Writer;

use crate::event::{LOG_SCHEMA, Record};
use std::io;

/// Why a log cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened.
    #[error("{path}: cannot be opened: {source}{}", advice(source))]
    Open {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The file exists.
    #[error("{path}: exists already; choose another name or overwrite it with --force")]
    Exists {
        /// Which.
        path: String,
    },
    /// The path is a symbolic link.
    #[error("{path}: is a symbolic link and is not written through; name the file itself")]
    Link {
        /// Which.
        path: String,
    },
    /// The path is a directory, a device or a pipe.
    #[error("{path}: is no regular file; name a file, or - for standard output")]
    NoFile {
        /// Which.
        path: String,
    },
    /// Reading or writing failed.
    #[error("{path}: cannot be written: {source}{}", advice(source))]
    Write {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The disk is full.
    #[error("{path}: no space left on the device; what was written before is kept, make room or write the log elsewhere")]
    Full {
        /// Which.
        path: String,
    },
    /// Reading failed.
    #[error("{path}: cannot be read: {source}{}", advice(source))]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// There is nothing in it.
    #[error("{path}: is empty; record a log with mta-trace attach -o")]
    Empty {
        /// Which.
        path: String,
    },
    /// It does not begin with a header.
    #[error("{path}: is no log of mta-trace: {reason}; give a file that `mta-trace attach -o` wrote")]
    NoLog {
        /// Which.
        path: String,
        /// What its first line is.
        reason: String,
    },
    /// It has a format that this version does not read.
    #[error("{path}: has the format {found}, this version reads {LOG_SCHEMA}; use the mta-trace that wrote it, or a newer one")]
    Schema {
        /// Which.
        path: String,
        /// Its format.
        found: String,
    },
}

/// One line, without its end.
pub fn encode(record: &Record) -> String {
    let mut line = Vec::new();
    encode_into(&mut line, record);
    line.pop();
    // JSON is UTF-8.
    String::from_utf8(line).unwrap_or_default()
}

/// One line with its end, behind what the buffer holds.
pub fn encode_into(buffer: &mut Vec<u8>, record: &Record) {
    if let Record::Sys(sys) = record {
        call::write(buffer, sys);
        return buffer.push(b'\n');
    }
    let before = buffer.len();
    // Every part of a record has a JSON form, and memory takes everything.
    if serde_json::to_writer(&mut *buffer, record).is_err() {
        buffer.truncate(before);
    }
    buffer.push(b'\n');
}

/// Reads one line.
pub fn decode(line: &str) -> Result<Record, serde_json::Error> {
    // Nearly all lines are calls: without the detour that serde takes for a tag, which keeps all fields until it has seen it.
    if line.starts_with(r#"{"k":"sys","#) {
        return serde_json::from_str(line).map(|sys| Record::Sys(Box::new(sys)));
    }
    serde_json::from_str(line)
}

#[cfg(test)]
mod tests;
