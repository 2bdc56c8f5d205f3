//! Calls on descriptors that may be sockets: `accept`, `connect`, and everything that transfers bytes.
//!
//! Who is at the far end decides what may be copied, and the default is nothing:
//! the client's bytes by the allow-list (`client`), 1,024 bytes of DNS, of a milter the head of a packet, of messages between processes their heads.

use super::{backlog, client, messages, passage};
use crate::{
    diagnose::diagnose,
    emit::{self, Record, Which, is_slow, reserve, submit},
    filter::{self, listens_on},
    maps::{PEERS, SESSIONS, count},
    task,
};
use aya_ebpf::helpers::bpf_probe_read_user;
use mta_trace_common::{
    config::{ACCEPTED_MATCHED, ACCEPTED_OTHER, PEER_MILTER, PEER_POLICY, ROLE_DAEMON, ROLE_HELPER, ROLE_LOOP, ROLE_SERVER, Thread},
    event::{FLAG_MATCHED, FLAG_MILTER, FLAG_POLICY, Loss},
    smtp::{MODE_COMMAND, Scanner},
    syscalls::Capture,
};

/// `accept`, `accept4`: begins a session, if the peer is wanted.
#[inline(always)]
pub fn accept(thread: &mut Thread, which: &Which) {
    let is_accepting = thread.role == ROLE_DAEMON || thread.role == ROLE_SERVER || thread.role == ROLE_LOOP;
    if thread.done.ret < 0 && (is_accepting || !is_slow(thread)) {
        return;
    }
    thread.know_socket(thread.done.ret as u32, thread.done.ret >= 0);
    let mut is_matched = false;
    let sk = if thread.done.ret >= 0 { task::socket_of(thread.done.ret as u64, &mut thread.socket) } else { 0 };
    // A server has other services beside SMTP, and unix sockets.
    if (thread.role == ROLE_SERVER || thread.role == ROLE_LOOP) && (sk == 0 || !listens_on(thread.socket.local_port)) {
        return;
    }
    if sk != 0 && is_accepting && thread.socket.peer_port != 0 {
        is_matched = filter::matches_peer(&thread.socket);
        if is_matched {
            if SESSIONS.insert(thread.socket.inode, Scanner::new(MODE_COMMAND), 0).is_err() {
                count(Loss::Tables);
            }
            if thread.role == ROLE_LOOP {
                filter::opened(thread.tgid, thread.done.ret as u32, thread.socket.inode);
            } else {
                thread.session = thread.socket.inode;
                thread.client_fd = thread.done.ret as i32;
                thread.accepted = ACCEPTED_MATCHED;
            }
        } else if thread.role == ROLE_LOOP {
            filter::opened(thread.tgid, thread.done.ret as u32, 0);
        } else {
            thread.accepted = ACCEPTED_OTHER;
        }
        backlog::accepted(thread, which.tid, sk, is_matched);
    }
    diagnose!(which, "thread {} accepted from port {}: wanted {}", which.tid, thread.socket.peer_port, u8::from(is_matched));
    emit::bare(thread, which, if is_matched { FLAG_MATCHED } else { 0 }, 0);
}

/// `connect`.
#[inline(always)]
pub fn connect(thread: &mut Thread, which: &Which) {
    let fd = task::argument!(thread, 0);
    let is_socket = task::socket_of(fd, &mut thread.socket) != 0;
    thread.know_socket(fd as u32, is_socket);
    let Some(mut entry) = reserve::<Record<128>>() else { return };
    // SAFETY: `fill` writes all fields, `copy` the data that count.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    emit::fill(&mut record.sys, which, thread);
    emit::copy(record, task::argument!(thread, 1), task::argument!(thread, 2) & 0xffff_ffff);
    submit(entry);
}

/// Where the bytes of a call lie in the process.
#[derive(Clone, Copy, PartialEq)]
pub enum Place {
    Buffer,
    Vector,
    Message,
    Messages,
}

