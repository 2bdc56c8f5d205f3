//! Accounting: time on a CPU, runnable and blocked of each traced thread, inside and outside hooked calls.
//!
//! `sched_switch(preempt, prev, next, ..)` and `sched_wakeup(task)`, BTF tracepoints (kernel/sched/core.c).
//! The counters only grow, and every record carries them, so that differences close the sum whatever is reported.
//! Time blocked outside hooked calls is reported from here, since no other program sees it.

use super::poll;
use crate::{
    emit::{head, now, reserve, submit},
    filter::{self, is_traced},
    maps::{self, THREADS, count, offset, setting},
    task,
};
use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use mta_trace_common::{
    config::{ROLE_HELPER, STATE_BLOCKED, STATE_CPU, STATE_RUNNABLE, Thread},
    event::{Block, KIND_BLOCK, Loss},
};

#[btf_tracepoint(function = "sched_switch")]
pub fn sched_switch(ctx: BtfTracePointContext) -> i32 {
    let (_, prev) = task::ids();
    if is_traced(prev) {
        switch_out(&ctx, prev);
    }
    let next: u32 = task::load(ctx.arg(2), offset!(task_pid));
    if is_traced(next) {
        switch_in(next);
    }
    0
}

#[inline(always)]
fn switch_out(ctx: &BtfTracePointContext, tid: u32) {
    let Some(thread) = THREADS.get_ptr_mut(tid) else { return };
    // SAFETY: the thread leaves this CPU; its run queue is locked.
    let thread = unsafe { &mut *thread };
    thread.is_new = 0;
    let t = now();
    if thread.state != STATE_CPU {
        catch_up(thread, t);
    }
    thread.cpu += t.saturating_sub(thread.last);
    thread.last = t;
    let preempted = ctx.arg::<u64>(0) & 0xff != 0;
    let state: u32 = task::load(ctx.arg(1), offset!(task_state));
    if preempted || state == 0 {
        thread.state = STATE_RUNNABLE;
        return;
    }
    thread.state = STATE_BLOCKED;
    let nr = task::call_number();
    if thread.since == 0 || thread.nr != nr {
        if thread.since != 0 {
            report_unreturned(thread, tid);
        }
        thread.nr = nr;
        thread.since = t;
        filter::mark_blocked(tid);
        thread.blocked_in = 0;
        thread.cpu_since = thread.cpu;
        thread.runqueue_since = thread.runqueue;
        task::save_registers(thread);
        poll::blocks(thread, maps::word(nr));
    }
}

#[inline(always)]
fn switch_in(tid: u32) {
    let Some(thread) = THREADS.get_ptr_mut(tid) else { return };
    // SAFETY: the thread comes to this CPU; its run queue is locked.
    let thread = unsafe { &mut *thread };
    thread.is_new = 0;
    arrive(thread, now());
    if thread.since == 0 || maps::word(thread.nr).is_hooked() {
        return;
    }
    report_outside(thread, tid);
    thread.since = 0;
    filter::clear_blocked(tid);
}

/// The thread is found running although the switch to it was not seen: without this its wait would be lost. Seen on one build of Linux 6.18
/// about once in 300 sessions, where ftrace misses the same switches; never on a distribution's kernel.
#[inline(always)]
pub fn catch_up(thread: &mut Thread, t: u64) {
    count(Loss::Switches);
    arrive(thread, t);
}

/// The thread runs from now on: what passed since it was seen last counts for the state that it was in then.
#[inline(always)]
fn arrive(thread: &mut Thread, t: u64) {
    let passed = t.saturating_sub(thread.last);
    if thread.state == STATE_BLOCKED {
        thread.blocked += passed;
        thread.blocked_in += passed;
    } else if thread.state == STATE_RUNNABLE {
        thread.runqueue += passed;
    }
    // Else it was switched out unseen: nobody knows what it did since, and nothing is claimed.
    thread.last = t;
    thread.state = STATE_CPU;
}

/// Reports a block that no hooked call tells of.
#[inline(always)]
pub fn report_outside(thread: &Thread, tid: u32) {
    if thread.blocked_in >= setting!(min_wait_ns) && (thread.is_serving() || thread.role == ROLE_HELPER) {
        report(thread, now(), tid);
    }
}

/// Reports the block of a hooked call whose end nobody told: it came behind that end, on the thread's way back (task work, a stop), or the
/// end itself was not seen.
#[inline(always)]
pub fn report_unreturned(thread: &Thread, tid: u32) {
    if maps::word(thread.nr).is_hooked() && task::was_in_call(thread) {
        count(Loss::Exits);
    }
    report_outside(thread, tid);
}

#[inline(always)]
fn report(thread: &Thread, t: u64, tid: u32) {
    let Some(mut entry) = reserve::<Block>() else { return };
    entry.write(Block {
        head: head(KIND_BLOCK, t, tid, thread),
        nr: thread.nr,
        since: thread.since,
        cpu_since: thread.cpu_since,
        runqueue_since: thread.runqueue_since,
        args: task::arguments(thread),
    });
    submit(entry);
}

#[btf_tracepoint(function = "sched_wakeup")]
pub fn sched_wakeup(ctx: BtfTracePointContext) -> i32 {
    let tid: u32 = task::load(ctx.arg(0), offset!(task_pid));
    if !is_traced(tid) {
        return 0;
    }
    let Some(thread) = THREADS.get_ptr_mut(tid) else { return 0 };
    // SAFETY: the waker holds the thread's run queue lock.
    let thread = unsafe { &mut *thread };
    if thread.state == STATE_BLOCKED {
        let t = now();
        let passed = t.saturating_sub(thread.last);
        thread.blocked += passed;
        thread.blocked_in += passed;
        thread.last = t;
        thread.state = STATE_RUNNABLE;
    }
    0
}
