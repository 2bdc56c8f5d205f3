//! The analysis: records in, one after another, live or from a log; updates, and at the end the report, out.
//!
//! It knows the order of the stages and nothing else: state, session, wait, cause, diagnosis. Invariant: pure, no I/O and
//! no clock; what it says depends on the records alone, so that a replayed log gives the report of the live trace.

mod chains;
mod daemon;
mod flow;
mod kept;
mod live;
mod loops;
mod replay;

use crate::diagnosis::{Settings, Tallies, findings};
use crate::event::{Block, Clock, Endpoint, Exec, Exit, Fork, Header, Loss, Record, SeedFd, SeedProc, SeedSettings, Sys};
use crate::mta;
use crate::report::{LogSummary, REPORT_SCHEMA, Report, Tool};
use crate::state::{Role, State};
use crate::update::Update;
use chains::Chains;
use daemon::Watch;
use flow::Flow;
use kept::Kept;
use live::{Context, Live};
use mta_trace_common::syscalls::Call;
use std::collections::HashMap;

pub use replay::{Told, replay};

/// How many sessions are open at a time: as many as the kernel side's table of threads holds. More are left only by ends that were lost.
const MAX_LIVE: usize = 16_384;
/// How many connections are remembered that have left the backlog before their accept is seen.
const MAX_BACKLOG: usize = 10_000;

/// What the records have told that is no session's own.
#[derive(Debug, Default)]
struct Known {
    header: Option<Box<Header>>,
    clock: Option<Clock>,
    /// How the mail server and the resolver are set up.
    settings: Settings,
    state: State,
    /// Whom sessions wait for.
    chains: Chains,
    loss: Loss,
    /// What had been lost before the last count.
    lost_before: u64,
    summary: LogSummary,
}

impl Known {
    fn lost(&self) -> u64 {
        self.loss.ring.saturating_add(self.loss.tables)
    }

    fn count_loss(&mut self, loss: Loss) {
        self.lost_before = self.lost();
        self.loss = loss;
    }

    fn context(&self) -> Context<'_> {
        let LogSummary { unreadable, unknown, .. } = self.summary;
        // What could not be read is missing too.
        let unread = unreadable.saturating_add(unknown);
        Context {
            header: self.header.as_deref(),
            clock: self.clock,
            lost: self.lost().saturating_add(unread),
            lost_before: self.lost_before.saturating_add(unread),
            counted: self.loss.t,
            state: &self.state,
            chains: &self.chains,
        }
    }
}

/// The whole analysis of a trace.
#[derive(Debug, Default)]
pub struct Analysis {
    known: Known,
    live: Vec<Live>,
    /// Sessions that have ended.
    ended: Kept,
    /// What all of them have in common, the ones left out too.
    tallies: Tallies,
    began: usize,
    has_end: bool,
    /// Time that connections waited in the listen backlog, by peer, until their accept is seen.
    backlog: HashMap<String, u64>,
    daemon: Watch,
    /// Sessions that had begun before the trace: their processes, until their socket is told.
    seeds: HashMap<u32, SeedProc>,
    /// For whom event loops work.
    flow: Flow,
}

impl Analysis {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps every session, however many there are: for whoever wants them all and has the memory.
    pub fn keeping_all() -> Self {
        Self { ended: Kept::all(), ..Self::default() }
    }

    /// Takes the next record.
    pub fn feed(&mut self, record: &Record, updates: &mut Vec<Update>) {
        self.count(record);
        self.daemon.reach(record.t());
        match record {
            Record::Header(header) => self.known.header = Some(header.clone()),
            Record::SeedProc(seed) => self.seed_process(seed),
            Record::SeedFd(seed) => self.seed_fd(seed, updates),
            Record::SeedFile(file) => self.known.settings.see_file(file),
            Record::SeedSettings(settings) => self.settings(settings),
            Record::Malformed(_) => {}
            Record::Sys(sys) => self.sys(sys, updates),
            Record::Block(block) => self.block(block, updates),
            Record::Fork(fork) => self.fork(fork, updates),
            Record::Exec(exec) => self.exec(exec),
            Record::Exit(exit) => self.exit(exit, updates),
            Record::Backlog(backlog) => {
                let waited = backlog.t.saturating_sub(backlog.since);
                self.waited_in_backlog(&backlog.peer.to_string(), waited);
            }
            Record::Helper(helper) => self.known.chains.see(helper),
            Record::Release(release) => self.known.chains.release(release.pid),
            Record::Daemon(daemon) => self.daemon.see(daemon, &self.known.context()),
            Record::Loss(loss) => self.known.count_loss(*loss),
            Record::Clock(clock) => {
                self.known.clock = Some(*clock);
                self.give_up(clock.t, updates);
            }
            Record::End(_) => self.has_end = true,
        }
    }

