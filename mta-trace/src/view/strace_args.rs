//! Arguments of a call in strace's form.
//!
//! In: the flat [`Args`] and what the descriptors are. Out: text, escaped. What the event does not hold (addresses of
//! buffers, the bits of an unused set) is left out. Not here: the line around them.

use super::{escape::escape, strace::Descriptors};
use crate::event::{Args, Endpoint, PollFd};
use mta_trace_common::syscalls::Call;
use std::fmt::Write;

/// More bytes of a string are not shown, as in strace (`-s 32`), but enough for a line of SMTP.
const STRING: usize = 80;

/// The arguments without parentheses.
pub fn arguments(pid: u32, call: Call, args: &Args, descriptors: &Descriptors) -> String {
    // Exhaustive: a new argument must find its place here.
    let Args { fd: first, fd2, len, flags, addr, path, op, fds, read, write, except, timeout_ns, pid: process } = args;
    let mut parts: Vec<String> = Vec::new();
    if is_select(call) {
        let sets = [read, write, except];
        let highest = sets.iter().flat_map(|set| set.iter()).max();
        parts.push(highest.map_or(0, |fd| fd.saturating_add(1)).to_string());
        parts.extend(sets.iter().map(|set| fd_set(pid, set, descriptors)));
    }
    if let Some(process) = process {
        parts.push(process.to_string());
    }
    let numbers: Vec<String> = first.iter().chain(fd2).map(|number| fd(pid, *number, descriptors)).collect();
    if matches!(call, Call::Pipe | Call::Pipe2) {
        parts.push(format!("[{}]", numbers.join(", ")));
    } else {
        parts.extend(numbers);
    }
    if is_poll(call) {
        let entries: Vec<String> = fds.iter().map(|entry| poll_fd(pid, entry, descriptors)).collect();
        parts.push(format!("[{}]", entries.join(", ")));
        parts.push(fds.len().to_string());
    }
    parts.extend(path.iter().map(|path| format!("\"{}\"", escape(path))));
    parts.extend(addr.iter().map(endpoint));
    parts.extend(op.iter().map(|op| escape(op).into_owned()));
    parts.extend(len.iter().map(ToString::to_string));
    if !flags.is_empty() {
        parts.push(escape(&flags.join("|")).into_owned());
    }
    match timeout_ns {
        Some(ns) if call == Call::Poll => parts.push((ns / 1_000_000).to_string()),
        Some(ns) => parts.push(format!("{{tv_sec={}, tv_nsec={}}}", ns / 1_000_000_000, ns % 1_000_000_000)),
        None if call == Call::Poll => parts.push("-1".to_owned()),
        None if is_select(call) || is_poll(call) => parts.push("NULL".to_owned()),
        None => {}
    }
    parts.join(", ")
}

fn is_select(call: Call) -> bool {
    matches!(call, Call::Select | Call::Pselect6)
}

fn is_poll(call: Call) -> bool {
    matches!(call, Call::Poll | Call::Ppoll)
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
    let revents = if entry.revents.is_empty() { String::new() } else { format!(", revents={}", escape(&entry.revents.join("|"))) };
    format!("{{fd={}, events={}{revents}}}", fd(pid, entry.fd, descriptors), escape(&entry.events.join("|")))
}

fn endpoint(address: &Endpoint) -> String {
    match address {
        Endpoint::Inet(it) if it.is_ipv4() => {
            format!("{{sa_family=AF_INET, sin_port=htons({}), sin_addr=inet_addr(\"{}\")}}", it.port(), it.ip())
        }
        Endpoint::Inet(it) => format!("{{sa_family=AF_INET6, sin6_port=htons({}), sin6_addr=\"{}\"}}", it.port(), it.ip()),
        Endpoint::Unix(path) => format!("{{sa_family=AF_UNIX, sun_path=\"{}\"}}", escape(path)),
    }
}

/// A C string; what was not copied is told by dots.
pub fn bytes(data: &[u8], is_cut: bool) -> String {
    let mut out = String::from("\"");
    for byte in data.iter().take(STRING) {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            0 => out.push_str("\\0"),
            b' '..=b'~' => out.push(char::from(*byte)),
            other => {
                let written = write!(out, "\\x{other:02x}");
                debug_assert!(written.is_ok(), "a String takes everything");
            }
        }
    }
    out.push('"');
    if is_cut || data.len() > STRING {
        out.push_str("...");
    }
    out
}
