//! What user space asks for: run by `BPF_PROG_TEST_RUN` (5.10), attached to nothing. So words of the bitmap are
//! changed only here in the kernel, by atomic or/and, never by a read-modify-write of user space.

use crate::{
    emit::now,
    filter,
    maps::{THREADS, abi_version, count},
};
use aya_ebpf::programs::RawTracePointContext;
use core::ffi::c_void;
use mta_trace_common::{
    config::{Request, STATE_BLOCKED, STATE_CPU, Thread},
    event::Loss,
};

/// Answers with the ABI version. Written without the macro of aya-ebpf, which drops what a program returns.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp/sys_enter")]
extern "C" fn request(ctx: *mut c_void) -> u32 {
    serve(&RawTracePointContext::new(ctx));
    abi_version()
}

#[inline(always)]
fn serve(ctx: &RawTracePointContext) {
    let operation: u64 = ctx.arg(0);
    let tid = ctx.arg::<u64>(1) as u32;
    if operation == Request::FORGET {
        filter::forget(tid);
        let _ = THREADS.remove(tid);
        return;
    }
    if operation != Request::TRACE {
        return;
    }
    let t = now();
    let nr = ctx.arg::<u64>(5) as i64;
    let is_blocked = ctx.arg::<u64>(4) == u64::from(STATE_BLOCKED);
    let state = if is_blocked { STATE_BLOCKED } else { STATE_CPU };
    let mut thread = Thread::new(t, ctx.arg::<u64>(2) as u32, ctx.arg::<u64>(3) as u8, state, ctx.arg(6));
    if is_blocked {
        thread.nr = nr;
        thread.since = t;
    }
    if THREADS.insert(tid, thread, 0).is_err() {
        count(Loss::Tables);
        return;
    }
    filter::trace(tid);
}
