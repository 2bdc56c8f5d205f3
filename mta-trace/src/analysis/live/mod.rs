//! One session while it runs: brings what its thread does to the dialogue and to the names of waits, and says what began and ended.
//!
//! A session begins in the process that accepted it; the forked child, or the first one to speak SMTP on the
//! socket, is its serving process. What is said before that is known is held back: it is part of the session's id.

mod looped;
mod report;
mod traffic;

pub(super) use report::wall;

use super::chains::Chains;
use crate::cause::Namer;
use crate::event::{Block, Clock, Counters, Endpoint, Exit, Fork, Header, SeedProc, SocketId, Sys};
use crate::mta;
use crate::report::{Began, Cause, Command, Verb};
use crate::session::{Chain, Dialogue, Exchange, Mark, Named, Start};
use crate::state::State;
use crate::update::{SessionId, Update};
use crate::wait::{Place, Step};
use looped::Looped;
use mta_trace_common::syscalls::Call;

/// The port on which TLS begins with the first byte (RFC 8314, 7.3).
const TLS_FIRST: u16 = 465;

/// What a session needs of the whole analysis.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub header: Option<&'a Header>,
    pub clock: Option<Clock>,
    /// What is missing, and what was before the last count, at `counted`.
    pub lost: u64,
    pub lost_before: u64,
    pub counted: u64,
    pub state: &'a State,
    pub chains: &'a Chains,
}

impl Context<'_> {
    /// What had been lost when something began at `t`. The count stands before the records that were read with it,
    /// so that of what began before the count nobody knows whether it was lost then or later.
    fn lost_at(&self, t: u64) -> u64 {
        if t <= self.counted { self.lost_before } else { self.lost }
    }
}

/// A session that has not ended.
#[derive(Debug)]
pub(super) struct Live {
    number: usize,
    inode: u64,
    daemon_pid: u32,
    pid: u32,
    tid: u32,
    is_identified: bool,
    id: SessionId,
    held: Vec<Update>,
    client: String,
    server: String,
    /// By the wall clock as it was then: one that is set later, or a suspend, does not change when it began.
    started: String,
    /// The client speaks first (RFC 8314).
    is_tls_first: bool,
    began: Began,
    /// A session that had begun before the trace, until its thread's counters are known.
    seed: Option<Start>,
    start: Mark,
    last: Mark,
    chain: Chain,
    dialogue: Dialogue,
    namer: Namer,
    /// A call that was interrupted and goes on (`restart_syscall`).
    suspended: Option<Step>,
    /// The last look at a call that had not returned.
    unfinished: Option<Block>,
    lost_at_begin: u64,
    inherited_by: Vec<u32>,
    before_accept_ns: Option<u64>,
    has_ended: bool,
    min_wait_ns: u64,
    /// The connection over which another mail server was asked about a recipient last.
    recipient_over: Option<u64>,
    /// What a session of an event loop has.
    looped: Option<Looped>,
    /// The first command of which all calls are told: of what an event loop did for it before, not all is known.
    first_whole: usize,
}

impl Live {
    /// A session that was accepted.
    pub fn accepted(number: usize, sys: &Sys, socket: &SocketId, peer: &Endpoint, context: &Context<'_>) -> Self {
        let chain = Chain::new(sys.at());
        let start = chain.mark(sys.t, sys.at());
        let mut live = Self::new(number, socket, sys.pid, start, Start::Accept, context);
        live.chain = chain;
        live.tid = sys.tid;
        live.client = peer.to_string();
        live.daemon_pid = sys.pid;
        live.hold_began(context);
        live
    }

    /// A session that had begun before the trace.
    pub fn seeded(number: usize, process: &SeedProc, socket: &SocketId, context: &Context<'_>, updates: &mut Vec<Update>) -> Self {
        let ready = context.header.map_or(0, |header| header.attach_ns[1]);
        let verb = process.verb.as_deref().and_then(verb_by_name);
        let start = Mark { t: ready, at: Counters::default() };
        let mut live = Self::new(number, socket, process.pid, start, Start::Seeded(verb), context);
        live.seed = Some(Start::Seeded(verb));
        live.began = Began::Seeded;
        live.client = socket.peer.as_ref().map(Endpoint::to_string).unwrap_or_default();
        live.daemon_pid = process.ppid;
        live.hold_began(context);
        live.identify(process.pid, updates);
        live
    }

