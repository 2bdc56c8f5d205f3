//! Sessions that have ended: the worst are kept whole, of the others only sums, so that a trace may last for weeks.
//!
//! In: finished sessions. Out: those that the report holds, in the order in which they began, and what the rest cost.
//! Invariant: which ones are kept depends on the sessions alone, so that a replayed log keeps the same.

use crate::report::{Cause, LeftOut, Session, Severity};
use crate::session::add;
use std::{cmp::Ordering, collections::BTreeMap};

/// How many sessions are kept, and how many commands they may have together: some 20 MB.
const MAX_SESSIONS: usize = 1000;
const MAX_COMMANDS: usize = 20_000;

/// How many different causes and targets of the others are summed up apart.
const MAX_SUMS: usize = 1000;

/// How bad a session is: the least is the first that is left out.
#[derive(Debug, Clone, Copy)]
struct Rank {
    /// Time of what is wrong in it, s.
    wrong_s: f64,
    /// Time on the server's side, s.
    server_s: f64,
    /// Place in the order in which the sessions began: of two that are equal the later one is the less.
    number: usize,
}

impl Rank {
    fn of(session: &Session, number: usize) -> Self {
        let wrong = session.findings.iter().filter(|finding| finding.severity != Severity::Intended);
        Self { wrong_s: wrong.map(|finding| finding.elapsed_s).sum(), server_s: session.server_s(), number }
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        self.wrong_s.total_cmp(&other.wrong_s).then(self.server_s.total_cmp(&other.server_s)).then(other.number.cmp(&self.number))
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Rank {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Rank {}

/// See above.
#[derive(Debug, Default)]
pub(super) struct Kept {
    entries: BTreeMap<Rank, Box<Session>>,
    commands: usize,
    left_out: LeftOut,
    keeps_all: bool,
}

impl Kept {
    /// Without a limit.
    pub fn all() -> Self {
        Self { keeps_all: true, ..Self::default() }
    }

    /// How many sessions have ended.
    pub fn count(&self) -> usize {
        self.entries.len().saturating_add(usize::try_from(self.left_out.sessions).unwrap_or(usize::MAX))
    }

    pub fn push(&mut self, number: usize, session: Session) {
        self.commands += session.commands.len();
        self.entries.insert(Rank::of(&session, number), Box::new(session));
        while !self.keeps_all && self.entries.len() > 1 && (self.entries.len() > MAX_SESSIONS || self.commands > MAX_COMMANDS) {
            self.leave_out_least();
        }
    }

    /// The sessions in their order, and the sums of those that were left out.
    pub fn take(&mut self) -> (Vec<Session>, Option<LeftOut>) {
        let Self { entries, left_out, .. } = std::mem::take(self);
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.sort_by_key(|(rank, _)| rank.number);
        let left_out = Some(left_out).filter(|it| it.sessions > 0);
        (entries.into_iter().map(|(_, session)| *session).collect(), left_out)
    }

    fn leave_out_least(&mut self) {
        let Some((_, session)) = self.entries.pop_first() else { return };
        self.commands -= session.commands.len();
        self.left_out.sessions += 1;
        self.left_out.server_s += session.server_s();
        for (cause, target, elapsed_s, number) in session.wait_sums().filter(|(cause, ..)| *cause != Cause::Client) {
            add(&mut self.left_out.waits, MAX_SUMS, (None, cause, target), elapsed_s, number);
        }
    }
}
