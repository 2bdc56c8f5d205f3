//! The live view: a dialogue as the admin knows it from telnet, with the reasons in between.
//!
//! In: updates, as the analysis tells them. Out: lines; on a terminal a wait is shown when it begins and completed in
//! place, elsewhere on a line of its own when it ends. Invariant: every line but the last one on a terminal is final.
//! Not here: how the updates come about.

use super::{
    escape::escape,
    layout::{Row, WIDTH, clip, labelled, row},
    summary::severity,
    words::{answer_row, between_row, ended, said, wait_row, wait_text},
};
use crate::event::Record;
use crate::report::{Cause, Command, Session, Severity, Verb, Wait};
use crate::update::{SessionId, Update};
use anstyle::{AnsiColor, Style};
use std::io::{self, Write};

/// What the output can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Screen {
    /// Lines can be completed in place.
    pub is_terminal: bool,
    /// Colours are wanted.
    pub has_colour: bool,
}

/// Erases the line in which the cursor stands (ECMA-48: carriage return, EL 2).
const ERASE: &str = "\r\u{1b}[2K";

/// Columns for the id of the session whose line it is, unless one is longer.
const ID: usize = 9;

/// The view.
pub struct Timeline<W> {
    out: W,
    screen: Screen,
    /// Sessions that run; several: each line says whose it is.
    running: Vec<SessionId>,
    /// The wait that is shown and not over.
    pending: Option<(SessionId, String)>,
    /// Events lost so far.
    lost: u64,
}

impl<W: Write> Timeline<W> {
    /// Nothing shown yet.
    pub fn new(out: W, screen: Screen) -> Self {
        Self { out, screen, running: Vec::new(), pending: None, lost: 0 }
    }

    /// Says when events were lost.
    pub fn record(&mut self, record: &Record) -> io::Result<()> {
        let Record::Loss(loss) = record else { return Ok(()) };
        let lost = loss.ring.saturating_add(loss.tables);
        if lost <= std::mem::replace(&mut self.lost, lost) {
            return Ok(());
        }
        self.erase()?;
        let were = if lost == 1 { "event was" } else { "events were" };
        writeln!(self.out, "note: {lost} {were} LOST so far: times and causes may be wrong or missing")?;
        self.restore()
    }

    /// Shows one update.
    pub fn update(&mut self, update: &Update) -> io::Result<()> {
        match update {
            Update::SessionBegan { session, pid, client, server, mta } => {
                self.erase()?;
                self.running.push(session.clone());
                let who = format!("session {}  ", escape(session));
                let text = format!("{} -> {}  {}, pid {pid}", escape(client), escape(server), escape(mta));
                for line in labelled(0, &who, &text, self.limit()) {
                    self.line(session, Style::new().bold(), &line)?;
                }
            }
            Update::CommandBegan { session, index: _, verb, line, start_s } => {
                // The client has spoken: what was waited for is over.
                self.erase_of(session)?;
                if *verb == Verb::Disconnect {
                    return self.restore();
                }
                let text = said(*verb, line.as_deref(), None);
                self.rows(session, Style::new(), &Row { at_s: Some(*start_s), text, ..Row::default() })?;
            }
            Update::WaitBegan { session, command: _, wait } => self.begin_wait(session, wait)?,
            Update::WaitEnded { session, command, wait } => {
                self.erase_of(session)?;
                if command.is_none() {
                    // The client's turn is no news, the next command says it all; that the server let it wait is.
                    if wait.cause != Cause::Client {
                        self.rows(session, wait_style(wait), &between_row(wait))?;
                    }
                } else {
                    self.rows(session, wait_style(wait), &wait_row(wait, 1))?;
                    for inner in &wait.inner {
                        self.rows(session, wait_style(inner), &wait_row(inner, 2))?;
                    }
                }
            }
            Update::CommandEnded { session, command } => {
                self.erase_of(session)?;
                self.end_command(session, command)?;
            }
            Update::SessionEnded(session) => self.end_session(session)?,
            Update::Unmatched { .. } => return Ok(()),
        }
        self.restore()?;
        self.out.flush()
    }

    /// Nothing more comes: leaves the cursor on a line of its own.
    pub fn finish(&mut self) -> io::Result<()> {
        self.erase()?;
        self.pending = None;
        self.out.flush()
    }

