//! One thread of a helper: what it waited for, and for whom it worked then.
//!
//! It works for the connection from which it has read and that it has not answered; with several such nobody knows for which. Invariant: what it waits for while it waits to be asked is no wait.

use crate::analysis::flow::Bearer;
use crate::cause::Namer;
use crate::event::{Args, Block, Endpoint, Header, Proto, Sys};
use crate::report::{Cause, Wait};
use crate::session::{Mark, Named};
use crate::state::{Object, Proc, State};
use crate::wait::{Place, Step, is_poll_of_all};
use mta_trace_common::syscalls::Call;
use std::collections::{BTreeSet, HashSet, VecDeque};

/// Waits that are remembered: those of the last minutes are asked for.
const MAX_WAITS: usize = 256;
/// Connections that are remembered to have asked: two are too many already.
const MAX_ASKED: usize = 64;

/// A wait of a helper.
#[derive(Clone, Debug)]
pub(super) struct Inner {
    /// When it began, monotonic ns.
    pub from: u64,
    /// When it ended.
    pub to: u64,
    /// Until when it explains something.
    pub until: u64,
    /// The socket on which it waited.
    pub socket: Option<u64>,
    /// For whom it worked then.
    pub for_whom: Whom,
    /// As it is reported.
    pub wait: Wait,
}

/// For which connection a thread of a helper works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    /// It was at work already when it was taken in.
    Unseen,
    /// The one from which it has read, by its own end.
    One(u64),
    /// It has read from several, and answered none of them yet.
    Several,
    /// A session that has sent it a message.
    Session(Bearer),
}

/// A thread of a helper.
#[derive(Debug)]
pub(super) struct Thread {
    namer: Namer,
    waits: VecDeque<Inner>,
    for_whom: Whom,
    /// Connections from which it has read and that it has not answered.
    asked: BTreeSet<u64>,
    /// The last look at a call that has not returned, as a step.
    unfinished: Option<Step>,
}

impl Thread {
    pub fn new(min_wait_ns: u64) -> Self {
        let start = Mark::default();
        Self { namer: Namer::new(start, min_wait_ns), waits: VecDeque::new(), for_whom: Whom::Unseen, asked: BTreeSet::new(), unfinished: None }
    }

    /// A call returned.
    pub fn sys(&mut self, sys: &Sys, ends: &Ends, state: &State, header: Option<&Header>) {
        self.unfinished = None;
        let (from, to) = (begin(sys), Mark { t: sys.t, at: sys.at() });
        let end = ends.of_sys(sys, state);
        let mut step = Step::of_call(sys, from, to, place(end, state, header));
        if is_poll_of_all(sys.call) {
            // An event loop: on what it waited is not told, and its time-out is the nearest of many. A question without an answer is what it waits for.
            (step.ret, step.timeout_ns) = (None, None);
        }
        let transfers = (step.is_receive() || step.is_send()) && sys.ret > 0;
        let is_answer = step.is_send();
        // Who has closed asks nothing any more.
        let is_end = step.is_receive() && sys.ret == 0;
        let named = self.namer.step(step);
        self.keep(named);
        if let Some(inode) = end {
            self.finish();
            if transfers {
                self.works_for(inode, is_answer);
            } else if is_end {
                self.asked.remove(&inode);
            }
        }
    }

    /// It has read from this connection, or has answered there.
    fn works_for(&mut self, inode: u64, is_answer: bool) {
        if is_answer {
            // Nothing was read meanwhile: what it answers is what it was at work for when it was taken in.
            if self.for_whom == Whom::Unseen {
                self.waits.iter_mut().for_each(|inner| inner.for_whom = Whom::One(inode));
            }
            self.asked.remove(&inode);
        } else if self.asked.len() < MAX_ASKED {
            self.asked.insert(inode);
        }
        let mut asked = self.asked.iter();
        self.for_whom = match (asked.next(), asked.next()) {
            (None, _) => Whom::One(inode),
            (Some(only), None) => Whom::One(*only),
            (Some(_), Some(_)) => Whom::Several,
        };
    }

    /// From now on it works for somebody else.
    pub fn turn_to(&mut self, whom: Whom) {
        self.unfinished = None;
        self.finish();
        self.for_whom = whom;
    }

    /// It has ended: what it was at is over. `is_killed`: not by itself.
    pub fn ended(&mut self, is_killed: bool) {
        if is_killed {
            self.namer.cut_short();
        }
        self.unfinished = None;
        self.finish();
    }

    /// It was blocked outside hooked calls, or still is.
    pub fn block(&mut self, block: &Block, ends: &Ends, state: &State, header: Option<&Header>) {
        let from = Mark { t: block.since, at: block.at_start.unwrap_or_default() };
        let place = place(ends.of_block(block, state), state, header);
        let step = Step::of_block(block, from, Mark { t: block.t, at: block.at }, place);
        if block.unfinished {
            self.unfinished = Some(step);
        } else {
            self.unfinished = None;
            let named = self.namer.step(step);
            self.keep(named);
        }
    }

    /// What it waited for in an interval, what is not over included. `is_known`: whether it is known who is at the other end of a socket.
    pub fn waits_in(&self, from: u64, to: u64, is_known: impl Fn(u64) -> bool) -> Vec<Inner> {
        let present = self.present(to).into_iter().map(|named| self.inner(named));
        let overlaps = |inner: &Inner| inner.from < to && inner.to > from && !is_idle(inner, &is_known);
        self.waits.iter().cloned().chain(present).filter(overlaps).collect()
    }

