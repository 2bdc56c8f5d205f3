//! A completed call: registers and captured bytes to arguments by their meaning, one arm per family of the table.

use super::{names, socket};
use crate::event::{Args, Bytes, Counters, Message, PollFd, Smtp, SmtpMode, Sys};
use mta_trace_common::{
    event::{
        self as raw, FLAG_CLIENT, FLAG_CUT, FLAG_DOT, FLAG_FAULT, FLAG_FIFO, FLAG_MATCHED, FLAG_MESSAGES, FLAG_MILTER, FLAG_PASSED, FLAG_PATH,
        FLAG_POLICY,
    },
    smtp,
    syscalls::{Call, Capture},
};
use zerocopy::FromBytes;

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
        data: (is_data && !is(FLAG_PATH) && !is(FLAG_MESSAGES) && !is(FLAG_PASSED) && !data.is_empty())
            .then(|| Bytes(if is(FLAG_CLIENT) && is_out(call) { without_wiped(data) } else { data.to_vec() })),
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

/// The low 32 bits of a register as the `int` that the call takes.
pub fn int(register: u64) -> i32 {
    let [a, b, c, d, ..] = register.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

/// Arguments by their meaning. Without `data` (a call that has not returned) what stands in memory is absent.
pub fn arguments(call: Call, registers: &[u64; 6], data: &[u8]) -> Args {
    let [a, b, c, d, ..] = *registers;
    let mut args = Args { fd: call.row().fd0.then(|| int(a)), ..Args::default() };
    match call {
        Call::Read | Call::Pread64 | Call::Write | Call::Pwrite64 => args.len = Some(c),
        Call::Recvfrom | Call::Sendto => {
            args.len = Some(c);
            args.flags = names::bits(d & 0xffff_ffff, names::MSG);
        }
        Call::Recvmsg | Call::Sendmsg => args.flags = names::bits(c & 0xffff_ffff, names::MSG),
        Call::Recvmmsg | Call::Sendmmsg => args.flags = names::bits(d & 0xffff_ffff, names::MSG),
        Call::Connect => args.addr = socket::address(data),
        Call::Accept4 => args.flags = names::bits(d & 0xffff_ffff, names::SOCK),
        Call::Close => args.fd = Some(int(a)),
        Call::CloseRange => {
            args.fd = Some(int(a));
            args.fd2 = Some(int(b));
            args.flags = names::bits(c & 0xffff_ffff, names::CLOSE_RANGE);
        }
        Call::Dup2 | Call::Dup3 => {
            args.fd = Some(int(a));
            args.fd2 = Some(int(b));
        }
        Call::Fcntl => {
            args.op = Some(names::fcntl(b & 0xffff_ffff));
            args.fd2 = matches!(b, 0 | 1030).then(|| int(c));
        }
        Call::Flock => args.op = Some(names::flock(b & 0xffff_ffff)),
        Call::Poll => {
            args.fds = poll_fds(data);
            args.timeout_ns = milliseconds(c);
        }
        Call::Ppoll => args.fds = poll_fds(data),
        Call::EpollWait | Call::EpollPwait => args.timeout_ns = milliseconds(d),
        Call::Select | Call::Pselect6 => {
            if let Ok((asked, _)) = raw::Selects::read_from_prefix(data) {
                selects(&mut args, &asked);
            }
        }
        Call::Open => {
            args.path = path(data);
            args.flags = names::bits(b & 0xffff_ffff, names::OPEN);
        }
        Call::Openat => {
            args.fd = directory(a);
            args.path = path(data);
            args.flags = names::bits(c & 0xffff_ffff, names::OPEN);
        }
        Call::Renameat | Call::Renameat2 | Call::Unlinkat => {
            args.fd = directory(a);
            args.path = path(data);
        }
        Call::Rename | Call::Unlink | Call::Chdir => args.path = path(data),
        // An absolute time is no duration.
        Call::ClockNanosleep if b & 1 == 1 => args.flags = vec!["TIMER_ABSTIME".into()],
        Call::Nanosleep | Call::ClockNanosleep => args.timeout_ns = timespec(data),
        Call::Wait4 => {
            args.pid = Some(int(a));
            args.flags = names::bits(c & 0xffff_ffff, names::WAIT);
        }
        Call::Waitid => args.pid = Some(int(b)),
        Call::Alarm => args.timeout_ns = Some((a & 0xffff_ffff).saturating_mul(1_000_000_000)),
        Call::Setitimer => args.timeout_ns = itimer(data),
        Call::Pipe | Call::Pipe2 => {
            args.fd = pair(data).map(|[read, _]| read);
            args.fd2 = pair(data).map(|[_, write]| write);
        }
        Call::Readv
        | Call::Writev
        | Call::Accept
        | Call::Dup
        | Call::Socketpair
        | Call::Fsync
        | Call::Fdatasync
        | Call::Sync
        | Call::RestartSyscall => {}
    }
    args
}

/// The two descriptors of a pipe: its reading end, its writing end.
fn pair(data: &[u8]) -> Option<[i32; 2]> {
    let [a, b, c, d, e, f, g, h] = *data.first_chunk()?;
    Some([i32::from_le_bytes([a, b, c, d]), i32::from_le_bytes([e, f, g, h])])
}

/// The directory of `*at` calls, if it is not the working directory (`AT_FDCWD`, -100).
fn directory(register: u64) -> Option<i32> {
    Some(int(register)).filter(|fd| *fd != -100)
}

fn milliseconds(register: u64) -> Option<u64> {
    u64::try_from(int(register)).ok().map(|ms| ms * 1_000_000)
}

fn path(data: &[u8]) -> Option<String> {
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    data.get(..end).filter(|path| !path.is_empty()).map(|path| String::from_utf8_lossy(path).into_owned())
}

/// The path of an open file: components from the last to the first, each with a NUL behind it; none: it has no name (a pipe).
fn path_of_file(data: &[u8], is_fifo: bool) -> Option<String> {
    let components: Vec<_> = data.split(|byte| *byte == 0).filter(|part| !part.is_empty()).map(String::from_utf8_lossy).collect();
    // As `pipe:[...]`, which is no file on a disk either; a pipe without a name has one component that says so.
    let kind = if is_fifo && components.len() > 1 { "fifo:" } else { "" };
    (!components.is_empty()).then(|| components.iter().rev().fold(kind.to_owned(), |path, part| path + "/" + part))
}

fn word(data: &[u8], index: usize) -> Option<i64> {
    data.get(index * 8..index * 8 + 8)?.try_into().ok().map(i64::from_le_bytes)
}

fn timespec(data: &[u8]) -> Option<u64> {
    u64::try_from(word(data, 0)?.checked_mul(1_000_000_000)?.checked_add(word(data, 1)?)?).ok()
}

/// `it_value` of a `struct itimerval` (microseconds).
fn itimer(data: &[u8]) -> Option<u64> {
    u64::try_from(word(data, 2)?.checked_mul(1_000_000_000)?.checked_add(word(data, 3)?.checked_mul(1000)?)?).ok()
}

fn poll_fds(data: &[u8]) -> Vec<PollFd> {
    polled(data.as_chunks::<8>().0)
}

/// Entries of a `poll` (`struct pollfd`).
pub fn polled(entries: &[[u8; 8]]) -> Vec<PollFd> {
    entries
        .iter()
        .map(|[a, b, c, d, e, f, g, h]| PollFd {
            fd: i32::from_le_bytes([*a, *b, *c, *d]),
            events: names::bits(u64::from(u16::from_le_bytes([*e, *f])), names::POLL),
            revents: names::bits(u64::from(u16::from_le_bytes([*g, *h])), names::POLL),
        })
        .collect()
}

/// What `select` was asked.
pub fn selects(args: &mut Args, selects: &raw::Selects) {
    let [read, write, except] = selects.sets;
    args.read = descriptors(read);
    args.write = descriptors(write);
    args.except = descriptors(except);
    args.timeout_ns = u64::try_from(selects.timeout).ok();
}

fn descriptors(set: [u64; 2]) -> Vec<i32> {
    (0..128).filter(|fd: &i32| set.get(usize::from(*fd >= 64)).is_some_and(|word| word >> (fd % 64) & 1 == 1)).collect()
}
