//! How a record gets into the ring: reserved, filled in place, submitted. What does not fit is counted.
//!
//! The size of the data area is a constant of the type, so a record is one of four classes; each
//! variable-length read has its mask right before it. This file holds the only such reads.

use crate::{
    maps::{EVENTS, count, setting},
    task,
};
use aya_ebpf::{
    helpers::{bpf_ktime_get_ns, generated},
    maps::ring_buf::RingBufEntry,
};
use mta_trace_common::{
    config::{STATE_CPU, Thread},
    event::{FLAG_CUT, FLAG_FAULT, FLAG_FIFO, FLAG_PATH, Head, KIND_SYS, Loss, Sys},
    syscalls::Word,
};

/// A system call with `N` bytes of data behind it.
#[repr(C)]
pub struct Record<const N: usize> {
    pub sys: Sys,
    pub data: [u8; N],
}

/// Nobody is woken, since that costs the server an interrupt (Linux kernel/bpf/ringbuf.c, `irq_work_queue`): user space looks regularly.
const BPF_RB_NO_WAKEUP: u64 = 1;

/// Reports a call on a descriptor that is no socket, with the path of its file.
#[inline(never)]
pub fn file(thread: &Thread, which: &Which) {
    let Some(mut entry) = reserve::<Record<1024>>() else { return };
    // SAFETY: `fill` writes all fields, `path_of` the data that count.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    fill(&mut record.sys, which, thread);
    record.sys.head.flags = FLAG_PATH;
    let fd = task::argument!(thread, 0);
    // SAFETY: 1024 bytes are more than a path and a component.
    let (length, is_whole) = unsafe { task::path_of(fd, record.data.as_mut_ptr()) };
    record.sys.head.data_len = length;
    if task::is_fifo(fd) {
        record.sys.head.flags |= FLAG_FIFO;
    }
    if length > 0 && !is_whole {
        record.sys.head.flags |= FLAG_CUT;
        count(Loss::Truncated);
    }
    submit(entry);
}

/// Reserves a record, or counts its loss.
#[inline(always)]
pub fn reserve<T: 'static>() -> Option<RingBufEntry<T>> {
    let entry = EVENTS.reserve::<T>(0);
    if entry.is_none() {
        count(Loss::Ring);
    }
    entry
}

/// Submits.
#[inline(always)]
pub fn submit<T: 'static>(entry: RingBufEntry<T>) {
    entry.submit(BPF_RB_NO_WAKEUP);
}

#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: helper without preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// Head of a record about the thread itself, its counters brought up to `t`.
#[inline(always)]
pub fn head(kind: u16, t: u64, tid: u32, thread: &Thread) -> Head {
    let running = if thread.state == STATE_CPU { t.saturating_sub(thread.last) } else { 0 };
    Head { kind, flags: 0, data_len: 0, t, tgid: thread.tgid, tid, cpu: thread.cpu + running, blocked: thread.blocked, runqueue: thread.runqueue }
}

/// Which call is being reported: of which thread, and what the table says of it. What came of it stands in `Thread::done`.
pub struct Which {
    pub tid: u32,
    pub word: Word,
}

/// Whether the call blocked for at least the threshold.
#[inline(always)]
pub fn is_slow(thread: &Thread) -> bool {
    thread.done.since != 0 && thread.done.blocked_in >= setting!(min_wait_ns)
}

/// Reports a call without any of its bytes.
#[inline(always)]
pub fn bare(thread: &Thread, which: &Which, flags: u16, smtp_mode: u8) {
    let Some(mut entry) = reserve::<Record<0>>() else { return };
    // SAFETY: `fill` writes all fields.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    fill(&mut record.sys, which, thread);
    record.sys.head.flags = flags;
    record.sys.smtp_mode = smtp_mode;
    submit(entry);
}

