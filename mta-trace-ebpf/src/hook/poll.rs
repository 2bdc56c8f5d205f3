//! `poll`, `ppoll` (array read at exit: `fd` and `events` are unchanged, `revents` is filled) and `select`,
//! `pselect6` (sets and time-out are read at ENTRY, since the kernel overwrites them).

use super::call;
use crate::{
    emit::{self, Record, reserve, submit},
    filter::is_traced,
    maps::{THREADS, count},
    task,
};
use aya_ebpf::{
    helpers::{bpf_probe_read_user, generated},
    macros::tracepoint,
    programs::TracePointContext,
};
use mta_trace_common::event::{FLAG_CUT, Loss, Selects};

/// `PollFds`/`Slow`.
#[tracepoint]
pub fn pollfds_slow(ctx: TracePointContext) -> u32 {
    let Some((thread, done)) = call::done(&ctx, false) else { return 0 };
    if !done.is_slow() {
        return 0;
    }
    let Some(mut entry) = reserve::<Record<128>>() else { return 0 };
    // SAFETY: `fill` writes all fields, `copy` the data that count.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    emit::fill(&mut record.sys, &done, thread);
    // 15 entries of 8 bytes.
    let wanted = if task::argument!(thread, 1) > 15 { 15 } else { task::argument!(thread, 1) };
    if task::argument!(thread, 1) > 15 {
        record.sys.head.flags |= FLAG_CUT;
        count(Loss::Truncated);
    }
    let at = task::argument!(thread, 0);
    emit::copy(record, at, wanted * 8);
    submit(entry, true);
    0
}

/// `Selects` at entry; arguments stand in the tracepoint's record from word 2 on.
#[tracepoint]
pub fn selects_enter(ctx: TracePointContext) -> u32 {
    let (_, tid) = task::ids();
    if !is_traced(tid) {
        return 0;
    }
    let Some(thread) = THREADS.get_ptr_mut(tid) else { return 0 };
    // SAFETY: map values live as long as the program runs; only this thread writes this field.
    let thread = unsafe { &mut *thread };
    thread.selects.sets = [[0; 2]; 3];
    let descriptors = task::tracepoint_word(&ctx, 2) as u64;
    set(&mut thread.selects.sets[0], task::tracepoint_word(&ctx, 3) as u64, descriptors);
    set(&mut thread.selects.sets[1], task::tracepoint_word(&ctx, 4) as u64, descriptors);
    set(&mut thread.selects.sets[2], task::tracepoint_word(&ctx, 5) as u64, descriptors);
    thread.selects.timeout = -1;
    let timeout = task::tracepoint_word(&ctx, 6) as u64;
    if timeout != 0 {
        // SAFETY: the helper checks the address.
        if let Ok([seconds, fraction]) = unsafe { bpf_probe_read_user(timeout as *const [i64; 2]) } {
            // `pselect6` gives nanoseconds, `select` microseconds.
            let is_select = task::tracepoint_word(&ctx, 1) as i32 == mta_trace_common::syscalls::Call::Select.row().number();
            thread.selects.timeout = seconds * 1_000_000_000 + if is_select { fraction * 1000 } else { fraction };
        }
    }
    thread.selects_valid = 1;
    0
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

/// `Selects`/`Slow`.
#[tracepoint]
pub fn selects_slow(ctx: TracePointContext) -> u32 {
    let Some((thread, done)) = call::done(&ctx, false) else { return 0 };
    let is_valid = thread.selects_valid == 1;
    thread.selects_valid = 0;
    if !done.is_slow() {
        return 0;
    }
    let Some(mut entry) = reserve::<Record<128>>() else { return 0 };
    // SAFETY: `fill` writes all fields, the copy the data that count.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    emit::fill(&mut record.sys, &done, thread);
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
    submit(entry, true);
    0
}
