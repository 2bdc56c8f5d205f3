//! Maps and globals: everything that is shared with user space. Each table has a bound, and what does not
//! fit is counted in `LOSS`.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, ProgramArray, RingBuf},
};
use core::intrinsics::{AtomicOrdering::Relaxed, atomic_xadd};
use mta_trace_common::{
    config::{Filter, MAX_FILTERS, Offsets, Settings, Thread},
    event::{LOSSES, Loss},
    smtp::Scanner,
    syscalls::{NUMBERS, Word},
};

/// Checked by the loader.
#[unsafe(no_mangle)]
static ABI_VERSION: u32 = mta_trace_common::ABI_VERSION;

/// Set by the loader before the object is loaded; constant for the verifier.
#[unsafe(no_mangle)]
pub static OFFSETS: Offsets = Offsets::ZERO;

/// Set by the loader before the object is loaded; constant for the verifier.
#[unsafe(no_mangle)]
pub static SETTINGS: Settings = Settings::ZERO;

/// One bit per thread id, up to the kernel's limit of 4,194,304: is it traced? Changed only in the kernel.
#[map]
pub static BITS: Array<u64> = Array::with_max_entries(65536, 0);

/// One bit per thread id: has it blocked in the call that it is in (`Thread::since` is set)? Of nearly all calls this is all that is asked.
#[map]
pub static BLOCKED: Array<u64> = Array::with_max_entries(65536, 0);

/// Accounting and call state of traced threads, by tid.
#[map]
pub static THREADS: HashMap<u32, Thread> = HashMap::with_max_entries(16384, 0);

/// SMTP state of the sessions, by inode of the client's socket.
#[map]
pub static SESSIONS: HashMap<u64, Scanner> = HashMap::with_max_entries(16384, 0);

/// Sockets of the clients of an event loop, by process (upper half) and descriptor, since a `close` tells no socket any more; 0: nobody who is wanted.
#[map]
pub static CLIENTS: HashMap<u64, u64> = HashMap::with_max_entries(16384, 0);

/// How many sessions of event loops are open: without any, nothing of theirs is reported but accepts.
#[map]
pub static OPEN: Array<u64> = Array::with_max_entries(1, 0);

/// Connections whose protocol was recognised by its first bytes, by socket inode: `PEER_*`.
#[map]
pub static PEERS: LruHashMap<u64, u8> = LruHashMap::with_max_entries(16384, 0);

/// What the table says of each system call number (`Word`), 0: not hooked. Filled by the loader, for the scheduler's hooks.
#[map]
pub static CALLS: Array<u32> = Array::with_max_entries(NUMBERS, 0);

/// The program of each hooked call behind the tracepoint of all calls, by its number. Filled by the loader.
#[map]
pub static HANDLERS: ProgramArray = ProgramArray::with_max_entries(NUMBERS, 0);

/// One bit per port on which the traced daemon listens. Filled by the loader.
#[map]
pub static PORTS: Array<u64> = Array::with_max_entries(1024, 0);

/// When connections to those ports were established, by `struct sock *`, until they are accepted. Old ones make room.
#[map]
pub static ESTABLISHED: LruHashMap<u64, u64> = LruHashMap::with_max_entries(16384, 0);

/// Peers whose sessions are wanted.
#[map]
pub static FILTERS: Array<Filter> = Array::with_max_entries(MAX_FILTERS, 0);

/// The ring; its size is set by the loader.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(4 * 1024 * 1024, 0);

/// What could not be reported, by `Loss`.
#[map]
pub static LOSS: PerCpuArray<u64> = PerCpuArray::with_max_entries(LOSSES, 0);

#[inline(always)]
pub fn count(loss: Loss) {
    if let Some(counter) = LOSS.get_ptr_mut(loss as u32) {
        // SAFETY: a valid pointer into this CPU's value. Atomic, since programs can be preempted by others of their kind.
        unsafe { atomic_xadd::<u64, u64, { Relaxed }>(counter, 1) };
    }
}

/// Reads one field of `OFFSETS`: volatile, or the compiler would take the initial zero.
macro_rules! offset {
    ($field:ident) => {
        // SAFETY: a plain read of a static.
        unsafe { core::ptr::read_volatile(&raw const $crate::maps::OFFSETS.$field) as usize }
    };
    ($field:ident[$i:expr]) => {
        // SAFETY: a plain read of a static; the index is a literal within the array.
        unsafe { core::ptr::read_volatile(&raw const $crate::maps::OFFSETS.$field[$i]) as usize }
    };
}
pub(crate) use offset;

/// Reads one field of `SETTINGS`.
macro_rules! setting {
    ($field:ident) => {
        // SAFETY: a plain read of a static.
        unsafe { core::ptr::read_volatile(&raw const $crate::maps::SETTINGS.$field) }
    };
    ($field:ident[$i:expr]) => {
        // SAFETY: a plain read of a static; the index is a literal within the array.
        unsafe { core::ptr::read_volatile(&raw const $crate::maps::SETTINGS.$field[$i]) }
    };
}
pub(crate) use setting;

/// Keeps `ABI_VERSION` in the object.
#[inline(always)]
pub fn abi_version() -> u32 {
    // SAFETY: a plain read of a static.
    unsafe { core::ptr::read_volatile(&raw const ABI_VERSION) }
}

/// What the table says of a system call number.
#[inline(always)]
pub fn word(nr: i64) -> Word {
    // `int`; what is negative becomes a large index, and none is there.
    Word(CALLS.get(nr as u32).copied().unwrap_or(0))
}
