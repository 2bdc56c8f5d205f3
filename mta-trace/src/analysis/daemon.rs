//! What the daemon did with connections that never became sessions: its own words, and the overflows of its listen queues.
//!
//! In: `daemon` records, and how far the trace has come. Out: the report's `daemon`, if there is anything to say.

use super::live::{Context, wall};
use crate::diagnosis::{self, Settings};
use crate::event::Daemon;
use crate::report::{DaemonReport, DaemonState};
use crate::session::seconds;

/// How many changes are kept; of a daemon that changes more often the time of later ones is added to the last that said the same, whatever numbers were in it.
const MAX_STATES: usize = 1000;

/// What has been seen of it.
#[derive(Debug, Default)]
pub(super) struct Watch {
    first: Option<Daemon>,
    last: Option<Daemon>,
    states: Vec<DaemonState>,
    /// Which of them it is in.
    present: Option<usize>,
    /// The last time that a record told.
    reached: u64,
}

impl Watch {
    /// The trace has come so far.
    pub fn reach(&mut self, t: Option<u64>) {
        self.reached = self.reached.max(t.unwrap_or(0));
    }

    /// It was looked at.
    pub fn see(&mut self, daemon: &Daemon, context: &Context<'_>) {
        self.lasted(daemon.t);
        if self.first.is_none() {
            self.first = Some(daemon.clone());
        }
        self.present = daemon.state.as_deref().and_then(|state| self.place_of(state, daemon.t, context));
        self.last = Some(daemon.clone());
    }

    /// Where the time of this state is counted: the overflows of a queue may have changed, and not what the daemon says of itself.
    fn place_of(&mut self, state: &str, t: u64, context: &Context<'_>) -> Option<usize> {
        let is_it = |known: &DaemonState| known.state == state;
        if let Some(at) = self.present.filter(|at| self.states.get(*at).is_some_and(is_it)) {
            return Some(at);
        }
        if self.states.len() >= MAX_STATES {
            return self.states.iter().rposition(|known| without_numbers(&known.state).eq(without_numbers(state)));
        }
        self.states.push(DaemonState { state: state.to_owned(), started: wall(t, context), elapsed_s: 0.0 });
        Some(self.states.len() - 1)
    }

    /// The present state has lasted until then: what was seen at two looks is taken to have been so between them.
    fn lasted(&mut self, until: u64) {
        if let (Some(state), Some(last)) = (self.present.and_then(|at| self.states.get_mut(at)), &self.last) {
            state.elapsed_s += seconds(until.saturating_sub(last.t).cast_signed());
        }
    }

    /// What there is to say.
    pub fn conclude(&mut self, mta: &str, settings: &Settings) -> Option<DaemonReport> {
        self.lasted(self.reached);
        let (first, last) = (self.first.take()?, self.last.take()?);
        let mut report = DaemonReport {
            pid: first.pid,
            listen_overflows: last.listen_overflows.saturating_sub(first.listen_overflows),
            listen_drops: last.listen_drops.saturating_sub(first.listen_drops),
            states: std::mem::take(&mut self.states),
            findings: Vec::new(),
        };
        report.findings = diagnosis::of_daemon(&report, mta, settings);
        let is_told = report.listen_overflows > 0 || report.listen_drops > 0 || !report.findings.is_empty();
        is_told.then_some(report)
    }
}

fn without_numbers(state: &str) -> impl Iterator<Item = char> {
    state.chars().filter(|c| !c.is_ascii_digit())
}
