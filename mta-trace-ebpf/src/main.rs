//! The kernel side: hooks, filters, and one ring buffer.
//!
//! `maps` what is shared with user space; `filter` who is traced; `task` what can be read of the current
//! task (registers, descriptors, sockets); `emit` how a record gets into the ring; `hook/` the programs, one
//! file per family. Everything is filled in place in the ring: BPF programs can be preempted, so there is
//! no scratch of a processor, only of a thread (`Thread`).
//! License of the compiled object: Dual MIT/GPL.
#![no_std]
#![no_main]
#![allow(internal_features, reason = "atomic or/and on a map word have no stable name for this target")]
#![feature(core_intrinsics)]

mod diagnose;
mod emit;
mod filter;
mod hook;
mod maps;
mod task;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // Unreachable: the object is checked for panic paths after each build.
    loop {}
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
