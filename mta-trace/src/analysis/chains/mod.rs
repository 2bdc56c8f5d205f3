//! Chains: what the processes for which sessions wait were themselves waiting for.
//!
//! In: the records of helpers, and a wait of a session or of another helper with its socket. Out: the process at the far end, and its waits in
//! that time that were for this connection (`peer`, `inner` of the report). Where requests of several connections cannot be told apart, that is
//! said and nothing is claimed. Not here: how helpers are found (`kernel/helpers.rs`).

mod resolver;
mod service;
mod thread;

use super::flow::Bearer;
use crate::event::{Block, Endpoint, Exit, Header, Helper as Found, Sys};
use crate::proto::dns;
use crate::report::{Cause, Dns, Outcome, Peer, Wait};
use crate::session::{Named, seconds};
use crate::state::State;
use mta_trace_common::syscalls::Call;
use resolver::Resolver;
use service::Service;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use thread::{Ends, Inner, Thread, Whom};

/// Connections that are remembered.
const MAX_LINKS: usize = 1024;
/// Threads of a helper that are followed.
const MAX_THREADS: usize = 256;
/// Threads of a process are taken in within this time.
const TAKING_IN_NS: u64 = 2_000_000;
/// A resolver's question that was answered sooner explains nothing.
const MIN_WAIT_NS: u64 = 1_000_000;
/// How far a chain is told.
const DEPTH: usize = 3;
/// How many waits of a far end are told in one that it explains.
const MAX_INNER: usize = 32;
/// Processes of one server that ask each other.
const MAX_SERVICES: usize = 64;
/// Helpers that are known at a time: those that are released are forgotten.
const MAX_HELPERS: usize = 1024;

/// A connection to a helper.
#[derive(Clone, Debug)]
struct Link {
    waiter: u32,
    inode: u64,
    helper: u32,
    peer_inode: u64,
    endpoint: Option<Endpoint>,
    connections: u32,
}

/// A process for which somebody waits.
#[derive(Debug)]
struct Helper {
    comm: String,
    threads: BTreeMap<u32, Thread>,
    /// It has accepted connections since these were counted.
    has_accepted: bool,
    /// It is asked as a name server.
    resolver: Option<Resolver>,
}

/// All helpers, and who waits for them.
#[derive(Debug, Default)]
pub(in crate::analysis) struct Chains {
    helpers: BTreeMap<u32, Helper>,
    links: Vec<Link>,
    /// Processes of an event loop's own server.
    services: BTreeMap<u32, Service>,
    /// Who of these is at the other end of a socket.
    asked_at: HashMap<u64, u32>,
}

/// What the far end of a wait did meanwhile.
struct Explanation {
    peer: Peer,
    inner: Vec<Wait>,
}

impl Chains {
    /// A process is a helper, or is one for another connection too.
    pub fn see(&mut self, found: &Found) {
        let new = || Helper { comm: found.comm.clone(), threads: BTreeMap::new(), has_accepted: false, resolver: None };
        // So many there are only in a log that somebody has spoilt: whichever goes.
        if self.helpers.len() >= MAX_HELPERS && !self.helpers.contains_key(&found.pid) {
            self.helpers.pop_first();
        }
        let helper = self.helpers.entry(found.pid).or_insert_with(new);
        helper.has_accepted = false;
        if found.endpoint.as_ref().and_then(Endpoint::port) == Some(dns::PORT) {
            helper.resolver.get_or_insert_default();
        }
        let Found { waiter, inode, pid: helper, peer_inode, connections, .. } = *found;
        self.links.retain(|link| (link.waiter, link.inode, link.helper) != (waiter, inode, helper));
        if self.links.len() >= MAX_LINKS {
            self.links.remove(0);
        }
        self.links.push(Link { waiter, inode, helper, peer_inode, endpoint: found.endpoint.clone(), connections });
    }

    /// It is traced no longer.
    pub fn release(&mut self, pid: u32) {
        self.helpers.remove(&pid);
        self.services.remove(&pid);
        self.asked_at.retain(|_, service| *service != pid);
        self.links.retain(|link| link.helper != pid && link.waiter != pid);
    }

    /// Whether a process is a helper now.
    pub fn has(&self, pid: u32) -> bool {
        self.helpers.contains_key(&pid)
    }

    /// A helper's call returned.
    pub fn sys(&mut self, sys: &Sys, state: &State, header: Option<&Header>) {
        let ends = self.ends_of(sys.pid);
        if let Some(helper) = self.helpers.get_mut(&sys.pid) {
            if let Some(resolver) = &mut helper.resolver {
                return resolver.sys(sys);
            }
            helper.has_accepted |= matches!(sys.call, Call::Accept | Call::Accept4) && sys.ret >= 0;
        }
        if let Some(thread) = self.thread(sys.pid, sys.tid, header) {
            thread.sys(sys, &ends, state, header);
        }
    }

