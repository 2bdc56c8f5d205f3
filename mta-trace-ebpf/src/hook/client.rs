//! The client's socket: which of its bytes may leave, by the allow-list of `mta_trace_common::smtp`.
//!
//! A record is filled with what was read, every byte that is not allowed is wiped in place, and only then it is
//! submitted: submitted is captured. In any mode but `MODE_COMMAND` nothing is read at all.

use crate::{
    emit::{self, Record, Which, is_slow, reserve, submit},
    maps::setting,
    task,
};
use aya_ebpf::helpers::{bpf_probe_read_user, generated};
use core::ffi::c_void;
use mta_trace_common::{
    config::Thread,
    event::{FLAG_CLIENT, FLAG_CUT, FLAG_DOT, FLAG_FAULT},
    smtp::{Fate, MODE_AUTH, MODE_COMMAND, MODE_DATA, MODE_OPAQUE, MODE_PENDING, MODE_UNKNOWN, Scanner, WIPED},
    syscalls::Capture,
};

/// include/linux/socket.h.
const MSG_PEEK: u64 = 2;

/// The server read from the client.
#[inline(always)]
pub fn read(scanner: &mut Scanner, thread: &mut Thread, which: &Which) {
    let has_waited = thread.done.since != 0 || thread.waited_fd == task::argument!(thread, 0) as i32;
    thread.waited_fd = -1;
    if has_waited {
        scanner.waited();
    }
    // EAGAIN says nothing; a reset does.
    if thread.done.ret == -11 && !is_slow(thread) {
        return;
    }
    // Bytes that stay are read once more, and count then: postscreen looks so whether a client speaks too early.
    if which.word.captures(Capture::BufferFrom) && task::argument!(thread, 3) & MSG_PEEK != 0 {
        emit::bare(thread, which, FLAG_CLIENT, scanner.mode);
        return;
    }
    let n = if thread.done.ret > 0 { thread.done.ret as u64 } else { 0 };
    if n > 0 && (scanner.mode == MODE_COMMAND || setting!(unfiltered) != 0) {
        if n < 128 {
            lines::<128>(scanner, thread, which, n);
        } else if n < 1024 {
            lines::<1024>(scanner, thread, which, n);
        } else {
            lines::<4096>(scanner, thread, which, n);
        }
        return;
    }
    let mut flags = FLAG_CLIENT;
    if n > 0 && scanner.mode == MODE_DATA {
        if scanner.data(last_bytes(task::argument!(thread, 1), n), n) {
            flags |= FLAG_DOT;
        } else if !is_slow(thread) && n >= 4096 {
            // Full buffers inside a message tell nothing.
            return;
        }
    } else if n > 0 && (scanner.mode == MODE_AUTH || scanner.mode == MODE_PENDING) {
        count_lines(scanner, task::argument!(thread, 1), n);
    } else if n > 0 && scanner.mode == MODE_UNKNOWN {
        scanner.unseen();
    }
    emit::bare(thread, which, flags, scanner.mode);
}

/// Bytes of the client in several pieces: no mail server reads so that is known here. Only their number is told.
#[inline(always)]
pub fn scattered(scanner: &mut Scanner, thread: &Thread, which: &Which) {
    if thread.done.ret > 0 && scanner.mode != MODE_OPAQUE {
        scanner.lost();
    }
    emit::bare(thread, which, FLAG_CLIENT, scanner.mode);
}

/// What is counted without being kept.
struct Count {
    at: u64,
    scanner: *mut Scanner,
}

/// Longest read whose lines are counted.
const COUNTED: u64 = 4096;

/// Counts the lines of a read that is not told, so that it is known which replies answer them.
#[inline(always)]
fn count_lines(scanner: &mut Scanner, at: u64, n: u64) {
    if n > COUNTED {
        scanner.unseen();
        return;
    }
    let mut count = Count { at, scanner: &raw mut *scanner };
    // SAFETY: the callback's signature is the one that the helper wants.
    unsafe {
        generated::bpf_loop(n as u32, counted_byte as *mut c_void, (&raw mut count).cast(), 0);
    }
}

/// `bpf_loop` callback: byte `i` of a read that is not told.
extern "C" fn counted_byte(i: u32, count: *mut Count) -> i64 {
    // SAFETY: `count_lines` keeps both alive during the loop.
    let (at, scanner) = unsafe { ((*count).at, &mut *(*count).scanner) };
    // SAFETY: the helper checks the address.
    match unsafe { bpf_probe_read_user((at + u64::from(i)) as *const u8) } {
        Ok(byte) => {
            let _ = scanner.step(byte);
            0
        }
        Err(_) => {
            scanner.unseen();
            1
        }
    }
}

/// The last bytes of a buffer, at most four, newest in the low byte.
#[inline(always)]
fn last_bytes(at: u64, n: u64) -> u32 {
    let mut last = 0;
    let mut i = 0;
    while i < 4 {
        if i < n {
            // SAFETY: the helper checks the address.
            let byte = unsafe { bpf_probe_read_user((at + n - 1 - i) as *const u8) }.unwrap_or(0);
            last |= u32::from(byte) << (8 * i);
        }
        i += 1;
    }
    last
}

