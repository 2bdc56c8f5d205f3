//! Fork, exec and exit, followed in the kernel so that no first call of a child is missed.
//!
//! BTF tracepoints `sched_process_fork(parent, child)` (kernel/fork.c, before the child runs),
//! `sched_process_exec(task, old_pid, bprm)` (fs/exec.c), `sched_process_exit(task)` (kernel/exit.c, once per thread).

use crate::{
    diagnose::diagnose,
    emit::{head, now, reserve, submit},
    filter::{ended, forget, is_traced, trace},
    maps::{SESSIONS, THREADS, count, offset, setting},
    task,
};
use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use mta_trace_common::{
    config::{ACCEPTED_MATCHED, ROLE_DAEMON, ROLE_HELPER, ROLE_LOOP, ROLE_OTHER, ROLE_SERVER, ROLE_SESSION, STATE_RUNNABLE, Thread},
    event::{Exec, Exit, FLAG_TRACED, Fork, KIND_EXEC, KIND_EXIT, KIND_FORK, Loss},
};

#[btf_tracepoint(function = "sched_process_fork")]
pub fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    let (tgid, tid) = task::ids();
    if !is_traced(tid) {
        return 0;
    }
    let Some(parent) = THREADS.get_ptr_mut(tid) else { return 0 };
    // SAFETY: the parent is the current thread, which does nothing else meanwhile.
    let parent = unsafe { &mut *parent };
    let child = ctx.arg::<u64>(1);
    let child_tid: u32 = task::load(child, offset!(task_pid));
    let child_tgid: u32 = task::load(child, offset!(task_tgid));
    let t = now();
    // What a loop without messages makes may be its workers; OpenSMTPD's all exist at its start.
    let is_loop = parent.role == ROLE_LOOP && parent.has_messages == 0;
    if parent.role == ROLE_HELPER && parent.earlier == 0 && child_tgid != tgid {
        // Nobody would release the children of a helper, and theirs.
        return 0;
    }
    let role = if child_tgid == tgid || parent.role == ROLE_SERVER && parent.accepted != ACCEPTED_MATCHED || is_loop {
        parent.role
    } else if parent.role == ROLE_DAEMON {
        let matched = parent.accepted == ACCEPTED_MATCHED;
        parent.accepted = 0;
        if !matched {
            return 0;
        }
        ROLE_SESSION
    } else {
        ROLE_OTHER
    };
    let mut thread = Thread::new(t, child_tgid, role, STATE_RUNNABLE, parent.session);
    if role == ROLE_HELPER {
        thread.earlier = parent.earlier;
    }
    thread.has_messages = if role == ROLE_LOOP { parent.has_messages } else { 0 };
    thread.sockets = parent.sockets;
    if THREADS.insert(child_tid, thread, 0).is_err() {
        count(Loss::Tables);
        return 0;
    }
    trace(child_tid);
    diagnose!(&ctx, "thread {} made thread {} of process {}: role {}", tid, child_tid, child_tgid, role);
    let Some(mut entry) = reserve::<Fork>() else { return 0 };
    let mut record = Fork { head: head(KIND_FORK, t, tid, parent), child: child_tgid, child_tid, comm: task::field(child, offset!(task_comm)) };
    if role != ROLE_OTHER {
        record.head.flags = FLAG_TRACED;
    }
    entry.write(record);
    submit(entry);
    0
}

#[btf_tracepoint(function = "sched_process_exec")]
pub fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    let (_, tid) = task::ids();
    let old: u32 = ctx.arg::<u64>(1) as u32;
    if !is_traced(tid) && !is_traced(old) {
        return 0;
    }
    let Some(thread) = THREADS.get_ptr_mut(tid) else { return 0 };
    // SAFETY: the current thread's own entry.
    let thread = unsafe { &mut *thread };
    let comm: [u64; 2] = task::field(ctx.arg::<u64>(0), offset!(task_comm));
    if thread.role == ROLE_SERVER && setting!(loop_comm[0]) != 0 && comm[0] == setting!(loop_comm[0]) && comm[1] == setting!(loop_comm[1]) {
        thread.role = ROLE_LOOP;
    }
    let Some(mut entry) = reserve::<Exec>() else { return 0 };
    entry.write(Exec { head: head(KIND_EXEC, now(), tid, thread), comm });
    submit(entry);
    0
}

#[btf_tracepoint(function = "sched_process_exit")]
pub fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    let (tgid, tid) = task::ids();
    if !is_traced(tid) {
        return 0;
    }
    diagnose!(&ctx, "thread {} of process {} ends", tid, tgid);
    if let Some(thread) = THREADS.get_ptr_mut(tid) {
        // SAFETY: the current thread's own entry.
        let thread = unsafe { &*thread };
        if let Some(mut entry) = reserve::<Exit>() {
            let in_call = thread.since != 0;
            entry.write(Exit {
                head: head(KIND_EXIT, now(), tid, thread),
                code: task::load(ctx.arg::<u64>(0), offset!(task_exit_code)),
                reserved: 0,
                nr: if in_call { thread.nr } else { -1 },
                since: thread.since,
            });
            submit(entry);
        }
        if thread.is_serving() && tid == tgid {
            let _ = SESSIONS.remove(thread.session);
        }
        if thread.role == ROLE_LOOP && tid == tgid {
            ended(tgid);
        }
        let _ = THREADS.remove(tid);
    }
    forget(tid);
    0
}
