//! Names for waits: one file per cause, one line in [`TABLE`].
//!
//! Steps of a serving thread in, in order; named waits out. A row recognises the steps that belong to it and
//! explains them once they are over. Invariant: a cause is never guessed; what no row claims is `network` or `unknown`.

mod callback;
mod child;
mod client;
mod content_filter;
mod dns;
mod file_io;
mod file_lock;
mod ident;
mod ldap;
mod map;
mod milter;
mod mta;
mod name_service;
mod network;
mod outcome;
mod outstanding;
mod peer;
mod policy;
mod relay;
mod sasl;
mod sleep;
mod spool_sync;
mod sql;
mod tls;
mod unknown;

pub use dns::is_query;

use crate::report::{Cause, Dns, Milter, Outcome, Wait};
use crate::session::{Mark, Named, Passed, seconds};
use crate::wait::Step;

/// Whether a step belongs to a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    /// It does not.
    No,
    /// It is the beginning of a wait.
    Begins,
    /// It goes on with the present wait (and, where that has another cause yet, names it better).
    Continues,
    /// It goes on with the present wait and ends it.
    Completes,
}

/// How a cause is recognised and explained.
#[derive(Debug)]
struct Row {
    cause: Cause,
    /// The step, and the present wait.
    recognise: fn(&Step, Option<&Present>) -> Match,
    /// All steps of a wait.
    explain: fn(&[Step]) -> Explained,
}

/// All causes. The first row that claims a step has it: a row stands before those that know less.
static TABLE: &[Row] = &[
    Row { cause: Cause::Tls, recognise: tls::recognise, explain: tls::explain },
    Row { cause: Cause::Client, recognise: client::recognise, explain: client::explain },
    Row { cause: Cause::Sleep, recognise: sleep::recognise, explain: sleep::explain },
    Row { cause: Cause::Dns, recognise: dns::recognise, explain: dns::explain },
    Row { cause: Cause::Ident, recognise: ident::recognise, explain: ident::explain },
    Row { cause: Cause::Callback, recognise: callback::recognise, explain: callback::explain },
    Row { cause: Cause::Relay, recognise: relay::recognise, explain: relay::explain },
    Row { cause: Cause::Milter, recognise: milter::recognise, explain: milter::explain },
    Row { cause: Cause::Sasl, recognise: sasl::recognise, explain: peer::explain },
    Row { cause: Cause::Policy, recognise: policy::recognise, explain: peer::explain },
    Row { cause: Cause::Map, recognise: map::recognise, explain: peer::explain },
    Row { cause: Cause::Ldap, recognise: ldap::recognise, explain: peer::explain },
    Row { cause: Cause::Sql, recognise: sql::recognise, explain: peer::explain },
    Row { cause: Cause::ContentFilter, recognise: content_filter::recognise, explain: peer::explain },
    Row { cause: Cause::NameService, recognise: name_service::recognise, explain: peer::explain },
    Row { cause: Cause::FileLock, recognise: file_lock::recognise, explain: file_lock::explain },
    Row { cause: Cause::SpoolSync, recognise: spool_sync::recognise, explain: spool_sync::explain },
    Row { cause: Cause::Child, recognise: child::recognise, explain: child::explain },
    Row { cause: Cause::Mta, recognise: mta::recognise, explain: mta::explain },
    Row { cause: Cause::FileIo, recognise: file_io::recognise, explain: file_io::explain },
    Row { cause: Cause::Network, recognise: network::recognise, explain: network::explain },
    Row { cause: Cause::Unknown, recognise: unknown::recognise, explain: unknown::explain },
];

/// What a cause says about its wait.
#[derive(Clone, Debug)]
struct Explained {
    target: Option<String>,
    outcome: Outcome,
    attempts: Option<u32>,
    dns: Option<Dns>,
    milter: Option<Milter>,
    timer_ns: Option<u64>,
    connected: Option<bool>,
    descriptor: Option<String>,
}

/// The wait that is going on.
#[derive(Clone, Debug)]
struct Present {
    row: &'static Row,
    steps: Vec<Step>,
    /// Nothing is left open of its sockets.
    is_closed: bool,
}

impl Present {
    fn is(&self, cause: Cause) -> bool {
        self.row.cause == cause
    }

    fn push(&mut self, step: Step) {
        let most = if self.is(Cause::Dns) { MAX_DNS_STEPS } else { MAX_STEPS };
        if self.steps.len() >= most {
            self.steps.remove(most / 2);
        }
        self.is_closed &= step.sockets().next().is_none();
        self.steps.push(step);
    }

    fn last_to(&self) -> Option<Mark> {
        self.steps.last().map(|step| step.to)
    }

    /// Whether one of its steps read, wrote or polled this socket.
    fn knows(&self, inode: u64) -> bool {
        self.steps.iter().any(|step| step.touches(inode))
    }

    /// Whether a step reads, writes or polls one of its sockets.
    fn is_touched_by(&self, step: &Step) -> bool {
        step.sockets().any(|socket| self.knows(socket.inode))
    }
}

/// How many steps of one wait are kept; a wait of more goes on with its first and last ones.
const MAX_STEPS: usize = 4096;

/// The same for `dns`, where each step is compared with all others: more than any resolver makes of one question.
const MAX_DNS_STEPS: usize = 64;