    /// A helper's thread was blocked outside hooked calls, or still is.
    pub fn block(&mut self, block: &Block, state: &State, header: Option<&Header>) {
        let ends = self.ends_of(block.pid);
        if let Some(thread) = self.thread(block.pid, block.tid, header) {
            thread.block(block, &ends, state, header);
        }
    }

    /// A helper's thread ended: what it told stays, until nobody can ask for it.
    pub fn exit(&mut self, exit: &Exit) {
        if let Some(thread) = self.helpers.get_mut(&exit.pid).and_then(|helper| helper.threads.get_mut(&exit.tid)) {
            thread.ended(exit.signal.is_some());
        }
    }

    /// A process of an event loop's own server has read messages; `bearer`: whose all of them are.
    pub fn asked(&mut self, sys: &Sys, bearer: Option<Bearer>, state: &State, header: Option<&Header>) {
        let min_wait_ns = Header::min_wait_ns_of(header);
        if self.services.len() >= MAX_SERVICES && !self.services.contains_key(&sys.pid) {
            return;
        }
        let service = self.services.entry(sys.pid).or_insert_with(|| Service::new(state.process(sys.pid), min_wait_ns));
        service.works_for(bearer);
        if let Some(waiter) = sys.socket.as_ref().and_then(|socket| socket.peer_inode)
            && (self.asked_at.len() < MAX_LINKS || self.asked_at.contains_key(&waiter))
        {
            self.asked_at.insert(waiter, sys.pid);
        }
    }

    /// Such a process works for nobody who is known any more: it is back at its poll, or has sent a message from there.
    pub fn has_done(&mut self, pid: u32) {
        if let Some(service) = self.services.get_mut(&pid) {
            service.works_for(None);
        }
    }

    /// Such a process has done something that is no message.
    pub fn worked(&mut self, sys: &Sys, state: &State, header: Option<&Header>) {
        if let Some(service) = self.services.get_mut(&sys.pid) {
            service.sys(sys, state, header);
        }
    }

    /// Such a process was blocked outside hooked calls.
    pub fn worked_blocked(&mut self, block: &Block, state: &State, header: Option<&Header>) {
        // The end of its poll was not told.
        if matches!(block.call.as_deref(), Some("epoll_wait" | "epoll_pwait")) {
            self.has_done(block.pid);
        } else if let Some(service) = self.services.get_mut(&block.pid).filter(|_| !block.unfinished) {
            service.block(block, state, header);
        }
    }

    fn thread(&mut self, pid: u32, tid: u32, header: Option<&Header>) -> Option<&mut Thread> {
        let threads = &mut self.helpers.get_mut(&pid)?.threads;
        if threads.len() >= MAX_THREADS && !threads.contains_key(&tid) {
            threads.pop_first();
        }
        let min_wait_ns = Header::min_wait_ns_of(header);
        Some(threads.entry(tid).or_insert_with(|| Thread::new(min_wait_ns)))
    }

    /// Where the helper is asked.
    fn ends_of(&self, pid: u32) -> Ends {
        let links = || self.links.iter().filter(|link| link.helper == pid);
        Ends { inodes: links().map(|link| link.peer_inode).collect(), endpoints: links().filter_map(|link| link.endpoint.clone()).collect() }
    }

    /// Puts into a wait of this process what the process at its far end did meanwhile. `start`: when the session began.
    pub fn explain(&self, named: &mut Named, waiter: u32, start: u64) {
        let span = (named.from.t, named.to.t);
        if let Some(Explanation { peer, inner }) = self.far_end(&named.wait, waiter, named.socket, span, start, 0) {
            named.wait.peer = Some(peer);
            named.wait.inner = inner;
        }
    }

    /// Puts into a session's wait for a process of its own server what that one did meanwhile, and others to which it has passed the question on.
    pub fn explain_asked(&self, named: &mut Named, waiter: u32, bearer: Bearer, start: u64) {
        let Some((pid, asked)) = named.socket.and_then(|inode| self.asked_at.get(&inode)).and_then(|pid| Some((*pid, self.services.get(pid)?)))
        else {
            return;
        };
        let span = (named.from.t, named.to.t);
        let mut peer = asked.peer(pid);
        let (mut told, unclear) = asked.waits_for(bearer, span, |inode| self.links(pid, inode).next().is_some());
        for (pid, service) in self.services.iter().filter(|(other, _)| ![pid, waiter].contains(other)) {
            let (waits, _) = service.waits_for(bearer, span, |inode| self.links(*pid, inode).next().is_some());
            told.extend(waits.into_iter().map(|inner| service.passage(*pid, &inner, self.clipped(inner.clone(), *pid, span, start, 1))));
        }
        told.sort_by_key(|inner| inner.from);
        peer.unclear = unclear.filter(|_| told.is_empty()).map(str::to_owned);
        named.wait.inner = self.inner(told, &mut peer, span, start, 0);
        named.wait.peer = Some(peer);
    }

