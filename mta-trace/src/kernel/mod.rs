//! The kernel's side of user space: finds the target, loads and attaches the hooks, hands out what the ring holds.
//!
//! In: [`crate::options::AttachOptions`]. Out: bytes of records, seeds of what existed before, counts of loss. The only
//! module that knows aya, BTF and /proc. Not here: what a record means (`decode/`).

mod btf;
mod daemon;
mod diagnostics;
mod error;
mod far_end;
mod helpers;
mod object;
mod offsets;
mod probe;
mod proc;
mod seed;
mod settings;
mod sock_diag;
mod target;

pub use error::Error;
pub use probe::{Probe, Programs, others, probe};
pub use proc::{Sockets, is_initial_pid_namespace, pid_inside, socket_behind};
pub use target::{Target, all_here as mail_servers};

use crate::{
    event::{Daemon, Endpoint, Record, SocketId},
    mta::{self, Shape},
    options::{AttachOptions, RING_BYTES},
};
use aya::maps::{MapData, RingBuf};
use diagnostics::Diagnostics;
use helpers::Helpers;
use mta_trace_common::{
    config::{Filter, MAX_FILTERS, ROLE_DAEMON, ROLE_HELPER, ROLE_LOOP, ROLE_SERVER, ROLE_SESSION, Request, STATE_BLOCKED, Settings, Thread},
    event::{Head, LOSSES},
    smtp::{MODE_UNKNOWN, Scanner},
};
use object::Object;
use std::{collections::HashSet, net::IpAddr};

/// Attached hooks. Dropping it detaches them; the kernel does so too when the process dies.
pub struct Trace {
    object: Object,
    diagnostics: Diagnostics,
    ring: RingBuf<MapData>,
    ring_bytes: u32,
    /// Whom sessions wait for; none: nobody asks.
    helpers: Option<Helpers>,
    /// Connections of servers that were told of.
    older: far_end::Older,
    /// What is traced.
    pub target: Target,
    /// What tells of completed system calls: `fentry` or `tracepoint`.
    pub hooks: &'static str,
    /// What existed before.
    pub seeds: Vec<Record>,
    /// When attaching began and ended, monotonic ns.
    pub attach_ns: [u64; 2],
}

/// `CLOCK_MONOTONIC`, the clock of `bpf_ktime_get_ns`, in ns.
pub fn now_ns() -> u64 {
    nanoseconds(rustix::time::ClockId::Monotonic)
}

/// What to add to monotonic ns for ns since 1970.
pub fn boot_to_wall_ns() -> i64 {
    let wall = nanoseconds(rustix::time::ClockId::Realtime);
    i64::try_from(wall).unwrap_or(i64::MAX).saturating_sub_unsigned(now_ns())
}

