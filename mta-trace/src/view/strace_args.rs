//! A call in strace's form: `name(args) = result`, each argument in its own place.
//!
//! In: the flat [`Args`], the bytes, what the descriptors are. Out: text, in two parts: what is known when the call
//! begins, and what only when it returns. Invariant: what the event does not hold is left out or told as unknown, never
//! made up; but for `select`'s first argument, which is the highest descriptor and one. Not here: the line around them.

use super::{errno, escape::escape};
use crate::event::{Args, Endpoint, PollFd, Sys};
use crate::state::is_duplicate;
use mta_trace_common::smtp::WIPED;
use mta_trace_common::syscalls::Call;
use std::{collections::HashMap, fmt::Write};

/// What each descriptor of each process is, as text.
pub type Descriptors = HashMap<(u32, i32), String>;

/// How calls are written.
#[derive(Clone, Copy)]
pub struct Style<'a> {
    /// What stands behind a descriptor, as with `-yy`.
    pub descriptors: &'a Descriptors,
    /// In the place of an argument that is not known; none: it is left out, and so are flags that are not set.
    pub unknown: Option<&'static str>,
    /// More bytes of a string are not shown (`-s`).
    pub string: usize,
}

/// Of a call, as far as it is known.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    pub pid: u32,
    pub call: Call,
    pub args: &'a Args,
    /// Once it has returned.
    pub sys: Option<&'a Sys>,
}

/// Arguments, without parentheses.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// What strace writes when the call begins.
    pub entry: String,
    /// What it writes when the call returns.
    pub exit: String,
}

/// An argument: what it is, if that is known; whether only the return tells it.
type Slot = (Option<String>, bool);

const UNKNOWN: Slot = (None, false);
/// Of a longer path, or name of a socket, only the beginning is shown (`PATH_MAX`, limits.h): a hostile log may have any.
const LONGEST_PATH: usize = 4096;

fn known(text: impl Into<String>) -> Slot {
    (Some(text.into()), false)
}

fn returned(text: Option<String>) -> Slot {
    (text, true)
}

/// The arguments.
pub fn arguments(told: &Told<'_>, style: &Style<'_>) -> Parts {
    let mut slots = slots(told, style);
    while slots.last().is_some_and(|(text, _)| text.is_none()) {
        slots.pop();
    }
    let mut parts = Parts::default();
    let mut has_returned = false;
    for (text, is_returned) in slots {
        let Some(text) = text.as_deref().or(style.unknown) else { continue };
        let before = if has_returned { &mut parts.exit } else { &mut parts.entry };
        if !before.is_empty() {
            before.push_str(", ");
        }
        has_returned |= is_returned;
        if has_returned { parts.exit.push_str(text) } else { parts.entry.push_str(text) }
    }
    parts
}

