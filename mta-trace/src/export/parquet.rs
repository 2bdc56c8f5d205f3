//! `parquet`: the tables `sessions`, `commands`, `waits` and `events`, one file each, for `DuckDB` and what else reads columns (feature `parquet`).
//!
//! In: records and sessions. Out: files with typed columns: times are UTC timestamps of microseconds, seconds are doubles, what is not known is NULL.
//! Written by row groups of [`ROWS`] rows, so that memory is bounded. Text is as it is in the log: a reader of columns is no terminal. Columns that
//! `csv.rs` has too are called the same. Not here: findings, the bytes of calls.

use super::slices::word;
use super::{Error, Export, Form, Format, Output, PARQUET};
use crate::event::{Args, Counters, Endpoint, Record, SocketId};
use crate::report::{Command, Report, Session, Wait};
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::Arc;

/// The line of the table.
pub const FORMAT: Format = Format { name: PARQUET.0, about: PARQUET.1, form: Form::Folder, begin };

/// Rows of a row group: some 2 MB of events.
const ROWS: usize = 10_000;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Count,
    Seconds,
    Flag,
    Time,
}

use Kind::{Count, Flag, Seconds, Text, Time};

const SESSIONS: &[(&str, Kind)] = &[
    ("session", Text),
    ("mta", Text),
    ("mta_version", Text),
    ("pid", Count),
    ("daemon_pid", Count),
    ("client", Text),
    ("server", Text),
    ("started", Time),
    ("elapsed_s", Seconds),
    ("server_s", Seconds),
    ("client_s", Seconds),
    ("before_accept_s", Seconds),
    ("complete", Flag),
    ("began", Text),
    ("ended", Text),
    ("tls_start_s", Seconds),
    ("queue_ids", Text),
    ("commands", Count),
];

const COMMANDS: &[(&str, Kind)] = &[
    ("session", Text),
    ("client", Text),
    ("mta", Text),
    ("command", Count),
    ("verb", Text),
    ("line", Text),
    ("reply_code", Count),
    ("reply", Text),
    ("started", Time),
    ("start_s", Seconds),
    ("elapsed_s", Seconds),
    ("server_s", Seconds),
    ("waits_s", Seconds),
    ("short_waits_s", Seconds),
    ("cpu_s", Seconds),
    ("runqueue_s", Seconds),
    ("unexplained_s", Seconds),
    ("queue_id", Text),
];

const WAITS: &[(&str, Kind)] = &[
    ("session", Text),
    ("command", Count),
    ("verb", Text),
    ("wait", Count),
    ("inner_of", Count),
    ("cause", Text),
    ("target", Text),
    ("started", Time),
    ("start_s", Seconds),
    ("elapsed_s", Seconds),
    ("outcome", Text),
    ("attempts", Count),
    ("qname", Text),
    ("qtype", Text),
    ("rcode", Text),
    ("dns_purpose", Text),
    ("dns_zone", Text),
    ("dns_servers", Text),
    ("milter_stage", Text),
    ("milter_reply", Text),
    ("timer_s", Seconds),
    ("syscalls", Text),
    ("descriptor", Text),
    ("peer_pid", Count),
    ("peer_comm", Text),
];

const EVENTS: &[(&str, Kind)] = &[
    ("kind", Text),
    ("t", Count),
    ("at", Time),
    ("blocked_s", Seconds),
    ("pid", Count),
    ("tid", Count),
    ("call", Text),
    ("fd", Count),
    ("ret", Count),
    ("len", Count),
    ("timeout_s", Seconds),
    ("path", Text),
    ("proto", Text),
    ("inode", Count),
    ("local", Text),
    ("peer", Text),
    ("bytes", Count),
    ("cpu_ns", Count),
    ("blocked_ns", Count),
    ("rq_ns", Count),
];

/// One column of the row group that is being filled. Of NULLs only the place is kept, by levels of definition.
enum Column {
    Text(Vec<ByteArray>, Vec<i16>),
    Count(Vec<i64>, Vec<i16>),
    Seconds(Vec<f64>, Vec<i16>),
    Flag(Vec<bool>, Vec<i16>),
}

