//! Who is at the other end of what a session waits for, on this machine: found while it waits, taken into the trace, and released.
//!
//! In: the threads' state in the kernel side's table, /proc, `sock_diag`. Out: records `helper`, `release` and seeds. Looked at from outside, so the mail
//! server pays nothing for being looked at; a helper pays as a session does, as long as a session lives that waited for it.
//! Not here: what a helper's calls mean (`analysis/`).

use super::Error;
use super::{
    object::Object,
    proc::{self, Sockets},
    seed, sock_diag, target,
};
use crate::event::{Endpoint, Helper, Proto, Record, Release, SeedFd, SocketId};
use mta_trace_common::{
    config::{ROLE_DAEMON, ROLE_HELPER, ROLE_SERVER, Request, STATE_BLOCKED, Thread},
    syscalls::Call,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Who is waited for so long is looked for.
const PATIENCE_NS: u64 = 50_000_000;
/// What was not found is looked for again after this time (the other end may not have been accepted yet), so often.
const AGAIN_NS: u64 = 250_000_000;
const TRIES: u32 = 20;
/// How far a chain is followed.
const DEPTH: u8 = 3;
/// How many helpers there are at a time.
const MAX_HELPERS: usize = 64;
/// Descriptors of a `poll` that are looked at.
const MAX_FDS: u64 = 64;
/// How often it is asked whether a helper is still wanted.
const RELEASE_NS: u64 = 1_000_000_000;

/// Databases and directories: they serve many others, and what they do for one of them cannot be told from outside.
const NOT_FOLLOWED: &[u16] = &[389, 636, 3306, 5432, 11211];
const NOT_FOLLOWED_PATHS: &[&str] = &["mysqld.sock", ".s.PGSQL.", "ldapi", "memcached"];

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

/// All helpers.
#[derive(Debug, Default)]
pub struct Helpers {
    wanted: BTreeMap<u32, Wanted>,
    /// By thread.
    looks: HashMap<u32, Look>,
    /// Connections that have been told, by the inodes of both ends, and who holds the other one.
    known: HashMap<(u64, u64), Vec<u32>>,
    /// Helpers' ends of connections: who waits there waits for whoever it helps.
    ends: HashSet<u64>,
    released: u64,
}

/// A connection between two processes of this machine.
struct Link {
    inode: u64,
    peer_inode: u64,
    endpoint: Option<Endpoint>,
}

impl Helpers {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Whether a process is a helper now.
    pub fn has(&self, pid: u32) -> bool {
        self.wanted.contains_key(&pid)
    }

    /// Looks at what is being waited for, and gives what has to be told.
    pub fn look(&mut self, object: &mut Object, now: u64) -> Result<Vec<Record>, Error> {
        let threads = object.threads();
        self.looks.retain(|tid, look| threads.iter().any(|(other, thread)| other == tid && thread.since == look.since));
        let mut records = Vec::new();
        for (tid, thread) in &threads {
            let Some((depth, sessions)) = self.on_behalf_of(thread).filter(|(depth, _)| *depth < DEPTH) else { continue };
            if !is_patient(thread, now) || !self.is_due(*tid, thread, now) {
                continue;
            }
            let (found, links, is_final) = ends_of(object, thread, &self.ends);
            records.extend(found);
            let mut is_found = is_final;
            for link in links {
                is_found |= self.follow(object, thread.tgid, &link, depth + 1, &sessions, &mut records)?;
            }
            if is_found && let Some(look) = self.looks.get_mut(tid) {
                look.tries = TRIES;
            }
        }
        if now.saturating_sub(self.released) >= RELEASE_NS {
            self.released = now;
            records.extend(self.release(object, now)?);
        }
        Ok(records)
    }

    /// For which sessions a thread works, and how far away from them.
    fn on_behalf_of(&self, thread: &Thread) -> Option<(u8, BTreeSet<u64>)> {
        if thread.is_serving() {
            return Some((0, BTreeSet::from([thread.session])));
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

    fn follow(
        &mut self,
        object: &mut Object,
        waiter: u32,
        link: &Link,
        depth: u8,
        sessions: &BTreeSet<u64>,
        records: &mut Vec<Record>,
    ) -> Result<bool, Error> {
        let key = (link.inode, link.peer_inode);
        if !self.known.contains_key(&key) {
            let holders = proc::holders(&format!("socket:[{}]", link.peer_inode), waiter);
            for pid in holders {
                if pid == waiter || !may_be_followed(object, pid) || self.wanted.len() >= MAX_HELPERS && !self.has(pid) {
                    continue;
                }
                records.extend(self.take_in(object, pid, waiter, link)?);
                let wanted = self.wanted.entry(pid).or_insert(Wanted { depth, sessions: BTreeSet::new() });
                wanted.depth = wanted.depth.min(depth);
                self.known.entry(key).or_default().push(pid);
                self.ends.insert(link.peer_inode);
            }
        }
        let holders = self.known.get(&key).cloned().unwrap_or_default();
        for pid in &holders {
            if let Some(wanted) = self.wanted.get_mut(pid) {
                wanted.sessions.extend(sessions);
            }
        }
        Ok(!holders.is_empty())
    }

    /// Takes a process in; the first record is about it.
    fn take_in(&self, object: &mut Object, pid: u32, waiter: u32, link: &Link) -> Result<Vec<Record>, Error> {
        if !self.has(pid) {
            help(object, pid)?;
        }
        let t = super::now_ns();
        let (Some(comm), Some(exe)) = (proc::comm(pid), proc::exe(pid)) else { return Ok(Vec::new()) };
        let Link { inode, peer_inode, endpoint } = link;
        let connections = connections(pid, link);
        let helper = Helper { t, pid, comm, exe, waiter, inode: *inode, peer_inode: *peer_inode, endpoint: endpoint.clone(), connections };
        let mut records = vec![Record::Helper(helper)];
        if !self.has(pid) {
            records.push(seed::process(pid, "helper"));
        }
        records.extend(seed::descriptors(pid, None));
        Ok(records)
    }

    /// Leaves alone whoever no living session has waited for.
    fn release(&mut self, object: &mut Object, t: u64) -> Result<Vec<Record>, Error> {
        let mut released = Vec::new();
        for (pid, wanted) in &mut self.wanted {
            wanted.sessions.retain(|inode| object.has_session(*inode));
            if wanted.sessions.is_empty() || proc::has_ended(*pid) {
                released.push(*pid);
            }
        }
        for pid in &released {
            self.wanted.remove(pid);
            for (tid, _) in object.threads().into_iter().filter(|(_, thread)| thread.tgid == *pid) {
                object.request(&[Request::RELEASE, tid.into()])?;
            }
        }
        self.known.retain(|_, holders| {
            holders.retain(|pid| !released.contains(pid));
            !holders.is_empty()
        });
        self.ends = self.known.keys().map(|(_, peer_inode)| *peer_inode).collect();
        Ok(released.into_iter().map(|pid| Record::Release(Release { t, pid })).collect())
    }
}

/// Whether it has been blocked for so long that it is worth a look.
fn is_patient(thread: &Thread, now: u64) -> bool {
    thread.state == STATE_BLOCKED && thread.since != 0 && now.saturating_sub(thread.since) >= PATIENCE_NS
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
            if let Some((nr, [a, b, c, d, e, f])) = proc::blocked_in(pid, tid) {
                object.request(&[Request::BLOCKED, tid.into(), nr.cast_unsigned(), a, b, c, d, e, f])?;
            }
        }
    }
}

/// Whoever serves sessions, or accepts them, is told of as that, or is somebody else's.
fn may_be_followed(object: &Object, pid: u32) -> bool {
    let role = object.thread(pid).map(|thread| (thread.role, thread.is_serving()));
    pid != std::process::id() && !role.is_some_and(|(role, is_serving)| role == ROLE_DAEMON || is_serving) && !target::is_mail_listener(pid)
}

/// Where the descriptors lead on which a thread waits: what has to be told of connections that a server had before its session, whom to follow, and
/// whether that is all, so that nobody needs to look again.
fn ends_of(object: &Object, thread: &Thread, ends: &HashSet<u64>) -> (Vec<Record>, Vec<Link>, bool) {
    let behind = |fd: i32| Some((fd, proc::inode_behind(thread.tgid, fd)?));
    let fds: Vec<(i32, u64)> =
        waited_for(object, thread).into_iter().filter_map(behind).filter(|(_, inode)| *inode != thread.session && !ends.contains(inode)).collect();
    if fds.is_empty() {
        return (Vec::new(), Vec::new(), true);
    }
    let sockets = Sockets::of(thread.tgid);
    let known: Vec<(i32, &SocketId)> = fds.iter().filter_map(|(fd, inode)| sockets.get(*inode).map(|(id, _)| (*fd, id))).collect();
    let is_server = thread.role == ROLE_SERVER;
    let seeds = known.iter().filter(|_| is_server).filter_map(|(fd, id)| seed_of(&sockets, thread.tgid, *fd, id)).collect();
    let links: Vec<Link> = known.iter().filter_map(|(_, id)| link(&sockets, thread.tgid, id)).collect();
    // Who has not been accepted yet may be later.
    let is_local = |id: &SocketId| id.peer.as_ref().and_then(Endpoint::ip) == id.local.as_ref().and_then(Endpoint::ip);
    let may_come = |(_, id): &(i32, &SocketId)| id.proto == Proto::Unix || id.proto == Proto::Tcp && is_local(id);
    let is_final = links.is_empty() && !known.iter().any(may_come);
    (seeds, links, is_final)
}

/// What is behind a descriptor of a server that serves many sessions, one after another: it was opened when nothing of it was told.
fn seed_of(sockets: &Sockets, pid: u32, fd: i32, id: &SocketId) -> Option<Record> {
    let peer = match id.proto {
        Proto::Unix => sockets.get(sock_diag::unix_peer(pid, id.inode)?).and_then(|(peer, _)| peer.local.clone()),
        Proto::Tcp => id.peer.clone(),
        Proto::Udp | Proto::Other => None,
    };
    let socket = SocketId { peer: Some(peer?), ..id.clone() };
    Some(Record::SeedFd(SeedFd { pid, fd, path: None, socket: Some(socket), client: false }))
}

/// Descriptors on which a blocked thread waits, as far as registers and memory tell.
fn waited_for(object: &Object, thread: &Thread) -> Vec<i32> {
    let args = object.arguments(thread);
    let [first, second, ..] = args;
    match Call::by_number(thread.nr) {
        Some(Call::Poll | Call::Ppoll) => {
            polled(thread.tgid, first, second).iter().map(|[a, b, c, d, ..]| i32::from_ne_bytes([*a, *b, *c, *d])).collect()
        }
        Some(Call::Select | Call::Pselect6) if thread.selects_valid == 1 => {
            let [read, write, _] = thread.selects.sets;
            let is_in = |fd: &i32| [read, write].iter().any(|set| set.get(usize::from(*fd >= 64)).is_some_and(|word| word >> (fd % 64) & 1 == 1));
            (0..128).filter(is_in).collect()
        }
        Some(call) if call.row().fd0 => i32::try_from(first & 0xffff_ffff).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// The array of a `poll` that has not returned (`struct pollfd`), out of the process's memory.
pub fn polled(pid: u32, at: u64, count: u64) -> Vec<[u8; 8]> {
    let length = usize::try_from(count.min(MAX_FDS) * 8).unwrap_or(0);
    let memory = proc::memory(pid, at, length).unwrap_or_default();
    memory.as_chunks::<8>().0.to_vec()
}

/// The other end of a socket, if it is on this machine and somebody may be looked at there.
fn link(sockets: &Sockets, pid: u32, id: &SocketId) -> Option<Link> {
    match id.proto {
        Proto::Unix => {
            let peer_inode = sock_diag::unix_peer(pid, id.inode)?;
            let endpoint = sockets.get(peer_inode).and_then(|(peer, _)| peer.local.clone());
            is_followed(endpoint.as_ref()).then_some(Link { inode: id.inode, peer_inode, endpoint })
        }
        Proto::Tcp => {
            let peer_inode = sockets.mirrored(id)?;
            is_followed(id.peer.as_ref()).then(|| Link { inode: id.inode, peer_inode, endpoint: id.peer.clone() })
        }
        Proto::Udp | Proto::Other => None,
    }
}

fn is_followed(endpoint: Option<&Endpoint>) -> bool {
    match endpoint {
        Some(Endpoint::Unix(path)) => !NOT_FOLLOWED_PATHS.iter().any(|part| path.contains(part)),
        Some(Endpoint::Inet(address)) => !NOT_FOLLOWED.contains(&address.port()),
        None => true,
    }
}

/// How many connections of this kind a process holds.
fn connections(pid: u32, link: &Link) -> u32 {
    let sockets = Sockets::of(pid);
    let inodes: BTreeSet<u64> = proc::descriptors(pid).iter().filter_map(|(_, name)| proc::socket_inode(name)).collect();
    let is_alike = |inode: &&u64| match sockets.get(**inode) {
        Some((id, state)) => *state == proc::State::Established && id.local.is_some() && id.local == link.endpoint,
        None => false,
    };
    let count = inodes.iter().filter(is_alike).count().max(1);
    u32::try_from(count).unwrap_or(u32::MAX)
}
