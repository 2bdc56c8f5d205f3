//! Exports: a trace in the formats of other programs; one file for each, one line in [`FORMATS`].
//!
//! In: the records of a log in its order, each session when it has ended, and at the end the report's totals. Out: files,
//! or requests to an endpoint. Invariant: an export streams; what it holds is bounded by the sessions that are open,
//! not by the log. Not here: the reading of logs, the command line.

pub mod anonymize;
mod chrome;
mod csv;
mod drive;
mod folded;
mod log;
mod otlp;
#[cfg(feature = "parquet")]
mod parquet;
mod perfetto;
mod slices;
mod strace;
mod tracks;

pub use drive::{Passed, drive};

use crate::event::Record;
use crate::report::{Report, Session};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why an export did not come about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file, the folder or the pipe. A closed pipe is no failure of ours.
    #[error("the export cannot be written: {0}")]
    Write(#[from] io::Error),
    /// It goes somewhere else than was asked for.
    #[error("{0}")]
    Output(String),
    /// The log cannot be read any further.
    #[error(transparent)]
    Log(#[from] crate::log::Error),
    /// Whoever should take it did not.
    #[error("{endpoint}: {reason}")]
    Endpoint {
        /// URL.
        endpoint: String,
        /// What it said, or why it could not be reached.
        reason: String,
    },
}

/// Addresses of a host with this port, or why there are none: how names are looked up depends on how the program is linked.
pub type Resolve = fn(&str, u16) -> Result<Vec<SocketAddr>, String>;

/// Where an export goes; the command line has opened it.
pub enum Output {
    /// A file or standard output.
    Stream(Box<dyn Write>),
    /// A folder that was made for it: one file for each table.
    Folder(PathBuf),
    /// One table of a format that has several.
    Table {
        /// Which.
        name: String,
        /// A file or standard output.
        out: Box<dyn Write>,
    },
    /// A server.
    Endpoint {
        /// Its URL.
        url: String,
        /// How its name is looked up.
        resolve: Resolve,
    },
}

/// One format, being written.
pub trait Export {
    /// The next record of the log. It comes before the session that it completes.
    fn record(&mut self, _record: &Record) -> Result<(), Error> {
        Ok(())
    }

    /// A session that has ended, as it is in the report.
    fn session(&mut self, _session: &Session) -> Result<(), Error> {
        Ok(())
    }

    /// Nothing comes any more. The report's sessions are only those that the analysis has kept.
    fn finish(&mut self, _totals: &Report) -> Result<(), Error>;
}

/// What a format can be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One file.
    File,
    /// A folder of files.
    Folder,
    /// A folder of tables, one file each; or one of these tables.
    Tables(&'static [&'static str]),
    /// A file or an endpoint.
    FileOrEndpoint,
}

/// A line of the table of formats.
pub struct Format {
    /// As `--to` names it.
    pub name: &'static str,
    /// One line for `--help`.
    pub about: &'static str,
    /// What it is written to.
    pub form: Form,
    /// Begins an export.
    pub begin: fn(Output) -> Result<Box<dyn Export>, Error>,
}

/// All formats, in the order in which `--help` tells them.
pub const FORMATS: &[Format] = &[
    strace::FORMAT,
    strace::BY_PROCESS,
    perfetto::FORMAT,
    chrome::FORMAT,
    csv::FORMAT,
    otlp::FORMAT,
    folded::FORMAT,
    log::FORMAT,
    #[cfg(feature = "parquet")]
    parquet::FORMAT,
];

/// What `--help` says of Parquet, in builds that have it and in those that have not.
pub const PARQUET: (&str, &str) = ("parquet", "Tables of sessions, commands, waits and events for DuckDB; only in builds with `--features parquet`");

/// Formats that this build lacks, and how to have them.
pub const LACKING: &[(&str, &str, &str)] = &[
    #[cfg(not(feature = "parquet"))]
    (
        PARQUET.0,
        PARQUET.1,
        "this build has no Parquet: build one by `cargo install --path mta-trace --features parquet`, or take --to csv; DuckDB also reads the log itself",
    ),
];

impl Output {
    /// The stream of a format whose [`Form`] is a file.
    fn stream(self) -> Result<Box<dyn Write>, Error> {
        match self {
            Self::Stream(out) => Ok(out),
            Self::Folder(_) | Self::Table { .. } | Self::Endpoint { .. } => {
                Err(Error::Output("this format is written into one file; name it by -o".to_owned()))
            }
        }
    }
}
