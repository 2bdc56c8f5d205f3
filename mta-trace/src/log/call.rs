//! The line of a call, written without serde's detours: nearly all lines are calls, and serde looks through each name and text for what must be
//! escaped, sends addresses through the formatter, and copies what is coded. Three quarters of the time that a line took.
//!
//! Calls in, JSON out. Invariant: the same bytes that serde writes (a property test compares them). Not here: other records, reading.

use crate::event::{Args, Bytes, Counters, Endpoint, Message, PollFd, Proto, Smtp, SmtpMode, SocketId, Sys};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::net::SocketAddr;

/// Appends the object of a call, without the line's end.
pub fn write(line: &mut Vec<u8>, sys: &Sys) {
    #[rustfmt::skip]
    let Sys {
        t, pid, tid, call, args: of_call, ret, start, cpu_ns, blocked_ns, rq_ns, at_start, socket: behind, peer, data, cut, fault, smtp: dialogue,
        matched, milter, policy, passed, messages,
    } = sys;
    let mut object = Object::open(line);
    object.text("k", "sys");
    object.number("t", *t);
    object.number("pid", *pid);
    object.number("tid", *tid);
    object.text("call", call.name());
    args(object.value("args"), of_call);
    object.number("ret", *ret);
    object.maybe_number("start", *start);
    object.number("cpu_ns", *cpu_ns);
    object.number("blocked_ns", *blocked_ns);
    object.number("rq_ns", *rq_ns);
    if let Some(at) = at_start {
        counters(object.value("at_start"), at);
    }
    if let Some(id) = behind {
        socket(object.value("socket"), id);
    }
    object.maybe_endpoint("peer", peer.as_ref());
    object.maybe_bytes("data", data.as_ref());
    object.flag("cut", *cut);
    object.flag("fault", *fault);
    if let Some(read) = dialogue {
        smtp(object.value("smtp"), read);
    }
    if let Some(is_matched) = matched {
        object.truth("matched", *is_matched);
    }
    object.flag("milter", *milter);
    object.flag("policy", *policy);
    object.maybe_number("passed", *passed);
    object.list("messages", messages, message);
    object.close();
}

fn args(line: &mut Vec<u8>, args: &Args) {
    let Args { fd, fd2, len, flags, addr, path, op, fds, read, write, except, timeout_ns, pid } = args;
    let mut object = Object::open(line);
    object.maybe_number("fd", *fd);
    object.maybe_number("fd2", *fd2);
    object.maybe_number("len", *len);
    object.list("flags", flags, |line, flag| text(line, flag));
    object.maybe_endpoint("addr", addr.as_ref());
    object.maybe_text("path", path.as_deref());
    object.maybe_text("op", op.as_deref());
    object.list("fds", fds, poll_fd);
    for (name, set) in [("read", read), ("write", write), ("except", except)] {
        object.list(name, set, |line, fd| number(line, *fd));
    }
    object.maybe_number("timeout_ns", *timeout_ns);
    object.maybe_number("pid", *pid);
    object.close();
}

fn poll_fd(line: &mut Vec<u8>, PollFd { fd, events, revents }: &PollFd) {
    let mut object = Object::open(line);
    object.number("fd", *fd);
    elements(object.value("events"), events, |line, name| text(line, name));
    object.list("revents", revents, |line, name| text(line, name));
    object.close();
}

fn message(line: &mut Vec<u8>, Message { kind, len, peer, pid, id }: &Message) {
    let mut object = Object::open(line);
    object.number("type", *kind);
    object.number("len", *len);
    object.number("peer", *peer);
    object.number("pid", *pid);
    quoted(object.value("id"), format!("{id:016x}").as_bytes());
    object.close();
}

fn counters(line: &mut Vec<u8>, Counters { cpu_ns, blocked_ns, rq_ns }: &Counters) {
    let mut object = Object::open(line);
    object.number("cpu_ns", *cpu_ns);
    object.number("blocked_ns", *blocked_ns);
    object.number("rq_ns", *rq_ns);
    object.close();
}

fn socket(line: &mut Vec<u8>, SocketId { inode, proto, local, peer, peer_inode }: &SocketId) {
    let name = match proto {
        Proto::Tcp => "tcp",
        Proto::Udp => "udp",
        Proto::Unix => "unix",
        Proto::Other => "other",
    };
    let mut object = Object::open(line);
    object.number("inode", *inode);
    object.text("proto", name);
    object.maybe_endpoint("local", local.as_ref());
    object.maybe_endpoint("peer", peer.as_ref());
    object.maybe_number("peer_inode", *peer_inode);
    object.close();
}

