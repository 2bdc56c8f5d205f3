//! Calls of which no memory, a path, or one small structure is read: descriptors, files, sleeps, timers, waits.
//! One program for each pair of `Capture` and `Emit` in the table.

use super::call::{self};
use crate::{
    emit::{self, Record, reserve, submit},
    maps::count,
    task,
};
use aya_ebpf::{helpers::generated, macros::tracepoint, programs::TracePointContext};
use mta_trace_common::{
    config::Thread,
    event::{FLAG_CUT, FLAG_FAULT, Loss},
};

/// `Nothing`/`Slow`.
#[tracepoint]
pub fn nothing_slow(ctx: TracePointContext) -> u32 {
    if let Some((thread, done)) = call::done(&ctx, false)
        && done.is_slow()
    {
        numbers(thread, &done, true);
    }
    0
}

/// `Nothing`/`Success`.
#[tracepoint]
pub fn nothing_success(ctx: TracePointContext) -> u32 {
    if let Some((thread, done)) = call::done(&ctx, false)
        && (done.ret >= 0 || done.is_slow())
    {
        let wake = done.is_slow();
        numbers(thread, &done, wake);
    }
    0
}

/// `Nothing`/`Always`.
#[tracepoint]
pub fn nothing_always(ctx: TracePointContext) -> u32 {
    if let Some((thread, done)) = call::done(&ctx, false) {
        let wake = done.is_slow();
        numbers(thread, &done, wake);
    }
    0
}

/// `Duplicate`/`Slow`: `fcntl`.
#[tracepoint]
pub fn duplicate_slow(ctx: TracePointContext) -> u32 {
    const F_DUPFD: u64 = 0;
    const F_DUPFD_CLOEXEC: u64 = 1030;
    if let Some((thread, done)) = call::done(&ctx, false) {
        let command = task::argument!(thread, 1) & 0xffff_ffff;
        let is_slow = done.is_slow();
        if is_slow || done.ret >= 0 && (command == F_DUPFD || command == F_DUPFD_CLOEXEC) {
            numbers(thread, &done, is_slow);
        }
    }
    0
}

/// `Pair`/`Success`: `pipe`, `pipe2`.
#[tracepoint]
pub fn pair_success(ctx: TracePointContext) -> u32 {
    structure::<8>(&ctx, 0)
}

#[inline(always)]
fn numbers(thread: &mut Thread, done: &emit::Done, wake: bool) {
    // What a slow call waited on may be a socket (epoll_wait: no).
    if wake {
        let fd = task::argument!(thread, 0);
        task::socket_of(fd, &mut thread.socket);
    }
    let Some(mut entry) = reserve::<Record<0>>() else { return };
    // SAFETY: all fields are written by `fill`.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    emit::fill(&mut record.sys, done, thread);
    submit(entry, wake);
}

/// `Path0`/`Success`.
#[tracepoint]
pub fn path0_success(ctx: TracePointContext) -> u32 {
    path(&ctx, 0, true)
}

/// `Path0`/`Slow`.
#[tracepoint]
pub fn path0_slow(ctx: TracePointContext) -> u32 {
    path(&ctx, 0, false)
}

/// `Path1`/`Success`.
#[tracepoint]
pub fn path1_success(ctx: TracePointContext) -> u32 {
    path(&ctx, 1, true)
}

/// `Path1`/`Slow`.
#[tracepoint]
pub fn path1_slow(ctx: TracePointContext) -> u32 {
    path(&ctx, 1, false)
}

#[inline(always)]
fn path(ctx: &TracePointContext, argument: usize, on_success: bool) -> u32 {
    let Some((thread, done)) = call::done(ctx, false) else { return 0 };
    if !(done.is_slow() || on_success && done.ret >= 0) {
        return 0;
    }
    let Some(mut entry) = reserve::<Record<128>>() else { return 0 };
    // SAFETY: `fill` writes all fields, the helper the data.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    emit::fill(&mut record.sys, &done, thread);
    let at = if argument == 0 { task::argument!(thread, 0) } else { task::argument!(thread, 1) };
    // SAFETY: the destination is as long as said.
    let length = unsafe { generated::bpf_probe_read_user_str(record.data.as_mut_ptr().cast(), 128, at as *const _) };
    if length < 0 {
        record.sys.head.flags |= FLAG_FAULT;
        count(Loss::Fault);
    } else {
        record.sys.head.data_len = length as u32;
        if length == 128 {
            record.sys.head.flags |= FLAG_CUT;
        }
    }
    let wake = done.is_slow();
    submit(entry, wake);
    0
}

/// `Timespec0`/`Always`: `nanosleep`.
#[tracepoint]
pub fn timespec0_always(ctx: TracePointContext) -> u32 {
    structure::<16>(&ctx, 0)
}

/// `Timespec2`/`Always`: `clock_nanosleep`.
#[tracepoint]
pub fn timespec2_always(ctx: TracePointContext) -> u32 {
    structure::<16>(&ctx, 2)
}

/// `Itimer`/`Always`: `setitimer`.
#[tracepoint]
pub fn itimer_always(ctx: TracePointContext) -> u32 {
    structure::<32>(&ctx, 1)
}

#[inline(always)]
fn structure<const N: usize>(ctx: &TracePointContext, argument: usize) -> u32 {
    let Some((thread, done)) = call::done(ctx, false) else { return 0 };
    if N == 8 && done.ret < 0 {
        return 0;
    }
    let Some(mut entry) = reserve::<Record<128>>() else { return 0 };
    // SAFETY: `fill` writes all fields, the helper the data that count.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    emit::fill(&mut record.sys, &done, thread);
    let at = match argument {
        0 => task::argument!(thread, 0),
        1 => task::argument!(thread, 1),
        _ => task::argument!(thread, 2),
    };
    // SAFETY: N is at most 32.
    let error = unsafe { generated::bpf_probe_read_user(record.data.as_mut_ptr().cast(), N as u32, at as *const _) };
    if error == 0 {
        record.sys.head.data_len = N as u32;
    } else {
        record.sys.head.flags |= FLAG_FAULT;
        count(Loss::Fault);
    }
    submit(entry, done.is_slow());
    0
}
