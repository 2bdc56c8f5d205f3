//! Who is traced: the bitmaps over thread ids, and the ports and addresses whose sessions are wanted.

use crate::maps::{BITS, BLOCKED, CLIENTS, FILTERS, OPEN, PORTS, SESSIONS, count, setting};
use aya_ebpf::{helpers::generated, maps::Array};
use core::ffi::c_void;
use core::intrinsics::{AtomicOrdering::Relaxed, atomic_and, atomic_or, atomic_xadd, atomic_xsub};
use mta_trace_common::{
    config::MAX_FILTERS,
    event::{Loss, Socket},
};

/// The one test that every hook makes first.
#[inline(always)]
pub fn is_traced(tid: u32) -> bool {
    is_set(&BITS, tid)
}

/// Takes a thread into the trace.
#[inline(always)]
pub fn trace(tid: u32) {
    set(&BITS, tid);
}

/// Leaves a thread out of the trace.
#[inline(always)]
pub fn forget(tid: u32) {
    clear(&BITS, tid);
    clear(&BLOCKED, tid);
}

/// Whether a traced thread has blocked in the call that it is in.
#[inline(always)]
pub fn has_blocked(tid: u32) -> bool {
    is_set(&BLOCKED, tid)
}

/// It has.
#[inline(always)]
pub fn mark_blocked(tid: u32) {
    set(&BLOCKED, tid);
}

/// What it blocked in is over, and told.
#[inline(always)]
pub fn clear_blocked(tid: u32) {
    clear(&BLOCKED, tid);
}

/// Whether the traced daemon listens on this port.
#[inline(always)]
pub fn listens_on(port: u16) -> bool {
    PORTS.get(u32::from(port >> 6)).is_some_and(|word| word >> (port & 63) & 1 == 1)
}

#[inline(always)]
fn is_set(bits: &Array<u64>, tid: u32) -> bool {
    match bits.get(tid >> 6) {
        Some(word) => word & (1 << (tid & 63)) != 0,
        None => false,
    }
}

#[inline(always)]
fn set(bits: &Array<u64>, tid: u32) {
    if let Some(word) = bits.get_ptr_mut(tid >> 6) {
        // SAFETY: a valid pointer into the map; the operation is atomic.
        unsafe { atomic_or::<u64, u64, { Relaxed }>(word, 1 << (tid & 63)) };
    }
}

#[inline(always)]
fn clear(bits: &Array<u64>, tid: u32) {
    if let Some(word) = bits.get_ptr_mut(tid >> 6) {
        // SAFETY: a valid pointer into the map; the operation is atomic.
        unsafe { atomic_and::<u64, u64, { Relaxed }>(word, !(1 << (tid & 63))) };
    }
}

/// Whether a session of an event loop is open that is wanted.
#[inline(always)]
pub fn is_any_open() -> bool {
    OPEN.get(0).is_some_and(|open| *open != 0)
}

/// An event loop has accepted a client; `inode` is that of one whose sessions are wanted, else 0.
#[inline(always)]
pub fn opened(tgid: u32, fd: u32, inode: u64) {
    // One whose end was missed had the descriptor before.
    closed(tgid, fd);
    if CLIENTS.insert(client_key(tgid, fd), inode, 0).is_err() {
        count(Loss::Tables);
    } else if inode != 0
        && let Some(open) = OPEN.get_ptr_mut(0)
    {
        // SAFETY: a valid pointer into the map; the operation is atomic.
        unsafe { atomic_xadd::<u64, u64, { Relaxed }>(open, 1) };
    }
}

/// `CLIENTS`: the session goes on in another process, whatever becomes of this descriptor. No inode has so many bits (`get_next_ino` counts 32).
const PASSED: u64 = 1 << 63;

