//! Writes a log: mode 0600, never through a symbolic link, never over an existing file unless asked.

use super::{Error, encode_into};
use crate::event::{Helper, Loss, Record, Release, SeedFd, SeedProc};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write, stdout};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

/// What is kept back at most until it is written.
const BUFFER_BYTES: usize = 256 * 1024;
/// Of such lines the lowest level makes 8.3 times less, zstd's own default (3) 7.6 times, and takes a quarter longer.
const LEVEL: i32 = 1;

/// Processes that were taken in later and are remembered for the next log, and how much of each.
const MAX_LATER: usize = 256;
const MAX_LATER_BYTES: usize = 64 * 1024;

/// Writes records to a file or to standard output.
pub struct Writer {
    path: String,
    output: Box<dyn Write + Send>,
    is_compressed: bool,
    buffer: Vec<u8>,
    /// Where it is begun again when it is too large: the limit, how much was written, and the records with which every log begins.
    rotation: Option<Rotation>,
}

struct Rotation {
    max_bytes: u64,
    written: u64,
    /// It is too large: begun again with the next record, so that no log is left without one.
    is_due: bool,
    head: Vec<u8>,
    /// What is known of processes that were taken into the trace later (helpers, and descriptors that are older than a session), until they are released or
    /// have ended; the one that was told of first stands first.
    later: VecDeque<(u32, Vec<u8>)>,
    /// The trace has begun: what the head holds is whole.
    has_begun: bool,
    /// The last record of the daemon: what is told later is the difference.
    daemon: Vec<u8>,
    /// The last record of the clock: it says when what begins next begins.
    clock: Vec<u8>,
    /// What was lost so far, and what of it stands in earlier logs.
    lost: Loss,
    lost_before: Loss,
}

impl Rotation {
    fn new(max_bytes: u64) -> Self {
        Self {
            max_bytes,
            written: 0,
            is_due: false,
            head: Vec::new(),
            later: VecDeque::new(),
            has_begun: false,
            daemon: Vec::new(),
            clock: Vec::new(),
            lost: Loss::default(),
            lost_before: Loss::default(),
        }
    }

    /// Keeps what the next log begins with.
    fn keep(&mut self, record: &Record, line: &[u8]) {
        match record {
            Record::Header(_) | Record::SeedFile(_) | Record::SeedSettings(_) => self.head.extend_from_slice(line),
            Record::SeedProc(_) | Record::SeedFd(_) if !self.has_begun => self.head.extend_from_slice(line),
            // All that is known of it is told behind this, each time anew.
            Record::Helper(Helper { pid, .. }) => {
                self.forget(*pid);
                self.keep_later(*pid, line);
            }
            Record::SeedProc(SeedProc { pid, .. }) | Record::SeedFd(SeedFd { pid, .. }) => self.keep_later(*pid, line),
            Record::Release(Release { pid, .. }) => self.forget(*pid),
            Record::Exit(exit) if exit.tid == exit.pid => self.forget(exit.pid),
            Record::Daemon(_) => line.clone_into(&mut self.daemon),
            Record::Clock(_) => line.clone_into(&mut self.clock),
            Record::Sys(_)
            | Record::Block(_)
            | Record::Fork(_)
            | Record::Exec(_)
            | Record::Exit(_)
            | Record::Backlog(_)
            | Record::Loss(_)
            | Record::Malformed(_)
            | Record::End(_) => {}
        }
        // The daemon and the clock are told of before the first event too.
        self.has_begun |= matches!(record, Record::Sys(_) | Record::Block(_) | Record::Fork(_) | Record::Helper(_) | Record::Backlog(_));
    }

    /// Of a process of which too much is told the rest is not kept.
    fn keep_later(&mut self, pid: u32, line: &[u8]) {
        if let Some((_, known)) = self.later.iter_mut().find(|(known, _)| *known == pid) {
            if known.len() + line.len() <= MAX_LATER_BYTES {
                known.extend_from_slice(line);
            }
            return;
        }
        if self.later.len() >= MAX_LATER {
            self.later.pop_front();
        }
        self.later.push_back((pid, line.to_vec()));
    }

    fn forget(&mut self, pid: u32) {
        self.later.retain(|(known, _)| *known != pid);
    }