/// One or two pieces of memory that a call transferred; the first is empty or shorter than 64 bytes if there are two.
#[derive(Clone, Copy)]
pub struct Pieces {
    pub first: u64,
    pub first_len: u64,
    pub second: u64,
    pub second_len: u64,
}

/// Bytes were transferred. The largest of the handlers: a function of its own, since many programs call it.
#[inline(never)]
pub fn transfer(thread: &mut Thread, which: &Which, place: Place, is_in: bool) {
    let fd = task::argument!(thread, 0);
    let is_socket = task::socket_of(fd, &mut thread.socket) != 0;
    thread.know_socket(fd as u32, is_socket);
    if !is_socket {
        if is_slow(thread) {
            emit::file(thread, which);
        }
        return;
    }
    if thread.socket.kind == SOCK_STREAM
        && let Some(scanner) = SESSIONS.get_ptr_mut(thread.socket.inode)
    {
        // SAFETY: map values live as long as the program runs; one process serves a session.
        let scanner = unsafe { &mut *scanner };
        if !is_in && (place == Place::Vector || place == Place::Message) {
            client::gather(scanner, thread, which, place == Place::Message);
        } else if place != Place::Buffer {
            client::scattered(scanner, thread, which);
        } else if is_in {
            client::read(scanner, thread, which);
        } else {
            client::write(scanner, thread, which);
        }
        return;
    }
    if place == Place::Message && thread.socket.family == AF_UNIX && passage::told(thread, which, is_in) {
        return;
    }
    // Of a server that serves nobody only that could be of interest.
    if thread.role == ROLE_SERVER && thread.accepted != ACCEPTED_MATCHED {
        return;
    }
    if thread.has_messages == 1 && place == Place::Message && thread.socket.family == AF_UNIX {
        return messages::tell(thread, which, is_in);
    }
    helper(thread, which, place, is_in);
}

/// A message goes to Postfix's `cleanup` in pieces that are longer; no request is.
const REQUEST: i64 = 1024;

/// Length and command of a milter packet; and of macros (`SMFIC_MACRO`) the command that they are for, which stands first in their data.
const MILTER_HEAD: u64 = 6;

const PORT_DOMAIN: u16 = 53;
const PORT_AUTH: u16 = 113;

/// A connection of the server to somebody who helps it.
#[inline(always)]
fn helper(thread: &mut Thread, which: &Which, place: Place, is_in: bool) {
    if !is_in
        && thread.socket.peer_port == 0
        && thread.socket.family == AF_INET
        && which.word.captures(Capture::BufferTo)
        && task::argument!(thread, 4) != 0
    {
        unconnected(thread);
    }
    let mut budget = if thread.socket.peer_port == PORT_DOMAIN { 1024 } else { 0 };
    let peer = if budget == 0 && thread.socket.kind == SOCK_STREAM { peer_of(thread, place, is_in) } else { 0 };
    let is_milter = peer == PEER_MILTER;
    if is_milter {
        budget = MILTER_HEAD;
    }
    if budget == 0 {
        let flags = if peer == PEER_POLICY { FLAG_POLICY } else { 0 };
        // Of ident (RFC 1413) and a policy service it matters whether they answered, not what.
        // Of a helper each request and answer tells for whom it works, and of an event loop whatever comes in. Of a server what it asks a process of
        // its own: a sleep between two such requests is no pause (Postfix's `verify`).
        let is_request = thread.role == ROLE_SERVER && !is_in && thread.socket.family == AF_UNIX && thread.done.ret < REQUEST;
        let is_told = thread.role == ROLE_HELPER || thread.role == ROLE_LOOP && is_in && thread.done.ret > 0 || is_request;
        let is_asked = is_told && thread.socket.kind == SOCK_STREAM;
        if is_slow(thread) || thread.done.ret == 0 || thread.socket.peer_port == PORT_AUTH || flags != 0 || is_asked || connects(thread, which) {
            emit::bare(thread, which, flags, 0);
        }
        return;
    }
    if thread.done.ret == -11 && !is_slow(thread) {
        return;
    }
    let pieces = pieces(thread, place);
    // The smaller class holds 63 bytes behind a first piece.
    if budget > 128 && (thread.done.ret > 127 || pieces.first_len > 0) {
        bytes::<1024>(thread, which, &pieces, budget, is_milter);
    } else {
        bytes::<128>(thread, which, &pieces, budget, is_milter);
    }
}

