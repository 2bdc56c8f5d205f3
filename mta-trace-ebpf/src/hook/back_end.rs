//! The two back ends that tell of completed calls: for each line of the table a program `fexit_NAME` on the kernel's function of the call
//! (`__x64_sys_NAME`; Linux 5.5, arm64 6.4), which costs nobody anything for other calls, and a program `sys_exit_NAME` behind the
//! tracepoint of all calls (`raw_syscalls/sys_exit` in BTF form), which works everywhere. What the table says of the call is known when
//! they are compiled.
//!
//! Written without the macros of aya-ebpf, since those name a program like its function.

use super::call;
use crate::{
    filter::is_traced,
    maps::{self, HANDLERS},
    task,
};
use aya_ebpf::{
    macros::btf_tracepoint,
    programs::{BtfTracePointContext, FExitContext},
};
use core::ffi::c_void;
use mta_trace_common::{
    syscalls::{Call, Word},
    with_syscalls,
};

/// `TP_PROTO(struct pt_regs *regs, long ret)` (include/trace/events/syscalls.h). A traced thread's call goes on in its own program, a
/// call that is not hooked has none.
#[btf_tracepoint(function = "sys_exit")]
pub fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    let (_, tid) = task::ids();
    if is_traced(tid) {
        // `int`; what is negative becomes a large index, and none is there.
        let nr = task::number_in(ctx.arg(0));
        let word = maps::word(nr);
        if !word.is_hooked() || call::is_quiet(tid, word) {
            return 0;
        }
        // SAFETY: the programs in there are made for this tracepoint; where there is none, it returns.
        let _ = unsafe { HANDLERS.tail_call(&ctx, nr as u32) };
    }
    0
}

macro_rules! programs {
    ($($variant:ident $name:literal $x86:literal $arm:literal $fd0:ident $capture:ident $emit:ident;)*) => { $(
        const _: () = {
            const WORD: Word = Call::$variant.row().word();

            #[unsafe(export_name = concat!("sys_exit_", $name))]
            #[unsafe(link_section = "tp_btf/sys_exit")]
            extern "C" fn behind_tracepoint(ctx: *mut c_void) -> i32 {
                let ctx = BtfTracePointContext::new(ctx);
                let (_, tid) = task::ids();
                call::completed(ctx.arg(0), ctx.arg(1), tid, WORD);
                0
            }

            /// `long __x64_sys_NAME(const struct pt_regs *regs)` (arch/x86/include/asm/syscall_wrapper.h).
            #[unsafe(export_name = concat!("fexit_", $name))]
            #[unsafe(link_section = "fexit")]
            extern "C" fn behind_function(ctx: *mut c_void) -> i32 {
                let ctx = FExitContext::new(ctx);
                let (_, tid) = task::ids();
                if is_traced(tid) && !call::is_quiet(tid, WORD) {
                    call::completed(ctx.arg(0), ctx.arg(1), tid, WORD);
                }
                0
            }
        };
    )* };
}

with_syscalls!(programs);