fn nanoseconds(clock: rustix::time::ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Kernel release.
pub fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Finds the target and attaches every hook.
pub fn attach(options: &AttachOptions) -> Result<Trace, Error> {
    let target = target::find(options)?;
    if !proc::is_initial_pid_namespace() {
        return Err(Error::PidNamespace);
    }
    let began = now_ns();
    let filters = filters(options)?;
    let settings = Settings {
        min_wait_ns: options.min_wait_ns,
        filters: u32::try_from(filters.len()).unwrap_or(u32::MAX),
        unfiltered: u32::from(cfg!(feature = "unsafe-unfiltered")),
        loop_comm: comm_words(mta::by_name(target.mta).screener().unwrap_or_default()),
    };
    let ring_bytes = options.ring_bytes.unwrap_or(RING_BYTES);
    let mut object = Object::load(settings, &filters, ring_bytes)?;
    let ring = object.ring()?;
    let diagnostics = object.diagnostics()?;
    let ports: Vec<u16> = target.listening.iter().filter_map(Endpoint::port).collect();
    object.watch_ports(&ports)?;
    object.attach_processes()?;
    let is_daemon = !target.listening.is_empty();
    let mut seeds = Vec::new();
    if is_daemon {
        let is_loop = matches!(target.shape, Shape::EventLoop { .. });
        seeds.push(seed::process(target.pid, if is_loop { "loop" } else { "daemon" }));
        seeds.push(Record::Daemon(daemon::look(target.pid, target.mta)));
        match target.shape {
            Shape::ForkPerSession => trace(&mut object, target.pid, ROLE_DAEMON, None)?,
            Shape::PreForked => seeds.extend(servers(&mut object, &target, options)?),
            Shape::EventLoop { has_messages } => seeds.extend(loops(&mut object, &target, has_messages)?),
        }
    }
    let hooks = object.attach_calls(options.hooks)?;
    seeds.extend(seed::resolv_conf(target.pid));
    seeds.extend(settings::read(target.pid));
    if !is_daemon {
        seeds.extend(existing(&mut object, target.pid, options)?.ok_or(Error::Vanished(target.pid))?);
    } else if options.existing && target.shape == Shape::ForkPerSession {
        seeds.extend(all_existing(&mut object, target.pid, options)?);
    }
    if proc::exe(target.pid).is_none() {
        return Err(Error::Vanished(target.pid));
    }
    let helpers = options.chains.then(|| Helpers::new(now_ns()));
    Ok(Trace { object, diagnostics, ring, ring_bytes, helpers, older: far_end::Older::default(), target, hooks, seeds, attach_ns: [began, now_ns()] })
}

/// Takes in a server and its descendants, whichever of them accept. Forks are told already, so that whoever is made meanwhile is followed, if
/// its parent was in; who was not comes up in one of the next looks.
/// A session that one of them serves already is taken in where that is asked for, or where that one was named.
fn servers(object: &mut Object, target: &Target, options: &AttachOptions) -> Result<Vec<Record>, Error> {
    let root = target.pid;
    let (mut seeds, mut seen) = (Vec::new(), HashSet::new());
    loop {
        let new: Vec<u32> = proc::tree(root).into_iter().filter(|pid| seen.insert(*pid)).collect();
        if new.is_empty() {
            return Ok(seeds);
        }
        for pid in new {
            let served = if options.existing || pid == root { target::serving(pid).filter(|socket| is_wanted(options, socket)) } else { None };
            let is_screener = proc::comm(pid).is_some_and(|comm| mta::by_name(target.mta).screener() == Some(&comm));
            if is_screener {
                seeds.extend(one_loop(object, target, pid, 0)?);
                continue;
            }
            // A thread that its parent brought in must not begin anew.
            if !object.is_traced(pid) {
                if let Some(socket) = &served {
                    object.add_session(socket.inode, Scanner::new(MODE_UNKNOWN))?;
                }
                trace(object, pid, ROLE_SERVER, served.as_ref())?;
            }
            let role = if served.is_some() { "session" } else { "server" };
            if pid != root || served.is_some() {
                seeds.push(seed::process(pid, role));
            }
            seeds.extend(seed::descriptors(pid, served.as_ref()));
        }
    }
}

/// Takes in an event loop and those of its descendants that run the same program: workers, or services that it asks. Sessions that they serve already
/// are not taken in.
fn loops(object: &mut Object, target: &Target, has_messages: bool) -> Result<Vec<Record>, Error> {
    let (mut seeds, mut seen) = (Vec::new(), HashSet::new());
    loop {
        let is_of_it = |pid: &u32| *pid == target.pid || proc::exe(*pid).as_deref() == Some(&target.exe);
        let new: Vec<u32> = proc::tree(target.pid).into_iter().filter(|pid| is_of_it(pid) && seen.insert(*pid)).collect();
        if new.is_empty() {
            return Ok(seeds);
        }
        for pid in new {
            seeds.extend(one_loop(object, target, pid, u64::from(has_messages))?);
        }
    }
}

fn one_loop(object: &mut Object, target: &Target, pid: u32, has_messages: u64) -> Result<Vec<Record>, Error> {
    let mut seeds = Vec::new();
    if pid != target.pid {
        seeds.push(seed::process(pid, "loop"));
    }
    if !object.is_traced(pid) {
        trace_as(object, pid, ROLE_LOOP, 0, has_messages)?;
    }
    let descriptors = seed::descriptors(pid, None);
    for fd in descriptors.iter().filter_map(|seed| client_of(seed, &target.listening)) {
        object.add_client(pid, fd)?;
    }
    seeds.extend(descriptors);
    Ok(seeds)
}

/// The descriptor in a seed, if it is that of a client: connected, at a port on which the server listens.
fn client_of(seed: &Record, listening: &[Endpoint]) -> Option<u32> {
    let Record::SeedFd(seed) = seed else { return None };
    let socket = seed.socket.as_ref().filter(|socket| socket.peer.is_some())?;
    let port = socket.local.as_ref().and_then(Endpoint::port)?;
    listening.iter().any(|end| end.port() == Some(port)).then(|| u32::try_from(seed.fd).ok()).flatten()
}

/// Takes in the descendants of a daemon that serve sessions already. Every hook is in place, so whoever is accepted from now on is
/// followed anyway; who was accepted but not forked before that comes up in one of the next looks.
fn all_existing(object: &mut Object, daemon: u32, options: &AttachOptions) -> Result<Vec<Record>, Error> {
    let (mut seeds, mut seen) = (Vec::new(), HashSet::from([daemon]));
    loop {
        let new: Vec<u32> = proc::tree(daemon).into_iter().filter(|pid| seen.insert(*pid)).collect();
        if new.is_empty() {
            return Ok(seeds);
        }
        for pid in new {
            seeds.extend(existing(object, pid, options)?.into_iter().flatten());
        }
    }
}

/// Takes a process into the trace that serves a session already; `None`: it does not, or not one that is wanted, or is traced.
fn existing(object: &mut Object, pid: u32, options: &AttachOptions) -> Result<Option<Vec<Record>>, Error> {
    let Some(socket) = target::serving(pid) else { return Ok(None) };
    if !is_wanted(options, &socket) {
        let client = socket.peer.as_ref().and_then(Endpoint::ip);
        return if options.pid == Some(pid) { Err(Error::OtherClient { pid, client }) } else { Ok(None) };
    }
    // A delivery child has its parent's connection too, and is no part of the session.
    if object.is_traced(pid) || object.has_session(socket.inode) {
        return Ok(None);
    }
    object.add_session(socket.inode, Scanner::new(MODE_UNKNOWN))?;
    trace(object, pid, ROLE_SESSION, Some(&socket))?;
    let mut seeds = vec![seed::process(pid, "session")];
    seeds.extend(seed::descriptors(pid, Some(&socket)));
    Ok(Some(seeds))
}

/// Whether the peer of a connection is one whose sessions are wanted.
fn is_wanted(options: &AttachOptions, socket: &SocketId) -> bool {
    let peer = socket.peer.as_ref().and_then(Endpoint::ip);
    options.clients.is_empty() || peer.is_some_and(|peer| options.clients.iter().any(|cidr| cidr.contains(peer)))
}

/// Sets the bits of all threads of a process; what each blocks in comes from /proc, asked for only then, so that nothing is missed.
fn trace(object: &mut Object, pid: u32, role: u8, session: Option<&SocketId>) -> Result<(), Error> {
    let inode = session.map_or(0, |socket| socket.inode);
    let client_fd = session.and_then(|socket| proc::descriptor_of(pid, socket.inode)).and_then(|fd| u64::try_from(fd).ok()).unwrap_or(u64::MAX);
    trace_as(object, pid, role, inode, client_fd)
}

fn trace_as(object: &mut Object, pid: u32, role: u8, inode: u64, more: u64) -> Result<(), Error> {
    for tid in proc::threads(pid) {
        object.request(&[Request::TRACE, tid.into(), pid.into(), role.into(), inode, more])?;
        if let Some((nr, [a, b, c, d, e, f])) = proc::blocked_in(pid, tid) {
            object.request(&[Request::BLOCKED, tid.into(), nr.cast_unsigned(), a, b, c, d, e, f])?;
        }
    }
    Ok(())
}

/// A name as the kernel has it in `task_struct.comm`.
fn comm_words(name: &str) -> [u64; 2] {
    let mut comm = [0; 16];
    comm.iter_mut().zip(name.bytes().take(15)).for_each(|(to, from)| *to = from);
    let (words, _) = comm.as_chunks::<8>();
    [words.first(), words.get(1)].map(|word| word.map_or(0, |word| u64::from_ne_bytes(*word)))
}

fn filters(options: &AttachOptions) -> Result<Vec<Filter>, Error> {
    if options.clients.len() > MAX_FILTERS as usize {
        return Err(Error::TooManyFilters(options.clients.len(), MAX_FILTERS));
    }
    Ok(options
        .clients
        .iter()
        .map(|cidr| {
            let (address, prefix) = match cidr.address() {
                IpAddr::V4(it) => (it.to_ipv6_mapped(), cidr.prefix() + 96),
                IpAddr::V6(it) => (it, cidr.prefix()),
            };
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Filter { address: halves(address.to_bits()), mask: halves(mask) }
        })
        .collect())
}

fn halves(bits: u128) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, low @ ..] = bits.to_be_bytes();
    [u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes(low)]
}

