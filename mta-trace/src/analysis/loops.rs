//! Event loops: brings what their processes do to the sessions whose it is.
//!
//! In: calls of processes that serve many sessions, or are asked by those. Out: calls on a client's socket to its session, and what was done for one
//! to that one (`flow`). What belongs to nobody for certain is dropped. Not here: how a session names it (`live/looped.rs`).

use super::flow::reverse_name;
use super::{Analysis, Known, Live};
use crate::event::{Exit, SeedFd, Sys};
use crate::mta;
use crate::proto::dns;
use crate::state::{Object, Role, is_duplicate};
use crate::update::Update;
use crate::wait::{is_poll, is_poll_of_all, is_receive, is_send};
use mta_trace_common::syscalls::Call;

/// tlsproxy(8) of Postfix.
const TLS_PROXY: &str = "tlsproxy";
/// Nobody has taken a client for so long: its sender has given up (`postscreen` waits 100 s for an smtpd).
const PASSAGE_NS: u64 = 120_000_000_000;

impl Analysis {
    /// Gives up sessions that were passed on and not taken.
    pub(super) fn give_up(&mut self, t: u64, updates: &mut Vec<Update>) {
        while let Some(at) = self.live.iter().position(|live| live.left_at().is_some_and(|left| t.saturating_sub(left) >= PASSAGE_NS)) {
            self.abandon(at, updates);
        }
    }

    /// Whether a process is an event loop, or is asked by one.
    pub(super) fn is_loop(&self, pid: u32) -> bool {
        self.known.state.process(pid).is_some_and(|process| process.role == Role::Loop)
    }

    /// Whether a program passes its clients on.
    pub(super) fn is_screener(&self, comm: &str) -> bool {
        let mta = self.known.header.as_ref().map_or("", |header| &header.target.mta);
        mta::by_name(mta).screener() == Some(comm)
    }

    /// A descriptor of such a process that was open before the trace.
    pub(super) fn seed_loop(&mut self, seed: &SeedFd) {
        let Some(socket) = seed.socket.as_ref().filter(|socket| socket.peer.is_some()) else { return };
        let port = socket.local.as_ref().and_then(crate::event::Endpoint::port);
        let listening = self.known.header.as_ref().map(|header| header.target.listening.as_slice()).unwrap_or_default();
        // The client of a session that is told, whose descriptor is looked at behind its accept.
        if self.live.iter().any(|live| live.inode() == socket.inode) {
            return;
        }
        if self.is_loop(seed.pid) && port.is_some() && listening.iter().any(|end| end.port() == port) {
            self.flow.other(seed.pid, seed.fd, 0);
        }
    }

    /// Such a process has accepted a client: the session has begun.
    pub(super) fn loop_accepted(&mut self, live: &mut Live, sys: &Sys, updates: &mut Vec<Update>) {
        if self.is_loop(sys.pid) {
            self.flow.accepted(sys.pid, live.number(), sys.t);
            let is_screener = self.known.state.process(sys.pid).is_some_and(|process| self.is_screener(&process.comm));
            live.make_looped(is_screener, updates);
        }
    }

    /// Such a process has accepted a client that is not wanted.
    pub(super) fn loop_accepted_other(&mut self, sys: &Sys) {
        if let (true, Ok(fd)) = (self.is_loop(sys.pid), i32::try_from(sys.ret)) {
            self.flow.other(sys.pid, fd, sys.t);
        }
    }

    /// A client's descriptor goes from such a process to another, or has come there: the session goes on in that one.
    pub(super) fn passed(&mut self, sys: &Sys, updates: &mut Vec<Update>) {
        let inode = sys.socket.as_ref().map(|socket| socket.inode);
        let at = self.live.iter().position(|live| live.is_looped() && inode == Some(live.inode()));
        let context = self.known.context();
        if sys.matched != Some(true) {
            if let Some(live) = at.and_then(|at| self.live.get_mut(at)).filter(|live| live.is_before_greeting()) {
                let id = self.flow.settle(live.number());
                live.leaves(sys, id, &context, updates);
            }
        } else if self.known.state.process(sys.pid).is_some_and(|process| process.comm == TLS_PROXY) {
            // It does TLS for postscreen's own dialogue, and serves nobody: the session stays where it is.
        } else if let Some(live) = at.and_then(|at| self.live.get_mut(at)) {
            let id = self.flow.settle(live.number());
            self.flow.ended(live.number());
            live.taken_over(sys, id, &context, updates);
        } else if let (Some(socket), Some(peer)) = (&sys.socket, &sys.peer) {
            self.began += 1;
            let mut live = Live::accepted(self.began, sys, socket, peer, &context);
            live.was_accepted_elsewhere(updates);
            self.push(live, updates);
        }
    }

    /// A call of such a process returned.
    pub(super) fn loop_sys(&mut self, sys: &Sys, updates: &mut Vec<Update>) {
        let inode = sys.socket.as_ref().map(|socket| socket.inode);
        let own = self.live.iter().position(|live| live.is_looped() && inode == Some(live.inode()));
        if let Some(at) = own.filter(|_| is_send(sys.call) || is_receive(sys.call)) {
            return self.loop_client(at, sys, updates);
        }
        if sys.call == Call::Close {
            return self.loop_close(sys, updates);
        }
        if is_duplicate(sys.call, &sys.args) {
            return self.flow.duplicated(sys.pid, sys.args.fd, sys.ret);
        }
        let is_message = !sys.messages.is_empty() || sys.cut && sys.data.is_none() && is_receive(sys.call);
        self.service(sys, is_message);
        if is_message {
            for work in self.flow.messages(sys, &self.known.state) {
                self.hold(work.session, sys, work.service, work.guess);
            }
        } else if is_poll_of_all(sys.call) {
            let asking = self.flow.idle(sys.pid, sys.start);
            let here: Vec<usize> = self.live.iter().filter(|live| live.is_looped() && live.serves(sys.pid)).map(Live::number).collect();
            for session in asking.iter().filter(|session| !here.contains(session)).chain(&here) {
                self.hold(*session, sys, None, None);
            }
        } else if let Some(session) = self.worker(sys) {
            self.hold(session, sys, None, None);
        } else if is_receive(sys.call) && sys.ret >= 0 {
            // Another client, a host that mail is sent to, a filter: what is done for those is nobody's.
            self.flow.somebody(sys.pid, sys.t);
        }
    }

