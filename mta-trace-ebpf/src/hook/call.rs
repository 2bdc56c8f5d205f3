//! What all system call programs share: the test whether the thread is traced, and the decision whether its
//! call is reported. Hooked: `syscalls/sys_exit_*` tracepoints (number at 8, result at 16; arguments are still in `pt_regs`).

use crate::{
    emit::Done,
    filter::is_traced,
    maps::{THREADS, setting},
    task,
};
use aya_ebpf::programs::TracePointContext;
use mta_trace_common::config::{ROLE_DAEMON, ROLE_OTHER, Thread};

/// Daemon: it has accepted a peer whose sessions are wanted, and not forked yet.
pub const ACCEPTED_MATCHED: u8 = 2;
/// Daemon: it has accepted somebody else.
pub const ACCEPTED_OTHER: u8 = 1;

/// The completed call of a traced thread, its block state taken out; `None`: not traced, or of no interest.
#[inline(always)]
pub fn done(ctx: &TracePointContext, even_daemon: bool) -> Option<(&'static mut Thread, Done)> {
    let (_, tid) = task::ids();
    if !is_traced(tid) {
        return None;
    }
    // SAFETY: map values live as long as the program runs; only this thread and the scheduler hooks of its CPU change it.
    let thread = unsafe { &mut *THREADS.get_ptr_mut(tid)? };
    // `int`, with four bytes of garbage behind it.
    let nr = i64::from(task::tracepoint_word(ctx, 1) as i32);
    let mut done = Done { tid, nr, ret: task::tracepoint_word(ctx, 2), since: 0, blocked_in: 0 };
    if thread.since != 0 {
        if thread.nr == nr {
            done.since = thread.since;
            done.blocked_in = thread.blocked_in;
        }
        thread.since = 0;
    }
    if thread.role == ROLE_OTHER || (thread.role == ROLE_DAEMON && !even_daemon && thread.accepted != ACCEPTED_MATCHED) {
        return None;
    }
    task::save_registers(thread);
    thread.socket.forget();
    Some((thread, done))
}

impl Done {
    /// It blocked for at least the threshold.
    #[inline(always)]
    pub fn is_slow(&self) -> bool {
        self.since != 0 && self.blocked_in >= setting!(min_wait_ns)
    }
}
