//! Calls of which no memory, a path, or one small structure is read: descriptors, files, sleeps, timers, waits.

use crate::{
    emit::{self, Record, Which, is_slow, reserve, submit},
    filter,
    maps::{SESSIONS, count},
    task,
};
use aya_ebpf::helpers::generated;
use mta_trace_common::{
    config::{ACCEPTED_MATCHED, ROLE_DAEMON, ROLE_LOOP, ROLE_SERVER, Thread},
    event::{FLAG_CUT, FLAG_FAULT, Loss},
    syscalls::{Capture, Emit},
};

/// A completed call of this family.
#[inline(always)]
pub fn call(thread: &mut Thread, which: &Which) {
    let is = |capture| which.word.captures(capture);
    let fd = task::argument!(thread, 0) as u32;
    let is_duplicate = thread.done.ret >= 0 && (is(Capture::Duplicate) || is(Capture::Control) && is_dupfd(thread));
    let is_client = thread.role == ROLE_LOOP
        && (is(Capture::Closed) && filter::closed(thread.tgid, fd) || is_duplicate && filter::duplicated(thread.tgid, fd, thread.done.ret as u32));
    let is_known = is_client || which.word.emits(Emit::Known) && thread.role != ROLE_LOOP && thread.knows_socket(fd);
    if is(Capture::Closed) {
        thread.know_socket(fd, false);
    }
    if is_duplicate {
        thread.know_socket(thread.done.ret as u32, is_known);
        if fd as i32 == thread.client_fd {
            thread.client_fd = thread.done.ret as i32;
        }
    }
    told(thread, which, is_known, is_duplicate);
    if is(Capture::Closed) && (thread.role == ROLE_SERVER || thread.role == ROLE_DAEMON) && fd as i32 == thread.client_fd {
        served(thread);
    }
}

/// A server has closed its client's descriptor: what it does until its next accept is nobody's. So has a daemon that has answered by itself and forked for
/// nobody (Exim at `smtp_accept_max`); where a child serves the client, the fork has taken the session from the daemon before.
#[inline(always)]
fn served(thread: &mut Thread) {
    if thread.accepted == ACCEPTED_MATCHED {
        let _ = SESSIONS.remove(thread.session);
    }
    thread.accepted = 0;
    thread.client_fd = -1;
}

/// Tells a call if it is wanted.
#[inline(always)]
fn told(thread: &mut Thread, which: &Which, is_known: bool, is_duplicate: bool) {
    let is = |capture| which.word.captures(capture);
    let is_wanted = is_slow(thread)
        || which.word.emits(Emit::Always)
        || which.word.emits(Emit::Success) && thread.done.ret >= 0
        || is_known && (is_duplicate || is(Capture::Closed));
    if !is_wanted {
        return;
    }
    if is(Capture::Path0) {
        path(thread, which, task::argument!(thread, 0));
    } else if is(Capture::Path1) {
        path(thread, which, task::argument!(thread, 1));
    } else if is(Capture::Timespec0) {
        structure::<16>(thread, which, task::argument!(thread, 0));
    } else if is(Capture::Timespec2) {
        structure::<16>(thread, which, task::argument!(thread, 2));
    } else if is(Capture::Itimer) {
        structure::<32>(thread, which, task::argument!(thread, 1));
    } else if is(Capture::Pair) && thread.done.ret >= 0 {
        structure::<8>(thread, which, task::argument!(thread, 0));
    } else if which.word.fd0() && task::socket_of(task::argument!(thread, 0), &mut thread.socket) == 0 {
        emit::file(thread, which);
    } else {
        emit::bare(thread, which, 0, 0);
    }
}

/// Whether this `fcntl` makes another descriptor.
#[inline(always)]
fn is_dupfd(thread: &Thread) -> bool {
    const F_DUPFD: u64 = 0;
    const F_DUPFD_CLOEXEC: u64 = 1030;
    let command = task::argument!(thread, 1) & 0xffff_ffff;
    command == F_DUPFD || command == F_DUPFD_CLOEXEC
}

#[inline(always)]
fn path(thread: &Thread, which: &Which, at: u64) {
    let Some(mut entry) = reserve::<Record<128>>() else { return };
    // SAFETY: `fill` writes all fields, the helper the data.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    emit::fill(&mut record.sys, which, thread);
    // SAFETY: the destination is as long as said.
    let length = unsafe { generated::bpf_probe_read_user_str(record.data.as_mut_ptr().cast(), 128, at as *const _) };
    if length < 0 {
        record.sys.head.flags |= FLAG_FAULT;
        count(Loss::Fault);
    } else {
        record.sys.head.data_len = length as u32;
        if length == 128 {
            record.sys.head.flags |= FLAG_CUT;
            count(Loss::Truncated);
        }
    }
    submit(entry);
}

#[inline(always)]
fn structure<const N: usize>(thread: &Thread, which: &Which, at: u64) {
    let Some(mut entry) = reserve::<Record<128>>() else { return };
    // SAFETY: `fill` writes all fields, the helper the data that count.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    emit::fill(&mut record.sys, which, thread);
    // SAFETY: N is at most 32.
    let error = unsafe { generated::bpf_probe_read_user(record.data.as_mut_ptr().cast(), N as u32, at as *const _) };
    if error == 0 {
        record.sys.head.data_len = N as u32;
    } else {
        record.sys.head.flags |= FLAG_FAULT;
        count(Loss::Fault);
    }
    submit(entry);
}
