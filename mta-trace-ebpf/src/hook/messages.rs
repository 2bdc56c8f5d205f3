//! imsg messages on the unix sockets between the processes of one server (OpenBSD's libutil; OpenSMTPD): who asked whom, by the heads alone.
//!
//! `struct imsg_hdr` is `{u32 type; u16 len; u16 flags; u32 peerid; u32 pid}` in the machine's order; behind it stand eight bytes that are the id
//! of a session, or no secret. Nothing else of a message is copied. A message begins where a piece of `sendmsg` begins (`msgbuf_write`), and where
//! `recvmsg` reads into an empty buffer (`imsg_read`): what begins elsewhere is not looked at, since it may be the middle of another one.

use crate::{
    emit::{self, Record, Which, reserve, submit},
    task,
};
use aya_ebpf::helpers::{bpf_probe_read_user, generated};
use core::ffi::c_void;
use mta_trace_common::{
    config::Thread,
    event::{FLAG_CUT, FLAG_MESSAGES, MESSAGE_HEAD, MESSAGES},
};

/// `IMSG_HEADER_SIZE`, imsg.h.
const HEADER: u64 = 16;
/// `MAX_IMSGSIZE`, imsg.h.
const LONGEST: u64 = 16384;
/// `IBUF_READ_SIZE`, imsg.h: so much room is asked for only if nothing is left of an earlier read.
const WHOLE_BUFFER: u64 = 65535;
/// Types are an enumeration that begins at 1 (smtpd.h).
const TYPES: u64 = 1024;

struct Walk {
    record: *mut Record<1024>,
    /// Where the pieces are listed, or the messages stand.
    at: u64,
    /// How many bytes of them, or how many pieces, are left.
    left: u64,
    is_in: bool,
    count: u32,
}

/// A `sendmsg` or `recvmsg` of whole messages.
#[inline(always)]
pub fn tell(thread: &Thread, which: &Which, is_in: bool) {
    if thread.done.ret <= 0 {
        return;
    }
    // `msg_iov` and `msg_iovlen` of `struct msghdr`, and the first piece.
    let header = task::argument!(thread, 1);
    // SAFETY: the helper checks the addresses.
    let [vector, pieces] = unsafe { bpf_probe_read_user((header + 16) as *const [u64; 2]) }.unwrap_or([0; 2]);
    // SAFETY: as above.
    let [first, room] = unsafe { bpf_probe_read_user(vector as *const [u64; 2]) }.unwrap_or([0; 2]);
    let Some(mut entry) = reserve::<Record<1024>>() else { return };
    // SAFETY: `fill` writes all fields, `message` the data that count.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    emit::fill(&mut record.sys, which, thread);
    record.sys.head.flags = FLAG_MESSAGES;
    let mut walk = if is_in {
        let is_whole = pieces == 1 && room == WHOLE_BUFFER;
        Walk { record, at: first, left: if is_whole { thread.done.ret as u64 } else { 0 }, is_in, count: 0 }
    } else {
        Walk { record, at: vector, left: pieces, is_in, count: 0 }
    };
    if walk.left == 0 {
        // SAFETY: as above.
        unsafe { (*walk.record).sys.head.flags |= FLAG_CUT }
    }
    // SAFETY: the callback's signature is the one that the helper wants.
    unsafe {
        generated::bpf_loop(MESSAGES as u32 + 1, message as *mut c_void, (&raw mut walk).cast(), 0);
    }
    // SAFETY: as above.
    unsafe { (*walk.record).sys.head.data_len = walk.count * MESSAGE_HEAD as u32 }
    submit(entry);
}

/// `bpf_loop` callback: the next message; 1: there is none.
extern "C" fn message(_: u32, walk: *mut Walk) -> i64 {
    // SAFETY: `tell` keeps both alive during the loop.
    let (walk, record) = unsafe { (&mut *walk, &mut *(*walk).record) };
    if walk.left == 0 {
        return 1;
    }
    let (mut at, mut length) = (walk.at, walk.left);
    if !walk.is_in {
        // SAFETY: the helper checks the address.
        [at, length] = unsafe { bpf_probe_read_user(at as *const [u64; 2]) }.unwrap_or([0; 2]);
    }
    // SAFETY: the helper checks the address.
    let [kind, sender] = unsafe { bpf_probe_read_user(at as *const [u64; 2]) }.unwrap_or([0; 2]);
    let stated = kind >> 32 & 0xffff;
    let is_head = kind & 0xffff_ffff < TYPES && stated >= HEADER && stated <= LONGEST && length >= HEADER;
    let is_whole = walk.is_in || stated == length;
    if !is_head || !is_whole || walk.count >= MESSAGES as u32 {
        record.sys.head.flags |= FLAG_CUT;
        return 1;
    }
    let mut id = 0;
    if stated >= MESSAGE_HEAD as u64 && length >= MESSAGE_HEAD as u64 {
        // SAFETY: the helper checks the address.
        id = unsafe { bpf_probe_read_user((at + HEADER) as *const u64) }.unwrap_or(0);
    }
    let index = core::hint::black_box(walk.count) as usize & (MESSAGES - 1);
    // SAFETY: so many heads fit into 1024 bytes.
    unsafe {
        let to = record.data.as_mut_ptr().add(index * MESSAGE_HEAD).cast::<u64>();
        to.write_unaligned(kind);
        to.add(1).write_unaligned(sender);
        to.add(2).write_unaligned(id);
    }
    walk.count += 1;
    if walk.is_in {
        let step = if stated < length { stated } else { length };
        walk.at += step;
        walk.left -= step;
    } else {
        walk.at += 16;
        walk.left -= 1;
    }
    0
}