/// Puts steps together to named waits.
#[derive(Clone, Debug)]
pub struct Namer {
    start: Mark,
    min_wait_ns: u64,
    present: Option<Present>,
    /// What blocked since the present wait's last step: inside it if it goes on, behind it if not.
    aside: Vec<Step>,
    /// End of the last wait: none begins before it.
    end: Mark,
    /// Room of a wait that is over, for the next one's steps.
    spare: Vec<Step>,
}

impl Namer {
    /// For a session that begins here; waits below the threshold are not named.
    pub fn new(start: Mark, min_wait_ns: u64) -> Self {
        Self { start, min_wait_ns, present: None, aside: Vec::new(), end: start, spare: Vec::new() }
    }

    /// The session is counted from here: what began before is counted from here too.
    pub fn rebase(&mut self, start: Mark) {
        (self.start, self.end) = (start, start);
    }

    /// Takes the next step; gives the waits that ended with it.
    pub fn step(&mut self, step: Step) -> Vec<Named> {
        if self.present.as_ref().is_some_and(|present| outstanding::may_be_inside(&step, present)) && self.aside.len() < MAX_STEPS {
            self.aside.push(step);
            return Vec::new();
        }
        if let Some(present) = self.present.as_mut().filter(|present| callback::asks_again(&step, present)) {
            self.aside.drain(..).for_each(|pause| present.push(pause));
        }
        let Some((row, matched)) = classify(&step, self.present.as_ref()) else { return Vec::new() };
        let mut ended = Vec::new();
        if matched == Match::Begins {
            ended.extend(self.finish());
            self.present = Some(Present { row, steps: std::mem::take(&mut self.spare), is_closed: false });
        }
        if let Some(present) = &mut self.present {
            if !unknown::keeps_name(row.cause, matched) {
                present.row = row;
            }
            self.aside.drain(..).for_each(|inside| present.push(inside));
            present.push(step);
        }
        if matched == Match::Completes {
            ended.extend(self.finish());
        }
        ended
    }

    /// Whether somebody has been asked who has not answered yet.
    pub fn is_outstanding(&self) -> bool {
        self.present.as_ref().is_some_and(outstanding::is_outstanding)
    }

    /// Descriptors were closed; `is_open` tells whether a socket still has one.
    pub fn closed(&mut self, is_open: impl Fn(u64) -> bool) {
        if let Some(present) = &mut self.present {
            let mut sockets = present.steps.iter().flat_map(Step::sockets).peekable();
            present.is_closed = sockets.peek().is_some() && !sockets.any(|socket| is_open(socket.inode));
        }
    }

    /// The process was killed: what the present wait was interrupted in did not end.
    pub fn cut_short(&mut self) {
        if let Some(step) = self.present.as_mut().and_then(|present| present.steps.last_mut()) {
            step.cut_short();
        }
    }

    /// The present wait ends, if there is one, and what was kept aside is no part of it.
    pub fn finish(&mut self) -> Vec<Named> {
        let mut ended: Vec<Named> = self.finish_present().into_iter().collect();
        for step in std::mem::take(&mut self.aside) {
            if let Some((row, _)) = classify(&step, None) {
                self.present = Some(Present { row, steps: vec![step], is_closed: false });
                ended.extend(self.finish_present());
            }
        }
        ended
    }

    fn finish_present(&mut self) -> Option<Named> {
        let Present { row, mut steps, is_closed: _ } = self.present.take()?;
        let named = self.named(row, &steps);
        steps.clear();
        self.spare = steps;
        named
    }

    /// The wait that these steps are; none: it is too short to be told.
    fn named(&mut self, row: &Row, steps: &[Step]) -> Option<Named> {
        let from = self.end.max(steps.first()?.from);
        let to = steps.last()?.to;
        let elapsed = to.since(&from).elapsed;
        if elapsed <= 0 || elapsed.unsigned_abs() < self.min_wait_ns {
            return None;
        }
        self.end = to;
        let wait = report(row, steps, &from, &to, &self.start);
        // An event loop does not say on what it waits; what it has sent does.
        let is_loop = steps.iter().any(|step| step.is_shared_poll);
        let mut waits = steps.iter().rev().filter(|step| step.is_blocked || is_loop);
        let socket = waits.find_map(Step::any_socket).map(|socket| socket.inode);
        Some(Named { from, to, wait, socket, more: Passed::default() })
    }

    /// What the present wait would be if it went on with this step and ended there.
    pub fn preview(&self, step: Step) -> Option<Named> {
        let mut copy = self.clone();
        copy.step(step);
        copy.finish().pop()
    }
}

fn classify(step: &Step, present: Option<&Present>) -> Option<(&'static Row, Match)> {
    TABLE.iter().map(|row| (row, (row.recognise)(step, present))).find(|(_, matched)| *matched != Match::No)
}

fn report(row: &Row, steps: &[Step], from: &Mark, to: &Mark, start: &Mark) -> Wait {
    let Explained { target, outcome, attempts, dns, milter, timer_ns, connected, descriptor } = (row.explain)(steps);
    let mut syscalls: Vec<String> = Vec::new();
    for step in steps.iter().filter(|step| step.is_blocked) {
        if !syscalls.iter().any(|name| *name == step.name) {
            syscalls.push(step.name.clone().into_owned());
        }
    }
    Wait {
        cause: row.cause,
        target,
        start_s: seconds(from.since(start).elapsed),
        elapsed_s: seconds(to.since(from).elapsed),
        outcome,
        attempts,
        dns,
        milter,
        timer_s: timer_ns.map(|ns| seconds(ns.cast_signed())),
        connected,
        syscalls,
        descriptor,
        peer: None,
        inner: Vec::new(),
    }
}
