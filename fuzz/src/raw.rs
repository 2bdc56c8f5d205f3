//! Records as the kernel side writes them into its ring: for the seeds of `ring`, from the golden logs' events.
//!
//! Of arguments only those are written that the analysis reads. Not here: `seed.*`, which no kernel writes.

use mta_trace::event::{Counters, Endpoint, Proto, Record, SmtpMode, SocketId, Sys};
use mta_trace_common::event::{self as raw, Head};
use mta_trace_common::smtp;
use mta_trace_common::syscalls::{Call, Capture};
use std::net::IpAddr;
use zerocopy::IntoBytes;

/// The bytes of a record, if the kernel writes such ones.
pub fn bytes(record: &Record) -> Option<Vec<u8>> {
    Some(match record {
        Record::Sys(sys) => call(sys),
        Record::Block(it) => {
            let since = it.at_start.unwrap_or_default();
            let head = Head { flags: flag(it.unfinished, raw::FLAG_UNFINISHED), ..head(raw::KIND_BLOCK, it.t, it.pid, it.tid, it.at) };
            let fd = it.args.as_ref().and_then(|args| args.fd);
            let (cpu_since, runqueue_since) = (since.cpu_ns, since.rq_ns);
            raw::Block { head, nr: it.nr, since: it.since, cpu_since, runqueue_since, args: [register(fd), 0, 0, 0, 0, 0] }.as_bytes().to_vec()
        }
        Record::Fork(it) => {
            let head = Head { flags: flag(it.traced, raw::FLAG_TRACED), ..head(raw::KIND_FORK, it.t, it.pid, it.tid, it.at) };
            raw::Fork { head, child: it.child, child_tid: it.child_tid, comm: comm(&it.comm) }.as_bytes().to_vec()
        }
        Record::Exec(it) => {
            let head = head(raw::KIND_EXEC, it.t, it.pid, it.pid, Counters::default());
            raw::Exec { head, comm: zerocopy::transmute!(comm(&it.comm)) }.as_bytes().to_vec()
        }
        Record::Exit(it) => {
            let code = u32::try_from(it.code).unwrap_or(0) << 8 | it.signal.unwrap_or(0);
            let nr = it.call.as_deref().and_then(Call::by_name).map_or(-1, |call| i64::from(call.row().number()));
            let head = head(raw::KIND_EXIT, it.t, it.pid, it.tid, it.at);
            raw::Exit { head, code, reserved: 0, nr, since: it.since.unwrap_or(0) }.as_bytes().to_vec()
        }
        Record::Backlog(it) => {
            let head = head(raw::KIND_BACKLOG, it.t, 0, 0, Counters::default());
            let socket = SocketId { inode: 1, proto: Proto::Tcp, local: None, peer: None, peer_inode: None };
            raw::Backlog { head, since: it.since, socket: sock(Some(&socket), Some(&it.peer)) }.as_bytes().to_vec()
        }
        _ => return None,
    })
}

fn head(kind: u16, t: u64, tgid: u32, tid: u32, at: Counters) -> Head {
    Head { kind, flags: 0, data_len: 0, t, tgid, tid, cpu: at.cpu_ns, blocked: at.blocked_ns, runqueue: at.rq_ns }
}

fn flag(is_set: bool, flag: u16) -> u16 {
    if is_set { flag } else { 0 }
}

fn register(number: Option<i32>) -> u64 {
    number.map_or(0, |number| u64::from(number.cast_unsigned()))
}

fn comm(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    bytes
}

fn call(sys: &Sys) -> Vec<u8> {
    let data = memory(sys);
    let head = Head {
        flags: flag(sys.cut, raw::FLAG_CUT)
            | flag(sys.fault, raw::FLAG_FAULT)
            | flag(sys.matched == Some(true), raw::FLAG_MATCHED)
            | flag(sys.smtp.is_some(), raw::FLAG_CLIENT)
            | flag(sys.smtp.as_ref().is_some_and(|smtp| smtp.dot), raw::FLAG_DOT)
            | flag(sys.milter, raw::FLAG_MILTER),
        data_len: u32::try_from(data.len()).unwrap_or(0),
        ..head(raw::KIND_SYS, sys.t, sys.pid, sys.tid, sys.at())
    };
    let at_start = sys.at_start.unwrap_or_default();
    let carried = sys.smtp.as_ref().and_then(|smtp| smtp.carry.as_ref()).map_or(&[][..], |carry| carry);
    let mut carry = [0; raw::smtp_carry::LEN];
    carry.iter_mut().zip(carried).for_each(|(to, from)| *to = *from);
    let record = raw::Sys {
        head,
        nr: sys.call.row().number(),
        smtp_mode: sys.smtp.as_ref().map_or(0, |smtp| mode(smtp.mode)),
        carry_len: u8::try_from(carried.len()).unwrap_or(0),
        reserved: 0,
        ret: sys.ret,
        since: sys.start.unwrap_or(0),
        blocked_in: sys.blocked_ns.saturating_sub(at_start.blocked_ns),
        cpu_since: at_start.cpu_ns,
        runqueue_since: at_start.rq_ns,
        args: registers(sys),
        socket: sock(sys.socket.as_ref(), sys.peer.as_ref()),
        carry,
    };
    [record.as_bytes(), &data].concat()
}