fn slots(told: &Told<'_>, style: &Style<'_>) -> Vec<Slot> {
    // Exhaustive: a new argument must find its place here.
    let Args { fd: _, fd2, len, flags, addr, path, op, fds, read, write, except, timeout_ns, pid: process } = told.args;
    let Told { pid, call, args, sys } = *told;
    let number = |number: i32| known(fd(pid, number, style.descriptors));
    let first = first(told, style);
    let count = |count: &Option<u64>| (count.map(|count| count.to_string()), false);
    let flags = || if flags.is_empty() { (style.unknown.map(|_| "0".to_owned()), false) } else { known(escape(&flags.join("|"))) };
    let path = || path.as_ref().map_or(UNKNOWN, |path| known(string(path.as_bytes(), false, LONGEST_PATH)));
    let directory = || match args.fd {
        Some(it) => number(it),
        None => (style.unknown.map(|_| "AT_FDCWD".to_owned()), false),
    };
    let data = || bytes_of(told, style);
    let peer = || sys.and_then(|sys| sys.peer.as_ref()).map(endpoint);
    match call {
        Call::Read | Call::Pread64 => vec![first, returned(data()), count(len)],
        Call::Write | Call::Pwrite64 => vec![first, (data(), false), count(len)],
        Call::Readv => vec![first, returned(data().as_deref().map(vector))],
        Call::Writev => vec![first, (data().as_deref().map(vector), false)],
        Call::Recvfrom => vec![first, returned(data()), count(len), flags()],
        Call::Sendto => vec![first, (data(), false), count(len), flags()],
        Call::Recvmsg => vec![first, returned(data().as_deref().map(message)), flags()],
        Call::Sendmsg => vec![first, (data().as_deref().map(message), false), flags()],
        Call::Recvmmsg => vec![first, returned(data().as_deref().map(messages)), UNKNOWN, flags()],
        Call::Sendmmsg => vec![first, (data().as_deref().map(messages), false), UNKNOWN, flags()],
        Call::Connect => vec![first, (addr.as_ref().map(endpoint), false)],
        Call::Accept => vec![first, returned(peer().filter(|_| style.unknown.is_some()))],
        Call::Accept4 => vec![first, returned(peer().filter(|_| style.unknown.is_some())), UNKNOWN, flags()],
        // An unsigned number, of which all bits set means all.
        Call::CloseRange => vec![first, fd2.map_or(UNKNOWN, |last| known(last.cast_unsigned().to_string())), flags()],
        Call::Dup2 | Call::Dup3 => vec![first, fd2.map_or(UNKNOWN, number)],
        Call::Fcntl => vec![first, op.as_ref().map_or(UNKNOWN, |op| known(escape(op))), fd2.map_or(UNKNOWN, |it| known(it.to_string()))],
        Call::Pipe | Call::Pipe2 => {
            let ends = args.fd.zip(*fd2).map(|(a, b)| format!("[{}, {}]", fd(pid, a, style.descriptors), fd(pid, b, style.descriptors)));
            vec![returned(ends)]
        }
        Call::Poll | Call::Ppoll => {
            let is_known = sys.is_some() || !fds.is_empty();
            let entries: Vec<String> = fds.iter().map(|entry| poll_fd(pid, entry, style.descriptors)).collect();
            let entries = is_known.then(|| format!("[{}]", entries.join(", ")));
            let timeout = if call == Call::Poll { known(milliseconds(*timeout_ns)) } else { (timeout_ns.map(timespec), false) };
            vec![(entries, false), (is_known.then(|| fds.len().to_string()), false), timeout]
        }
        Call::Select | Call::Pselect6 => {
            let highest = [read, write, except].iter().flat_map(|set| set.iter()).max();
            // They are read where the thread blocks; without any of them nothing was.
            let is_known = highest.is_some() || timeout_ns.is_some();
            let timeout = timeout_ns.map_or("NULL".to_owned(), if call == Call::Select { timeval } else { timespec });
            let set = |set: &[i32]| (is_known.then(|| fd_set(pid, set, style.descriptors)), false);
            let highest = is_known.then(|| highest.map_or(0, |fd| fd.saturating_add(1)).to_string());
            vec![(highest, false), set(read), set(write), set(except), (is_known.then_some(timeout), false)]
        }
        Call::EpollWait | Call::EpollPwait => vec![first, returned(None), UNKNOWN, known(milliseconds(*timeout_ns))],
        Call::Fsync | Call::Fdatasync | Call::Close | Call::Dup => vec![first],
        Call::Flock => vec![first, op.as_ref().map_or(UNKNOWN, |op| known(escape(op)))],
        Call::Open => vec![path(), known(open_flags(args))],
        Call::Openat => vec![directory(), path(), known(open_flags(args))],
        Call::Rename | Call::Unlink | Call::Chdir => vec![path()],
        Call::Renameat | Call::Renameat2 | Call::Unlinkat => vec![directory(), path()],
        Call::Nanosleep => vec![(timeout_ns.map(timespec), false)],
        Call::ClockNanosleep => vec![UNKNOWN, flags(), (timeout_ns.map(timespec), false)],
        Call::Wait4 => vec![process.map_or(UNKNOWN, |it| known(it.to_string())), returned(None), flags()],
        Call::Waitid => vec![UNKNOWN, process.map_or(UNKNOWN, |it| known(it.to_string()))],
        Call::Alarm => vec![(timeout_ns.map(|ns| (ns / 1_000_000_000).to_string()), false)],
        Call::Setitimer => vec![UNKNOWN, (timeout_ns.map(|ns| format!("{{it_value={}, ...}}", timeval(ns))), false)],
        Call::Socketpair | Call::Sync | Call::RestartSyscall => Vec::new(),
    }
}

