//! For whom an event loop works: which of its sessions a message or a look-up belongs to.
//!
//! In: what the loops' processes do, in order. Out: sessions, where that is proven, else none. What a process sends was caused by what came to it
//! since it sent there last, and since it slept last (messages are written out whole, in order, and at once): if that was one session's alone, so is
//! a request with a new number; if nothing came, a timer's. Invariant:
//! wherever two come into question nobody is named. Not here: what is waited for (`cause/`).

use crate::event::{Message, Sys};
use crate::proto::dns::{self, Question};
use crate::state::State;
use crate::wait::{is_receive, is_send};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What came to a process and is remembered; of what came before nobody knows for whom it was.
const MAX_TOUCHES: usize = 1024;
/// Requests, look-ups and sockets that are remembered.
const MAX_KNOWN: usize = 16_384;

/// A session, by its number.
pub type Number = usize;

/// Whose a message is, and its id, as long as it is not certain that this is the session's.
pub type Bearer = (Number, Option<u64>);

/// A message that is a session's own: one that its process sends or receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    pub session: Number,
    /// The id that it bears, as long as it is not certain that it is the session's.
    pub guess: Option<u64>,
    /// Who is at the other end.
    pub service: Option<String>,
}

/// Something came to a process.
#[derive(Clone, Copy, Debug)]
struct Touch {
    clock: u64,
    t: u64,
    whom: Option<Number>,
}

#[derive(Debug, Default)]
struct Process {
    touches: Vec<Touch>,
    /// What is older is not remembered.
    since: u64,
    /// When it wrote to each of its sockets last.
    sent: HashMap<u64, u64>,
    /// It was seen to have nothing to do at this time.
    idle: u64,
    /// Descriptors of clients whose sessions are not traced.
    others: BTreeSet<i32>,
    /// Sessions for which it asks name servers.
    asking: BTreeSet<Number>,
}

/// An id that may be a session's.
#[derive(Clone, Copy, Debug)]
struct Guess {
    session: Number,
    id: u64,
    is_answered: bool,
}

/// See above.
#[derive(Debug, Default)]
pub struct Flow {
    clock: u64,
    processes: BTreeMap<u32, Process>,
    /// The process in which a session is.
    homes: HashMap<Number, u32>,
    requests: HashMap<u32, Number>,
    ids: HashMap<u64, Number>,
    guesses: Vec<Guess>,
    queries: HashMap<(u16, u16, String), Number>,
    sockets: HashMap<u64, Number>,
}

impl Flow {
    /// A client was connected before the trace, or is not wanted.
    pub fn other(&mut self, pid: u32, fd: i32, t: u64) {
        self.process(pid).others.insert(fd);
        self.touch(pid, t, None);
    }

    /// A session was accepted.
    pub fn accepted(&mut self, pid: u32, session: Number, t: u64) {
        self.homes.insert(session, pid);
        self.touch(pid, t, Some(session));
    }

    /// A descriptor was closed.
    pub fn closed(&mut self, pid: u32, fd: Option<i32>) {
        if let (Some(process), Some(fd)) = (self.processes.get_mut(&pid), fd) {
            process.others.remove(&fd);
        }
    }

    /// There is another descriptor of what is behind one.
    pub fn duplicated(&mut self, pid: u32, from: Option<i32>, to: i64) {
        let (Some(process), Some(from), Ok(to)) = (self.processes.get_mut(&pid), from, i32::try_from(to)) else { return };
        if to >= 0 && process.others.contains(&from) {
            process.others.insert(to);
        }
    }

    /// Whether all clients of a process are sessions that are traced.
    pub fn has_no_others(&self, pid: u32) -> bool {
        self.processes.get(&pid).is_none_or(|process| process.others.is_empty())
    }

    /// A session is over.
    pub fn ended(&mut self, session: Number) {
        self.homes.remove(&session);
        self.requests.retain(|_, owner| *owner != session);
        self.ids.retain(|_, owner| *owner != session);
        self.queries.retain(|_, owner| *owner != session);
        self.sockets.retain(|_, owner| *owner != session);
        self.guesses.retain(|guess| guess.session != session);
        for process in self.processes.values_mut() {
            process.asking.remove(&session);
            // What its end made the process send is nobody's.
            process.touches.iter_mut().filter(|touch| touch.whom == Some(session)).for_each(|touch| touch.whom = None);
        }
    }

    /// A process is gone.
    pub fn exited(&mut self, pid: u32) {
        self.processes.remove(&pid);
    }

    /// The client of a session did something, or was answered.
    pub fn client(&mut self, pid: u32, session: Number, t: u64) {
        self.touch(pid, t, Some(session));
    }

    /// Something came to a process that is no session's, as far as anybody knows.
    pub fn somebody(&mut self, pid: u32, t: u64) {
        self.touch(pid, t, None);
    }