/// A cell; numbers that do not fit are NULL.
enum Cell<'a> {
    Text(Option<&'a str>),
    Count(Option<i64>),
    Seconds(Option<f64>),
    Flag(bool),
}

fn count(number: Option<impl TryInto<i64>>) -> Cell<'static> {
    Cell::Count(number.and_then(|number| number.try_into().ok()))
}

struct Table {
    writer: SerializedFileWriter<File>,
    columns: Vec<Column>,
    rows: usize,
}

fn failed(error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(source) => Error::Write(*source),
            Err(source) => Error::Output(format!("the table cannot be written: {source}")),
        },
        error => Error::Output(format!("the table cannot be written: {error}")),
    }
}

impl Table {
    fn create(folder: &Path, name: &str, columns: &[(&str, Kind)]) -> Result<Self, Error> {
        let types = columns.iter().map(|(name, kind)| match kind {
            Text => format!("OPTIONAL BYTE_ARRAY {name} (STRING);"),
            Count => format!("OPTIONAL INT64 {name};"),
            Seconds => format!("OPTIONAL DOUBLE {name};"),
            Flag => format!("OPTIONAL BOOLEAN {name};"),
            Time => format!("OPTIONAL INT64 {name} (TIMESTAMP(MICROS,true));"),
        });
        let schema = parse_message_type(&format!("message {name} {{ {} }}", types.collect::<Vec<_>>().join(" "))).map_err(failed)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).map_err(failed)?))
            .set_created_by(format!("mta-trace version {}", env!("CARGO_PKG_VERSION")))
            .build();
        let file = OpenOptions::new().write(true).create_new(true).open(folder.join(format!("{name}.parquet")))?;
        let writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties)).map_err(failed)?;
        let columns = columns
            .iter()
            .map(|(_, kind)| match kind {
                Text => Column::Text(Vec::new(), Vec::new()),
                Count | Time => Column::Count(Vec::new(), Vec::new()),
                Seconds => Column::Seconds(Vec::new(), Vec::new()),
                Flag => Column::Flag(Vec::new(), Vec::new()),
            })
            .collect();
        Ok(Self { writer, columns, rows: 0 })
    }

    /// Adds a row: as many cells as there are columns, each of its kind.
    fn row(&mut self, cells: Vec<Cell<'_>>) -> Result<(), Error> {
        debug_assert_eq!(cells.len(), self.columns.len(), "a cell for each column");
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            match (column, cell) {
                (Column::Text(values, levels), Cell::Text(text)) => put(values, levels, text.map(ByteArray::from)),
                (Column::Count(values, levels), Cell::Count(count)) => put(values, levels, count),
                (Column::Seconds(values, levels), Cell::Seconds(seconds)) => put(values, levels, seconds),
                (Column::Flag(values, levels), Cell::Flag(flag)) => put(values, levels, Some(flag)),
                (Column::Text(_, levels) | Column::Count(_, levels) | Column::Seconds(_, levels) | Column::Flag(_, levels), _) => {
                    debug_assert!(false, "a cell of another kind");
                    levels.push(0);
                }
            }
        }
        self.rows += 1;
        if self.rows >= ROWS { self.flush() } else { Ok(()) }
    }

    /// Writes the rows that wait as a row group.
    fn flush(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.rows) == 0 {
            return Ok(());
        }
        let mut group = self.writer.next_row_group().map_err(failed)?;
        for column in &mut self.columns {
            let Some(mut writer) = group.next_column().map_err(failed)? else { break };
            let written = match (column, writer.untyped()) {
                (Column::Text(values, levels), ColumnWriter::ByteArrayColumnWriter(to)) => {
                    let written = to.write_batch(values, Some(levels), None);
                    values.clear();
                    levels.clear();
                    written
                }
                (Column::Count(values, levels), ColumnWriter::Int64ColumnWriter(to)) => {
                    let written = to.write_batch(values, Some(levels), None);
                    values.clear();
                    levels.clear();
                    written
                }
                (Column::Seconds(values, levels), ColumnWriter::DoubleColumnWriter(to)) => {
                    let written = to.write_batch(values, Some(levels), None);
                    values.clear();
                    levels.clear();
                    written
                }
                (Column::Flag(values, levels), ColumnWriter::BoolColumnWriter(to)) => {
                    let written = to.write_batch(values, Some(levels), None);
                    values.clear();
                    levels.clear();
                    written
                }
                _ => Err(ParquetError::General("a column of another type".to_owned())),
            };
            written.map_err(failed)?;
            writer.close().map_err(failed)?;
        }
        group.close().map(|_| ()).map_err(failed)
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.flush()?;
        self.writer.finish().map(|_| ()).map_err(failed)
    }
}