/// An event loop passes a client on to another process. Gives whether its sessions are wanted.
#[inline(always)]
pub fn passed(tgid: u32, fd: u32) -> bool {
    let Some(inode) = CLIENTS.get_ptr_mut(client_key(tgid, fd)) else { return false };
    // SAFETY: map values live as long as the program runs; the thread is the only one that changes this one.
    let inode = unsafe { &mut *inode };
    let is_wanted = *inode != 0;
    if is_wanted {
        *inode |= PASSED;
    }
    is_wanted
}

/// An event loop has made another descriptor of one that may be a client's. Gives whether it is.
#[inline(always)]
pub fn duplicated(tgid: u32, from: u32, to: u32) -> bool {
    let Some(inode) = CLIENTS.get_ptr_mut(client_key(tgid, from)) else { return false };
    // `dup2(fd, fd)`
    if from == to {
        return true;
    }
    // SAFETY: as above.
    let inode = unsafe { &mut *inode };
    opened(tgid, to, *inode & !PASSED);
    if *inode != 0 {
        *inode |= PASSED;
    }
    true
}

/// An event loop closes a descriptor. Gives whether it was a client's.
#[inline(always)]
pub fn closed(tgid: u32, fd: u32) -> bool {
    let key = client_key(tgid, fd);
    let Some(inode) = CLIENTS.get_ptr(key) else { return false };
    // SAFETY: map values live as long as the program runs.
    let inode = unsafe { *inode };
    let is_removed = CLIENTS.remove(key).is_ok();
    if is_removed && inode != 0 {
        if inode & PASSED == 0 {
            let _ = SESSIONS.remove(inode);
        }
        if let Some(open) = OPEN.get_ptr_mut(0) {
            // SAFETY: as above.
            unsafe { atomic_xsub::<u64, u64, { Relaxed }>(open, 1) };
        }
    }
    true
}

/// An event loop has ended: whom it has not closed is nobody's any more.
#[inline(always)]
pub fn ended(tgid: u32) {
    let mut tgid = tgid;
    // SAFETY: the callback's signature is the one that the helper wants for a hash table (5.13).
    unsafe {
        generated::bpf_for_each_map_elem((&raw const CLIENTS).cast_mut().cast(), ended_client as *mut c_void, (&raw mut tgid).cast(), 0);
    }
}

/// `bpf_for_each_map_elem` callback: one of [`CLIENTS`].
extern "C" fn ended_client(_map: *mut c_void, key: *const u64, _inode: *const u64, tgid: *const u32) -> i64 {
    // SAFETY: the helper gives a key of the table, and what `ended` keeps alive.
    let (key, tgid) = unsafe { (*key, *tgid) };
    if (key >> 32) as u32 == tgid {
        closed(tgid, key as u32);
    }
    0
}

#[inline(always)]
fn client_key(tgid: u32, fd: u32) -> u64 {
    u64::from(tgid) << 32 | u64::from(fd)
}

const AF_INET: u16 = 2;

/// Whether sessions of the socket's peer are wanted.
#[inline(always)]
pub fn matches_peer(socket: &Socket) -> bool {
    let filters = setting!(filters);
    if filters == 0 {
        return true;
    }
    let peer = socket.peer;
    let (high, low) = if socket.family == AF_INET {
        (0, 0xffff_u64 << 32 | u64::from(u32::from_be_bytes([peer[0], peer[1], peer[2], peer[3]])))
    } else {
        (half(&peer, 0), half(&peer, 8))
    };
    let mut i = 0;
    while i < MAX_FILTERS {
        if i >= filters {
            return false;
        }
        if let Some(filter) = FILTERS.get(i)
            && (high ^ filter.address[0]) & filter.mask[0] == 0
            && (low ^ filter.address[1]) & filter.mask[1] == 0
        {
            return true;
        }
        i += 1;
    }
    false
}

#[inline(always)]
fn half(bytes: &[u8; 16], at: usize) -> u64 {
    // SAFETY: `at` is 0 or 8.
    u64::from_be(unsafe { bytes.as_ptr().add(at).cast::<u64>().read_unaligned() })
}
