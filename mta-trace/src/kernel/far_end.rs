//! Who is at the other end of what a thread waits for, on this machine: the sockets behind its descriptors, and their other ends.
//!
//! In: a blocked thread. Out: connections, by the inodes of both ends, and children of its own for which it waits. Not here: who holds the other end, and what becomes of that (`helpers.rs`).

use super::{
    object::Object,
    proc::{self, Sockets, State},
    sock_diag,
};
use crate::event::{Endpoint, Proto, Record, SeedFd, SocketId};
use mta_trace_common::{
    config::{ROLE_LOOP, ROLE_SERVER, Thread},
    syscalls::Call,
};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::PathBuf,
};

/// Descriptors of a `poll` that are looked at.
const MAX_FDS: u64 = 64;

/// Databases, directories and message buses: they serve many others, and what they do for one of them cannot be told from outside.
const NOT_FOLLOWED: &[u16] = &[389, 636, 3306, 5432, 6379, 11211, 27017];
/// Name servers; those of this machine are followed.
const PORT_DOMAIN: u16 = 53;
const NOT_FOLLOWED_PATHS: &[&str] = &["mysqld.sock", ".s.PGSQL.", "ldapi", "memcached", "redis", "bus_socket", "systemd/journal"];

/// A connection between two processes of this machine.
pub(super) struct Link {
    /// The waiter's end.
    pub inode: u64,
    /// The other end.
    pub peer_inode: u64,
    /// Where the other end listens, or is bound.
    pub endpoint: Option<Endpoint>,
}

/// What is behind the descriptors on which a thread waits.
pub(super) struct Found {
    /// What has to be told of connections that a server had before its session.
    pub seeds: Vec<Record>,
    /// Whom to follow.
    pub links: Vec<Link>,
    /// Children of its own for which it waits.
    pub children: Vec<u32>,
    /// That is all: nobody needs to look again.
    pub is_final: bool,
}

/// The sockets of each network namespace, read once for all that is looked at in one go.
#[derive(Default)]
pub(super) struct Views(HashMap<Option<PathBuf>, Sockets>);

impl Views {
    fn of(&mut self, pid: u32) -> &Sockets {
        self.0.entry(proc::network(&pid.to_string())).or_insert_with(|| Sockets::of(pid))
    }
}

/// Where the descriptors lead on which a thread waits; at some, `is_asked` there, others wait for it, as clients do at `ports`.
pub(super) fn ends_of(object: &Object, thread: &Thread, is_asked: impl Fn(u64) -> bool, ports: &[u16], views: &mut Views) -> Found {
    let behind = |fd: i32| Some((fd, proc::inode_behind(thread.tgid, fd)?));
    let fds: Vec<(i32, u64)> = waited_for(object, thread).into_iter().filter_map(behind).filter(|(_, inode)| !is_asked(*inode)).collect();
    let children = children_waited_for(object, thread);
    if fds.is_empty() {
        return Found { seeds: Vec::new(), links: Vec::new(), children, is_final: true };
    }
    let sockets = views.of(thread.tgid);
    let known: Vec<(i32, &SocketId)> = fds
        .iter()
        .filter_map(|(fd, inode)| sockets.get(*inode).map(|(id, _)| (*fd, id)))
        .filter(|(_, id)| thread.role != ROLE_LOOP || !is_accepted(id, ports))
        .collect();
    let is_server = thread.role == ROLE_SERVER;
    let seeds = known.iter().filter(|_| is_server).filter_map(|(fd, id)| seed_of(sockets, thread.tgid, *fd, id)).collect();
    let links: Vec<Link> = known.iter().filter_map(|(_, id)| link(sockets, thread.tgid, id)).collect();
    // Who has not been accepted yet may be later.
    let is_local = |id: &SocketId| id.peer.as_ref().and_then(Endpoint::ip) == id.local.as_ref().and_then(Endpoint::ip);
    let may_come = |(_, id): &(i32, &SocketId)| id.proto == Proto::Unix || id.proto == Proto::Tcp && is_local(id);
    let is_final = links.is_empty() && !known.iter().any(may_come);
    Found { seeds, links, children, is_final }
}

