//! Processes of this machine for which sessions wait: found while they do, taken into the trace, and released.
//!
//! In: the threads' state in the kernel side's table, and who is at the other end of what they wait for (`far_end.rs`). Out: records `helper`, `release` and
//! seeds. Looked at from outside, so the mail server pays nothing for being looked at; a helper pays as a session does, as long as a session lives
//! that waited for it. Invariant: one that cannot be taken in is left out, and what was told of others stays told.
//! Not here: what a helper's calls mean (`analysis/`).

use super::{
    Error,
    far_end::{Found, Link, Views, connections, ends_of},
    object::Object,
    proc, seed, target,
};
use crate::event::{Helper, Record, Release};
use mta_trace_common::{
    config::{ROLE_DAEMON, ROLE_HELPER, ROLE_LOOP, Request, STATE_BLOCKED, Thread},
    syscalls::Call,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Who is waited for so long is looked for.
const PATIENCE_NS: u64 = 50_000_000;
/// What was not found is looked for again after this time (the other end may not have been accepted yet), so often.
const AGAIN_NS: u64 = 250_000_000;
const TRIES: u32 = 20;
/// So many waits are looked at in one go: between two of them the ring is emptied.
const AT_ONCE: usize = 32;
/// To go through all processes takes time on a busy machine: at most this part of it.
const SCAN_PART: u64 = 10;
/// How far a chain is followed.
const DEPTH: u8 = 3;
/// How many helpers there are at a time.
const MAX_HELPERS: usize = 64;
/// A process of more threads serves half the machine.
const MAX_THREADS: usize = 512;
/// How often it is asked whether a helper is still wanted.
const RELEASE_NS: u64 = 1_000_000_000;

/// A process that is traced because a session waits for it.
#[derive(Debug)]
struct Wanted {
    /// How many connections lie between it and a session.
    depth: u8,
    /// Sessions that waited for it, by the inode of the client's socket.
    sessions: BTreeSet<u64>,
}

/// A wait that was looked at.
#[derive(Debug)]
struct Look {
    /// When the thread began to block.
    since: u64,
    tries: u32,
    next: u64,
}

/// A connection that has been told.
#[derive(Debug, Default)]
struct Known {
    /// Who holds its other end.
    holders: Vec<u32>,
    /// Sessions that waited there.
    sessions: BTreeSet<u64>,
}

/// A thread that waits, and where that leads.
struct Waiting {
    tid: u32,
    pid: u32,
    depth: u8,
    sessions: BTreeSet<u64>,
    links: Vec<Link>,
    children: Vec<u32>,
}

/// All helpers.
#[derive(Debug, Default)]
pub struct Helpers {
    wanted: BTreeMap<u32, Wanted>,
    /// By thread.
    looks: HashMap<u32, Look>,
    /// By the inodes of both ends.
    known: HashMap<(u64, u64), Known>,
    /// Helpers' ends of connections: who waits there waits for whoever it helps.
    ends: HashSet<u64>,
    /// Sessions of event loops, by the inode of the client's socket: when each may have begun, at the earliest.
    looped: HashMap<u64, u64>,
    looked: u64,
    released: u64,
    /// All processes are not gone through before.
    next_scan: u64,
}

impl Helpers {
    /// None yet; `now`: the trace is ready.
    pub fn new(now: u64) -> Self {
        Self { looked: now, ..Self::default() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Looks at what is being waited for, and tells what has to be told. `ports`: those at which the mail server has clients.
    pub fn look(&mut self, object: &mut Object, ports: &[u16], now: u64) -> Vec<Record> {
        let threads = object.threads();
        let since: HashMap<u32, u64> = threads.iter().map(|(tid, thread)| (*tid, thread.since)).collect();
        self.looks.retain(|tid, look| since.get(tid) == Some(&look.since));
        self.meet(object, &threads, now);
        let mut records = Vec::new();
        let waiting = self.waiting(object, &threads, ports, now, &mut records);
        let holders = self.holders(&waiting, now);
        for Waiting { tid, pid, depth, sessions, links, children } in waiting {
            for child in children {
                // No socket leads to it; it is known by its number.
                let link = Link { inode: 0, peer_inode: child.into(), endpoint: None };
                let new = [child];
                let found = if self.known.contains_key(&(0, child.into())) { &[][..] } else { &new };
                if self.follow(object, pid, &link, found, depth + 1, &sessions, &mut records)
                    && let Some(look) = self.looks.get_mut(&tid)
                {
                    look.tries = TRIES;
                }
            }
            for link in links {
                let found = holders.get(&link.peer_inode).map_or(&[][..], Vec::as_slice);
                if self.follow(object, pid, &link, found, depth + 1, &sessions, &mut records)
                    && let Some(look) = self.looks.get_mut(&tid)
                {
                    look.tries = TRIES;
                }
            }
        }
        if now.saturating_sub(self.released) >= RELEASE_NS {
            self.released = now;
            self.release(object, &threads, now, &mut records);
        }
        records
    }

    /// Notes which sessions event loops have.
    fn meet(&mut self, object: &Object, threads: &[(u32, Thread)], now: u64) {
        if threads.iter().any(|(_, thread)| thread.role == ROLE_LOOP) {
            let known: HashSet<u64> = object.sessions().into_iter().collect();
            self.looped.retain(|inode, _| known.contains(inode));
            for inode in known {
                self.looped.entry(inode).or_insert(self.looked);
            }
        }
        self.looked = now;
    }

    /// The threads that have waited for long enough, and the other ends of that.
    fn waiting(&mut self, object: &Object, threads: &[(u32, Thread)], ports: &[u16], now: u64, records: &mut Vec<Record>) -> Vec<Waiting> {
        let (mut waiting, mut views) = (Vec::new(), Views::default());
        for (tid, thread) in threads.iter().filter(|(_, thread)| is_patient(thread, now)) {
            if waiting.len() >= AT_ONCE {
                break;
            }
            let Some((depth, sessions)) = self.on_behalf_of(*tid, thread).filter(|(depth, _)| *depth < DEPTH) else { continue };
            if !self.is_due(*tid, thread, now) {
                continue;
            }
            let is_asked = |inode| sessions.contains(&inode) || inode == thread.session || self.ends.contains(&inode);
            let Found { seeds, links, children, is_final } = ends_of(object, thread, is_asked, ports, &mut views);
            records.extend(seeds);
            if is_final && let Some(look) = self.looks.get_mut(tid) {
                look.tries = TRIES;
            }
            if !links.is_empty() || !children.is_empty() {
                waiting.push(Waiting { tid: *tid, pid: thread.tgid, depth, sessions, links, children });
            }
        }
        waiting
    }

    /// For which sessions a thread works, and how far away from them.
    fn on_behalf_of(&self, tid: u32, thread: &Thread) -> Option<(u8, BTreeSet<u64>)> {
        if thread.is_serving() {
            return Some((0, BTreeSet::from([thread.session])));
        }
        if thread.role == ROLE_LOOP {
            // While it waits for one thing alone, whoever is served by it, or asks it, waits too; for all of them it waits in its poll. What other
            // threads of it wait for, or what it did before there was a session, is nobody's.
            let is_idle = matches!(Call::by_number(thread.nr), Some(Call::EpollWait | Call::EpollPwait));
            let is_asked = tid == thread.tgid && !is_idle;
            let sessions: BTreeSet<u64> =
                self.looped.iter().filter(|(_, began)| is_asked && thread.since >= **began).map(|(inode, _)| *inode).collect();
            return Some((0, sessions)).filter(|(_, sessions)| !sessions.is_empty());
        }
        let wanted = self.wanted.get(&thread.tgid).filter(|_| thread.role == ROLE_HELPER)?;
        Some((wanted.depth, wanted.sessions.clone()))
    }

    fn is_due(&mut self, tid: u32, thread: &Thread, now: u64) -> bool {
        let look = self.looks.entry(tid).or_insert(Look { since: thread.since, tries: 0, next: 0 });
        let is_due = look.tries < TRIES && now >= look.next;
        if is_due {
            look.tries += 1;
            look.next = now + AGAIN_NS;
        }
        is_due
    }

    /// Who holds the other ends: helpers first, which is soon asked; all processes only now and then.
    fn holders(&mut self, waiting: &[Waiting], now: u64) -> HashMap<u64, Vec<u32>> {
        let links = waiting.iter().flat_map(|it| it.links.iter().map(|link| (it.pid, link)));
        let new: Vec<(u32, u64)> =
            links.filter(|(_, link)| !self.known.contains_key(&(link.inode, link.peer_inode))).map(|(pid, link)| (pid, link.peer_inode)).collect();
        let mut missing: HashSet<u64> = new.iter().map(|(_, inode)| *inode).collect();
        let mut holders = proc::holders(self.wanted.keys().copied(), &missing);
        missing.retain(|inode| !holders.contains_key(inode));
        if missing.is_empty() || now < self.next_scan || self.wanted.len() >= MAX_HELPERS {
            return holders;
        }
        let began = super::now_ns();
        let near = new.first().and_then(|(pid, _)| proc::network(&pid.to_string()));
        let (near, far): (Vec<u32>, Vec<u32>) = proc::all().into_iter().partition(|pid| proc::network(&pid.to_string()) == near);
        holders.extend(proc::holders(near.into_iter(), &missing));
        missing.retain(|inode| !holders.contains_key(inode));
        if !missing.is_empty() {
            holders.extend(proc::holders(far.into_iter(), &missing));
        }
        let ended = super::now_ns();
        self.next_scan = ended + (ended - began) * SCAN_PART;
        holders
    }

    /// Takes in who holds the other end; true: somebody does, and is traced.
    #[expect(clippy::too_many_arguments, reason = "a link, who found it and for whom")]
    fn follow(
        &mut self,
        object: &mut Object,
        waiter: u32,
        link: &Link,
        holders: &[u32],
        depth: u8,
        sessions: &BTreeSet<u64>,
        records: &mut Vec<Record>,
    ) -> bool {
        let key = (link.inode, link.peer_inode);
        for &pid in holders {
            let is_new = !self.wanted.contains_key(&pid);
            if pid == waiter || !may_be_followed(object, pid) || is_new && self.wanted.len() >= MAX_HELPERS {
                continue;
            }
            let Some(told) = take_in(object, pid, is_new, waiter, link) else { continue };
            records.extend(told);
            let wanted = self.wanted.entry(pid).or_insert(Wanted { depth, sessions: BTreeSet::new() });
            wanted.depth = wanted.depth.min(depth);
            self.known.entry(key).or_default().holders.push(pid);
            if link.inode != 0 {
                self.ends.insert(link.peer_inode);
            }
        }
        let Some(known) = self.known.get_mut(&key) else { return false };
        known.sessions.extend(sessions);
        for pid in &known.holders {
            if let Some(wanted) = self.wanted.get_mut(pid) {
                wanted.sessions.extend(sessions);
            }
        }
        true
    }

    /// Leaves alone whoever no living session has waited for.
    fn release(&mut self, object: &mut Object, threads: &[(u32, Thread)], t: u64, records: &mut Vec<Record>) {
        let mut released = Vec::new();
        for (pid, wanted) in &mut self.wanted {
            wanted.sessions.retain(|inode| object.has_session(*inode));
            if wanted.sessions.is_empty() || proc::has_ended(*pid) {
                released.push(*pid);
            }
        }
        for pid in &released {
            self.wanted.remove(pid);
            for (tid, _) in threads.iter().filter(|(_, thread)| thread.tgid == *pid) {
                // A thread that is not released tells on, of a process that nobody asks for any more.
                let _ = object.request(&[Request::RELEASE, (*tid).into()]);
            }
            records.push(Record::Release(Release { t, pid: *pid }));
        }
        self.known.retain(|_, known| {
            known.holders.retain(|pid| !released.contains(pid));
            known.sessions.retain(|inode| object.has_session(*inode));
            !known.holders.is_empty() && !known.sessions.is_empty()
        });
        self.ends = self.known.keys().filter(|(inode, _)| *inode != 0).map(|(_, peer_inode)| *peer_inode).collect();
    }
}

/// Whether it has been blocked for so long that it is worth a look.
fn is_patient(thread: &Thread, now: u64) -> bool {
    thread.state == STATE_BLOCKED && thread.since != 0 && now.saturating_sub(thread.since) >= PATIENCE_NS
}

/// Takes a process in; the first record is about it. None: it is gone, or cannot be taken in.
fn take_in(object: &mut Object, pid: u32, is_new: bool, waiter: u32, link: &Link) -> Option<Vec<Record>> {
    let (comm, exe) = (proc::comm(pid)?, proc::exe(pid)?);
    if is_new {
        help(object, pid).ok()?;
    }
    let t = super::now_ns();
    let Link { inode, peer_inode, endpoint } = link;
    let is_child = *inode == 0;
    let connections = if is_child { 0 } else { connections(pid, link) };
    let peer_inode = if is_child { 0 } else { *peer_inode };
    let helper = Helper { t, pid, comm, exe, waiter, inode: *inode, peer_inode, endpoint: endpoint.clone(), connections };
    let mut records = vec![Record::Helper(helper)];
    if is_new {
        records.push(seed::process(pid, "helper"));
    }
    records.extend(seed::descriptors(pid, None));
    Some(records)
}

/// Sets the bits of all threads of a process; what each blocks in comes from /proc, asked for only then.
fn help(object: &mut Object, pid: u32) -> Result<(), Error> {
    let mut seen = HashSet::new();
    loop {
        // A thread that is made meanwhile by one that is in already is followed in the kernel.
        let new: Vec<u32> = proc::threads(pid).into_iter().filter(|tid| seen.insert(*tid)).collect();
        if new.is_empty() {
            return Ok(());
        }
        for tid in new {
            object.request(&[Request::HELP, tid.into(), pid.into()])?;
            if !proc::is_thread(pid, tid) {
                // It ended before its bit was set, so no hook has cleared it: its number may be given to anybody.
                object.request(&[Request::FORGET, tid.into()])?;
            } else if let Some((nr, [a, b, c, d, e, f])) = proc::blocked_in(pid, tid) {
                object.request(&[Request::BLOCKED, tid.into(), nr.cast_unsigned(), a, b, c, d, e, f])?;
            }
        }
    }
}

/// Whoever serves sessions, or accepts them, is told of as that, or is somebody else's. The first process starts everybody.
fn may_be_followed(object: &Object, pid: u32) -> bool {
    let role = object.thread(pid).map(|thread| (thread.role, thread.is_serving()));
    let is_own = role.is_some_and(|(role, is_serving)| role == ROLE_DAEMON || role == ROLE_LOOP || is_serving);
    pid != 1 && pid != std::process::id() && !is_own && !target::is_mail_listener(pid) && proc::threads(pid).len() <= MAX_THREADS
}
