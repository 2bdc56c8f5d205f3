//! How long a connection waits in the listen backlog, which no call of the server shows: from the end of its handshake to its `accept`.
//!
//! `inet_sock_set_state(sk, oldstate, newstate)`, BTF tracepoint (include/trace/events/sock.h, net/ipv4/tcp.c; Linux 4.16).

use crate::{
    emit::{head, now, reserve, submit},
    filter,
    maps::{ESTABLISHED, offset},
    task,
};
use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use mta_trace_common::{
    config::Thread,
    event::{Backlog, KIND_BACKLOG},
};

/// include/net/tcp_states.h.
const TCP_ESTABLISHED: i32 = 1;
const TCP_SYN_RECV: i32 = 3;

#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    if ctx.arg::<i32>(2) != TCP_ESTABLISHED || ctx.arg::<i32>(1) != TCP_SYN_RECV {
        return 0;
    }
    let sk: u64 = ctx.arg(0);
    if filter::listens_on(task::load(sk, offset!(sock_num))) {
        // The table makes room for it.
        let _ = ESTABLISHED.insert(sk, now(), 0);
    }
    0
}

/// Tells how long an accepted connection, the thread's socket, had been waiting.
#[inline(always)]
pub fn accepted(thread: &Thread, tid: u32, sk: u64, is_matched: bool) {
    let Some(since) = ESTABLISHED.get_ptr(sk) else { return };
    // SAFETY: map values live as long as the program runs.
    let since = unsafe { *since };
    let _ = ESTABLISHED.remove(sk);
    if !is_matched {
        return;
    }
    let Some(mut entry) = reserve::<Backlog>() else { return };
    entry.write(Backlog { head: head(KIND_BACKLOG, now(), tid, thread), since, socket: thread.socket });
    submit(entry);
}
