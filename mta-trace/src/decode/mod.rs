//! Kernel records to typed events. Total: any bytes give a record, if need be a `malformed` one with the reason.
//!
//! In: the bytes of one ring-buffer record (`mta_trace_common::event`). Out: a `Record`. Not here: what it means.

mod arguments;
mod names;
mod socket;
mod sys;

pub use arguments::polled;

use crate::event::{Args, Backlog, Block, Bytes, Counters, Exec, Exit, Fork, Malformed, Record};
use mta_trace_common::{
    config::Thread,
    event::{self as raw, FLAG_TRACED, FLAG_UNFINISHED, Head},
    syscalls::Call,
};
use zerocopy::FromBytes;

/// Decodes one record of the ring.
pub fn record(bytes: &[u8]) -> Record {
    decode(bytes).unwrap_or_else(|reason| Record::Malformed(Malformed { reason, malformed: Bytes(bytes.to_vec()) }))
}

fn decode(bytes: &[u8]) -> Result<Record, String> {
    let (head, _) = Head::read_from_prefix(bytes).map_err(|_| too_short(bytes))?;
    match head.kind {
        raw::KIND_SYS => {
            let (record, data) = raw::Sys::read_from_prefix(bytes).map_err(|_| too_short(bytes))?;
            sys::decode(&record, data).map(|sys| Record::Sys(Box::new(sys)))
        }
        raw::KIND_BLOCK => {
            raw::Block::read_from_prefix(bytes).map_err(|_| too_short(bytes)).map(|(record, _)| Record::Block(Box::new(block(&record))))
        }
        raw::KIND_BACKLOG => {
            let (record, _) = raw::Backlog::read_from_prefix(bytes).map_err(|_| too_short(bytes))?;
            let peer = socket::identify(&record.socket).1.ok_or("a connection without a peer")?;
            Ok(Record::Backlog(Backlog { t: record.head.t, peer, since: record.since }))
        }
        raw::KIND_FORK => raw::Fork::read_from_prefix(bytes).map_err(|_| too_short(bytes)).map(|(record, _)| Record::Fork(fork(&record))),
        raw::KIND_EXEC => raw::Exec::read_from_prefix(bytes)
            .map_err(|_| too_short(bytes))
            .map(|(record, _)| Record::Exec(Exec { t: record.head.t, pid: record.head.tgid, comm: comm(zerocopy::transmute_ref!(&record.comm)) })),
        raw::KIND_EXIT => raw::Exit::read_from_prefix(bytes).map_err(|_| too_short(bytes)).map(|(record, _)| Record::Exit(exit(&record))),
        other => Err(format!("record kind {other} is not known")),
    }
}

fn too_short(bytes: &[u8]) -> String {
    format!("record of {} bytes is too short for its kind", bytes.len())
}

fn counters(head: &Head) -> Counters {
    Counters { cpu_ns: head.cpu, blocked_ns: head.blocked, rq_ns: head.runqueue }
}

fn comm(bytes: &[u8; 16]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

/// Name and arguments of a call known by number, as far as registers tell them.
fn call_of(nr: i64, registers: &[u64; 6]) -> (Option<String>, Option<Args>) {
    match Call::by_number(nr) {
        Some(call) => (Some(call.name().to_owned()), Some(arguments::arguments(call, registers, &[]))),
        None => (None, None),
    }
}

fn block(record: &raw::Block) -> Block {
    let raw::Block { head, nr, since, cpu_since, runqueue_since, args } = record;
    let (call, args) = call_of(*nr, args);
    let total = head.t.saturating_sub(*since);
    let outside = head.cpu.saturating_sub(*cpu_since).saturating_add(head.runqueue.saturating_sub(*runqueue_since));
    Block {
        t: head.t,
        pid: head.tgid,
        tid: head.tid,
        nr: *nr,
        call,
        since: *since,
        cause: (*nr < 0).then(|| "page-fault".to_owned()),
        unfinished: head.flags & FLAG_UNFINISHED != 0,
        args,
        at: counters(head),
        at_start: Some(Counters {
            cpu_ns: *cpu_since,
            blocked_ns: head.blocked.saturating_sub(total.saturating_sub(outside)),
            rq_ns: *runqueue_since,
        }),
        socket: None,
        peer: None,
    }
}

fn fork(record: &raw::Fork) -> Fork {
    let raw::Fork { head, child, child_tid, comm: name } = record;
    Fork {
        t: head.t,
        pid: head.tgid,
        tid: head.tid,
        child: *child,
        child_tid: *child_tid,
        comm: comm(name),
        traced: head.flags & FLAG_TRACED != 0,
        at: counters(head),
    }
}

fn exit(record: &raw::Exit) -> Exit {
    let raw::Exit { head, code, reserved: _, nr, since } = record;
    let signal = code & 0x7f;
    Exit {
        t: head.t,
        pid: head.tgid,
        tid: head.tid,
        code: i32::try_from(code >> 8 & 0xff).unwrap_or_default(),
        signal: (signal != 0).then_some(signal),
        call: Call::by_number(*nr).map(|call| call.name().to_owned()),
        since: (*since != 0).then_some(*since),
        at: counters(head),
    }
}

/// A thread that is blocked at `t`, from its state in the kernel side's table: what `block` says with `unfinished`.
pub fn blocked(tid: u32, thread: &Thread, args: &[u64; 6], t: u64) -> Block {
    let head = Head {
        kind: raw::KIND_BLOCK,
        flags: FLAG_UNFINISHED,
        data_len: 0,
        t,
        tgid: thread.tgid,
        tid,
        cpu: thread.cpu,
        blocked: thread.blocked.saturating_add(t.saturating_sub(thread.last)),
        runqueue: thread.runqueue,
    };
    let mut block = block(&raw::Block {
        head,
        nr: thread.nr,
        since: thread.since,
        cpu_since: thread.cpu_since,
        runqueue_since: thread.runqueue_since,
        args: *args,
    });
    if let (1, Some(args), Some("select" | "pselect6")) = (thread.selects_valid, &mut block.args, block.call.as_deref()) {
        arguments::selects(args, &thread.selects);
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_give_a_record(bytes in proptest::collection::vec(any::<u8>(), 0..400), kind in 0u16..8) {
            let mut bytes = bytes;
            if let Some([low, high, ..]) = bytes.first_chunk_mut::<2>() {
                [*low, *high] = kind.to_le_bytes();
            }
            let _ = record(&bytes);
        }
    }
}