#[inline(always)]
fn lines<const N: usize>(scanner: &mut Scanner, thread: &Thread, which: &Which, n: u64) {
    let Some(mut entry) = reserve::<Record<N>>() else {
        // The record is lost, but not the state: it must not take a password for a command later.
        scanner.lost();
        return;
    };
    // SAFETY: `fill` writes all fields, `copy` the data that count.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    emit::fill(&mut record.sys, which, thread);
    record.sys.head.flags |= FLAG_CLIENT;
    record.sys.smtp_mode = scanner.mode;
    emit::copy(record, task::argument!(thread, 1), n);
    if setting!(unfiltered) == 0 {
        let mut scan = Scan { record, scanner: &raw mut *scanner };
        // SAFETY: the callback's signature is the one that the helper wants.
        unsafe {
            generated::bpf_loop(scan.length(), client_byte::<N> as *mut c_void, (&raw mut scan).cast(), 0);
        }
    }
    if record.sys.head.flags & (FLAG_CUT | FLAG_FAULT) != 0 {
        scanner.lost();
    }
    submit(entry);
}

struct Scan<const N: usize> {
    record: *mut Record<N>,
    scanner: *mut Scanner,
}

impl<const N: usize> Scan<N> {
    #[inline(always)]
    fn length(&self) -> u32 {
        // SAFETY: set from a live record.
        unsafe { (*self.record).sys.head.data_len }
    }
}

/// `bpf_loop` callback: the fate of byte `i` of what the client sent.
extern "C" fn client_byte<const N: usize>(i: u32, scan: *mut Scan<N>) -> i64 {
    // SAFETY: `lines` keeps both alive during the loop.
    let (record, scanner) = unsafe { (&mut *(*scan).record, &mut *(*scan).scanner) };
    let at = i as usize & (N - 1);
    // SAFETY: masked to the data area.
    let byte = unsafe { *record.data.as_ptr().add(at) };
    match scanner.step(byte) {
        Fate::Keep => {}
        Fate::Wipe => {
            // SAFETY: masked to the data area.
            unsafe { *record.data.as_mut_ptr().add(at) = WIPED }
        }
        Fate::Release => {
            release(record, scanner, i);
            scanner.released();
        }
    }
    0
}

/// Writes the held letters of a verb to where they stood, and those of earlier reads into `carry`.
#[inline(always)]
fn release<const N: usize>(record: &mut Record<N>, scanner: &Scanner, i: u32) {
    let held = u32::from(scanner.held);
    let mut k = 0;
    while k < 8 {
        if k < held {
            let letter = (scanner.letters >> (8 * k)) as u8;
            if i > k {
                // SAFETY: masked to the data area.
                unsafe { *record.data.as_mut_ptr().add((i - 1 - k) as usize & (N - 1)) = letter }
            } else {
                // SAFETY: masked to the first half of `carry`.
                unsafe { *record.sys.carry.as_mut_ptr().add((held - 1 - k) as usize & 7) = letter }
            }
        }
        k += 1;
    }
    if held > i {
        record.sys.carry_len = (held - i) as u8;
    }
}

/// The server wrote to the client.
#[inline(always)]
pub fn write(scanner: &mut Scanner, thread: &mut Thread, which: &Which) {
    thread.waited_fd = -1;
    if thread.done.ret <= 0 {
        if is_slow(thread) || thread.done.ret != -11 {
            emit::bare(thread, which, 0, 0);
        }
        return;
    }
    let n = thread.done.ret as u64;
    if scanner.mode == MODE_OPAQUE {
        emit::bare(thread, which, FLAG_CLIENT, scanner.mode);
    } else if n < 128 {
        reply::<128>(scanner, thread, which, n);
    } else if n < 1024 {
        reply::<1024>(scanner, thread, which, n);
    } else {
        reply::<4096>(scanner, thread, which, n);
    }
}

#[inline(always)]
fn reply<const N: usize>(scanner: &mut Scanner, thread: &Thread, which: &Which, n: u64) {
    let Some(mut entry) = reserve::<Record<N>>() else {
        scanner.lost();
        return;
    };
    // SAFETY: `fill` writes all fields, `copy` the data that count.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    emit::fill(&mut record.sys, which, thread);
    record.sys.head.flags |= FLAG_CLIENT;
    record.sys.smtp_mode = scanner.mode;
    emit::copy(record, task::argument!(thread, 1), n);
    if n > N as u64 - 1 {
        tail(record, task::argument!(thread, 1), n);
    }
    let mut scan = Scan { record, scanner: &raw mut *scanner };
    // SAFETY: the callback's signature is the one that the helper wants.
    unsafe {
        generated::bpf_loop(scan.length(), reply_byte::<N> as *mut c_void, (&raw mut scan).cast(), 0);
    }
    submit(entry);
}

/// Pieces of one reply, and how much of each is copied.
const PIECES: u32 = 32;
const PIECE: u32 = 1024;

