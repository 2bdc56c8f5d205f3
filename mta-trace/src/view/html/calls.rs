//! The system calls of sessions, for whoever wants to see them: kept while the log is read, since the report does not hold them.
//!
//! In: records and updates in their order, as every view takes them. Out: of the slowest sessions the calls of their process and of those it waited for, in the
//! form of the strace view, with SMTP's boundaries between them, for `calls.html`. Invariant: bounded, whatever the log holds; what is left out is counted.

use super::{Shown, number::seconds};
use crate::event::Record;
use crate::report::{Session, Wait};
use crate::update::Update;
use crate::view::{accepts::Accepts, strace::Strace, words::said};
use askama::Template;
use std::{
    cell::RefCell,
    collections::{HashMap, HashSet, VecDeque},
    io,
    rc::Rc,
};

/// Of so many sessions calls are kept: those that the page shows whole.
pub const SESSIONS: usize = 50;
/// Calls of one session.
const PER_SESSION: usize = 500;
/// Calls on a page.
const ON_PAGE: usize = 5000;
/// Calls of one process that wait for the end of its session.
const PER_PROCESS: usize = 2000;
/// The same of all processes: some 10 MB.
const WAITING: usize = 30_000;
/// A call that blocked so long stands out.
const SLOW_NS: u64 = 100_000_000;

/// What is kept while a log is read.
pub struct Calls {
    lines: Lines,
    strace: Strace<Lines>,
    /// By process, in the order of time.
    waiting: HashMap<u32, VecDeque<Line>>,
    /// How many those are.
    count: usize,
    accepts: Accepts,
    attached: u64,
    /// By session: the slowest.
    kept: Vec<Kept>,
}

struct Kept {
    id: String,
    server_s: f64,
    /// When it was accepted.
    began: u64,
    lines: Vec<Line>,
    left_out: usize,
}

#[derive(Clone)]
struct Line {
    /// When it began to block, or returned.
    at: u64,
    took_ns: u64,
    /// `26068 poll(...) = 1 <5.005>`.
    text: String,
}

/// What the strace view wrote last.
#[derive(Clone, Default)]
struct Lines(Rc<RefCell<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Default for Calls {
    fn default() -> Self {
        let lines = Lines::default();
        let strace = Strace::new(lines.clone());
        Self { lines, strace, waiting: HashMap::new(), count: 0, accepts: Accepts::default(), attached: 0, kept: Vec::new() }
    }
}

impl Calls {
    /// Takes the next record.
    pub fn record(&mut self, record: &Record) {
        let (pid, at, took_ns) = match record {
            Record::Sys(sys) => (sys.pid, sys.start.unwrap_or(sys.t), sys.start.map_or(0, |start| sys.t.saturating_sub(start))),
            Record::Block(block) => (block.pid, block.since, block.t.saturating_sub(block.since)),
            Record::Fork(fork) => (fork.pid, fork.t, 0),
            Record::Exec(exec) => (exec.pid, exec.t, 0),
            Record::Exit(exit) => (exit.pid, exit.t, 0),
            Record::Header(header) => (0, header.attach_ns[1], 0),
            _ => (0, 0, 0),
        };
        if let Record::Header(header) = record {
            self.attached = header.attach_ns[1];
        }
        self.accepts.record(record);
        // Memory takes everything.
        let _ = self.strace.record(record);
        let written = std::mem::take(&mut *self.lines.0.borrow_mut());
        if pid != 0 {
            String::from_utf8_lossy(&written).lines().for_each(|text| self.wait(pid, Line { at, took_ns, text: without_time(text) }));
        }
    }

    /// A session that ends takes its calls.
    pub fn update(&mut self, update: &Update) {
        let Update::SessionEnded(session) = update else { return };
        let began = self.accepts.take(&session.client).unwrap_or(self.attached);
        let server_s = session.server_s();
        let least = self.kept.iter().enumerate().min_by(|a, b| a.1.server_s.total_cmp(&b.1.server_s)).map(|(at, kept)| (at, kept.server_s));
        if self.kept.len() >= SESSIONS {
            match least {
                Some((at, least_s)) if least_s < server_s => drop(self.kept.swap_remove(at)),
                _ => return,
            }
        }
        let (lines, left_out) = longest(self.of(session, began), PER_SESSION);
        self.kept.push(Kept { id: session.id.clone(), server_s, began, lines, left_out });
    }

    fn wait(&mut self, pid: u32, line: Line) {
        let lines = self.waiting.entry(pid).or_default();
        lines.push_back(line);
        self.count += 1;
        if lines.len() > PER_PROCESS {
            lines.pop_front();
            self.count -= 1;
        }
        while self.count > WAITING {
            // Whoever has been silent longest.
            let silent = self.waiting.iter().min_by_key(|(_, lines)| lines.back().map_or(0, |line| line.at)).map(|(pid, _)| *pid);
            let Some(gone) = silent.and_then(|pid| self.waiting.remove(&pid)) else { return };
            self.count -= gone.len();
        }
    }

    /// The calls of a session that have been kept until now.
    fn of(&self, session: &Session, began: u64) -> Vec<Line> {
        let ns = std::time::Duration::try_from_secs_f64(session.elapsed_s.max(0.0))
            .map_or(u64::MAX, |it| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX));
        // What ends a session is told a little later than the session ends.
        let end = began.saturating_add(ns).saturating_add(1_000_000);
        let mut processes = HashSet::from([session.pid]);
        session.waits().for_each(|wait| far_ends(wait, &mut processes));
        let of = |pid: &u32| self.waiting.get(pid).into_iter().flatten();
        let is_inside = |line: &&Line| line.at.saturating_add(line.took_ns) >= began && line.at <= end;
        let mut lines: Vec<Line> = processes.iter().flat_map(of).filter(is_inside).cloned().collect();
        if session.daemon_pid != session.pid {
            // The accept itself; what else the daemon does is for other sessions.
            let is_accept = |line: &&Line| line.at.saturating_add(line.took_ns) == began;
            lines.extend(of(&session.daemon_pid).filter(is_accept).cloned());
        }
        lines.sort_by_key(|line| line.at);
        lines
    }
}

