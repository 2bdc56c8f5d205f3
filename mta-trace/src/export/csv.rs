//! `csv`: the tables `commands` and `waits` as comma-separated values (RFC 4180), one row for each of the report's.
//!
//! In: sessions. Out: `commands.csv` and `waits.csv` in a folder, or one of them (`--table`). An absent value is an empty
//! cell; text is shown harmless as in every view. Invariant: no text can be a formula: in a spreadsheet `=`, `+`, `-`, `@`
//! at the beginning of a cell would be one, so an apostrophe goes before them. Not here: calls, findings.

use super::slices::word;
use super::{Error, Export, Form, Format, Output};
use crate::report::{Command, Report, Session, Wait};
use crate::view::escape::escape;
use std::fs::OpenOptions;
use std::io::{BufWriter, Write};

/// The line of the table.
pub const FORMAT: Format = Format { name: "csv", about: "Tables of commands and waits, for spreadsheets", form: Form::Tables(TABLES), begin };

/// What `--table` may name.
const TABLES: &[&str] = &["commands", "waits"];

const COMMANDS: &[&str] = &[
    "session",
    "client",
    "started",
    "mta",
    "command",
    "verb",
    "line",
    "reply_code",
    "reply",
    "start_s",
    "elapsed_s",
    "server_s",
    "waits_s",
    "short_waits_s",
    "cpu_s",
    "runqueue_s",
    "unexplained_s",
    "queue_id",
];

const WAITS: &[&str] = &[
    "session",
    "command",
    "verb",
    "wait",
    "inner_of",
    "cause",
    "target",
    "start_s",
    "elapsed_s",
    "outcome",
    "attempts",
    "qname",
    "qtype",
    "rcode",
    "milter_stage",
    "milter_reply",
    "timer_s",
    "syscalls",
    "descriptor",
    "peer_pid",
    "peer_comm",
];

/// Of a table that was asked for.
type Table = Option<Box<dyn Write>>;

struct Csv {
    commands: Table,
    waits: Table,
}

fn begin(output: Output) -> Result<Box<dyn Export>, Error> {
    let (mut commands, mut waits): (Table, Table) = (None, None);
    match output {
        Output::Folder(folder) => {
            let table = |name: &str| -> Result<Table, Error> {
                let path = folder.join(format!("{name}.csv"));
                Ok(Some(Box::new(BufWriter::new(OpenOptions::new().write(true).create_new(true).open(path)?))))
            };
            (commands, waits) = (table("commands")?, table("waits")?);
        }
        Output::Table { name, out } if name == "waits" => waits = Some(out),
        Output::Table { out, .. } => commands = Some(out),
        Output::Stream(_) | Output::Endpoint { .. } => {
            return Err(Error::Output("csv has several tables: name a folder by -o, or one table by --table".to_owned()));
        }
    }
    for (out, names) in [(&mut commands, COMMANDS), (&mut waits, WAITS)] {
        if let Some(out) = out {
            write!(out, "{}\r\n", names.join(","))?;
        }
    }
    Ok(Box::new(Csv { commands, waits }))
}

/// A cell.
enum Cell<'a> {
    Text(&'a str),
    Owned(String),
    Seconds(f64),
    Count(u64),
    Nothing,
}

impl<'a> Cell<'a> {
    fn text(text: Option<&'a str>) -> Self {
        text.map_or(Self::Nothing, Self::Text)
    }

    fn count(count: Option<impl Into<u64>>) -> Self {
        count.map_or(Self::Nothing, |count| Self::Count(count.into()))
    }
}