/// Fills all of `Sys` but the SMTP fields.
#[inline(always)]
pub fn fill(sys: &mut Sys, which: &Which, thread: &Thread) {
    sys.head = head(KIND_SYS, now(), which.tid, thread);
    sys.nr = thread.done.nr as i32;
    sys.smtp_mode = 0;
    sys.carry_len = 0;
    sys.reserved = 0;
    sys.ret = thread.done.ret;
    sys.since = thread.done.since;
    sys.blocked_in = thread.done.blocked_in;
    sys.cpu_since = thread.cpu_since;
    sys.runqueue_since = thread.runqueue_since;
    sys.args = task::arguments(thread);
    // SAFETY: both are `Socket`s, seven words long and aligned.
    unsafe { copy_words::<7>((&raw mut sys.socket).cast(), (&raw const thread.socket).cast()) };
    // SAFETY: `carry` is two words long; it lies at a multiple of 8.
    unsafe { zero_words::<2>((&raw mut sys.carry).cast()) };
}

/// Copies words. A plain assignment would become a call of `memcpy`, which goes byte by byte.
///
/// # Safety
/// Both point to `N` aligned words.
#[inline(always)]
pub unsafe fn copy_words<const N: usize>(to: *mut u64, from: *const u64) {
    let mut i = 0;
    while i < N {
        // SAFETY: as promised by the caller.
        unsafe { to.add(i).write_volatile(from.add(i).read_volatile()) };
        i += 1;
    }
}

/// Clears words. A plain assignment would become a call of `memset`, which goes byte by byte.
///
/// # Safety
/// There are `N` aligned words.
#[inline(always)]
pub unsafe fn zero_words<const N: usize>(words: *mut u64) {
    let mut i = 0;
    while i < N {
        // SAFETY: as promised by the caller.
        unsafe { words.add(i).write_volatile(0) };
        i += 1;
    }
}

/// Copies up to `N` of `length` bytes from the process into the record.
#[inline(always)]
pub fn copy<const N: usize>(record: &mut Record<N>, at: u64, length: u64) {
    if length > N as u64 - 1 {
        record.sys.head.flags |= FLAG_CUT;
        count(Loss::Truncated);
    }
    // `N` is a power of two: the mask turns what does not fit into less, and stands right before the read, since
    // the verifier forgets bounds of spilled values. The last byte of a full buffer is given up for that.
    let wanted = mask(length, N as u32 - 1);
    // SAFETY: `wanted` is less than N.
    let error = unsafe { generated::bpf_probe_read_user(record.data.as_mut_ptr().cast(), wanted, at as *const _) };
    record.sys.head.data_len = if failed(record, error) { 0 } else { wanted };
}

/// Copies up to `N / 2` bytes behind what stands in the record already (less than `N / 2`).
#[inline(always)]
pub fn copy_behind<const N: usize>(record: &mut Record<N>, at: u64, length: u64) {
    if length > N as u64 / 2 - 1 {
        record.sys.head.flags |= FLAG_CUT;
        count(Loss::Truncated);
    }
    let skip = mask(u64::from(record.sys.head.data_len), N as u32 / 2 - 1);
    let wanted = mask(length, N as u32 / 2 - 1);
    // SAFETY: both are less than N / 2.
    let error = unsafe { generated::bpf_probe_read_user(record.data.as_mut_ptr().add(skip as usize).cast(), wanted, at as *const _) };
    if !failed(record, error) {
        record.sys.head.data_len = skip + wanted;
    }
}

/// The smaller of a length and `most` (a power of two less one), in a form that the verifier follows.
#[inline(always)]
fn mask(length: u64, most: u32) -> u32 {
    let bounded = if length > u64::from(most) { u64::from(most) } else { length };
    core::hint::black_box(bounded as u32) & most
}

#[inline(always)]
fn failed<const N: usize>(record: &mut Record<N>, error: i64) -> bool {
    if error != 0 {
        record.sys.head.flags |= FLAG_FAULT;
        count(Loss::Fault);
    }
    error != 0
}
