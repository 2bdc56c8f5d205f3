//! The dialogue with time stamps: what the client said, what was waited for, what the server answered.
//!
//! In: the commands of a session that are shown. Out: lines in their order, for `dialogue.html`; each wait with its evidence, and beneath it what the far end
//! waited for. Invariant: the same words as in the text report. Not here: places on a time axis (`timeline.rs`).

use super::{
    Shown,
    evidence::{self, Fact, process},
    number::seconds,
};
use crate::report::{Boundary, Command, Verb, Wait};
use crate::view::words::{LINE, answered, breakdown, outcome, said, wait_text};
use askama::Template;

/// Deeper waits of far ends are not told, as in the text report.
const LEVELS: usize = 4;

/// The part of the page.
#[derive(Template)]
#[template(path = "dialogue.html")]
pub struct Dialogue<'a> {
    shown: &'a Shown<'a>,
    lines: Vec<Line>,
    chains: Vec<Chain>,
}

/// A line.
#[derive(Default)]
struct Line {
    id: String,
    at: String,
    /// `C`, `S`, or nothing.
    who: &'static str,
    text: String,
    elapsed: String,
    /// Why it took so long, or how the wait ended.
    detail: String,
    /// Of a wait.
    cause: &'static str,
    facts: Vec<Fact>,
    level: usize,
    is_refused: bool,
}

/// Who waited for whom, the longest way down.
struct Chain {
    href: String,
    links: Vec<Link>,
}

struct Link {
    who: String,
    what: String,
    elapsed: String,
    outcome: String,
}

impl<'a> Dialogue<'a> {
    /// Of a session.
    pub fn new(shown: &'a Shown<'a>) -> Self {
        let session = shown.session;
        let (mut lines, mut chains) = (Vec::new(), Vec::new());
        let server = format!("{} (pid {})", session.mta, session.pid);
        let mut between = session.between.iter().enumerate().peekable();
        let mut tell = |lines: &mut Vec<Line>, wait: &Wait, id: &str| {
            lines.extend(wait_lines(wait, id, 1));
            chains.extend(Chain::of(&server, wait, id));
        };
        for command in &shown.commands {
            while let Some((at, wait)) = between.next_if(|(_, wait)| wait.start_s < command.start_s) {
                tell(&mut lines, wait, &shown.between_id(at));
            }
            let id = shown.command_id(command.index);
            lines.extend(question(command, &id));
            for (at, wait) in command.waits.iter().enumerate() {
                tell(&mut lines, wait, &format!("{id}w{at}"));
            }
            lines.push(answer(command, &id));
        }
        for (at, wait) in between {
            tell(&mut lines, wait, &shown.between_id(at));
        }
        Self { shown, lines, chains }
    }
}

fn question(command: &Command, id: &str) -> Option<Line> {
    // At the end of a session nobody says anything more.
    if command.verb == Verb::Disconnect {
        return None;
    }
    let (who, text) = speaker(said(command.verb, command.line.as_deref(), command.line_bytes));
    let detail = if command.boundary == Some(Boundary::Inferred) { "boundary inferred: no call shows where it ended" } else { "" };
    Some(Line { id: id.to_owned(), at: seconds(command.start_s), who, text, detail: detail.to_owned(), ..Line::default() })
}

fn answer(command: &Command, id: &str) -> Line {
    let (who, text) = speaker(answered(command, LINE));
    let detail = if command.elapsed_s < 0.01 { String::new() } else { breakdown(command) };
    // What the text report has no place for.
    let absent = if command.absent.is_empty() { String::new() } else { format!("proven absent: {}", command.absent.join(", ")) };
    let detail = [detail, absent].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    Line {
        id: if command.verb == Verb::Disconnect { id.to_owned() } else { String::new() },
        at: seconds(command.start_s + command.elapsed_s),
        who,
        text,
        elapsed: seconds(command.elapsed_s),
        detail,
        is_refused: command.reply_code.is_some_and(|code| code >= 400),
        ..Line::default()
    }
}

/// `C` or `S`, and what is said.
fn speaker(text: String) -> (&'static str, String) {
    for (who, begin) in [("C", "C "), ("S", "S ")] {
        if let Some(rest) = text.strip_prefix(begin) {
            return (who, rest.to_owned());
        }
    }
    ("", text)
}

fn wait_lines(wait: &Wait, id: &str, level: usize) -> Vec<Line> {
    let mut lines = vec![Line {
        id: id.to_owned(),
        at: seconds(wait.start_s),
        text: wait_text(wait),
        elapsed: seconds(wait.elapsed_s),
        detail: outcome(wait),
        cause: wait.cause.name(),
        facts: evidence::of(wait),
        level,
        ..Line::default()
    }];
    if level < LEVELS {
        lines.extend(wait.inner.iter().enumerate().flat_map(|(at, inner)| wait_lines(inner, &format!("{id}i{at}"), level + 1)));
    }
    lines
}

impl Chain {
    fn of(server: &str, wait: &Wait, id: &str) -> Option<Self> {
        if wait.inner.is_empty() {
            return None;
        }
        let mut links = vec![Link::of(server.to_owned(), wait)];
        let mut above = wait;
        while let Some(inner) = above.inner.iter().max_by(|a, b| a.elapsed_s.total_cmp(&b.elapsed_s)).filter(|_| links.len() <= LEVELS) {
            links.push(Link::of(above.peer.as_ref().map_or_else(|| "the far end".to_owned(), process), inner));
            above = inner;
        }
        Some(Self { href: id.to_owned(), links })
    }
}

impl Link {
    fn of(who: String, wait: &Wait) -> Self {
        Self { who, what: wait_text(wait), elapsed: seconds(wait.elapsed_s), outcome: outcome(wait) }
    }
}