    /// A process had nothing to do since then, if it slept; gives the sessions for which it waits for name servers.
    pub fn idle(&mut self, pid: u32, since: Option<u64>) -> Vec<Number> {
        let process = self.process(pid);
        process.idle = process.idle.max(since.unwrap_or(0));
        process.asking.iter().copied().collect()
    }

    /// Who works on this socket.
    pub fn owner_of(&self, inode: u64) -> Option<Number> {
        self.sockets.get(&inode).copied()
    }

    /// A socket is used for this session.
    pub fn own(&mut self, inode: u64, session: Number) {
        if self.sockets.len() < MAX_KNOWN {
            self.sockets.insert(inode, session);
        }
    }

    /// The session has been answered: the id that its messages bore since its last line, if that is certain.
    pub fn settle(&mut self, session: Number) -> Option<u64> {
        let mut answered: Vec<u64> =
            self.guesses.iter().filter(|guess| guess.session == session && guess.is_answered).map(|guess| guess.id).collect();
        answered.sort_unstable();
        answered.dedup();
        self.guesses.retain(|guess| guess.session != session);
        let &[id] = answered.as_slice() else { return None };
        self.ids.insert(id, session);
        Some(id)
    }

    /// Messages were sent or received.
    pub fn messages(&mut self, sys: &Sys, state: &State) -> Vec<Work> {
        let Some(socket) = sys.socket.as_ref() else { return Vec::new() };
        let service = socket.peer_inode.and_then(|inode| state.service_at(inode)).map(str::to_owned);
        let works: Vec<Bearer> = if is_send(sys.call) {
            let cause = self.cause_of(sys.pid, socket.inode).filter(|_| !sys.cut && service.as_deref() != Some("control"));
            sys.messages.iter().filter_map(|message| self.sent(sys.pid, message, cause)).collect()
        } else {
            // Whose the others were nobody knows.
            if sys.cut {
                self.touch(sys.pid, sys.t, None);
            }
            sys.messages.iter().filter_map(|message| self.received(sys, message)).collect()
        };
        works.into_iter().map(|(session, guess)| Work { session, guess, service: service.clone() }).collect()
    }

    /// The one session whose all of these messages are.
    pub fn bearer(&self, sys: &Sys) -> Option<Bearer> {
        let mut bearers = sys.messages.iter().map(|message| self.bearer_of(message));
        let first = bearers.next()?.filter(|_| !sys.cut)?;
        bearers.all(|bearer| bearer == Some(first)).then_some(first)
    }

    /// The one session that has caused what a process sends now.
    fn cause_of(&mut self, pid: u32, inode: u64) -> Option<Number> {
        let clock = self.clock;
        let process = self.process(pid);
        let last = process.sent.insert(inode, clock).unwrap_or(0);
        let is_known = last >= process.since;
        let is_cause = |touch: &&Touch| touch.clock > last && touch.t > process.idle;
        only(process.touches.iter().filter(is_cause).map(|touch| touch.whom)).filter(|_| is_known)
    }

    fn sent(&mut self, pid: u32, message: &Message, cause: Option<Number>) -> Option<Bearer> {
        if let Some((session, guess)) = self.bearer_of(message) {
            if self.is_home(pid, session) {
                return Some((session, guess));
            }
            self.process(pid).asking.remove(&session);
            return None;
        }
        let session = cause.filter(|session| self.is_home(pid, *session))?;
        if message.peer != 0 {
            if self.requests.len() < MAX_KNOWN {
                self.requests.insert(message.peer, session);
            }
            return Some((session, None));
        }
        let has_id = self.ids.values().any(|owner| *owner == session);
        if message.id == 0 || has_id || self.guesses.len() >= MAX_KNOWN {
            return None;
        }
        self.guesses.push(Guess { session, id: message.id, is_answered: false });
        Some((session, Some(message.id)))
    }

    fn received(&mut self, sys: &Sys, message: &Message) -> Option<Bearer> {
        let bearer = self.bearer_of(message);
        // What follows from a guess would be as uncertain.
        self.touch(sys.pid, sys.t, bearer.filter(|(_, guess)| guess.is_none()).map(|(session, _)| session));
        let (session, guess) = bearer.filter(|(session, _)| self.is_home(sys.pid, *session))?;
        for known in self.guesses.iter_mut().filter(|known| known.session == session && Some(known.id) == guess) {
            known.is_answered = true;
        }
        Some((session, guess))
    }

    /// Whose message this is, and the id if that is only likely.
    fn bearer_of(&self, message: &Message) -> Option<Bearer> {
        if message.peer != 0 {
            return self.requests.get(&message.peer).map(|session| (*session, None));
        }
        if let Some(session) = self.ids.get(&message.id) {
            return Some((*session, None));
        }
        let session = only(self.guesses.iter().filter(|guess| guess.id == message.id).map(|guess| Some(guess.session)))?;
        Some((session, Some(message.id)))
    }