fn mode(mode: SmtpMode) -> u8 {
    match mode {
        SmtpMode::Unknown => smtp::MODE_UNKNOWN,
        SmtpMode::Command => smtp::MODE_COMMAND,
        SmtpMode::Pending => smtp::MODE_PENDING,
        SmtpMode::Auth => smtp::MODE_AUTH,
        SmtpMode::Data => smtp::MODE_DATA,
        SmtpMode::Opaque => smtp::MODE_OPAQUE,
    }
}

fn registers(sys: &Sys) -> [u64; 6] {
    let milliseconds = sys.args.timeout_ns.map_or(u64::MAX, |ns| ns / 1_000_000);
    let second = match sys.call {
        Call::Dup2 | Call::Dup3 | Call::CloseRange => register(sys.args.fd2),
        Call::Waitid => register(sys.args.pid),
        _ => 0,
    };
    let third = if sys.call == Call::Poll { milliseconds } else { sys.args.len.unwrap_or(0) };
    let first = if sys.call == Call::Wait4 { sys.args.pid } else { sys.args.fd };
    [register(first), second, third, milliseconds, 0, 0]
}

/// What the call has in memory.
fn memory(sys: &Sys) -> Vec<u8> {
    let args = &sys.args;
    match sys.call.row().capture {
        Capture::Sockaddr => args.addr.as_ref().map(sockaddr).unwrap_or_default(),
        Capture::PollFds => args.fds.iter().flat_map(|polled| [polled.fd.to_le_bytes(), [1, 0, 1, 0]].concat()).collect(),
        Capture::Selects | Capture::Pselects => {
            let set = |fds: &[i32]| fds.iter().filter(|fd| (0..64).contains(*fd)).fold([0, 0], |[low, high], fd| [low | 1 << fd, high]);
            let timeout = args.timeout_ns.and_then(|ns| i64::try_from(ns).ok()).unwrap_or(-1);
            raw::Selects { sets: [set(&args.read), set(&args.write), set(&args.except)], timeout }.as_bytes().to_vec()
        }
        Capture::Timespec0 | Capture::Timespec2 => {
            let ns = args.timeout_ns.unwrap_or(0);
            [(ns / 1_000_000_000).to_le_bytes(), (ns % 1_000_000_000).to_le_bytes()].concat()
        }
        Capture::Path0 | Capture::Path1 => args.path.as_ref().map(|path| [path.as_bytes(), &[0]].concat()).unwrap_or_default(),
        Capture::Pair => [args.fd.unwrap_or(0).to_le_bytes(), args.fd2.unwrap_or(0).to_le_bytes()].concat(),
        _ => sys.data.as_ref().map(|data| data.0.clone()).unwrap_or_default(),
    }
}

fn sockaddr(endpoint: &Endpoint) -> Vec<u8> {
    match endpoint {
        Endpoint::Unix(path) => [&1_u16.to_le_bytes()[..], path.as_bytes(), &[0]].concat(),
        Endpoint::Inet(to) => match to.ip() {
            IpAddr::V4(ip) => [&2_u16.to_le_bytes()[..], &to.port().to_be_bytes(), &ip.octets()].concat(),
            IpAddr::V6(ip) => [&10_u16.to_le_bytes()[..], &to.port().to_be_bytes(), &[0; 4], &ip.octets(), &[0; 4]].concat(),
        },
    }
}

fn sock(socket: Option<&SocketId>, peer: Option<&Endpoint>) -> raw::Socket {
    let Some(socket) = socket else { return raw::Socket::ZERO };
    let address = |endpoint: Option<&Endpoint>| {
        let mut bytes = [0; 16];
        match endpoint.and_then(Endpoint::ip) {
            Some(IpAddr::V4(ip)) => bytes[..4].copy_from_slice(&ip.octets()),
            Some(IpAddr::V6(ip)) => bytes = ip.octets(),
            None => {}
        }
        (bytes, endpoint.and_then(Endpoint::port).unwrap_or(0))
    };
    let ((local, local_port), (peer_address, peer_port)) = (address(socket.local.as_ref()), address(peer));
    let is_v6 = [socket.local.as_ref(), peer].into_iter().flatten().filter_map(Endpoint::ip).any(|ip| ip.is_ipv6());
    let family = match socket.proto {
        Proto::Unix => 1,
        Proto::Other => 16,
        Proto::Tcp | Proto::Udp if is_v6 => 10,
        Proto::Tcp | Proto::Udp => 2,
    };
    let kind = if socket.proto == Proto::Udp { 2 } else { 1 };
    raw::Socket { inode: socket.inode, family, kind, protocol: 0, local_port, peer_port, reserved: [0; 3], local, peer: peer_address }
}
