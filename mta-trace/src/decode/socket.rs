//! Sockets and addresses: `struct sock` fields and `sockaddr` bytes to endpoints. Total on any bytes.

use crate::event::{Endpoint, Proto, SocketId};
use mta_trace_common::event::Socket;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const SOCK_STREAM: u16 = 1;
const SOCK_DGRAM: u16 = 2;

/// What a socket is, and its peer.
pub fn identify(socket: &Socket) -> (Option<SocketId>, Option<Endpoint>) {
    if socket.inode == 0 {
        return (None, None);
    }
    let is_inet = socket.family == AF_INET || socket.family == AF_INET6;
    let proto = match (socket.family, socket.kind) {
        (AF_UNIX, _) => Proto::Unix,
        (AF_INET | AF_INET6, SOCK_STREAM) => Proto::Tcp,
        (AF_INET | AF_INET6, SOCK_DGRAM) => Proto::Udp,
        _ => Proto::Other,
    };
    let end = |port: u16, address| (is_inet && port != 0).then(|| inet(ip(socket.family, address), port));
    let local = end(socket.local_port, &socket.local);
    let peer = end(socket.peer_port, &socket.peer);
    let peer_inode = (proto == Proto::Unix).then(|| inode_in(&socket.peer)).filter(|&inode| inode != 0);
    (Some(SocketId { inode: socket.inode, proto, local, peer: None, peer_inode }), peer)
}

fn ip(family: u16, address: &[u8; 16]) -> IpAddr {
    let [a, b, c, d, ..] = *address;
    if family == AF_INET { Ipv4Addr::new(a, b, c, d).into() } else { Ipv6Addr::from(*address).into() }
}

fn inode_in(peer: &[u8; 16]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *peer;
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

fn inet(ip: IpAddr, port: u16) -> Endpoint {
    Endpoint::Inet(SocketAddr::new(ip.to_canonical(), port))
}

/// A `sockaddr` (`sockaddr_in`, `sockaddr_in6`, `sockaddr_un`).
pub fn address(data: &[u8]) -> Option<Endpoint> {
    let (family, rest) = data.split_first_chunk::<2>()?;
    match u16::from_le_bytes(*family) {
        AF_UNIX => unix(rest),
        AF_INET => {
            let [p, q, a, b, c, d] = *rest.first_chunk()?;
            Some(inet(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([p, q])))
        }
        AF_INET6 => {
            let [p, q] = *rest.first_chunk()?;
            let bytes: [u8; 16] = rest.get(6..22)?.try_into().ok()?;
            Some(inet(Ipv6Addr::from(bytes).into(), u16::from_be_bytes([p, q])))
        }
        _ => None,
    }
}

/// A path ends at its NUL; an abstract name begins with one, shown as `@` (as `ss` and `/proc/net/unix` do).
fn unix(path: &[u8]) -> Option<Endpoint> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match path.split_first()? {
        (0, name) => Some(Endpoint::Unix(format!("@{}", text(name)))),
        _ => path.split(|byte| *byte == 0).next().map(|path| Endpoint::Unix(text(path))),
    }
}