impl Trace {
    /// Hands the records that the ring holds to `take`, at most so many: who writes as fast as we read must not keep us here.
    /// True: there may be more.
    pub fn drain(&mut self, most: usize, mut take: impl FnMut(&[u8])) -> bool {
        let mut taken = 0;
        while taken < most
            && let Some(item) = self.ring.next()
        {
            take(&item);
            taken += 1;
        }
        self.diagnostics.tell();
        taken == most
    }

    /// How many records the ring can hold at most.
    pub fn capacity(&self) -> usize {
        usize::try_from(self.ring_bytes).unwrap_or(usize::MAX) / size_of::<Head>()
    }

    /// Counts of what could not be reported, by `mta_trace_common::event::Loss`.
    pub fn loss(&self) -> [u64; LOSSES as usize] {
        self.object.loss()
    }

    /// Threads that serve sessions and have been blocked in one call for at least so long: tid, state, the arguments of their call.
    pub fn blocked(&self, at_least_ns: u64) -> Vec<(u32, Thread, [u64; 6])> {
        self.blocked_among(at_least_ns, Thread::is_serving)
    }

    /// The same of helpers.
    pub fn helpers_blocked(&self, at_least_ns: u64) -> Vec<(u32, Thread, [u64; 6])> {
        if self.helpers.as_ref().is_none_or(Helpers::is_empty) {
            Vec::new()
        } else {
            self.blocked_among(at_least_ns, |thread| thread.role == ROLE_HELPER)
        }
    }

