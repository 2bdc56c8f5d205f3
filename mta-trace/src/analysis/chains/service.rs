//! A process of an event loop's own server that is asked by messages (OpenSMTPD's `lookup`, `queue`): what it waited for, and for which session.
//!
//! In: whose messages it reads (`flow`), and its other calls. Out: its waits. Invariant: it works for a session from the receipt of messages that are all of
//! that session until it receives others, sends any, or is back at its poll, and for nobody who is known once something else has come to it. It is one
//! thread, so whatever it blocks in meanwhile, that session waits for. A short poll is not told: what a timer of its own makes it do right behind one
//! would be taken for the session's. Not here: what comes to it later by its loop (a filter's answer).

use super::thread::{Inner, Thread, Whom};
use crate::analysis::flow::Bearer;
use crate::event::{Block, Header, Sys};
use crate::report::{Cause, Outcome, Peer, Wait};
use crate::state::{Proc, State};
use crate::wait::is_receive;
use mta_trace_common::syscalls::Call;
use std::collections::HashSet;

/// Sockets of its own that it opens for one message.
const MAX_OPENED: usize = 64;

/// See above.
#[derive(Debug)]
pub(super) struct Service {
    name: String,
    comm: String,
    thread: Thread,
    /// What it has connected since it works for a session.
    opened: HashSet<u64>,
}

impl Service {
    pub fn new(process: Option<&Proc>, min_wait_ns: u64) -> Self {
        let comm = process.map(|process| process.comm.clone()).unwrap_or_default();
        let name = process.and_then(|process| process.service.clone()).unwrap_or_else(|| comm.clone());
        Self { name, comm, thread: Thread::new(min_wait_ns), opened: HashSet::new() }
    }

    /// From now on it works for this session, or for nobody who is known.
    pub fn works_for(&mut self, bearer: Option<Bearer>) {
        self.opened.clear();
        self.thread.turn_to(bearer.map_or(Whom::Unseen, Whom::Session));
    }

    /// Another call of it returned.
    pub fn sys(&mut self, sys: &Sys, state: &State, header: Option<&Header>) {
        let inode = sys.socket.as_ref().map(|socket| socket.inode);
        if let (Call::Connect, Some(inode)) = (sys.call, inode)
            && self.opened.len() < MAX_OPENED
        {
            self.opened.insert(inode);
        }
        // It had come already: an event of its own, perhaps, that its loop told in the same go.
        if is_receive(sys.call) && sys.start.is_none() && !inode.is_some_and(|inode| self.opened.contains(&inode)) {
            self.works_for(None);
        }
        self.thread.sys(sys, &super::Ends::default(), state, header);
    }

    /// It was blocked outside hooked calls.
    pub fn block(&mut self, block: &Block, state: &State, header: Option<&Header>) {
        self.thread.block(block, &super::Ends::default(), state, header);
    }

    /// What it waited for in an interval while it worked for this session; none, and why.
    pub fn waits_for(&self, (session, id): Bearer, (from, to): (u64, u64), is_known: impl Fn(u64) -> bool) -> (Vec<Inner>, Option<&'static str>) {
        let is_its = |whom| matches!(whom, Whom::Session((number, guess)) if number == session && (guess.is_none() || guess == id));
        let (own, others): (Vec<Inner>, Vec<Inner>) = self.thread.waits_in(from, to, is_known).into_iter().partition(|inner| is_its(inner.for_whom));
        let unclear = match others.first().filter(|_| own.is_empty()).map(|inner| inner.for_whom) {
            Some(Whom::Session((number, _))) if number != session => Some("it was at work for another session"),
            Some(_) => Some("it serves others too: for which of them it waited is not known"),
            None => None,
        };
        (own, unclear)
    }

    /// As the far end of a wait.
    pub fn peer(&self, pid: u32) -> Peer {
        Peer { pid, comm: self.comm.clone(), path: None, unclear: None, left_out: None }
    }

    /// A wait of it as a part of a session's wait for another one, which has passed the question on.
    pub fn passage(&self, pid: u32, inner: &Inner, wait: Wait) -> Inner {
        let asked = Wait::bare(Cause::Mta, Some(self.name.clone()), Outcome::Ok);
        let wait = Wait { peer: Some(self.peer(pid)), inner: vec![wait], ..asked };
        Inner { socket: None, wait, ..inner.clone() }
    }
}
