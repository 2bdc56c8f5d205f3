//! A completed call: what its record says besides the arguments. Not here: what registers and memory mean (`arguments.rs`).

use super::{arguments::arguments, socket};
use crate::event::{Args, Bytes, Counters, Message, Smtp, SmtpMode, Sys};
use mta_trace_common::{
    event::{
        self as raw, FLAG_CLIENT, FLAG_CUT, FLAG_DOT, FLAG_FAULT, FLAG_FIFO, FLAG_MATCHED, FLAG_MESSAGES, FLAG_MILTER, FLAG_PASSED, FLAG_PATH,
        FLAG_POLICY,
    },
    smtp,
    syscalls::{Call, Capture},
};

/// Decodes a call; `Err` says why it cannot be.
pub fn decode(record: &raw::Sys, data: &[u8]) -> Result<Sys, String> {
    let raw::Sys {
        head,
        nr,
        smtp_mode,
        carry_len,
        reserved: _,
        ret,
        since,
        blocked_in,
        cpu_since,
        runqueue_since,
        args: registers,
        socket: sock,
        carry,
    } = record;
    let call = Call::by_number(i64::from(*nr)).ok_or_else(|| format!("system call number {nr} is not in the table"))?;
    let is = |flag| head.flags & flag != 0;
    let data = data.get(..usize::try_from(head.data_len).unwrap_or(usize::MAX)).ok_or("data is longer than the record")?;
    let (socket, peer) = socket::identify(sock);
    let carry = carry.get(..usize::from(*carry_len)).filter(|carry| !carry.is_empty());
    Ok(Sys {
        t: head.t,
        pid: head.tgid,
        tid: head.tid,
        call,
        args: if is(FLAG_PATH) {
            Args { path: path_of_file(data, is(FLAG_FIFO)), ..arguments(call, registers, &[]) }
        } else {
            arguments(call, registers, data)
        },
        ret: *ret,
        start: (*since != 0).then_some(*since),
        cpu_ns: head.cpu,
        blocked_ns: head.blocked,
        rq_ns: head.runqueue,
        at_start: (*since != 0).then(|| Counters {
            cpu_ns: *cpu_since,
            blocked_ns: head.blocked.saturating_sub(*blocked_in),
            rq_ns: *runqueue_since,
        }),
        socket,
        peer,
        data: payload(call, head.flags, data),
        cut: is(FLAG_CUT),
        fault: is(FLAG_FAULT),
        smtp: if is(FLAG_CLIENT) {
            Some(Smtp { mode: mode(*smtp_mode)?, dot: is(FLAG_DOT), carry: carry.map(|it| Bytes(it.to_vec())) })
        } else {
            None
        },
        matched: (call.row().capture == Capture::Accepted && *ret >= 0 || is(FLAG_PASSED)).then(|| is(FLAG_MATCHED)),
        milter: is(FLAG_MILTER),
        policy: is(FLAG_POLICY),
        passed: if is(FLAG_PASSED) { Some(passed(data)?) } else { None },
        messages: if is(FLAG_MESSAGES) { messages(data) } else { Vec::new() },
    })
}

/// What the call transferred, as far as it was copied: the data area of a record may hold a path, heads of messages or a descriptor instead.
fn payload(call: Call, flags: u16, data: &[u8]) -> Option<Bytes> {
    let is_data = matches!(
        call.row().capture,
        Capture::BufferIn
            | Capture::BufferFrom
            | Capture::BufferOut
            | Capture::BufferTo
            | Capture::VectorIn
            | Capture::VectorOut
            | Capture::MessageIn
            | Capture::MessageOut
            | Capture::MessagesIn
            | Capture::MessagesOut
    );
    if !is_data || flags & (FLAG_PATH | FLAG_MESSAGES | FLAG_PASSED) != 0 || data.is_empty() {
        return None;
    }
    let is_reply = flags & FLAG_CLIENT != 0 && is_out(call);
    Some(Bytes(if is_reply { without_wiped(data) } else { data.to_vec() }))
}

fn passed(data: &[u8]) -> Result<i32, String> {
    data.first_chunk().map(|fd| i32::from_ne_bytes(*fd)).ok_or_else(|| "a descriptor that is passed has no number".to_owned())
}

/// `{u32 type; u16 len; u16 flags; u32 peerid; u32 pid}` and an id, one after another.
fn messages(data: &[u8]) -> Vec<Message> {
    let (heads, _) = data.as_chunks::<{ raw::MESSAGE_HEAD }>();
    let head = |head: &[u8; raw::MESSAGE_HEAD]| {
        let [a, b, c, d, e, f, _, _, g, h, i, j, k, l, m, n, id @ ..] = *head;
        let [kind, peer, pid] = [[a, b, c, d], [g, h, i, j], [k, l, m, n]].map(u32::from_le_bytes);
        Message { kind, len: u16::from_le_bytes([e, f]), peer, pid, id: u64::from_le_bytes(id) }
    };
    heads.iter().map(head).collect()
}

fn mode(mode: u8) -> Result<SmtpMode, String> {
    Ok(match mode {
        smtp::MODE_UNKNOWN => SmtpMode::Unknown,
        smtp::MODE_COMMAND => SmtpMode::Command,
        smtp::MODE_PENDING => SmtpMode::Pending,
        smtp::MODE_AUTH => SmtpMode::Auth,
        smtp::MODE_DATA => SmtpMode::Data,
        smtp::MODE_OPAQUE => SmtpMode::Opaque,
        other => return Err(format!("SMTP mode {other} is not known")),
    })
}

fn is_out(call: Call) -> bool {
    matches!(call.row().capture, Capture::BufferOut | Capture::BufferTo | Capture::VectorOut | Capture::MessageOut | Capture::MessagesOut)
}

/// A reply without the text that was not kept.
fn without_wiped(data: &[u8]) -> Vec<u8> {
    data.iter().copied().filter(|byte| *byte != smtp::WIPED).collect()
}

/// The path of an open file: components from the last to the first, each with a NUL behind it; none: it has no name (a pipe).
fn path_of_file(data: &[u8], is_fifo: bool) -> Option<String> {
    let components: Vec<_> = data.split(|byte| *byte == 0).filter(|part| !part.is_empty()).map(String::from_utf8_lossy).collect();
    // As `pipe:[...]`, which is no file on a disk either; a pipe without a name has one component that says so.
    let kind = if is_fifo && components.len() > 1 { "fifo:" } else { "" };
    (!components.is_empty()).then(|| components.iter().rev().fold(kind.to_owned(), |path, part| path + "/" + part))
}