fn smtp(line: &mut Vec<u8>, Smtp { mode, dot, carry }: &Smtp) {
    let name = match mode {
        SmtpMode::Unknown => "unknown",
        SmtpMode::Command => "command",
        SmtpMode::Pending => "pending",
        SmtpMode::Auth => "auth",
        SmtpMode::Data => "data",
        SmtpMode::Opaque => "opaque",
    };
    let mut object = Object::open(line);
    object.text("mode", name);
    object.flag("dot", *dot);
    object.maybe_bytes("carry", carry.as_ref());
    object.close();
}

/// An object that is being written: names are ours and need no escapes.
struct Object<'a> {
    line: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Object<'a> {
    fn open(line: &'a mut Vec<u8>) -> Self {
        line.push(b'{');
        Self { line, is_empty: true }
    }

    fn close(self) {
        self.line.push(b'}');
    }

    /// Writes a name; its value is the caller's.
    fn value(&mut self, name: &str) -> &mut Vec<u8> {
        let before: &[u8] = if self.is_empty { b"\"" } else { b",\"" };
        self.is_empty = false;
        self.line.extend_from_slice(before);
        self.line.extend_from_slice(name.as_bytes());
        self.line.extend_from_slice(b"\":");
        self.line
    }

    fn number(&mut self, name: &str, value: impl itoa::Integer) {
        number(self.value(name), value);
    }

    fn maybe_number(&mut self, name: &str, value: Option<impl itoa::Integer>) {
        if let Some(value) = value {
            self.number(name, value);
        }
    }

    fn text(&mut self, name: &str, value: &str) {
        text(self.value(name), value);
    }

    fn maybe_text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    fn truth(&mut self, name: &str, value: bool) {
        self.value(name).extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// Only what is true is written.
    fn flag(&mut self, name: &str, value: bool) {
        if value {
            self.truth(name, true);
        }
    }

    fn maybe_endpoint(&mut self, name: &str, value: Option<&Endpoint>) {
        if let Some(value) = value {
            endpoint(self.value(name), value);
        }
    }

    fn maybe_bytes(&mut self, name: &str, value: Option<&Bytes>) {
        if let Some(value) = value {
            bytes(self.value(name), value);
        }
    }

    /// Only a list that holds something is written.
    fn list<T>(&mut self, name: &str, values: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
        if !values.is_empty() {
            elements(self.value(name), values, write);
        }
    }
}

fn elements<T>(line: &mut Vec<u8>, values: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    line.push(b'[');
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            line.push(b',');
        }
        write(line, value);
    }
    line.push(b']');
}

fn number(line: &mut Vec<u8>, value: impl itoa::Integer) {
    line.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn text(line: &mut Vec<u8>, value: &str) {
    if value.bytes().any(|byte| matches!(byte, ..b' ' | b'"' | b'\\')) {
        // A text has a JSON form, and memory takes everything.
        let _ = serde_json::to_writer(line, value);
    } else {
        quoted(line, value.as_bytes());
    }
}

fn quoted(line: &mut Vec<u8>, value: &[u8]) {
    line.push(b'"');
    line.extend_from_slice(value);
    line.push(b'"');
}

fn endpoint(line: &mut Vec<u8>, value: &Endpoint) {
    match value {
        Endpoint::Inet(SocketAddr::V4(address)) => {
            let [a, b, c, d] = address.ip().octets();
            for (before, octet) in [(b'"', a), (b'.', b), (b'.', c), (b'.', d)] {
                line.push(before);
                number(line, octet);
            }
            line.push(b':');
            number(line, address.port());
            line.push(b'"');
        }
        Endpoint::Inet(address @ SocketAddr::V6(_)) => quoted(line, address.to_string().as_bytes()),
        Endpoint::Unix(path) => text(line, path),
    }
}

/// Base64 (RFC 4648, 4): three bytes are four letters.
fn bytes(line: &mut Vec<u8>, value: &Bytes) {
    line.push(b'"');
    let at = line.len();
    line.resize(at + value.len().div_ceil(3) * 4, 0);
    let written = line.get_mut(at..).map_or(Ok(0), |room| STANDARD.encode_slice(&value.0, room));
    // The room is what it needs.
    line.truncate(at + written.unwrap_or(0));
    line.push(b'"');
}
