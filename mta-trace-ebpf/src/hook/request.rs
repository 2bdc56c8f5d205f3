//! What user space asks for: run by `BPF_PROG_TEST_RUN` (5.10), attached to nothing. So words of the bitmap are
//! changed only here in the kernel, by atomic or/and, never by a read-modify-write of user space.

use crate::{
    emit::now,
    filter,
    maps::{THREADS, abi_version, count, offset},
};
use aya_ebpf::programs::RawTracePointContext;
use core::ffi::c_void;
use mta_trace_common::{
    config::{ACCEPTED_MATCHED, ROLE_HELPER, ROLE_LOOP, ROLE_OTHER, ROLE_SERVER, Request, STATE_BLOCKED, STATE_CPU, Thread},
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
        forget(tid);
    } else if operation == Request::HELP {
        help(tid, ctx.arg::<u64>(2) as u32);
    } else if operation == Request::RELEASE {
        release(tid);
    } else if operation == Request::TRACE {
        let mut thread = Thread::new(now(), ctx.arg::<u64>(2) as u32, ctx.arg::<u64>(3) as u8, STATE_CPU, ctx.arg(4));
        if thread.role == ROLE_SERVER && thread.session != 0 {
            thread.accepted = ACCEPTED_MATCHED;
            thread.client_fd = ctx.arg::<u64>(5) as i32;
        }
        if thread.role == ROLE_LOOP {
            thread.has_messages = ctx.arg::<u64>(5) as u8;
        }
        take_in(tid, &thread);
    } else if operation == Request::BLOCKED {
        blocked(ctx, tid);
    }
}

#[inline(always)]
fn take_in(tid: u32, thread: &Thread) {
    if THREADS.insert(tid, thread, 0).is_err() {
        count(Loss::Tables);
        return;
    }
    filter::trace(tid);
}

#[inline(always)]
fn forget(tid: u32) {
    filter::forget(tid);
    let _ = THREADS.remove(tid);
}

/// A session waits for this thread's process.
#[inline(always)]
fn help(tid: u32, tgid: u32) {
    let Some(thread) = THREADS.get_ptr_mut(tid) else {
        return take_in(tid, &Thread::new(now(), tgid, ROLE_HELPER, STATE_CPU, 0));
    };
    // SAFETY: map values live as long as the program runs; the role is one byte, which its own thread only reads.
    let thread = unsafe { &mut *thread };
    if thread.role == ROLE_OTHER || thread.role == ROLE_SERVER && !thread.is_serving() {
        thread.earlier = thread.role;
        thread.role = ROLE_HELPER;
    }
}

/// Nobody waits for it any more.
#[inline(always)]
fn release(tid: u32) {
    let Some(thread) = THREADS.get_ptr_mut(tid) else { return };
    // SAFETY: as above.
    let thread = unsafe { &mut *thread };
    if thread.role != ROLE_HELPER {
        return;
    }
    if thread.earlier == 0 {
        return forget(tid);
    }
    thread.role = thread.earlier;
}

/// The thread blocks, as /proc said after its bit was set; unless it was seen to do something since.
#[inline(always)]
fn blocked(ctx: &RawTracePointContext, tid: u32) {
    let Some(thread) = THREADS.get_ptr_mut(tid) else { return };
    // SAFETY: map values live as long as the program runs; a thread that blocks changes nothing itself.
    let thread = unsafe { &mut *thread };
    if thread.is_new == 0 {
        return;
    }
    thread.state = STATE_BLOCKED;
    thread.nr = ctx.arg::<u64>(2) as i64;
    thread.since = thread.last;
    filter::mark_blocked(tid);
    macro_rules! keep {
        ($($i:literal)*) => { $({
            let at = offset!(regs_args[$i]);
            // SAFETY: the loader checked that the offset lies within.
            unsafe { thread.regs.as_mut_ptr().byte_add(at).write(ctx.arg($i + 3)) };
        })* };
    }
    keep!(0 1 2 3 4 5);
}
