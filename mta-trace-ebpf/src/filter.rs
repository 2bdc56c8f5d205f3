//! Who is traced: the bitmap over thread ids, and the addresses whose sessions are wanted.

use crate::maps::{BITS, FILTERS, setting};
use core::intrinsics::{AtomicOrdering::Relaxed, atomic_and, atomic_or};
use mta_trace_common::{config::MAX_FILTERS, event::Socket};

/// The one test that every hook makes first.
#[inline(always)]
pub fn is_traced(tid: u32) -> bool {
    match BITS.get(tid >> 6) {
        Some(word) => word & (1 << (tid & 63)) != 0,
        None => false,
    }
}

/// Sets the bit of a thread.
#[inline(always)]
pub fn trace(tid: u32) {
    if let Some(word) = BITS.get_ptr_mut(tid >> 6) {
        // SAFETY: a valid pointer into the map; the operation is atomic.
        unsafe { atomic_or::<u64, u64, { Relaxed }>(word, 1 << (tid & 63)) };
    }
}

/// Clears the bit of a thread.
#[inline(always)]
pub fn forget(tid: u32) {
    if let Some(word) = BITS.get_ptr_mut(tid >> 6) {
        // SAFETY: a valid pointer into the map; the operation is atomic.
        unsafe { atomic_and::<u64, u64, { Relaxed }>(word, !(1 << (tid & 63))) };
    }
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