fn put<T>(values: &mut Vec<T>, levels: &mut Vec<i16>, value: Option<T>) {
    levels.push(i16::from(value.is_some()));
    values.extend(value);
}

fn begin(output: Output) -> Result<Box<dyn Export>, Error> {
    let Output::Folder(folder) = output else {
        return Err(Error::Output("parquet has several tables: name a folder for them by -o".to_owned()));
    };
    let table = |name: &str, columns| Table::create(&folder, name, columns);
    Ok(Box::new(Parquet {
        sessions: table("sessions", SESSIONS)?,
        commands: table("commands", COMMANDS)?,
        waits: table("waits", WAITS)?,
        events: table("events", EVENTS)?,
        to_wall_ns: 0,
    }))
}

struct Parquet {
    sessions: Table,
    commands: Table,
    waits: Table,
    events: Table,
    /// What makes monotonic times wall times, as it was last told.
    to_wall_ns: i64,
}

/// Microseconds since 1970 of a moment of a session.
fn moment(session: &Session, seconds: f64) -> Cell<'static> {
    let started: Option<jiff::Timestamp> = session.started.parse().ok();
    let us = (seconds * 1e6).round().clamp(-9e18, 9e18);
    #[expect(clippy::cast_possible_truncation, reason = "clamped, and `as` saturates")]
    Cell::Count(started.map(|started| started.as_microsecond().saturating_add(us as i64)))
}

/// As the report's JSON: an empty sum is -0.
fn seconds(seconds: f64) -> Cell<'static> {
    Cell::Seconds(Some(seconds + 0.0))
}

fn ns(ns: u64) -> f64 {
    ns as f64 / 1e9
}

impl Parquet {
    fn session_row(&mut self, session: &Session) -> Result<(), Error> {
        let (began, ended) = (word(&session.began), word(&session.end));
        let queue_ids = session.queue_ids.join(" ");
        self.sessions.row(vec![
            Cell::Text(Some(&session.id)),
            Cell::Text(Some(&session.mta)),
            Cell::Text(session.mta_version.as_deref()),
            count(Some(session.pid)),
            count(Some(session.daemon_pid)),
            Cell::Text(Some(&session.client)),
            Cell::Text(Some(&session.server)),
            moment(session, 0.0),
            seconds(session.elapsed_s),
            seconds(session.server_s()),
            seconds(session.client_s),
            Cell::Seconds(session.before_accept_s),
            Cell::Flag(session.complete),
            Cell::Text(Some(&began)),
            Cell::Text(Some(&ended)),
            Cell::Seconds(session.tls.as_ref().map(|tls| tls.start_s)),
            Cell::Text((!queue_ids.is_empty()).then_some(&queue_ids)),
            count(Some(session.command_count())),
        ])
    }