    /// Ends what is open and gives the report.
    pub fn finish(&mut self, updates: &mut Vec<Update>) -> Report {
        for mut live in std::mem::take(&mut self.live) {
            live.detach(&self.known.context());
            self.collect(live, updates);
        }
        let (sessions, left_out) = self.ended.take();
        let tool = self.known.header.as_ref().map_or_else(
            || Tool { version: String::new(), kernel: String::new(), hooks: String::new() },
            |header| Tool { version: header.tool.clone(), kernel: header.kernel.clone(), hooks: header.hooks.clone() },
        );
        let log = LogSummary {
            lost: self.known.lost(),
            truncated: self.known.loss.truncated.saturating_add(self.known.loss.fault),
            unfinished: !self.has_end,
            switches: self.known.loss.switches,
            exits: self.known.loss.exits,
            ..self.known.summary
        };
        let mta = self.known.header.as_ref().map_or("", |header| &header.target.mta);
        let daemon = self.daemon.conclude(mta, &self.known.settings);
        let findings = self.tallies.conclude();
        Report { schema: REPORT_SCHEMA.to_owned(), tool, log, daemon, findings, sessions, left_out, probe: None }
    }

    /// How many matched sessions have ended.
    pub fn ended_sessions(&self) -> usize {
        self.ended.count()
    }

    /// A line of the log could not be read.
    pub fn note_unreadable(&mut self) {
        self.known.summary.unreadable = self.known.summary.unreadable.saturating_add(1);
    }

    /// A line of the log was of a kind that this version does not know.
    pub fn note_unknown(&mut self) {
        self.known.summary.unknown = self.known.summary.unknown.saturating_add(1);
    }

    fn count(&mut self, record: &Record) {
        let is_event = match record {
            Record::Sys(_) | Record::Fork(_) | Record::Exec(_) | Record::Exit(_) | Record::Backlog(_) => true,
            // Looks at what has not ended are no events, and not all of them are in the log.
            Record::Block(block) => !block.unfinished,
            Record::Malformed(_) => {
                self.note_unreadable();
                true
            }
            Record::Header(_)
            | Record::SeedProc(_)
            | Record::SeedFd(_)
            | Record::SeedFile(_)
            | Record::SeedSettings(_)
            | Record::Daemon(_)
            | Record::Helper(_)
            | Record::Release(_)
            | Record::Loss(_)
            | Record::Clock(_)
            | Record::End(_) => false,
        };
        self.known.summary.events = self.known.summary.events.saturating_add(u64::from(is_event));
    }

    /// A configuration file: advice names what it sets, and it may say what listens at an address. What was changed since the server has started is
    /// not in force.
    fn settings(&mut self, settings: &SeedSettings) {
        self.known.settings.see(settings);
        let mta = mta::by_name(self.known.header.as_ref().map_or("", |header| &header.target.mta));
        for setting in settings.settings.iter().filter(|_| !settings.newer) {
            let cause = setting.name.rsplit('/').next().and_then(|name| mta.peer_of_setting(name));
            let Some((cause, value)) = cause.zip(setting.value.as_deref()) else { continue };
            for peer in mta::peers(value) {
                self.known.state.declare(Endpoint::Inet(peer), cause);
            }
        }
    }

    fn seed_process(&mut self, seed: &SeedProc) {
        self.known.state.seed_process(seed);
        if seed.role.as_deref() == Some("session") && self.seeds.len() < MAX_LIVE {
            self.seeds.insert(seed.pid, seed.clone());
        }
    }

    fn seed_fd(&mut self, seed: &SeedFd, updates: &mut Vec<Update>) {
        self.known.state.seed_fd(seed);
        self.seed_loop(seed);
        let Some(socket) = seed.socket.as_ref().filter(|_| seed.client) else { return };
        // The session's other descriptors of the same socket tell nothing new.
        let Some(process) = self.seeds.remove(&seed.pid) else { return };
        self.began += 1;
        let live = Live::seeded(self.began, &process, socket, &self.known.context(), updates);
        self.push(live, updates);
    }

    fn sys(&mut self, sys: &Sys, updates: &mut Vec<Update>) {
        self.known.state.apply(sys);
        if self.known.chains.has(sys.pid) {
            let Known { chains, state, header, .. } = &mut self.known;
            return chains.sys(sys, state, header.as_deref());
        }
        if matches!(sys.call, Call::Accept | Call::Accept4) && sys.ret >= 0 {
            return self.accept(sys, updates);
        }
        if sys.passed.is_some() {
            return self.passed(sys, updates);
        }
        if self.is_loop(sys.pid) {
            return self.loop_sys(sys, updates);
        }
        let context = self.known.context();
        let inode = sys.socket.as_ref().map(|socket| socket.inode);
        let Some(at) = position(&self.live, sys.pid, inode) else { return };
        let Some(live) = self.live.get_mut(at) else { return };
        live.sys(sys, &context, updates);
        if live.has_ended() {
            let live = self.live.remove(at);
            self.collect(live, updates);
        }
    }