    fn new(number: usize, socket: &SocketId, pid: u32, start: Mark, kind: Start, context: &Context<'_>) -> Self {
        let min_wait_ns = Header::min_wait_ns_of(context.header);
        let is_tls_first = socket.local.as_ref().and_then(Endpoint::port) == Some(TLS_FIRST);
        let mut dialogue = Dialogue::new(kind, start);
        if is_tls_first {
            dialogue.expect_tls();
        }
        Self {
            number,
            inode: socket.inode,
            daemon_pid: pid,
            pid,
            tid: pid,
            is_identified: false,
            id: format!("{pid}-{number}").into(),
            held: Vec::new(),
            client: String::new(),
            started: wall(start.t, context),
            server: socket.local.as_ref().map(Endpoint::to_string).unwrap_or_default(),
            is_tls_first,
            began: Began::Accept,
            seed: None,
            start,
            last: start,
            chain: Chain::default(),
            dialogue,
            namer: Namer::new(start, min_wait_ns),
            suspended: None,
            unfinished: None,
            lost_at_begin: context.lost_at(start.t),
            inherited_by: Vec::new(),
            before_accept_ns: None,
            has_ended: false,
            min_wait_ns,
            recipient_over: None,
            looped: None,
            first_whole: 0,
        }
    }

    pub fn number(&self) -> usize {
        self.number
    }

    pub fn inode(&self) -> u64 {
        self.inode
    }

    pub fn client(&self) -> &str {
        &self.client
    }

    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether this process serves the session, or has accepted it and handed it to nobody yet.
    pub fn serves(&self, pid: u32) -> bool {
        self.pid == pid
    }

    /// Whether the next child of this process will serve the session.
    pub fn is_awaiting_fork_of(&self, pid: u32) -> bool {
        !self.is_identified && self.pid == pid
    }

    pub fn waited_in_backlog(&mut self, waited_ns: u64) {
        self.before_accept_ns = Some(waited_ns);
    }

    /// The accepting process has forked the one that serves the session.
    pub fn forked(&mut self, fork: &Fork, context: &Context<'_>, updates: &mut Vec<Update>) {
        if fork.tid == self.tid {
            let mark = self.advance(fork.t, fork.at);
            self.chain.hand_over(&mark);
        } else {
            let last = self.last;
            self.chain.hand_over(&last);
        }
        self.tell(context);
        self.tid = fork.child_tid;
        self.identify(fork.child, updates);
    }

    /// A process has forked one that is no part of the session: it has the session's descriptors, if its parent has.
    pub fn inherited(&mut self, fork: &Fork) {
        let is_heir = !self.is_looped() && (self.pid == fork.pid || self.inherited_by.contains(&fork.pid));
        if is_heir && !self.inherited_by.contains(&fork.child) {
            self.inherited_by.push(fork.child);
        }
    }

    /// A call returned in its process.
    pub fn sys(&mut self, sys: &Sys, context: &Context<'_>, updates: &mut Vec<Update>) {
        if sys.tid == self.tid {
            self.unfinished = None;
            if self.is_before_ready(sys.t) {
                return self.before_ready(sys, context);
            }
            self.settle_seed(sys.start.zip(sys.at_start), sys.t, sys.at());
            let last = self.last;
            let to = self.advance(sys.t, sys.at());
            let from = self.begin_of(sys.start, sys.at_start, to, &last);
            let step = Step::of_call(sys, from, to, self.place(context));
            self.restartable(step, sys, context);
        }
        if may_close(sys.call) {
            self.namer.closed(|inode| context.state.holds(self.pid, inode));
        }
        if may_close(sys.call) && !context.state.holds(self.pid, self.inode) {
            self.flush(context);
            let mark = self.last;
            self.dialogue.closed(mark);
            self.tell(context);
            self.has_ended = true;
        }
        if !self.is_identified && is_smtp(sys, self.inode) {
            let pid = self.pid;
            self.identify(pid, updates);
        }
        self.release(updates);
    }

    /// Its thread was blocked outside hooked calls, or still is.
    pub fn block(&mut self, block: &Block, context: &Context<'_>, updates: &mut Vec<Update>) {
        if block.tid != self.tid || self.is_before_ready(block.t) {
            return;
        }
        self.settle_seed(Some(block.since).zip(block.at_start), block.t, block.at);
        if block.unfinished {
            let step = self.unfinished_step(block, context);
            let command = self.dialogue.open();
            if let Some(mut named) = self.namer.preview(step) {
                context.chains.explain(&mut named, self.pid, self.start.t);
                self.dialogue.name(&mut named.wait);
                let wait = named.wait;
                self.held.push(Update::WaitBegan { session: self.id.clone(), command, wait: Box::new(wait) });
            }
            self.unfinished = Some(block.clone());
        } else {
            // What was looked at is over.
            self.unfinished = None;
            let last = self.last;
            let to = self.advance(block.t, block.at);
            let from = self.begin_of(Some(block.since), block.at_start, to, &last);
            let step = Step::of_block(block, from, to, self.place(context));
            self.note(&step);
            self.name(step, context);
        }
        self.release(updates);
    }

