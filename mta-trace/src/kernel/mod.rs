//! The kernel's side of user space: finds the target, loads and attaches the hooks, hands out what the ring holds.
//!
//! In: [`crate::options::AttachOptions`]. Out: bytes of records, seeds of what existed before, counts of loss. The only
//! module that knows aya, BTF and /proc. Not here: what a record means (`decode/`).

mod btf;
mod diagnostics;
mod error;
mod object;
mod offsets;
mod probe;
mod proc;
mod seed;
mod target;
mod tracefs;

pub use error::Error;
pub use probe::{Probe, other_tracers, probe};
pub use target::Target;
pub use tracefs::prepare as prepare_tracefs;

use crate::{
    event::{Record, SocketId},
    options::AttachOptions,
};
use aya::maps::{MapData, RingBuf};
use diagnostics::Diagnostics;
use mta_trace_common::{
    config::{Filter, MAX_FILTERS, ROLE_DAEMON, ROLE_SESSION, Request, STATE_BLOCKED, STATE_CPU, Settings, Thread},
    smtp::{MODE_UNKNOWN, Scanner},
};
use object::Object;
use std::{
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd},
};

/// Attached hooks. Dropping it detaches them; the kernel does so too when the process dies.
pub struct Trace {
    object: Object,
    diagnostics: Diagnostics,
    ring: RingBuf<MapData>,
    /// What is traced.
    pub target: Target,
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
    let began = now_ns();
    let filters = filters(options)?;
    let is_daemon = !target.listening.is_empty();
    let settings = Settings {
        min_wait_ns: options.min_wait_ns,
        filters: u32::try_from(filters.len()).unwrap_or(u32::MAX),
        follow_accept: u32::from(is_daemon),
        unfiltered: u32::from(cfg!(feature = "unsafe-unfiltered")),
        reserved: 0,
    };
    let mut object = Object::load(settings, &filters)?;
    let ring = object.ring()?;
    let diagnostics = object.diagnostics()?;
    object.attach_processes()?;
    let mut seeds = vec![seed::process(target.pid, if is_daemon { "daemon" } else { "session" })];
    seeds.extend(seed::resolv_conf(target.pid));
    if is_daemon {
        trace(&mut object, target.pid, ROLE_DAEMON, 0)?;
        if options.existing {
            for pid in proc::tree(target.pid).into_iter().skip(1) {
                seeds.extend(existing(&mut object, pid, true)?);
            }
        }
    } else {
        seeds.pop_if(|seed| matches!(seed, Record::SeedProc(_)));
        seeds.retain(|seed| !matches!(seed, Record::SeedProc(_)));
        seeds.extend(existing(&mut object, target.pid, false)?);
    }
    object.attach_calls()?;
    if proc::exe(target.pid).is_none() {
        return Err(Error::Vanished(target.pid));
    }
    Ok(Trace { object, diagnostics, ring, target, seeds, attach_ns: [began, now_ns()] })
}

/// Takes a process into the trace that serves a session already.
fn existing(object: &mut Object, pid: u32, may_vanish: bool) -> Result<Vec<Record>, Error> {
    let Some(serving) = target::serving(pid) else {
        return if may_vanish { Ok(Vec::new()) } else { Err(Error::Vanished(pid)) };
    };
    object.add_session(serving.socket.inode, Scanner::new(MODE_UNKNOWN))?;
    trace(object, pid, ROLE_SESSION, serving.socket.inode)?;
    let mut seeds = vec![seed::process(pid, "session")];
    seeds.extend(seed::descriptors(pid, Some(&serving)));
    Ok(seeds)
}

/// Sets the bits of all threads of a process; what each blocks in comes from /proc.
fn trace(object: &mut Object, pid: u32, role: u8, session: u64) -> Result<(), Error> {
    for tid in proc::threads(pid) {
        let blocked = proc::blocked_in(pid, tid);
        let state = if blocked.is_some() { STATE_BLOCKED } else { STATE_CPU };
        let nr = blocked.map_or(-1, |(nr, _)| nr);
        object.request(&[Request::TRACE, tid.into(), pid.into(), role.into(), state.into(), nr.cast_unsigned(), session])?;
    }
    Ok(())
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
    /// Hands every record that the ring holds to `take`.
    pub fn drain(&mut self, mut take: impl FnMut(&[u8])) {
        while let Some(item) = self.ring.next() {
            take(&item);
        }
        self.diagnostics.tell();
    }

    /// Counts of what could not be reported, by `mta_trace_common::event::Loss`.
    pub fn loss(&self) -> [u64; 4] {
        self.object.loss()
    }

    /// Threads that serve sessions and are blocked now: tid, state, the arguments of their call.
    pub fn blocked(&self) -> Vec<(u32, Thread, [u64; 6])> {
        let is_blocked = |thread: &Thread| thread.state == STATE_BLOCKED && thread.role == ROLE_SESSION && thread.since != 0;
        let threads = self.object.threads();
        threads.into_iter().filter(|(_, thread)| is_blocked(thread)).map(|(tid, thread)| (tid, thread, self.object.arguments(&thread))).collect()
    }

    /// The socket behind a descriptor of a process, and its peer, from /proc: for a call that has not returned.
    pub fn socket_behind(&self, pid: u32, fd: i32) -> Option<SocketId> {
        proc::socket_behind(pid, fd)
    }

    /// Whether the target still exists.
    pub fn is_target_alive(&self) -> bool {
        proc::exe(self.target.pid).is_some()
    }
}

impl AsFd for Trace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}
