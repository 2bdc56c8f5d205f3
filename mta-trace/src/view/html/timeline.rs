//! The waterfall of a session: commands as rows, waits as bars by cause, beneath them the processes that were waited for.
//!
//! In: the commands of a session that are shown. Out: rows with places on one time axis, for `timeline.html`. Each bar leads to its line in the dialogue,
//! where its evidence stands. Not here: zoom, which is the script's.

use super::{
    Shown,
    evidence::process,
    number::{Tick, length, seconds, share, ticks},
};
use crate::report::{Command, Outcome, Session, Verb, Wait};
use crate::view::words::{outcome, said, wait_text};
use askama::Template;

/// Deeper chains are not drawn; the dialogue tells of them.
const LEVELS: usize = 4;
/// A bar that is narrower has no text in it, until it is zoomed.
const LABELLED: f64 = 0.07;

/// The part of the page.
#[derive(Template)]
#[template(path = "timeline.html")]
pub struct Timeline<'a> {
    shown: &'a Shown<'a>,
    ticks: Vec<Tick>,
    rows: Vec<Row>,
    /// Causes that have a bar, for the legend.
    causes: Vec<&'static str>,
    total: String,
}

/// A command, or a process that was waited for.
struct Row {
    /// Where the dialogue has it.
    href: String,
    verb: &'static str,
    text: String,
    reply: String,
    /// A reply that refuses.
    is_refused: bool,
    start: String,
    elapsed: String,
    /// Of the command itself: `left`, `width`.
    span: Option<(String, String)>,
    bars: Vec<Bar>,
    level: usize,
}

struct Bar {
    left: String,
    width: String,
    cause: &'static str,
    href: String,
    text: String,
    /// The same for whoever does not see it, with how it ended.
    label: String,
    is_labelled: bool,
    /// It ended without what was waited for.
    is_failed: bool,
}

impl<'a> Timeline<'a> {
    /// Of a session.
    pub fn new(shown: &'a Shown<'a>) -> Self {
        let axis = Axis { total_s: total_s(shown.session) };
        let mut rows = Vec::new();
        let mut between = shown.session.between.iter().enumerate().peekable();
        for command in &shown.commands {
            while let Some((at, wait)) = between.next_if(|(_, wait)| wait.start_s < command.start_s) {
                rows.extend(axis.between(shown, at, wait));
            }
            rows.extend(axis.command(shown, command));
        }
        rows.extend(between.flat_map(|(at, wait)| axis.between(shown, at, wait)));
        let mut causes: Vec<&'static str> = rows.iter().flat_map(|row| row.bars.iter().map(|bar| bar.cause)).collect();
        causes.sort_unstable();
        causes.dedup();
        Self { shown, ticks: ticks(axis.total_s), rows, causes, total: axis.total_s.to_string() }
    }
}

/// To the end of the session, or of what lies behind it by rounding.
fn total_s(session: &Session) -> f64 {
    let last = session.commands.last().map_or(0.0, |command| command.start_s + command.elapsed_s);
    session.elapsed_s.max(last)
}

struct Axis {
    total_s: f64,
}

impl Axis {
    fn place(&self, start_s: f64, elapsed_s: f64) -> (f64, f64) {
        let left = share(start_s, self.total_s);
        (left, share(elapsed_s, self.total_s).min(1.0 - left))
    }

    fn command(&self, shown: &Shown, command: &Command) -> Vec<Row> {
        let (left, width) = self.place(command.start_s, command.elapsed_s);
        let id = shown.command_id(command.index);
        let reply = command.reply_code.map(|code| code.to_string()).unwrap_or_default();
        let row = Row {
            href: id.clone(),
            verb: command.verb.name(),
            text: rest_of_line(command),
            is_refused: command.reply_code.is_some_and(|code| code >= 400),
            reply,
            start: seconds(command.start_s),
            elapsed: seconds(command.elapsed_s),
            span: Some((length(left), length(width))),
            bars: command.waits.iter().enumerate().map(|(at, wait)| self.bar(wait, &format!("{id}w{at}"))).collect(),
            level: 0,
        };
        let chains = command.waits.iter().enumerate().flat_map(|(at, wait)| self.chain(wait, &format!("{id}w{at}"), 1));
        std::iter::once(row).chain(chains).collect()
    }

    /// A wait of the server's between two commands.
    fn between(&self, shown: &Shown, at: usize, wait: &Wait) -> Vec<Row> {
        let id = shown.between_id(at);
        let row = Row { verb: "", text: "between commands".to_owned(), bars: vec![self.bar(wait, &id)], ..Row::of(&id, wait, 0) };
        std::iter::once(row).chain(self.chain(wait, &id, 1)).collect()
    }

    /// What the process at the far end was itself waiting for: a row for each process.
    fn chain(&self, wait: &Wait, id: &str, level: usize) -> Vec<Row> {
        if wait.inner.is_empty() || level > LEVELS {
            return Vec::new();
        }
        let text = wait.peer.as_ref().map_or_else(|| "the far end".to_owned(), process);
        let bars = wait.inner.iter().enumerate().map(|(at, inner)| self.bar(inner, &format!("{id}i{at}"))).collect();
        let row = Row { text, bars, ..Row::of(id, wait, level) };
        let deeper = wait.inner.iter().enumerate().flat_map(|(at, inner)| self.chain(inner, &format!("{id}i{at}"), level + 1));
        std::iter::once(row).chain(deeper).collect()
    }

    fn bar(&self, wait: &Wait, id: &str) -> Bar {
        let (left, width) = self.place(wait.start_s, wait.elapsed_s);
        let outcome = outcome(wait);
        let outcome = if outcome.is_empty() { outcome } else { format!(", {outcome}") };
        Bar {
            left: length(left),
            width: length(width),
            cause: wait.cause.name(),
            href: id.to_owned(),
            text: wait_text(wait),
            label: format!("{}: {} s{outcome}", wait_text(wait), seconds(wait.elapsed_s)),
            is_labelled: width >= LABELLED,
            is_failed: !matches!(wait.outcome, Outcome::Ok | Outcome::Denied),
        }
    }
}

impl Row {
    fn of(id: &str, wait: &Wait, level: usize) -> Self {
        Self {
            href: id.to_owned(),
            verb: "",
            text: String::new(),
            reply: String::new(),
            is_refused: false,
            start: seconds(wait.start_s),
            elapsed: seconds(wait.elapsed_s),
            span: None,
            bars: Vec::new(),
            level,
        }
    }
}

/// The client's line behind its verb; for what is no line of a client, what it is.
fn rest_of_line(command: &Command) -> String {
    let verb = command.verb.name();
    if let Some(line) = &command.line {
        let is_verb = line.get(..verb.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(verb));
        let rest = if is_verb { line.get(verb.len()..).unwrap_or_default() } else { line };
        return rest.trim().to_owned();
    }
    match command.verb {
        Verb::Connect => "accept, greeting".to_owned(),
        Verb::Body => "the message".to_owned(),
        Verb::Eom => "end of the message".to_owned(),
        Verb::Tls => "handshake".to_owned(),
        Verb::Disconnect => "closing".to_owned(),
        Verb::Invalid | Verb::Opaque => {
            let text = said(command.verb, None, command.line_bytes);
            text.strip_prefix("C ").unwrap_or(&text).to_owned()
        }
        _ => String::new(),
    }
}