    fn command_row(&mut self, session: &Session, command: &Command) -> Result<(), Error> {
        self.commands.row(vec![
            Cell::Text(Some(&session.id)),
            Cell::Text(Some(&session.client)),
            Cell::Text(Some(&session.mta)),
            count(Some(command.index)),
            Cell::Text(Some(command.verb.name())),
            Cell::Text(command.line.as_deref()),
            count(command.reply_code),
            Cell::Text(command.reply.as_deref()),
            moment(session, command.start_s),
            seconds(command.start_s),
            seconds(command.elapsed_s),
            seconds(command.server_s()),
            seconds(command.waits.iter().map(|wait| wait.elapsed_s).sum()),
            seconds(command.short_waits_s),
            seconds(command.cpu_s),
            seconds(command.runqueue_s),
            seconds(command.unexplained_s),
            Cell::Text(command.queue_id.as_deref()),
        ])
    }

    /// A wait and, behind it, what its far end waited for. `number` counts the waits of the session.
    fn wait(&mut self, session: &Session, command: Option<&Command>, wait: &Wait, inner_of: Option<u64>, number: &mut u64) -> Result<(), Error> {
        let own = *number;
        *number += 1;
        let dns = wait.dns.as_ref();
        let milter = wait.milter.as_ref();
        let outcome = word(&wait.outcome);
        let syscalls = wait.syscalls.join(" ");
        let servers = dns.map(|dns| dns.servers.iter().map(|server| server.address.as_str()).collect::<Vec<_>>().join(" "));
        self.waits.row(vec![
            Cell::Text(Some(&session.id)),
            count(command.map(|command| command.index)),
            Cell::Text(command.map(|command| command.verb.name())),
            count(Some(own)),
            count(inner_of),
            Cell::Text(Some(wait.cause.name())),
            Cell::Text(wait.target.as_deref()),
            moment(session, wait.start_s),
            seconds(wait.start_s),
            seconds(wait.elapsed_s),
            Cell::Text(Some(&outcome)),
            count(wait.attempts),
            Cell::Text(dns.map(|dns| dns.qname.as_str())),
            Cell::Text(dns.map(|dns| dns.qtype.as_str())),
            Cell::Text(dns.and_then(|dns| dns.rcode.as_deref())),
            Cell::Text(dns.and_then(|dns| dns.purpose.as_deref())),
            Cell::Text(dns.and_then(|dns| dns.zone.as_deref())),
            Cell::Text(servers.as_deref()),
            Cell::Text(milter.map(|milter| milter.stage.as_str())),
            Cell::Text(milter.and_then(|milter| milter.reply.as_deref())),
            Cell::Seconds(wait.timer_s),
            Cell::Text(Some(&syscalls)),
            Cell::Text(wait.descriptor.as_deref()),
            count(wait.peer.as_ref().map(|peer| peer.pid)),
            Cell::Text(wait.peer.as_ref().map(|peer| peer.comm.as_str())),
        ])?;
        wait.inner.iter().try_for_each(|inner| self.wait(session, command, inner, Some(own), number))
    }

    fn event(&mut self, event: &Event<'_>) -> Result<(), Error> {
        let Event { kind, t, pid, tid, call, blocked_ns, ret, args, socket, peer, bytes, at } = *event;
        let wall_ns = i64::try_from(t).ok().map(|t| t.saturating_add(self.to_wall_ns));
        let proto = socket.map(|socket| word(&socket.proto));
        let local = socket.and_then(|socket| socket.local.as_ref()).map(ToString::to_string);
        let peer = peer.map(ToString::to_string);
        self.events.row(vec![
            Cell::Text(Some(kind)),
            count(Some(t)),
            Cell::Count(wall_ns.map(|ns| ns.div_euclid(1000))),
            Cell::Seconds(blocked_ns.map(ns)),
            count(pid),
            count(tid),
            Cell::Text(call),
            count(args.and_then(|args| args.fd)),
            count(ret),
            count(args.and_then(|args| args.len)),
            Cell::Seconds(args.and_then(|args| args.timeout_ns).map(ns)),
            Cell::Text(args.and_then(|args| args.path.as_deref())),
            Cell::Text(proto.as_deref()),
            count(socket.map(|socket| socket.inode)),
            Cell::Text(local.as_deref()),
            Cell::Text(peer.as_deref()),
            count(bytes),
            count(at.map(|at| at.cpu_ns)),
            count(at.map(|at| at.blocked_ns)),
            count(at.map(|at| at.rq_ns)),
        ])
    }
}

