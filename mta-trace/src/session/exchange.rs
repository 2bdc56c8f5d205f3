//! One command while it is being traced, and its account when it is over.

use super::mark::{Mark, Passed, seconds};
use crate::report::{Boundary, Cause, Command, Outcome, Verb, Wait};

/// A named wait with its marks.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// When it began.
    pub from: Mark,
    /// When it ended.
    pub to: Mark,
    /// As it is reported.
    pub wait: Wait,
    /// The socket on which it waited, by inode.
    pub socket: Option<u64>,
    /// What passed in later ones that were put into it.
    pub more: Passed,
}

impl Named {
    /// Whether it is the client's time.
    pub fn is_of_client(&self) -> bool {
        self.wait.cause == Cause::Client
    }

    /// What passed in it.
    pub fn passed(&self) -> Passed {
        let mut passed = self.to.since(&self.from);
        passed += self.more;
        passed
    }

    /// Puts the next one into it, which lasts as long as both then.
    fn take(&mut self, next: &Self) {
        self.more += next.passed();
        self.wait.elapsed_s = seconds(self.passed().elapsed);
    }
}

/// A message that comes slowly makes a pause of each of its pieces: so many are told one by one, a later one goes into the one before.
const MAX_PAUSES: usize = 100;

/// What was seen in a command, to tell what did not happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// A question to a name server.
    pub dns: bool,
    /// A connection of any kind (the datagram sockets of resolvers do not count).
    pub connect: bool,
    /// `fsync`, `fdatasync` or `sync`.
    pub sync: bool,
}

/// One command: a span of server time.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// What it is.
    pub verb: Verb,
    /// The client's line.
    pub line: Option<String>,
    /// Its length, where its text is not kept.
    pub line_bytes: Option<usize>,
    /// Code of the reply.
    pub reply_code: Option<u16>,
    /// First line of the reply.
    pub reply: Option<String>,
    /// Queue id in the reply.
    pub queue_id: Option<String>,
    /// No call shows one of its boundaries.
    pub is_inferred: bool,
    /// Where it begins.
    pub from: Mark,
    /// Its time: one piece, but for a command of a batch.
    pub pieces: Vec<(Mark, Mark)>,
    /// Waits inside it.
    pub waits: Vec<Named>,
    /// What was seen.
    pub seen: Seen,
}

/// A command's time, ns, and the parts of it outside waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// All of it.
    pub elapsed: i64,
    /// In short waits.
    pub short: i64,
    /// On a CPU.
    pub cpu: i64,
    /// Runnable.
    pub rq: i64,
    /// Unexplained.
    pub rest: i64,
}

impl std::ops::AddAssign for Split {
    fn add_assign(&mut self, other: Self) {
        let Self { elapsed, short, cpu, rq, rest } = other;
        self.elapsed = self.elapsed.saturating_add(elapsed);
        self.short = self.short.saturating_add(short);
        self.cpu = self.cpu.saturating_add(cpu);
        self.rq = self.rq.saturating_add(rq);
        self.rest = self.rest.saturating_add(rest);
    }
}

impl Exchange {
    /// A command that begins.
    pub fn new(verb: Verb, from: Mark) -> Self {
        Self {
            verb,
            line: None,
            line_bytes: None,
            reply_code: None,
            reply: None,
            queue_id: None,
            is_inferred: false,
            from,
            pieces: Vec::new(),
            waits: Vec::new(),
            seen: Seen::default(),
        }
    }

    /// Puts a wait into it.
    pub fn add(&mut self, named: Named) {
        let is_full = self.verb == Verb::Body && self.waits.len() >= MAX_PAUSES && named.is_of_client();
        match self.waits.iter_mut().rev().find(|wait| is_full && wait.is_of_client()) {
            Some(last) => last.take(&named),
            None => self.waits.push(named),
        }
    }

    /// It ends: its time is one piece up to here.
    pub fn end(&mut self, to: Mark) {
        self.pieces = vec![(self.from, to)];
        // A session keeps thousands: of a list of one wait three quarters would be room for more.
        self.waits.shrink_to_fit();
    }

    /// What passed in it.
    pub fn passed(&self) -> Passed {
        let mut sum = Passed::default();
        for (from, to) in &self.pieces {
            sum += to.since(from);
        }
        sum
    }

    /// Where its time outside waits went.
    pub fn split(&self, has_gap: bool) -> Split {
        let passed = self.passed();
        let mut outside = passed;
        for wait in &self.waits {
            outside -= wait.passed();
        }
        let rest = outside.elapsed.saturating_sub(outside.cpu).saturating_sub(outside.rq).saturating_sub(outside.blocked);
        let (short, rest) = if has_gap { (0, rest.saturating_add(outside.blocked)) } else { (outside.blocked, rest) };
        // Below a microsecond it is the clocks' own noise.
        let rest = if (-1000..0).contains(&rest) { 0 } else { rest };
        Split { elapsed: passed.elapsed.max(0), short, cpu: outside.cpu, rq: outside.rq, rest }
    }

    /// Its account. `start` is the session's accept; `is_proven`: what was not seen did not happen; `has_gap`: events were
    /// lost, so that time blocked without an event may have been one wait of any length.
    pub fn account(&self, index: usize, start: &Mark, is_proven: bool, has_gap: bool) -> Command {
        let Split { elapsed, short, cpu, rq, rest } = self.split(has_gap);
        let is_long = elapsed >= 1_000_000_000;
        Command {
            index,
            verb: self.verb,
            line: self.line.clone(),
            line_bytes: self.line_bytes,
            reply_code: self.reply_code,
            reply: self.reply.clone(),
            start_s: seconds(self.from.since(start).elapsed),
            elapsed_s: seconds(elapsed),
            short_waits_s: seconds(short),
            cpu_s: seconds(cpu),
            runqueue_s: seconds(rq),
            unexplained_s: seconds(rest),
            waits: self.waits().collect(),
            queue_id: self.queue_id.clone(),
            boundary: self.is_inferred.then_some(Boundary::Inferred),
            absent: if is_long && is_proven { self.seen.absent() } else { Vec::new() },
        }
    }
}

impl Exchange {
    /// Waits of the client's own inside it, ns.
    pub fn client_ns(&self) -> i64 {
        self.waits.iter().filter(|wait| wait.is_of_client()).map(|wait| wait.passed().elapsed).fold(0, i64::saturating_add)
    }

    /// The waits as they are reported. What a SASL service answered is not recorded, but a 535 (RFC 4954, 6) says that it refused.
    fn waits(&self) -> impl Iterator<Item = Wait> {
        let last_sasl = self.waits.iter().rposition(|named| named.wait.cause == Cause::Sasl);
        let is_denied = self.verb == Verb::Auth && self.reply_code == Some(535);
        self.waits.iter().enumerate().map(move |(index, named)| {
            let mut wait = named.wait.clone();
            if is_denied && Some(index) == last_sasl && wait.outcome == Outcome::Ok {
                wait.outcome = Outcome::Denied;
            }
            wait
        })
    }
}

impl Seen {
    fn absent(self) -> Vec<String> {
        let Self { dns, connect, sync } = self;
        // All of them are reported however fast they were.
        let absent = [(dns, "dns"), (connect, "connect"), (sync, "fsync")].into_iter().filter(|(is_seen, _)| !is_seen);
        absent.map(|(_, name)| name.to_owned()).collect()
    }
}