    /// The child that was waited for, or who answers at the socket.
    fn far_end(&self, wait: &Wait, waiter: u32, socket: Option<u64>, span: (u64, u64), start: u64, depth: usize) -> Option<Explanation> {
        match child_of(wait) {
            Some(child) => self.of_child(child, span, start, depth),
            None if self.helpers.is_empty() => None,
            None => self.explanation(waiter, socket?, wait.dns.as_ref(), span, start, depth),
        }
    }

    /// A child works for its parent alone, so all that it waits for explains a wait for it.
    fn of_child(&self, pid: u32, (from, to): (u64, u64), start: u64, depth: usize) -> Option<Explanation> {
        let helper = self.helpers.get(&pid)?;
        let mut peer = Peer { pid, comm: helper.comm.clone(), path: None, unclear: None, left_out: None };
        if depth >= DEPTH {
            return Some(Explanation { peer, inner: Vec::new() });
        }
        let is_known = |inode| self.links(pid, inode).next().is_some();
        let (told, unclear) = helper.own_waits((from, to), is_known);
        peer.unclear = unclear.map(str::to_owned);
        let inner = self.inner(told, &mut peer, (from, to), start, depth);
        Some(Explanation { peer, inner })
    }

    /// `asked`: what was looked up, of a look-up.
    fn explanation(&self, waiter: u32, inode: u64, asked: Option<&Dns>, (from, to): (u64, u64), start: u64, depth: usize) -> Option<Explanation> {
        let (link, is_only) = self.answering(waiter, inode)?;
        let helper = self.helpers.get(&link.helper)?;
        let path = link.endpoint.as_ref().map(Endpoint::to_string);
        let mut peer = Peer { pid: link.helper, comm: helper.comm.clone(), path, unclear: None, left_out: None };
        if !is_only {
            peer.unclear = Some("several processes have the other end: which of them answers is not known".to_owned());
        }
        if depth >= DEPTH || !is_only {
            return Some(Explanation { peer, inner: Vec::new() });
        }
        if let Some(resolver) = &helper.resolver {
            let told = asked.map(|asked| resolver.waits_for(asked, (from, to), MIN_WAIT_NS)).unwrap_or_default();
            let inner = self.inner(told, &mut peer, (from, to), start, depth);
            return Some(Explanation { peer, inner });
        }
        let is_known = |inode| self.links(link.helper, inode).next().is_some();
        let (told, unclear) = helper.waits_for(link, (from, to), is_known);
        peer.unclear = unclear.map(str::to_owned);
        let inner = self.inner(told, &mut peer, (from, to), start, depth);
        Some(Explanation { peer, inner })
    }

    /// The waits of the process at the far end, the longest ones if there are many, each with its own explanation.
    fn inner(&self, mut told: Vec<Inner>, peer: &mut Peer, span: (u64, u64), start: u64, depth: usize) -> Vec<Wait> {
        if told.len() > MAX_INNER {
            told.sort_by_key(|it| Reverse(it.until.saturating_sub(it.from)));
            peer.left_out = Some(told.len() - MAX_INNER);
            told.truncate(MAX_INNER);
            told.sort_by_key(|it| it.from);
        }
        told.into_iter().map(|it| self.clipped(it, peer.pid, span, start, depth)).collect()
    }

    fn links(&self, waiter: u32, inode: u64) -> impl Iterator<Item = &Link> {
        self.links.iter().filter(move |link| link.waiter == waiter && link.inode == inode)
    }

    /// The link to the process that answers; false: several hold the other end, as a child does that has inherited it, and none is known to be the one.
    fn answering(&self, waiter: u32, inode: u64) -> Option<(&Link, bool)> {
        let mut links = self.links(waiter, inode);
        let (first, second) = (links.next()?, links.next());
        if second.is_none() {
            return Some((first, true));
        }
        let works = |link: &&Link| self.helpers.get(&link.helper).is_some_and(|helper| helper.works_for(link.peer_inode));
        let mut working = self.links(waiter, inode).filter(works);
        match (working.next(), working.next()) {
            (Some(only), None) => Some((only, true)),
            _ => Some((first, false)),
        }
    }