/// The descriptor. Of an open file the event itself may tell the path.
fn first(told: &Told<'_>, style: &Style<'_>) -> Slot {
    let Some(number) = told.args.fd else { return UNKNOWN };
    let text = fd(told.pid, number, style.descriptors);
    match &told.args.path {
        Some(path) if style.unknown.is_none() && told.call.row().fd0 && !text.ends_with('>') => {
            known(format!("{text}<{}>", escape(&path.chars().take(LONGEST_PATH).collect::<String>())))
        }
        _ => known(text),
    }
}

/// Behind the equals sign: `-1 EAGAIN (...)`, `1 ([{fd=4, revents=POLLIN}])`.
pub fn result(sys: &Sys, style: &Style<'_>) -> String {
    let errno = i32::try_from(sys.ret.saturating_neg()).unwrap_or(0);
    if (1..4096).contains(&errno) {
        let unknown = if errno::is_restart(errno) { "?" } else { "-1" };
        return format!("{unknown} {}", errno::text(errno));
    }
    if returns_descriptor(sys)
        && let Ok(number) = i32::try_from(sys.ret)
    {
        return fd(sys.pid, number, style.descriptors);
    }
    match sys.call {
        Call::Poll | Call::Ppoll | Call::Select | Call::Pselect6 if sys.ret == 0 => "0 (Timeout)".to_owned(),
        Call::Poll | Call::Ppoll if sys.args.fds.iter().any(|entry| !entry.revents.is_empty()) => {
            let ready = sys.args.fds.iter().filter(|entry| !entry.revents.is_empty());
            let ready: Vec<String> =
                ready.map(|it| format!("{{fd={}, revents={}}}", fd(sys.pid, it.fd, style.descriptors), escape(&it.revents.join("|")))).collect();
            format!("{} ([{}])", sys.ret, ready.join(", "))
        }
        _ => sys.ret.to_string(),
    }
}

fn returns_descriptor(sys: &Sys) -> bool {
    matches!(sys.call, Call::Accept | Call::Accept4 | Call::Open | Call::Openat) || is_duplicate(sys.call, &sys.args)
}

/// The bytes that a call moved, as far as they were kept. What was wiped is not shown as if it had been NUL.
fn bytes_of(told: &Told<'_>, style: &Style<'_>) -> Option<String> {
    let sys = told.sys?;
    let Some(data) = sys.data.as_deref() else {
        style.unknown?;
        return match sys.ret {
            0 => Some("\"\"".to_owned()),
            1.. => Some("\"\"...".to_owned()),
            _ => None,
        };
    };
    let kept = if sys.milter {
        // The head of a packet begins with a zero, and its command is none.
        data.get(..5).filter(|head| head.first() == Some(&0) && head.last() != Some(&0)).unwrap_or_default()
    } else if sys.smtp.is_some() || sys.policy {
        data.split(|byte| *byte == WIPED).next().unwrap_or_default()
    } else {
        data
    };
    // Of several messages the call returns the number.
    let moved = if matches!(sys.call, Call::Recvmmsg | Call::Sendmmsg) { 0 } else { sys.ret };
    let is_cut = sys.cut || kept.len() < data.len() || i64::try_from(kept.len()).is_ok_and(|len| len < moved);
    Some(string(kept, is_cut, style.string))
}