    /// For which session a name server is asked, or answers. `alone`: the only one in its process; `by_name`: whose client has this name in `in-addr.arpa`.
    pub fn lookup(&mut self, sys: &Sys, alone: Option<Number>, by_name: impl Fn(&str) -> Option<Number>) -> Option<Number> {
        let inode = sys.socket.as_ref()?.inode;
        let message = dns::message_of(sys);
        let question = message.as_ref().and_then(|message| message.question.as_ref());
        let key = message.as_ref().zip(question).map(|(message, Question { qname, qtype })| (message.id, *qtype, qname.to_ascii_lowercase()));
        let known = self.owner_of(inode).or_else(|| self.queries.get(key.as_ref()?).copied());
        if is_receive(sys.call) {
            self.touch(sys.pid, sys.t, known);
            return known;
        }
        let process = self.process(sys.pid);
        let caused = only(process.touches.iter().filter(|touch| touch.t > process.idle).map(|touch| touch.whom));
        let session = known.or(alone).or(caused).or_else(|| by_name(question.map(|question| question.qname.as_str())?))?;
        if let Some(key) = key.filter(|_| self.queries.len() < MAX_KNOWN) {
            self.queries.insert(key, session);
        }
        self.own(inode, session);
        self.process(sys.pid).asking.insert(session);
        Some(session)
    }

    fn is_home(&self, pid: u32, session: Number) -> bool {
        self.homes.get(&session) == Some(&pid)
    }

    fn touch(&mut self, pid: u32, t: u64, whom: Option<Number>) {
        self.clock += 1;
        let clock = self.clock;
        let process = self.process(pid);
        if process.touches.len() >= MAX_TOUCHES {
            process.since = process.touches.drain(..MAX_TOUCHES / 2).next_back().map_or(clock, |touch| touch.clock);
        }
        process.touches.push(Touch { clock, t, whom });
    }

    fn process(&mut self, pid: u32) -> &mut Process {
        self.processes.entry(pid).or_default()
    }
}

/// The one session that all are about; none: there are several, or somebody who is not known.
fn only(whoms: impl Iterator<Item = Option<Number>>) -> Option<Number> {
    let mut whoms = whoms;
    let first = whoms.next()??;
    whoms.all(|whom| whom == Some(first)).then_some(first)
}

