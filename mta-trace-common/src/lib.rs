//! The boundary between the eBPF program and user space: what crosses it, and nothing else.
//!
//! Plain `repr(C)` integers and byte arrays without implicit padding (checked at compile time), so
//! that both sides read the same bytes on every 64-bit little-endian machine. One file per subject:
//! [`event`] (records in the ring), [`config`] (what user space sets before and while tracing),
//! [`syscalls`] (THE table of hooked system calls), [`smtp`] (which bytes of a client may be copied).
//! Not here: anything that allocates, decodes, or knows a view.
#![no_std]
#![allow(
    clippy::inline_always,
    clippy::cast_lossless,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::bool_to_int_with_if,
    clippy::manual_range_contains,
    clippy::doc_markdown,
    clippy::must_use_candidate,
    clippy::match_same_arms,
    reason = "this code also runs in the kernel: plain operations that the verifier follows, inlined into each program"
)]

pub mod config;
pub mod event;
pub mod smtp;
pub mod syscalls;

/// Raised whenever a record or a map changes its layout; the object carries it in the global
/// `ABI_VERSION` and the loader refuses any other.
pub const ABI_VERSION: u32 = 8;