    /// Whether it has worked for a connection.
    pub fn works_or_worked_for(&self, inode: u64) -> bool {
        self.for_whom == Whom::One(inode) || self.waits.iter().any(|inner| inner.for_whom == Whom::One(inode))
    }

    /// From when to when in an interval it waited for what it does not tell: another thread, perhaps. None: it did not.
    pub fn waited_for_others(&self, from: u64, to: u64) -> Option<(u64, u64)> {
        let present = self.present(to).into_iter().map(|named| self.inner(named));
        let is_unnamed = |inner: &Inner| matches!(inner.wait.cause, Cause::Unknown | Cause::Network) && inner.wait.target.is_none();
        let all = self.waits.iter().cloned().chain(present).filter(|inner| inner.from < to && inner.to > from && is_unnamed(inner));
        let spans = all.map(|inner| (inner.from.max(from), inner.to.min(to)));
        spans.reduce(|(from, to), (next_from, next_to)| (from.min(next_from), to.max(next_to)))
    }

    /// The wait that is going on, up to `t`.
    fn present(&self, t: u64) -> Option<Named> {
        match &self.unfinished {
            Some(step) => {
                let to = Mark { t: t.max(step.from.t), at: step.to.at };
                self.namer.preview(Step { to, ..step.clone() })
            }
            None => self.namer.clone().finish().pop(),
        }
    }

    fn finish(&mut self) {
        let named = self.namer.finish();
        self.keep(named);
    }

    fn keep(&mut self, named: Vec<Named>) {
        for named in named {
            let inner = self.inner(named);
            if self.waits.len() >= MAX_WAITS {
                self.waits.pop_front();
            }
            self.waits.push_back(inner);
        }
    }

    fn inner(&self, named: Named) -> Inner {
        Inner { from: named.from.t, to: named.to.t, until: named.to.t, socket: named.socket, for_whom: self.for_whom, wait: named.wait }
    }
}

/// Waits for the next request, or for what nobody can tell (an event loop, other threads), explain nothing.
fn is_idle(inner: &Inner, is_known: impl Fn(u64) -> bool) -> bool {
    let Inner { wait, socket, .. } = inner;
    let is_unnamed = || matches!(wait.cause, Cause::Unknown | Cause::Network) && wait.target.is_none() && !socket.is_some_and(is_known);
    wait.cause == Cause::Client || is_unnamed()
}

/// Where a helper is asked.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// Its ends of connections for which it was taken in.
    pub inodes: HashSet<u64>,
    /// Where these came from: others do too.
    pub endpoints: Vec<Endpoint>,
}

impl Ends {
    /// The connection over which it is asked, that a call reads, writes, polls or accepts.
    fn of_sys(&self, sys: &Sys, state: &State) -> Option<u64> {
        let process = state.process(sys.pid);
        if matches!(sys.call, Call::Accept | Call::Accept4) {
            return sys.socket.as_ref().map(|socket| socket.inode);
        }
        let behind = sys.args.fd.filter(|_| sys.call.row().fd0).and_then(|fd| process?.fds.object(fd));
        self.of_object(behind).or_else(|| self.polled(&sys.args, process))
    }

    fn of_block(&self, block: &Block, state: &State) -> Option<u64> {
        let process = state.process(block.pid);
        let args = block.args.as_ref()?;
        let told = block.socket.as_ref().map(|socket| socket.inode).filter(|inode| self.inodes.contains(inode));
        told.or_else(|| self.of_object(args.fd.and_then(|fd| process?.fds.object(fd)))).or_else(|| self.polled(args, process))
    }

    fn polled(&self, args: &Args, process: Option<&Proc>) -> Option<u64> {
        let fds = args.fds.iter().map(|entry| entry.fd).chain(args.read.iter().copied());
        fds.into_iter().find_map(|fd| self.of_object(process?.fds.object(fd)))
    }

    /// A connection that somebody else made: one that is known, or that came in at the same place.
    fn of_object(&self, object: Option<&Object>) -> Option<u64> {
        let socket = object?.socket()?;
        // Of unix sockets only those that were accepted, or listen, have a name of their own.
        let is_accepted = socket.proto != Proto::Udp && socket.local.as_ref().is_some_and(|local| self.endpoints.contains(local));
        (self.inodes.contains(&socket.inode) || is_accepted).then_some(socket.inode)
    }
}

fn begin(sys: &Sys) -> Mark {
    match (sys.start, sys.at_start) {
        (Some(t), Some(at)) => Mark { t, at },
        _ => Mark { t: sys.t, at: sys.at() },
    }
}

/// A helper's connection is to it what the client's is to a session: it is always the other's turn.
fn place<'a>(end: Option<u64>, state: &'a State, header: Option<&'a Header>) -> Place<'a> {
    Place {
        state,
        client_inode: end.unwrap_or(0),
        awaits_client: true,
        owes_greeting: false,
        mta: header.map_or("", |header| &header.target.mta),
        shakes_hands: false,
        has_quit: false,
        verifies: false,
        relays: false,
        relays_over: None,
        arch: header.map_or("", |header| &header.arch),
    }
}