struct Gather {
    record: *mut Record<4096>,
    vector: u64,
    pieces: u64,
    left: u64,
}

/// The server wrote to the client in one call what lies in several pieces (`writev`, `sendmsg`).
#[inline(always)]
pub fn gather(scanner: &mut Scanner, thread: &mut Thread, which: &Which, is_message: bool) {
    thread.waited_fd = -1;
    if thread.done.ret <= 0 || scanner.mode == MODE_OPAQUE {
        let is_told = thread.done.ret > 0 || is_slow(thread) || thread.done.ret != -11;
        if is_told {
            emit::bare(thread, which, if thread.done.ret > 0 { FLAG_CLIENT } else { 0 }, if thread.done.ret > 0 { scanner.mode } else { 0 });
        }
        return;
    }
    let (mut vector, mut pieces) = (task::argument!(thread, 1), task::argument!(thread, 2));
    if is_message {
        // `msg_iov` and `msg_iovlen` of `struct msghdr`.
        // SAFETY: the helper checks the address.
        [vector, pieces] = unsafe { bpf_probe_read_user((vector + 16) as *const [u64; 2]) }.unwrap_or([0; 2]);
    }
    let Some(mut entry) = reserve::<Record<4096>>() else {
        scanner.lost();
        return;
    };
    // SAFETY: `fill` writes all fields, `piece` the data that count.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    emit::fill(&mut record.sys, which, thread);
    record.sys.head.flags |= FLAG_CLIENT;
    record.sys.smtp_mode = scanner.mode;
    let mut gather = Gather { record: &raw mut *record, vector, pieces, left: thread.done.ret as u64 };
    // SAFETY: the callback's signature is the one that the helper wants.
    unsafe {
        generated::bpf_loop(PIECES, piece as *mut c_void, (&raw mut gather).cast(), 0);
    }
    if gather.left > 0 {
        record.sys.head.flags |= FLAG_CUT;
    }
    let mut scan = Scan { record, scanner: &raw mut *scanner };
    // SAFETY: the callback's signature is the one that the helper wants.
    unsafe {
        generated::bpf_loop(scan.length(), reply_byte::<4096> as *mut c_void, (&raw mut scan).cast(), 0);
    }
    submit(entry);
}

/// `bpf_loop` callback: the next piece; 1: there is none, or what follows does not fit.
extern "C" fn piece(_: u32, gather: *mut Gather) -> i64 {
    // SAFETY: `gather` keeps both alive during the loop.
    let (gather, record) = unsafe { (&mut *gather, &mut *(*gather).record) };
    if gather.left == 0 || gather.pieces == 0 {
        return 1;
    }
    // SAFETY: the helper checks the address.
    let [at, length] = unsafe { bpf_probe_read_user(gather.vector as *const [u64; 2]) }.unwrap_or([0; 2]);
    let length = if length < gather.left { length } else { gather.left };
    if length >= u64::from(PIECE) || record.sys.head.data_len >= 4096 - PIECE {
        return 1;
    }
    let to = core::hint::black_box(record.sys.head.data_len) as usize & (4096 - 1);
    let to = if to < 4096 - PIECE as usize { to } else { 0 };
    let wanted = core::hint::black_box(length as u32) & (PIECE - 1);
    // SAFETY: less than `PIECE` bytes behind so many that they fit; the helper checks the source.
    let error = unsafe { generated::bpf_probe_read_user(record.data.as_mut_ptr().add(to).cast(), wanted, at as *const _) };
    if error != 0 {
        record.sys.head.flags |= FLAG_FAULT;
        return 1;
    }
    record.sys.head.data_len += wanted;
    gather.left -= u64::from(wanted);
    gather.vector += 16;
    gather.pieces -= 1;
    0
}

/// The last bytes of a reply that is longer than the record take the place of its middle.
#[inline(always)]
fn tail<const N: usize>(record: &mut Record<N>, at: u64, n: u64) {
    if N == 4096 {
        // SAFETY: 256 bytes from N - 257 on; the helper checks the source.
        unsafe {
            generated::bpf_probe_read_user(record.data.as_mut_ptr().add(N - 257).cast(), 256, (at + n - 256) as *const _);
        }
    }
}

/// `bpf_loop` callback: byte `i` of what the server wrote.
extern "C" fn reply_byte<const N: usize>(i: u32, scan: *mut Scan<N>) -> i64 {
    // SAFETY: `reply` keeps both alive during the loop.
    let (record, scanner) = unsafe { (&mut *(*scan).record, &mut *(*scan).scanner) };
    // SAFETY: masked to the data area.
    let byte = unsafe { *record.data.as_ptr().add(i as usize & (N - 1)) };
    if scanner.is_hushed(byte) && setting!(unfiltered) == 0 {
        // SAFETY: masked to the data area.
        unsafe { *record.data.as_mut_ptr().add(i as usize & (N - 1)) = WIPED }
    }
    if scanner.reply_byte(byte) {
        scanner.reply();
    }
    0
}