/// Whether somebody has connected there to an event loop: a client, whichever, or whoever asks it.
fn is_accepted(id: &SocketId, ports: &[u16]) -> bool {
    match id.proto {
        Proto::Tcp => id.local.as_ref().and_then(Endpoint::port).is_some_and(|port| ports.contains(&port)),
        Proto::Unix => id.local.is_some(),
        Proto::Udp | Proto::Other => false,
    }
}

/// Sockets of servers that have been looked at, by process: they live as long as it does.
#[derive(Debug, Default)]
pub(super) struct Older(HashMap<u32, HashSet<u64>>);

/// So many servers are remembered; a number that is given again costs a look.
const MAX_SERVERS: usize = 1024;

impl Older {
    /// What has to be told of the connections that a process has and that were not looked at before.
    pub fn of(&mut self, pid: u32) -> Vec<Record> {
        if self.0.len() >= MAX_SERVERS && !self.0.contains_key(&pid) {
            self.0.clear();
        }
        let seen = self.0.entry(pid).or_default();
        let sockets: Vec<(i32, u64)> = proc::descriptors(pid).into_iter().filter_map(|(fd, link)| Some((fd, proc::socket_inode(&link)?))).collect();
        let new: Vec<(i32, u64)> = sockets.iter().copied().filter(|(_, inode)| !seen.contains(inode)).collect();
        *seen = sockets.into_iter().map(|(_, inode)| inode).collect();
        if new.is_empty() {
            return Vec::new();
        }
        let sockets = Sockets::of(pid);
        new.iter().filter_map(|(fd, inode)| seed_of(&sockets, pid, *fd, &sockets.get(*inode)?.0)).collect()
    }
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

/// Children of a blocked thread's process for which it waits: by their number, or at a pipe of which they hold the writing end.
fn children_waited_for(object: &Object, thread: &Thread) -> Vec<u32> {
    let [first, second, ..] = object.arguments(thread);
    let pid = |register: u64| u32::try_from(decoded_int(register)).ok().filter(|pid| *pid > 0);
    let is_child = |child: &u32| proc::status(*child, "PPid") == Some(thread.tgid);
    let only = || proc::only_child(thread.tgid);
    match Call::by_number(thread.nr) {
        // In a container the number is another one than here.
        Some(Call::Wait4) => pid(first).filter(is_child).or_else(only).into_iter().collect(),
        // `P_PID`
        Some(Call::Waitid) if first & 0xffff_ffff == 1 => pid(second).filter(is_child).or_else(only).into_iter().collect(),
        Some(Call::Waitid) => only().into_iter().collect(),
        _ => {
            let pipes: Vec<String> = waited_for(object, thread).into_iter().filter_map(|fd| proc::pipe_behind(thread.tgid, fd)).collect();
            if pipes.is_empty() {
                return Vec::new();
            }
            let writes = |pid: &u32| pipes.iter().any(|pipe| proc::writes_to(*pid, pipe));
            proc::descendants(thread.tgid, MAX_CHILDREN).into_iter().filter(writes).collect()
        }
    }
}

/// Descendants of a process that are looked at.
const MAX_CHILDREN: usize = 64;

/// The low 32 bits of a register as an `int`.
fn decoded_int(register: u64) -> i32 {
    let [a, b, c, d, ..] = register.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

/// The array of a `poll` that has not returned (`struct pollfd`), out of the process's memory. What the thread has there when it has gone on meanwhile
/// is anything: whoever shows it asks afterwards whether it has.
pub(super) fn polled(pid: u32, at: u64, count: u64) -> Vec<[u8; 8]> {
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
        // A resolver: it is bound there, and connected to nobody.
        Proto::Udp => {
            let peer_inode = sockets.bound(id).filter(|_| id.peer.as_ref().and_then(Endpoint::port) == Some(PORT_DOMAIN))?;
            Some(Link { inode: id.inode, peer_inode, endpoint: id.peer.clone() })
        }
        Proto::Other => None,
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
pub(super) fn connections(pid: u32, link: &Link) -> u32 {
    let sockets = Sockets::of(pid);
    let inodes: BTreeSet<u64> = proc::descriptors(pid).iter().filter_map(|(_, name)| proc::socket_inode(name)).collect();
    let is_alike = |inode: &&u64| match sockets.get(**inode) {
        Some((id, state)) => *state == State::Established && id.local.is_some() && id.local == link.endpoint,
        None => false,
    };
    let count = inodes.iter().filter(is_alike).count().max(1);
    u32::try_from(count).unwrap_or(u32::MAX)
}
