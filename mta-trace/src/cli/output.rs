//! What leaves the program: messages, files, the exit code.
//!
//! Invariant: results go to standard output, everything else to standard error; a closed pipe is no failure.

use crate::kernel;
use crate::log;
use crate::view::{escape::escape, timeline::Screen};
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::ExitCode;

const FAILED: u8 = 1;
/// Wrong usage.
pub const USAGE: u8 = 2;
const NOT_ABLE: u8 = 3;

/// Why a run ended without its result.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    /// Empty: somebody closed the pipe, and nothing is to be said.
    text: String,
}

impl Failure {
    /// Did not work.
    pub fn failed(text: impl Into<String>) -> Self {
        Self { code: FAILED, text: text.into() }
    }

    /// Arguments that do not go together.
    pub fn usage(text: impl Into<String>) -> Self {
        Self { code: USAGE, text: text.into() }
    }

    /// The kernel or its permissions.
    pub fn not_able(text: impl Into<String>) -> Self {
        Self { code: NOT_ABLE, text: text.into() }
    }

    /// Of standard output.
    #[expect(clippy::needless_pass_by_value, reason = "for map_err")]
    pub fn io(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self { code: 0, text: String::new() },
            _ => Self::failed(format!("standard output: cannot be written: {error}{}", log::advice(&error))),
        }
    }

    /// Of the machine: descriptors, threads, memory.
    #[expect(clippy::needless_pass_by_value, reason = "for map_err")]
    pub fn system(error: io::Error) -> Self {
        Self::failed(format!("this machine gives no more descriptors or threads: {error}; see `ulimit -a`"))
    }

    /// Says it and gives the exit code.
    pub fn tell(self) -> ExitCode {
        if !self.text.is_empty() {
            say(&self.text);
        }
        ExitCode::from(self.code)
    }
}

impl From<log::Error> for Failure {
    fn from(error: log::Error) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<kernel::Error> for Failure {
    fn from(error: kernel::Error) -> Self {
        Self { code: error.exit_code(), text: error.to_string() }
    }
}

/// One line for people. Nobody may be there to read it.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "mta-trace: {}", escape(text));
}

/// Takes an empty log away that was made for a trace which did not begin. What `--force` overwrote was not ours to remove.
pub fn discard(path: Option<&str>, is_forced: bool) {
    let Some(path) = path.filter(|path| *path != "-" && !is_forced) else { return };
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() == 0) {
        let _ = std::fs::remove_file(path);
    }
}

/// What standard output can do. <https://no-color.org>: set and not empty means no colours.
pub fn screen() -> Screen {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let is_terminal = io::stdout().is_terminal() && !is_dumb;
    Screen { is_terminal, has_colour: is_terminal && !is_set("NO_COLOR") }
}

/// Writes a file that does not exist yet; `-` is standard output.
pub fn write_new(path: &str, text: &[u8]) -> Result<(), Failure> {
    if path == "-" {
        let mut out = io::stdout().lock();
        return out.write_all(text).and_then(|()| out.flush()).map_err(Failure::io);
    }
    let mut file = create_new(path)?;
    file.write_all(text).map_err(|error| Failure::failed(format!("{path}: cannot be written: {error}{}", log::advice(&error))))
}

/// Opens a file that does not exist yet. What is written of a log is as confidential as the log.
pub fn create_new(path: &str) -> Result<File, Failure> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::failed(format!("{path}: exists already; choose another name or remove it")),
        _ => Failure::failed(format!("{path}: cannot be written: {error}{}", log::advice(&error))),
    })
}