/// Whether this `sendto` begins a connection (tcp(7), `MSG_FASTOPEN`), which is told as a `connect` is.
#[inline(always)]
fn connects(thread: &Thread, which: &Which) -> bool {
    which.word.captures(Capture::BufferTo) && task::argument!(thread, 3) & MSG_FASTOPEN != 0
}

/// include/linux/socket.h.
const MSG_FASTOPEN: u64 = 0x2000_0000;

/// Who is at the other end, as far as its first bytes have told: `PEER_*`, 0: not known.
#[inline(always)]
fn peer_of(thread: &Thread, place: Place, is_in: bool) -> u8 {
    if let Some(peer) = PEERS.get_ptr(thread.socket.inode) {
        // SAFETY: map values live as long as the program runs.
        return unsafe { *peer };
    }
    // A helper that is a milter itself negotiates too: what it reads are messages.
    let peer = if is_in || thread.role == ROLE_HELPER {
        0
    } else if place == Place::Vector && negotiates(thread) || place == Place::Buffer && negotiates_at_once(thread) {
        PEER_MILTER
    } else if place == Place::Buffer && asks_policy(thread) {
        PEER_POLICY
    } else {
        0
    };
    if peer != 0 {
        let _ = PEERS.insert(thread.socket.inode, peer, 0);
    }
    peer
}

/// Whether this is a request to a policy service: its first attribute is always this one.
#[inline(always)]
fn asks_policy(thread: &Thread) -> bool {
    let at = task::argument!(thread, 1);
    // SAFETY: the helper checks the address.
    let beginning = unsafe { bpf_probe_read_user(at as *const [u64; 3]) };
    let expected = [u64::from_le_bytes(*b"request="), u64::from_le_bytes(*b"smtpd_ac"), u64::from_le_bytes(*b"cess_pol")];
    thread.done.ret >= 27 && matches!(beginning, Ok(found) if found[0] == expected[0] && found[1] == expected[1] && found[2] == expected[2])
}

const SOCK_STREAM: u16 = 1;
const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;

/// The peer of `sendto` with an address on a socket that is not connected.
#[inline(always)]
fn unconnected(thread: &mut Thread) {
    // SAFETY: the helper checks the address.
    let at = task::argument!(thread, 4);
    let Ok([family, port, a, b]) = (unsafe { bpf_probe_read_user(at as *const [u16; 4]) }) else { return };
    if family == AF_INET {
        thread.socket.peer_port = u16::from_be(port);
        // SAFETY: four bytes fit in sixteen.
        unsafe { thread.socket.peer.as_mut_ptr().cast::<[u16; 2]>().write_unaligned([a, b]) };
    }
}

/// Whether this is the first packet of a milter connection (libmilter `mfdef.h`): `SMFIC_OPTNEG`, 13 bytes, a version
/// from 2 to 6; the server writes its length and command as one segment, its data as the next.
#[inline(always)]
fn negotiates(thread: &Thread) -> bool {
    let at = task::argument!(thread, 1);
    // SAFETY: the helper checks the address.
    let Ok([first, first_len, second, second_len]) = (unsafe { bpf_probe_read_user(at as *const [u64; 4]) }) else { return false };
    if task::argument!(thread, 2) < 2 || first_len != 5 || second_len != 12 {
        return false;
    }
    // SAFETY: the helper checks the addresses.
    let (header, version) = unsafe { (bpf_probe_read_user(first as *const [u8; 5]), bpf_probe_read_user(second as *const [u8; 4])) };
    let (Ok([0, 0, 0, 13, b'O']), Ok([0, 0, 0, 2..=6])) = (header, version) else { return false };
    true
}