    fn blocked_among(&self, at_least_ns: u64, is_meant: impl Fn(&Thread) -> bool) -> Vec<(u32, Thread, [u64; 6])> {
        let now = now_ns();
        let is_blocked = |thread: &Thread| {
            thread.state == STATE_BLOCKED && is_meant(thread) && thread.since != 0 && now.saturating_sub(thread.since) >= at_least_ns
        };
        let threads = self.object.threads();
        threads.into_iter().filter(|(_, thread)| is_blocked(thread)).map(|(tid, thread)| (tid, thread, self.object.arguments(&thread))).collect()
    }

    /// Whom sessions have begun to wait for, and who is not waited for any more.
    pub fn look_for_helpers(&mut self) -> Vec<Record> {
        let Self { object, helpers, target, .. } = self;
        let Some(helpers) = helpers else { return Vec::new() };
        let ports: Vec<u16> = target.listening.iter().filter_map(Endpoint::port).collect();
        helpers.look(object, &ports, now_ns())
    }

    /// The entries of a `poll` in which a thread is blocked (`struct pollfd`); none where it has gone on meanwhile, since then its memory is anything.
    pub fn polled(&self, tid: u32, thread: &Thread) -> Vec<[u8; 8]> {
        let [at, count, ..] = self.object.arguments(thread);
        let entries = far_end::polled(thread.tgid, at, count);
        let is_same = |now: Thread| now.state == STATE_BLOCKED && (now.since, now.nr, now.last) == (thread.since, thread.nr, thread.last);
        if self.object.thread(tid).is_some_and(is_same) { entries } else { Vec::new() }
    }

    /// The path of a unix socket, for the sockets at their other ends that were connected before they were seen. Only servers whose processes
    /// live longer than a session have such.
    pub fn unix_path(&self, inode: u64) -> Option<String> {
        (self.target.shape != Shape::ForkPerSession).then(|| proc::unix_path(self.target.pid, inode)).flatten()
    }

    /// The connections of a server that serves one session after another, which are not told of yet.
    pub fn older_connections(&mut self, pid: u32) -> Vec<Record> {
        if self.target.shape == Shape::PreForked { self.older.of(pid) } else { Vec::new() }
    }

    /// The daemon as it is now, if the target is one.
    pub fn daemon(&self) -> Option<Daemon> {
        (!self.target.listening.is_empty()).then(|| daemon::look(self.target.pid, self.target.mta))
    }

    /// Whether the target still exists, or sessions that it began.
    pub fn is_target_alive(&self) -> bool {
        // /proc forgets the program of a process before the hook at the end of each of its threads has told that.
        let is_ours = |thread: &Thread| thread.is_serving() || thread.tgid == self.target.pid;
        proc::exe(self.target.pid).is_some() || self.object.threads().iter().any(|(_, thread)| is_ours(thread))
    }
}