    fn accept(&mut self, sys: &Sys, updates: &mut Vec<Update>) {
        let Some(peer) = sys.peer.as_ref() else { return };
        // What a session's own process accepts is no session.
        if sys.matched != Some(true) && self.known.state.process(sys.pid).is_some_and(|process| process.role == Role::Traced) {
            return;
        }
        if sys.matched == Some(false) {
            self.loop_accepted_other(sys);
            self.backlog.remove(&peer.to_string());
            self.known.summary.unmatched = self.known.summary.unmatched.saturating_add(1);
            updates.push(Update::Unmatched { client: peer.to_string() });
            return;
        }
        let Some(socket) = sys.socket.as_ref() else { return };
        self.began += 1;
        let mut live = Live::accepted(self.began, sys, socket, peer, &self.known.context());
        self.loop_accepted(&mut live, sys, updates);
        if let Some(waited) = self.backlog.remove(&peer.to_string()) {
            live.waited_in_backlog(waited);
        }
        self.push(live, updates);
    }

    /// A session more; of too many the oldest is given up.
    fn push(&mut self, live: Live, updates: &mut Vec<Update>) {
        if self.live.len() >= MAX_LIVE {
            self.abandon(0, updates);
        }
        self.live.push(live);
    }

    /// A server's process executes another program: one of them may be an event loop.
    fn exec(&mut self, exec: &Exec) {
        self.known.state.exec(exec);
        let is_traced = self.known.state.process(exec.pid).is_some_and(|process| process.role == Role::Traced);
        if is_traced && self.is_screener(&exec.comm) {
            self.known.state.serve_many(exec.pid);
        }
    }

    fn waited_in_backlog(&mut self, peer: &str, waited_ns: u64) {
        if let Some(live) = self.live.iter_mut().rev().find(|live| live.client() == peer) {
            return live.waited_in_backlog(waited_ns);
        }
        // Their accepts may have been lost: what nobody asks for is forgotten.
        if self.backlog.len() >= MAX_BACKLOG {
            self.backlog.clear();
        }
        self.backlog.insert(peer.to_owned(), waited_ns);
    }

    fn fork(&mut self, fork: &Fork, updates: &mut Vec<Update>) {
        self.known.state.fork(fork);
        if fork.child == fork.pid {
            return;
        }
        self.reuse(fork.child, updates);
        // Whatever had this number before is gone.
        self.known.chains.release(fork.child);
        let context = self.known.context();
        if fork.traced
            && let Some(live) = self.live.iter_mut().rev().find(|live| live.is_awaiting_fork_of(fork.pid))
        {
            live.forked(fork, &context, updates);
            return;
        }
        if !fork.traced {
            for live in &mut self.live {
                live.inherited(fork);
            }
        }
    }

    /// A new process has this number: a session that it served is over, and the end of that was lost.
    fn reuse(&mut self, pid: u32, updates: &mut Vec<Update>) {
        while let Some(at) = self.live.iter().position(|live| live.serves(pid)) {
            let mut live = self.live.remove(at);
            live.vanished(&self.known.context());
            self.collect(live, updates);
        }
    }

    fn block(&mut self, block: &Block, updates: &mut Vec<Update>) {
        if self.known.chains.has(block.pid) {
            let Known { chains, state, header, .. } = &mut self.known;
            return chains.block(block, state, header.as_deref());
        }
        if self.is_loop(block.pid) {
            let Known { chains, state, header, .. } = &mut self.known;
            return chains.worked_blocked(block, state, header.as_deref());
        }
        let context = self.known.context();
        if let Some(at) = position(&self.live, block.pid, None)
            && let Some(live) = self.live.get_mut(at)
        {
            live.block(block, &context, updates);
        }
    }

    fn exit(&mut self, exit: &Exit, updates: &mut Vec<Update>) {
        if exit.tid == exit.pid && self.is_loop(exit.pid) {
            self.loop_exit(exit, updates);
        } else if exit.tid == exit.pid
            && let Some(at) = self.live.iter().position(|live| live.serves(exit.pid))
        {
            let mut live = self.live.remove(at);
            live.exit(exit, &self.known.context());
            self.collect(live, updates);
        }
        self.known.chains.exit(exit);
        self.known.state.exit(exit);
    }

    /// A session's end was lost: it is over as far as anybody knows.
    fn abandon(&mut self, at: usize, updates: &mut Vec<Update>) {
        let mut live = self.live.remove(at);
        live.detach(&self.known.context());
        self.collect(live, updates);
    }

    /// A session is over: its last updates, and its place in the report.
    fn collect(&mut self, live: Live, updates: &mut Vec<Update>) {
        let number = live.number();
        self.flow.ended(number);
        let mut session = live.conclude(&self.known.context(), updates);
        session.findings = findings(&session, &self.known.settings);
        self.tallies.add(&session);
        updates.push(Update::SessionEnded(Box::new(session.clone())));
        self.ended.push(number, session);
    }
}

/// The session to which an event of this process belongs.
fn position(live: &[Live], pid: u32, inode: Option<u64>) -> Option<usize> {
    let by_socket = live.iter().position(|live| live.serves(pid) && inode == Some(live.inode()));
    by_socket.or_else(|| live.iter().rposition(|live| live.serves(pid)))
}

#[cfg(test)]
pub(crate) mod tests;