    /// The record as this log has it, if that is another one: counts of what was lost begin anew with each log.
    fn own(&mut self, record: &Record) -> Option<Record> {
        let Record::Loss(loss) = record else { return None };
        self.lost = *loss;
        Some(Record::Loss(loss.since(&self.lost_before)))
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Writer {
    /// Opens a log for writing; `-` is standard output; a name that ends in `.zst` is compressed.
    pub fn create(path: &str, force: bool) -> Result<Self, Error> {
        let output: Box<dyn Write + Send> = if path == "-" { Box::new(stdout()) } else { Box::new(open(path, force)?) };
        let name = if path == "-" { "standard output" } else { path };
        Ok(Self::new(name, output, path.rsplit_once('.').is_some_and(|(_, extension)| extension == "zst")))
    }

    /// Writes to any sink.
    pub fn new(name: &str, output: Box<dyn Write + Send>, is_compressed: bool) -> Self {
        Self { path: name.to_owned(), output, is_compressed, buffer: Vec::new(), rotation: None }
    }

    /// When more than this was written, the log is renamed to `PATH.1`, in place of the one before it, and begun again: behind a flush that
    /// was asked for, not in the middle of what is written between two of them.
    #[must_use]
    pub fn rotating(mut self, max_bytes: Option<u64>) -> Self {
        self.rotation = max_bytes.map(Rotation::new);
        self
    }

    /// Adds a record; it is written when enough has come together, or by [`Self::flush`].
    pub fn write(&mut self, record: &Record) -> Result<(), Error> {
        self.rotate()?;
        let before = self.buffer.len();
        let own = self.rotation.as_mut().and_then(|rotation| rotation.own(record));
        encode_into(&mut self.buffer, own.as_ref().unwrap_or(record));
        if let Some(rotation) = &mut self.rotation {
            rotation.keep(record, self.buffer.get(before..).unwrap_or_default());
        }
        if self.buffer.len() >= BUFFER_BYTES { self.spill() } else { Ok(()) }
    }

    /// Writes what was kept back, compressed as a frame of its own: what a reader has by then, it can read.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.spill()?;
        if let Some(rotation) = &mut self.rotation {
            rotation.is_due = rotation.written > rotation.max_bytes;
        }
        Ok(())
    }

    fn spill(&mut self) -> Result<(), Error> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let result = self.write_out();
        self.buffer.clear();
        result.map_err(|source| self.error(source))
    }

    /// Begins the log again, if that is due; nothing is kept back then.
    fn rotate(&mut self) -> Result<(), Error> {
        let Some(rotation) = self.rotation.as_mut().filter(|rotation| rotation.is_due) else { return Ok(()) };
        (rotation.written, rotation.is_due, rotation.lost_before) = (0, false, rotation.lost);
        let later: Vec<u8> = rotation.later.iter().flat_map(|(_, lines)| lines).copied().collect();
        let beginning = [&*rotation.head, &*rotation.daemon, &*later, &*rotation.clock].concat();
        let full = format!("{}.1", self.path);
        std::fs::rename(&self.path, &full).map_err(|source| Error::Write { path: full, source })?;
        self.output = Box::new(open(&self.path, false)?);
        self.buffer = beginning;
        Ok(())
    }

    fn write_out(&mut self) -> io::Result<()> {
        let frame = if self.is_compressed { Some(zstd::encode_all(self.buffer.as_slice(), LEVEL)?) } else { None };
        let bytes = frame.as_deref().unwrap_or(&self.buffer);
        self.output.write_all(bytes)?;
        if let Some(rotation) = &mut self.rotation {
            rotation.written = rotation.written.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        }
        self.output.flush()
    }

    fn error(&self, source: io::Error) -> Error {
        let path = self.path.clone();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full { path },
            _ => Error::Write { path, source },
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Who wants to know whether it succeeded calls `flush`.
        let _ = self.flush();
    }
}

fn open(path: &str, force: bool) -> Result<File, Error> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600).custom_flags(no_follow.bits().cast_signed());
    if force {
        options.create(true);
    } else {
        options.create_new(true);
    }
    let path_text = || path.to_owned();
    let file = options.open(path).map_err(|source| match source.kind() {
        // O_EXCL comes before O_NOFOLLOW: a link is told apart, so that nobody tries --force.
        _ if std::fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) => Error::Link { path: path_text() },
        io::ErrorKind::AlreadyExists => Error::Exists { path: path_text() },
        io::ErrorKind::IsADirectory => Error::NoFile { path: path_text() },
        _ => Error::Open { path: path_text(), source },
    })?;
    let failed = |source| Error::Open { path: path_text(), source };
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(Error::NoFile { path: path_text() });
    }
    if force {
        // Truncated only now that it is known to be a file; one that others could read is closed to them first.
        file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
        file.set_len(0).map_err(failed)?;
    }
    Ok(file)
}