fn vector(data: &str) -> String {
    format!("[{{iov_base={data}}}]")
}

fn message(data: &str) -> String {
    format!("{{msg_iov=[{{iov_base={data}}}], ...}}")
}

fn messages(data: &str) -> String {
    format!("[{{msg_hdr={}, ...}}]", message(data))
}

fn milliseconds(ns: Option<u64>) -> String {
    ns.map_or("-1".to_owned(), |ns| (ns / 1_000_000).to_string())
}

fn timespec(ns: u64) -> String {
    format!("{{tv_sec={}, tv_nsec={}}}", ns / 1_000_000_000, ns % 1_000_000_000)
}

fn timeval(ns: u64) -> String {
    format!("{{tv_sec={}, tv_usec={}}}", ns / 1_000_000_000, ns % 1_000_000_000 / 1000)
}

/// To read only is no bit.
fn open_flags(args: &Args) -> String {
    let has_mode = args.flags.iter().any(|flag| matches!(flag.as_str(), "O_RDONLY" | "O_WRONLY" | "O_RDWR"));
    let mode = if has_mode { None } else { Some("O_RDONLY") };
    let all: Vec<&str> = mode.into_iter().chain(args.flags.iter().map(String::as_str)).collect();
    escape(&all.join("|")).into_owned()
}

/// `5<TCP:[10.99.0.2:25->10.99.0.1:54712]>`.
pub fn fd(pid: u32, number: i32, descriptors: &Descriptors) -> String {
    match descriptors.get(&(pid, number)) {
        Some(text) => format!("{number}<{}>", escape(text)),
        None => number.to_string(),
    }
}

fn fd_set(pid: u32, set: &[i32], descriptors: &Descriptors) -> String {
    if set.is_empty() {
        return "NULL".to_owned();
    }
    let members: Vec<String> = set.iter().map(|number| fd(pid, *number, descriptors)).collect();
    format!("[{}]", members.join(" "))
}

fn poll_fd(pid: u32, entry: &PollFd, descriptors: &Descriptors) -> String {
    let events = if entry.events.is_empty() { "0".into() } else { escape(&entry.events.join("|")).into_owned() };
    format!("{{fd={}, events={events}}}", fd(pid, entry.fd, descriptors))
}

fn endpoint(address: &Endpoint) -> String {
    match address {
        Endpoint::Inet(it) if it.is_ipv4() => {
            format!("{{sa_family=AF_INET, sin_port=htons({}), sin_addr=inet_addr(\"{}\")}}", it.port(), it.ip())
        }
        Endpoint::Inet(it) => {
            format!("{{sa_family=AF_INET6, sin6_port=htons({}), inet_pton(AF_INET6, \"{}\", &sin6_addr)}}", it.port(), it.ip())
        }
        Endpoint::Unix(path) => format!("{{sa_family=AF_UNIX, sun_path={}}}", string(path.as_bytes(), false, LONGEST_PATH)),
    }
}

/// A C string as strace writes it (`print_quoted_string`): octal, as short as what follows allows; what was not copied is told by dots.
pub fn string(data: &[u8], is_cut: bool, limit: usize) -> String {
    let mut out = String::with_capacity(data.len() + 2);
    out.push('"');
    let mut rest = data.iter().take(limit).peekable();
    while let Some(byte) = rest.next() {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x0b => out.push_str("\\v"),
            0x0c => out.push_str("\\f"),
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b' '..=b'~' => out.push(char::from(*byte)),
            other => {
                let is_before_octal = rest.peek().is_some_and(|next| (b'0'..=b'7').contains(*next));
                let written = if is_before_octal { write!(out, "\\{other:03o}") } else { write!(out, "\\{other:o}") };
                debug_assert!(written.is_ok(), "a String takes everything");
            }
        }
    }
    out.push('"');
    if is_cut || data.len() > limit {
        out.push_str("...");
    }
    out
}
