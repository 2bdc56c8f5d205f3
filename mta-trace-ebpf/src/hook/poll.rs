//! `poll`, `ppoll` (the array is read at the exit: `fd` and `events` are unchanged, `revents` is filled) and `select`, `pselect6`,
//! whose sets and time-out the kernel overwrites when it returns: they are read when the thread blocks, since only then the call is told.

use crate::{
    emit::{self, Record, Which, is_slow, reserve, submit},
    maps::count,
    task,
};
use aya_ebpf::helpers::{bpf_probe_read_user, generated};
use mta_trace_common::{
    config::Thread,
    event::{FLAG_CUT, Loss, Selects},
    syscalls::{Capture, Word},
};

/// 15 entries of 8 bytes fit into a record.
const POLL_FDS: u64 = 15;

/// `poll` or `ppoll` has returned.
#[inline(always)]
pub fn poll(thread: &mut Thread, which: &Which) {
    if !is_slow(thread) {
        return;
    }
    let (at, descriptors) = (task::argument!(thread, 0), task::argument!(thread, 1));
    // SAFETY: the helper checks the address.
    thread.waited_fd = if descriptors == 1 { unsafe { bpf_probe_read_user(at as *const i32) }.unwrap_or(-1) } else { -1 };
    let Some(mut entry) = reserve::<Record<128>>() else { return };
    // SAFETY: `fill` writes all fields, `copy` the data that count.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    emit::fill(&mut record.sys, which, thread);
    if descriptors > POLL_FDS {
        record.sys.head.flags |= FLAG_CUT;
        count(Loss::Truncated);
    }
    emit::copy(record, at, if descriptors > POLL_FDS { POLL_FDS } else { descriptors } * 8);
    submit(entry);
}

/// The thread blocks in a call; if that is a `select`, what it was asked is still there.
#[inline(always)]
pub fn blocks(thread: &mut Thread, word: Word) {
    let is_pselect = word.captures(Capture::Pselects);
    thread.selects_valid = 0;
    if !is_pselect && !word.captures(Capture::Selects) {
        return;
    }
    thread.selects.sets = [[0; 2]; 3];
    let descriptors = task::argument!(thread, 0) & 0xffff_ffff;
    set(&mut thread.selects.sets[0], task::argument!(thread, 1), descriptors);
    set(&mut thread.selects.sets[1], task::argument!(thread, 2), descriptors);
    set(&mut thread.selects.sets[2], task::argument!(thread, 3), descriptors);
    thread.selects.timeout = -1;
    let timeout = task::argument!(thread, 4);
    if timeout != 0 {
        // SAFETY: the helper checks the address.
        if let Ok([seconds, fraction]) = unsafe { bpf_probe_read_user(timeout as *const [i64; 2]) } {
            // Nanoseconds of a `timespec`, microseconds of a `timeval`.
            thread.selects.timeout = seconds * 1_000_000_000 + if is_pselect { fraction } else { fraction * 1000 };
        }
    }
    thread.selects_valid = 1;
}

#[inline(always)]
fn set(words: &mut [u64; 2], at: u64, descriptors: u64) {
    if at == 0 {
        return;
    }
    // An `fd_set` of the C library has 1024 bits, but a caller may give the kernel just the words that count.
    // SAFETY: the helper checks the address.
    words[0] = unsafe { bpf_probe_read_user(at as *const u64) }.unwrap_or(0);
    if descriptors > 64 {
        // SAFETY: the helper checks the address.
        words[1] = unsafe { bpf_probe_read_user((at + 8) as *const u64) }.unwrap_or(0);
    }
}

/// `select` or `pselect6` has returned.
#[inline(always)]
pub fn select(thread: &mut Thread, which: &Which) {
    let is_valid = thread.selects_valid == 1;
    thread.selects_valid = 0;
    if thread.done.since == 0 {
        return;
    }
    thread.waited_fd = if is_valid { only(&thread.selects) } else { -1 };
    if !is_slow(thread) {
        return;
    }
    let Some(mut entry) = reserve::<Record<128>>() else { return };
    // SAFETY: `fill` writes all fields, the copy the data that count.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    emit::fill(&mut record.sys, which, thread);
    if is_valid {
        // SAFETY: 128 bytes hold a `Selects`; both are aligned to 8.
        unsafe {
            generated::bpf_probe_read_kernel(record.data.as_mut_ptr().cast(), size_of::<Selects>() as u32, (&raw const thread.selects).cast());
        }
        record.sys.head.data_len = size_of::<Selects>() as u32;
    }
    if task::argument!(thread, 0) > 128 {
        record.sys.head.flags |= FLAG_CUT;
        count(Loss::Truncated);
    }
    submit(entry);
}

/// The one descriptor below 64 that is waited for to become readable, if it is the only one.
#[inline(always)]
fn only(selects: &Selects) -> i32 {
    let [[low, high], [write, write_high], _] = selects.sets;
    if high | write | write_high != 0 || low == 0 || low & (low - 1) != 0 {
        return -1;
    }
    let mut fd = 0;
    while fd < 64 {
        if low >> fd & 1 == 1 {
            return fd;
        }
        fd += 1;
    }
    -1
}