/// Processes that were waited for.
fn far_ends(wait: &Wait, processes: &mut HashSet<u32>) {
    processes.extend(wait.peer.as_ref().map(|peer| peer.pid));
    wait.inner.iter().for_each(|inner| far_ends(inner, processes));
}

/// `26068 1795592871.006890 poll(...)` without its second word.
fn without_time(text: &str) -> String {
    let mut words = text.splitn(3, ' ');
    match (words.next(), words.next(), words.next()) {
        (Some(thread), Some(_), Some(rest)) => format!("{thread} {rest}"),
        _ => text.to_owned(),
    }
}

/// At most so many, those that blocked longest, in their order; and how many are left out.
fn longest(lines: Vec<Line>, most: usize) -> (Vec<Line>, usize) {
    let left_out = lines.len().saturating_sub(most);
    if left_out == 0 {
        return (lines, 0);
    }
    let mut by_time: Vec<(usize, Line)> = lines.into_iter().enumerate().collect();
    by_time.sort_by(|a, b| b.1.took_ns.cmp(&a.1.took_ns).then(a.0.cmp(&b.0)));
    by_time.truncate(most);
    by_time.sort_by_key(|(at, _)| *at);
    (by_time.into_iter().map(|(_, line)| line).collect(), left_out)
}

/// The part of the page.
#[derive(Template)]
#[template(path = "calls.html")]
pub struct Section {
    id: String,
    level: u8,
    pid: u32,
    rows: Vec<Row>,
    count: usize,
    left_out: usize,
}

struct Row {
    at: String,
    text: String,
    is_slow: bool,
    is_mark: bool,
}

impl Section {
    /// Of a session; none: nothing was kept of it.
    pub(super) fn new(shown: &Shown, calls: &Calls) -> Option<Self> {
        let kept = calls.kept.iter().find(|kept| kept.id == shown.session.id)?;
        let most = (ON_PAGE / calls.kept.len().max(1)).clamp(1, PER_SESSION);
        let (lines, left_out) = longest(kept.lines.clone(), most);
        let (count, left_out) = (lines.len(), left_out + kept.left_out);
        let mut commands = shown.commands.iter().peekable();
        let mut rows = Vec::with_capacity(count);
        for line in lines {
            // A line may have begun before the accept: what the server waited in for its client.
            let at_s = std::time::Duration::from_nanos(line.at.saturating_sub(kept.began)).as_secs_f64();
            while let Some(command) = commands.next_if(|command| command.start_s < at_s) {
                let text = said(command.verb, command.line.as_deref(), command.line_bytes);
                rows.push(Row { at: at(command.start_s), text, is_slow: false, is_mark: true });
            }
            rows.push(Row { at: at(at_s), text: line.text, is_slow: line.took_ns >= SLOW_NS, is_mark: false });
        }
        (count > 0).then(|| Self { id: shown.id.clone(), level: shown.level, pid: shown.session.pid, rows, count, left_out })
    }
}

fn at(s: f64) -> String {
    format!("{:>9}", seconds(s))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at: u64, took_ns: u64) -> Line {
        Line { at, took_ns, text: String::new() }
    }

    #[test]
    fn those_that_blocked_longest_stay_in_their_order() {
        let (lines, left_out) = longest(vec![line(1, 0), line(2, 9), line(3, 0), line(4, 5)], 3);
        assert_eq!((lines.iter().map(|line| line.at).collect::<Vec<_>>(), left_out), (vec![1, 2, 4], 1));
    }

    #[test]
    fn processes_without_end_do_not_fill_the_memory() {
        let mut calls = Calls::default();
        for n in 0..100_000_u32 {
            calls.wait(n % 1000 + n / 50_000 * 1000, line(u64::from(n), 0));
        }
        assert!(calls.count <= WAITING);
        assert_eq!(calls.count, calls.waiting.values().map(VecDeque::len).sum::<usize>());
        assert!(calls.waiting.contains_key(&1999));
    }

    #[test]
    fn the_time_is_taken_out() {
        assert_eq!(without_time("7 1.5 read(3) = 1 <0.5>"), "7 read(3) = 1 <0.5>");
        assert_eq!(without_time("7 1.5"), "7 1.5");
    }
}