/// RFC 4180, 2: quoted where it must be, lines end in CRLF.
fn row(out: &mut dyn Write, cells: &[Cell<'_>]) -> Result<(), Error> {
    for (number, cell) in cells.iter().enumerate() {
        if number > 0 {
            out.write_all(b",")?;
        }
        match cell {
            Cell::Text(text) => out.write_all(quoted(text).as_bytes())?,
            Cell::Owned(text) => out.write_all(quoted(text).as_bytes())?,
            // An empty sum is -0.
            Cell::Seconds(seconds) => write!(out, "{:.9}", seconds + 0.0)?,
            Cell::Count(count) => write!(out, "{count}")?,
            Cell::Nothing => {}
        }
    }
    Ok(out.write_all(b"\r\n")?)
}

fn quoted(text: &str) -> String {
    let shown = escape(text);
    // What a spreadsheet passes over before it looks for a formula is passed over here too.
    let is_formula = shown.trim_start().starts_with(['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']);
    let shown = if is_formula { format!("'{shown}") } else { shown.into_owned() };
    if shown.contains(['"', ',', '\n', '\r', ';', '\'']) || shown.starts_with(' ') || shown.ends_with(' ') {
        format!("\"{}\"", shown.replace('"', "\"\""))
    } else {
        shown
    }
}

impl Csv {
    fn command(&mut self, session: &Session, command: &Command) -> Result<(), Error> {
        let Some(out) = &mut self.commands else { return Ok(()) };
        row(
            out,
            &[
                Cell::Text(&session.id),
                Cell::Text(&session.client),
                Cell::Text(&session.started),
                Cell::Text(&session.mta),
                Cell::count(u64::try_from(command.index).ok()),
                Cell::Text(command.verb.name()),
                Cell::text(command.line.as_deref()),
                Cell::count(command.reply_code),
                Cell::text(command.reply.as_deref()),
                Cell::Seconds(command.start_s),
                Cell::Seconds(command.elapsed_s),
                Cell::Seconds(command.server_s()),
                Cell::Seconds(command.waits.iter().map(|wait| wait.elapsed_s).sum()),
                Cell::Seconds(command.short_waits_s),
                Cell::Seconds(command.cpu_s),
                Cell::Seconds(command.runqueue_s),
                Cell::Seconds(command.unexplained_s),
                Cell::text(command.queue_id.as_deref()),
            ],
        )
    }

    /// A wait and, behind it, what its far end waited for. `number` counts the waits of the session.
    fn wait(&mut self, session: &Session, command: Option<&Command>, wait: &Wait, inner_of: Option<u64>, number: &mut u64) -> Result<(), Error> {
        let Some(out) = &mut self.waits else { return Ok(()) };
        let own = *number;
        *number += 1;
        let dns = wait.dns.as_ref();
        let milter = wait.milter.as_ref();
        row(
            out,
            &[
                Cell::Text(&session.id),
                Cell::count(command.and_then(|command| u64::try_from(command.index).ok())),
                Cell::text(command.map(|command| command.verb.name())),
                Cell::Count(own),
                Cell::count(inner_of),
                Cell::Text(wait.cause.name()),
                Cell::text(wait.target.as_deref()),
                Cell::Seconds(wait.start_s),
                Cell::Seconds(wait.elapsed_s),
                Cell::Owned(word(&wait.outcome)),
                Cell::count(wait.attempts),
                Cell::text(dns.map(|dns| dns.qname.as_str())),
                Cell::text(dns.map(|dns| dns.qtype.as_str())),
                Cell::text(dns.and_then(|dns| dns.rcode.as_deref())),
                Cell::text(milter.map(|milter| milter.stage.as_str())),
                Cell::text(milter.and_then(|milter| milter.reply.as_deref())),
                wait.timer_s.map_or(Cell::Nothing, Cell::Seconds),
                Cell::Owned(wait.syscalls.join(" ")),
                Cell::text(wait.descriptor.as_deref()),
                Cell::count(wait.peer.as_ref().map(|peer| peer.pid)),
                Cell::text(wait.peer.as_ref().map(|peer| peer.comm.as_str())),
            ],
        )?;
        wait.inner.iter().try_for_each(|inner| self.wait(session, command, inner, Some(own), number))
    }
}

impl Export for Csv {
    fn session(&mut self, session: &Session) -> Result<(), Error> {
        let mut number = 0;
        for command in &session.commands {
            self.command(session, command)?;
            command.waits.iter().try_for_each(|wait| self.wait(session, Some(command), wait, None, &mut number))?;
        }
        session.between.iter().try_for_each(|wait| self.wait(session, None, wait, None, &mut number))
    }

    fn finish(&mut self, _totals: &Report) -> Result<(), Error> {
        for out in [&mut self.commands, &mut self.waits].into_iter().flatten() {
            out.flush()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn no_text_is_a_formula_and_no_comma_a_column() {
        for (text, expected) in [
            ("MAIL FROM:<a@example.com>", "MAIL FROM:<a@example.com>"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("=HYPERLINK(1)", "\"'=HYPERLINK(1)\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM", "\"'@SUM\""),
            ("  =1", "\"'  =1\""),
            ("\u{ff1d}1", "\"'\u{ff1d}1\""),
            ("\t=1", "\\t=1"),
            ("a\r\n=b", "a\\r\\n=b"),
            (" padded ", "\" padded \""),
            ("a;b", "\"a;b\""),
        ] {
            assert_eq!(quoted(text), expected, "{text:?}");
        }
    }
}
