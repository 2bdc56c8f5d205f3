//! Which unix socket is at the other end of one: asked of the kernel (`sock_diag(7)`), since /proc/net/unix does not say it.
//!
//! In: a process, whose network namespace counts, and an inode. Out: the inode at the other end. Not here: who holds that.

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
    netlink::{self, SocketAddrNetlink},
    recv, sendto, socket_with,
};
use std::{fs::File, os::fd::AsFd as _};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct nlmsghdr` and `struct unix_diag_req` (`linux/unix_diag.h`).
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Request {
    length: u32,
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
    family: u8,
    protocol: u8,
    pad: u16,
    states: u32,
    inode: u32,
    show: u32,
    cookie: [u32; 2],
}

/// `struct nlmsghdr` and `struct unix_diag_msg`; attributes follow.
#[derive(FromBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Answer {
    length: u32,
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
    family: u8,
    socket_kind: u8,
    state: u8,
    pad: u8,
    inode: u32,
    cookie: [u32; 2],
}

/// `struct rtattr`; its value follows.
#[derive(FromBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Attribute {
    length: u16,
    kind: u16,
}

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const UDIAG_SHOW_PEER: u32 = 4;
const UNIX_DIAG_PEER: u16 = 2;
const AF_UNIX: u8 = 1;
const SOCK_STREAM: u8 = 1;
const SOCK_SEQPACKET: u8 = 5;

/// Inode of the other end of a process's unix socket; none: nobody has accepted the connection, or that cannot be asked.
pub fn unix_peer(pid: u32, inode: u64) -> Option<u64> {
    // A thread of its own, since it has to go into the process's network namespace.
    let inode = u32::try_from(inode).ok()?;
    let answer = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, move || ask(pid, inode)).ok()?;
        thread.join().ok()?
    })?;
    peer_in(&answer).map(u64::from)
}

fn ask(pid: u32, inode: u32) -> Option<Vec<u8>> {
    if super::proc::network("self") != super::proc::network(&pid.to_string()) {
        let namespace = File::open(super::proc::path(pid, "ns/net")).ok()?;
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(rustix::thread::LinkNameSpaceType::Network)).ok()?;
    }
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG)).ok()?;
    let request = Request {
        length: u32::try_from(size_of::<Request>()).ok()?,
        kind: SOCK_DIAG_BY_FAMILY,
        flags: NLM_F_REQUEST,
        sequence: 1,
        port: 0,
        family: AF_UNIX,
        protocol: 0,
        pad: 0,
        states: u32::MAX,
        inode,
        show: UDIAG_SHOW_PEER,
        cookie: [u32::MAX; 2],
    };
    sendto(&socket, request.as_bytes(), SendFlags::empty(), &SocketAddrNetlink::new(0, 0)).ok()?;
    let mut buffer = vec![0; 4096];
    // The kernel answers before `sendto` returns.
    let (length, _) = recv(&socket, buffer.as_mut_slice(), RecvFlags::DONTWAIT).ok()?;
    buffer.truncate(length);
    Some(buffer)
}

/// The attribute that names the other end; none: an error, or it is not there.
fn peer_in(answer: &[u8]) -> Option<u32> {
    let (head, mut attributes) = Answer::read_from_prefix(answer).ok()?;
    // The other end of a datagram socket serves whoever writes there.
    if head.kind != SOCK_DIAG_BY_FAMILY || !matches!(head.socket_kind, SOCK_STREAM | SOCK_SEQPACKET) {
        return None;
    }
    while let Ok((attribute, value)) = Attribute::read_from_prefix(attributes) {
        if attribute.kind == UNIX_DIAG_PEER {
            return u32::read_from_prefix(value).ok().map(|(inode, _)| inode).filter(|&inode| inode != 0);
        }
        // They are aligned to 4 bytes; a length below that of its head would be no attribute.
        attributes = attributes.get(usize::from(attribute.length.max(4)).next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::{fd::AsRawFd as _, unix::net::UnixStream};

    fn inode_of(socket: &UnixStream) -> u64 {
        let link = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
        super::super::proc::socket_inode(&link.to_string_lossy()).unwrap()
    }

    #[test]
    fn the_kernel_names_the_other_end_of_a_pair() {
        let (a, b) = UnixStream::pair().unwrap();
        assert_eq!(unix_peer(std::process::id(), inode_of(&a)), Some(inode_of(&b)));
        assert_eq!(unix_peer(std::process::id(), inode_of(&b)), Some(inode_of(&a)));
        let inode = inode_of(&a);
        drop(b);
        assert_eq!(unix_peer(std::process::id(), inode), None);
    }

    proptest! {
        #[test]
        fn any_answer_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = bytes;
            let _ = peer_in(&bytes);
            if let Some(kind) = bytes.get_mut(4..6) {
                kind.copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
            }
            let _ = peer_in(&bytes);
        }
    }
}