/// What a record has of the table's columns.
#[derive(Clone, Copy, Default)]
struct Event<'a> {
    kind: &'a str,
    t: u64,
    pid: Option<u32>,
    tid: Option<u32>,
    call: Option<&'a str>,
    /// How long it blocked, if it did.
    blocked_ns: Option<u64>,
    ret: Option<i64>,
    args: Option<&'a Args>,
    socket: Option<&'a SocketId>,
    peer: Option<&'a Endpoint>,
    bytes: Option<usize>,
    at: Option<Counters>,
}

/// None: it tells of no process at a time.
fn event_of(record: &Record) -> Option<Event<'_>> {
    let t = record.t()?;
    let none = Event { t, ..Event::default() };
    Some(match record {
        Record::Sys(it) => Event {
            kind: "sys",
            pid: Some(it.pid),
            tid: Some(it.tid),
            call: Some(it.call.name()),
            blocked_ns: it.start.map(|start| t.saturating_sub(start)),
            ret: Some(it.ret),
            args: Some(&it.args),
            socket: it.socket.as_ref(),
            peer: it.peer.as_ref(),
            bytes: it.data.as_ref().map(|data| data.len()),
            at: Some(it.at()),
            ..none
        },
        Record::Block(it) => Event {
            kind: "block",
            pid: Some(it.pid),
            tid: Some(it.tid),
            call: it.call.as_deref().or(it.cause.as_deref()),
            blocked_ns: Some(t.saturating_sub(it.since)),
            args: it.args.as_ref(),
            socket: it.socket.as_ref(),
            peer: it.peer.as_ref(),
            at: Some(it.at),
            ..none
        },
        Record::Fork(it) => Event { kind: "fork", pid: Some(it.pid), tid: Some(it.tid), ret: Some(it.child.into()), at: Some(it.at), ..none },
        Record::Exec(it) => Event { kind: "exec", pid: Some(it.pid), ..none },
        Record::Exit(it) => {
            Event { kind: "exit", pid: Some(it.pid), tid: Some(it.tid), call: it.call.as_deref(), ret: Some(it.code.into()), at: Some(it.at), ..none }
        }
        Record::Backlog(it) => Event { kind: "accept-backlog", blocked_ns: Some(t.saturating_sub(it.since)), peer: Some(&it.peer), ..none },
        Record::Header(_)
        | Record::SeedProc(_)
        | Record::SeedFd(_)
        | Record::SeedFile(_)
        | Record::SeedSettings(_)
        | Record::Daemon(_)
        | Record::Helper(_)
        | Record::Release(_)
        | Record::Loss(_)
        | Record::Clock(_)
        | Record::Malformed(_)
        | Record::End(_) => return None,
    })
}

impl Export for Parquet {
    fn record(&mut self, record: &Record) -> Result<(), Error> {
        match record {
            Record::Header(header) => self.to_wall_ns = header.boot_to_wall_ns,
            Record::Clock(clock) => self.to_wall_ns = clock.wall_ns.saturating_sub_unsigned(clock.t),
            _ => {}
        }
        event_of(record).map_or(Ok(()), |event| self.event(&event))
    }

    fn session(&mut self, session: &Session) -> Result<(), Error> {
        self.session_row(session)?;
        let mut number = 0;
        for command in &session.commands {
            self.command_row(session, command)?;
            command.waits.iter().try_for_each(|wait| self.wait(session, Some(command), wait, None, &mut number))?;
        }
        session.between.iter().try_for_each(|wait| self.wait(session, None, wait, None, &mut number))
    }

    fn finish(&mut self, _totals: &Report) -> Result<(), Error> {
        let Self { sessions, commands, waits, events, to_wall_ns: _ } = self;
        [sessions, commands, waits, events].into_iter().try_for_each(Table::finish)
    }
}