    /// A helper's wait as a part of the one that it explains, with its own explanation.
    fn clipped(&self, inner: Inner, pid: u32, (from, to): (u64, u64), start: u64, depth: usize) -> Wait {
        let Inner { from: began, to: ended, until, socket, mut wait, .. } = inner;
        let (began, end) = (began.max(from), until.min(to));
        wait.start_s = seconds(began.saturating_sub(start).cast_signed());
        wait.elapsed_s = seconds(end.saturating_sub(began).cast_signed());
        if ended > end && wait.outcome == Outcome::Ok {
            // How it went on is no part of this.
            wait.outcome = Outcome::Unfinished;
        }
        if let Some(Explanation { peer, inner }) = self.far_end(&wait, pid, socket, (began, end), start, depth + 1) {
            // A descriptor that another process had connected does not tell where it leads.
            wait.target = wait.target.or_else(|| peer.path.clone());
            if wait.cause == Cause::Unknown {
                wait.cause = Cause::Network;
            }
            wait.peer = Some(peer);
            wait.inner = inner;
        }
        wait
    }
}

/// The child that a wait is for: its target is `PID COMM`.
fn child_of(wait: &Wait) -> Option<u32> {
    let target = wait.target.as_ref().filter(|_| wait.cause == Cause::Child)?;
    target.split_once(' ')?.0.parse().ok()
}

impl Helper {
    /// What it waited for in an interval, whoever for: of one thread, since several may wait at the same time.
    fn own_waits(&self, (from, to): (u64, u64), is_known: impl Fn(u64) -> bool) -> (Vec<Inner>, Option<&'static str>) {
        let mut working = self.threads.values().map(|thread| thread.waits_in(from, to, &is_known)).filter(|waits| !waits.is_empty());
        match (working.next(), working.next()) {
            (Some(_), Some(_)) => (Vec::new(), Some("several of its threads waited: for which of them is not known")),
            (waits, _) => (waits.unwrap_or_default(), None),
        }
    }

    /// Whether one of its threads is known to work for a connection.
    fn works_for(&self, peer_inode: u64) -> bool {
        self.threads.values().any(|thread| thread.works_or_worked_for(peer_inode))
    }

    /// What other threads waited for explains the one that works for a connection only while that one itself waits, for it does not say whom.
    fn while_waiting(&self, peer_inode: u64, (from, to): (u64, u64), waits: Vec<(u32, Inner)>) -> Vec<(u32, Inner)> {
        let mut workers = self.threads.values().filter(|thread| thread.works_or_worked_for(peer_inode)).peekable();
        if workers.peek().is_none() {
            return waits;
        }
        let spans: Vec<(u64, u64)> = workers.filter_map(|thread| thread.waited_for_others(from, to)).collect();
        let clipped = |(tid, inner): (u32, Inner)| {
            // What had begun before was for somebody, or something, else; all threads are taken in one after another.
            let (from, to) = spans.iter().find(|(from, to)| inner.from < *to && inner.from.saturating_add(TAKING_IN_NS) >= *from)?;
            Some((tid, Inner { from: inner.from.max(*from), to: inner.to, until: inner.to.min(*to), ..inner }))
        };
        waits.into_iter().filter_map(clipped).collect()
    }

    /// The waits of the helper in an interval that were for this connection; and, where that cannot be told, why.
    fn waits_for(&self, link: &Link, (from, to): (u64, u64), is_known: impl Fn(u64) -> bool) -> (Vec<Inner>, Option<&'static str>) {
        let waits = |(tid, thread): (&u32, &Thread)| thread.waits_in(from, to, &is_known).into_iter().map(|inner| (*tid, inner)).collect::<Vec<_>>();
        let all: Vec<(u32, Inner)> = self.threads.iter().flat_map(waits).collect();
        let (own, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, inner)| inner.for_whom == Whom::One(link.peer_inode));
        let (unknown, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|(_, inner)| inner.for_whom == Whom::Unseen);
        let is_mixed = others.iter().any(|(_, inner)| inner.for_whom == Whom::Several);
        let foreign = others;
        let unknown = self.while_waiting(link.peer_inode, (from, to), unknown);
        let threads: HashSet<u32> = unknown.iter().map(|(tid, _)| *tid).collect();
        let sorted = |waits: Vec<(u32, Inner)>| {
            let mut waits: Vec<Inner> = waits.into_iter().map(|(_, inner)| inner).collect();
            waits.sort_by_key(|inner| inner.from);
            waits
        };
        // A thread that was in its work already when it was taken in: whose that is, is known only where there is one connection, and one thread at work.
        let is_alone = link.connections <= 1 && link.endpoint.is_some() && !self.has_accepted;
        let is_sure = is_alone && threads.len() <= 1 && foreign.is_empty();
        if !unknown.is_empty() && is_sure {
            return (sorted(own.into_iter().chain(unknown).collect()), None);
        }
        let unclear = if !own.is_empty() {
            None
        } else if !unknown.is_empty() || is_mixed {
            Some("it serves other connections too: for which of them it waited is not known")
        } else if !foreign.is_empty() {
            Some("it was at work for another connection")
        } else {
            None
        };
        (sorted(own), unclear)
    }
}