    /// What such a process does explains the waits of those that ask it. It reads and writes its messages in its loop; with others it may have to wait.
    fn service(&mut self, sys: &Sys, is_message: bool) {
        let Known { chains, state, header, .. } = &mut self.known;
        let is_own = || sys.socket.as_ref().and_then(|socket| socket.peer_inode).is_some_and(|inode| state.is_loops(inode));
        if is_poll_of_all(sys.call) {
            chains.has_done(sys.pid);
        } else if !is_message || !is_own() {
            chains.worked(sys, state, header.as_deref());
        } else if is_receive(sys.call) {
            chains.asked(sys, self.flow.bearer(sys), state, header.as_deref());
        } else {
            chains.has_done(sys.pid);
        }
    }

    /// For which session such a process makes a call that is neither on a client's socket nor a message.
    fn worker(&mut self, sys: &Sys) -> Option<usize> {
        let alone = self.alone(sys.pid);
        let port = sys.peer.as_ref().and_then(crate::event::Endpoint::port);
        if port == Some(dns::PORT) && (is_send(sys.call) || is_receive(sys.call)) {
            let live = &self.live;
            return self.flow.lookup(sys, alone, |name| named(live, name));
        }
        let polled = sys.args.fds.iter().find_map(|entry| self.known.state.process(sys.pid)?.fds.object(entry.fd)).and_then(Object::socket);
        let inode = sys.socket.as_ref().map(|socket| socket.inode).or(polled.map(|socket| socket.inode));
        let known = inode.and_then(|inode| self.flow.owner_of(inode));
        let session = known.or(alone.filter(|_| !is_poll(sys.call)))?;
        if let Some(inode) = inode {
            self.flow.own(inode, session);
        }
        Some(session)
    }

    /// The session whose turn it is, if nobody else is in its process. A server with processes of its own for what it asks works for itself besides.
    fn alone(&self, pid: u32) -> Option<usize> {
        let mut here = self.live.iter().filter(|live| live.is_looped() && live.serves(pid));
        let live = here.next().filter(|live| live.is_in_command())?;
        let has_services = self.known.state.process(pid).is_some_and(|process| process.service.is_some());
        (here.next().is_none() && !has_services && self.flow.has_no_others(pid)).then(|| live.number())
    }

    fn hold(&mut self, session: usize, sys: &Sys, service: Option<String>, guess: Option<u64>) {
        let context = self.known.context();
        if let Some(live) = self.live.iter_mut().find(|live| live.number() == session) {
            live.hold(sys, service, guess, &context);
        }
    }

    fn loop_client(&mut self, at: usize, sys: &Sys, updates: &mut Vec<Update>) {
        let Some(live) = self.live.get_mut(at) else { return };
        // EAGAIN: nothing has come, or nothing has gone.
        if sys.ret == -11 {
            return;
        }
        let id = self.flow.settle(live.number());
        self.flow.client(sys.pid, live.number(), sys.t);
        live.looped_sys(sys, id, &self.known.context(), updates);
    }

    fn loop_close(&mut self, sys: &Sys, updates: &mut Vec<Update>) {
        self.flow.closed(sys.pid, sys.args.fd);
        let context = self.known.context();
        for live in self.live.iter_mut().filter(|live| live.is_looped() && live.serves(sys.pid) && !live.is_leaving()) {
            if !context.state.holds(sys.pid, live.inode()) {
                let id = self.flow.settle(live.number());
                live.looped_close(sys, id, &context, updates);
            }
        }
        while let Some(at) = self.live.iter().position(|live| live.is_looped() && live.has_ended()) {
            let live = self.live.remove(at);
            self.collect(live, updates);
        }
    }

    /// Such a process ended, and with it all of its sessions.
    pub(super) fn loop_exit(&mut self, exit: &Exit, updates: &mut Vec<Update>) {
        self.flow.exited(exit.pid);
        // postscreen leaves its sessions to a child when it is reloaded (`event_server_drain`).
        for live in self.live.iter_mut().filter(|live| live.is_looped() && live.serves(exit.pid)) {
            if let Some(heir) = self.known.state.heir(exit.pid, live.inode()) {
                live.goes_on_in(heir);
            }
        }
        while let Some(at) = self.live.iter().position(|live| live.is_looped() && live.serves(exit.pid) && !live.is_leaving()) {
            let mut live = self.live.remove(at);
            let id = self.flow.settle(live.number());
            live.looped_exit(exit, id, &self.known.context());
            self.collect(live, updates);
        }
    }
}

/// The session that is to be greeted and whose client's address has this name.
fn named(live: &[Live], name: &str) -> Option<usize> {
    let is_meant = |live: &&Live| {
        let address = live.client().parse::<std::net::SocketAddr>().ok();
        live.is_looped() && live.is_before_greeting() && address.is_some_and(|address| reverse_name(address.ip()).eq_ignore_ascii_case(name))
    };
    let mut meant = live.iter().filter(is_meant);
    let first = meant.next()?;
    meant.next().is_none().then(|| first.number())
}