/// The same in one piece, as Postfix writes it.
#[inline(always)]
fn negotiates_at_once(thread: &Thread) -> bool {
    let at = task::argument!(thread, 1);
    // SAFETY: the helper checks the address.
    let packet = unsafe { bpf_probe_read_user(at as *const [u8; 9]) };
    thread.done.ret >= 17 && matches!(packet, Ok([0, 0, 0, 13, b'O', 0, 0, 0, 2..=6]))
}

#[inline(always)]
fn pieces(thread: &Thread, place: Place) -> Pieces {
    let mut transferred = if thread.done.ret > 0 { thread.done.ret as u64 } else { 0 };
    if place == Place::Buffer {
        return Pieces { first: 0, first_len: 0, second: task::argument!(thread, 1), second_len: transferred };
    }
    let mut vector = task::argument!(thread, 1);
    if place == Place::Messages {
        // They return how many messages; `msg_len` of the first stands behind its `struct msghdr`.
        // SAFETY: the helper checks the address.
        transferred = u64::from(unsafe { bpf_probe_read_user((vector + 56) as *const u32) }.unwrap_or(0));
    }
    if place == Place::Message || place == Place::Messages {
        // `msg_iov` of `struct msghdr`.
        // SAFETY: the helper checks the address.
        vector = unsafe { bpf_probe_read_user((vector + 16) as *const u64) }.unwrap_or(0);
    }
    // SAFETY: the helper checks the address.
    let [first, first_len] = unsafe { bpf_probe_read_user(vector as *const [u64; 2]) }.unwrap_or([0; 2]);
    if first_len >= transferred || first_len > 63 {
        let length = if first_len < transferred { first_len } else { transferred };
        return Pieces { first: 0, first_len: 0, second: first, second_len: length };
    }
    // SAFETY: the helper checks the address.
    let [second, second_len] = unsafe { bpf_probe_read_user((vector + 16) as *const [u64; 2]) }.unwrap_or([0; 2]);
    let rest = transferred - first_len;
    Pieces { first, first_len, second, second_len: if second_len < rest { second_len } else { rest } }
}

/// Wipes what is no head of a milter packet: the rest of one that was sent or read in several pieces. The length of a packet is at most 1 MiB
/// (`MILTER_MDS_1M`, libmilter), so that its first byte is zero; that of text is not.
#[inline(always)]
fn keep_head<const N: usize>(record: &mut Record<N>) {
    if record.data[0] != 0 || record.data[1] > 0x10 {
        // SAFETY: the data area has room for a word, and lies at a multiple of 8.
        unsafe { emit::zero_words::<1>(record.data.as_mut_ptr().cast()) };
        record.sys.head.data_len = 0;
    } else if record.data[4] != b'D' {
        record.data[5] = 0;
        if record.sys.head.data_len > 5 {
            record.sys.head.data_len = 5;
        }
    }
}

#[inline(always)]
fn bytes<const N: usize>(thread: &Thread, which: &Which, pieces: &Pieces, budget: u64, is_milter: bool) {
    let Some(mut entry) = reserve::<Record<N>>() else { return };
    // SAFETY: `fill` writes all fields, `copy` the data that count.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    emit::fill(&mut record.sys, which, thread);
    let first_len = if pieces.first_len < budget { pieces.first_len } else { budget };
    let rest = budget - first_len;
    let second_len = if pieces.second_len < rest { pieces.second_len } else { rest };
    if first_len > 0 {
        emit::copy(record, pieces.first, first_len & 63);
        emit::copy_behind(record, pieces.second, second_len);
    } else {
        emit::copy(record, pieces.second, second_len);
    }
    if is_milter {
        record.sys.head.flags |= FLAG_MILTER;
        keep_head(record);
    }
    submit(entry);
}