    /// Its process ended.
    pub fn exit(&mut self, exit: &Exit, context: &Context<'_>) {
        if exit.tid == self.tid {
            self.settle_seed(None, exit.t, exit.at);
            if exit.signal.is_some() {
                self.suspended.iter_mut().for_each(Step::cut_short);
                self.namer.cut_short();
            }
            self.flush_suspended(context);
            let last = self.last;
            let to = self.advance(exit.t, exit.at);
            if let (Some(call), Some(since)) = (&exit.call, exit.since) {
                let from = self.begin_of(Some(since), None, to, &last);
                let step = Step::of_exit(call, exit.pid, from, to, self.place(context));
                self.note(&step);
                self.name(step, context);
            }
        }
        self.flush(context);
        let mark = self.last;
        if exit.signal.is_some() {
            self.dialogue.killed(mark);
        } else {
            self.dialogue.closed(mark);
        }
        self.tell(context);
    }

    /// Its process has ended unseen.
    pub fn vanished(&mut self, context: &Context<'_>) {
        self.settle_held(None, context);
        self.flush_suspended(context);
        self.flush(context);
        let mark = self.last;
        self.dialogue.closed(mark);
        self.tell(context);
    }

    /// The trace ended first.
    pub fn detach(&mut self, context: &Context<'_>) {
        self.settle_held(None, context);
        self.flush_suspended(context);
        if let Some(block) = self.unfinished.take() {
            let step = self.unfinished_step(&block, context);
            self.advance(block.t, block.at);
            self.note(&step);
            self.name(step, context);
        }
        self.flush(context);
        let mark = self.last;
        self.dialogue.detached(mark);
        self.tell(context);
    }

    fn is_proven(&self, context: &Context<'_>) -> bool {
        self.began == Began::Accept && !self.has_gap(context)
    }

    /// Whether events were lost since it began.
    fn has_gap(&self, context: &Context<'_>) -> bool {
        context.lost != self.lost_at_begin
    }

    fn account(&self, index: usize, command: &Exchange, context: &Context<'_>) -> Command {
        // Of an event loop not all that is done for a session is known.
        let is_proven = self.is_proven(context) && !self.is_looped() && index >= self.first_whole;
        command.account(index, &self.start, is_proven, self.has_gap(context))
    }