    fn begin_wait(&mut self, session: &SessionId, wait: &Wait) -> io::Result<()> {
        if !self.screen.is_terminal {
            return Ok(());
        }
        self.erase()?;
        let what = if wait.cause == Cause::Client { "waiting for the client".to_owned() } else { format!("  {}", chain_text(wait)) };
        let so_far = if wait.elapsed_s >= 1.0 { format!(" {:.0} s", wait.elapsed_s) } else { String::new() };
        let line = format!("{}{:8.3}  {what} ...{so_far}", self.prefix(session), wait.start_s);
        // A line that the terminal wraps could not be erased.
        self.pending = Some((session.clone(), clip(&line, WIDTH - 1)));
        Ok(())
    }

    fn end_command(&mut self, session: &SessionId, command: &Command) -> io::Result<()> {
        let style = if command.elapsed_s >= 1.0 { Style::new().bold() } else { Style::new() };
        self.rows(session, style, &answer_row(command))
    }

    fn end_session(&mut self, session: &Session) -> io::Result<()> {
        let id: SessionId = session.id.as_str().into();
        self.erase_of(&id)?;
        let text = ended(session.end).to_owned();
        self.rows(&id, Style::new(), &Row { at_s: Some(session.elapsed_s), text, ..Row::default() })?;
        for finding in &session.findings {
            let style = match finding.severity {
                Severity::High | Severity::Medium => AnsiColor::Red.on_default(),
                Severity::Low => AnsiColor::Yellow.on_default(),
                Severity::Intended => Style::new(),
            };
            let text = format!("{}: {}", severity(finding.severity), escape(&finding.summary));
            self.rows(&id, style, &Row { at_s: None, text, ..Row::default() })?;
        }
        self.running.retain(|it| *it != id);
        if self.pending.as_ref().is_some_and(|(whose, _)| *whose == id) {
            self.pending = None;
        }
        Ok(())
    }

    /// Columns beside the prefix.
    fn limit(&self) -> usize {
        self.id_columns().map_or(WIDTH, |id| WIDTH.saturating_sub(id + 1))
    }

    /// Columns for ids; none: one session alone needs none.
    fn id_columns(&self) -> Option<usize> {
        let longest = self.running.iter().map(|id| id.len()).max()?;
        (self.running.len() > 1).then_some(longest.max(ID))
    }

    fn prefix(&self, session: &SessionId) -> String {
        self.id_columns().map_or_else(String::new, |width| format!("{:<width$}|", escape(session)))
    }

    fn rows(&mut self, session: &SessionId, style: Style, it: &Row) -> io::Result<()> {
        for text in row(it, self.limit()) {
            self.line(session, style, &text)?;
        }
        Ok(())
    }

    fn line(&mut self, session: &SessionId, style: Style, text: &str) -> io::Result<()> {
        let prefix = self.prefix(session);
        if self.screen.has_colour && style != Style::new() {
            writeln!(self.out, "{prefix}{style}{text}{style:#}")
        } else {
            writeln!(self.out, "{prefix}{text}")
        }
    }

    /// Takes the unfinished line from the screen; [`Self::restore`] brings it back.
    fn erase(&mut self) -> io::Result<()> {
        if self.pending.is_some() { self.out.write_all(ERASE.as_bytes()) } else { Ok(()) }
    }

    /// The same; and if it belonged to this session, it is over.
    fn erase_of(&mut self, session: &SessionId) -> io::Result<()> {
        self.erase()?;
        if self.pending.as_ref().is_some_and(|(whose, _)| whose == session) {
            self.pending = None;
        }
        Ok(())
    }

    fn restore(&mut self) -> io::Result<()> {
        match &self.pending {
            Some((_, line)) => self.out.write_all(line.as_bytes()),
            None => Ok(()),
        }
    }
}

/// A wait that is going on, and what its far end waits for at present: `milter eoh /run/milter > dns TXT example.com @192.0.2.53`.
fn chain_text(wait: &Wait) -> String {
    let text = wait_text(wait);
    wait.inner.last().map_or_else(|| text.clone(), |inner| format!("{text} > {}", chain_text(inner)))
}

fn wait_style(wait: &Wait) -> Style {
    if wait.cause == Cause::Client {
        Style::new().dimmed()
    } else if wait.elapsed_s >= 1.0 {
        AnsiColor::Red.on_default()
    } else if wait.elapsed_s >= 0.1 {
        AnsiColor::Yellow.on_default()
    } else {
        Style::new()
    }
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