/// The name under which the PTR of an address stands (RFC 1035, 3.5; RFC 3596, 2.5).
pub fn reverse_name(address: std::net::IpAddr) -> String {
    match address {
        std::net::IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        std::net::IpAddr::V6(v6) => {
            let digits = v6.octets().iter().rev().fold(String::new(), |text, byte| text + &format!("{:x}.{:x}.", byte & 15, byte >> 4));
            digits + "ip6.arpa"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::tests::trace::{endpoint, seed_process, socket};
    use crate::event::{Args, Bytes, Proto, SeedFd, SocketId};
    use mta_trace_common::syscalls::Call;

    const PONY: u32 = 10;
    const LOOKUP: u32 = 20;
    /// Ends of the sockets between them.
    const ENDS: [u64; 2] = [100, 200];
    const ID: u64 = 0x1122_3344_5566_7788;

    fn state() -> State {
        let mut state = State::default();
        for (pid, service, inode) in [(PONY, "pony express", 100), (LOOKUP, "lookup", 200)] {
            let mut seed = seed_process(pid, 1, "loop");
            seed.service = Some(service.to_owned());
            state.seed_process(&seed);
            state.seed_fd(&SeedFd { pid, fd: 7, path: None, socket: Some(socket(inode, Proto::Unix)), client: false });
        }
        state
    }

    fn sys(pid: u32, call: Call, t: u64, socket: SocketId, messages: &[(u32, u64)]) -> Sys {
        let messages = messages.iter().map(|&(peer, id)| Message { kind: 38, len: 24, peer, pid, id }).collect();
        let args = Args { fd: Some(7), ..Args::default() };
        #[rustfmt::skip]
        let sys = Sys {
            t, pid, tid: pid, call, args, ret: 24, start: None, cpu_ns: 0, blocked_ns: 0, rq_ns: 0, at_start: None, socket: Some(socket), peer: None,
            data: None, cut: false, fault: false, smtp: None, matched: None, milter: false, policy: false, passed: None, messages,
        };
        sys
    }

    fn between(pid: u32, call: Call, t: u64, messages: &[(u32, u64)]) -> Sys {
        let [own, other] = if pid == PONY { ENDS } else { [ENDS[1], ENDS[0]] };
        sys(pid, call, t, SocketId { peer_inode: Some(other), ..socket(own, Proto::Unix) }, messages)
    }

    fn query(t: u64, inode: u64, name: &str) -> Sys {
        let mut sys = sys(LOOKUP, Call::Sendto, t, socket(inode, Proto::Udp), &[]);
        sys.peer = Some(endpoint("10.99.0.1:53"));
        sys.data = Some(Bytes(dns::tests::message(7, 0, name, 12)));
        sys
    }

    fn work(session: Number, guess: Option<u64>) -> Vec<Work> {
        vec![Work { session, guess, service: Some("lookup".to_owned()) }]
    }

    /// A session asks who its client is, and `lookup` asks a name server for it.
    #[test]
    fn a_request_belongs_to_the_session_that_was_alone_before_it() {
        let (state, mut flow) = (state(), Flow::default());
        flow.accepted(PONY, 1, 5);
        assert_eq!(flow.messages(&between(PONY, Call::Sendmsg, 6, &[(77, 16)]), &state), work(1, None));
        assert_eq!(flow.messages(&between(LOOKUP, Call::Recvmsg, 7, &[(77, 16)]), &state), []);
        assert_eq!(flow.lookup(&query(8, 300, "1.0.99.10.in-addr.arpa"), None, |_| None), Some(1));
        // The same question again, from another socket.
        assert_eq!(flow.lookup(&query(9, 301, "1.0.99.10.in-addr.arpa"), None, |_| None), Some(1));
        assert_eq!(flow.messages(&between(PONY, Call::Recvmsg, 10, &[(77, 0)]), &state), work(1, None));
        flow.ended(1);
        assert_eq!(flow.messages(&between(PONY, Call::Recvmsg, 11, &[(77, 0)]), &state), []);
    }

    #[test]
    fn where_two_come_into_question_nobody_is_named() {
        let (state, mut flow) = (state(), Flow::default());
        flow.accepted(PONY, 1, 5);
        flow.accepted(PONY, 2, 5);
        assert_eq!(flow.messages(&between(PONY, Call::Sendmsg, 6, &[(77, 16), (78, 16)]), &state), []);
        flow.messages(&between(LOOKUP, Call::Recvmsg, 7, &[(77, 16), (78, 16)]), &state);
        assert_eq!(flow.lookup(&query(8, 300, "1.0.99.10.in-addr.arpa"), None, |_| None), None);
        // The name itself tells.
        assert_eq!(flow.lookup(&query(9, 301, "2.0.99.10.in-addr.arpa"), None, |name| name.starts_with('2').then_some(2)), Some(2));
        // One that is not traced comes into question too.
        flow.client(PONY, 1, 10);
        flow.other(PONY, 30, 10);
        assert_eq!(flow.messages(&between(PONY, Call::Sendmsg, 11, &[(79, 16)]), &state), []);
    }

    #[test]
    fn an_id_is_certain_when_it_alone_was_answered_before_the_reply() {
        let (state, mut flow) = (state(), Flow::default());
        flow.accepted(PONY, 1, 5);
        assert_eq!(flow.messages(&between(PONY, Call::Sendmsg, 6, &[(0, ID), (0, 9)]), &state).len(), 2);
        assert_eq!(flow.settle(1), None, "nothing was answered");
        flow.client(PONY, 1, 7);
        flow.messages(&between(PONY, Call::Sendmsg, 8, &[(0, ID), (0, 9)]), &state);
        assert_eq!(flow.messages(&between(PONY, Call::Recvmsg, 9, &[(0, ID)]), &state), work(1, Some(ID)));
        assert_eq!(flow.settle(1), Some(ID));
        // From now on it is known wherever it stands, and no other id is taken for this session's.
        flow.accepted(PONY, 2, 10);
        flow.client(PONY, 1, 10);
        assert_eq!(flow.messages(&between(PONY, Call::Sendmsg, 11, &[(0, ID), (0, 5)]), &state), work(1, None));
    }

    #[test]
    fn two_ids_that_were_answered_are_none() {
        let (state, mut flow) = (state(), Flow::default());
        flow.accepted(PONY, 1, 5);
        flow.messages(&between(PONY, Call::Sendmsg, 6, &[(0, ID), (0, 9)]), &state);
        flow.messages(&between(PONY, Call::Recvmsg, 7, &[(0, ID), (0, 9)]), &state);
        assert_eq!(flow.settle(1), None);
        assert_eq!(flow.messages(&between(PONY, Call::Recvmsg, 8, &[(0, ID)]), &state), []);
    }

    #[test]
    fn names_of_addresses() {
        let name = |text: &str| reverse_name(text.parse().expect("an address"));
        assert_eq!(name("10.99.0.1"), "1.0.99.10.in-addr.arpa");
        assert_eq!(name("fd99::2"), "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.9.d.f.ip6.arpa");
    }
}
