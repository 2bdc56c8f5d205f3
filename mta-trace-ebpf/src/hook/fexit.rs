//! The back end that costs others nothing: one `fexit` program on the kernel's function of each line of the table (`__x64_sys_read`;
//! Linux 5.5, arm64 6.4), with what the table says of it known when it is compiled. Programs are named like the variants of `Call`.
//!
//! `long __x64_sys_NAME(const struct pt_regs *regs)` (arch/x86/include/asm/syscall_wrapper.h): argument 0 the registers, behind it the result.

use super::call;
use crate::{filter::is_traced, task};
use aya_ebpf::{macros::fexit, programs::FExitContext};
use mta_trace_common::{
    syscalls::{Call, Word},
    with_syscalls,
};

macro_rules! programs {
    ($($variant:ident $name:literal $x86:literal $arm:literal $fd0:ident $capture:ident $emit:ident;)*) => { $(
        #[allow(non_snake_case, reason = "named like the variant")]
        #[fexit]
        pub fn $variant(ctx: FExitContext) -> i32 {
            const WORD: Word = Call::$variant.row().word();
            returned(&ctx, WORD)
        }
    )* };
}

with_syscalls!(programs);

#[inline(always)]
fn returned(ctx: &FExitContext, word: Word) -> i32 {
    let (_, tid) = task::ids();
    if is_traced(tid) {
        let regs = ctx.arg(0);
        call::completed(regs, ctx.arg(1), tid, task::number_in(regs), word);
    }
    0
}