    fn place<'a>(&self, context: &Context<'a>) -> Place<'a> {
        Place {
            state: context.state,
            client_inode: self.inode,
            awaits_client: self.dialogue.awaits_client(),
            owes_greeting: self.dialogue.is_before_greeting() && !self.is_tls_first,
            mta: context.header.map_or("", |header| &header.target.mta),
            shakes_hands: self.dialogue.is_shaking_hands(),
            has_quit: self.dialogue.has_quit(),
            verifies: self.dialogue.is_about_address() && is_verifying_itself(context),
            relays: self.dialogue.is_at_end_of_message() && is_delivering_itself(context),
            relays_over: self.recipient_over.filter(|_| self.dialogue.is_at_end_of_message()),
            arch: context.header.map_or("", |header| &header.arch),
        }
    }

    fn advance(&mut self, t: u64, at: Counters) -> Mark {
        self.last = self.last.max(self.chain.mark(t, at));
        self.last
    }

    fn begin_of(&self, start: Option<u64>, at_start: Option<Counters>, to: Mark, last: &Mark) -> Mark {
        let from = match (start, at_start) {
            (Some(t), Some(at)) => self.chain.mark(t, at),
            (Some(t), None) => to.back_to(t, last),
            (None, _) => to,
        };
        // A thread does one thing after another.
        let from = last.max(from);
        if from.t > to.t { to } else { from }
    }

    fn unfinished_step(&self, block: &Block, context: &Context<'_>) -> Step {
        let to = self.last.max(self.chain.mark(block.t, block.at));
        let from = self.begin_of(Some(block.since), block.at_start, to, &self.last);
        Step::of_block(block, from, to, self.place(context))
    }

    /// The first event of a seeded session's thread tells what its counters were when the trace was ready.
    fn settle_seed(&mut self, begin: Option<(u64, Counters)>, t: u64, at: Counters) {
        let Some(kind) = self.seed.take() else { return };
        let ready = self.start.t.min(t);
        let start = match begin {
            Some((since, at_since)) if since <= ready => {
                let blocked_ns = at_since.blocked_ns.saturating_add(ready - since);
                Mark { t: ready, at: Counters { blocked_ns, ..at_since } }
            }
            _ => Mark { t, at }.back_to(ready, &self.last),
        };
        self.start = start;
        self.last = start;
        self.dialogue = Dialogue::new(kind, start);
        self.namer.rebase(start);
    }

    fn is_before_ready(&self, t: u64) -> bool {
        self.seed.is_some() && t < self.start.t
    }

    /// What a seeded session does while hooks are still being attached: not counted, but the look-up that it
    /// has begun may be the one in which it then waits.
    fn before_ready(&mut self, sys: &Sys, context: &Context<'_>) {
        let to = self.chain.mark(sys.t, sys.at());
        let from = match (sys.start, sys.at_start) {
            (Some(t), Some(at)) => self.chain.mark(t, at),
            _ => to,
        };
        self.last = to;
        if is_smtp(sys, self.inode) {
            self.seed = Some(Start::Seeded(None));
            self.namer.finish();
        } else {
            let step = Step::of_call(sys, from, to, self.place(context));
            self.namer.step(step);
        }
    }

    /// A call that a signal has interrupted may go on as `restart_syscall`: then it is one step.
    fn restartable(&mut self, mut step: Step, sys: &Sys, context: &Context<'_>) {
        match self.suspended.take() {
            Some(earlier) if sys.call == Call::RestartSyscall => {
                step = Step { to: step.to, ret: step.ret, timer_ns: step.timer_ns, ..earlier };
            }
            Some(earlier) => self.name(earlier, context),
            None => {}
        }
        if sys.ret == -516 {
            self.suspended = Some(step);
        } else {
            self.take(step, sys, context);
        }
    }

    fn flush_suspended(&mut self, context: &Context<'_>) {
        if let Some(step) = self.suspended.take() {
            self.name(step, context);
        }
    }

    fn name(&mut self, step: Step, context: &Context<'_>) {
        for named in self.namer.step(step) {
            self.attach(named, context);
        }
    }

    /// What is going on is over at a boundary of the dialogue.
    fn flush(&mut self, context: &Context<'_>) {
        for named in self.namer.finish() {
            self.attach(named, context);
        }
    }

    fn attach(&mut self, mut named: Named, context: &Context<'_>) {
        if named.wait.cause == Cause::Callback && self.dialogue.is_about_recipient() {
            self.recipient_over = named.socket;
        }
        context.chains.explain(&mut named, self.pid, self.start.t);
        // Where something is missing, a message may be, and with it for whom that one works.
        let may_be_told = !context.header.is_some_and(|header| header.no_chains) && !self.has_gap(context);
        if let Some(looped) = self.looped.as_ref().filter(|_| may_be_told && named.wait.cause == Cause::Mta && named.wait.peer.is_none()) {
            context.chains.explain_asked(&mut named, self.pid, (self.number, looped.id), self.start.t);
        }
        self.dialogue.name(&mut named.wait);
        let wait = Box::new(named.wait.clone());
        let is_client = wait.cause == Cause::Client;
        let command = self.dialogue.attach(named, is_client);
        // One of the server's own between commands is told when it turns out to what it belongs.
        if command.is_none() && !is_client {
            return;
        }
        self.held.push(Update::WaitEnded { session: self.id.clone(), command, wait });
    }
}

/// Calls after which a process may hold a descriptor less.
fn may_close(call: Call) -> bool {
    matches!(call, Call::Close | Call::CloseRange | Call::Dup | Call::Dup2 | Call::Dup3)
}

/// Whether a call reads or writes the client's socket.
fn is_smtp(sys: &Sys, inode: u64) -> bool {
    let is_transfer = crate::wait::is_send(sys.call) || crate::wait::is_receive(sys.call);
    is_transfer && sys.socket.as_ref().is_some_and(|socket| socket.inode == inode)
}

fn verb_by_name(name: &str) -> Option<Verb> {
    let line = crate::proto::smtp::parse_line(name.as_bytes());
    Some(line.verb).filter(|&verb| verb != Verb::Invalid)
}

/// Whether a connection to port 25 from a process that serves is a question about an address.
fn is_verifying_itself(context: &Context<'_>) -> bool {
    context.header.is_none_or(|header| mta::by_name(&header.target.mta).verifies_itself())
}

/// Whether the process that serves is the one that delivers, where that is done before the reply.
fn is_delivering_itself(context: &Context<'_>) -> bool {
    context.header.is_some_and(|header| mta::by_name(&header.target.mta).delivers_itself())
}
